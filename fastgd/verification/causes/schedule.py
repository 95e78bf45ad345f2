"""Hypotheses about a learning rate that changes.

1. Every step shows its own factor k_t, with an uncertainty. With one parameter any step has such a factor, so only schedules of one or two
   constants count there; with several parameters, steps that are all along the gradient are evidence by themselves.
2. The constants of a kind are read off two rows that show them best, not fitted: then the kind is judged at every step like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .hypotheses import Hypothesis, Scene
from .observation import Term

__all__ = ["about_schedule", "factors_of_steps"]

_SURPLUS = 3  # equations beyond the constants that a schedule needs to count


def factors_of_steps(scene: Scene) -> tuple[Array, Array]:
    """Return the factor on each step (T,) that fits best, and its uncertainty (T,) from rounding; in extended precision."""
    seen = scene.seen
    still, column = scene.fixed_and_column()
    scale = seen.scale()
    with np.errstate(all="ignore"):
        a, b = column.value / scale, (seen.moved - still.value) / scale
        weight = (a * a).sum(1)
        factor = np.where(weight > 0, (a * b).sum(1) / weight, 0)
        doubt = np.where(weight > 0, np.sqrt(seen.n_parameters) / np.sqrt(weight), np.inf)
    return factor, doubt


def about_schedule(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about how the learning rate changes."""
    seen = scene.seen
    if seen.n_steps < 3:
        return
    factor, doubt = factors_of_steps(scene)
    known = np.isfinite(doubt) & (LIMIT * doubt < 0.5 * np.abs(factor))  # its sign and size, at least
    well = known & (LIMIT * doubt < 1e-2 * np.abs(factor))
    if known.sum() < 3 or _constant(factor[known], doubt[known]):
        return
    still, column = scene.fixed_and_column()

    def predict(factors: Array) -> Term:
        factors = factors[:, None]
        doubt = column.error + 2 * seen.u * np.abs(column.value)
        return Term(still.value + factors * column.value, still.error + np.abs(factors) * doubt)

    t = np.arange(seen.n_steps)
    for kind, constants, factors in chain(_kinds(t, factor, doubt, well if well.sum() > 2 else known), _steps(t, factor, doubt, known)):
        n_known = int(known.sum())
        if n_known - constants >= 1 and np.isfinite(factors).all():
            words = {"variant": kind, "value": float(factors[-1])}
            yield Hypothesis(("lr_schedule",), 2.5 + 0.5 * constants, predict(factors), words, constants)
    free = predict(factor)
    equations = seen.informative(column.value, free)
    away = known & (np.abs(factor - np.median(factor[known])) > LIMIT * doubt)
    if seen.n_parameters > 1 and equations - known.sum() >= _SURPLUS and away.sum() >= _SURPLUS:
        told = ", ".join(f"{float(k):.4g}" for k in factor[:6])
        yield Hypothesis(("lr_schedule",), 6, free, {"variant": f"times {told}, … in the first epochs", "value": float(factor[-1])})


def _constant(factor: Array, doubt: Array) -> bool:
    middle = np.median(factor)
    return bool((np.abs(factor - middle) <= LIMIT * doubt).all())


def _kinds(t: Array, factor: Array, doubt: Array, known: Array) -> Iterator[tuple[str, int, Array]]:
    """Yield (what it is, constants, factors (T,)) for the kinds of schedule; constants are read from the rows that show them best."""
    rows = np.flatnonzero(known)
    first, later = rows[0], rows[1:]
    last = later[np.argmin((doubt[later] + doubt[first]) / (later - first))]  # whose line through the first row is the surest
    k0, k1, span = factor[first], factor[last], last - first
    with np.errstate(all="ignore"):
        if k0 * k1 > 0:
            yield from _decays(t, factor, first, k0, k1, span)
        linear = factor.dtype.type(1)
        slope = (k1 - k0) / span
        start = k0 - slope * first
        yield f"linearly, by {float(slope / start):.4g} of the first per epoch", _constants(start), _line(t, start, slope, linear)
        warm = np.minimum(1, (t + 1) * factor[0])
        if 0 < factor[0] < 1:
            yield f"it warms up in {1 / float(factor[0]):.4g} epochs", 1, warm
        inner = 2 * factor - 1
        best = rows[np.argmin(np.abs(inner[rows]))]
        if best > 0 and np.abs(inner[best]) < 1:
            period = np.pi * best / np.arccos(inner[best])
            whole = np.round(period) if np.abs(period - np.round(period)) < 1e-3 * period else period
            yield f"a cosine over {float(whole):.4g} epochs", 1, (1 + np.cos(factor.dtype.type(np.pi) * t / whole)) / 2


