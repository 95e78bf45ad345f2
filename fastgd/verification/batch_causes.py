"""The causes of a history of mini-batches: what is wrong in how each step uses its samples.

1. A step on a batch is a function of its samples, its divisor, its weights and its rate. A
   hypothesis changes one of them in the steps that were asked for, and a named factor on the
   gradient may be beside it. All are tested by the replay of bound/batches.py.
2. A factor or a decay without a name is solved for on one row, and tested on all of them. The
   shortest decimal that agrees is taken.
3. The losses of an epoch may be those of all samples before or after it, or the mean, the weighted
   mean, the sum, the first or the last of those of its batches, each before its step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ..input.reading import read_array
from .bound.batches import BatchSteps
from .bound.yardstick import Array, share_of
from .causes.diagnosing import Question
from .causes.diagnosis import Diagnosis
from .causes.sizes import named_factors
from .causes.weights import OTHER_WEIGHTS
from .judging import of_codes
from .report.beyond import Beyond

__all__ = ["Asked", "Losses", "Steps", "cause_of_batches", "explained_losses"]

Steps = list[list[tuple[Array | None, Any]]]  # (batch, rate) of every step of each epoch, or of each row

_ENOUGH = 3  # rows that a constant without a short decimal needs


@dataclass(frozen=True)
class Asked:
    """The steps that were asked for, and how rows show them."""

    question: Question
    weights: Array | None
    epochs: Steps
    by_step: bool
    steps: BatchSteps
    dtype: Any
    limit: float

    def rows_of(self, epochs: Steps) -> Steps:
        """Return the steps from each row to the next."""
        return [[step] for epoch in epochs for step in epoch] if self.by_step else epochs

    def agrees(self, rows: Array, epochs: Steps, steps: BatchSteps | None = None, **more: Any) -> bool:
        """Return whether rows are the ends of these steps."""
        plan = self.rows_of(epochs)
        if len(plan) < len(rows) - 1:
            return False
        return bool(((steps or self.steps).shares(rows, plan, self.limit, **more)[1:] <= self.limit).all())

    def changed(self, rate: Callable[[Array | None, Any], Any]) -> Steps:
        """Return the steps with other rates."""
        return [[(batch, rate(batch, lr)) for batch, lr in epoch] for epoch in self.epochs]

    @property
    def several(self) -> bool:
        """Whether an epoch has several batches."""
        return any(len(epoch) > 1 for epoch in self.epochs)


class _Variant(NamedTuple):
    """Other steps than those asked for."""

    codes: tuple[str, ...]
    epochs: Steps
    steps: BatchSteps | None = None  # with other weights
    adds_up: str = ""  # the gradients do, from the beginning of the "epoch" or "for ever"


def cause_of_batches(asked: Asked, rows: Array, beyond: Beyond | None = None) -> Diagnosis | None:
    """Return what explains w; where nothing does, unknown with `beyond`, None without it."""
    found = _named(asked, rows)
    if found is None and beyond is not None and not asked.by_step:
        found = _with_constant(asked, rows)
    if found is not None or beyond is None:
        return found
    told = f"no known cause explains it; {beyond.quantity} is the first that is wrong, in epoch {beyond.epoch}"
    return Diagnosis("unknown", ("unknown",), f"{told}. The order of the samples, or their weights, may be others than those given")


def _named(asked: Asked, rows: Array) -> Diagnosis | None:
    """Return the shortest cause without constants; those as short are possible as well."""
    size = max((asked.steps.size(batch) for epoch in asked.epochs for batch, _ in epoch), default=1.0)
    every = sorted(_variants(asked), key=lambda variant: len(variant.codes))
    for _, group in groupby(every, key=lambda variant: len(variant.codes)):
        passing = [variant for variant in group if variant.codes and asked.agrees(rows, variant.epochs, variant.steps, **_sums(asked, variant))]
        if passing:
            codes = passing[0].codes
            also = tuple(dict.fromkeys(" + ".join(other.codes) for other in passing[1:] if other.codes != codes))
            value = dict(_factors(asked, size)).get(codes[-1:], 1.0)
            first = asked.question.on_schedule(1).first_rate
            words = {} if first is None else {"rate": asked.epochs[0][0][1] / first, "value": first if codes[0] == "schedule_of_rates" else value}
            words |= {} if first is None or codes[0] != "schedule_unused" else {"rate": asked.epochs[0][0][1]}
            return replace(of_codes(codes, asked.question, **{"value": value, **words}, size=size), also_possible=also)
    return None


def _sums(asked: Asked, variant: _Variant) -> dict[str, Any]:
    """Return the rows at which the sum of gradients begins anew, where they add up."""
    if not variant.adds_up:
        return {}
    begins = [k == 0 for epoch in variant.epochs for k in range(len(epoch))] if asked.by_step else [True] * len(variant.epochs)
    return {"new_sum": begins if variant.adds_up == "epoch" else [k == 0 for k in range(len(begins))]}


def _factors(asked: Asked, size: float) -> list[tuple[tuple[str, ...], float]]:
    """Return (codes, relative factor) of the named factors on a gradient that is divided by `size`."""
    half = 0.5 if asked.question.reduction.startswith("half") else 1.0
    right = half if asked.question.reduction.endswith("mean") else half * size
    # of a single sample some causes are what was asked for
    return [((), 1.0), *((codes, factor / right) for codes, factor in named_factors(size, right))]


def _variants(asked: Asked) -> Iterator[_Variant]:
    """Yield the variants, each with every named factor."""
    sizes = {asked.steps.size(batch) for epoch in asked.epochs for batch, _ in epoch} - {0.0}
    named = {size: dict(_factors(asked, size)) for size in sizes}
    codes_of_factors = dict.fromkeys(codes for factors in named.values() for codes in factors)
    for variant in _of_steps(asked):
        for codes in codes_of_factors:
            steps = variant.steps or asked.steps

            def rate(batch: Array | None, lr: Any, codes: tuple[str, ...] = codes) -> Any:
                return lr * named.get(asked.steps.size(batch), {}).get(codes, 1.0)

            scaled = [[(batch, rate(batch, lr)) for batch, lr in epoch] for epoch in variant.epochs]
            yield variant._replace(codes=(*variant.codes, *codes), epochs=scaled, steps=steps)


def _of_steps(asked: Asked) -> Iterator[_Variant]:
    """Yield the variants of samples, divisors, weights and rates."""
    yield _Variant((), asked.epochs)
    n, mean = len(asked.question.y), asked.question.reduction.endswith("mean")
    counts = [len(batch) for epoch in asked.epochs for batch, _ in epoch if batch is not None]
    full = max(counts, default=n)
    if min(counts, default=n) < full:
        yield _Variant(("drop_last",), [[(batch, lr) for batch, lr in epoch if batch is None or len(batch) == full] for epoch in asked.epochs])
        if mean:
            yield _Variant(("last_batch_divisor",), asked.changed(lambda batch, lr: lr if batch is None else lr * (len(batch) / full)))
    if mean and asked.several:
        whole = asked.steps.size(None)
        yield _Variant(("batch_divided_by_all",), asked.changed(lambda batch, lr: lr * (asked.steps.size(batch) / whole)))
    if asked.several:
        yield _Variant(("zero_grad_per_epoch",), asked.epochs, adds_up="epoch")
        yield _Variant(("zero_grad_missing",), asked.epochs, adds_up="for ever")
    yield from _of_rates(asked)
    if asked.weights is not None:
        yield from _of_weights(asked, mean)


def _of_rates(asked: Asked) -> Iterator[_Variant]:
    """Yield the variants of a schedule: stepped for each batch, early, late, or not at all."""
    question, E = asked.question, len(asked.epochs)
    if question.schedule is None:
        return
    half = 0.5 if question.reduction.startswith("half") else 1.0

    def rates(count: int) -> Array:
        return np.asarray(question.on_schedule(count).lr, np.float64).astype(asked.dtype).astype(np.float64) * half

    first = question.on_schedule(1).first_rate
    if first not in (None, 0.0, 1.0):
        yield _Variant(("schedule_of_rates",), asked.changed(lambda _, lr: lr / first))

    each = rates(E)
    if asked.several:
        try:
            of_steps = iter(rates(sum(map(len, asked.epochs))))
        except ValueError:  # an array has rates for the epochs alone
            of_steps = iter(())
        per_batch = [[(batch, next(of_steps, lr)) for batch, lr in epoch] for epoch in asked.epochs]
        yield _Variant(("schedule_per_batch",), per_batch)
    shifted = {"schedule_late": np.append(each[:1], each[:-1]), "schedule_unused": np.full_like(each, each[0])}
    try:
        shifted["schedule_early"] = rates(E + 1)[1:]
    except ValueError:
        pass
    for code, other in shifted.items():
        yield _Variant((code,), [[(batch, rate) for batch, _ in epoch] for epoch, rate in zip(asked.epochs, other, strict=True)])


def _of_weights(asked: Asked, mean: bool) -> Iterator[_Variant]:
    """Yield the variants of the weights."""
    assert asked.weights is not None
    n = len(asked.question.y)
    if mean:

        def of_number(batch: Array | None, lr: Any) -> Any:
            return lr * (asked.steps.size(batch) / (n if batch is None else len(batch)))

        yield _Variant(("weights_not_normalized",), asked.changed(of_number))
    for code, change in OTHER_WEIGHTS:
        other = change(np.asarray(asked.weights, np.float64))
        yield _Variant((code,), asked.epochs, asked.steps.with_weights(other))


def _with_constant(asked: Asked, rows: Array) -> Diagnosis | None:
    """Return a factor or a weight decay without a name (note 2)."""
    D, lr = asked.question.n_parameters, float(asked.question.lr.flat[0])
    every, slopes = np.ones(D), np.ones(D)
    slopes[D - asked.question.intercept :] = 0
    kinds: list[tuple[str, float, Callable[[Any], tuple[Steps, Array | None]], str]] = [
        ("lr_scaled", 1.0, lambda c: (asked.changed(lambda _, rate: rate * c), None), ""),
        ("weight_decay_coupled", 0.0, lambda c: (asked.epochs, c * every), ""),
    ]
    if asked.question.intercept:
        kinds.append(("weight_decay_coupled", 0.0, lambda c: (asked.epochs, c * slopes), ", not on the intercept"))
    for code, begin, make, variant in kinds:
        for value in _solutions(asked, rows, begin, make):
            epochs, decay = make(value)
            if asked.agrees(rows, epochs, decay=decay):
                found = float(value)
                words = {"rate": found * lr, "decay": found, "declared_decay": 0.0, "variant": variant}
                return replace(of_codes((code,), asked.question, found, **words), evidence={"value": found, "constants": 1})
    return None


def _solutions(asked: Asked, rows: Array, begin: float, make: Callable[[Any], tuple[Steps, Array | None]]) -> Iterator[Any]:
    """Yield short decimals near the constant with which one row follows from the one before it, then the constant."""
    if len(rows) < 3:
        return
    number = asked.steps.on(next(batch for epoch in asked.epochs for batch, _ in epoch if asked.steps.on(batch) is not None))
    assert number is not None
    kind, i = number[0].type, 1
    w, target = kind(1) * rows[i].astype(kind), rows[i + 1].astype(kind)

    def miss(value: Any) -> Array | None:
        epochs, decay = make(value)
        end = asked.steps.end(w, epochs[i], decay)
        return None if end is None else end[0] - target

    value, h = kind(begin), kind(1e-5)
    with np.errstate(all="ignore"):
        for _ in range(20):
            here, there = miss(value), miss(value + h)
            if here is None or there is None:
                return
            slope = (there - here) / h
            move = (slope * here).sum() / (slope * slope).sum()
            value = value - move
            if not np.isfinite(value):
                return
            if abs(move) <= 4 * np.finfo(kind).eps * abs(value):
                break
    if abs(value - begin) <= 1e-9:
        return
    for digits in (1, 2, 3, 4):
        short = kind(float(f"{float(value):.{digits - 1}e}"))
        if abs(short - value) <= 1e-3 * abs(value):
            yield short
    if len(rows) > _ENOUGH:
        yield value


class Losses(NamedTuple):
    """What the losses are, and the share of the bound of each row's."""

    share: Array  # (m,) NaN: not judged
    codes: tuple[str, ...] = ()
    size: float = 1.0  # what their mean is divided by

    def with_cause(self, of_w: Diagnosis | None, asked: Asked, beyond: Beyond) -> Diagnosis:
        """Return the diagnosis of w and of the losses together."""
        if not self.codes:
            told = f"no known cause explains it: {beyond.quantity} is the first that is wrong, in epoch {beyond.epoch}"
            return of_w or Diagnosis("unknown", ("unknown",), told)
        found = of_codes(self.codes, asked.question, 1.0, self.size)
        if of_w is None:
            return found
        fixes = "; ".join(fix for fix in (of_w.fix, found.fix) if fix)
        return replace(of_w, codes=(*of_w.codes, *found.codes), sentence=f"{of_w.sentence}; {found.sentence}", fix=fixes)


