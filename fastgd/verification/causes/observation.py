"""What a recorded history shows: every step that it took, and the truth at every row, in extended precision.

1. Nothing is predicted from a prediction: each step is compared with what a recipe makes of the OBSERVED rows before it, so a defect does
   not hide behind the consequences of another epoch (bound.py, note 1).
2. A `Term` is a quantity and how far rounding may move it. Sums and products of terms carry both, so that the bound of every hypothesis
   follows from its own arithmetic: u per addition, 2u per product (one rounding is of the constant). For plain descent it is ℓ of
   `check_step`, term for term.
3. The rows are judged up to the first one whose step may overflow, or that is not finite; later ones say nothing about a cause.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..bound.yardstick import LIMIT, Array, Truth, Yardstick, share_of

__all__ = ["Observation", "Term"]


class Term(NamedTuple):
    """A quantity per step and parameter, and how far rounding may move it."""

    value: Array  # (T, D)
    error: Array  # (T, D)

    def times(self, factor: Any, u: Any) -> Term:
        """Return the product with a constant, or with one per step (T, 1)."""
        value = factor * self.value
        return Term(value, np.abs(factor) * self.error + 2 * u * np.abs(value))

    def plus(self, other: Term, u: Any) -> Term:
        """Return the sum."""
        value = self.value + other.value
        return Term(value, self.error + other.error + u * np.abs(value))

    def one_later(self) -> Term:
        """Return the values of the step before; zeros at the first step."""
        return Term(*(np.concatenate([np.zeros_like(part[:1]), part[:-1]]) for part in self))

    def but_first(self, first: Term) -> Term:
        """Return these values with those of another term at the first step."""
        return Term(*(np.concatenate([other[:1], part[1:]]) for part, other in zip(self, first, strict=True)))


class Observation:
    """A history of one fit beside the truth at its rows.

    `w` has a row per epoch, the start first; `loss` may be None. Everything is in extended precision, cut at the first row that cannot be
    judged.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        w: Array,
        loss: Array | None,
        *,
        lr: Any,
        dtype: Any,
        intercept: bool,
        factor: float = 1.0,  # of the mean gradient in the recipe that was asked for: n for the sum
        held_higher: bool = False,
    ) -> None:
        self.yardstick = yardstick = Yardstick(X, y, "mean", dtype, intercept)
        self.dtype = np.dtype(dtype)
        self.n, self.intercept = yardstick.n, intercept
        self.u, self.eta = yardstick.u, yardstick.eta
        self.held = held_higher
        rows = yardstick.parameters(w, "w_history", rows=True)
        self.n_rows = len(rows)
        rates = np.broadcast_to(np.asarray(lr, np.float64), (max(len(rows) - 1, 0),)).astype(self.dtype)
        rate = yardstick.extended(rates)[:, None]
        with np.errstate(all="ignore"):
            parts = [yardstick.measure(rows[i : i + yardstick.block]) for i in range(0, len(rows), yardstick.block)]
            truth = Truth(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            finite = np.asarray(np.isfinite(rows).all(1))
            move = factor * rate * truth.gradient[:-1]
            small = ((np.abs(move) <= yardstick.limit) & (np.abs(rows[:-1] - move) <= yardstick.limit)).all(1)
        self.n_inside = _until(truth.inside & finite)  # rows whose loss can be judged
        n_steps = min(_until(small), self.n_inside)  # steps that cannot overflow
        n_finite = _until(finite[1 : n_steps + 1])
        self.too_early = n_finite + 1 if n_finite < n_steps else None  # a row that is not finite, and has no right to be
        self.n_inside = min(self.n_inside, n_finite + 1)
        self.w = rows[: n_finite + 1]
        self.moved = self.w[:-1] - self.w[1:]
        self._first_seen = np.unique(np.asarray(self.w[:-1], np.float64), axis=0, return_index=True)[1] if n_finite else np.zeros(0, int)
        self.lr = rate[:n_finite]
        self.at = Term(truth.gradient[:n_finite], truth.gradient_error[:n_finite])
        self.true_loss, self.loss_error = truth.loss[: self.n_inside], truth.loss_error[: self.n_inside]
        self.loss = None if loss is None else yardstick.extended(loss)[: self.n_inside]
        with np.errstate(all="ignore"):
            self.memory = self._memory()

    @property
    def n_steps(self) -> int:
        """Steps that can be judged."""
        return len(self.moved)

    @property
    def n_parameters(self) -> int:
        """Parameters, the intercept counted."""
        return self.yardstick.n_parameters

    def here(self) -> Term:
        """Return w before each step, which the record gives exactly."""
        return Term(self.w[:-1], np.zeros_like(self.moved))

    def shares(self, step: Term, at: int | None = None) -> Array:
        """Return (T,) float64: the worst share of the bound over the parameters of each step, |moved − step| / bound; `at`: of one step."""
        return self.shares_by_parameter(step, at).max(1, initial=0)

    def shares_by_parameter(self, step: Term, at: int | None = None) -> Array:
        """Return (T, D) float64: the share of the bound that each parameter of each step uses; `at`: (1, D), of one step."""
        rows = slice(None) if at is None else slice(at, at + 1)
        with np.errstate(all="ignore"):
            w = self.w[:-1][rows]
            bound = step.error + self.u * np.abs(w - step.value) + 2 * self.eta
            if self.held:
                bound = bound + self.u * np.abs(w)
            return share_of(self.moved[rows] - step.value, bound)

    def tau(self, step: Term) -> float:
        """Return the worst share over all steps."""
        return float(self.shares(step).max(initial=0))

    def scale(self) -> Array:
        """Return (T, D) float64: the size of rounding in each step, for weights."""
        plain = np.abs(self.lr) * (self.at.error + 2 * self.u * np.abs(self.at.value))
        around = self.u * (np.abs(self.w[:-1]) + np.abs(self.w[1:])) + 2 * self.eta
        return np.maximum((plain + around).astype(np.float64), np.finfo(np.float64).tiny)

    def informative(self, difference: Array, step: Term) -> int:
        """Return in how many entries a difference (T, D) of two predictions is beyond the bound: equations that can tell them apart.

        Where w stands still the same equations come again, and count once.
        """
        bound = step.error + self.u * np.abs(self.w[:-1] - step.value) + 2 * self.eta
        return int(np.count_nonzero((np.abs(difference) > LIMIT * bound)[self._first_seen]))

    def _memory(self) -> Term:
        """The step before, as far as w shows it: w was rounded after it."""
        moved = np.concatenate([np.zeros_like(self.moved[:1]), self.moved[:-1]])
        size = np.abs(self.w[:-1]) + (np.abs(np.concatenate([self.w[:1], self.w[:-2]])) if self.held else 0)
        memory = Term(moved, self.u * size + self.u * np.abs(moved) + self.eta)
        before = np.concatenate([self.lr[:1], self.lr[:-1]])
        ratio = np.where(self.lr == before, 1, np.where(before == 0, 0, self.lr / before))
        memory = Term(ratio * memory.value, ratio * memory.error)
        return memory.but_first(Term(np.zeros_like(moved), np.zeros_like(moved)))


def _until(good: Any) -> int:
    """How many entries are true before the first that is not."""
    return len(good) if good.all() else int(np.argmin(good))
