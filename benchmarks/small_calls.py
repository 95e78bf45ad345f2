"""One small call, Python included, against an empty compiled call with the same arguments.

A call like an earlier one goes a shorter way (fastgd/planning/call_cache.py): both are measured.
An unlike call differs in `min_samples`, which here changes nothing else.
"""

from __future__ import annotations

import functools

import numpy as np

import fastgd
from benchmarks.cases import LEARNING_RATE, make_data, worst_tau
from benchmarks.limits import empty_like
from benchmarks.measuring import Row, percentiles, timed

N_SAMPLES, EPOCHS = 1_000, 10
MOST_SECONDS, MOST_CALLS = 40e-6, 10.0  # the aim: as fast as one of them


def arguments_of_the_kernel(X: np.ndarray, y: np.ndarray) -> tuple[object, ...]:
    """What the kernel is given by such a call."""
    from fastgd.kernels import cpu

    seen: list[tuple[object, ...]] = []
    kernel = cpu.descend_packs

    def listen(*arguments: object) -> object:
        seen.append(arguments)
        return kernel(*arguments)

    cpu.descend_packs = listen
    try:
        fastgd.fit(X, y, lr=LEARNING_RATE, epochs=EPOCHS)
    finally:
        cpu.descend_packs = kernel
    return seen[-1]


def measure_small_calls(quick: bool) -> list[Row]:
    """Rows of a call like an earlier one and of an unlike one, both dtypes."""
    rows = []
    repeats = 100 if quick else 1_000
    for dtype in ("float32", "float64"):
        X, y = (array[0] for array in make_data(1, N_SAMPLES, 1, dtype))
        tau = worst_tau(X[None], y[None], EPOCHS)
        empty = empty_like(arguments_of_the_kernel(X, y))

        def like(X: np.ndarray = X, y: np.ndarray = y) -> fastgd.FitResult:
            return fastgd.fit(X, y, lr=LEARNING_RATE, epochs=EPOCHS)

        def unlike(least: int, X: np.ndarray = X, y: np.ndarray = y) -> fastgd.FitResult:
            return fastgd.fit(X, y, lr=LEARNING_RATE, epochs=EPOCHS, min_samples=least)

        first = timed(like)
        seconds: dict[str, list[float]] = {"unlike": [], "like": [], "empty": []}
        for repeat in range(repeats):
            # min_samples is new each time; when there are too many keys all are forgotten, so
            # `like` runs once untimed
            seconds["unlike"].append(timed(functools.partial(unlike, 1 + repeat % N_SAMPLES)))
            like()
            seconds["like"].append(timed(like))
            seconds["empty"].append(timed(empty))
        call = float(np.median(seconds["empty"]))
        for kind, words in (("like", "like an earlier one"), ("unlike", "unlike any earlier one")):
            spent = percentiles(seconds[kind])
            limit = max(MOST_SECONDS, MOST_CALLS * call)
            rows.append({
                "case": f"a small call, {words}", "n_fits": 1, "n_samples": N_SAMPLES, "n_features": 1, "epochs": EPOCHS, "dtype": dtype,
                "rule": "sgd", "backend": "cpu", "algorithm": "moments", "history": False, **spent, "first_call": first,
                "empty_call": call, "empty_calls": spent["median"] / call, "worst_tau": tau,
                "aim": "≤ 40 µs, or ≤ 10 × an empty compiled call", "limit": "10 empty calls, or 40 µs", "limit_s": limit,
                "most": 1.0, "ratio": spent["median"] / limit, "ratio_p20": spent["p20"] / limit, "ratio_p80": spent["p80"] / limit,
                "met": spent["median"] <= limit, "repeats": repeats,
            })  # fmt: skip
    return rows