def _line(t: Array, start: Any, slope: Any, one: Any) -> Array:
    return one * (start + slope * t)


def _constants(start: Any) -> int:
    """A schedule that begins at the rate that was given has one constant less."""
    return 1 if abs(float(start) - 1) < 1e-6 else 2


def _decays(t: Array, factor: Array, first: int, k0: Any, k1: Any, span: int) -> Iterator[tuple[str, int, Array]]:
    one = factor.dtype.type(1)
    for ratio in _short((k1 / k0) ** (one / span)):
        start = k0 / ratio**first
        start = one if _constants(start) == 1 else start
        yield f"times {float(ratio):.6g} per epoch", _constants(start), start * ratio ** (one * t)
    kinds: tuple[tuple[str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
        ("1/(1 + {a:.4g} t)", lambda k: 1 / k, lambda v: 1 / v),
        ("1/√(1 + {a:.4g} t)", lambda k: 1 / (k * k), lambda v: 1 / np.sqrt(v)),
    )
    for text, forward, back in kinds:
        slope = (forward(k1) - forward(k0)) / span
        start = forward(k0) - slope * first
        for a in _short(slope / start):
            begin = one if _constants(start) == 1 else start
            yield text.format(a=float(a)), _constants(start), back(begin * (1 + a * t))


def _short(value: Any) -> Iterator[Any]:
    """The value, and short decimals near it."""
    for digits in (1, 2, 3, 4):
        near = float(f"{float(value):.{digits - 1}e}")
        if abs(near - value) <= 1e-3 * abs(value):
            yield type(value)(near)
    yield value


def _steps(t: Array, factor: Array, doubt: Array, known: Array) -> Iterator[tuple[str, int, Array]]:
    """A rate that stays, and jumps now and then: each piece has the factor of its best row."""
    begins, pieces = [0], [[]]  # type: tuple[list[int], list[list[int]]]
    for row in np.flatnonzero(known):
        piece = pieces[-1]
        if piece and abs(factor[row] - factor[piece[0]]) > LIMIT * (doubt[row] + doubt[piece[0]]):
            begins.append(int(row))
            pieces.append([])
        pieces[-1].append(int(row))
    if not 1 < len(pieces) <= max(2, len(t) // 4) or min(map(len, pieces)) < 2:
        return  # a single step that differs is no schedule
    factors = np.empty_like(factor)
    values, errors = [], []
    for begin, piece in zip(begins, pieces, strict=True):
        weight = 1 / doubt[piece] ** 2
        mean = (weight * factor[piece]).sum() / weight.sum()
        near = [value for value in _short(mean) if abs(value - mean) <= LIMIT * doubt[piece].min()]
        values.append(near[0])
        errors.append(LIMIT * ((weight * doubt[piece]).sum() / weight.sum() + doubt[piece].min()))  # of the mean, and to the short value
        factors[begin:] = near[0]
    told = ", ".join(f"{float(v):.4g} from epoch {b}" for v, b in zip(values[:4], begins[:4], strict=True))
    lengths = np.diff(begins)
    regular = len(pieces) > 2 and (lengths == lengths[0]).all() and _geometric(values, errors)  # StepLR: two constants
    yield f"times {told}" + (", …" if len(values) > 4 else ""), 2 if regular else len(pieces), factors


def _geometric(values: Sequence[Any], errors: Sequence[Any]) -> bool:
    """Whether there may be one γ with v_i+1 = γ v_i for some v_i within these errors: |v_i+1 − γ v_i| ≤ e_i+1 + |γ| e_i for every i.

    The factors are known beyond their errors (`known`), so γ has the sign of any two neighbours.
    """
    sizes, wrong = np.abs(np.array(values)), np.array(errors)
    with np.errstate(divide="ignore"):
        least = (sizes[1:] - wrong[1:]) / (sizes[:-1] + wrong[:-1])
        most = np.where(wrong[:-1] < sizes[:-1], (sizes[1:] + wrong[1:]) / (sizes[:-1] - wrong[:-1]), np.inf)
    signs = np.sign(np.array(values))
    return bool((signs[1:] * signs[:-1] == signs[1] * signs[0]).all() and least.max() <= most.min())
