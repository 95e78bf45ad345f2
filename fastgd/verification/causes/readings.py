"""How the rows of a history may be meant: which row is w after which update.

1. People record w before each update or after it, every k-th row, the last one alone, or stop
   early. None of it is a defect. Where the number of rows is not epochs + 1, every habit that gives
   this number is a reading; the first that passes counts, and a note says which it is.
2. Whether row 0 is the start decides which is tried first, and so what is said where none passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ...input.messages import counted
from ...input.reading import read_array
from ..bound.yardstick import Array
from .recorded import Recorded, arithmetic_dtype, read_losses, read_recorded, read_rows, with_start

__all__ = ["Reading", "ending", "losses_of_rows", "read_readings"]

_MOST_STRIDES = 8  # that give one number of rows; the roundest are tried


class Reading(NamedTuple):
    """One way to read a history."""

    recorded: Recorded
    at: Array  # (m,) int: the epoch of each row, the start's 0 first

    @property
    def strided(self) -> bool:
        """Whether rows are more than one epoch apart."""
        return bool((np.diff(self.at) > 1).any())


def read_readings(
    w_history: Any, loss_history: Any, *, n_parameters: int, intercept: bool, epochs: int | None, start: Array, start_known: bool,
    dtype: Any, of_data: np.dtype[Any], strides: bool,
) -> list[Reading]:  # fmt: skip
    """Check a history; return the ways to read it, the first of which counts where none passes.

    start: (D,), where the descent began if row 0 is not the start. strides: whether rows that are
    several epochs apart can be judged.
    """
    rows = read_rows(w_history, n_parameters, intercept)
    m = len(rows)
    if epochs is None or m == epochs + 1 or m == 0:
        recorded = read_recorded(rows, loss_history, n_parameters=n_parameters, intercept=intercept, dtype=dtype, of_data=of_data)
        return [Reading(recorded, np.arange(m))]
    if m > epochs:
        needed = f"{counted(epochs, 'epoch')} need {epochs + 1:,}, the start first, or {epochs:,} without it"
        raise ValueError(f"w_history has {counted(m, 'row')}; {needed}")
    judged = arithmetic_dtype(dtype, rows, of_data)
    begins = bool(((rows[0] == start) | (rows[0] == start.astype(judged))).all())
    count = 0 if loss_history is None else read_array(loss_history, "loss_history").size
    found = list(_early(m, epochs)) + (list(_apart(m, epochs)) + list(_ended(m, epochs, count)) if strides else [])
    first = begins or (not start_known and 1 < m < epochs)
    found.sort(key=lambda pair: (pair[0][0] == 0) != first)  # stable
    readings: list[Reading] = []
    refused: ValueError | None = None  # losses that do not fit
    for at, words in found:
        notes = [f"w has {counted(m, 'row')} for {counted(epochs, 'epoch')}: read as {words}"]
        whole, whole_at, added = rows, at, at[0] > 0
        if added:
            whole, whole_at = with_start(rows, start, judged), np.append(0, at)
            notes[0] += "; the start was put before it"
        try:
            of_rows = losses_of_rows(loss_history, at, whole_at, int(at[-1]) if m == 1 else epochs)
        except ValueError as error:
            refused = refused or error
            continue
        for loss, told in of_rows:
            readings.append(Reading(Recorded(whole, loss, judged, (*notes, *told), bool(added)), whole_at))
    if refused is not None and not readings:
        raise refused
    return readings


def _early(m: int, epochs: int) -> Iterator[tuple[Array, str]]:
    """Yield (the epoch of each row, in words) where rows are one epoch apart."""
    if m == epochs:
        yield np.arange(1, m + 1), "w after each update"
        yield (
            np.arange(m),
            "w before each update, the first of which is the start; w after the last update is not recorded, or was not made",
        )
    elif m > 1:
        yield np.arange(m), f"epochs 0 to {m - 1}, where it ended"
        yield np.arange(1, m + 1), f"w after each update, until epoch {m}, where it ended"


def _apart(m: int, epochs: int) -> Iterator[tuple[Array, str]]:
    """Yield (the epoch of each row, in words) where rows are several epochs apart."""
    if m == 1:
        yield np.array([epochs]), f"w after the last update, and judged {epochs} steps at once"
        return
    strides = range(max(2, epochs // (m + 1)), epochs // max(1, m - 2) + 2) if m > 2 else range(max(2, epochs // 2), epochs + 1)
    roundest = sorted(strides, key=lambda k: (epochs % k != 0, k % 10 != 0, k % 5 != 0, k))[:_MOST_STRIDES]
    seen = set()
    for k in roundest:
        kth = f"every {k}{ending(k)} row, and judged {k} steps at a time"
        for begin, end in ((0, epochs + 1), (0, epochs), (k, epochs + 1), (1, epochs + 1)):
            at = np.arange(begin, end, k)
            for rows, words in ((at, ""), (np.append(at, epochs), " and the last one")):
                key = tuple(rows.tolist())
                if len(rows) == m and (np.diff(rows) > 0).all() and key not in seen:
                    seen.add(key)
                    yield rows, f"w in epochs {', '.join(map(str, rows[:3]))}, ...: {kth.replace(' row', f' row{words}', 1)}"


def _ended(m: int, epochs: int, count: int) -> Iterator[tuple[Array, str]]:
    """Yield (its epoch, in words) of the last w alone, where the losses say that it ended early."""
    for until in (count, count - 1) if m == 1 and count < epochs else ():
        if until > 0:
            yield np.array([until]), f"w after update {until:,}, where the losses end, and judged {counted(until, 'step')} at once"


def ending(k: int) -> str:
    """Return "st", "nd", "rd" or "th", which make a number an ordinal one."""
    return "th" if 10 <= k % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(k % 10, "th")


def losses_of_rows(loss_history: Any, at: Array, whole_at: Array, epochs: int) -> list[tuple[Array | None, list[str]]]:
    """Return the ways to read the losses of the rows, and what is to be told of each.

    Losses of every epoch may be more than there are rows. One for each update may be that of w
    before it or after it.
    """
    if loss_history is None:
        return [(None, [])]
    count, told = read_array(loss_history, "loss_history").size, list[str]()
    if count not in (epochs, epochs + 1) or count in (len(at), len(whole_at)) or len(whole_at) == epochs + 1:
        return [(read_losses(loss_history, len(whole_at), told), told)]
    losses = read_losses(loss_history, epochs + 1, [])
    assert losses is not None
    words = f"loss has {counted(count, 'value')}: those of the rows of w are judged"
    found: list[tuple[Array | None, list[str]]] = [(losses[whole_at[whole_at < count]], [f"{words}, loss[t] at w[t]"])]
    if count == epochs and len(whole_at) > 1 and whole_at[0] == 0:
        found.append((losses[whole_at[1:] - 1], [f"{words}, each at the w after its update"]))
    return found
