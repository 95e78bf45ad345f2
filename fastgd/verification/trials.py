"""What a trial recorded, read for the judge: rows of known epochs, losses without w, curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..fitting import fit
from ..input.messages import counted
from ..input.reading import read_array
from .bound.yardstick import Array
from .candidates.kinds import joined
from .candidates.tasks import Task, Trial
from .causes.diagnosing import Question
from .causes.readings import Reading, losses_of_rows, read_readings
from .causes.recorded import read_recorded
from .judging import Judgement, judge
from .judging_batches import judge_batches
from .judging_losses import judge_losses, with_losses
from .report.curves import Curves

__all__ = ["curves_of", "judge_trial"]

_STRIDES = (2, 3, 4, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)  # epochs between rows that people record
_MOST_STEPS = 50_000
_APART = "w has fewer rows than there are epochs, and the rule keeps a state between them: return w after every update"


def judge_trial(question: Question, task: Task, trial: Trial, dtype: Any, limit: float) -> tuple[Judgement, str | None]:
    """Return the judgement of what a candidate made, and why it failed, if it did."""
    start = question.w0 if question.w0 is not None else np.zeros(question.n_parameters)
    epochs = None if trial.failure else trial.epochs or task.epochs
    if trial.w is None:
        if task.batches is not None:
            raise ValueError("losses without w are judged on all samples alike: record w too")
        return judge_losses(question, losses_of(trial.loss, epochs), start, dtype_of_losses(dtype, trial.loss, task), limit), trial.failure
    if task.batches is not None:
        found = judge_batches(
            question, task.batches, trial.w, trial.loss, epochs=epochs, start=start, dtype=dtype, of_data=task.X.dtype, limit=limit,
            held_higher=trial.held_higher,
        )  # fmt: skip
        return found, trial.failure
    if trial.of_code and trial.loss is not None and not _has_losses_of_rows(trial, epochs):
        plain, failure = judge_trial(question, task, replace(trial, loss=None), dtype, limit)
        plain = plain._replace(notes=(*plain.notes, f"the losses are not judged: there are {np.size(trial.loss):,}"))
        if len(trial.w) > 1 or plain.beyond is None:  # else the losses may say when it ended
            return plain, failure
    if trial.at is not None:
        return judge(question, list(_readings_at(trial, question, dtype, task)), limit, trial.held_higher), trial.failure
    asked: dict[str, Any] = {
        "n_parameters": question.n_parameters, "intercept": question.intercept, "start": start, "start_known": question.w0 is not None,
        "dtype": dtype, "of_data": task.X.dtype, "strides": question.strides,
    }  # fmt: skip
    readings = read_readings(trial.w, trial.loss, epochs=epochs, **asked)
    if not readings:
        first = read_readings(start[None], None, epochs=None, **asked)
        return judge(question, first, limit, trial.held_higher), trial.failure or f"cannot be judged:\n{_APART}"
    found = judge(question, readings, limit, trial.held_higher)
    if epochs is None and not trial.of_code and question.strides and found.beyond is not None and found.beyond.epoch:
        found = _apart(question, readings[0], limit, trial.held_higher) or found
    if len(found.recorded.w) == 2 and found.epochs > 1 and question.stateless and np.size(trial.loss) in (found.epochs, found.epochs + 1):
        losses = losses_of(trial.loss, found.epochs)  # of every epoch, beside the last w alone
        found = with_losses(found, judge_losses(question, losses, found.recorded.w[0], found.recorded.dtype, limit))
    return found, trial.failure


def _apart(question: Question, reading: Reading, limit: float, held_higher: bool) -> Judgement | None:
    """Return the judgement of rows some usual number of epochs apart, if they agree."""
    m = len(reading.at)
    for k in _STRIDES if m > 2 and np.size(question.lr) == 1 and question.schedule is None else ():
        if k * m > _MOST_STEPS:
            break
        told = f"the number of epochs was not given: rows of w are read as {k} epochs apart"
        recorded = reading.recorded._replace(notes=(*reading.recorded.notes, told))
        found = judge(question, [Reading(recorded, k * reading.at)], limit, held_higher)
        if found.beyond is None and found.epochs_judged:
            return found
    return None


def _has_losses_of_rows(trial: Trial, epochs: int | None) -> bool:
    """Return whether there are as many losses as rows of w, or as epochs."""
    rows, asked = len(trial.w), len(trial.w) - 1 if epochs is None else epochs
    return np.size(trial.loss) in (rows - 1, rows, rows + 1, asked, asked + 1)


def curves_of(question: Question, task: Task, index: tuple[int, ...], found: Judgement) -> Curves:
    """Return w and loss of a history, and those of a fit of ours from the same start."""
    recorded, at = found.recorded, found.at
    theirs = np.asarray(recorded.w, np.float64)
    names = [f"w[{j}]" for j in range(theirs.shape[1] - task.intercept)] + ["intercept"] * task.intercept
    loss = None if recorded.loss is None else np.asarray(recorded.loss, np.float64)
    ours = None
    half = task.reduction.startswith("half_")  # which `fit` does not know: it is half the rate, without options
    moved = task.schedule is None and (question.asked.momenta is not None or np.size(question.lr) > 1)
    apart = not question.asked.ridge and np.ndim(question.asked.values.get("weight_decay", 0.0))  # neither of which `fit` knows
    if np.isfinite(theirs[0]).all() and (question.asked.plain or not half) and not moved and not apart:
        options: dict[str, Any] = {"w0": theirs[0, : task.X.shape[-1]], "intercept": task.intercept}
        options |= {"reduction": task.reduction.removeprefix("half_")}
        options |= {"intercept0": theirs[0, -1]} if task.intercept else {}
        lr = None if task.schedule_sets_rates else float(question.lr.flat[0]) * (0.5 if half else 1)
        ours = fit(
            task.X[index], task.y[index], lr=lr, epochs=int(at[-1]), optimizer=task.optimizer, schedule=task.schedule, history=True,
            dtype=recorded.dtype, nan_policy="propagate", ridge=task.ridge, **options,
        ).history  # fmt: skip
    of_ours = None if ours is None else np.asarray(joined(ours), np.float64)
    return Curves(names, at, theirs, loss, of_ours, None if ours is None else np.asarray(ours.loss, np.float64))


def losses_of(losses: Any, epochs: int | None) -> Array:
    """Return the losses that were recorded without w."""
    found = read_array(losses, "loss_history").ravel()
    if epochs is not None and len(found) not in (epochs, epochs + 1):
        raise ValueError(f"loss_history has {counted(len(found), 'value')}; {counted(epochs, 'epoch')} need {epochs:,} or {epochs + 1:,}")
    if not len(found):
        raise ValueError("loss_history is empty")
    return found


def dtype_of_losses(dtype: Any, losses: Any, task: Task) -> Any:
    """Return the precision that is judged where losses are all there is."""
    kind = getattr(losses, "dtype", None)
    return dtype if dtype is not None else np.dtype(np.float32) if kind == np.float32 else task.X.dtype


def _readings_at(trial: Trial, question: Question, dtype: Any, task: Task) -> Iterator[Reading]:
    """Yield the ways to read rows whose epochs are known: those of their losses."""
    at = trial.at
    assert at is not None
    asked: dict[str, Any] = {"n_parameters": question.n_parameters, "intercept": question.intercept, "dtype": dtype}
    for loss, told in losses_of_rows(trial.loss, at, at, int(at[-1])):
        recorded = read_recorded(trial.w, loss, of_data=task.X.dtype, **asked)
        yield Reading(recorded._replace(notes=(*recorded.notes, *told)), at)
