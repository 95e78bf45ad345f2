"""Lists of rows that hold one and the same array, or views of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .names import role_of_answer

__all__ = ["times_one_array"]

_OF_W = ("w", "b", "w_rows", "b_rows")


def times_one_array(rows: Any) -> int:
    """Return how often a list of rows holds one and the same array, alone or as a part of each row.

    0: it does not. Views of one array, such as w.detach() returns, are it.
    """
    if isinstance(rows, tuple) and rows and isinstance(rows[0], list | Mapping):  # a pair of it and the losses
        return times_one_array(rows[0])
    if isinstance(rows, Mapping):
        return max((times_one_array(value) for name, value in rows.items() if role_of_answer(str(name)) in _OF_W), default=0)
    if not isinstance(rows, list) or len(rows) < 2:
        return 0
    places = set(_places(rows[0]))
    for row in rows[1:]:
        places &= set(_places(row))
    return len(rows) if places else 0


def _places(row: Any) -> list[tuple[Any, ...]]:
    """Return where the arrays of a row lie in memory; numbers and JAX's arrays do not change."""
    if isinstance(row, Mapping):
        parts = [part for name, part in row.items() if role_of_answer(str(name)) in _OF_W]
    else:
        of_parts = isinstance(row, list | tuple) and len(row) > 0 and not np.isscalar(row[0])
        parts = list(row) if of_parts else [row]
    whole = [("dict", id(row))] if isinstance(row, dict) else []  # of numbers that are set in it
    return whole + [place for part in parts if (place := _place(part))]


def _place(value: Any) -> tuple[Any, ...]:
    """Return where an array that may be changed in place lies; (): it is none."""
    if isinstance(value, np.ndarray) and value.size:
        return (value.__array_interface__["data"][0], value.shape, value.strides)
    if hasattr(value, "data_ptr") and value.numel():  # torch's
        return (value.data_ptr(), tuple(value.shape), value.stride())
    return ("list", id(value)) if isinstance(value, list) else ()
