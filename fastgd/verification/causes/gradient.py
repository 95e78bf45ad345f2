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
from .observation import Observation, Term
from .readings import ending
from .sizes import Variant, at_named_sizes, named_factors, of_term

__all__ = ["about_clipping", "about_gradient"]

_OF_TORCH = 1e-6  # clip_grad_norm_ adds it to the length


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
    yield from at_named_sizes(scene, _of_no_axis(scene))
    yield from _from_the_start(scene)
    yield from _in_some_epochs(scene)
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
            yield Variant((code,), of_term(Term(value, error)), natural=True)
    absolute = _of_absolute_residuals(scene)
    if absolute is not None:
        yield Variant(("gradient_absolute_loss",), of_term(absolute), natural=True)


def _of_no_axis(scene: Scene) -> Iterator[Variant]:
    """One number for all weights, the sum or the mean of the entries of the gradient."""
    seen, gradient = scene.seen, scene.seen.at
    D = seen.n_parameters
    for count in (D, D - 1) if seen.intercept else (D,):
        if count < 2:
            continue
        total = gradient.value[:, :count].sum(1, keepdims=True)
        doubt = gradient.error[:, :count].sum(1, keepdims=True) + count * seen.u * np.abs(gradient.value[:, :count]).sum(1, keepdims=True)
        for how, by in (("sum", 1), ("mean", count)):
            value, error = np.array(gradient.value), np.array(gradient.error)
            value[:, :count], error[:, :count] = total / by, (doubt + 2 * seen.u * np.abs(total)) / by
            yield Variant(("gradient_without_axis",), of_term(Term(value, error)), words={"variant": how})


def _in_some_epochs(scene: Scene) -> Iterator[Hypothesis]:
    """w moves up to some epoch, or in every k-th epoch alone."""
    seen, asked = scene.seen, scene.asked
    epoch, moves = np.arange(seen.n_steps), (seen.moved != 0).any(1)
    if moves.all() or not moves.any() or not asked.plain:
        return
    found = np.flatnonzero(moves)
    last = int(found[-1]) + 1
    told = []
    if moves[:last].all():
        told.append((1.0, f"it stays as it is from epoch {last + 1} on"))
    elif moves[found[0] :].all():
        one = found[0] == 1
        told.append((1.0, f"the first {'epoch has' if one else f'{found[0]} epochs have'} no step, so that there are too few in all"))
    elif len(found) > 1:
        k = int(found[1] - found[0])
        if (moves == ((epoch >= found[0]) & ((epoch - found[0]) % k == 0))).all():
            told = [
                (1.0, f"only every {k}{ending(k)} epoch has a step"),
                (k, f"every {k}{ending(k)} epoch has the gradients of {k} epochs"),
            ]
    for factor, words in told:
        step = asked.step(seen, asked.gradient(seen).times(factor, seen.u))
        step = Term(*(np.where(moves[:, None], part, 0) for part in step))
        yield Hypothesis(("epochs_without_step",), 1.5, step, {"variant": words}, constants=1)


def _from_the_start(scene: Scene) -> Iterator[Hypothesis]:
    """Every step is taken from row 0: w is set to the start inside the loop."""
    seen = scene.seen
    if seen.n_steps < 2 or not scene.asked.stateless or (seen.lr != seen.lr[0]).any() or seen.of_batches:
        return
    step = scene.step
    first, error = step.value[:1], step.error[:1]

    def loss(seen: Observation) -> tuple[Array, Array]:
        return np.full_like(seen.true_loss, seen.true_loss[0]), np.full_like(seen.loss_error, seen.loss_error[0])

    from_start = Term(seen.w[:-1] - (seen.w[0] - first), np.broadcast_to(error + seen.u * np.abs(seen.w[0]), seen.moved.shape))
    yield Hypothesis(("begins_anew",), 0.75, from_start, loss=loss)


def _frozen(scene: Scene) -> Iterator[Hypothesis]:
    """Parameters that are never updated."""
    seen = scene.seen
    still = (seen.moved == 0).all(0)
    if still.all():
        # nothing else moves w so little; rows that are one array are told before (one_array.py)
        yield Hypothesis(("parameter_not_updated",), 0.5, seen.nothing(), {"variant": "w is"}, sure=True)
        return
    should = (seen.shares_by_parameter(scene.step) > LIMIT).any(0)
    frozen = still & should
    if not frozen.any() or frozen.all():
        return
    only_intercept = seen.intercept and frozen[-1] and frozen.sum() == 1
    names = ", ".join(f"w[{j}]" for j in np.flatnonzero(frozen))
    code = "intercept_not_updated" if only_intercept else "parameter_not_updated"
    for codes, factor in [((), scene.asked.factor), *named_factors(seen.size, scene.asked.factor)]:
        step = scene.asked.step(seen, seen.at.times(factor, seen.u)) if codes else scene.step
        step = Term(np.where(frozen, 0, step.value), np.where(frozen, 0, step.error))
        words = {"variant": names + (" are" if frozen.sum() > 1 else " is")}
        yield Hypothesis((code, *codes), 0.75 + 0.5 * len(codes), step, words)  # that some do not move at all is no chance


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

    t = int(np.argmax(np.where(shorter, length, 0)))
    for added in (0.0, _OF_TORCH):

        def clipped(limit: Any, added: float = added) -> Term:
            longer = length + seen.yardstick.extended(added)[()]
            bent = gradient.times(np.where(longer > limit, limit / np.where(longer > 0, longer, 1), 1), u)
            return asked.step(seen, Term(bent.value, bent.error + np.abs(bent.value) * (relative + 2 * u)))

        value, step, more = shortest(seen, walked[t, 0] * (1 + added / length[t, 0]), clipped)
        yield Hypothesis(("gradient_clipped",), 2 + more + 0.1 * bool(added), step, {"value": float(value)}, constants=1)


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
