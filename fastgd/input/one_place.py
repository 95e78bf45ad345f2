"""Whether rows hold one and the same array, or views of it, at one place in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["in_one_place", "parts_of"]


def in_one_place(rows: Iterable[list[Any]]) -> bool:
    """Whether all of these lists of parts hold one array, list or dict that may be changed."""
    common: set[tuple[Any, ...]] | None = None
    for parts in rows:
        places = {place for part in parts if (place := _place(part))}
        common = places if common is None else common & places
        if not common:
            return False
    return bool(common)


def parts_of(row: Any) -> list[Any]:
    """The parts of a row [w, b], or the row alone where it is w."""
    return list(row) if isinstance(row, list | tuple) and row and not np.isscalar(row[0]) else [row]


def _place(value: Any) -> tuple[Any, ...]:
    """Where an array lies that may be changed in place; () of numbers and of JAX's arrays."""
    if isinstance(value, np.ndarray) and value.size:
        return (value.__array_interface__["data"][0], value.shape, value.strides)
    if hasattr(value, "data_ptr") and value.numel():  # torch's
        return (value.data_ptr(), tuple(value.shape), value.stride())
    return (type(value).__name__, id(value)) if isinstance(value, list | dict) else ()
