"""Lists of rows that hold one and the same array, or views of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...input.one_place import in_one_place, parts_of
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
    return len(rows) if in_one_place(map(_parts, rows)) else 0


def _parts(row: Any) -> list[Any]:
    """Return the parts of a row of w; of a dict it as well, in which numbers may be set."""
    if isinstance(row, Mapping):
        return [row, *(part for name, part in row.items() if role_of_answer(str(name)) in _OF_W)]
    return parts_of(row)
