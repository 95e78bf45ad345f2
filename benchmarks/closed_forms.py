"""Closed forms of other libraries: functions that return coefficients (fits, D), intercept last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problems import Problem

Run = Callable[[], np.ndarray]
NAMES = ("a", "b", "c")


def _with_ones(problem: Problem) -> np.ndarray:
    """X, with a column of ones where there is an intercept."""
    X = problem.X
    return np.concatenate([X, np.ones((*X.shape[:-1], 1), X.dtype)], axis=-1) if problem.intercept else X


def batched_solve(problem: Problem) -> Run:
    """Normal equations of all fits, in the data's dtype."""
    X, y = _with_ones(problem), problem.y[..., None]
    columns = X.swapaxes(1, 2)
    return lambda: np.linalg.solve(columns @ X, columns @ y)[..., 0]


def lstsq_loop(problem: Problem) -> Run:
    """LAPACK's singular values, one fit after another."""
    X = _with_ones(problem)
    return lambda: np.array([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(X, problem.y, strict=True)])


def batched_pinv(problem: Problem) -> Run:
    """Singular values of all fits; zero is what lstsq takes for it."""
    X, y = _with_ones(problem), problem.y[..., None]
    zero = max(X.shape[1:]) * np.finfo(X.dtype).eps
    return lambda: (np.linalg.pinv(X, rcond=zero) @ y)[..., 0]


def gram_pinv(problem: Problem) -> Run:
    """Eigenvalues of all Gram matrices, with half of the digits."""
    X, y = _with_ones(problem), problem.y[..., None]
    columns, zero = X.swapaxes(1, 2), max(X.shape[1:]) * np.finfo(X.dtype).eps
    return lambda: (np.linalg.pinv(columns @ X, rcond=zero, hermitian=True) @ (columns @ y))[..., 0]


def torch_lstsq(problem: Problem) -> Run:
    """LAPACK's QR of the batch, by torch."""
    import torch

    X, y = torch.from_numpy(_with_ones(problem)), torch.from_numpy(problem.y[..., None])
    return lambda: torch.linalg.lstsq(X, y, driver="gels").solution[..., 0].numpy()


def sklearn_loop(problem: Problem) -> Run:
    """An estimator for each fit."""
    from sklearn.linear_model import LinearRegression

    def one(X: np.ndarray, y: np.ndarray) -> np.ndarray:
        found = LinearRegression(fit_intercept=problem.intercept).fit(X, y)
        return np.append(found.coef_, found.intercept_) if problem.intercept else found.coef_

    return lambda: np.array([one(X, y) for X, y in zip(problem.X, problem.y, strict=True)])


# -- groups of rows of a table, keys sorted -------------------------------------------------------


def _table(problem: Problem) -> dict[str, np.ndarray]:
    names = NAMES[: problem.X.shape[1]]
    keys = np.repeat(np.arange(problem.n_fits), np.diff(problem.offsets))
    return {"key": keys, **{name: np.ascontiguousarray(problem.X[:, j]) for j, name in enumerate(names)}, "y": problem.y}


def polars_sums(problem: Problem) -> Run:
    """A line by covariance and variance; more features would need their Gram matrix by hand."""
    import polars as pl

    if problem.X.shape[1] > 1:
        raise NotImplementedError("sums of products give a line; with more features nobody writes them")
    table = pl.DataFrame(_table(problem))
    slope = pl.cov("a", "y") / pl.var("a")

    def run() -> np.ndarray:
        found = table.group_by("key", maintain_order=True).agg(slope.alias("slope"), pl.mean("a"), pl.mean("y"))
        return found.select("slope", pl.col("y") - pl.col("slope") * pl.col("a")).to_numpy()

    return run


def polars_ds(problem: Problem) -> Run:
    """polars-ds' plugin for least squares."""
    import polars as pl
    import polars_ds

    table, names = pl.DataFrame(_table(problem)), NAMES[: problem.X.shape[1]]
    solved = polars_ds.lin_reg(*names, target="y", add_bias=True).alias("w")
    return lambda: np.stack(table.group_by("key", maintain_order=True).agg(solved)["w"].explode().to_numpy().reshape(problem.n_fits, -1))


def duckdb_slope(problem: Problem) -> Run:
    """SQL's own line."""
    import duckdb

    if problem.X.shape[1] > 1:
        raise NotImplementedError("SQL has regr_slope for one feature")
    con = duckdb.connect(config={"threads": problem.threads})
    con.register("columns", {name: column for name, column in _table(problem).items()})
    con.sql("CREATE TABLE rows AS SELECT * FROM columns")
    query = "SELECT regr_slope(y, a) AS slope, regr_intercept(y, a) AS offset_, key FROM rows GROUP BY key ORDER BY key"

    def run() -> np.ndarray:
        found = con.sql(query).fetchnumpy()
        return np.stack([found["slope"], found["offset_"]], axis=1)

    return run


def pandas_apply(problem: Problem) -> Run:
    """What many write: a function for each group."""
    import pandas as pd

    table, names = pd.DataFrame(_table(problem)), list(NAMES[: problem.X.shape[1]])

    def lstsq(rows: Any) -> np.ndarray:
        A = np.column_stack([rows[names].to_numpy(), np.ones(len(rows))])
        return np.linalg.lstsq(A, rows["y"].to_numpy(), rcond=None)[0]

    return lambda: np.stack(table.groupby("key")[[*names, "y"]].apply(lstsq).to_list())


# -- one X for all; of a raster the samples come first --------------------------------------------


def xarray_polyfit(problem: Problem) -> Run:
    """xarray's own line along a dimension."""
    import xarray as xr

    cube = xr.DataArray(problem.y.T, dims=("time", "place"), coords={"time": problem.X[0, :, 0].astype(np.float64)})
    return lambda: cube.polyfit("time", 1)["polyfit_coefficients"].to_numpy().T


def lstsq_of_all(problem: Problem) -> Run:
    """One decomposition for all."""
    A = _with_ones(problem)[0]
    return lambda: np.linalg.lstsq(A, problem.y.T, rcond=None)[0].T


def pinv_of_all(problem: Problem) -> Run:
    """One decomposition, then one product."""
    A = _with_ones(problem)[0]
    return lambda: (np.linalg.pinv(A) @ problem.y.T).T


def solve_of_all(problem: Problem) -> Run:
    """Normal equations, in the data's dtype: two products and one matrix to be solved."""
    A = _with_ones(problem)[0]
    return lambda: np.linalg.solve(A.T @ A, A.T @ problem.y.T).T


def solve_of_all_in_float64(problem: Problem) -> Run:
    """`solve_of_all` of float32 data, converted first: about the digits of fastgd."""
    if problem.y.dtype == np.float64:
        raise NotImplementedError("float64 data are not converted")
    A, double = _with_ones(problem)[0], np.float64

    def run() -> np.ndarray:
        X, Y = A.astype(double), problem.y.astype(double)
        return np.linalg.solve(X.T @ X, X.T @ Y.T).T

    return run


def sklearn_of_all(problem: Problem) -> Run:
    """One estimator with a target for each fit."""
    from sklearn.linear_model import LinearRegression

    def run() -> np.ndarray:
        found = LinearRegression(fit_intercept=problem.intercept).fit(problem.X[0], problem.y.T)
        return np.column_stack([found.coef_, found.intercept_]) if problem.intercept else found.coef_

    return run
