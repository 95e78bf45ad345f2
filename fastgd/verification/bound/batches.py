"""The check of steps that each use some of the samples, with momentum and sample weights.

1. From each OBSERVED row the steps to the next one are taken in extended precision, each on its
   batch. A step is linear in its state z, which is w, or (w, v) where there is a momentum buffer v:
   z ← A_k z + c_k. With A_k of step k of K, the observed row may differ from their end by

       Σ_k |A_K … A_{k+1}| ℓ_k

   ℓ_k is that of `check_step` on that batch, and as many roundings more as the buffer has; what the
   differences change in ℓ_k is of second order. For one step it is the bound of `check_step`.
2. Rows do not show v. It is that of the steps before, which are taken from observed rows, and its
   own error goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastgd.kernels.forks import lapack

from .yardstick import Array, Yardstick

__all__ = ["BatchSteps", "Ends", "Rule", "Step"]


class Step(NamedTuple):
    """One step: the samples that it uses, None for all, its rate, and a factor on its gradient."""

    batch: Array | None
    rate: float
    factor: float = 1.0


class Rule(NamedTuple):
    """What a step makes of its gradient: SGD's options."""

    momentum: Any = 0.0
    dampening: float = 0.0
    weight_decay: Any = 0.0  # or (D,): of each parameter
    nesterov: bool = False
    maximize: bool = False


class Ends(NamedTuple):
    """Where the steps from each row end, and how far rounding may move it."""

    value: Array  # (T, D)
    error: Array  # (T, D); inf: it is not known
    judged: int  # rows before the first step that may overflow


class Path(NamedTuple):
    """Steps in extended precision, from an observed row."""

    states: list[Array]  # (D,) or (2D,): before each step, and after them all
    local: list[Array]  # ℓ of each step
    turns: list[Array]  # A of each step

    @lapack
    def error(self, before: Array) -> Array:
        """Return how far rounding may move the end; before: how far its beginning."""
        after = np.eye(len(before), dtype=before.dtype)  # A_K … A_{k+1}
        total = np.zeros_like(before)
        for bound, turn in zip(reversed(self.local), reversed(self.turns), strict=True):
            total += np.abs(after) @ bound
            after = after @ turn
        return total + np.abs(after) @ before

    @lapack
    def reach(self) -> list[float]:
        """Return how far, in the Euclidean norm, rounding may move w before each step."""
        off, found = 0.0, []
        for bound, turn in zip(self.local, self.turns, strict=True):
            found.append(off)
            off = float(np.linalg.norm(turn.astype(np.float64), 2) * off + np.sqrt((bound * bound).sum()))
        return found


