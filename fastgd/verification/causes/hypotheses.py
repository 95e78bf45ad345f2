"""What a hypothesis is, how its constants are estimated, and those about the gradient.

1. A hypothesis predicts every step from the observed rows before it; its τ is the worst share of its own bound. Nothing is simulated
   freely, so a hypothesis stands or falls at every epoch by itself.
2. Constants are estimated by weighted least squares, with the size of rounding as the unit, and refined in extended precision. Then the
   shortest decimal that still explains everything is taken: people write 0.9, not 0.8999999871.
3. Complexity is a length of description: 0 what was asked for, 1 a named defect, 2 one short constant, 4 one that no short decimal gives,
   and so on. The simplest hypothesis with τ ≤ 8 wins, the others that pass are `also_possible`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..bound.yardstick import BLOCK, LIMIT, Array
from .observation import Observation, Term
from .recipes import Recipe

__all__ = ["Hypothesis", "Scene", "about_gradient", "estimate", "shortest"]

_DIGITS = (1, 2, 3, 4)  # of a short decimal


@dataclass(frozen=True)
class Hypothesis:
    """A possible cause: what it is called, how much it has to assume, and the steps that it predicts."""

    codes: tuple[str, ...]
    complexity: float
    step: Term = field(repr=False)
    words: Mapping[str, Any] = field(default_factory=dict)  # for the sentence: value, variant, …
    constants: int = 0  # estimated from the history: as many equations say nothing for the hypothesis
    rows: Array | None = field(default=None, repr=False)  # the samples that the gradient uses, where it is not all of them


@dataclass(frozen=True)
class Scene:
    """What hypotheses look at: a history, and what was asked for."""

    seen: Observation
    asked: Recipe

    @property
    def u(self) -> Any:
        """Unit roundoff."""
        return self.seen.u

    def fixed_and_column(self) -> tuple[Term, Term]:
        """Return the step without any gradient, and what the gradient adds: lr times it, through what was asked for."""
        step = self.asked.step(self.seen)
        if self.asked.options is None:
            return Term(np.zeros_like(step.value), np.zeros_like(step.error)), step
        nothing = Term(np.zeros_like(step.value), np.zeros_like(step.error))
        still = self.asked.with_values(weight_decay=0.0).step(self.seen, nothing)
        return still, Term(step.value - still.value, step.error)

    def pull(self) -> Term:
        """Return lr times the gradient that was asked for: a plain step."""
        return self.asked.gradient(self.seen).times(self.seen.lr, self.u)


def estimate(seen: Observation, target: Array, columns: Sequence[Array], skip: int = 0, until: int | None = None) -> list[Any] | None:
    """Return the constants c with target ≈ Σ c_k column_k in the steps skip … until; None where the history does not determine them."""
    scale = seen.scale()[skip:until].ravel()
    A = np.stack([column[skip:until].ravel() / scale for column in columns], axis=1)
    b = target[skip:until].ravel() / scale
    with np.errstate(all="ignore"):
        sizes = np.sqrt((A * A).sum(0))
        if not (np.isfinite(sizes).all() and (sizes > 0).all() and np.isfinite(b).all()):
            return None
        A = A / sizes
        constants = np.zeros(len(columns), A.dtype)
        for _ in range(3):  # refined: the residual is taken in extended precision
            better, _, rank, _ = np.linalg.lstsq(A.astype(np.float64), (b - A @ constants).astype(np.float64), rcond=1e-10)
            if rank < len(columns):
                return None
            constants = constants + better
        found = constants / sizes
    return list(found) if np.isfinite(found).all() else None


def shortest(
    seen: Observation, value: Any, predict: Callable[[Any], Term], also: Sequence[float] = (), unit: float = 1.0
) -> tuple[Any, Term, float]:
    """Return the shortest decimal near `value` with which `predict` passes (the value itself if none does), the steps, and its length.

    `also` are values to try first; value · unit may be the short one.
    """
    exact = predict(value)
    if not seen.tau(exact) <= 100 * LIMIT:  # no decimal near it does much better
        return value, exact, 2.0
    tried: set[float] = set()
    near = [number for number in also if abs(number - value) <= 0.01 * abs(value)]
    decimals = [float(f"{float(value) * by:.{digits - 1}e}") / by for digits in _DIGITS for by in dict.fromkeys((1.0, unit))]
    for number in [*near, *decimals]:
        if number not in tried:
            tried.add(number)
            step = predict(seen.yardstick.extended(number)[()])
            if seen.tau(step) <= LIMIT:
                return number, step, 0.0
    return value, exact, 2.0


# -- the gradient ----------------------------------------------------------------------------------------------------------------


def named_factors(n: int, asked: float) -> list[tuple[tuple[str, ...], float]]:
    """Return (codes, factor on the mean gradient) of everything that has a name; `asked` is the factor that is right."""
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
    """Yield hypotheses about how the gradient was made, with no constants but their names."""
    seen, asked, u = scene.seen, scene.asked, scene.u
    for codes, factor in named_factors(seen.n, asked.factor):
        step = asked.step(seen, seen.at.times(factor, u))
        yield Hypothesis(codes, 0.5 + 0.5 * len(codes), step, {"value": factor / asked.factor})
    gradient = asked.gradient(seen)
    yield from _stale(scene, gradient)
    yield from _one_after_the_other(scene, gradient)
    yield from _frozen(scene, gradient)
    yield from _of_another_size(scene, gradient)


def _stale(scene: Scene, gradient: Term) -> Iterator[Hypothesis]:
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
        for first in (gradient, Term(0 * gradient.value, 0 * gradient.error)):
            yield Hypothesis(("gradient_stale",), 1, asked.step(seen, late.but_first(first)))


def _one_after_the_other(scene: Scene, gradient: Term) -> Iterator[Hypothesis]:
    """Gauss–Seidel: the gradient of a parameter is taken where the earlier ones have moved already, by what the record shows."""
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
        value = gradient.value - seen.moved @ seen_by.T
        error = gradient.error + 4 * seen.u * (np.abs(seen.moved) @ np.abs(seen_by).T)
        yield Hypothesis(("gauss_seidel",), 1, scene.asked.step(seen, Term(value, error)), {"variant": variant})


def _frozen(scene: Scene, gradient: Term) -> Iterator[Hypothesis]:
    seen = scene.seen
    still = (seen.moved == 0).all(0)
    if still.all():
        yield Hypothesis(("parameter_not_updated",), 0.5, Term(np.zeros_like(seen.moved), np.zeros_like(seen.moved)), {"variant": "w is"})
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
    """The sign, the direction, the clipped gradient, and that of the absolute residuals."""
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
    seen, u = scene.seen, scene.u
    yardstick = seen.yardstick
    if seen.n_steps * seen.n > BLOCK:
        return  # too much to hold: this is looked for in smaller problems
    w, n = seen.w[:-1], seen.n
    residual = w[:, : yardstick.d] @ yardstick.X.T + (w[:, yardstick.d :] if seen.intercept else 0) - yardstick.y
    reach = np.abs(w[:, : yardstick.d]) @ yardstick.size.T + (np.abs(w[:, yardstick.d :]) if seen.intercept else 0) + yardstick.y_size
    signs, unsure = np.sign(residual), (np.abs(residual) <= (seen.n_parameters + 2) * u * reach).astype(residual.dtype)
    value, error = signs @ yardstick.X / n, (unsure + (n + 2) * u) @ yardstick.size / n
    if seen.intercept:
        value = np.concatenate([value, signs.mean(1, keepdims=True)], axis=1)
        error = np.concatenate([error, unsure.mean(1, keepdims=True) + (n + 2) * u], axis=1)
    yield Hypothesis(("gradient_absolute_loss",), 1, scene.asked.step(seen, Term(value, error)))