class _Reading(NamedTuple):
    """What losses may be: their values, how far rounding may move them, and the rows that they belong to."""

    words: str
    value: Array
    error: Array
    at: Array
    size: float
    given: slice = slice(None)  # of the losses


def explained_losses(asked: Asked, rows: Array, taken: Steps, loss_history: Any, added: bool, notes: list[str]) -> Losses:
    """Return the losses by the reading that explains most of them (note 3)."""
    nothing = Losses(np.full(len(rows), np.nan))
    if loss_history is None:
        return nothing
    found = np.asarray(read_array(loss_history, "loss_history"))
    readings = list(_readings(asked, rows, taken, found.size)) if found.ndim == 1 else []
    if not readings:
        notes.append("the losses are not judged: there is not one for each row, nor for each step")
        return nothing
    u = float(np.finfo(asked.dtype).eps) / 2
    half = asked.question.reduction.startswith("half")
    best: tuple[tuple[int, int], _Reading, tuple[str, ...], Array] | None = None
    for reading in readings:
        n, losses = reading.size, found[reading.given]
        sizes: tuple[tuple[tuple[str, ...], float], ...] = ((), 1.0), ((), 0.5), (("loss_sum",), n), (("loss_sum",) if half else ("loss_sum", "loss_half"), n / 2)
        for codes, factor in (sizes if half else (sizes[0], (("loss_half",), 0.5), *sizes[2:])):
            share = share_of(losses - factor * reading.value, factor * reading.error + 2 * u * np.abs(factor * reading.value))
            best = _better(best, reading, codes, share, asked.limit)
        with np.errstate(all="ignore"):
            root = share_of(np.square(losses.astype(reading.value.dtype)) - reading.value, reading.error + 8 * u * reading.value)
        best = _better(best, reading, ("loss_rmse",), np.where(losses >= 0, root, np.inf), asked.limit)
    assert best is not None
    (agreeing, _), reading, codes, share = best
    if codes:  # how far they are from right ones
        share = share_of(found[reading.given] - reading.value, reading.error)
    if agreeing < len(share) and not (agreeing > 1 and 2 * agreeing > len(share)):
        notes.append("the losses are not judged: they are neither those of all samples at each row nor those of the batches")
        return nothing
    if reading.words:
        notes.append(f"each loss is {reading.words}")
    each = np.full(len(rows), np.nan)
    for row, one in zip(reading.at, share, strict=True):
        each[row] = np.fmax(each[row], one)
    return Losses(each, codes, reading.size)


