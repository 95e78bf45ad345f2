"""Recorded histories, read from arrays: which row is which epoch, and in which precision.

1. A history has epochs + 1 rows, the start first, and loss[t] is the loss of w[t]. One loss more or
   less is read by the convention that fits, and a note says which one. What else is read is in
   causes/readings.py.
2. The precision that is judged is `dtype`. Without `dtype` it is float32 where w_history is
   float32, because a program that records float32 computes in it. It is float32 as well where the
   data are float32 and every w is representable in it: `w.item()` and lists of such numbers are
   float64 in name only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...input.messages import counted
from ...input.options import read_dtype
from ...input.reading import read_array
from ...input.room import OF_A_JUDGED, check_room
from ...input.shapes import differ_in_size
from ..bound.yardstick import Array

__all__ = ["AS_BEFORE", "Recorded", "arithmetic_dtype", "read_losses", "read_recorded", "read_rows", "with_start"]

AS_BEFORE = "read as the loss before each update, loss[t] at w[t]"


class Recorded(NamedTuple):
    """A history, ready to be judged."""

    w: Array  # (m, D), the start first, the intercept last
    loss: Array | None  # (m,) or (m − 1,): loss[t] is that of w[t]
    dtype: np.dtype[Any]
    notes: tuple[str, ...]
    start_added: bool  # w came without the start, which was put before it


def arithmetic_dtype(dtype: Any, w: Array, of_data: np.dtype[Any]) -> np.dtype[Any]:
    """Return the precision that is judged (note 2)."""
    if dtype is not None:
        return read_dtype(dtype)
    if w.dtype.kind == "f" and w.dtype.itemsize < 4:
        raise ValueError(f"w_history has dtype {w.dtype}, which has too few digits to be judged: record w in float32 or float64")
    with np.errstate(over="ignore"):
        narrow = w.dtype == np.float32 or (of_data == np.float32 and np.array_equal(w, w.astype(np.float32), equal_nan=w.dtype.kind == "f"))
    return np.dtype(np.float32 if narrow else np.float64)


def read_rows(w_history: Any, n_parameters: int, intercept: bool) -> Array:
    """Return w_history as an array (m, D); rows may be lists [w, b]."""
    first = w_history[0] if isinstance(w_history, list) and w_history else None
    if isinstance(first, Mapping):
        raise ValueError(f"w_history has rows that are dicts with {', '.join(map(str, first))}: give rows [w, b], or hand it to verify")
    if isinstance(first, list | tuple) and differ_in_size(first):
        w_history = [np.concatenate([np.ravel(read_array(part, "w_history")) for part in row]) for row in w_history]
    w = read_array(w_history, "w_history")
    if w.ndim == 1 and n_parameters == 1:
        w = w[:, None]
    if w.ndim == 3 and 1 in w.shape[1:] and w.shape[1] * w.shape[2] == n_parameters:  # w is a column or a row
        w = w.reshape(len(w), n_parameters)
    if w.ndim == 2 and w.shape[1] == n_parameters + 1 and len(w) > 2 and (np.diff(w[:, 0]) == 1).all() and w[0, 0] in (0, 1):
        w = w[:, 1:]  # without the numbers of the rows, as of a file that pandas wrote
    if w.ndim == 2 and w.shape[1] != n_parameters == len(w):  # a column for each epoch
        w = w.T
    if w.ndim != 2 or w.shape[1] != n_parameters:
        what = f"{counted(n_parameters - intercept, 'feature')}{' and the intercept, which is last' if intercept else ''}"
        raise ValueError(f"w_history must have shape (epochs + 1, {n_parameters}), for {what}; it has shape {w.shape}")
    check_room("w_history", w.size, OF_A_JUDGED)
    return w


def with_start(rows: Array, start: Array, judged: np.dtype[Any]) -> Array:
    """Return the rows with the start before them."""
    with np.errstate(over="ignore"):
        first = start.astype(judged).astype(rows.dtype if rows.dtype.kind == "f" else np.float64)
    return np.concatenate([first[None], rows])


def read_recorded(
    w_history: Any, loss_history: Any, *, n_parameters: int, intercept: bool, dtype: Any, of_data: np.dtype[Any]
) -> Recorded:  # fmt: skip
    """Check a history that has every row, the start first; `of_data`: precision of the data."""
    w = read_rows(w_history, n_parameters, intercept)
    if len(w) == 0:
        raise ValueError("w_history has no rows: it needs the start and w after every update")
    notes: list[str] = []
    return Recorded(w, read_losses(loss_history, len(w), notes), arithmetic_dtype(dtype, w, of_data), tuple(notes), False)


def read_losses(loss_history: Any, rows: int, notes: list[str]) -> Array | None:
    """Return loss[t] of row t; add a note where the number of losses is not that of the rows."""
    if loss_history is None:
        return None
    loss = read_array(loss_history, "loss_history")
    loss = loss[:, 0] if loss.ndim == 2 and loss.shape[1] == 1 else loss  # a column
    if loss.ndim != 1:
        raise ValueError(f"loss_history must have one value per row of w_history, shape ({rows},); it has shape {loss.shape}")
    if len(loss) == rows - 1:
        notes.append(f"loss has {counted(len(loss), 'value')} for {rows:,} rows of w: {AS_BEFORE}")
    elif len(loss) == rows + 1:
        notes.append(f"loss has {counted(len(loss), 'value')} for {rows:,} rows of w: read as loss[t] at w[t]; the last value is left out")
        loss = loss[:rows]
    elif len(loss) != rows:
        raise ValueError(
            f"loss_history has {counted(len(loss), 'value')}, but w_history has {counted(rows, 'row')}: one for each is needed; "
            "leave the losses out to have w judged alone"
        )
    return loss
