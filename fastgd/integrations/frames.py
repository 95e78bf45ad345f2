"""fit_frame() and predict_frame(): fits of groups of rows of a data frame, by names of columns.

1. Frames are read and made through narwhals: pandas, polars, pyarrow, and lazy ones (polars,
   DuckDB), of which only the columns that are named are collected. What comes back is a frame of
   the library that came in.
2. Labels of groups stay where they are: only which rows have equal ones is computed, and the rows
   of the result are picked out of the caller's own columns, with their dtypes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.labels import Groups, Labels, comparable, groups_of_labels, groups_of_offsets
from ..grouping import fit_rows
from ..input.float_mode import computes
from ..input.messages import amount, kind_of, shown, what_was_raised
from ..input.options import read_memory_limit, read_switch
from ..input.unreadable import is_missing
from ..input.wrong_names import helps_with_keywords
from ..results.status import STATUS_NAMES

_NOT_HERE = {
    "sample_weight": "give weights, the name of a column",
    "history": "a frame has a row for each group: use fastgd.fit_groups",
    "state": "a frame holds none: use fastgd.fit_groups",
}
_OF_FITS = ("n_used", "status", "epochs", "loss", "excess_loss")
_OF_SOLUTIONS = ("n_used", "status", "loss", "rank", "condition", "ill_conditioned")


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
        DuckDB) too, of which the columns that are named here are collected.
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
        A row for each coefficient, with the columns ``term`` and ``estimate``, instead of a column.
    **fit_options
        Further options of `fit` (of `solve` where solve=True), such as ``epochs``,
        ``nan_policy="omit"``, ``min_samples``, ``tol`` or ``standardize``; without ``history``,
        ``state`` and ``out``. A null or NA in x, y or weights is a number that is missing.

    Returns
    -------
    data frame of the library of df, lazy where df is
        A row for each group, in the order of the groups' first rows, also where its fit failed: the
        columns ``by``, then ``n_used``, ``status``, ``epochs``, ``loss``, ``excess_loss`` (of
        `solve` ``n_used``, ``status``, ``loss``, ``rank``, ``condition``, ``ill_conditioned``),
        ``intercept`` and a column for each of x, which holds its coefficient.

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
    fit_groups : the same of arrays.

    Examples
    --------
    >>> import fastgd, polars as pl
    >>> columns = {"tail": ["a", "a", "a", "b", "b"], "x": [1, 2, 3, 1, 2], "y": [3, 5, 7, 1, 0]}
    >>> df = pl.DataFrame(columns)
    >>> lines = fastgd.fit_frame(df, y="y", x="x", by="tail", solve=True)
    >>> lines.select("tail", "n_used", pl.col("intercept", "x").round(6)).rows()
    [('a', 3, 1.0, 2.0), ('b', 2, 2.0, -1.0)]
    """
    for option, instead in _NOT_HERE.items():
        if option in fit_options:
            raise ValueError(f"fit_frame takes no {option}: {instead}")
    solve, long = read_switch(solve, "solve"), read_switch(long, "long")
    several, targets, features, keys = not isinstance(y, str), _names(y, "y"), _names(x, "x"), _names(by, "by", none=True)
    if twice := [name for name in features if name in targets]:
        raise ValueError(f"column {twice[0]!a} is in x and in y")
    own = _own_columns(solve, long, intercept)
    _refuse_same_names([*keys, *(["y"] if several else [])], own + ([] if long else features), long)
    if weights is not None and not isinstance(weights, str):
        raise TypeError(f"weights must be the name of a column, not {shown(weights)}")
    frame, lazy = _collect(df, [*keys, *targets, *features, *([] if weights is None else [weights])])
    if not len(frame):
        raise ValueError("df has no rows")
    data: dict[str, Any] = {"X": _table(frame, features, "x").T}
    data["y"] = _table(frame, targets, "y") if several else _numbers(frame, targets[0], "y")
    if weights is not None:
        data["sample_weight"] = _numbers(frame, weights, "weights")
    options = {"intercept": intercept, **fit_options}
    if options.get("memory_limit") is not None:
        options["memory_limit"] = _left(options["memory_limit"], data)
    groups = groups_of_labels([_labels(frame[name], name) for name in keys]) if keys else groups_of_offsets([0, len(frame)], len(frame))
    result = fit_rows({**data, **options}, lambda n_rows: (groups, {}), solved=solve, name="fit_frame", features=tuple(features))
    made = _tidy(frame, groups, result, keys, targets if several else None, features, own, long)
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
    features, keys = _names(x, "x"), _names(by, "by", none=True)
    name = ("residual" if residuals else "prediction") if name is None else name
    rows, lazy = _collect(df, None)
    fitted, _ = _collect(fits, None, "fits")
    _require(rows, [*keys, *features, *([] if y is None else [y])], "df")
    _require(fitted, [*keys, *features], "fits")
    if name in rows.columns:
        raise ValueError(f"df has a column {name!a} already: give another name")
    if "y" in fitted.columns and "y" not in keys + features:
        if y is None:
            raise TypeError("fits are of several targets: give y, the one to predict")
        fitted = fitted.filter(fitted["y"] == y)
    group = _group_of_each_row(rows, fitted, keys)
    of_fits = [_numbers(fitted, one, "fits") for one in features]
    values = np.zeros(len(rows)) if "intercept" not in fitted.columns else _picked(_numbers(fitted, "intercept", "fits"), group)
    for one, coefficient in zip(features, of_fits, strict=True):
        values = values + _picked(coefficient, group) * _numbers(rows, one, "x").astype(np.float64)
    values = np.where(group < 0, np.nan, values)
    if residuals:
        values = values - _numbers(rows, str(y), "y").astype(np.float64)
    made = rows.with_columns(_series(name, values, rows))
    return made.lazy(backend=lazy).to_native() if lazy is not None else made.to_native()


