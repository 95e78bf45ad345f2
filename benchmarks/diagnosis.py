"""How often `fastgd.diagnose` is right: `python benchmarks/diagnosis.py [--plants N] [--correct N] [--seed S]`.

Plants every defect of tests/planted_descents.py in problems that were drawn anew from the seed, and prints, per defect: how often its code
came out, how often an algebraically equal one with the defect in `also_possible`, how often it was within the rounding bound (nothing to
see), "unknown", or wrong. Then false alarms on correct histories, what is said about defects without a name, and the smallest error of
the gradient that is found. The table is that of docs/verify.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for tests.planted_descents

import fastgd
from tests import planted_descents as plants

NEEDS_INTERCEPT = {"intercept_not_updated", "gauss_seidel"}  # the second needs two parameters to differ
LOSS_OR_START = ("loss_", "initial_w", "recorded_after_update")


def draw(rng: np.random.Generator, code: str, dtype: str) -> plants.Case:
    kind = str(rng.choice(plants.KINDS))
    return plants.make_case(rng, dtype, kind=kind, need_intercept=code in NEEDS_INTERCEPT)


def ask(case: plants.Case, planted: plants.Planted, **more):
    name, values = planted.asked.get("optimizer", ("SGD", {}))
    dtype = planted.asked.get("dtype", case.dtype)
    X, y = (case.X, case.y) if dtype == "float64" else (case.X.astype(dtype), case.y.astype(dtype))
    return fastgd.diagnose(
        X, y, planted.w, planted.loss, lr=case.lr, optimizer=getattr(fastgd, name)(**values), intercept=case.intercept, w0=planted.w0,
        dtype=dtype, **more,
    )  # fmt: skip


def judge(code: str, diagnosis) -> str:
    """right, same (equal on these data), unseen (within the bound), unknown or WRONG."""
    if diagnosis.code == code:
        return "right"
    possible = {part for name in diagnosis.also_possible for part in name.split(" + ")}
    if code in diagnosis.codes or code in possible:
        return "same"
    if diagnosis.code == "ok":
        return "unseen"
    return "unknown" if diagnosis.code == "unknown" else "WRONG"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=int, default=40, help="of each defect")
    parser.add_argument("--correct", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", action="store_true", help="print each that is not right")
    options = parser.parse_args()
    began = time.perf_counter()
    table: dict[str, Counter[str]] = {}
    instead: dict[str, Counter[str]] = {}
    for place, (code, plant) in enumerate(plants.PLANTS.items()):
        if options.only not in code:
            continue
        table[code], instead[code] = Counter(), Counter()
        for k in range(options.plants):
            rng = np.random.default_rng([options.seed, place, k])
            dtype = ("float64", "float32")[k % 2]
            case = draw(rng, code, "float64" if code.startswith("float32") else dtype)
            planted = plant(case, rng)
            diagnosis = ask(case, planted)
            found = judge(code, diagnosis)
            table[code][found] += 1
            if found != "right":
                instead[code][diagnosis.code] += 1
                if options.show:
                    print(code, k, found, case.name, case.dtype, f"D={len(case.w0)} T={case.epochs}", diagnosis, sep=" | ")
    columns = ("right", "same", "unseen", "unknown", "WRONG")
    print(f"{'planted':26}", *(f"{name:>8}" for name in columns), "  named instead")
    for code, counts in table.items():
        others = ", ".join(f"{count}× {name}" for name, count in instead[code].most_common(4))
        print(f"{code:26}", *(f"{counts[name]:8}" for name in columns), f"  {others}")
    total = sum(table.values(), Counter())
    count = sum(total.values())
    print(f"{'all':26}", *(f"{total[name]:8}" for name in columns))
    print(f"{count} planted: {(total['right'] + total['same']) / count:.2%} named ({total['right'] / count:.2%} by code)")
    print(f"{time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
