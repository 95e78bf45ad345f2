"""Hypotheses about the gradient: its size, its sign, its epoch, and the parameters that it moves.

Only clipping has a constant to estimate, the length of the clipped gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastgd.kernels.forks import lapack_lock

from ..bound.yardstick import BLOCK, LIMIT
from .hypotheses import Hypothesis, Scene, shortest
from .observation import Term

__all__ = ["about_gradient", "named_factors"]


def named_factors(n: int, asked: float) -> list[tuple[tuple[str, ...], float]]:
    """Return (codes, factor on the mean gradient) of each cause; `asked` is the right factor."""
    if asked == 1:
        named = [
            ("gradient_sum", float(n)),
            ("gradient_sum_missing_two", n / 2),
            ("gradient_missing_two", 0.5),
            ("gradient_divided_twice", 1 / n),
            ("gradient_n_minus_1", n / (n - 1) if n > 1 else 1.0),
            ("gradient_double_two", 2.0),
        ]
    else:
        named = [("gradient_mean", asked / n), ("gradient_missing_two", asked / 2), ("gradient_double_two", asked * 2)]
        named += [("gradient_sum_missing_two", 0.5)] if n == 1 else []
    found = [((code,), factor) for code, factor in named if factor != asked]
    return found + [(("gradient_sign",), -asked)] + [(("gradient_sign", code), -factor) for (code,), factor in found]


def about_gradient(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about the gradient."""
    seen, asked, u = scene.seen, scene.asked, scene.u
    for codes, factor in named_factors(seen.n, asked.factor):
        step = asked.step(seen, seen.at.times(factor, u))
        yield Hypothesis(codes, 0.5 + 0.5 * len(codes), step, {"value": factor / asked.factor})
    gradient = asked.gradient(seen)
    yield from _stale(scene, gradient)
    yield from _one_after_the_other(scene, gradient)
    yield from _frozen(scene)
    yield from _of_another_size(scene, gradient)


def _stale(scene: Scene, gradient: Term) -> Iterator[Hypothesis]:
    """Gradients that add up from epoch to epoch, and gradients that are used one epoch late."""
    seen, asked, u = scene.seen, scene.asked, scene.u
    if asked.plain:
        memory = seen.memory.plus(scene.pull(), u)
        yield Hypothesis(("zero_grad_missing",), 1, memory)
    else:
        growing = np.arange(1, seen.n_steps + 1)[:, None]
        total = np.cumsum(gradient.value, axis=0)
        error = np.cumsum(gradient.error, axis=0) + growing * u * np.cumsum(np.abs(gradient.value), axis=0)
        yield Hypothesis(("zero_grad_missing",), 1, asked.step(seen, Term(total, error)))
    if seen.n_steps > 1:
        late = gradient.one_later()
        for first in (gradient, seen.nothing()):
            yield Hypothesis(("gradient_stale",), 1, asked.step(seen, late.but_first(first)))


def _one_after_the_other(scene: Scene, gradient: Term) -> Iterator[Hypothesis]:
    """Gauss–Seidel: the gradient of a parameter is taken after earlier ones have moved."""
    seen = scene.seen
    D = seen.n_parameters
    if D == 1 or D > 256 or scene.asked.options is None:
        return
    hessian = seen.yardstick.second_moments() * (2 / seen.yardstick.extended(seen.n)[()]) * scene.asked.factor
    place = np.arange(D)
    last = place == D - 1
    orders = {"first to last": place[:, None] > place, "last to first": place[:, None] < place}
    if seen.intercept and D > 2:
        orders["the intercept after the weights"] = last[:, None] & ~last
        orders["the intercept before the weights"] = ~last[:, None] & last
    for variant, earlier in orders.items():
        if seen.intercept and D == 2:
            variant = "the intercept after the weight" if variant == "first to last" else "the intercept before the weight"
        seen_by = np.where(earlier, hessian, 0)
        with lapack_lock():
            value = gradient.value - seen.moved @ seen_by.T
            error = gradient.error + 4 * seen.u * (np.abs(seen.moved) @ np.abs(seen_by).T)
        yield Hypothesis(("gauss_seidel",), 1, scene.asked.step(seen, Term(value, error)), {"variant": variant})