# -- reading frames --------------------------------------------------------------------------------


def _narwhals() -> Any:
    try:
        import narwhals
    except ImportError:
        raise ImportError("data frames need narwhals: pip install 'fastgd[frames]'") from None
    return narwhals


def _names(value: Any, option: str, none: bool = False) -> list[str]:
    """Names of columns, each once."""
    if value is None and none:
        return []
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{option} must be the name of a column, or a list of names, not {shown(value)}")
    if not names and not none:
        raise ValueError(f"{option} is empty: name at least one column")
    for k, name in enumerate(names):
        if name in names[:k]:
            raise ValueError(f"{option} names column {name!a} twice")
    return names


def _collect(df: Any, names: list[str] | None, called: str = "df") -> tuple[Any, Any]:
    """(an eager frame of narwhals with these columns, library of a lazy frame or None)."""
    narwhals = _narwhals()
    try:
        frame = narwhals.from_native(df)
        columns = frame.collect_schema().names()
    except Exception as error:  # whatever narwhals or the library may raise
        why = what_was_raised(error).partition(". ")[0]
        raise TypeError(f"{called} must be a data frame of pandas, polars, pyarrow, DuckDB, ..., not {kind_of(df)} ({why})") from None
    if not isinstance(frame, narwhals.DataFrame | narwhals.LazyFrame):
        raise TypeError(f"{called} must be a data frame, not {kind_of(df)}")
    if names is not None:
        _require(columns, names, called)
        frame = frame.select(list(dict.fromkeys(names)))
    if isinstance(frame, narwhals.LazyFrame):
        return frame.collect(), frame.implementation
    return frame, None


def _require(frame: Any, names: list[str], called: str) -> None:
    """Raise where a column is not there."""
    columns = frame if isinstance(frame, list) else frame.columns
    for name in names:
        if name not in columns:
            there = ", ".join(map(ascii, columns[:12])) + (", ..." if len(columns) > 12 else "")
            raise ValueError(f"{called} has no column {name!a}; there are: {there}")


def _numbers(frame: Any, name: str, option: str) -> np.ndarray:
    """(n_rows,) the numbers of a column, NaN where one is missing: float32, or float64."""
    narwhals, series = _narwhals(), frame[name]
    if not (series.dtype.is_numeric() or series.dtype == narwhals.Boolean):
        raise TypeError(f"column {name!a} of {option} is {series.dtype}: it must hold numbers")
    if series.dtype == narwhals.Float32:
        return np.asarray(series.to_numpy(), np.float32)
    array = series.to_numpy()
    if array.dtype == object:
        array = series.cast(narwhals.Float64).to_numpy()
    return np.asarray(array, np.float64)


def _table(frame: Any, names: list[str], option: str) -> np.ndarray:
    """(columns, n_rows): the numbers of several columns."""
    columns = [_numbers(frame, name, option) for name in names]
    return columns[0][None] if len(columns) == 1 else np.stack(columns)


