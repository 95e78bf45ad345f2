"""What a hypothesis is, and how its constants are estimated.

1. A hypothesis predicts every step from the observed rows before it. Its τ is the worst share of
   its own bound, so each epoch tests it independently.
2. Constants are estimated by least squares, weighted by the size of rounding errors and refined in
   extended precision. Then the shortest decimal that still explains every step is taken, because
   people write 0.9, not 0.8999999871.
3. Complexity measures the length of a description: 0 what was asked for, 1 a named defect, 2 a
   short constant, 4 a constant that no short decimal gives, and so on. The simplest hypothesis with
   τ ≤ 8 wins; the others with τ ≤ 8 are `also_possible`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fastgd.kernels.forks import lapack

from ..bound.yardstick import LIMIT, Array
from .observation import Observation, Term
from .recipes import Recipe

__all__ = ["USUAL_MOMENTA", "Hypothesis", "Scene", "Shown", "estimate", "shortest"]

USUAL_MOMENTA = (0.9, 0.99, 0.95, 0.5, 0.8)

_DIGITS = (1, 2, 3, 4)  # of a short decimal


@dataclass(frozen=True)
class Hypothesis:
    """A possible cause: its codes, its complexity, and the steps that it predicts."""

    codes: tuple[str, ...]
    complexity: float
    step: Term = field(repr=False)
    words: Mapping[str, Any] = field(default_factory=dict)  # for the sentence of the cause
    constants: int = 0  # estimated from the history; as many equations are no evidence
    free: bool = False  # a constant for every step: possible, and never sure
    # the mean of the squares that belongs to it, and its error; None: that of the data
    loss: Callable[[Observation], tuple[Array, Array]] | None = field(default=None, repr=False)
    # (T, D): what tells it from others of its kind; None: from what was asked for
    telling: Array | None = field(default=None, repr=False)
    sure: bool = False  # its evidence is not in the steps


class Shown(NamedTuple):
    """What the steps show of the gradient: step = still + rate · gradient."""

    still: Term  # (T, D): momentum and decay
    rate: Array  # (T, 1)

    def gradient(self, seen: Observation) -> Array:
        """Return the gradient that each step shows, (T, D); NaN at the rate 0."""
        with np.errstate(all="ignore"):
            return np.where(self.rate != 0, (seen.moved - self.still.value) / self.rate, np.nan)


@dataclass(frozen=True)
class Scene:
    """What hypotheses are made from: a history, and what was asked for."""

    seen: Observation
    asked: Recipe

    @property
    def u(self) -> Any:
        """Unit roundoff."""
        return self.seen.u

    @cached_property
    def step(self) -> Term:
        """The step that was asked for."""
        return self.asked.step(self.seen)

    def fixed_and_column(self) -> tuple[Term, Term]:
        """Return the step that was asked for as two terms: without and due to the gradient."""
        step = self.step
        if self.asked.options is None:
            return self.seen.nothing(), step
        still = self.asked.with_values(weight_decay=0.0).step(self.seen, self.seen.nothing())
        return still, Term(step.value - still.value, step.error)

    @cached_property
    def shown(self) -> Shown | None:
        """What the steps show of the gradient; None: the rule does not show it at each step."""
        seen, options = self.seen, self.asked.options
        if options is None or options.nesterov or (options.momentum and seen.pauses):
            return None
        damped = np.full_like(seen.lr, 1 - options.dampening if options.momentum else 1)
        damped[:1] = 1
        return Shown(self.asked.step(seen, seen.nothing()), (-1 if options.maximize else 1) * damped * seen.lr)

    @cached_property
    def telling_step(self) -> int | None:
        """The step that is furthest from what was asked for; None: there is none at a rate."""
        if self.shown is None or not self.seen.n_steps:
            return None
        shares = self.seen.shares(self.step)
        shares = np.where((self.shown.rate[:, 0] != 0) & np.isfinite(shares), shares, -1)
        t = int(np.argmax(shares))
        return t if shares[t] >= 0 else None

    def pull(self) -> Term:
        """Return lr times the gradient that was asked for, the step of plain gradient descent."""
        return self.asked.gradient(self.seen).times(self.seen.lr, self.u)


@lapack
def estimate(seen: Observation, target: Array, columns: Sequence[Array], skip: int = 0, until: int | None = None) -> list[Any] | None:
    """Return the constants c with target ≈ Σ c_k column_k in the steps skip to until.

    None: the history does not determine them.
    """
    scale = seen.scale()[skip:until].ravel()
    A = np.stack([column[skip:until].ravel() / scale for column in columns], axis=1)
    b = target[skip:until].ravel() / scale
    with np.errstate(all="ignore"):
        sizes = np.sqrt((A * A).sum(0))
        if not (np.isfinite(sizes).all() and (sizes > 0).all() and np.isfinite(b).all()):
            return None
        A = A / sizes
        constants = np.zeros(len(columns), A.dtype)
        for _ in range(3):  # refinement, with residuals in extended precision
            better, _, rank, _ = np.linalg.lstsq(A.astype(np.float64), (b - A @ constants).astype(np.float64), rcond=1e-10)
            if rank < len(columns):
                return None
            constants = constants + better
        found = constants / sizes
    return list(found) if np.isfinite(found).all() else None


def shortest(
    seen: Observation, value: Any, predict: Callable[[Any], Term], also: Sequence[float] = (), unit: float = 1.0
) -> tuple[Any, Term, float]:
    """Return (a short decimal near `value`, its steps, 0.0), or (`value`, its steps, 2.0).

    The decimal is the shortest with which the steps of `predict` are within the bound; the second
    answer means that there is none. `also` are values to try first. Where `unit` is not 1,
    value · unit may be the short decimal.
    """
    exact = predict(value)
    if not seen.tau(exact) <= 100 * LIMIT:  # no decimal near `value` does much better
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
