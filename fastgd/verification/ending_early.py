"""Whether a descent that made fewer epochs than were asked for may have ended so early.

1. Code that stops by itself is no defect: where it ended, w hardly moves any more, or is at the
   minimum, and it ends there whatever number of epochs is asked for.
2. It is a defect where the loss still falls as it did at the start, as with a `return` inside the
   loop; where it ends later when more epochs are asked for, as with `range(epochs // 2)`; and where
   one epoch is missing that is not just unrecorded: each update has its loss, or the last w is
   known, as with `range(1, epochs)`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..input.messages import counted
from .bound.yardstick import LIMIT, Array, Yardstick
from .candidates.tasks import Task, Trial
from .causes.diagnosing import Question
from .causes.diagnosis import Diagnosis
from .causes.table import CAUSES
from .judging import Judgement

__all__ = ["cause_of_ending"]

_STILL_FALLS = 0.1  # of the fall in the first epoch: the last one falls by more
_MATERIAL = 0.01  # of the loss
_AT_ONCE = 1e-6  # of the loss, after a single epoch


def cause_of_ending(question: Question, task: Task, trial: Trial, found: Judgement) -> Diagnosis | None:
    """Return the cause where a descent that agrees ended too early; None: it did not."""
    asked, made = task.epochs, found.epochs
    if asked is None or trial.epochs is not None or not 0 < made < asked or found.unit != "epoch" or trial.w is None:
        return None
    off_by_one = made == asked - 1 and trial.at is None  # its own rows, not those of runs that end where w stays
    if off_by_one and np.size(trial.loss) != made and not trial.has_last:
        return None  # w before each update, the last one not recorded
    ends = _Ends.of(question, task, found)
    if not np.isfinite(ends.loss).all() or ends.at_minimum:
        return None
    variant = ": the loop has one epoch less" if off_by_one else ends.still_fall(made, len(found.recorded.w))
    if variant is None and trial.rows_for is not None:
        try:
            counts_too_few = trial.rows_for(2 * asked) != trial.rows_for(asked)
        except (Exception, SystemExit):  # it cannot be run for more epochs, or anew
            counts_too_few = False
        variant = f", and more where {2 * asked:,} are asked for: it counts too few" if counts_too_few else None
    if variant is None:
        return None
    cause = CAUSES["ends_early"]
    words = cause.sentence.format(value=made, asked=counted(asked, "epoch"), variant=variant)
    return Diagnosis(cause.code, (cause.code,), words, {"value": made}, cause.fix)


class _Ends(NamedTuple):
    """The first two and the last two rows of a history."""

    loss: Array  # (4,) float64
    at_minimum: bool  # the step from the last row is within rounding: w moves no more

    @classmethod
    def of(cls, question: Question, task: Task, found: Judgement) -> _Ends:
        """Measure them."""
        weights = None if task.batches is None else task.batches.weights
        yardstick = Yardstick(question.X, question.y, "mean", found.recorded.dtype, question.intercept, weights)
        with np.errstate(all="ignore"):
            seen = yardstick.measure_all(found.recorded.w[[0, 1, -2, -1]])
            hidden = LIMIT * (seen.gradient_error[-1] + yardstick.u * np.abs(seen.w[-1]) / float(np.max(question.lr)))
            return cls(seen.loss.astype(np.float64), bool((np.abs(seen.gradient[-1]) <= hidden).all()))

    def still_fall(self, made: int, rows: int) -> str | None:
        """Return in words that the loss still falls at the end; None: hardly, or it rises."""
        begins, ends = self.loss[0] - self.loss[1], self.loss[2] - self.loss[3]
        share = ends / self.loss[2]
        if made == 1 and abs(share) > _AT_ONCE:
            told = f"falls by {100 * share:.2g} %" if share > 0 else "rises"
            why = "a return inside the loop, a stop that is met too early, or w that begins anew in every epoch"
            return f", in which the loss {told}: {why}"
        if rows > 2 and ends > _STILL_FALLS * abs(begins) and share > _MATERIAL:
            why = "a stop that is met too early, or a loop that counts too few"
            return f", where the loss still falls by {100 * share:.2g} % an epoch: {why}"
        return None
