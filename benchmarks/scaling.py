"""How time grows with fits, samples, features, epochs, threads, cells of a sweep, and groups.

1. One quantity at a time, over three decades, the others as POINTS says; threads from 1 to all that
   there are. Times are of calls that keep w alone; all points of a quantity are measured in turn.
2. The line beside them is predicted from the counts of counting.py and the rates that this machine
   reached in the same run: the time to read the data, or that of the multiply-adds, whichever is
   more. Above 256 features `fit` takes `stream`, which goes through the samples at every epoch.
3. A fit of every point is judged by the error bound before it is timed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fastgd
from fastgd.planning.plan import available_threads
from fastgd.speed import agreeing
from fastgd.speed.counting import bytes_read, compress_operations, descend_operations, stream_operations
from fastgd.speed.making import make_data, make_groups
from fastgd.speed.measuring import Journal, Row, interleaved, percentiles, shown

BASE = {"n_fits": 10_000, "n_samples": 100, "n_features": 1, "epochs": 100}
POINTS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {  # quantity: (its values, what else differs from BASE)
    "n_fits": ((1, 10, 100, 1_000, 10_000, 100_000, 1_000_000), {}),
    "n_samples": ((100, 1_000, 10_000, 100_000), {"n_fits": 300}),
    "n_features": ((1, 3, 10, 30, 100, 300, 1_000), {"n_fits": 20, "n_samples": 3_000}),
    "epochs": ((10, 100, 1_000, 10_000), {"n_fits": 1_000}),
    "threads": ((), {"n_fits": 100_000}),
    "cells": ((10, 100, 1_000, 10_000), {"n_samples": 10_000, "n_features": 16}),
    "groups": ((1_000, 10_000, 100_000, 1_000_000), {"n_features": 3}),
}
WORDS = {"n_fits": "fits", "n_samples": "samples", "n_features": "features", "epochs": "epochs", "threads": "threads",
         "cells": "rates of a sweep", "groups": "groups of rows, closed form"}  # fmt: skip
REPEATS, SECONDS = 7, 4.0


@dataclass(frozen=True)
class Point:
    """A call, and what it must do at least."""

    call: Callable[[], object]
    n_fits: int
    bytes_read: int
    fma64: int
    fma32: int = 0


def safe_rate(X: np.ndarray) -> float:
    """A rate at which standard normal features converge: below 1/λ_max, λ_max ≤ 2 (1 + √(d/n))²."""
    return 0.4 / (1 + float(np.sqrt(X.shape[-1] / X.shape[-2]))) ** 2


def point_of(quantity: str, value: int, dtype: str) -> Point:
    """One point, checked."""
    sizes = BASE | POINTS[quantity][1] | {quantity: value}
    n, d, epochs, double = sizes["n_samples"], sizes["n_features"], sizes["epochs"], dtype == "float64"
    if quantity == "groups":
        X, y, offsets = make_groups(value)
        rows = slice(0, offsets[1])
        w = fastgd.solve(X[rows], y[rows], intercept=True)
        agreeing.check_coefficients(np.append(w.w, w.intercept), X[rows], y[rows], 2.0**-53, intercept=True)
        call = functools.partial(fastgd.solve_groups, X, y, offsets=offsets, intercept=True, progress=False)
        return Point(call, value, X.nbytes + y.nbytes, compress_operations(len(y), d + 1, True))
    m = 1 if quantity == "cells" else sizes["n_fits"]
    X, y = make_data(m, n, d, dtype)
    rate = safe_rate(X)
    told = fastgd.fit(X[0], y[0], lr=rate, epochs=min(10, epochs), history=True)
    agreeing.judged(told, X[0], y[0], agreeing.OURS, lr=rate)
    read, sums = bytes_read(m, n, d, X.itemsize), m * compress_operations(n, d, double)
    if quantity == "cells":
        grid = {"lr": np.geomspace(1e-4, rate, value)}
        call = functools.partial(fastgd.sweep, X[0], y[0], grid=grid, epochs=epochs, progress=False)
        return Point(call, value, read, sums + value * descend_operations(d, epochs, 1, double))
    threads = value if quantity == "threads" else available_threads()
    call = functools.partial(fastgd.fit, X, y, lr=rate, epochs=epochs, threads=threads, progress=False)
    if told.algorithm == "stream":
        operations = m * stream_operations(n, d, epochs)
        return Point(call, m, read, operations if double else 0, 0 if double else operations)
    return Point(call, m, read, sums + m * descend_operations(d, epochs, 1, double))


def measure_quantity(quantity: str, dtype: str, machine: Row, share: float) -> list[Row]:
    """The points of one quantity, in turn."""
    values = POINTS[quantity][0] or tuple(sorted({1, available_threads()} | {2**k for k in range(1, 12) if 2**k < available_threads()}))
    values = values if share == 1.0 else values[:2]
    points = {value: point_of(quantity, value, dtype) for value in values}
    seconds = interleaved({str(value): point.call for value, point in points.items()}, REPEATS, SECONDS * share)
    rows = []
    for value, point in points.items():
        spent = percentiles(seconds[str(value)])
        threads = value if quantity == "threads" else machine["threads"]
        part = threads / machine["threads"]  # of what all threads can do; one thread may read more than its part
        times = {"read": point.bytes_read / machine["read_gb_per_s"] / 1e9, "fma64": point.fma64 / machine["fma64_g_per_s"] / part / 1e9,
                 "fma32": point.fma32 / machine["fma32_g_per_s"] / part / 1e9}  # fmt: skip
        by = max(times, key=lambda kind: times[kind])
        rows.append({"scaling": quantity, "value": value, "dtype": dtype, **spent, "n_fits": point.n_fits, "predicted_s": times[by],
                     "predicted_by": by, "repeats": len(seconds[str(value)])})  # fmt: skip
    return rows


def measure_all(journal: Journal, share: float) -> None:
    """Rows of all quantities; those that the journal has are left out."""
    machine = next(row for row in journal.rows if row.get("machine") == "limits")
    for quantity in POINTS:
        for dtype in ("float32",) if quantity == "cells" else ("float64",) if quantity == "groups" else ("float32", "float64"):
            if journal.has(scaling=quantity, dtype=dtype):
                continue
            for row in measure_quantity(quantity, dtype, machine, share):
                journal.write(row)
                told = f"{shown(row['median']):>9}, predicted at least {shown(row['predicted_s'])} ({row['predicted_by']})"
                print(f"{row['value']:>9,} {WORDS[quantity]:28} {dtype:8} {told}", flush=True)
