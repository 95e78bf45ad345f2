"""Hypotheses about a learning rate that changes.

1. Every step shows a factor k_t on the right step, with an uncertainty. With one parameter any step
   has such a factor, so only schedules of one or two constants are evidence. With several
   parameters it is evidence that all steps are along the gradient.
2. The constants of a schedule are computed from the two steps that show them best, not fitted. Then
   the schedule is tested at every step, as any hypothesis is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .recipes import Recipe

__all__ = ["about_schedule", "factors_of_steps"]

_SURPLUS = 3  # how many equations more than constants a schedule needs


def factors_of_steps(scene: Scene) -> tuple[Array, Array]:
    """Return the best factor on each step, (T,), and its uncertainty from rounding, (T,)."""
    seen = scene.seen
    scale, moves = seen.scale(), _moves(scene)
    with np.errstate(all="ignore"):
        a, b = moves / scale, seen.moved / scale
        weight = (a * a).sum(1)
        factor = np.where(weight > 0, (a * b).sum(1) / weight, 0)
        doubt = np.where(weight > 0, np.sqrt(seen.n_parameters) / np.sqrt(weight), np.inf)
    return factor, doubt


def _moves(scene: Scene) -> Array:
    """Return the step that was asked for, (T, D), whatever the rates before it were.

    No rule remembers them: its slots are made of gradients.
    """
    seen, asked = scene.seen, scene.asked
    if asked.plain or asked.momenta is not None:
        return scene.step.value
    given, own = asked.apart(seen, asked.gradient(seen))
    rule, gradient, values = asked.rule, given.value, asked.rule.all_values(own)
    running: dict[str, Any] = dict.fromkeys(rule.products, 1.0)
    slots: tuple[Any, ...] = tuple(np.zeros_like(seen.w[0]) for _ in rule.slots)
    found = np.zeros_like(seen.moved)
    with np.errstate(all="ignore"):
        for t in range(seen.n_steps):
            running = dict(zip(running, rule.advance(**values, **running), strict=True))
            w, slots = rule.step(seen.w[t], slots, gradient[t], seen.yardstick.extended(1)[()], t, **values, **running)
            found[t] = seen.lr[t, 0] * (seen.w[t] - w)
    return found


def about_schedule(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about a learning rate that changes."""
    seen = scene.seen
    if seen.first_rate not in (None, 0.0, 1.0) and seen.n_steps:
        rates = seen.lr / seen.yardstick.extended(seen.first_rate)[()]  # what the schedule returned, which is off by its rounding
        step = _at_rates(scene.asked, seen, rates)
        of_rates = {"rate": float(rates[0, 0]), "value": seen.first_rate}
        yield Hypothesis(("schedule_of_rates",), 1.0, Term(step.value, step.error + 4 * seen.u * np.abs(step.value)), of_rates)
    if seen.n_steps < 3:
        return
    if scene.asked.momenta is not None:
        yield from _momentum_stays(scene)
    if (seen.lr != seen.lr[0]).any():
        yield from _out_of_step(scene)
    factor, doubt = factors_of_steps(scene)
    # Steps whose factor is known at least in sign and size.
    known = np.isfinite(doubt) & (LIMIT * doubt < 0.5 * np.abs(factor))
    well = known & (LIMIT * doubt < 1e-2 * np.abs(factor))
    if known.sum() < 3 or _constant(factor[known], doubt[known]):
        return

    def predict(factors: Array) -> Term:
        step = _at_rates(scene.asked, seen, seen.lr * factors[:, None])
        return Term(step.value, step.error + 2 * seen.u * np.abs(step.value))

    t = np.arange(seen.n_steps)
    for kind, constants, factors in chain(_kinds(t, factor, doubt, well if well.sum() > 2 else known), _steps(t, factor, doubt, known)):
        n_known = int(known.sum())
        if n_known - constants >= 1 and np.isfinite(factors).all():
            words = {"variant": kind, "value": float(factors[-1])}
            yield Hypothesis(("lr_schedule",), 2.5 + 0.5 * constants, predict(factors), words, constants)
    free = predict(factor)
    equations = seen.informative(_moves(scene), free)
    away = known & (np.abs(factor - np.median(factor[known])) > LIMIT * doubt)
    if seen.n_parameters > 1 and equations - known.sum() >= _SURPLUS and away.sum() >= _SURPLUS:
        told = ", ".join(f"{float(k):.4g}" for k in factor[:6])
        words = {"variant": f"times {told}, ... in the first epochs", "value": float(factor[-1])}
        yield Hypothesis(("lr_schedule",), 6, free, words, seen.n_steps, free=True)


