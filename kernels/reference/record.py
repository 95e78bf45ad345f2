"""What a reference notes of a descent: the rows of its history, its status, and whether it goes on.

1. The references differ in how they compute a row. What a row means and when a descent ends is said
   once, here.
2. Whether w is finite needs no check of its own: whatever x is, x · inf is infinite or NaN, so a w
   that is not finite makes every prediction, and with it the loss, not finite.
3. A fit that is cancelled leaves its state as it was; its history may be half written.
"""

from __future__ import annotations

import math

import numpy as np

from ..chunk import COMPLETED, CONVERGED, DIVERGED, Chunk


class Record:
    """The record of one fit of a chunk: ask `goes_on` after each loss; at the end, `cancelled`."""

    __slots__ = (
        "algorithm",
        "cancel",
        "cancelled",
        "chunk",
        "epochs_run",
        "excess",
        "finite",
        "fit",
        "initial",
        "least",
        "penalty",
        "progress",
        "status",
        "steps",
        "target",
    )

    def __init__(self, chunk: Chunk, fit: int, algorithm: int, cancel: np.ndarray, progress: np.ndarray) -> None:
        self.chunk = chunk
        self.fit = fit
        self.algorithm = algorithm
        self.cancel = cancel  # (1,) int32: not 0 = stop
        self.progress = progress  # (1,) int64: epochs done
        self.steps = 1  # of an epoch
        self.status = int(chunk.status[fit])
        self.finite = self.status != DIVERGED  # a state remembers that it had a row that was not finite
        self.epochs_run = chunk.epochs if self.finite else 0
        self.cancelled = False
        self.penalty, self.least, self.initial, self.excess = 0.0, math.nan, math.nan, math.nan  # κ, F*, F(w_0) − F*, F(w) − F*
        if len(chunk.excess):
            self.penalty, self.least, self.initial = (float(part[fit]) for part in (chunk.penalty, chunk.least, chunk.initial_excess))
        self.target = self._target()

    def goes_on(self, epoch: int, loss: float, w: np.ndarray, intercept: np.ndarray | float) -> bool:
        """Note this epoch's row, with the loss AT w (d,) and intercept; tell whether to go on."""
        if self.cancel[0]:
            self.cancelled = True
            return False
        chunk = self.chunk
        loss = float(loss)
        objective = loss + self.penalty * _sum_of_squares(w, 0.0 if chunk.free_intercept else intercept) if self.penalty else loss
        if epoch == 0 and math.isnan(self.initial):
            self.initial = objective - self.least
            self.target = self._target()
        self.excess = max(objective - self.least, 0.0)
        if self.status == CONVERGED:  # before this descent began
            self.epochs_run = 0
            return self._end(epoch, loss, w, intercept)
        if not math.isfinite(loss):
            if self.finite:
                self.finite = False
                self.epochs_run = epoch
                if self.status == COMPLETED:
                    self.status = DIVERGED  # and the descent goes on
        elif self.status == COMPLETED and epoch > 0 and objective <= self.target:
            self.status = CONVERGED
            self.epochs_run = epoch
            return self._end(epoch, loss, w, intercept)
        if epoch == chunk.epochs:
            return self._end(epoch, loss, w, intercept)
        if chunk.every and epoch % chunk.every == 0:
            row = epoch // chunk.every
            self._put(chunk.history_w[self.fit, row], w, intercept)
            chunk.history_loss[self.fit, row] = loss
        self.progress[0] += 1
        return True

    def _target(self) -> float:
        """What the objective must not pass where the fit has converged; NaN: it does not converge.

        docs/arithmetic.md, section 10.
        """
        tol = float(self.chunk.tol)
        if not (tol >= 0.0 and math.isfinite(self.initial)):
            return math.nan
        return self.least + max(tol * self.initial, float(self.chunk.allowance[self.fit]))

    def _end(self, epoch: int, loss: float, w: np.ndarray, intercept: np.ndarray | float) -> bool:
        """Write the results and the state; rows from this epoch on are this row."""
        chunk, fit = self.chunk, self.fit
        if chunk.every:
            rest = -(-epoch // chunk.every)  # the first row at or after this epoch
            self._put(chunk.history_w[fit, rest:], w, intercept)
            chunk.history_loss[fit, rest:] = loss
        self._put(chunk.w_out[fit], w, intercept)
        self._put(chunk.w[fit], w, intercept)
        chunk.loss[fit] = loss
        if len(chunk.excess):
            chunk.initial_excess[fit], chunk.excess[fit] = self.initial, self.excess
        chunk.status[fit] = self.status
        chunk.epochs_run[fit] = self.epochs_run
        chunk.steps[fit] += epoch * self.steps
        batches = chunk.batches
        if batches is not None:
            batches.passes[fit] += epoch
            chunk.batch_loss[fit, epoch:] = math.nan
        chunk.algorithm[fit] = self.algorithm
        self.progress[0] += chunk.epochs - epoch
        return False

    def _put(self, target: np.ndarray, w: np.ndarray, intercept: np.ndarray | float) -> None:
        if self.chunk.intercept:
            target[..., :-1] = w
            target[..., -1] = intercept
        else:
            target[...] = w


def _sum_of_squares(w: np.ndarray, intercept: np.ndarray | float) -> float:
    with np.errstate(over="ignore"):  # of a fit that diverges
        return float(np.square(w, dtype=np.float64).sum() + np.square(intercept, dtype=np.float64))
