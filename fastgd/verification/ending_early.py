"""Whether a descent that made fewer epochs than were asked for may have ended so early.

1. Code that stops by itself is no defect: where it ended, w hardly moves any more, and it ends
   there whatever number of epochs is asked for.
2. It is a defect where the loss still falls as it did at the start, as with a `return` inside the
   loop; where it ends later when more epochs are asked for, as with `range(epochs // 2)`; and where
   one epoch is missing that is not just unrecorded: each update has its loss, or the last w is
   known, as with `range(1, epochs)`.
"""

from __future__ import annotations

import numpy as np

from ..input.messages import counted
from .bound.yardstick import Yardstick
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
    off_by_one = made == asked - 1
    if off_by_one and np.size(trial.loss) != made and not trial.has_last:
        return None  # w before each update, the last one not recorded
    variant = ": the loop has one epoch less" if off_by_one else _still_falls(question, task, found)
    if variant is None and trial.rows_for is not None:
        more, less = trial.rows_for(2 * asked), trial.rows_for(asked)
        variant = None if more == less else f", and more where {2 * asked:,} are asked for: it counts too few"
    if variant is None:
        return None
    cause = CAUSES["ends_early"]
    words = cause.sentence.format(value=made, asked=counted(asked, "epoch"), variant=variant)
    evidence = {"value": made}
    return Diagnosis(cause.code, (cause.code,), words, evidence, cause.fix)


def _still_falls(question: Question, task: Task, found: Judgement) -> str | None:
    """Return in words that the loss still falls in the last epoch; None: hardly, or it rises."""
    rows, batches = found.recorded.w, task.batches
    weights = None if batches is None else batches.weights
    yardstick = Yardstick(question.X, question.y, "mean", found.recorded.dtype, question.intercept, weights)
    with np.errstate(all="ignore"):
        loss = yardstick.measure_all(rows[[0, 1, -2, -1]]).loss.astype(np.float64)
        begins, ends = loss[0] - loss[1], loss[2] - loss[3]
        share = ends / loss[2]
    if not np.isfinite(loss).all():
        return None
    if found.epochs == 1 and abs(share) > _AT_ONCE:
        told = f"falls by {100 * share:.2g} %" if share > 0 else "rises"
        return f", in which the loss {told}: a return inside the loop, a stop that is met too early, or w that begins anew in every epoch"
    if len(rows) > 2 and ends > _STILL_FALLS * abs(begins) and share > _MATERIAL:
        return f", where the loss still falls by {100 * share:.2g} % an epoch: a stop that is met too early, or a loop that counts too few"
    return None
