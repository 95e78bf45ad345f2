"""The objective of one fit, and what of it is asked (docs/arithmetic.md, section 10)."""

from __future__ import annotations

import math

import numpy as np

from ..simd.compiling import inlined
from ..simd.lanes import fma


@inlined
def objective_of(loss, w, penalty, n_decayed):
    """F(w), float64: the loss, and penalty · Σ w² of the first parameters where that is not 0."""
    result = np.float64(loss)
    if penalty != 0.0:
        total = 0.0
        for j in range(n_decayed):
            own = np.float64(w[j])
            total = fma(own, own, total)
        result = fma(penalty, total, result)
    return result


@inlined
def target_of(least, allowance, initial, tol):
    """What the objective must not pass where a fit has converged; NaN: it does not converge."""
    if not (tol >= 0.0 and math.isfinite(initial)):
        return math.nan
    share = tol * initial
    return least + (allowance if share < allowance else share)


@inlined
def excess_of(objective, least):
    """By how much the objective is above its least value; NaN where one is."""
    excess = objective - least
    return 0.0 if excess < 0.0 else excess
