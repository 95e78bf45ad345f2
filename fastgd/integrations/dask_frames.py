"""fit_frame() and predict_frame() of a Dask DataFrame: a task for each partition.

1. A group has the bits of its rows alone only if one task has all of them, in their order. Where a
   key is the index and the divisions are known, that is so. Else Dask shuffles the rows by their
   keys. Its shuffles promise no order, so rows are numbered before and sorted after.
2. Without keys all rows are one fit, which may be larger than a worker: each partition becomes
   Moments, which are merged in the order of the partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..input.float_mode import computes
from ..results.moments import Moments
from .frame_columns import narwhals_here, require
from .frame_fits import FrameFits

_ROW = "fastgd: number of the row"
_PER_PARTITION = 2**40  # rows of a partition, at most
_NOT_HERE = {
    "checkpoint": "partitions are tasks of Dask, which makes those anew that are lost",
    "progress": "Dask shows its own: dask.diagnostics.ProgressBar, or the dashboard",
}


def is_dask_frame(df: Any) -> bool:
    """Whether this is a Dask DataFrame."""
    return bool(narwhals_here().dependencies.is_dask_dataframe(df))


def fit_partitions(df: Any, asked: FrameFits) -> Any:
    """A Dask DataFrame with the results of the groups of one."""
    for option, why in _NOT_HERE.items():
        if option in asked.options:
            raise TypeError(f"fit_frame takes no {option} of a Dask DataFrame: {why}")
    asked = replace(asked, options={"threads": 1, **asked.options})
    of_index = df.index.name is not None and df.index.name in asked.keys and df.index.name not in df.columns
    rows = df.reset_index() if of_index else df
    require(list(rows.columns), asked.columns, "df")
    rows = rows[asked.columns]
    empty = _fit_rows(_made_up(rows), _without_faults(asked))[:0]
    if not asked.keys and df.npartitions > 1:
        return _fit_moments(rows, asked, empty)
    if asked.keys and df.npartitions > 1 and not (of_index and df.known_divisions):
        rows = rows.map_partitions(_numbered, meta=_numbered(rows._meta)).shuffle(on=asked.keys)
    return rows.map_partitions(partial(_fit_partition, asked=asked, empty=empty), meta=empty)


def predict_partitions(df: Any, fits: Any, predict: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """A Dask DataFrame: what `predict` makes of each partition. fits are collected first."""
    if is_dask_frame(fits):
        fits = fits.compute()
    of_rows = partial(predict, fits=fits, **options)
    return df.map_partitions(of_rows, meta=of_rows(_made_up(df))[:0])


def _made_up(rows: Any) -> Any:
    """Two rows with the columns of a Dask DataFrame."""
    from dask.dataframe.utils import meta_nonempty

    return meta_nonempty(rows._meta)


def _without_faults(asked: FrameFits) -> FrameFits:
    """The same call, where made-up values may be `nodata`."""
    return asked if asked.options.get("nodata") is None else replace(asked, options={**asked.options, "nan_policy": "omit"})


def _fit_moments(rows: Any, asked: FrameFits, empty: Any) -> Any:
    """One fit of the rows of all partitions."""
    import dask
    import dask.dataframe

    parts = [dask.delayed(_compress_partition)(part, asked) for part in rows.to_delayed()]
    return dask.dataframe.from_delayed([dask.delayed(_fit_parts)(parts, asked, empty)], meta=empty)


# -- tasks -----------------------------------------------------------------------------------------


def _numbered(rows: Any, partition_info: Any = None) -> Any:
    """The rows with a column of their numbers, which grow from partition to partition."""
    first = _PER_PARTITION * (0 if partition_info is None else partition_info["number"])
    return rows.assign(**{_ROW: np.arange(first, first + len(rows), dtype=np.int64)})


def _fit_partition(rows: Any, asked: FrameFits, empty: Any) -> Any:
    """The groups of a partition; they have the order of their first rows."""
    if not len(rows):
        return empty
    if _ROW in rows.columns:
        rows = rows.sort_values(_ROW).drop(columns=_ROW)
    return _fit_rows(rows, asked)


@computes
def _fit_rows(rows: Any, asked: FrameFits) -> Any:
    return asked.fit_all(narwhals_here().from_native(rows, eager_only=True)).to_native()


@computes
def _compress_partition(rows: Any, asked: FrameFits) -> Moments | None:
    return asked.compress(narwhals_here().from_native(rows, eager_only=True)) if len(rows) else None


@computes
def _fit_parts(parts: Sequence[Moments | None], asked: FrameFits, empty: Any) -> Any:
    found = [part for part in parts if part is not None]
    if not found:
        raise ValueError("df has no rows")
    made, _ = asked.fit_parts(found, narwhals_here().from_native(empty, eager_only=True))
    return made.to_native()
