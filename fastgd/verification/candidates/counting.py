"""w at every epoch of code that gives the last w alone: it runs for 0, 1, 2, ... epochs.

Each run begins with the same state of the global random generators, so that a random start is the
same one, and what it is shows.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..bound.yardstick import Array

__all__ = ["FEW", "MANY", "SameRandom", "losses_until", "rows_after"]

MANY, FEW = 100, 50  # runs where all epochs are wanted, and where the first ones are


class SameRandom:
    """The state of the global random generators, to begin with again."""

    def __init__(self) -> None:
        # the legacy generator is the one that courses use
        self._states: list[tuple[Callable[[Any], Any], Any]] = [
            (random.setstate, random.getstate()),
            (np.random.set_state, np.random.get_state()),  # noqa: NPY002
        ]
        torch = sys.modules.get("torch")
        if torch is not None:
            self._states.append((torch.set_rng_state, torch.get_rng_state()))

    def again(self) -> None:
        """Set the generators to this state."""
        for put, state in self._states:
            put(state)


def rows_after(run: Callable[[int], Array], counts: Iterable[int], start: Array, notes: list[str]) -> tuple[Array, Array]:
    """Return the last w after these numbers of epochs, the first of which is 0, and them.

    run(count): returns w (D,) after `count` epochs. Much code does not work for 0 epochs: the start
    is put there. Code that stops by itself has the same last w from then on: those rows are left
    out.
    """
    found, at = [], []
    for count in counts:
        try:
            found.append(run(count))
        except (Exception, SystemExit):
            if count:
                raise
            found.append(start)
            notes.append("for no epochs it has no w: the start was put there")
        at.append(count)
    rows, epochs = np.array(found), np.array(at)
    same = (rows == rows[-1]).all(axis=1)
    end = len(rows) - 1 if same.all() else len(rows) - int(np.argmin(same[::-1]))
    if end < len(rows) - 1 and not same.all():
        notes.append(f"it stops by itself: from epoch {epochs[end]} on its last w is the same")
        end -= bool(epochs[end] - epochs[end - 1] > 1)  # it stopped somewhere between these two
        return rows[: end + 1], epochs[: end + 1]
    return rows, epochs


def losses_until(last: int, loss: Array | None, epochs: int) -> Array | None:
    """Return the losses until epoch `last`, that of the last row that `rows_after` kept.

    epochs: the number of epochs of the run that recorded the losses.
    """
    if loss is None or len(loss) not in (epochs, epochs + 1):
        return loss
    return loss[: len(loss) - (epochs - last)]
