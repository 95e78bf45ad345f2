"""The verdict on what a candidate made, read in all ways, and the cause where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .bound.yardstick import Array, worst
from .candidates.models import TorchCandidate
from .candidates.tasks import Candidate, Task, Trial
from .causes.diagnosing import Question, of_changed_data, read_question
from .causes.diagnosis import Diagnosis
from .causes.recorded import AS_BEFORE
from .causes.table import CAUSES
from .ending_early import cause_of_ending
from .report.report import Verdict
from .trials import curves_of, judge_trial

__all__ = ["verdicts_on"]

_START = "it does not agree from zeros, and where it starts is not known: give w0=, take w0 as a parameter, or return the start as well"


def verdicts_on(one: Candidate, task: Task, questions: dict[tuple[int, ...], Question], dtype: Any) -> Iterator[Verdict]:
    """Yield the verdict on each history that a candidate makes."""
    for index, trial in one.trials(task):
        question = questions[index]
        if trial.lr is not None:
            question = question.with_rate(trial.lr)
        elif task.lr is None:
            raise ValueError("lr is needed: the learning rate that was meant")
        if trial.rates is not None and len(trial.rates):
            question = question._replace(lr=trial.rates)
        question = question.with_options(trial.momenta, trial.decays)
        question = question._replace(one_array=bool(trial.one_array), copied=trial.copied)
        if task.w0 is None and trial.start_known:
            question = question._replace(w0=np.zeros(task.n_parameters))
        judged = partial(_verdict_of_ones, one, index, question=question, task=task, dtype=trial.dtype if dtype is None else dtype)
        verdict, again = judged(trial), trial
        while again.otherwise is not None and not verdict.ok:
            again = again.otherwise()
            try:
                other = judged(again)
            except ValueError:  # a reading with more epochs than there are rates or orders
                continue
            if again.for_cause:
                verdict = verdict if other.ok else other
            elif other.ok or (_is_explained(other) and (_has_no_cause(verdict) or _is_of_handing_over(verdict))):
                verdict = other
        rate = trial.own_rate
        if rate is not None and task.lr is not None and rate != task.lr[index] and verdict.diagnosis is not None:
            owner = "the optimizer" if isinstance(one, TorchCandidate) else one.name
            own = _verdict_on(one, index, trial, question.with_rate(float(rate)), task, trial.dtype if dtype is None else dtype)
            verdict = replace(verdict, diagnosis=_of_rates(verdict.diagnosis, owner, rate, task.lr[index])) if own.ok else verdict
        yield verdict


def _verdict_of_ones(one: Candidate, index: tuple[int, ...], trial: Trial, question: Question, task: Task, dtype: Any) -> Verdict:
    """Return the verdict on one history; with a ridge a column of ones in X may be the intercept.

    Then it has no penalty.
    """
    verdict = _verdict_on(one, index, trial, question, task, dtype)
    ones = np.flatnonzero((question.X == 1).all(0))
    if verdict.ok or _is_explained(verdict) or task.ridge is None or task.intercept or task.batches is not None:
        return verdict
    if len(ones) != 1 or np.ndim(trial.w) != 2 or question.X.shape[1] < 2:
        return verdict
    j = int(ones[0])

    def turned(rows: Any) -> Array:
        rows = np.asarray(rows)
        return np.concatenate([np.delete(rows, j, -1), rows[..., j : j + 1]], axis=-1)

    asked = read_question(
        np.delete(question.X, j, 1), question.y, lr=question.lr, optimizer=task.optimizer, reduction=task.reduction, intercept=True,
        w0=None if question.w0 is None else turned(question.w0), ridge=task.ridge,
    ).with_schedule(question.schedule)._replace(one_array=question.one_array, copied=question.copied)  # fmt: skip
    told = f"w[{j}] belongs to the column of ones: it was read as the intercept, which has no penalty"
    less = replace(task, X=np.delete(task.X, j, -1), intercept=True, w0=None if task.w0 is None else turned(task.w0), own=None)
    other = _verdict_on(one, index, replace(trial, w=turned(trial.w), notes=[*trial.notes, told], rows_for=None), asked, less, dtype)
    return other if other.ok or _is_explained(other) else verdict


def _of_rates(found: Diagnosis, owner: str, has: float, asked: float) -> Diagnosis:
    """Return the diagnosis where an optimizer has another learning rate than was asked for."""
    told = f"{owner} has lr {has:g}, {asked:g} was asked"
    return Diagnosis("lr_scaled", ("lr_scaled",), told, {**found.evidence, "tau": 0.0}, f"lr={has:g} here, or lr={asked:g} in {owner}")


def _has_no_cause(verdict: Verdict) -> bool:
    """Return whether a candidate raised, or is wrong for an unknown reason."""
    return verdict.failure is not None or (verdict.diagnosis is not None and verdict.diagnosis.code == "unknown")


def _is_explained(verdict: Verdict) -> bool:
    return verdict.failure is None and (verdict.diagnosis is None or "unknown" not in verdict.diagnosis.codes)


def _is_of_handing_over(verdict: Verdict) -> bool:
    """Return whether the mistake may be in how X, of shape (n, 1), or w was handed over."""
    return verdict.diagnosis is not None and bool({"broadcast", "loss_broadcast", "intercept_first"} & set(verdict.diagnosis.codes))


@np.errstate(all="ignore")  # a history that overflows is a finding, not a warning
def _verdict_on(one: Candidate, index: tuple[int, ...], trial: Trial, question: Question, task: Task, dtype: Any) -> Verdict:
    """Return the verdict on one history, with the cause where it is wrong."""
    found, failure = judge_trial(question, task, trial, dtype, one.limit)
    notes, diagnosis = [*found.notes, *trial.notes], found.diagnosis()
    if diagnosis is not None and trial.on_numbers is not None:
        on_numbers = trial.on_numbers()
        if not on_numbers.failure and _verdict_on(one, index, on_numbers, question, task, dtype).ok:
            diagnosis = _of_cause("data_dtype", diagnosis, kinds=_kinds(task), judged=str(task.X.dtype))
    if diagnosis is not None and trial.one_array and not found.recorded.start_added and _may_be_the_end(found.recorded.w[0], task, index):
        stays = () if trial.start_known or task.w0 is not None or diagnosis.codes == ("rows_are_one_array",) else ("parameter_not_updated",)
        diagnosis = replace(_of_cause("rows_are_one_array"), also_possible=stays or diagnosis.also_possible)
        notes.append(f"w_history holds one array {trial.one_array:,} times: its rows are all that array, as it is now")
    diagnosis = of_changed_data(diagnosis) if trial.altered else diagnosis
    if trial.knows_losses:
        notes = [note for note in notes if not note.endswith(AS_BEFORE)]
        diagnosis = diagnosis and replace(diagnosis, notes=tuple(note for note in diagnosis.notes if not note.endswith(AS_BEFORE)))
    if dtype is None and found.recorded.dtype != task.X.dtype and not any("judged as float32" in note for note in notes):
        notes.append(f"X and y are {task.X.dtype}, and the rows of w are {found.recorded.dtype}: judged in {found.recorded.dtype}")
    hangs_on_the_start = trial.w is None or (len(found.recorded.w) == 2 and found.recorded.start_added)
    if hangs_on_the_start and not trial.start_known and task.w0 is None and diagnosis is not None and diagnosis.code == "unknown":
        failure = failure or f"cannot be judged:\n{_START}"
    if found.beyond is None and diagnosis is None and not failure:
        diagnosis = cause_of_ending(question, task, trial, found)
    tau_w, tau_w_epoch = worst(found.w_share, none=math.nan)
    tau_loss, tau_loss_epoch = worst(found.loss_share, none=math.nan)
    ok = found.beyond is None and diagnosis is None and not failure and not trial.altered and found.epochs_judged > 0
    asked = task.epochs if trial.epochs is None and found.unit == "epoch" else None
    return Verdict(
        candidate=one.name, fit=index, ok=ok, dtype=str(found.recorded.dtype), limit=one.limit,
        tau_w=tau_w, tau_loss=tau_loss, tau_w_epoch=tau_w_epoch, tau_loss_epoch=tau_loss_epoch,
        first=found.beyond, epochs=found.epochs, epochs_judged=found.epochs_judged, w_share=found.w_share, loss_share=found.loss_share,
        diagnosis=diagnosis, notes=tuple(dict.fromkeys(notes)), failure=failure, unit=found.unit, asked=asked,
        curves=None if trial.w is None else partial(curves_of, question, task, index, found),
    )  # fmt: skip


def _may_be_the_end(row: Array, task: Task, index: tuple[int, ...]) -> bool:
    """Return whether rows that are all this one are not the start, at which w may have stayed."""
    return bool((np.asarray(row, np.float64) != task.start(index)).any())


def _of_cause(code: str, found: Diagnosis | None = None, **words: str) -> Diagnosis:
    """Return the diagnosis of a cause that was found by trying, with the evidence of `found`."""
    cause = CAUSES[code]
    sentence, fix = cause.sentence.format(**words), cause.fix.format(**words)
    evidence = {} if found is None else {**found.evidence, "tau": 0.0}
    return Diagnosis(code, (code,), sentence, evidence, fix, notes=() if found is None else found.notes)


def _kinds(task: Task) -> str:
    """Return the dtypes of the user's data in words."""
    assert task.own is not None
    kinds = task.own.X.dtype, task.own.y.dtype
    return f"X and y in {kinds[0]}" if kinds[0] == kinds[1] else f"X in {kinds[0]} and y in {kinds[1]}"
