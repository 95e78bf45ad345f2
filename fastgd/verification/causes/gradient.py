"""Hypotheses about the gradient: its size, its sign, its epoch, and the parameters that it moves.

Only clipping has a constant to estimate, the length or the size that gradients are clipped to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastgd.kernels.forks import lapack_lock

from ..bound.yardstick import BLOCK, LIMIT, Array
from .hypotheses import Hypothesis, Scene, shortest
from .observation import Term
from .sizes import Variant, at_named_sizes, named_factors, of_term

__all__ = ["about_clipping", "about_gradient"]


def about_gradient(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about the gradient."""
    seen, asked, u = scene.seen, scene.asked, scene.u
    for codes, factor in named_factors(seen.size, asked.factor):
        step = asked.step(seen, seen.at.times(factor, u))
        yield Hypothesis(codes, 0.5 + 0.5 * len(codes), step, {"value": factor / asked.factor})
    if asked.plain:
        yield Hypothesis(("zero_grad_missing",), 1, seen.memory.plus(scene.pull(), u))
    yield from at_named_sizes(scene, _of_other_epochs(scene))
    yield from at_named_sizes(scene, _one_after_the_other(scene))
    yield from at_named_sizes(scene, _of_another_loss(scene))
    yield from _frozen(scene)
    yield from _of_another_size(scene, asked.gradient(seen))
    yield from about_clipping(scene)


def _of_other_epochs(scene: Scene) -> Iterator[Variant]:
    """Gradients that add up, that are used one epoch late, and one that is never computed again."""
    seen, gradient = scene.seen, scene.seen.at
    growing = np.arange(1, seen.n_steps + 1)[:, None]
    total = np.cumsum(gradient.value, axis=0)
    error = np.cumsum(gradient.error, axis=0) + growing * seen.u * np.cumsum(np.abs(gradient.value), axis=0)
    yield Variant(("zero_grad_missing",), of_term(Term(total, error)))
    if seen.n_steps > 1:
        late = gradient.one_later()
        for first in (gradient, seen.nothing()):
            yield Variant(("gradient_stale",), of_term(late.but_first(first)))
        first = Term(*(np.repeat(part[:1], seen.n_steps, axis=0) for part in gradient))
        yield Variant(("gradient_not_recomputed",), of_term(first))


def _one_after_the_other(scene: Scene) -> Iterator[Variant]:
    """Gauss–Seidel: the gradient of a parameter is taken after earlier ones have moved."""
    seen = scene.seen
    D = seen.n_parameters
    if D == 1 or D > 256 or scene.asked.options is None or seen.of_batches:
        return
    hessian = seen.yardstick.second_moments() * (2 / seen.yardstick.extended(seen.size)[()])
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
            value = seen.at.value - seen.moved @ seen_by.T
            error = seen.at.error + 4 * seen.u * (np.abs(seen.moved) @ np.abs(seen_by).T)
        yield Variant(("gauss_seidel",), of_term(Term(value, error)), words={"variant": variant})


def _of_another_loss(scene: Scene) -> Iterator[Variant]:
    """The gradient of the root or of the logarithm of the loss, and of the absolute residuals."""
    seen = scene.seen
    loss, off = seen.true_loss[: seen.n_steps, None], seen.loss_error[: seen.n_steps, None]
    with np.errstate(all="ignore"):
        relative = np.where(loss > 2 * off, off / (loss - off), 1)
        for code, by, share in (("gradient_rmse", 2 * np.sqrt(loss), 0.5), ("gradient_log", loss, 1.0)):
            value = np.where(by > 0, seen.at.value / by, 0)
            error = np.where(by > 0, seen.at.error / by, 1) + np.abs(value) * (share * relative + 4 * seen.u)
            yield Variant((code,), of_term(Term(value, error)))
    absolute = _of_absolute_residuals(scene)
    if absolute is not None:
        yield Variant(("gradient_absolute_loss",), of_term(absolute))


def _frozen(scene: Scene) -> Iterator[Hypothesis]:
    """Parameters that are never updated."""
    seen = scene.seen
    still = (seen.moved == 0).all(0)
    if still.all():
        yield Hypothesis(("parameter_not_updated",), 0.5, seen.nothing(), {"variant": "w is"})
        return
    should = (seen.shares_by_parameter(scene.step) > LIMIT).any(0)
    frozen = still & should
    if not frozen.any() or frozen.all():
        return
    only_intercept = seen.intercept and frozen[-1] and frozen.sum() == 1
    names = ", ".join(f"w[{j}]" for j in np.flatnonzero(frozen))
    code = "intercept_not_updated" if only_intercept else "parameter_not_updated"
    for codes, factor in [((), scene.asked.factor), *named_factors(seen.size, scene.asked.factor)]:
        step = scene.asked.step(seen, seen.at.times(factor, seen.u))
        step = Term(np.where(frozen, 0, step.value), np.where(frozen, 0, step.error))
        words = {"variant": names + (" are" if frozen.sum() > 1 else " is")}
        yield Hypothesis((code, *codes), 1 + 0.5 * len(codes), step, words)


