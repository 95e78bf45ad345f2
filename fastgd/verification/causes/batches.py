"""Hypotheses about steps on batches: their samples, divisors, weights, rates and momentum.

1. Another step changes one of these in the steps that were asked for, and a named factor on each
   gradient may be beside it. Where the steps from each row end is that of bound/batches.py.
2. A constant without a name is solved for on one of the first rows, and tested on all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..bound.batches import BatchSteps, Rule, Step
from ..bound.yardstick import LIMIT, Array
from .hypotheses import USUAL_MOMENTA, Hypothesis, Scene, shortest
from .observation import Observation, Term
from .sizes import factor_of, named_factors
from .weights import OTHER_WEIGHTS

__all__ = ["about_batches"]

Epochs = list[list[Step]]

_FIRST = 3  # rows of which the one that is furthest from what was asked for shows a constant


@dataclass(frozen=True)
class _Variant:
    """Other steps than those asked for."""

    codes: tuple[str, ...]
    epochs: Epochs
    rule: Rule
    steps: BatchSteps | None = None  # with other weights
    each_epoch: bool = False  # the buffer begins anew in each
    complexity: float = 1.0
    words: Mapping[str, Any] = field(default_factory=dict)

    def step(self, seen: Observation, limit: float | None = LIMIT) -> Term | None:
        """Return the steps of the rows up to one beyond `limit`; None: there are too few."""
        assert seen.plan is not None
        rows = seen.plan.rows_of(self.epochs)
        if len(rows) < seen.n_steps:
            return None
        anew = seen.plan.begins(self.epochs) if self.each_epoch else None
        return seen.steps_to((self.steps or seen.plan.steps).ends(seen.w, rows, self.rule, anew, limit))


def about_batches(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about steps on batches."""
    seen, plan, n = scene.seen, scene.seen.plan, len(scene.seen.yardstick.y)
    if plan is None or scene.asked.options is None or not seen.n_steps:
        return
    factors = {size: dict(_factors(scene, size)) for size in plan.sizes}
    value = dict(_factors(scene, max(factors, default=float(n))))
    for variant in _variants(scene):
        for codes in dict.fromkeys(codes for of_size in factors.values() for codes in of_size):
            if not (variant.codes or codes):
                continue

            def scaled(step: Step, codes: tuple[str, ...] = codes) -> Step:
                return step._replace(factor=step.factor * factors.get(plan.steps.size(step.batch), {}).get(codes, 1.0))

            changed = [[scaled(step) for step in epoch] for epoch in variant.epochs] if codes else variant.epochs
            made = replace(variant, epochs=changed).step(seen)
            if made is not None:
                words = {"value": value.get(codes, 1.0), **variant.words}
                yield Hypothesis((*variant.codes, *codes), (variant.complexity if variant.codes else 0.5) + 0.5 * len(codes), made, words)
    if plan.several:
        yield from _with_constant(scene)


def _factors(scene: Scene, size: float) -> list[tuple[tuple[str, ...], float]]:
    """Return (codes, relative factor) of the named factors; `size` divides the right gradient."""
    plan = scene.seen.plan
    assert plan is not None
    right = factor_of(plan.steps.reduction, size)
    # of a single sample some causes are what was asked for
    return [((), 1.0), *((codes, factor / right) for codes, factor in named_factors(size, right))]


def _variants(scene: Scene) -> Iterator[_Variant]:
    """Yield the variants of samples, divisors, weights, rates and momentum."""
    plan, rule = scene.seen.plan, scene.asked.linear
    assert plan is not None
    own = _Variant((), plan.epochs, rule)
    yield own
    mean = plan.steps.reduction.endswith("mean")
    several = any(len(epoch) > 1 for epoch in plan.epochs)
    n = len(plan.steps.y)
    counts = [n if step.batch is None else len(step.batch) for epoch in plan.epochs for step in epoch]
    full = max(counts, default=n)

    def divided(by: Callable[[Step], float]) -> Epochs:
        return plan.changed(lambda step: step._replace(factor=plan.steps.size(step.batch) / by(step)))

    if min(counts, default=n) < full:
        whole = [[step for step in epoch if step.batch is None or len(step.batch) == full] for epoch in plan.epochs]
        yield replace(own, codes=("drop_last",), epochs=whole)
        if mean:
            of_full = plan.changed(lambda step: step._replace(factor=1.0 if step.batch is None else len(step.batch) / full))
            yield replace(own, codes=("last_batch_divisor",), epochs=of_full)
    if mean and several:
        yield replace(own, codes=("batch_divided_by_all",), epochs=divided(lambda step: plan.steps.size(None)))
    if several and not rule.momentum and not np.any(rule.weight_decay):  # a sum of gradients is a buffer that keeps all of them
        yield replace(own, codes=("zero_grad_per_epoch",), rule=rule._replace(momentum=1.0), each_epoch=True)
        yield replace(own, codes=("zero_grad_missing",), rule=rule._replace(momentum=1.0))
    if rule.momentum:
        yield from _of_momentum(own, several)
    yield from _of_rates(scene, own)
    if plan.steps.weights is not None:
        if mean:
            yield replace(own, codes=("weights_not_normalized",), epochs=divided(lambda step: n if step.batch is None else len(step.batch)))
        for code, change in OTHER_WEIGHTS:
            other = change(np.asarray(plan.steps.weights, np.float64))
            yield replace(own, codes=(code,), steps=plan.steps.with_weights(other))


