"""Golden values: what fits give, to the bit, made without a GPU and checked on one by `==`. `python -P -m tests.golden_values` writes them.

1. Inputs are integers from a Philox generator divided by a power of two, so that they depend on no version of NumPy's normal deviates.
2. A case holds its options, the digest of every array that the fit hands out (all NaN are one, −0 is not 0), and a few numbers to look at.
   The files are written by the host run of the CUDA kernels; the CPU backend and, where there is a GPU, `cuda` must give the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fastgd
from tests.against_arbiter import OPTIMIZERS, bits
from tests.test_cuda_bits import results

FOLDER = Path(__file__).parent / "golden"
RULES: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adam": {"amsgrad": True},
    "adamw": {},
    "rmsprop": {"centered": True, "momentum": 0.5},
    "adagrad": {"lr_decay": 0.01},
    "nadam": {"decoupled_weight_decay": True, "weight_decay": 0.01},
}


def cases() -> dict[str, dict[str, Any]]:
    """{name: how the fit is made}: every rule, both types, one to many parameters, weights, omitted samples, overflow, tol."""
    made: dict[str, dict[str, Any]] = {}
    for dtype in ("float32", "float64"):
        for rule in RULES:
            for n, d in ((100, 1), (40, 3), (60, 12)):
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
    return {name: {"seed": seed, **case} for seed, (name, case) in enumerate(made.items())}


def fit_case(case: dict[str, Any], backend: str) -> fastgd.FitResult:
    """The fit of a case."""
    rng = np.random.Generator(np.random.Philox(case["seed"]))
    m, n, d = case["m"], case["n"], case["d"]
    X, y = (rng.integers(-(2**20), 2**20, shape).astype(case["dtype"]) / 2**18 for shape in ((m, n, d), (m, n)))
    weights = rng.integers(0, 64, (m, n)).astype(case["dtype"]) / 16 if case.get("weighted") else None
    if case.get("missing"):
        y[rng.integers(0, 5, (m, n)) == 0] = np.nan
    rule = RULES[case["rule"]] if case["rule"] != "sgd" or case["lr"] is not None else {}
    return fastgd.fit(
        X, y, lr=case["lr"], optimizer=OPTIMIZERS[case["rule"]](**rule), epochs=case["epochs"], intercept=case["seed"] % 2 == 1,
        sample_weight=weights, nan_policy="omit", tol=case.get("tol"), algorithm=case.get("algorithm", "auto"), history=True,
        backend=backend,
    )  # fmt: skip


def told(result: fastgd.FitResult) -> dict[str, Any]:
    """Digests of all arrays, and the last row of the first fit in hexadecimal."""
    digests = {}
    for name, array in results(result).items():
        content = (bits(array) if array.dtype.kind == "f" else array).astype(f"<{'u' if array.dtype.kind == 'f' else 'i'}8")
        digests[name] = hashlib.sha256(f"{array.dtype.name}{array.shape}".encode() + content.tobytes()).hexdigest()[:32]
    return {"digests": digests, "w": [float(v).hex() for v in result.w[0]], "loss": float(result.loss[0]).hex()}


def main() -> int:
    """Write every file anew."""
    import tests.cuda_on_host  # noqa: F401  registers cuda-host

    FOLDER.mkdir(exist_ok=True)
    for dtype in ("float32", "float64"):
        chosen = {name: case for name, case in cases().items() if case["dtype"] == dtype}
        content = {name: {"case": case, **told(fit_case(case, "cuda-host"))} for name, case in chosen.items()}
        (FOLDER / f"{dtype}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"{dtype}: {len(content)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
