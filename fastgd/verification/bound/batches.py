"""The check of steps that each use some of the samples, and of sample weights.

From each OBSERVED row the steps to the next one are taken in extended precision, each on its batch.
With A_k = I − s_k lr_k G_k, the step k of K, the observed row may differ from their end by

    Σ_k |A_K … A_{k+1}| ℓ_k

ℓ_k of `check_step` on that batch; what the differences change in ℓ_k is of second order. For one
step it is the bound of `check_step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .yardstick import Array, Yardstick, share_of

__all__ = ["BatchSteps"]


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

    def end(self, w: Array, steps: Sequence[tuple[Array | None, Any]]) -> tuple[Array, Array] | None:
        """Return w (D,) after these steps, (batch, rate) each, and how far rounding may move it.

        None: a step may overflow.
        """
        made = []
        for batch, rate in steps:
            known = self.on(batch)
            if known is None:
                continue
            yardstick, moments = known
            rows = yardstick.measure(w[None])
            lr = yardstick.extended(np.full(1, rate))
            expected, bound = rows.step(lr, yardstick)
            if not rows.step_inside(lr, expected, yardstick)[0]:
                return None
            made.append((bound[0], yardstick.scale * lr[0] * moments))
            w = expected[0]
        after = np.eye(len(w), dtype=w.dtype)  # A_K … A_{k+1}
        total = np.zeros_like(w)
        for bound, pull in reversed(made):
            total += np.abs(after) @ bound
            after = after - after @ pull
        return w, total

    def shares(self, rows: Any, plan: Sequence[Sequence[tuple[Array | None, Any]]], limit: float) -> Array:
        """Return the share of the bound that w of each row uses, (m, D) float64.

        NaN: not judged, as row 0 is not, and rows from the first on that may overflow, or that
        comes after one beyond `limit`. plan: the steps from each row to the next.
        """
        known = next(found for found in (self.on(batch) for steps in plan for batch, _ in steps) if found is not None)
        w = known[0].parameters(rows, "w_history", rows=True)
        shares = np.full(w.shape, np.nan)
        with np.errstate(all="ignore"):
            for i, steps in enumerate(plan[: len(w) - 1]):
                found = self.end(w[i], steps)
                if found is None or not np.isfinite(found[1]).all():
                    break
                shares[i + 1] = share_of(w[i + 1] - found[0], found[1])
                if (shares[i + 1] > limit).any():
                    break
        return shares
