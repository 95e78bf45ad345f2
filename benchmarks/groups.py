"""Time of fits of the groups of a table, beside other libraries on the same table.

    python benchmarks/groups.py [--groups 1000000] [--repetitions 3]

Groups of 5 to 200 rows, sizes k with probability k^-1.2 (many small ones); float64 columns a, b, c,
y and a key of whole numbers, in a polars frame sorted by key; then the same rows shuffled.
polars-ds runs where it is installed; pandas' apply runs on the first 2,000 groups. Nothing is timed
before it agrees with numpy.linalg.lstsq of some groups.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl

import fastgd

SHARE = 2000  # groups that pandas fits
X, D1 = ["a", "b", "c"], ["a"]
LS = {"y": "y", "by": "key", "solve": True}


def make_table(n_groups: int) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(2024)
    sizes = np.arange(5, 201)
    chance = sizes**-1.2 / (sizes**-1.2).sum()
    rows = rng.choice(sizes, n_groups, p=chance)
    n = int(rows.sum())
    columns = {name: rng.standard_normal(n) for name in "abc"}
    y = columns["a"] - 2 * columns["b"] + 0.5 * columns["c"] + 0.1 * rng.standard_normal(n) + 3
    return pl.DataFrame({"key": np.repeat(np.arange(n_groups), rows), **columns, "y": y}), np.concatenate([[0], np.cumsum(rows)])


def check(table: pl.DataFrame, offsets: np.ndarray) -> None:
    """The coefficients of some groups are LAPACK's, within what rounding may do to it."""
    head = table.head(int(offsets[50]))
    made = fastgd.fit_frame(head, x=X, **LS)
    for g in range(50):
        rows = head.slice(int(offsets[g]), int(offsets[g + 1] - offsets[g]))
        A = np.column_stack([*(rows[name].to_numpy() for name in X), np.ones(len(rows))])
        w = np.linalg.lstsq(A, rows["y"].to_numpy(), rcond=None)[0]
        found = np.array(made.select(*X, "intercept").row(g))
        assert np.abs(found - w).max() <= 1e-15 * 20 * np.linalg.cond(A) ** 2 * np.abs(w).max(), (g, found, w)


def timed(call: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """The median time of some calls, and the median of what all threads computed [s]."""
    took = []
    for _ in range(repetitions):
        began = time.perf_counter(), time.process_time()
        call()
        took.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    whole, computed = np.median(took, axis=0).tolist()
    return whole, computed


def lstsq(rows: pd.DataFrame) -> np.ndarray:
    A = np.column_stack([rows[X].to_numpy(), np.ones(len(rows))])
    return np.linalg.lstsq(A, rows["y"].to_numpy(), rcond=None)[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--groups", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    table, offsets = make_table(given.groups)
    check(table, offsets)
    n, size = len(table), table.select(*X, "y").estimated_size()
    print(f"{given.groups:,} groups, {n:,} rows, {size / 1e6:,.0f} MB in the columns a, b, c, y; polars {pl.__version__}")
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=1)
    matrix, y = np.stack([table[name].to_numpy() for name in X]).T, table["y"].to_numpy()
    small = table.head(int(offsets[SHARE])).to_pandas()
    cases: dict[str, Callable[[], object]] = {
        "read the columns once (polars sum)": lambda: table.select(pl.col(*X, "y").sum()),
        "fastgd.solve_groups, arrays, offsets, d = 3": lambda: fastgd.solve_groups(matrix, y, offsets=offsets, intercept=True),
        "fastgd.solve_groups, stats=True, d = 3": lambda: fastgd.solve_groups(matrix, y, offsets=offsets, intercept=True, stats=True),
        "fastgd.compress_groups, arrays, offsets, d = 3": lambda: fastgd.compress_groups(matrix, y, offsets=offsets, intercept=True),
        "fastgd.fit_frame(solve=True), d = 3": lambda: fastgd.fit_frame(table, x=X, **LS),
        "fastgd.fit_frame(solve=True, stats=True), d = 3": lambda: fastgd.fit_frame(table, x=X, **LS, stats=True),
        "fastgd.fit_frame, 100 epochs, d = 3": lambda: fastgd.fit_frame(table, y="y", x=X, by="key", epochs=100),
        "fastgd.fit_frame(solve=True), d = 1": lambda: fastgd.fit_frame(table, x=D1, **LS),
        "polars group_by, cov / var, d = 1": lambda: table.group_by("key").agg(pl.cov("a", "y") / pl.var("a")),
        "fastgd.fit_frame(solve=True), d = 3, rows shuffled": lambda: fastgd.fit_frame(shuffled, x=X, **LS),
        "polars group_by, cov / var, d = 1, rows shuffled": lambda: shuffled.group_by("key").agg(pl.cov("a", "y") / pl.var("a")),
        f"pandas groupby.apply(lstsq), d = 3, {SHARE:,} groups": lambda: small.groupby("key").apply(lstsq, include_groups=False),
    }
    try:
        import polars_ds

        ols = polars_ds.lin_reg(*X, target="y", add_bias=True)
        cases["polars-ds lin_reg, d = 3"] = lambda: table.group_by("key").agg(ols)
        cases["polars-ds lin_reg, d = 3, rows shuffled"] = lambda: shuffled.group_by("key").agg(ols)
    except ImportError:
        print("polars-ds is not installed: its rows are left out")
    for name, call in cases.items():
        whole, computed = timed(call, given.repetitions)
        print(f"  {name:<52} {whole:8.3f} s, {computed:8.3f} s of all threads", flush=True)


if __name__ == "__main__":
    main()
