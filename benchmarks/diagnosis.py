"""How often `fastgd.diagnose` is right: `python benchmarks/diagnosis.py [--plants N] [--seed S]`.

It prints the tables of docs/verify.md.

1. Every defect of tests/support/planted_*.py is planted in problems that are drawn from the
   seed. right: its code came out; same: another code came out, and the defect is in `also_possible`
   or among `codes`, being equal on these data; unseen: all steps and losses are within the rounding
   bound; unknown; WRONG: anything else.
2. False alarms: correct loops in NumPy, torch.autograd on the named problems at four learning
   rates, our own backends, and the programs of tests/support/correct_programs.py, in the forms in
   which they are handed over: NumPy, torch (eager and compiled, for each tensor, foreach, fused,
   groups, schedulers), JAX with optax in float32 and with jax_enable_x64, scikit-learn. What is not
   installed is told, and left out: `pip install jax optax`.
3. Defects without a name must be unknown. With one parameter and no noise some of them are a scaled
   step exactly, so two parameters.
4. Power: the smallest relative error of the gradient that is found, for each dtype.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for tests.…

import fastgd
from fastgd.testing import problems, rates
from tests.support import correct_library_programs as libraries
from tests.support import correct_programs as programs
from tests.support import planted_batches
from tests.support import planted_descents as plants
from tests.support.nameless_defects import NAMELESS
from tests.support.planted_cases import KINDS, Case, make_case
from tests.support.planted_verdicts import ALL_PLANTS, ask, draw, draw_named, judge
from tests.support.torch_histories import torch_history

COLUMNS = ("right", "same", "unseen", "unknown", "WRONG")
DTYPES = ("float64", "float32")
LARGE = ("rows and losses", "step(w, X, y, lr)", "nn.Linear, foreach and fused", "jax.grad and optax")  # programs for 200,000 samples


def confusion(each: int, seed: int, only: str, show: bool, draw: Callable[..., Case]) -> None:
    table: dict[str, Counter[str]] = {}
    print(f"{'planted':35}", *(f"{name:>8}" for name in COLUMNS), "  named instead")
    for place, (code, plant) in enumerate(ALL_PLANTS.items()):
        if only not in code:
            continue
        counts: Counter[str] = Counter()
        instead: Counter[str] = Counter()
        for k in range(each):
            rng = np.random.default_rng([seed, place, k])
            case = draw(rng, code, DTYPES[k % 2])
            planted = plant(case, rng)
            diagnosis = ask(case, planted)
            found = judge(code, diagnosis, planted)
            counts[found] += 1
            if found != "right":
                instead[diagnosis.code] += 1
                if show:
                    print(code, k, found, case.name, case.dtype, f"D={len(case.w0)} T={case.epochs}", diagnosis, sep=" | ")
        table[code] = counts
        others = ", ".join(f"{count}× {name}" for name, count in instead.most_common(4))
        print(f"{code:35}", *(f"{counts[name]:8}" for name in COLUMNS), f"  {others}", flush=True)
    total = sum(table.values(), Counter())
    count = sum(total.values())
    print(f"{'all':35}", *(f"{total[name]:8}" for name in COLUMNS))
    named, visible = total["right"] + total["same"], count - total["unseen"]
    shares = f"{named / visible:.2%} of these named, {total['right'] / visible:.2%} by code"
    print(f"{count:,} planted, {visible:,} of them beyond the bound: {shares}")


def two_defects(each: int, seed: int) -> None:
    sizes = {"loss_sum": lambda n: n, "loss_half": lambda n: 0.5, "loss_n_minus_1": lambda n: n / (n - 1)}
    of_update = [code for code in plants.PLANTS if not code.startswith(("loss", "initial", "recorded", "float32", "half"))]
    counts: Counter[str] = Counter()
    for k in range(each):
        rng = np.random.default_rng([seed, 500, k])
        code, size = str(rng.choice(of_update)), str(rng.choice(list(sizes)))
        case = draw(rng, code, DTYPES[k % 2])
        planted = plants.PLANTS[code](case, rng)
        factor = planted.loss.dtype.type(sizes[size](len(case.y)))
        diagnosis = ask(case, plants.Planted(planted.w, planted.loss * factor, planted.asked, planted.w0))
        possible = {part for name in (*diagnosis.codes, *diagnosis.also_possible) for part in name.split(" + ")}
        pair = {code, size}
        both = ({"half_convention"} if pair == {"gradient_missing_two", "loss_half"} else pair) <= set(diagnosis.codes)
        counts["both" if both else "both possible" if pair <= possible else diagnosis.code] += 1
    print(f"two defects at once, of the update and of the loss: {dict(counts)}")


def false_alarms(count: int, seed: int) -> None:
    alarms, worst = [], [0.0, 0.0]

    def look(name: str, diagnosis: fastgd.Diagnosis) -> None:
        if diagnosis.codes != ("ok",):
            alarms.append(f"{name}: {diagnosis}")
        worst[0] = max(worst[0], diagnosis.evidence["tau_asked"])
        worst[1] = max(worst[1], diagnosis.evidence["tau_loss_asked"])

    for k in range(count):
        rng = np.random.default_rng([seed, 700, k])
        case = make_case(rng, DTYPES[k % 2], kind=str(rng.choice(KINDS)))
        look(case.name, ask(case, plants.correct(case)))
        of_batches = ask(case, planted_batches.correct(case, rng))
        if of_batches.codes not in (("ok",), ("not_judged",)) and not of_batches.ok:
            alarms.append(f"{case.name}, batches or weights: {of_batches}")
    looked = 2 * count
    for problem, dtype in ((named, dtype) for named in problems() for dtype in named.dtypes):
        data = problem.astype(dtype)
        for multiple, lr in rates(data).items():
            history = torch_history(data, lr, 30)
            asked = {"lr": lr, "intercept": data.intercept, "w0": data.w0, "dtype": dtype}
            look(f"torch, {data.name} {multiple}", fastgd.diagnose(data.X, data.y, history.w, history.loss, **asked))
            start = {"intercept": True, "intercept0": data.w0[-1]} if data.intercept else {}
            for algorithm in ("moments", "stream"):
                result = fastgd.fit(
                    data.X, data.y, lr=lr, epochs=30, w0=data.w0[: data.n_features], algorithm=algorithm, history=True, **start
                )
                report = fastgd.verify(result, data.X, data.y, lr=lr, intercept=data.intercept, w0=data.w0)
                if not report.ok:
                    alarms.append(f"{algorithm}, {data.name} {multiple}: {report}")
            looked += 3
    print(f"correct histories: {len(alarms)} false alarms in {looked:,}; worst τ_w {worst[0]:.2f}, τ_loss {worst[1]:.2f} (NumPy and torch)")
    print(*alarms, sep="\n", end="\n" if alarms else "")


def false_alarms_of_programs(each: int, seed: int) -> None:
    """Correct programs, `each` of every form; of one sample and of 200,000 one each."""
    alarms: list[str] = []
    counts: Counter[str] = Counter()
    print("correct programs, as they are handed over:")

    def look(group: str, name: str, case: Case, program: Any, rng: np.random.Generator) -> None:
        counts[group] += 1
        try:
            report = programs.verdict(case, program(case, rng))
        except (ValueError, TypeError) as refused:
            alarms.append(f"{group}, {name}, {case.name}: refused: {refused}")
            return
        if report.outcome != "agrees":
            alarms.append(f"{group}, {name}, {case.name} {case.dtype}: {report}")

    for group, table in _groups():
        for place, (name, program) in enumerate(table.items()):
            for k in range(each if "compiled" not in name else min(each, 8)):
                rng = np.random.default_rng([seed, 800, place, k])
                look(group, name, make_case(rng, DTYPES[k % 2], kind=str(rng.choice(KINDS))), program, rng)
            of_one, large = programs.unusual_cases(np.random.default_rng([seed, 801]))
            for case in (of_one, large) if name in LARGE else (of_one,):
                look(group, name, case, program, np.random.default_rng([seed, 802, place]))
        print(f"  {group}: {counts[group]:,}, false alarms until here: {len(alarms)}", flush=True)
    print(f"correct programs: {len(alarms)} false alarms in {sum(counts.values()):,}")
    print(*alarms, sep="\n", end="\n" if alarms else "")


def _groups() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (library, its programs), as far as it is installed."""
    yield "NumPy", programs.NUMPY
    yield "torch", libraries.TORCH
    if shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"):
        yield "torch.compile", {"a compiled loop": libraries.torch_compiled}
    else:
        print("no C++ compiler: the rows of torch.compile are left out")
    if libraries.missing("jax") or libraries.missing("optax"):
        print("JAX or optax is not installed: their rows are left out")
    else:
        import jax

        for wide in (False, True):
            jax.config.update("jax_enable_x64", wide)
            yield f"JAX{' x64' if wide else ''}", libraries.JAX
    if libraries.missing("sklearn"):
        print("scikit-learn is not installed: its rows are left out")
    else:
        yield "scikit-learn", libraries.SKLEARN


