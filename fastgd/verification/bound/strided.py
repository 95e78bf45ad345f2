"""The check of rows that are several epochs apart: every k-th row, or the last one alone.

From each OBSERVED row the steps to the next one are taken in extended precision. The observed next
row may differ from their end by the bound of these steps together (batches.py), each on all
samples. So nothing is gathered from one recorded row to the next.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .batches import BatchSteps, Rule, Step
from .yardstick import Array, share_of

__all__ = ["strided_shares"]

_PLAIN = Rule()


def strided_shares(
    X: Any, y: Any, rows: Any, at: Array, *, lr: Any, reduction: str, dtype: Any, intercept: bool, held_higher: bool, limit: float,
    rule: Rule = _PLAIN, factor: float = 1.0,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the share of the bound that w of each row uses, and the w expected, (m, D) each.

    NaN: not judged, as row 0 is not, and rows from the first one on that may overflow, or that
    comes after one beyond `limit`.

    at: (m,) int, the epoch of each row. lr: the learning rate, or one per epoch. factor: on the
    gradient of the data.
    """
    steps = BatchSteps(X, y, None, reduction=reduction, dtype=dtype, intercept=intercept, held_higher=held_higher)
    known = steps.on(None)
    assert known is not None  # all samples count
    w = known[0].parameters(rows, "w_history", rows=True)
    rates = np.broadcast_to(np.asarray(lr, np.float64), (int(at[-1]),))
    # A state in float64 takes a rate as it is, which matters where that underflows in float32.
    rates = rates if held_higher else rates.astype(dtype).astype(np.float64)
    plan = [[Step(None, float(rate), factor) for rate in rates[begin:end]] for begin, end in pairwise(at)]
    ends = steps.ends(w, plan, rule, limit=limit)
    shares, expected = np.full(w.shape, np.nan), np.concatenate([w[:1], ends.value])
    for i in range(ends.judged):
        shares[i + 1] = share_of(w[i + 1] - ends.value[i], ends.error[i])
        if (shares[i + 1] > limit).any():
            break
    return shares, expected