def _of_momentum(own: _Variant, several: bool) -> Iterator[_Variant]:
    """Yield the variants of momentum: none, that of each epoch alone, and the other form of it."""
    rule = own.rule
    yield replace(own, codes=("plain_descent",), rule=Rule(maximize=rule.maximize), complexity=0.75)
    if several:
        yield replace(own, codes=("momentum_begins_anew",), each_epoch=True, words={"value": rule.momentum})
    if not rule.nesterov:
        yield replace(own, codes=("nesterov_torch",), rule=rule._replace(nesterov=True, dampening=0.0), words={"value": rule.momentum})


def _of_rates(scene: Scene, own: _Variant) -> Iterator[_Variant]:
    """Yield the variants of a schedule: stepped for each batch, early, late, or not at all."""
    plan, E = scene.seen.plan, len(own.epochs)
    if plan is None or plan.rates is None or not E:
        return

    def at(rates: Any) -> Epochs:
        return [[step._replace(rate=float(rate)) for step in epoch] for epoch, rate in zip(plan.epochs, rates, strict=True)]

    first, each = scene.seen.first_rate, plan.rates(E)
    words = {"rate": float(each[0])}
    if first not in (None, 0.0, 1.0):
        yield replace(own, codes=("schedule_of_rates",), epochs=at(each / first), words={"rate": float(each[0] / first), "value": first})
    if max(map(len, plan.epochs)) > 1:
        of_steps: Iterator[Any] = iter(())
        with contextlib.suppress(ValueError):  # an array has rates for the epochs alone
            of_steps = iter(plan.rates(sum(map(len, plan.epochs))))
        per_batch = plan.changed(lambda step: step._replace(rate=float(next(of_steps, step.rate))))
        yield replace(own, codes=("schedule_per_batch",), epochs=per_batch)
    yield replace(own, codes=("schedule_late",), epochs=at(np.append(each[:1], each[:-1])))
    yield replace(own, codes=("schedule_unused",), epochs=at(np.full_like(each, each[0])), words=words)
    with contextlib.suppress(ValueError):
        yield replace(own, codes=("schedule_early",), epochs=at(plan.rates(E + 1)[1:]))


def _with_constant(scene: Scene) -> Iterator[Hypothesis]:
    """Yield a factor, a momentum and a weight decay without a name (note 2)."""
    seen, plan, rule = scene.seen, scene.seen.plan, scene.asked.linear
    assert plan is not None
    own = _Variant((), plan.epochs, rule)
    slopes = np.ones(seen.n_parameters)
    slopes[seen.n_parameters - seen.intercept :] = 0
    ways: list[tuple[str, float, Callable[[Any], _Variant], str]] = [
        ("lr_scaled", 1.0, lambda c: replace(own, epochs=plan.changed(lambda step: step._replace(rate=step.rate * c))), ""),
        ("momentum", rule.momentum, lambda c: replace(own, rule=rule._replace(momentum=c)), ""),
        ("weight_decay_coupled", 0.0, lambda c: replace(own, rule=rule._replace(weight_decay=c)), ""),
    ]
    if seen.intercept:
        none = ", not on the intercept"
        ways.append(("weight_decay_coupled", 0.0, lambda c: replace(own, rule=rule._replace(weight_decay=c * slopes)), none))
    for code, begin, make, variant in ways:
        value = _solved(scene, begin, make)
        if value is None or abs(value - begin) <= 1e-9:
            continue

        def predict(value: Any, make: Callable[[Any], _Variant] = make) -> Term:
            made = make(value).step(seen, 100 * LIMIT)
            assert made is not None
            return made

        value, step, more = shortest(seen, value, predict, also=USUAL_MOMENTA if code == "momentum" else ())
        found = float(value)
        words = {"value": found, "decay": found, "rate": found * plan.epochs[0][0].rate, "variant": variant}
        yield Hypothesis((code,), 2 + more + 0.5 * bool(variant), step, words, constants=1)


def _solved(scene: Scene, begin: float, make: Callable[[Any], _Variant]) -> Any:
    """Return the constant with which one of the first rows is where it is; None: there is none."""
    seen = scene.seen
    shares = seen.shares(scene.step)[:_FIRST]
    i, kind, h = int(np.argmax(shares)), seen.yardstick.type, seen.yardstick.extended(1e-5)[()]
    few = seen.until(i + 1, "")

    def miss(value: Any) -> Array | None:
        step = make(value).step(few, None)
        return None if step is None or not np.isfinite(step.error).all() else step.value[i] - seen.moved[i]

    value = kind(begin)
    with np.errstate(all="ignore"):
        for _ in range(20):
            here, there = miss(value), miss(value + h)
            if here is None or there is None:
                return None
            slope = (there - here) / h
            move = (slope * here).sum() / (slope * slope).sum()
            value = value - move
            if not np.isfinite(value):
                return None
            if abs(move) <= 4 * np.finfo(kind).eps * abs(value):
                break
    return value