def _of_another_size(scene: Scene, gradient: Term) -> Iterator[Hypothesis]:
    """The sign of the gradient, and its direction."""
    seen, asked = scene.seen, scene.asked
    size = np.abs(gradient.value)
    unsure = size <= gradient.error
    yield Hypothesis(("sign_gradient",), 1, asked.step(seen, Term(np.sign(gradient.value), unsure.astype(size.dtype))))
    with np.errstate(all="ignore"):
        length, relative = _length_of(scene, gradient)
        direction = np.where(length > 0, gradient.value / length, 0)
        unit = Term(direction, np.where(length > 0, gradient.error / length, 1) + np.abs(direction) * relative)
    yield Hypothesis(("normalized_gradient",), 1, asked.step(seen, unit))


def about_clipping(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about a gradient that is clipped."""
    if scene.shown is not None:
        found, gradient = scene.shown.gradient(scene.seen), scene.asked.gradient(scene.seen)
        yield from _clipped_length(scene, gradient, found)
        yield from _clipped_values(scene, gradient, found)


def _length_of(scene: Scene, gradient: Term) -> tuple[Array, Array]:
    """Return the length of each gradient, (T, 1), and its relative error."""
    length = np.sqrt((gradient.value * gradient.value).sum(1, keepdims=True))
    error = np.sqrt((gradient.error * gradient.error).sum(1, keepdims=True)) + (scene.seen.n_parameters + 3) * scene.u * length
    return length, np.where(length > error, error / (length - error), 1)


def _clipped_length(scene: Scene, gradient: Term, found: Array) -> Iterator[Hypothesis]:
    """The gradient is clipped to a length."""
    seen, asked, u = scene.seen, scene.asked, scene.u
    with np.errstate(all="ignore"):
        length, relative = _length_of(scene, gradient)
        walked = np.sqrt((found * found).sum(1, keepdims=True))
        shorter = np.isfinite(walked) & (walked < length * (1 - 1e-3))
    if not shorter.any():
        return

    def clipped(limit: Any) -> Term:
        factor = np.where(length > limit, limit / np.where(length > 0, length, 1), 1)
        bent = gradient.times(factor, u)
        return asked.step(seen, Term(bent.value, bent.error + np.abs(bent.value) * relative))

    value, step, more = shortest(seen, walked[np.argmax(np.where(shorter, length, 0)), 0], clipped)
    yield Hypothesis(("gradient_clipped",), 2 + more, step, {"value": float(value)}, constants=1)


def _clipped_values(scene: Scene, gradient: Term, found: Array) -> Iterator[Hypothesis]:
    """Every entry of the gradient is clipped to a size."""
    seen, asked, size = scene.seen, scene.asked, np.abs(gradient.value)
    smaller = np.isfinite(found) & (np.abs(found) < size * (1 - 1e-3))
    if not smaller.any() or seen.n_parameters == 1:  # of one parameter it is its length
        return

    def clipped(limit: Any) -> Term:
        value, low, high = (np.clip(gradient.value + side * gradient.error, -limit, limit) for side in (0, -1, 1))
        return asked.step(seen, Term(value, np.maximum(high - value, value - low) + 2 * scene.u * np.abs(value)))

    limits = np.abs(found[smaller])
    where = np.argmax((size / np.maximum(gradient.error, seen.eta))[smaller])
    value, step, more = shortest(seen, limits[where], clipped)
    if value > 0:
        yield Hypothesis(("gradient_clipped_values",), 2 + more, step, {"value": float(value)}, constants=1)


def _of_absolute_residuals(scene: Scene) -> Term | None:
    """The gradient of the mean absolute residual."""
    seen, u = scene.seen, scene.u
    yardstick = seen.yardstick
    if seen.n_steps * seen.n > BLOCK:
        return None  # one block of residuals only
    w, n = seen.w[:-1], seen.n
    residual, reach = yardstick.residual(w), yardstick.reach(w) + yardstick.y_size
    signs, unsure = np.sign(residual), (np.abs(residual) <= (seen.n_parameters + 2) * u * reach).astype(residual.dtype)
    with lapack_lock():
        value, error = signs @ yardstick.X / n, (unsure + (n + 2) * u) @ yardstick.size / n
    if seen.intercept:
        value = np.concatenate([value, signs.mean(1, keepdims=True)], axis=1)
        error = np.concatenate([error, unsure.mean(1, keepdims=True) + (n + 2) * u], axis=1)
    return Term(value, error)
