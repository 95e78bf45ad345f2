"""The check of steps that each use some of the samples, and of sample weights.

From each OBSERVED row the steps to the next one are taken in extended precision, each on its batch.
With A_k = I − s_k lr_k G_k, the step k of K, the observed row may differ from their end by

    Σ_k |A_K … A_{k+1}| ℓ_k

ℓ_k of `check_step` on that batch; what the differences change in ℓ_k is of second order. For one
step it is the bound of `check_step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastgd.kernels.forks import lapack

from .yardstick import Array, Yardstick, share_of

__all__ = ["BatchSteps"]


class Path(NamedTuple):
    """Steps in extended precision, from an observed row."""

    rows: list[Array]  # (D,): w before each step, and after them all
    local: list[Array]  # ℓ of each step
    pulls: list[Array]  # s lr G of each step

    def error(self) -> Array:
        """Return how far rounding may move the end."""
        after = np.eye(len(self.rows[0]), dtype=self.rows[0].dtype)  # A_K … A_{k+1}
        total = np.zeros_like(self.rows[0])
        for bound, pull in zip(reversed(self.local), reversed(self.pulls), strict=True):
            total += np.abs(after) @ bound
            after = after - after @ pull
        return total

    @lapack
    def reach(self) -> list[float]:
        """Return how far, in the Euclidean norm, rounding may move w before each step."""
        off, found = 0.0, []
        for bound, pull in zip(self.local, self.pulls, strict=True):
            found.append(off)
            size = np.abs(np.linalg.eigvalsh(np.eye(len(pull)) - pull.astype(np.float64))).max()
            off = float(size * off + np.sqrt((bound * bound).sum()))
        return found


class BatchSteps:
    """Steps on batches of the samples of one fit.

    A batch is an array of the numbers of its samples; None stands for all samples.
    """

    def __init__(
        self, X: Array, y: Array, weights: Array | None, *, reduction: str, dtype: Any, intercept: bool, held_higher: bool
    ) -> None:
        self.X, self.y, self.weights = X, y, weights
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
                yardstick = Yardstick(self.X[rows], self.y[rows], options["reduction"], options["dtype"], options["intercept"], weights,
                                      held_higher=options["held_higher"])  # fmt: skip
                self._known[key] = yardstick, yardstick.second_moments()
        return self._known[key]

    def with_weights(self, weights: Array) -> BatchSteps:
        """Return the same with other weights of the samples."""
        return BatchSteps(self.X, self.y, weights, **self._options)

    def size(self, batch: Array | None) -> float:
        """Return what the mean of a batch is divided by: the sum of its weights, or its number."""
        known = self.on(batch)
        return 0.0 if known is None else float(known[0].total)

    def path(self, w: Array, steps: Sequence[tuple[Array | None, Any]], decay: Array | None = None) -> Path | None:
        """Return w (D,) before each of these steps, (batch, rate) each, and after them all.

        None: a step may overflow. decay: (D,), times w it is added to each gradient.
        """
        rows: list[Array] = [w]
        local: list[Array] = []
        pulls: list[Array] = []
        for batch, rate in steps:
            known = self.on(batch)
            if known is None:  # a batch without a weight makes no step
                rows, local, pulls = [*rows, w], [*local, np.zeros_like(w)], [*pulls, np.zeros((len(w),) * 2, w.dtype)]
                continue
            yardstick, moments = known
            at = yardstick.measure(w[None])
            lr = yardstick.extended(np.full(1, rate))
            expected, bound = at.step(lr, yardstick)
            if not at.step_inside(lr, expected, yardstick)[0]:
                return None
            pull = yardstick.scale * lr[0] * moments
            if decay is not None:
                shrunk = lr[0] * decay * w
                expected, bound, pull = expected - shrunk, bound + 3 * yardstick.u * np.abs(shrunk), pull + np.diag(lr[0] * decay)
            w = expected[0]
            rows, local, pulls = [*rows, w], [*local, bound[0]], [*pulls, pull]
        return Path(rows, local, pulls)

    def end(self, w: Array, steps: Sequence[tuple[Array | None, Any]], decay: Array | None = None) -> tuple[Array, Array] | None:
        """Return w (D,) after these steps, and how far rounding may move it.

        None: a step may overflow.
        """
        path = self.path(w, steps, decay)
        return None if path is None else (path.rows[-1], path.error())

    def added_up(self, w: Array, steps: Sequence[tuple[Array | None, Any]], total: Array) -> tuple[Array, Array, Array] | None:
        """Return w after steps that take the sum of all gradients so far, its error, and the sum.

        total: (2, D), what was gathered before, and its error. To the first order an error of w
        goes into every later gradient.
        """
        off = np.zeros_like(w)
        for batch, rate in steps:
            known = self.on(batch)
            if known is not None:
                yardstick, moments = known
                at = yardstick.measure(w[None])
                total = total + np.stack([at.gradient[0], at.gradient_error[0] + yardstick.scale * (np.abs(moments) @ off)])
                move = yardstick.extended(rate) * total[0]
                off = (
                    off
                    + np.abs(yardstick.extended(rate)) * total[1]
                    + yardstick.u * (4 * np.abs(move) + np.abs(w - move))
                    + 2 * yardstick.eta
                )
                w = w - move
                if not (np.abs(w) <= yardstick.w_limit).all():
                    return None
        return w, off, total

    def shares(
        self, rows: Any, plan: Sequence[Sequence[tuple[Array | None, Any]]], limit: float, decay: Array | None = None,
        new_sum: Sequence[bool] | None = None, telling: bool = False,
    ) -> Array:  # fmt: skip
        """Return the share of the bound that w of each row uses, (m, D) float64.

        NaN: not judged, as row 0 is not, and rows from the first on that may overflow, or that
        comes after one beyond `limit`. plan: the steps from each row to the next. new_sum: each
        step takes the sum of all gradients since the last row where this is true. telling: rows
        from the first on whose bound is wider than w moves are not judged either: any w is there.
        """
        known = next(found for found in (self.on(batch) for steps in plan for batch, _ in steps) if found is not None)
        w = known[0].parameters(rows, "w_history", rows=True)
        shares, total = np.full(w.shape, np.nan), np.zeros((2, w.shape[1]), w.dtype)
        with np.errstate(all="ignore"):
            for i, steps in enumerate(plan[: len(w) - 1]):
                found: tuple[Array, ...] | None
                if new_sum is None:
                    found = self.end(w[i], steps, decay)
                else:
                    found = self.added_up(w[i], steps, np.zeros_like(total) if new_sum[i] else total)
                if found is None or not np.isfinite(found[1]).all():
                    break
                if telling and limit * found[1].max() > np.abs(w[i + 1] - w[i]).max():
                    break
                total = found[-1] if new_sum is not None else total
                shares[i + 1] = share_of(w[i + 1] - found[0], found[1])
                if (shares[i + 1] > limit).any():
                    break
        return shares
