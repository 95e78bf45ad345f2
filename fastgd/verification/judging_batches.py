"""Mini-batches and sample weights: what was asked for, and the judgement of a history.

1. A batch is named by its samples: in the order of the data, by a permutation, or by a function of
   the epoch such as `fastgd.testing.minibatch_order`. Nothing is guessed.
2. Rows are w after each epoch, or after each step. Where their number does not say which, the
   reading that agrees counts, and a note says which it is.
3. Rows are judged as any history is (judging.py). Of single steps every rule can be judged, of
   whole epochs SGD, whose steps are linear (bound/batches.py); their losses have readings of their
   own (mini_batch_losses.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..input.messages import counted, shown
from ..input.options import read_count
from ..input.reading import read_array
from .bound.batches import BatchSteps, Step
from .bound.yardstick import Array
from .causes.diagnosing import Question
from .causes.diagnosis import Diagnosis
from .causes.plan import Parts, Plan
from .causes.readings import Reading
from .causes.recorded import Recorded, arithmetic_dtype, read_losses, read_rows, with_start
from .causes.sizes import factor_of
from .judging import Judgement, judge_each
from .mini_batch_losses import explained_losses
from .report.beyond import Beyond

__all__ = ["Batches", "judge_batches", "read_batches"]

_HIDDEN = "with batch_size and sample_weight other rules than SGD are judged where there is a row for each step: record w after every step"


class Batches(NamedTuple):
    """The batches of each epoch, and the weights of the samples."""

    of_epoch: Callable[[int], list[Array | None]]
    weights: Array | None  # (n,)
    size: int | None = None
    in_order: bool = True  # of the data, in every epoch
    epochs: int | None = None  # of which the order is known; None: all


def read_batches(batch_size: Any, order: Any, sample_weight: Any, n: int) -> Batches | None:
    """Check the options; return None where all samples count alike in every step."""
    if batch_size is None and order is None and sample_weight is None:
        return None
    weights = None if sample_weight is None else np.asarray(read_array(sample_weight, "sample_weight"))
    if weights is not None and weights.shape != (n,):
        raise ValueError(f"sample_weight must have one number for each of the {n:,} samples; it has shape {weights.shape}")
    if weights is not None and ((weights < 0).any() or not np.isfinite(weights).all() or not weights.any()):
        raise ValueError("sample_weight must be finite and not negative, and at least one must not be 0")
    if batch_size is None and order is None:
        return Batches(lambda epoch: [None], weights)
    size = n if batch_size is None else read_count(batch_size, "batch_size", 1)
    table = None if order is None or callable(order) else np.asarray(read_array(order, "order"))
    if table is not None and (table.ndim not in (1, 2) or table.shape[-1] != n):
        raise ValueError(f"order must be a permutation of the {n:,} samples, or one for each epoch; it has shape {table.shape}")

    def of_epoch(epoch: int) -> list[Array | None]:
        if table is not None and table.ndim == 2 and epoch >= len(table):
            raise ValueError(f"order has {counted(len(table), 'row')}, and there are more epochs")
        given = np.arange(n) if order is None else order(epoch) if table is None else table if table.ndim == 1 else table[epoch]
        return list(_cut(given, size, n))

    return Batches(of_epoch, weights, size, order is None, None if table is None or table.ndim == 1 else len(table))


def _cut(given: Any, size: int, n: int) -> list[Array]:
    """Return the batches of one epoch, from a permutation or from themselves."""
    whole = isinstance(given, np.ndarray) and given.ndim == 1
    batches = [given[k : k + size] for k in range(0, len(given), size)] if whole else [np.asarray(batch) for batch in given]
    for batch in batches:
        if batch.ndim != 1 or batch.dtype.kind not in "iu" or not len(batch) or batch.min() < 0 or batch.max() >= n:
            raise ValueError(f"order must give the numbers of the samples, 0 to {n - 1:,}, of each batch; it gave {shown(batch)}")
    return [np.ascontiguousarray(batch, np.int64) for batch in batches]


class _Plan(NamedTuple):
    """One way to read the rows."""

    epochs: list[list[Step]]
    by_step: bool  # rows are w after each step, not after each epoch
    added: bool  # the start was not recorded
    words: str = ""  # in which it differs from what the number of rows says

    @property
    def unit(self) -> str:
        return "step" if self.by_step else "epoch"


def judge_batches(
    question: Question, batches: Batches, w_history: Any, loss_history: Any, *, epochs: int | None, start: Array, dtype: Any, of_data: Any,
    limit: float, held_higher: bool,
) -> Judgement:  # fmt: skip
    """Judge a history of steps on batches, or with sample weights."""
    rows = read_rows(w_history, question.n_parameters, question.intercept)
    judged = arithmetic_dtype(dtype, rows, of_data)
    found: list[Judgement] = []
    plans = _plans(question, batches, len(rows), epochs, judged)
    hidden: list[_Plan] = []
    if question.asked.options is None:  # other rules than SGD are judged where no steps are hidden
        hidden = [plan for plan in plans if not (plan.by_step or all(len(epoch) == 1 for epoch in plan.epochs))]
        plans = [plan for plan in plans if plan not in hidden]
    for plan in plans:
        whole = with_start(rows, start, judged) if plan.added else rows
        one = _judge_plan(question, batches, plan, whole, loss_history, judged, limit, held_higher)
        if one.beyond is None and (one.epochs_judged or len(plans) == 1):
            return one
        found.append(one)
    if hidden and (epochs is not None or not found):  # epochs says that the rows are not those of steps
        raise ValueError(_HIDDEN)
    named = (one for one in found if len(found) > 1 and _is_named(one.diagnosis()))
    best = next(named, found[0])
    return best


def _is_named(found: Diagnosis | None) -> bool:
    return found is not None and found.code != "unknown" and not found.evidence.get("constants")


def _plans(question: Question, batches: Batches, given: int, epochs: int | None, judged: Any) -> list[_Plan]:
    """Return the ways to read this number of rows, the likeliest first."""

    def steps_of(count: int) -> list[list[Step]]:
        rates = _rates(question, count, judged)
        return [[Step(batch, float(rate)) for batch in batches.of_epoch(epoch)] for epoch, rate in enumerate(rates)]

    if epochs is not None:
        each = steps_of(epochs)
        n_steps = sum(map(len, each))
        plans = [
            _Plan(each, by_step, given == count)
            for by_step, count in ((False, epochs), (True, n_steps))
            if count and given in (count, count + 1) and not (by_step and n_steps == epochs)
        ]
        early = [(False, epochs), (True, n_steps)] if n_steps != epochs else [(False, epochs)]
        if not plans and 1 < given <= max(epochs, n_steps):
            told = f"w has {counted(given, 'row')} for {counted(epochs, 'epoch')}: read as"
            plans = [
                _Plan(each, by_step, False, f"{told} w after each {'step' if by_step else 'epoch'}, until it ended")
                for by_step, count in early
                if given <= count
            ]
        if given == epochs + 1 and n_steps > epochs:  # the number of steps was given for that of epochs
            told = f"epochs={epochs} is read as the number of steps: each row is w after one step"
            plans.append(_Plan(each, True, False, told))
        if not plans:
            needed = f"{epochs + 1:,} for {counted(epochs, 'epoch')}, or {n_steps + 1:,} for their steps"
            raise ValueError(f"w_history has {counted(given, 'row')}; needed are {needed}, the start first")
        return plans
    plans = []
    for added in (False, True):
        count = given - 1 + added
        if batches.epochs is None or count <= batches.epochs:
            plans.append(_Plan(steps_of(count), False, added))
        several = n_steps = spare = fewest = 0
        while fewest < count and (batches.epochs is None or spare < batches.epochs):
            found = len(batches.of_epoch(spare))
            several, n_steps = (several + 1, n_steps + found) if n_steps < count else (several, n_steps)
            spare, fewest = spare + 1, fewest + max(1, found - 1)  # where the last batch of each is left out
        if count <= n_steps and several < count:
            told = f"w has {counted(given, 'row')}, and epochs was not given: read as w after each step of {counted(several, 'epoch')}"
            try:
                each = steps_of(spare)
            except ValueError:  # there are rates for fewer epochs
                each = steps_of(several)
            plans.append(_Plan(each, True, added, told))
    if not plans:
        raise ValueError(f"w_history has {counted(given, 'row')}, and order has {counted(batches.epochs or 0, 'row')}")
    return plans


def _rates(question: Question, count: int, judged: Any) -> Array:
    """Return the rates of the first `count` epochs, in float64."""
    return np.broadcast_to(question.on_schedule(count).lr, (count,)).astype(judged).astype(np.float64)


def _judge_plan(
    question: Question, batches: Batches, plan: _Plan, rows: Array, loss_history: Any, judged: Any, limit: float, held_higher: bool
) -> Judgement:
    """Judge the rows as they are read."""
    steps = BatchSteps(question.X, question.y, batches.weights, reduction=question.reduction, dtype=judged, intercept=question.intercept,
                       held_higher=held_higher)  # fmt: skip
    one = [step for epoch in plan.epochs for step in epoch]
    sizes = {steps.size(step.batch) for step in one}
    on_all = all(step.batch is None for step in one)
    flat = plan.by_step or len(one) == len(plan.epochs)
    several = not flat or (question.reduction.endswith("sum") and len(sizes) > 1)
    notes = [plan.words] if plan.words else [f"each row is read as w after one {plan.unit}"] if not flat or plan.by_step else []
    notes += ["the start was put before the rows"] if plan.added else []
    if several and question.asked.options is None:
        raise ValueError(_HIDDEN)
    rates = None if question.schedule is None else lambda count: _rates(question, count, judged)
    parts = Parts(batches.weights, plan=None if on_all else Plan(steps, plan.epochs, plan.by_step, several, rates))
    asked = question._replace(schedule=None, parts=parts, first_rate=question.on_schedule(1).first_rate)
    rows_of = [epoch[:1] for epoch in plan.epochs] if several and not plan.by_step else [[step] for step in one]
    asked = asked._replace(lr=np.array([epoch[0].rate for epoch in rows_of[: len(rows) - 1] if epoch]) if rows_of else question.lr)
    if several:
        return _judge_ends(asked, rows, loss_history, plan, notes, judged, limit, held_higher)
    numbers = np.repeat(np.arange(len(plan.epochs)), [len(epoch) for epoch in plan.epochs])[: len(rows) - 1] if plan.by_step else None
    of_steps = None if on_all else [step.batch for step in one[: len(rows) - 1] if step.batch is not None]
    asked = asked._replace(
        parts=parts._replace(batches=of_steps, epochs=numbers),
        asked=replace(question.asked, factor=factor_of(question.reduction, next(iter(sizes), 1.0))),
    )
    return _judge_steps(asked, rows, loss_history, plan, notes, judged, limit, held_higher)


def _judge_steps(
    question: Question, rows: Array, loss_history: Any, plan: _Plan, notes: list[str], judged: Any, limit: float, held_higher: bool
) -> Judgement:
    """Judge rows that are one step apart, the losses as those of all samples or of the batches."""
    try:
        losses = None if loss_history is None else read_losses(loss_history, len(rows), notes)
    except ValueError:
        losses = None
        notes.append("the losses are not judged: there is not one for each row")
    recorded = Recorded(rows, losses, np.dtype(judged), tuple(notes), plan.added)
    reading = Reading(recorded, np.arange(len(rows)))
    found = judge_each(question, reading, limit, held_higher)
    assert question.parts is not None
    if question.parts.batches is not None and found.beyond is not None and losses is not None:
        of_batches = question._replace(parts=question.parts._replace(of_loss=True))
        other = judge_each(of_batches, reading, limit, held_higher)
        other = other._replace(notes=(*other.notes, "each loss is that of the batch of its step"))
        best: Judgement | None = max(found, other, key=lambda one: _agreeing(one, limit))  # the first of equal ones
        if best is not None and not _agreeing(best, limit):
            best = next((one for one in (found, other) if _names_the_losses(one.diagnosis())), None)
        if best is None and plan.by_step:
            best = judge_each(question, reading._replace(recorded=recorded._replace(loss=None)), limit, held_higher)
            told = "the losses are not judged: they are neither those of all samples at each row nor those of the batches"
            best = best._replace(notes=(*best.notes, told))
        found = best or found
    return _in_units(found, plan.unit)


def _judge_ends(
    question: Question, rows: Array, loss_history: Any, plan: _Plan, notes: list[str], judged: Any, limit: float, held_higher: bool
) -> Judgement:
    """Judge rows that hide steps, and losses that may be of any of them."""
    reading = Reading(Recorded(rows, None, np.dtype(judged), (), plan.added), np.arange(len(rows)))
    found = judge_each(question, reading, limit, held_higher)
    losses = explained_losses(question, rows, loss_history, judged, limit, notes)
    wrong = [found.beyond] if found.beyond is not None else []
    if (losses.share > limit).any():
        row = int(np.argmax(losses.share > limit))
        wrong.append(Beyond(row, "loss", float(losses.share[row])))
    beyond = min(wrong, key=lambda one: one.epoch, default=None)

    def diagnosis() -> Diagnosis | None:
        return None if beyond is None else losses.with_cause(found.diagnosis(), question, beyond)

    whole = found._replace(loss_share=losses.share, beyond=beyond, notes=(*notes, *found.notes), diagnosis=diagnosis)
    return _in_units(whole, plan.unit)


def _agreeing(found: Judgement, limit: float) -> int:
    """Return how many losses are right."""
    return int((found.loss_share <= limit).sum())


def _in_units(found: Judgement, unit: str) -> Judgement:
    """Return a judgement in which rows are steps, where they are."""
    if unit == "epoch":
        return found

    def worded(notes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(note.replace("epoch", "step") if note.startswith("judged up") else note for note in notes)

    def diagnosis() -> Diagnosis | None:
        cause = found.diagnosis()
        if cause is None:
            return None
        sentence = cause.sentence.replace("epoch", "step") if "unknown" in cause.codes else cause.sentence
        return replace(cause, sentence=sentence, notes=worded(cause.notes), evidence={**cause.evidence, "unit": unit})

    return found._replace(notes=worded(found.notes), unit=unit, diagnosis=diagnosis)


def _names_the_losses(found: Diagnosis | None) -> bool:
    """Return whether a diagnosis knows what the losses are."""
    return found is not None and any(code.startswith("loss_") for code in found.codes)
