"""A recorded history: its steps, and the exact gradient and loss at every row.

All of it is in extended precision; the bound is derived in docs/error-bound.md, "One step".

1. Every step is compared with what a recipe makes of the OBSERVED rows before it, never with a
   prediction from a prediction. So the effect of a defect in one epoch does not hide a defect in
   another.
2. A `Term` is a quantity and how far rounding may move it. Sums and products of terms carry both,
   so the bound of a hypothesis follows from its own arithmetic: u per addition, 2u per product (one
   rounding is that of the constant). For plain gradient descent it is ℓ of `check_step`, term for
   term.
3. The rows are judged up to the first one that is not finite or whose step may overflow; an update
   rule that was asked for may end it earlier (`until`). Later ones say nothing about a cause.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np

from ..bound.batches import Ends
from ..bound.yardstick import LIMIT, Array, Truth, Yardstick, share_of
from .plan import Parts

__all__ = ["Observation", "Term", "until"]


class Term(NamedTuple):
    """A quantity per step and parameter, and how far rounding may move it."""

    value: Array  # (T, D)
    error: Array  # (T, D)

    def times(self, factor: Any, u: Any) -> Term:
        """Return the product with a constant, or with one constant per step (T, 1)."""
        value = factor * self.value
        return Term(value, np.abs(factor) * self.error + 2 * u * np.abs(value))

    def plus(self, other: Term, u: Any) -> Term:
        """Return the sum."""
        value = self.value + other.value
        return Term(value, self.error + other.error + u * np.abs(value))

    def one_later(self) -> Term:
        """Return the values of the previous step; zeros at the first step."""
        return Term(*(np.concatenate([np.zeros_like(part[:1]), part[:-1]]) for part in self))

    def but_first(self, first: Term) -> Term:
        """Return this term with the values of another one at the first step."""
        return Term(*(np.concatenate([other[:1], part[1:]]) for part, other in zip(self, first, strict=True)))


class Observation:
    """The history of one fit, and the exact gradient and loss at its rows.

    `w` has a row per epoch, the start first; `loss` may be None. Everything is in extended
    precision and ends before the first row that cannot be judged.
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
        factor: float = 1.0,  # what the mean gradient is multiplied by: n for the sum
        held_higher: bool = False,
        parts: Parts | None = None,
    ) -> None:
        self.parts, weights = parts, None if parts is None else parts.weights
        self._data = X, y, dtype, intercept, held_higher
        self.yardstick = yardstick = self.weighted(weights)
        self.dtype = np.dtype(dtype)
        self.n, self.intercept = yardstick.n, intercept
        # what the mean of a step, and of a loss, is divided by: the sum of the weights, or n
        self.size = self.loss_size = yardstick.n if weights is None else float(yardstick.total)
        self.of_batches = parts is not None and parts.batches is not None
        self.u, self.eta = yardstick.u, yardstick.eta
        self.held_higher = held_higher
        self.plan = None if parts is None else parts.plan
        self.asked_ends: Term | None = None  # where rows hide steps: those that were asked for
        self.notes: tuple[str, ...] = ()  # how the losses were read
        self.first_rate: float | None = None  # that a schedule of factors begins with
        rows = yardstick.parameters(w, "w_history", rows=True)
        self.n_rows = len(rows)
        with np.errstate(all="ignore"):
            rate, self.rule_lr = self._rates(lr, max(len(rows) - 1, 0))
            truth = self._on_batches(rows, yardstick.measure_all(rows))
            if self.hides_steps:
                assert self.plan is not None
                self.size = max(self.plan.sizes, default=self.n)
            finite = np.asarray(np.isfinite(rows).all(1))
            move = factor * rate * truth.gradient[:-1]
            small = ((np.abs(move) <= yardstick.limit) & (np.abs(rows[:-1] - move) <= yardstick.limit)).all(1)
        self.n_inside = until(truth.inside & finite)  # number of rows whose loss can be judged
        n_steps = min(until(small), self.n_inside)  # number of steps that cannot overflow
        n_finite = until(finite[1 : n_steps + 1])
        # why the last rows are not judged, if they are not
        self.why_ended = "values are too near overflow after that"
        # the first row that is not finite, where no step before it can overflow
        self.too_early = n_finite + 1 if n_finite < n_steps else None
        self.n_inside = min(self.n_inside, n_finite + 1)
        # of every step that begins in a judged row, also the one to the row that is not finite
        begun = n_finite + (self.too_early is not None)
        self.begun = Term(truth.gradient[:begun], truth.gradient_error[:begun])
        self.begun_lr = rate[:begun]
        self.true_loss, self.loss_error = truth.loss, truth.loss_error
        self.loss = None if loss is None else yardstick.extended(loss)
        self.w = rows
        self._end_after(n_finite)

    def read_loss_of(self, factor: float) -> None:
        """Take the losses as those of half of the squares, or of their sum, where they come nearer.

        A loss may be that of the row before or after it. `factor` is what the mean of the squares
        is multiplied by there.
        """
        if self.loss is None or not len(self.loss) or factor == 1:
            return
        found, true, bound = (np.asarray(part, np.float64) for part in (self.loss, self.true_loss, self.loss_error))

        def fits(by: float) -> tuple[int, float]:
            """Return how many losses are this multiple of right ones, and how near they come."""
            best = (0, -math.inf)
            for shift in (0, 1, -1):
                one, other, doubt = (part[max(0, k) :] for part, k in ((found, -shift), (true, shift), (bound, shift)))
                m = min(len(one), len(other))
                with np.errstate(all="ignore"):
                    off = np.abs(one[:m] / by - other[:m])
                    near = np.abs(np.log(np.abs(one[:m]) / by) - np.log(other[:m]))
                near = near[~np.isnan(near)]
                best = max(best, (int((off <= LIMIT * doubt[:m]).sum()), -float(np.median(near)) if len(near) else -math.inf))
            return best

        if fits(factor) > fits(1.0):
            halved = self.with_loss_of(factor)
            self.loss, self.notes = halved.loss, halved.notes

    def read_loss_with(self, ridge: float) -> None:
        """Take the losses without this penalty on the weights, where they have it."""
        if self.loss is None:
            return
        m = min(len(self.loss), self.n_inside)
        slopes = self.w[:m, : self.yardstick.d]
        added = self.yardstick.extended(ridge)[()] * (slopes * slopes).sum(1)
        found, error = self.loss[: len(added)], self.loss_error[: len(added)]
        more = error + self.u * ((self.n_parameters + 4) * added + np.abs(found)) + 2 * self.eta
        true = self.true_loss[: len(added)]
        if (np.abs(found - added - true) <= LIMIT * more).sum() > (np.abs(found - true) <= LIMIT * error).sum():
            self.loss, self.loss_error = np.array(self.loss), np.array(self.loss_error)
            self.loss[: len(added)] -= added
            self.loss_error[: len(added)] = more
            self.notes = ("each loss is read as that with the penalty, ridge times the squares of w",)

    def with_loss_of(self, factor: float) -> Observation:
        """Return the same rows; each loss is read as this multiple of the mean of the squares."""
        assert self.loss is not None
        other = copy.copy(self)
        other.loss = self.loss / self.yardstick.extended(factor)[()]
        told = {0.5: "half of the mean", float(self.size): "the sum"}.get(float(factor), "half of the sum")
        other.notes = (f"each loss is read as {told} of the squares",)
        return other

    def weighted(self, weights: Array | None, batch: Array | None = None) -> Yardstick:
        """Return the yardstick of these samples; None: all. weights: those of all samples."""
        X, y, dtype, intercept, held_higher = self._data
        which = slice(None) if batch is None else batch
        weights = None if weights is None else weights[which]
        return Yardstick(np.asarray(X)[which], np.asarray(y)[which], "mean", dtype, intercept, weights, held_higher=held_higher)

    def gradient_on_batches(self, weights: Array | None, rows: Array, truth: Truth) -> Truth:
        """Return what is known at rows, with the gradient and the loss of the batch of each.

        A batch without a weight makes no step.
        """
        assert self.parts is not None
        at: dict[bytes, list[int]] = {}
        batches = self.parts.batches or ()
        for t, batch in enumerate(batches[: len(rows)]):
            at.setdefault(batch.tobytes(), []).append(t)
        made = truth._replace(
            **{name: np.array(getattr(truth, name)) for name in ("gradient", "gradient_error", "loss", "loss_error", "inside")}
        )
        for steps in at.values():
            batch = batches[steps[0]]
            if weights is not None and not np.any(weights[batch].astype(self._data[2])):
                made.gradient[steps], made.gradient_error[steps] = 0, 0
                continue
            part = self.weighted(weights, batch)
            found = part.measure_all(rows[steps])
            made.gradient[steps], made.gradient_error[steps] = found.gradient, found.gradient_error
            made.loss[steps], made.loss_error[steps] = found.loss, found.loss_error
            made.inside[steps] &= found.inside
        return made

    def _on_batches(self, rows: Array, truth: Truth) -> Truth:
        """Return what is known at the rows, with the gradients of the batches if there are some."""
        if self.parts is None or self.parts.batches is None:
            return truth
        weights = self.parts.weights
        found = self.gradient_on_batches(weights, rows, truth)
        self.size = max((len(batch) if weights is None else float(np.sum(weights[batch])) for batch in self.parts.batches), default=self.n)
        if self.parts.of_loss:
            self.loss_size = self.size
            return found
        return found._replace(loss=truth.loss, loss_error=truth.loss_error)

    def _rates(self, lr: Any, n_steps: int) -> tuple[Array, Array]:
        """Return the rate that multiplies a step, and the one in a rule, (T, 1) each.

        They are rounded, and differ where that underflows: a rule makes numbers of its rate in
        float64 first, as a state in float64 does.
        """
        exact = np.broadcast_to(np.asarray(lr, np.float64), (n_steps,))[:, None]
        rounded, exact = (self.yardstick.extended(part) for part in (exact.astype(self.dtype), exact))
        underflows = np.isfinite(rounded) & (np.abs(exact - rounded) > self.u * np.abs(exact))
        exact = np.where(underflows, exact, rounded)
        return exact if self.held_higher else rounded, exact

    def _end_after(self, n_steps: int) -> None:
        """Leave out what comes after this number of steps."""
        self.w = self.w[: n_steps + 1]
        self.moved = self.w[:-1] - self.w[1:]
        self._first_seen = _first_of_equal_rows(np.asarray(self.w[:-1], np.float64))
        self.lr = self.begun_lr[:n_steps]
        self.at = Term(*(part[:n_steps] for part in self.begun))
        self.true_loss, self.loss_error = self.true_loss[: self.n_inside], self.loss_error[: self.n_inside]
        self.loss = None if self.loss is None else self.loss[: self.n_inside]
        with np.errstate(all="ignore"):
            self.memory = self._memory()

    def until(self, n_steps: int, why: str) -> Observation:
        """Return the history up to this step; what follows, finite or not, is not judged."""
        ended = copy.copy(self)
        ended.why_ended = why
        ended.too_early, ended.n_inside = None, min(self.n_inside, n_steps + 1)
        ended._end_after(n_steps)
        return ended

    def at_rates(self, lr: Array) -> Observation:
        """Return the same rows, as if these (T, 1) had been the learning rates."""
        other = copy.copy(self)
        other.lr = other.rule_lr = lr
        with np.errstate(all="ignore"):
            other.memory = other._memory()
        return other

    @property
    def hides_steps(self) -> bool:
        """Whether there are steps between two rows, which only their ends show."""
        return self.plan is not None and self.plan.several

    def steps_to(self, ends: Ends) -> Term:
        """Return the steps from the rows to these ends; `shares` adds the rounding of w there."""
        rows = np.concatenate([self.w, self.w[-1:]])[: len(ends.value)]
        return Term(rows - ends.value, np.maximum(ends.error - self.u * np.abs(ends.value) - 2 * self.eta, 0))

    @property
    def n_steps(self) -> int:
        """Number of steps that can be judged."""
        return len(self.moved)

    @property
    def why_not_all(self) -> str | None:
        """Why the last steps are not judged; None: all are, or a row is wrongly not finite."""
        return self.why_ended if self.n_steps < self.n_rows - 1 and self.too_early is None else None

    @property
    def n_parameters(self) -> int:
        """Number of parameters, the intercept counted."""
        return self.yardstick.n_parameters

    @property
    def pauses(self) -> bool:
        """Whether a step follows one at the rate 0, which does not show a momentum buffer."""
        return bool(((self.lr[:-1] == 0) & (self.lr[1:] != 0)).any())

    @property
    def has_one_number(self) -> bool:
        """Whether all steps show one number alone: the factor of a linear map on w − w*.

        It is so with one parameter, or one sample, where the best fit has no residuals beyond
        rounding: then every gradient that is 0 at the best fit is a multiple of the right one.
        """
        yardstick = self.yardstick
        if self.n == 1:
            return True
        if self.n_parameters > 1:
            return False
        column = np.ones(self.n, yardstick.type) if self.intercept else yardstick.X[:, 0]
        square = (column * column).sum()
        with np.errstate(all="ignore"):
            best = (column * yardstick.y).sum() / square if square > 0 else square
            left = np.abs(column * best - yardstick.y)
            return bool((left <= LIMIT * self.u * (np.abs(column * best) + np.abs(yardstick.y))).all())

    def nothing(self) -> Term:
        """Return a term of zeros: no step, or no gradient."""
        return Term(np.zeros_like(self.moved), np.zeros_like(self.moved))

    def here(self) -> Term:
        """Return w before each step, without error where the rows show the state itself."""
        return Term(self.w[:-1], self.yardstick.hidden(self.w[:-1]))

    def shares(self, step: Term, at: int | None = None) -> Array:
        """Return each step's worst share of the bound, (T,) float64: max |moved − step| / bound.

        `at`: of that step alone, (1,).
        """
        return self.shares_by_parameter(step, at).max(1, initial=0)

    def shares_by_parameter(self, step: Term, at: int | None = None) -> Array:
        """Return the share of the bound of each parameter of each step, (T, D) float64.

        `at`: of that step alone, (1, D).
        """
        rows = slice(None) if at is None else slice(at, at + 1)
        with np.errstate(all="ignore"):
            w = self.w[:-1][rows]
            bound = step.error + self.u * np.abs(w - step.value) + 2 * self.eta + self.yardstick.hidden(w)
            return share_of(self.moved[rows] - step.value, bound)

    def tau_of_one(self, t: int, steps: Array, errors: Array) -> Array:
        """Return the worst share of each of k predictions of step t, (k,); they are (k, D)."""
        with np.errstate(all="ignore"):
            w = self.w[t]
            bound = errors + self.u * np.abs(w - steps) + 2 * self.eta + self.yardstick.hidden(w)
            return share_of(self.moved[t] - steps, bound).max(1, initial=0)

    def tau(self, step: Term) -> float:
        """Return the worst share over all steps."""
        return float(self.shares(step).max(initial=0))

    def scale(self) -> Array:
        """Return the size of rounding errors in each step, (T, D) float64, for least squares."""
        plain = np.abs(self.lr) * (self.at.error + 2 * self.u * np.abs(self.at.value))
        around = self.u * (np.abs(self.w[:-1]) + np.abs(self.w[1:])) + 2 * self.eta
        return np.maximum((plain + around).astype(np.float64), np.finfo(np.float64).tiny)

    def informative(self, difference: Array, step: Term) -> int:
        """Return how many entries of a `difference` (T, D) of predictions are beyond the bound."""
        return int((self._by_bound(difference, step) > 1).sum())

    def strength(self, difference: Array, step: Term) -> float:
        """Return by what factor two predictions with this `difference` (T, D) are told apart.

        It is |difference| / (8 · bound): the largest of all steps, which may be one equation,
        multiplied over the parameters.
        """
        largest = self._by_bound(difference, step).max(0, initial=1)
        return float(np.exp(np.minimum(np.log(largest).sum(), 700.0)))

    def _by_bound(self, difference: Array, step: Term) -> Array:
        """Return |difference| / (8 · bound) in the steps from different w, (m, D); 0 for 0 / 0."""
        with np.errstate(all="ignore"):
            bound = LIMIT * (step.error + self.u * np.abs(self.w[:-1] - step.value) + 2 * self.eta)
            return np.nan_to_num((np.abs(difference) / bound)[self._first_seen], nan=0.0, posinf=np.inf)

    def with_steps_as_memory(self) -> Observation:
        """Return the same rows, as if the buffer were the last step: lr is in it."""
        other = copy.copy(self)
        moved = Term(self.moved, self.u * (np.abs(self.moved) + np.abs(self.w[:-1]) + np.abs(self.w[1:])) + self.eta)
        other.memory = moved.one_later()
        return other

    def _memory(self) -> Term:
        """Return the previous step as w shows it; its error is the rounding of w after it."""
        moved = np.concatenate([np.zeros_like(self.moved[:1]), self.moved[:-1]])
        size = np.abs(self.w[:-1]) + (np.abs(np.concatenate([self.w[:1], self.w[:-2]])) if self.held_higher else 0)
        memory = Term(moved, self.u * size + self.u * np.abs(moved) + self.eta)
        return self.at_present_rates(memory).but_first(self.nothing())

    def at_present_rates(self, term: Term) -> Term:
        """Return a term of the step before, which is in proportion to its rate, at that of each."""
        before = np.concatenate([self.lr[:1], self.lr[:-1]])
        ratio = np.where(self.lr == before, 1, np.where(before == 0, 0, self.lr / before))
        return Term(ratio * term.value, ratio * term.error)


def until(good: Any) -> int:
    """Return the number of entries before the first false one."""
    return len(good) if good.all() else int(np.argmin(good))


def _first_of_equal_rows(rows: np.ndarray) -> np.ndarray:
    """Return the index of the first of all rows that are equal, for each distinct row.

    numpy.unique compares structured arrays, and makes a TypeError of a Ctrl-C meanwhile.
    """
    order = np.lexsort(rows.T)  # stable
    ordered = rows[order]
    return order[np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(rows)]]