def _better(best: Any, reading: _Reading, codes: tuple[str, ...], share: Array, limit: float) -> Any:
    """Return the reading with more agreeing losses, of those the one with fewer codes."""
    key = int((share <= limit).sum()), -len(codes)
    return (key, reading, codes, share) if best is None or key > best[0] else best


def _readings(asked: Asked, rows: Array, taken: Steps, count: int) -> Iterator[_Reading]:
    """Yield what this number of losses may be."""
    on_all = asked.steps.on(None)
    assert on_all is not None
    yardstick, m = on_all[0], len(rows)
    w = yardstick.parameters(rows, "w_history", rows=True)
    with np.errstate(all="ignore"):
        truth = yardstick.measure_all(w)
    value, error, total = np.where(truth.inside, truth.loss, np.nan), truth.loss_error, float(yardstick.total)
    if count == m:
        yield _Reading("", value, error, np.arange(m), total)
    if count == m - 1:
        yield _Reading("that of all samples before its epoch", value[:-1], error[:-1], np.arange(m - 1), total)
        yield _Reading("that of all samples after its epoch", value[1:], error[1:], np.arange(1, m), total)
    if count not in (m - 1, m, sum(map(len, taken))):
        return
    paths = [_losses_on(asked.steps, start, steps) for start, steps in zip(w, taken, strict=False)]
    if any(path is None or not len(path[0]) for path in paths):
        return
    known = [path for path in paths if path is not None]
    size = max(float(path[2].max()) for path in known)
    if count in (m - 1, m):
        last = np.arange(1, m)
        ways: list[tuple[str, Callable[[Array, Array], Any]]] = [
            ("the mean of those of the batches of its epoch, each before its step", lambda part, by: part.mean()),
            ("the mean of those of the batches of its epoch, weighted by their sizes", lambda part, by: (part * by).sum() / by.sum()),
            ("the sum of those of the batches of its epoch, each before its step", lambda part, by: part.sum()),
            ("the sum of those of the batches of its epoch, times their sizes", lambda part, by: (part * by).sum()),
            ("that of the last batch of its epoch, before its step", lambda part, by: part[-1]),
            ("that of the first batch of its epoch, before its step", lambda part, by: part[0]),
        ]
        for words, way in ways:
            values, errors = (np.array([way(path[k], path[2]) for path in known]) for k in (0, 1))
            more = np.array([len(path[0]) + 4 for path in known]) * yardstick.u * np.abs(values)
            for given in (slice(None),) if count == m - 1 else (slice(1, None), slice(None, -1)):
                yield _Reading(words, values, errors + more, last, size, given)
    if count == sum(map(len, taken)):
        at = np.repeat(np.arange(1, m), [len(path[0]) for path in known])
        yield _Reading(
            "that of the batch of its step", np.concatenate([path[0] for path in known]), np.concatenate([path[1] for path in known]), at, size
        )


def _losses_on(steps: BatchSteps, start: Array, taken: list[tuple[Array | None, Any]]) -> tuple[Array, Array, Array] | None:
    """Return the loss of each batch before its step, how far rounding may move it, and the sizes."""
    path = steps.path(start, taken)
    if path is None:
        return None
    found = []
    for (batch, _), w, off in zip(taken, path.rows, path.reach(), strict=False):
        known = steps.on(batch)
        if known is not None:
            yardstick, moments = known
            at = yardstick.measure(w[None])
            length = np.sqrt((at.gradient[0] ** 2).sum()) * (2 / (yardstick.scale * yardstick.total))
            bend = np.abs(moments).sum() / yardstick.total
            found.append((at.loss[0], at.loss_error[0] + length * off + bend * off * off, yardstick.total))
    value, error, size = (np.array(part) for part in zip(*found, strict=True)) if found else (np.zeros(0),) * 3
    return value, error, size

