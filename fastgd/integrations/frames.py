"""fit_frame() and predict_frame(): fits of groups of rows of a data frame, by names of columns.

1. Frames are read and made through narwhals: pandas, polars, pyarrow, and lazy ones (polars,
   DuckDB), of which only the columns that are named are collected. What comes back is a frame of
   the library that came in.
2. Labels of groups stay where they are: only which rows have equal ones is computed, and the rows
   of the result are picked out of the caller's own columns, with their dtypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.labels import groups_of_labels
from ..input.float_mode import computes
from ..input.messages import shown
from ..input.options import read_switch
from ..input.unreadable import is_missing
from ..input.wrong_names import helps_with_keywords
from .dask_frames import fit_partitions, is_dask_frame, predict_partitions
from .frame_columns import collect, labels_of, numbers_of, read_names, require, series_of
from .frame_fits import FrameFits


@helps_with_keywords
@computes
def fit_frame(
    df: Any,
    *,
    y: str | Sequence[str],
    x: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    weights: str | None = None,
    intercept: bool = True,
    solve: bool = False,
    long: bool = False,
    **fit_options: Any,
) -> Any:
    """Fit the groups of a data frame, and return a frame with a row for each of them.

    ::

        y ~ x (+ intercept), for the rows of each group

    Each group has the bits of `fit` with its rows alone, whatever the library of the frame.

    Parameters
    ----------
    df : data frame
        Of pandas, polars, pyarrow or another library that narwhals knows; lazy ones (polars,
        DuckDB) too, of which the columns that are named here are collected. A Dask DataFrame is
        fitted partition by partition, when its result is computed: docs/how-to/dask.md.
    y : str, or several
        The column of the targets. Of several each is fitted: the result has a column ``y`` with its
        name, and a row for each.
    x : str, or several
        The columns of the features.
    by : str, or several, optional
        The columns whose equal values make a group. Missing ones (null, NA, NaN) are equal, and a
        group like any other. None: all rows are one.
    weights : str, optional
        The column of the sample weights, ≥ 0.
    intercept : bool, default True
        Whether to fit an intercept.
    solve : bool, default False
        In closed form, by `fastgd.solve`, instead of by descent.
    long : bool, default False
        A row for each coefficient, with the columns ``term`` and ``estimate``, instead of a column;
        with the option ``stats`` also ``std_error``, ``t`` and, where SciPy is installed, ``p`` and
        the ends of the 95 % interval, ``low`` and ``high``.
    **fit_options
        Further options of `fit` (of `solve` where solve=True), such as ``epochs``,
        ``nan_policy="omit"``, ``min_samples``, ``tol``, ``stats``, ``standardize`` or
        ``checkpoint``, a folder where finished groups are stored, from which the same call goes on;
        without ``history``, ``state``, ``out`` and validation data. A null or NA in x, y or weights
        is a number that is missing.

    Returns
    -------
    data frame of the library of df, lazy where df is
        A row for each group, in the order of the groups' first rows, also where its fit failed: the
        columns ``by``, then ``n_used``, ``status``, ``epochs``, ``loss``, ``excess_loss`` (of
        `solve` ``n_used``, ``status``, ``loss``, ``rank``, ``condition``, ``ill_conditioned``),
        ``intercept`` and a column for each of x, which holds its coefficient. With ``stats`` also
        ``std_error_<name>``, ``t_<name>``, ``p_<name>`` of each, and ``r2``, ``dof``, ….

    Raises
    ------
    ImportError
        When narwhals is not installed: ``pip install 'fastgd[frames]'``.
    ValueError, TypeError
        When there is no such column, one is not of numbers, or an option is wrong; the message
        names it.
    MemoryError
        When the columns, the results and one group do not fit into the memory limit.

    See Also
    --------
    predict_frame : predictions and residuals, joined to the rows.
    fit_groups : Groups of arrays.

    Examples
    --------
    >>> import fastgd, polars as pl
    >>> columns = {"tail": ["a", "a", "a", "b", "b"], "x": [1, 2, 3, 1, 2], "y": [3, 5, 7, 1, 0]}
    >>> df = pl.DataFrame(columns)
    >>> lines = fastgd.fit_frame(df, y="y", x="x", by="tail", solve=True)
    >>> lines.select("tail", "n_used", pl.col("intercept", "x").round(6)).rows()
    [('a', 3, 1.0, 2.0), ('b', 2, 2.0, -1.0)]
    """
    asked = FrameFits.read(
        "fit_frame", y=y, x=x, by=by, weights=weights, intercept=intercept, solve=solve, long=long, options=fit_options
    )  # fmt: skip
    if is_dask_frame(df):
        return fit_partitions(df, asked)
    frame, lazy = collect(df, asked.columns)
    if not len(frame):
        raise ValueError("df has no rows")
    made = asked.fit_all(frame)
    return made.lazy(backend=lazy).to_native() if lazy is not None else made.to_native()


@helps_with_keywords
@computes
def predict_frame(
    df: Any,
    fits: Any,
    *,
    x: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    y: str | None = None,
    residuals: bool = False,
    name: str | None = None,
) -> Any:
    """Join the predictions of fitted groups, or the residuals, to the rows of a data frame.

    ::

        prediction = intercept + Σ coefficient · x        residual = prediction − y

    Parameters
    ----------
    df : data frame
        The rows, with the columns ``x`` and ``by``: those that were fitted, or new ones.
    fits : data frame
        What `fit_frame` returned for these ``x`` and ``by``, without ``long``; of the same library.
    x : str, or several
        The columns of the features.
    by : str, or several, optional
        The columns that tell the group of a row. None: all rows belong to the one fit.
    y : str, optional
        The column of the targets: for residuals, or where ``fits`` are of several.
    residuals : bool, default False
        Residuals instead of predictions.
    name : str, optional
        Name of the new column, "prediction" or "residual" by default.

    Returns
    -------
    data frame of the library of df, lazy where df is
        All columns and rows of df in their order, and the new column: NaN where the group was not
        fitted, or a feature is missing.

    Raises
    ------
    ImportError
        When narwhals is not installed: ``pip install 'fastgd[frames]'``.
    ValueError, TypeError
        When there is no such column, df has the new one already, or fits have a group twice.

    Examples
    --------
    >>> import fastgd, pandas as pd
    >>> columns = {"tail": ["a", "a", "b", "b", "c"], "x": [1, 2, 1, 2, 5], "y": [3, 5, 1, 0, 9]}
    >>> df = pd.DataFrame(columns)
    >>> fits = fastgd.fit_frame(df[:4], y="y", x="x", by="tail", solve=True)
    >>> fastgd.predict_frame(df, fits, x="x", by="tail")["prediction"].round(6).tolist()
    [3.0, 5.0, 1.0, 0.0, nan]
    """
    residuals = read_switch(residuals, "residuals")
    if residuals and y is None:
        raise TypeError("residuals need y, the column of the targets")
    features, keys = read_names(x, "x"), read_names(by, "by", none=True)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be that of a column, a text, not {shown(name)}")
    name = ("residual" if residuals else "prediction") if name is None else name
    if is_dask_frame(df):
        options = {"x": features, "by": keys or None, "y": y, "residuals": residuals, "name": name}
        return predict_partitions(df, fits, predict_frame, options)
    rows, lazy = collect(df, None)
    fitted, _ = collect(fits, None, "fits")
    require(rows, [*keys, *features, *([] if y is None else [y])], "df")
    require(fitted, [*keys, *features], "fits")
    if name in rows.columns:
        raise ValueError(f"df has a column {name!a} already: give another name")
    if "y" in fitted.columns and "y" not in keys + features:
        if y is None:
            raise TypeError("fits are of several targets: give y, the one to predict")
        fitted = fitted.filter(fitted["y"] == y)
    group = _group_of_each_row(rows, fitted, keys)
    of_fits = [numbers_of(fitted, one, "fits") for one in features]
    values = np.zeros(len(rows)) if "intercept" not in fitted.columns else _picked(numbers_of(fitted, "intercept", "fits"), group)
    for one, coefficient in zip(features, of_fits, strict=True):
        values = values + _picked(coefficient, group) * numbers_of(rows, one, "x").astype(np.float64)
    values = np.where(group < 0, np.nan, values)
    if residuals:
        values = values - numbers_of(rows, str(y), "y").astype(np.float64)
    made = rows.with_columns(series_of(name, values, rows))
    return made.lazy(backend=lazy).to_native() if lazy is not None else made.to_native()


# -- predicting ------------------------------------------------------------------------------------


def _group_of_each_row(rows: Any, fits: Any, keys: list[str]) -> np.ndarray:
    """(n_rows,) int64: the row of `fits` that each row belongs to; −1: none."""
    n_fits = len(fits)
    if not keys:
        if n_fits != 1:
            raise ValueError(f"fits have {n_fits:,} rows: give by, the columns that tell the group of a row")
        return np.zeros(len(rows), np.int64)
    known = {labels: place for place, labels in enumerate(_labels_in_words(fits, keys))}
    if len(known) < n_fits:
        raise ValueError("fits have a group twice: give what fit_frame returned, without long=True")
    groups = groups_of_labels([labels_of(rows[name], name) for name in keys])
    of_groups = [known.get(labels, -1) for labels in _labels_in_words(rows[groups.first_rows], keys)]
    found = np.empty(len(rows), np.int64)
    found[slice(None) if groups.rows is None else groups.rows] = np.repeat(np.array(of_groups, np.int64), groups.sizes)
    return found


def _labels_in_words(frame: Any, keys: list[str]) -> list[tuple[Any, ...]]:
    """The labels of each row as Python's objects; None where one is missing."""
    columns = [[None if is_missing(label) else label for label in frame[name].to_list()] for name in keys]
    return list(zip(*columns, strict=True))


def _picked(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The values at these places, whatever where a place is −1."""
    return values.astype(np.float64)[places]
