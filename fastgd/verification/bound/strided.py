"""The check of rows that are several epochs apart: every k-th row, or the last one alone.

From each OBSERVED row the steps to the next one are taken in extended precision. The observed next
row may differ from their end by the propagated bound (propagated.py): each step adds ℓ of
`check_step`, which the later ones carry on. So nothing is gathered from one recorded row to the
next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .propagated import propagated_bound
from .yardstick import Array, Yardstick, share_of

__all__ = ["strided_shares"]


def strided_shares(
    X: Any, y: Any, rows: Any, at: Array, *, lr: Any, reduction: str, dtype: Any, intercept: bool, held_higher: bool, limit: float
) -> Array:
    """Return the share of the propagated bound that w of each row uses, (m, D) float64.

    NaN: not judged, as row 0 is not, and rows from the first one on that may overflow, or that
    comes after one beyond `limit`.

    at: (m,) int, the epoch of each row. lr: the learning rate, or one per epoch.
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, held_higher=held_higher)
    w = yardstick.parameters(rows, "w_history", rows=True)
    rates = np.broadcast_to(np.asarray(lr, np.float64), (int(at[-1]),))
    # A state in float64 takes a rate as it is, which matters where that underflows in float32.
    rates = yardstick.extended(rates if held_higher else rates.astype(dtype))
    shares = np.full(w.shape, np.nan)
    with np.errstate(all="ignore"):
        for i in range(len(w) - 1):
            rate = rates[at[i] : at[i + 1]]
            path = [w[i]]
            for step in rate:
                path.append(path[-1] - step * yardstick.measure(path[-1][None]).gradient[0])
            bounds, _ = propagated_bound(
                X, y, np.stack(path), lr=rate, reduction=reduction, dtype=dtype, intercept=intercept, held_higher=held_higher
            )
            if not np.isfinite(bounds[-1]).all():
                break
            shares[i + 1] = share_of(w[i + 1] - path[-1], bounds[-1])
            if (shares[i + 1] > limit).any():
                break
    return shares