def _left(limit: Any, data: Mapping[str, np.ndarray]) -> int:
    """What is left of a memory limit beside the columns that were copied."""
    size, copied = read_memory_limit(limit), sum(array.nbytes for array in data.values())
    assert size is not None
    if copied >= size:
        raise MemoryError(f"the columns take {amount(copied)}, and memory_limit is {amount(size)}: give a larger memory_limit")
    return size - copied


def _labels(series: Any, name: str) -> Labels:
    """The labels of a column, as numbers that are equal where they are."""
    narwhals, dtype = _narwhals(), series.dtype
    missing = series.is_null().to_numpy().astype(bool)
    missing = missing if missing.any() else None
    if dtype.is_integer() or dtype == narwhals.Boolean:
        values = series if missing is None else series.fill_null(False if dtype == narwhals.Boolean else 0)
        return comparable(np.asarray(values.to_numpy()), missing, name)
    if dtype.is_float() or (dtype in (narwhals.Date, narwhals.Datetime, narwhals.Duration) and series.to_numpy().dtype.kind in "mM"):
        return comparable(series.to_numpy(), missing, name)
    native = series.to_native()
    if series.implementation.is_pandas_like():
        return Labels(np.asarray(native.factorize()[0]), missing)
    if series.implementation.is_polars() and dtype in (narwhals.String, narwhals.Categorical, narwhals.Enum):
        return Labels(native.rank("dense").fill_null(0).to_numpy(), missing)
    objects = np.empty(len(series), object)
    objects[:] = series.to_list()
    return comparable(objects, missing, name)


# -- making frames ---------------------------------------------------------------------------------


def _own_columns(solve: bool, long: bool, intercept: bool) -> list[str]:
    """The names of the columns of a result that are not the caller's."""
    if long:
        return ["term", "estimate"]
    return [*(_OF_SOLUTIONS if solve else _OF_FITS), *(["intercept"] if intercept else [])]


def _refuse_same_names(keys: list[str], others: list[str], long: bool) -> None:
    """Raise where two columns of the result would have one name."""
    names = [*keys, *others]
    twice = next((name for k, name in enumerate(names) if name in names[:k]), None)
    if twice is not None:
        ways = "rename it" if long else "rename it, or give long=True, where coefficients are rows"
        raise ValueError(f"the result would have two columns {twice!a}: {ways}")


def _series(name: str, values: Any, frame: Any) -> Any:
    """A column for a frame, of its library."""
    return _narwhals().new_series(name, values, backend=frame.implementation)


def _tidy(
    frame: Any, groups: Groups, result: Any, keys: list[str], targets: list[str] | None, features: list[str], own: list[str], long: bool
) -> Any:
    """The frame of a result: rows by groups, then targets, then terms where long."""
    n_targets, coefficients = 1 if targets is None else len(targets), _coefficients(result, features)
    repeats = n_targets * (len(coefficients) if long else 1)
    columns: dict[str, Any] = {}
    if targets is not None:
        columns["y"] = np.tile(np.repeat(np.array(targets, object), repeats // n_targets), groups.count).tolist()
    if long:
        columns["term"] = list(coefficients) * (groups.count * n_targets)
        columns["estimate"] = np.stack([_by_groups(values) for values in coefficients.values()], axis=1).ravel()
    else:
        for name in own:
            if name == "status":
                columns[name] = [STATUS_NAMES[code] for code in _by_groups(result.status).tolist()]
            elif name != "intercept":
                values = getattr(result, name)
                columns[name] = np.full(groups.count * n_targets, np.nan) if values is None else _by_groups(values)
        columns |= {name: _by_groups(values) for name, values in coefficients.items()}
    narwhals = _narwhals()
    if not keys:
        return narwhals.from_dict(columns, backend=frame.implementation)
    rows = np.repeat(groups.first_rows, repeats)
    found = narwhals.maybe_reset_index(frame.select(keys)[rows])
    return found.with_columns(*(_series(name, values, frame) for name, values in columns.items()))


def _coefficients(result: Any, features: list[str]) -> dict[str, np.ndarray]:
    """{term: coefficients (…, n_groups)}."""
    found = {} if result.intercept is None else {"intercept": result.intercept}
    return found | {name: result.w[..., k] for k, name in enumerate(features)}


def _by_groups(values: np.ndarray) -> np.ndarray:
    """(n_groups · n_targets,): values (n_groups,) or (n_targets, n_groups), group after group."""
    return np.ascontiguousarray(np.asarray(values).T).ravel()


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
    groups = groups_of_labels([_labels(rows[name], name) for name in keys])
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