def nameless(each: int, seed: int) -> None:
    for place, (name, plant) in enumerate(NAMELESS.items()):
        counts: Counter[str] = Counter()
        for k in range(each):
            rng = np.random.default_rng([seed, 900 + place, k])
            case = make_case(rng, DTYPES[k % 2], kind=str(rng.choice(["normal", "scaled", "offset", "integers"])), least_d=2)
            counts[" + ".join(ask(case, plant(case, rng)).codes)] += 1
        print(f"without a name, {name:18} {dict(counts)}")


def power() -> None:
    for n, d in ((4, 1), (20, 2), (100, 3), (1000, 3)):
        rng = np.random.default_rng(5)
        X = np.arange(1.0, 5)[:, None] if n == 4 else rng.standard_normal((n, d))
        y = X @ np.arange(1.0, d + 1) + (0 if n == 4 else 0.5) * rng.standard_normal(n)
        found = {}
        for dtype in DTYPES:
            case = Case("power", X, y, np.zeros(d), 0.7 * n / 2 / np.linalg.norm(X, 2) ** 2, 20, dtype, False)
            for error in 10.0 ** np.arange(-16, -1, 0.1):

                def gradient(X, y, w, t, error=error):
                    return plants.mean_gradient(X, y, w, t) * X.dtype.type(1 + error)

                if not ask(case, plants.run(case, gradient=gradient)).ok:
                    found[dtype] = error
                    break
        print(f"smallest error of the gradient that is found, n={n}, d={d}: " + ", ".join(f"{k} {v:.1e}" for k, v in found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=int, default=50, help="of each defect")
    parser.add_argument("--correct", type=int, default=500, help="correct NumPy loops")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="", help="only defects with this in their code")
    parser.add_argument("--programs", action="store_true", help="only the correct programs")
    parser.add_argument("--show", action="store_true", help="print each that is not right")
    options = parser.parse_args()
    began = time.perf_counter()
    if options.programs:
        false_alarms_of_programs(options.correct, options.seed)
        return
    print("Problems drawn at random:")
    confusion(options.plants, options.seed, options.only, options.show, draw)
    print("The named problems of fastgd.testing, NIST StRD among them:")
    confusion(options.plants // 2, options.seed + 1000, options.only, options.show, draw_named)
    if not options.only:
        two_defects(10 * options.plants, options.seed)
        false_alarms(options.correct, options.seed)
        false_alarms_of_programs(max(2, options.correct // 10), options.seed)
        nameless(options.plants, options.seed)
        power()
    print(f"{time.perf_counter() - began:.0f} s, seed {options.seed}")


if __name__ == "__main__":
    main()
