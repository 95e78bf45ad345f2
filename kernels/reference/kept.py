"""Which samples each fit uses, in NumPy: the references run where no kernel can be compiled."""

from __future__ import annotations

import math

import numpy as np

from ..chunk import FINE, NEGATIVE, NOT_FINITE, Samples

BLOCK = 8192  # samples that are looked at at a time: their masks stay small


def find_kept(samples: Samples, omit: bool, check_finite: bool, cancel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out samples of weight 0, and with check_finite those that are not finite.

    Fills `kept`, `kept_index` and `n_used` of the samples. Returns, for each fit, what is wrong
    with its weights (FINE, NEGATIVE, NOT_FINITE), and (m, 2) the least and the largest weight.
    """
    m, n = len(samples.n_used), samples.X.shape[1]
    kept, spread, faults = np.empty((m, n), np.int32), np.ones((m, 2)), np.full(m, FINE, np.int8)
    for fit in range(m):
        count, least, largest = 0, math.inf, 0.0
        for first in range(0, n, BLOCK):
            if cancel[0]:
                return faults, spread
            rows = slice(first, first + BLOCK)
            stays, weights = np.ones(len(range(n)[rows]), bool), None
            if len(samples.weights):
                weights = samples.weights[samples.weight_index[fit], rows].astype(np.float64)
                faults[fit] = max(faults[fit], _fault(weights, omit), key=(FINE, NOT_FINITE, NEGATIVE).index)
                stays &= (weights != 0) & (np.isfinite(weights) | (not omit))
            if check_finite:
                stays &= np.isfinite(samples.y[samples.y_index[fit], rows])
                stays &= np.isfinite(samples.X[samples.x_index[fit], rows]).all(axis=1)
            used = np.flatnonzero(stays)
            kept[fit, count : count + len(used)] = first + used
            count += len(used)
            if weights is not None and len(used):
                least, largest = min(least, weights[used].min()), max(largest, weights[used].max())
        samples.n_used[fit] = count
        if len(samples.weights) and count:
            spread[fit] = least, largest
    samples.keep_only(kept)
    return faults, spread


def _fault(weights: np.ndarray, omit: bool) -> int:
    """What is wrong with some weights; what is not finite is left out with omit, so nothing is."""
    if ((weights < 0) & (weights > -math.inf)).any():
        return NEGATIVE
    return FINE if omit or np.isfinite(weights).all() else NOT_FINITE