class BatchSteps:
    """Steps on batches of the samples of one fit.

    A batch is an array of the numbers of its samples; None stands for all samples.
    """

    def __init__(
        self, X: Array, y: Array, weights: Array | None, *, reduction: str, dtype: Any, intercept: bool, held_higher: bool
    ) -> None:
        self.X, self.y, self.weights, self.reduction = X, y, weights, reduction
        self._options: dict[str, Any] = {"reduction": reduction, "dtype": dtype, "intercept": intercept, "held_higher": held_higher}
        self._known: dict[bytes | None, tuple[Yardstick, Array] | None] = {}

    def on(self, batch: Array | None) -> tuple[Yardstick, Array] | None:
        """Return (the yardstick, the second moments) of a batch; None: all its weights are 0."""
        key = None if batch is None else batch.tobytes()
        if key not in self._known:
            rows = slice(None) if batch is None else batch
            weights = None if self.weights is None else self.weights[rows]
            if weights is not None and not (weights != 0).any():
                self._known[key] = None
            else:
                options = self._options
                yardstick = Yardstick(
                    self.X[rows], self.y[rows], self.reduction.removeprefix("half_"), options["dtype"], options["intercept"],
                    weights, held_higher=options["held_higher"],
                )  # fmt: skip
                self._known[key] = yardstick, yardstick.second_moments()
        return self._known[key]

    def with_weights(self, weights: Array) -> BatchSteps:
        """Return the same with other weights of the samples."""
        return BatchSteps(self.X, self.y, weights, **self._options)

    def size(self, batch: Array | None) -> float:
        """Return what the mean of a batch is divided by: the sum of its weights, or its number."""
        known = self.on(batch)
        return 0.0 if known is None else float(known[0].total)

    def path(self, state: Array, steps: Sequence[Step], rule: Rule, anew: bool = True) -> Path | None:
        """Return the states before each of these steps, and after them all.

        None: a step may overflow. state: w (D,), or w and the buffer (2D,), which is not used where
        it begins anew.
        """
        path = Path([state], [], [])
        for step in steps:
            known = self.on(step.batch)
            if known is None:  # a batch without a weight makes no step
                made = state, np.zeros_like(state), np.eye(len(state), dtype=state.dtype)
            else:
                found = self._step(state, step, rule, anew, *known)
                if found is None:
                    return None
                made, anew = found, False
            state = made[0]
            for part, one in zip(path, made, strict=True):
                part.append(one)
        return path

    def _step(
        self, state: Array, step: Step, rule: Rule, first: bool, yardstick: Yardstick, moments: Array
    ) -> tuple[Array, Array, Array] | None:
        """Return the state after a step, ℓ, and A; None: it may overflow."""
        D, u, eta = yardstick.n_parameters, yardstick.u, yardstick.eta
        w, lr, one = state[:D], yardstick.extended(step.rate), np.eye(D, dtype=state.dtype)
        at = yardstick.measure(w[None])
        by = (-1 if rule.maximize else 1) * step.factor * (0.5 if self.reduction.startswith("half_") else 1)
        pull, slope = by * at.gradient[0], by * yardstick.scale * moments
        off = abs(by) * at.gradient_error[0] + (2 * u * np.abs(pull) if step.factor != 1 else 0)
        if np.any(rule.weight_decay):
            shrunk = rule.weight_decay * w
            pull, slope = pull + shrunk, slope + np.diag(rule.weight_decay * np.ones_like(w))
            off = off + u * (2 * np.abs(shrunk) + np.abs(pull)) + eta
        if len(state) == D:
            move, gathered, turn = pull, off, slope
        else:
            kept, used = (0, 1) if first else (rule.momentum, 1 - rule.dampening)
            before, move = kept * state[D:], kept * state[D:] + used * pull
            gathered = abs(used) * off + (0 if first else u * (2 * np.abs(before) + 2 * np.abs(used * pull) + np.abs(move)) + 2 * eta)
            turn = np.hstack([used * slope, kept * one])
        buffer, of_buffer, next_buffer = move, gathered, turn
        if rule.nesterov:
            move = pull + rule.momentum * buffer
            gathered = off + rule.momentum * of_buffer + u * (2 * np.abs(rule.momentum * buffer) + np.abs(move)) + eta
            turn = np.hstack([slope, 0 * one]) + rule.momentum * next_buffer
        end = w - lr * move
        if not (at.inside[0] and all((np.abs(part) <= yardstick.limit).all() for part in (lr * move, end, move, buffer))):
            return None
        bound = np.abs(lr) * gathered + 2 * u * np.abs(lr * move) + u * np.abs(end) + 2 * eta + yardstick.hidden(w)
        if len(state) == D:
            return end, bound, one - lr * turn
        of_w = np.hstack([one, 0 * one]) - lr * turn
        return np.append(end, buffer), np.append(bound, of_buffer), np.vstack([of_w, next_buffer])

    def ends(
        self, rows: Array, plan: Sequence[Sequence[Step]], rule: Rule, anew: Sequence[bool] | None = None, limit: float | None = None
    ) -> Ends:
        """Return where the steps of the plan end, from each of the rows (T + 1, D) but the last.

        anew: whether the buffer begins anew with the steps from each row; None: with the first.
        limit: of the bound; rows after the first that is beyond it are taken to stand still.
        """
        T, D = len(rows) - 1, rows.shape[1]
        value, error = np.array(rows[:-1]), np.zeros_like(rows[:-1])
        buffer = np.zeros((2, D if rule.momentum else 0), rows.dtype)  # and its error
        with np.errstate(all="ignore"):
            for i in range(T):
                begins = i == 0 if anew is None else anew[i]
                path = self.path(np.append(rows[i], buffer[0]), plan[i], rule, begins) if i < len(plan) else None
                off = None if path is None else path.error(np.append(np.zeros(D, rows.dtype), 0 * buffer[1] if begins else buffer[1]))
                if path is None or off is None or not np.isfinite(off).all():
                    error[i:] = np.inf
                    return Ends(value, error, i)
                value[i], error[i], buffer = path.states[-1][:D], off[:D], np.stack([path.states[-1][D:], off[D:]])
                if limit is not None and (np.abs(rows[i + 1] - value[i]) > limit * error[i]).any():
                    return Ends(value, error, T)
        return Ends(value, error, T)