def _frozen(scene: Scene) -> Iterator[Hypothesis]:
    """Parameters that are never updated."""
    seen = scene.seen
    still = (seen.moved == 0).all(0)
    if still.all():
        yield Hypothesis(("parameter_not_updated",), 0.5, seen.nothing(), {"variant": "w is"})
        return
    should = (seen.shares_by_parameter(scene.asked.step(seen)) > LIMIT).any(0)
    frozen = still & should
    if not frozen.any() or frozen.all():
        return
    step = scene.asked.step(seen)
    step = Term(np.where(frozen, 0, step.value), np.where(frozen, 0, step.error))
    only_intercept = seen.intercept and frozen[-1] and frozen.sum() == 1
    names = ", ".join(f"w[{j}]" for j in np.flatnonzero(frozen))
    code = "intercept_not_updated" if only_intercept else "parameter_not_updated"
    yield Hypothesis((code,), 1, step, {"variant": names + (" are" if frozen.sum() > 1 else " is")})


def _of_another_size(scene: Scene, gradient: Term) -> Iterator[Hypothesis]:
    """The sign of the gradient, its direction, clipping, and the absolute residuals."""
    seen, asked, u = scene.seen, scene.asked, scene.u
    size = np.abs(gradient.value)
    unsure = size <= gradient.error
    yield Hypothesis(("sign_gradient",), 1, asked.step(seen, Term(np.sign(gradient.value), unsure.astype(size.dtype))))
    with np.errstate(all="ignore"):
        length = np.sqrt((gradient.value * gradient.value).sum(1, keepdims=True))
        length_error = np.sqrt((gradient.error * gradient.error).sum(1, keepdims=True)) + (seen.n_parameters + 3) * u * length
        direction = np.where(length > 0, gradient.value / length, 0)
        relative = np.where(length > length_error, length_error / (length - length_error), 1)
        unit = Term(direction, np.where(length > 0, gradient.error / length, 1) + np.abs(direction) * relative)
    yield Hypothesis(("normalized_gradient",), 1, asked.step(seen, unit))
    if asked.plain:
        with np.errstate(all="ignore"):
            walked = np.sqrt((seen.moved * seen.moved).sum(1, keepdims=True)) / np.abs(seen.lr)
            shorter = np.isfinite(walked) & (walked < length * (1 - 1e-3))
        if shorter.any():

            def clipped(limit: Any) -> Term:
                factor = np.where(length > limit, limit / np.where(length > 0, length, 1), 1)
                bent = gradient.times(factor, u)
                return asked.step(seen, Term(bent.value, bent.error + np.abs(bent.value) * relative))

            value, step, more = shortest(seen, walked[np.argmax(np.where(shorter, length, 0)), 0], clipped)
            yield Hypothesis(("gradient_clipped",), 2 + more, step, {"value": float(value)}, constants=1)
    yield from _of_absolute_residuals(scene)


def _of_absolute_residuals(scene: Scene) -> Iterator[Hypothesis]:
    """The gradient of the mean absolute residual."""
    seen, u = scene.seen, scene.u
    yardstick = seen.yardstick
    if seen.n_steps * seen.n > BLOCK:
        return  # one block of residuals only
    w, n = seen.w[:-1], seen.n
    residual, reach = yardstick.residual(w), yardstick.reach(w) + yardstick.y_size
    signs, unsure = np.sign(residual), (np.abs(residual) <= (seen.n_parameters + 2) * u * reach).astype(residual.dtype)
    with lapack_lock():
        value, error = signs @ yardstick.X / n, (unsure + (n + 2) * u) @ yardstick.size / n
    if seen.intercept:
        value = np.concatenate([value, signs.mean(1, keepdims=True)], axis=1)
        error = np.concatenate([error, unsure.mean(1, keepdims=True) + (n + 2) * u], axis=1)
    yield Hypothesis(("gradient_absolute_loss",), 1, scene.asked.step(seen, Term(value, error)))
