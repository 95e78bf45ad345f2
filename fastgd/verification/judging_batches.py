"""Mini-batches and sample weights: what was asked for, and the judgement of a history.

1. A batch is named by its samples: in the order of the data, by a permutation, or by a function of
   the epoch such as `fastgd.testing.minibatch_order`. Nothing is guessed.
2. Rows are w after each epoch, or after each step, as their number says.
3. Plain gradient descent alone is judged. A cause is a named factor; else it is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..input.messages import counted, shown
from ..input.options import read_count
from ..input.reading import read_array
from .bound.batches import BatchSteps
from .bound.yardstick import Array, share_of
from .causes.diagnosing import Question
from .causes.diagnosis import Diagnosis
from .causes.recorded import Recorded, arithmetic_dtype, read_losses, read_rows, with_start
from .judging import Judgement, named_factors, names_of, of_codes
from .report.beyond import Beyond

__all__ = ["Batches", "judge_batches", "read_batches"]


class Batches(NamedTuple):
    """The batches of each epoch, and the weights of the samples."""

    of_epoch: Callable[[int], list[Array | None]]
    weights: Array | None  # (n,)
    size: int | None = None
    in_order: bool = True  # of the data, in every epoch


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

    return Batches(of_epoch, weights, size, order is None)


def _cut(given: Any, size: int, n: int) -> list[Array]:
    """Return the batches of one epoch, from a permutation or from themselves."""
    whole = isinstance(given, np.ndarray) and given.ndim == 1
    batches = [given[k : k + size] for k in range(0, len(given), size)] if whole else [np.asarray(batch) for batch in given]
    for batch in batches:
        if batch.ndim != 1 or batch.dtype.kind not in "iu" or not len(batch) or batch.min() < 0 or batch.max() >= n:
            raise ValueError(f"order must give the numbers of the samples, 0 to {n - 1:,}, of each batch; it gave {shown(batch)}")
    return [np.ascontiguousarray(batch, np.int64) for batch in batches]


class _Plan(NamedTuple):
    """How rows are meant."""

    steps: list[list[tuple[Array | None, Any]]]  # from each row to the next
    at: Array  # (m,): the epoch of each row, or its step
    words: str


def judge_batches(
    question: Question, batches: Batches, w_history: Any, loss_history: Any, *, epochs: int | None, start: Array, dtype: Any, of_data: Any,
    limit: float, held_higher: bool,
) -> Judgement:  # fmt: skip
    """Judge a history of steps on batches, or with sample weights."""
    if not question.asked.plain:
        raise ValueError("batch_size, order and sample_weight are judged for plain gradient descent alone")
    rows = read_rows(w_history, question.n_parameters, question.intercept)
    judged = arithmetic_dtype(dtype, rows, of_data)
    plan, rows, notes = _read_plan(question, batches, rows, epochs, start, judged)
    reduction = question.reduction.removeprefix("half_")  # half of it is half the rate
    steps = BatchSteps(question.X, question.y, batches.weights, reduction=reduction, dtype=judged, intercept=question.intercept,
                       held_higher=held_higher)  # fmt: skip
    recorded = Recorded(rows, None, judged, tuple(notes), False)
    shares = steps.shares(rows, plan.steps, limit)
    found = [Beyond(0, "w[0]", math.inf)] if question.start_is_wrong(recorded) else []
    if (shares > limit).any():
        row = int(np.argmax((shares > limit).any(1)))
        column = int(np.argmax(shares[row]))
        found.append(Beyond(int(plan.at[row]), names_of(question)[column], float(shares[row, column]), float(rows[row, column])))
    loss_share = _of_losses(steps, rows, loss_history, notes, limit, batches)
    if (loss_share > limit).any():
        row = int(np.argmax(loss_share > limit))
        found.append(Beyond(int(plan.at[row]), "loss", float(loss_share[row])))
    beyond = min(found, key=lambda one: one.epoch, default=None)
    known = ~np.isnan(shares).any(1)
    last, total = int(plan.at[known][-1]) if known.any() else 0, int(plan.at[-1])
    if beyond is None and last < total:
        notes.append(f"judged up to {plan.words} {last}: values are too near overflow after that")
    w_share, of_loss = np.full(total + 1, np.nan), np.full(total + 1, np.nan)
    w_share[plan.at], of_loss[plan.at[: len(loss_share)]] = shares.max(1), loss_share

    def diagnosis() -> Diagnosis | None:
        return None if beyond is None else _cause(question, steps, rows, plan, limit, beyond)

    return Judgement(recorded, plan.at, w_share, of_loss, beyond, total, last, tuple(notes), diagnosis)


def _read_plan(
    question: Question, batches: Batches, rows: Array, epochs: int | None, start: Array, judged: Any
) -> tuple[_Plan, Array, list[str]]:
    """Return how the rows are meant, with the start before them where it was not recorded."""
    given = len(rows)
    count = epochs if epochs is not None else max(given - 1, 0)
    of_epochs = [batches.of_epoch(epoch) for epoch in range(count)]
    n_steps = sum(map(len, of_epochs))
    rates = np.broadcast_to(question.on_schedule(count).lr, (count,)).astype(judged).astype(np.float64) * (
        0.5 if question.reduction.startswith("half") else 1.0
    )
    each = [[(batch, rate) for batch in found] for found, rate in zip(of_epochs, rates, strict=True)]
    meant = {"epoch": each, "step": [[step] for epoch in each for step in epoch]}
    words = next((words for words, steps in meant.items() if given in (len(steps), len(steps) + 1) and steps), None)
    if words is None:
        needed = f"{count + 1:,} for {counted(count, 'epoch')}, or {n_steps + 1:,} for their steps"
        raise ValueError(f"w_history has {counted(given, 'row')}; needed are {needed}, the start first")
    steps = meant[words]
    notes = [f"each row is read as w after one {words}"] if n_steps != count else []
    if given == len(steps):
        rows = with_start(rows, start, judged)
        notes.append("the start was put before the rows")
    return _Plan(steps, np.arange(len(rows)), words), rows, notes


def _of_losses(steps: BatchSteps, rows: Array, loss_history: Any, notes: list[str], limit: float, batches: Batches) -> Array:
    """Return the share of the bound of each loss, that of all samples; NaN: not judged."""
    nothing = np.full(len(rows), np.nan)
    if loss_history is None:
        return nothing
    on_all = steps.on(None)
    assert on_all is not None
    try:
        losses = read_losses(loss_history, len(rows), notes)
    except ValueError:
        notes.append("the losses are not judged: there is not one for each row")
        return nothing
    assert losses is not None
    with np.errstate(all="ignore"):
        truth = on_all[0].measure_all(on_all[0].parameters(rows, "w_history", rows=True))
        m = min(len(losses), len(rows))
        shares = share_of(on_all[0].extended(losses[:m]) - truth.loss[:m], truth.loss_error[:m])
    shares = np.where(truth.inside[:m], shares, np.nan)
    if (shares > limit).any() and len(batches.of_epoch(0)) > 1:
        notes.append("the losses are not judged: they are not those of all samples at each row, but perhaps of the batches")
        return nothing
    return shares


def _cause(question: Question, steps: BatchSteps, rows: Array, plan: _Plan, limit: float, beyond: Beyond) -> Diagnosis:
    """Return the named factor on every step that explains the rows; else unknown."""
    n, asked = len(question.y), question.asked.factor
    if beyond.quantity != "loss" and not math.isinf(beyond.share):
        sizes = {n if batch is None else len(batch) for epoch in plan.steps for batch, _ in epoch}
        # of a sum the right factor on the mean gradient is the size of the batch
        right = {size: asked if asked <= 1 else asked * size / n for size in sizes}
        named = {size: dict(named_factors(size, right[size])) for size in sizes}
        for codes in sorted(named[max(sizes)], key=len):
            off = {size: named[size].get(codes, right[size]) / right[size] for size in sizes}
            scaled = [[(batch, rate * off[n if batch is None else len(batch)]) for batch, rate in epoch] for epoch in plan.steps]
            if (steps.shares(rows, scaled, limit)[1:] <= limit).all():
                return of_codes(codes, question, off[max(sizes)])
    told = f"no known cause explains it; {beyond.quantity} is the first that is wrong, in {plan.words} {beyond.epoch}"
    return Diagnosis("unknown", ("unknown",), f"{told}. The order of the samples or the weights may be others than those given")
