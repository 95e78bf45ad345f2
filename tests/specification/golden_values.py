"""Golden values: what fits give, to the bit, made without a GPU and checked on one by `==`.

`python -m tests.specification.golden_values` writes those that are missing.

1. Inputs are integers from a Philox generator divided by a power of two, so that they depend on no
   version of NumPy's normal deviates.
2. A case holds its options, the digest of every array that the fit hands out (all NaN are one, −0
   is not 0), and a few numbers to look at. The files are written by the host run of the CUDA
   kernels; the CPU backend and, where there is a GPU, `cuda` must give the same.
3. Schedules are tables of rates, one per epoch and fit, made by + − × ÷ alone and written down;
   `fit` has none yet, so the kernels are called.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import fastgd
from fastgd.kernels.chunk import ALGORITHMS
from fastgd.kernels.cuda import DEVICES
from fastgd.kernels.cuda.splitting import descend
from tests.cuda_on_host.sanitized import RESULTS
from tests.kernels.cuda.test_bits import results
from tests.support.against_arbiter import bits
from tests.support.reference_chunks import chunk_of
from tests.support.rule_options import GOLDEN, optimizer, rules_with

FOLDER = Path(__file__).parent / "golden"
FIRST = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam")  # their cases take their seeds from their place in the list
SIZES = ((100, 1), (40, 3), (60, 12))  # (n, d)
MORE = ("excess_loss", "center", "scale", "state.initial_excess", "state.center", "state.scale")  # of cases that ask for them
SCHEDULES: dict[str, Callable[[int], Fraction]] = {  # {name: share of the rate at epoch t}
    "steps": lambda t: Fraction(1, 2 ** (t // 6)),
    "warm-up": lambda t: Fraction(min(t + 1, 8), 8) * Fraction(40 - t, 40),
    "triangle": lambda t: Fraction(1, 10) + Fraction(9, 10) * (1 - abs(Fraction(t % 10, 5) - 1)),
}


def cases() -> dict[str, dict[str, Any]]:
    """{name: how the fit is made}: every rule, both types, one to many parameters, weights, omitted
    samples, overflow, tol."""
    made: dict[str, dict[str, Any]] = {}
    for dtype in ("float32", "float64"):
        for rule in FIRST:
            for n, d in SIZES:
                made[f"{rule}-{dtype}-{n}-{d}"] = {"rule": rule, "dtype": dtype, "n": n, "d": d, "m": 5, "epochs": 25, "lr": 0.01}
        made |= {
            f"safe-rate-{dtype}": {"rule": "sgd", "dtype": dtype, "n": 200, "d": 4, "m": 7, "epochs": 25, "lr": None},
            f"long-{dtype}": {"rule": "sgd", "dtype": dtype, "n": 9000, "d": 2, "m": 2, "epochs": 5, "lr": None},
            f"overflow-{dtype}": {"rule": "sgd", "dtype": dtype, "n": 40, "d": 2, "m": 3, "epochs": 60, "lr": 1e20},
            f"stream-{dtype}": {"rule": "adam", "dtype": dtype, "n": 70, "d": 3, "m": 4, "epochs": 20, "lr": 0.1, "algorithm": "stream"},
            f"weights-{dtype}": {"rule": "sgd", "dtype": dtype, "n": 90, "d": 3, "m": 4, "epochs": 20, "lr": None, "weighted": True},
            f"omit-{dtype}": {"rule": "nadam", "dtype": dtype, "n": 90, "d": 3, "m": 4, "epochs": 20, "lr": 0.05, "missing": True},
            f"tol-{dtype}": {"rule": "sgd", "dtype": dtype, "n": 50, "d": 1, "m": 6, "epochs": 40, "lr": None, "tol": 1e-3},
        }
    for dtype in ("float32", "float64"):
        for rule in ("sgd", "adam", "nadam"):
            for schedule, algorithm, d in (("steps", "moments", 2), ("warm-up", "stream", 2), ("triangle", "moments", 12)):
                rates = [float(SCHEDULES[schedule](t) / 32).hex() for t in range(24)]
                made[f"{schedule}-{rule}-{dtype}"] = {"rule": rule, "dtype": dtype, "n": 50, "d": d, "m": 3, "epochs": 24, "rates": rates,
                                                      "algorithm": algorithm}  # fmt: skip
    numbered = {name: {"seed": seed, **case} for seed, (name, case) in enumerate(made.items())}
    for dtype in ("float32", "float64"):
        common = {"dtype": dtype, "n": 60, "m": 5, "more": True}
        numbered |= {
            f"excess-{dtype}": {"seed": 1000, "rule": "sgd", "d": 3, "epochs": 60, "lr": None, "tol": 1e-2, **common},
            f"penalty-{dtype}": {"seed": 1001, "rule": "sgd", "d": 11, "epochs": 60, "lr": 0.02, "tol": 1e-2, **common},
            f"standardize-{dtype}": {"seed": 1003, "rule": "adam", "d": 2, "epochs": 20, "lr": 0.1, "standardize": True, **common},
        }
    for dtype in ("float32", "float64"):
        for seed, (rule, n, d, batches) in enumerate((
            ("sgd", 90, 3, {"batch_size": 32}), ("adam", 60, 12, {"batch_size": 7, "drop_last": True}),
            ("rmsprop", 50, 1, {"batch_size": 50, "shuffle": False}), ("nadam", 40, 2, {"batch_size": 1, "seed": 2**40}),
        )):  # fmt: skip
            more = {"weighted": True} if rule == "sgd" else {"missing": True} if rule == "adam" else {}
            case = {"rule": rule, "dtype": dtype, "n": n, "d": d, "m": 3, "epochs": 5, "lr": 0.01, "batches": batches, **more}
            numbered[f"batches-{rule}-{dtype}"] = {"seed": 2000 + seed, **case}
    for rule in rules_with("cuda"):
        if rule not in FIRST:
            for dtype in ("float32", "float64"):
                for seed, (n, d) in enumerate(SIZES):
                    case = {"rule": rule, "dtype": dtype, "n": n, "d": d, "m": 5, "epochs": 25, "lr": 0.5}
                    numbered[f"{rule}-{dtype}-{n}-{d}"] = {"seed": seed, **case}
    return numbered


def file_of(case: Mapping[str, Any]) -> str:
    """The file of a case: that of mini-batches, by data type, or that of a later rule."""
    return f"{'batches' if 'batches' in case else case['dtype'] if case['rule'] in FIRST else case['rule']}.json"


def fit_case(case: dict[str, Any], backend: str) -> fastgd.FitResult:
    """The fit of a case."""
    rng = np.random.Generator(np.random.Philox(case["seed"]))
    m, n, d = case["m"], case["n"], case["d"]
    X, y = (rng.integers(-(2**20), 2**20, shape).astype(case["dtype"]) / 2**18 for shape in ((m, n, d), (m, n)))
    weights = rng.integers(0, 64, (m, n)).astype(case["dtype"]) / 16 if case.get("weighted") else None
    if case.get("missing"):
        y[rng.integers(0, 5, (m, n)) == 0] = np.nan
    hyper = GOLDEN[case["rule"]] if case["rule"] != "sgd" or case["lr"] is not None else {}
    return fastgd.fit(
        X, y, lr=case["lr"], optimizer=optimizer(case["rule"], hyper), epochs=case["epochs"], intercept=case["seed"] % 2 == 1,
        sample_weight=weights, nan_policy="omit", tol=case.get("tol"), algorithm=case.get("algorithm", "auto"), history=True,
        standardize=case.get("standardize", False), backend=backend, **case.get("batches", {}),
    )  # fmt: skip


def run_schedule(case: dict[str, Any], backend: str) -> dict[str, np.ndarray]:
    """What the kernels give with a rate of its own for every epoch, and twice as much for every
    further fit."""
    rng = np.random.Generator(np.random.Philox(case["seed"]))
    m, n, d = case["m"], case["n"], case["d"]
    X, y = (rng.integers(-(2**20), 2**20, shape).astype(case["dtype"]) / 2**18 for shape in ((m, n, d), (m, n)))
    rates = np.array([float.fromhex(rate) for rate in case["rates"]])[:, None] * 2.0 ** np.arange(m)
    options = {name: float(value) for name, value in GOLDEN[case["rule"]].items()}
    chunk = chunk_of(
        X, y, dtype=case["dtype"], lr=rates, epochs=case["epochs"], rule=case["rule"], intercept=case["seed"] % 2 == 1, **options
    )
    chunk.algorithm[:] = ALGORITHMS.index(case["algorithm"])
    cancel, progress, own = np.zeros(1, np.int32), np.zeros(1, np.int64), np.arange(m)
    if backend == "cpu":
        from fastgd.kernels import cpu  # late: without Numba the others can still be asked

        moments = cpu.Moments.empty(m, m, chunk.w.shape[1], chunk.X.dtype)
        cpu.compress_fits(chunk, chunk.intercept, moments, cancel)
        cpu.descend(chunk, moments, own, own, cancel, progress)
    else:
        descend(chunk, cancel, progress, DEVICES[backend]())
    return {name: getattr(chunk, name) for name in RESULTS}


def run_case(case: dict[str, Any], backend: str) -> dict[str, Any]:
    """What a backend tells of a case."""
    if "rates" in case:
        arrays = run_schedule(case, backend)
        return told(arrays, arrays["w_out"], arrays["loss"])
    result = fit_case(case, backend)
    arrays = {name: array for name, array in results(result).items() if "more" in case or name not in MORE}
    if "batches" in case:
        arrays |= {"history.batch_loss": result.history.batch_loss, "state.passes": result.state.passes}
    return told(arrays, result.w, result.loss)


def told(arrays: Mapping[str, np.ndarray], w: np.ndarray, loss: np.ndarray) -> dict[str, Any]:
    """Digests of all arrays, and the last row of the first fit in hexadecimal."""
    digests = {}
    for name, array in arrays.items():
        content = (bits(array) if array.dtype.kind == "f" else array).astype(f"<{'u' if array.dtype.kind == 'f' else 'i'}8")
        digests[name] = hashlib.sha256(f"{array.dtype.name}{array.shape}".encode() + content.tobytes()).hexdigest()[:32]
    return {"digests": digests, "w": [float(v).hex() for v in w[0]], "loss": float(loss[0]).hex()}


def check(backend: str) -> int:
    """Compare a backend with the files; 1 where it differs."""
    golden = {name: content for path in sorted(FOLDER.glob("*.json")) for name, content in json.loads(path.read_text()).items()}
    wrong = [name for name, content in golden.items() if any(content[k] != v for k, v in run_case(content["case"], backend).items())]
    print(f"{backend}: {len(golden) - len(wrong)} of {len(golden)} golden values" + (f"; NOT {', '.join(wrong)}" if wrong else ""))
    return int(bool(wrong) or not golden)


def main() -> int:
    """Write the values that are missing, and no other; or compare: `--check cuda`."""
    if sys.argv[1:2] == ["--check"]:
        return check(sys.argv[2])
    import tests.cuda_on_host  # noqa: F401  registers cuda-host

    FOLDER.mkdir(exist_ok=True)
    for name, case in cases().items():
        path = FOLDER / file_of(case)
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if name not in content:
            content[name] = {"case": case, **run_case(case, "cuda-host")}
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(f"{path.name}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
