"""Which fits of a call `summary()` can explain: those whose curvatures are noted.

1. Eigenvalues of all fits would take longer than everything else that is told of an end. So at most
   MOST fits are looked at, and `summary` computes their eigenvalues when it is asked for.
2. Which fits depends on shapes and options alone: they are spread evenly over the numbers of all
   fits, in the order of computation. So threads and chunks find the same, and a chunk tests few.
"""

from __future__ import annotations

import functools

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from .plan import Plan

MOST = 512  # fits of a call that are looked at
MOST_NUMBERS = 2**17  # that are kept: 1 MiB
LEAST_LIMIT = 2**24  # bytes: with a smaller memory_limit nothing is kept
LIMITED_BYTES = 2**14  # with a memory_limit, of which OF_A_CALL (planning/memory.py) has room for them
_GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, lie evenly, and no grid of hyperparameters is in step with them


def explained_fits(problem: Problem, order: FitOrder, plan: Plan, n_values: int, limit: int | None) -> np.ndarray:
    """(k,) int64: numbers of the fits that are looked at, ascending.

    n_values: hyperparameters and derived values of a fit. limit: the memory_limit, in bytes.
    """
    if not plan.needs_moments or (limit is not None and limit < LEAST_LIMIT):
        return np.zeros(0, np.int64)
    size = problem.n_parameters
    numbers = size * (size + 1) // 2 + size + 2 + n_values
    most = min(MOST, MOST_NUMBERS // numbers)
    if limit is not None:
        most = min(most, LIMITED_BYTES // (8 * numbers))
    return spread_over(order.n_fits, most)


@functools.lru_cache(16)  # a call of some hundred fits takes as long
def spread_over(n_fits: int, most: int) -> np.ndarray:
    """(≤ most,) int64: numbers from 0 to n_fits - 1, ascending: all, or some at even distances."""
    found = np.arange(min(n_fits, most), dtype=np.int64)
    if n_fits > most:
        found = np.unique((found * _GOLDEN % 1.0 * n_fits).astype(np.int64))
    found.flags.writeable = False
    return found
