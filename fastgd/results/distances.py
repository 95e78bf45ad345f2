"""Which fits ended far from the least loss, or above their start: what is said of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.chunk import DIVERGED, INVALID_DATA, TOO_FEW_SAMPLES

FAR = 0.01  # of the loss: a larger excess is told of
_GROWN = 2.0  # times the excess at the start: a larger one is told of
_ORDINARY = (2.0**-60, 2.0**60)  # rates beyond belong to data near the ends of the dtype, which overflow at any rate
FEW = 16  # fits: up to here a loop in Python is faster than NumPy
_EPS = {4: 2.0**-23, 8: 2.0**-52}  # of a loss, by its bytes


class Ends(NamedTuple):
    """Where the descents of some fits ended; all arrays but w are (m,)."""

    loss: np.ndarray  # in the dtype of the data
    excess: np.ndarray
    initial_excess: np.ndarray
    lr: np.ndarray
    epochs: np.ndarray
    status: np.ndarray
    w: np.ndarray  # (m, n_parameters), as the state has it
    optimizer: str
    start: str  # as FitResult._start
    penalised: bool

    def made(self) -> np.ndarray:
        """(m,) bool: which fits were made, that is had numbers, and enough of them."""
        return ~np.isin(self.status, (INVALID_DATA, TOO_FEW_SAMPLES))


class Distances(NamedTuple):
    """(m,) bool each. Far is more than 1 % of the loss; much worse is grown hundredfold."""

    known: np.ndarray  # whose excess is
    far: np.ndarray
    worse: np.ndarray  # above its start
    much_worse: np.ndarray
    lost: np.ndarray  # overflowed, and not from the first row


def distances(ends: Ends) -> Distances:
    """How far from the least loss fits ended.

    Nothing is said of an excess that may be rounding, of the start of a state, which may be that of
    other data, and of a fit that overflowed where it began.
    """
    made, start, rate = ends.made(), ends.initial_excess, ends.lr
    no = np.zeros_like(made)
    loss, excess = ends.loss.astype(np.float64), ends.excess.astype(np.float64)
    eps, size = float(np.finfo(ends.loss.dtype).eps), ends.w.shape[-1]
    known = made & ~np.isnan(excess)
    with np.errstate(all="ignore"):
        scale = _scale(ends, loss)
        far = known & (excess > FAR * loss) & (excess > eps * scale) & (not ends.penalised)
        moved = made & (ends.epochs >= 1) & np.isfinite(start)
        lost = moved & (ends.status == DIVERGED) & (rate > _ORDINARY[0]) & (rate < _ORDINARY[1])
        if ends.start not in ("zero", "given"):
            return Distances(known, far, no, no, lost)
        grown = moved & known & (start > 0.0) & (excess > _GROWN * start + eps * (64.0 * loss + (size + 1) * scale))
        gone = lost & ~np.isfinite(loss)  # a fit that returned to its best epoch has a loss
        return Distances(known, far, grown | gone, grown & (excess > 100.0 * start) | gone, lost)


def not_near(loss: np.ndarray, excess: np.ndarray, initial_excess: np.ndarray, status: np.ndarray, from_zero: bool) -> np.ndarray:
    """Positions of all fits whose end may have to be explained, and of some others; quickly.

    from_zero: all descents began at zero.
    """
    rounding = _EPS[loss.itemsize] if from_zero else 0.0
    if len(loss) <= FEW:
        ends = zip(loss.tolist(), excess.tolist(), initial_excess.tolist(), status.tolist(), strict=True)
        found = [k for k, (of, now, start, what) in enumerate(ends) if _may_be_told(of, now, start, what, rounding)]
        return np.array(found, np.int64)
    with np.errstate(all="ignore"):
        excess = excess.astype(np.float64, copy=False)
        ends_near = (excess <= np.multiply(loss, FAR, dtype=np.float64)) | (excess <= rounding * initial_excess)
        near = ends_near & (excess <= _GROWN * initial_excess) | np.isnan(excess) & (status != DIVERGED)
    return np.flatnonzero(~near)


def _may_be_told(loss: float, excess: float, initial_excess: float, status: int, rounding: float) -> bool:
    """`not_near` of one fit."""
    if excess != excess:  # NaN: it is not known, or overflowed
        return status == DIVERGED
    return not ((excess <= FAR * loss or excess <= rounding * initial_excess) and excess <= _GROWN * initial_excess)


def _scale(ends: Ends, loss: np.ndarray) -> Any:
    """(m,): not much less than the mean square of y and of each term of the prediction.

    Of a descent from zero it is its first loss. Of SGD at a rate that is not too large it follows
    from w: λ_max |w|² bounds the terms, and the rate is about 2/λ_max or less. Of others it is not
    known: inf.
    """
    if ends.start == "zero":
        return ends.initial_excess + loss
    if ends.start not in ("given", "state") or ends.optimizer != "sgd":
        return np.inf
    squares = np.square(ends.w).sum(axis=-1)
    return np.where(squares == 0.0, 0.0, squares / ends.lr) + loss
