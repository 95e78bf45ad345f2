"""The causes of a history of mini-batches: what is wrong in how each step uses its samples.

1. A step on a batch is a function of its samples, its divisor, its weights and its rate. A
   hypothesis changes one of them in the steps that were asked for, and a named factor on the
   gradient may be beside it. All are tested by the replay of bound/batches.py.
2. A factor or a decay without a name is solved for on one row, and tested on all of them. The
   shortest decimal that agrees is taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from .bound.batches import BatchSteps
from .bound.yardstick import Array
from .causes.diagnosing import Question
from .causes.diagnosis import Diagnosis
from .causes.sizes import named_factors
from .causes.weights import OTHER_WEIGHTS
from .judging import of_codes
from .report.beyond import Beyond

__all__ = ["Asked", "Steps", "cause_of_batches"]

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
    first: int = 1  # the row that is wrong

    def rows_of(self, epochs: Steps) -> Steps:
        """Return the steps from each row to the next."""
        return [[step] for epoch in epochs for step in epoch] if self.by_step else epochs

    def agrees(self, rows: Array, epochs: Steps, steps: BatchSteps | None = None, **more: Any) -> bool:
        """Return whether rows are the ends of these steps."""
        plan = self.rows_of(epochs)
        if len(plan) < len(rows) - 1:
            return False
        shares = (steps or self.steps).shares(rows, plan, self.limit, telling=True, **more)
        judged: Array = ~np.any(np.isnan(shares), axis=1)  # later rows may be too near overflow
        return bool(judged[1 : self.first + 1].all() and (shares[judged] <= self.limit).all())

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


def cause_of_batches(asked: Asked, rows: Array, beyond: Beyond) -> Diagnosis | None:
    """Return what explains w; where nothing does, unknown, or None where rows are steps."""
    asked = replace(asked, first=max(beyond.epoch, 1))
    found = _named(asked, rows)
    if found is None and not asked.by_step:
        found = _with_constant(asked, rows)
    if found is not None or asked.by_step:
        return found
    told = f"no known cause explains it; {beyond.quantity} is the first that is wrong, in epoch {beyond.epoch}"
    return Diagnosis("unknown", ("unknown",), f"{told}. The order of the samples, or their weights, may be others than those given")


def _named(asked: Asked, rows: Array) -> Diagnosis | None:
    """Return the shortest cause without constants; those as short are possible as well."""
    size = max((asked.steps.size(batch) for epoch in asked.epochs for batch, _ in epoch), default=1.0)
    every = sorted(_variants(asked), key=lambda variant: len(variant.codes))
    for _, group in groupby(every, key=lambda variant: len(variant.codes)):
        passing = [
            variant for variant in group if variant.codes and asked.agrees(rows, variant.epochs, variant.steps, **_sums(asked, variant))
        ]
        if passing:
            codes = passing[0].codes
            also = tuple(dict.fromkeys(" + ".join(other.codes) for other in passing[1:] if other.codes != codes))
            if len(codes) > 1 and passing[0].steps is asked.steps and _one_factor(asked.epochs, passing[0].epochs):
                also = ("lr_scaled", *also)  # two causes that are one factor on every step
            value = dict(_factors(asked, size)).get(codes[-1:], 1.0)
            first = asked.question.on_schedule(1).first_rate
            words: dict[str, Any] = (
                {}
                if first is None
                else {"rate": asked.epochs[0][0][1] / first, "value": first if codes[0] == "schedule_of_rates" else value}
            )
            words |= {} if first is None or codes[0] != "schedule_unused" else {"rate": asked.epochs[0][0][1]}
            return replace(of_codes(codes, asked.question, **{"value": value, **words}, size=size), also_possible=also)
    return None


def _one_factor(asked: Steps, other: Steps) -> bool:
    """Return whether other rates are those that were asked for, times one number."""
    pairs = [(lr, rate) for epoch, changed in zip(asked, other, strict=True) for (_, lr), (_, rate) in zip(epoch, changed, strict=False)]
    kept = sum(map(len, asked)) == sum(map(len, other)) == len(pairs)
    factors = np.array([rate / lr for lr, rate in pairs if lr])
    return kept and len(factors) > 0 and bool(np.ptp(factors) <= 1e-9 * abs(factors[0]))


def _sums(asked: Asked, variant: _Variant) -> dict[str, Any]:
    """Return the rows at which the sum of gradients begins anew, where they add up."""
    if not variant.adds_up:
        return {}
    begins = [k == 0 for epoch in variant.epochs for k in range(len(epoch))] if asked.by_step else [True] * len(variant.epochs)
    return {"new_sum": begins if variant.adds_up == "epoch" else [k == 0 for k in range(len(begins))]}


def _factors(asked: Asked, size: float) -> list[tuple[tuple[str, ...], float]]:
    """Return (codes, relative factor) of the named factors; `size` divides the right gradient."""
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
        yield _Variant(
            ("drop_last",), [[(batch, lr) for batch, lr in epoch if batch is None or len(batch) == full] for epoch in asked.epochs]
        )
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
    with contextlib.suppress(ValueError):
        shifted["schedule_early"] = rates(E + 1)[1:]
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
                words: dict[str, Any] = {"rate": found * lr, "decay": found, "declared_decay": 0.0, "variant": variant}
                return replace(of_codes((code,), asked.question, found, **words), evidence={"value": found, "constants": 1})
    return None


def _solutions(asked: Asked, rows: Array, begin: float, make: Callable[[Any], tuple[Steps, Array | None]]) -> Iterator[Any]:
    """Yield short decimals near the constant with which one row follows from another, then it."""
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
