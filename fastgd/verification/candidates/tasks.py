"""What a candidate is asked to do, and the history that it made."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..bound.yardstick import Array

__all__ = ["Candidate", "Task", "Trial", "own_traceback"]


@dataclass(frozen=True)
class Task:
    """What a candidate is asked to do. "…" stands for the leading axes, `shape`."""

    X: Array  # (…, n, d), in the dtype that is judged
    y: Array  # (…, n)
    lr: Array | None  # (…); None: the default of `fit`
    epochs: int | None
    optimizer: Any
    reduction: str
    intercept: bool
    w0: Array | None  # (…, D)
    shape: tuple[int, ...]
    one_feature: bool  # X was given 1-D, and functions get it 1-D

    @property
    def n_parameters(self) -> int:
        """Parameters, the intercept counted."""
        return self.X.shape[-1] + self.intercept

    def start(self, index: tuple[int, ...]) -> Array:
        """Return the start of one fit: w0, or zeros, in the data's dtype."""
        start = np.zeros(self.n_parameters) if self.w0 is None else self.w0[index]
        return start.astype(self.X.dtype)

    def counted_epochs(self) -> int:
        """Return the number of epochs; it is an error that none was given."""
        if self.epochs is None:
            raise ValueError("epochs is needed: how many updates the candidate is to make")
        return self.epochs

    def rate(self, index: tuple[int, ...]) -> float:
        """Return the learning rate of one fit."""
        if self.lr is None:
            raise ValueError("lr is needed: the learning rate that the candidate is to use")
        return float(self.lr[index])


@dataclass
class Trial:
    """The history that a candidate made of one fit, and what was noticed on the way."""

    w: Any
    loss: Any = None
    notes: list[str] = field(default_factory=list)
    failure: str | None = None  # the exception that ended it, with its traceback
    altered: bool = False  # it changed X or y in place
    held_higher: bool = False
    dtype: Any = None  # of the arithmetic; None: read from the dtype of w
    lr: float | None = None  # the learning rate used, where the task has none
    start_known: bool = True  # whether row 0 should be w0


class Candidate(Protocol):
    """Something that makes a history for every fit of a task."""

    name: str
    limit: float

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, its history)."""


def own_traceback() -> str:
    """Return the current traceback without the frames of this package."""
    lines = [line for line in traceback.format_exc().splitlines() if line.strip(" ^~")]
    ours = next((k for k, line in enumerate(lines) if "verification" in line and ("functions.py" in line or "models.py" in line)), None)
    return "\n".join(lines if ours is None else [lines[0], *_without_frame(lines, ours)])


def _without_frame(lines: list[str], at: int) -> list[str]:
    """Return the lines after the first, without the frame at `at` and its source lines."""
    after = at + 1
    while after < len(lines) and lines[after].startswith("    "):
        after += 1
    return [*lines[1:at], *lines[after:]]
