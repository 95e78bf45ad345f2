"""Columns of a data frame, through narwhals: as numbers, as labels, and as what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.labels import Labels, comparable
from ..input.messages import kind_of, shown, what_was_raised


def narwhals_here() -> Any:
    """narwhals, or an error that says how to install it."""
    try:
        import narwhals
    except ImportError:
        raise ImportError("data frames need narwhals: pip install 'fastgd[frames]'") from None
    return narwhals


def read_names(value: Any, option: str, none: bool = False) -> list[str]:
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


OF_CATEGORIES = "0 and 1 for each category but one"  # what to give instead of a text


def collect(df: Any, names: list[str] | None, called: str = "df") -> tuple[Any, Any]:
    """(an eager frame of narwhals with these columns, library of a lazy frame or None)."""
    narwhals = narwhals_here()
    try:
        frame = narwhals.from_native(df)
        columns = frame.collect_schema().names()
    except Exception as error:  # whatever narwhals or the library may raise
        why = what_was_raised(error).partition(". ")[0]
        raise TypeError(f"{called} must be a data frame of pandas, polars, pyarrow, DuckDB, ..., not {kind_of(df)} ({why})") from None
    if not isinstance(frame, narwhals.DataFrame | narwhals.LazyFrame):
        raise TypeError(f"{called} must be a data frame, not {kind_of(df)}")
    if names is not None:
        indices = getattr(getattr(df, "index", None), "names", None) or ()  # of pandas
        for name in names:
            if name in indices and name not in columns:
                raise ValueError(f"{name!a} is the index of {called}, not a column: give {called}.reset_index()")
        require(columns, names, called)
        frame = frame.select(list(dict.fromkeys(names)))
    if isinstance(frame, narwhals.LazyFrame):
        return frame.collect(), frame.implementation
    return frame, None


def require(frame: Any, names: list[str], called: str) -> None:
    """Raise where a column is not there."""
    columns = frame if isinstance(frame, list) else frame.columns
    for name in names:
        if name not in columns:
            there = ", ".join(map(ascii, columns[:12])) + (", ..." if len(columns) > 12 else "")
            raise ValueError(f"{called} has no column {name!a}; there are: {there}")


def numbers_of(frame: Any, name: str, option: str) -> np.ndarray:
    """(n_rows,) the numbers of a column, NaN where one is missing: float32, or float64."""
    narwhals, series = narwhals_here(), frame[name]
    if not (series.dtype.is_numeric() or series.dtype == narwhals.Boolean):
        advice = "days since the first date" if series.dtype.is_temporal() else OF_CATEGORIES
        raise TypeError(f"column {name!a} of {option} is {series.dtype}: it must hold numbers, such as {advice}")
    if series.dtype == narwhals.Float32:
        return np.asarray(series.to_numpy(), np.float32)
    array = series.to_numpy()
    if array.dtype == object:
        array = series.cast(narwhals.Float64).to_numpy()
    return np.asarray(array, np.float64)


def table_of(frame: Any, names: list[str], option: str, axis: int) -> np.ndarray:
    """The numbers of several columns along this axis of two; each is one stretch of memory."""
    columns = [numbers_of(frame, name, option) for name in names]
    table = columns[0][None] if len(columns) == 1 else np.stack(columns)
    return table if axis == 0 else table.T


def labels_of(series: Any, name: str) -> Labels:
    """The labels of a column, as numbers that are equal where they are."""
    narwhals, dtype = narwhals_here(), series.dtype
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


def series_of(name: str, values: Any, frame: Any) -> Any:
    """A column for a frame, of its library."""
    return narwhals_here().new_series(name, values, backend=frame.implementation)