def _at_rates(asked: Recipe, seen: Observation, lr: Array) -> Term:
    """Return the steps with other rates (T, 1), as far as they agree."""
    return asked.step(seen.at_rates(lr), asked.gradient(seen))


def _momentum_stays(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about a momentum, or beta1, that should move and stays."""
    rule, momenta = scene.asked.rule, scene.asked.momenta
    for value in dict.fromkeys((scene.asked.values[rule.moving], float(momenta[0]))):
        stays = replace(scene.asked, momenta=None).with_values(**{rule.moving: value})
        words = {"rule": rule.class_name, "constants": f"{rule.moving} = {value:g} in every epoch: the schedule should move it"}
        yield Hypothesis(("rule_constants",), 0.5, stays.step(scene.seen, stays.gradient(scene.seen)), words)


def _out_of_step(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about a schedule that was asked for, and is stepped at other times."""
    options = scene.asked.options
    if options is not None and options.momentum:
        yield Hypothesis(("momentum_holds_lr",), 1.0, scene.asked.step(scene.seen.with_steps_as_memory()))
    if scene.seen.parts is not None and scene.seen.parts.epochs is not None:
        return  # of steps within an epoch another maker knows (batches.py)
    lr, words = scene.seen.lr, {"rate": float(scene.seen.lr[0, 0])}
    at = np.arange(len(lr))
    for code, epochs in (
        ("schedule_early", np.minimum(at + 1, at[-1])),
        ("schedule_late", np.maximum(at - 1, 0)),
        ("schedule_unused", 0 * at),
    ):
        asked, momenta = scene.asked, scene.asked.momenta
        if momenta is not None:
            asked = replace(asked, momenta=np.concatenate([momenta[: len(at)][epochs], momenta[len(at) :]]))
        step = _at_rates(asked, scene.seen, lr[epochs])
        if code == "schedule_early":  # the rate of its last step is that of an epoch after the last
            error = np.array(step.error)
            error[-1] = np.inf
            step = Term(step.value, error)
        yield Hypothesis((code,), 1.0, step, words)


def _constant(factor: Array, doubt: Array) -> bool:
    """Return whether all factors may be equal."""
    middle = np.median(factor)
    return bool((np.abs(factor - middle) <= LIMIT * doubt).all())


def _kinds(t: Array, factor: Array, doubt: Array, known: Array) -> Iterator[tuple[str, int, Array]]:
    """Yield (words, number of constants, factors (T,)) for schedules with a formula."""
    rows = np.flatnonzero(known)
    first, later = rows[0], rows[1:]
    # With this row the straight line through the first row is the most certain.
    last = later[np.argmin((doubt[later] + doubt[first]) / (later - first))]
    k0, k1, span = factor[first], factor[last], last - first
    with np.errstate(all="ignore"):
        if k0 * k1 > 0:
            yield from _decays(t, factor, first, k0, k1, span)
        slope = (k1 - k0) / span
        start = k0 - slope * first
        yield f"linearly, by {float(slope / start):.4g} of the first per epoch", _constants(start), start + slope * t
        warm = np.minimum(1, (t + 1) * factor[0])
        if 0 < factor[0] < 1:
            yield f"it warms up in {1 / float(factor[0]):.4g} epochs", 1, warm
        inner = 2 * factor - 1
        best = rows[np.argmin(np.abs(inner[rows]))]
        if best > 0 and np.abs(inner[best]) < 1:
            period = np.pi * best / np.arccos(inner[best])
            whole = np.round(period) if np.abs(period - np.round(period)) < 1e-3 * period else period
            yield f"a cosine over {float(whole):.4g} epochs", 1, (1 + np.cos(factor.dtype.type(np.pi) * t / whole)) / 2


def _constants(start: Any) -> int:
    """Return the number of constants: one where the schedule starts at the given rate, else two."""
    return 1 if abs(float(start) - 1) < 1e-6 else 2


def _decays(t: Array, factor: Array, first: int, k0: Any, k1: Any, span: int) -> Iterator[tuple[str, int, Array]]:
    """Yield exponential decay, 1/(1 + a t) and 1/√(1 + a t)."""
    one = factor.dtype.type(1)
    for ratio in _short((k1 / k0) ** (one / span)):
        start = k0 / ratio**first
        start = one if _constants(start) == 1 else start
        yield f"times {float(ratio):.6g} per epoch", _constants(start), start * ratio ** (one * t)
    kinds: tuple[tuple[str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
        ("1/(1 + {a:.4g} t)", lambda k: 1 / k, lambda v: 1 / v),
        ("1/sqrt(1 + {a:.4g} t)", lambda k: 1 / (k * k), lambda v: 1 / np.sqrt(v)),
    )
    for text, forward, back in kinds:
        slope = (forward(k1) - forward(k0)) / span
        start = forward(k0) - slope * first
        for a in _short(slope / start):
            begin = one if _constants(start) == 1 else start
            yield text.format(a=float(a)), _constants(start), back(begin * (1 + a * t))


def _short(value: Any) -> Iterator[Any]:
    """Yield short decimals near the value, then the value."""
    for digits in (1, 2, 3, 4):
        near = float(f"{float(value):.{digits - 1}e}")
        if abs(near - value) <= 1e-3 * abs(value):
            yield type(value)(near)
    yield value


def _steps(t: Array, factor: Array, doubt: Array, known: Array) -> Iterator[tuple[str, int, Array]]:
    """Yield (words, number of constants, factors (T,)) for a rate that is constant in pieces."""
    begins, pieces = [0], [[]]  # type: tuple[list[int], list[list[int]]]
    for row in np.flatnonzero(known):
        piece = pieces[-1]
        if piece and abs(factor[row] - factor[piece[0]]) > LIMIT * (doubt[row] + doubt[piece[0]]):
            begins.append(int(row))
            pieces.append([])
        pieces[-1].append(int(row))
    if len(pieces) < 2 or min(map(len, pieces[:-1])) < 2:
        return  # one step that differs is no schedule
    factors = np.empty_like(factor)
    values, errors = [], []
    for begin, piece in zip(begins, pieces, strict=True):
        weight = 1 / doubt[piece] ** 2
        mean = (weight * factor[piece]).sum() / weight.sum()
        near = [value for value in _short(mean) if abs(value - mean) <= LIMIT * doubt[piece].min()]
        values.append(near[0])
        errors.append(LIMIT * ((weight * doubt[piece]).sum() / weight.sum() + doubt[piece].min()))
        factors[begin:] = near[0]
    told = ", ".join(f"{float(v):.4g} from epoch {b}" for v, b in zip(values[:4], begins[:4], strict=True))
    told = f"times {told}" + (", ..." if len(values) > 4 else "")
    lengths = np.diff(begins)
    # A geometric sequence of pieces of equal length (StepLR) has two constants, and goes on so.
    if len(pieces) > 2 and (lengths == lengths[0]).all() and _geometric(values, errors):
        ratio = next(_short(values[1] / values[0]))
        yield told, 2, values[0] * ratio ** (t // lengths[0]).astype(factor.dtype)
    if len(pieces) <= max(2, len(t) // 4) and len(pieces[-1]) > 1:
        yield told, len(pieces), factors


def _geometric(values: Sequence[Any], errors: Sequence[Any]) -> bool:
    """Return whether the values may be a geometric sequence, within their errors.

    That is whether one γ has |v_{i+1} − γ v_i| ≤ e_{i+1} + |γ| e_i for every i. The signs of the
    values are certain, so γ has the sign of any quotient of neighbours.
    """
    sizes, wrong = np.abs(np.array(values)), np.array(errors)
    with np.errstate(divide="ignore"):
        least = (sizes[1:] - wrong[1:]) / (sizes[:-1] + wrong[:-1])
        most = np.where(wrong[:-1] < sizes[:-1], (sizes[1:] + wrong[1:]) / (sizes[:-1] - wrong[:-1]), np.inf)
    signs = np.sign(np.array(values))
    return bool((signs[1:] * signs[:-1] == signs[1] * signs[0]).all() and least.max() <= most.min())
