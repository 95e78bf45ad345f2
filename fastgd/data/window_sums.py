"""Sums over windows of a series, which are only added: for fit_rolling().

1. The moments of a window are the sum over the end of one block of `window` samples and the
   beginning of the next (two stacks). Both are running sums inside the block, in double-double, so
   nothing is ever subtracted: no drift, and no cancellation. Products of two float64 are exact.
2. Running sums are made in two levels where a block is long: inside pieces of about √length, then
   over the totals of the pieces. All blocks of a chunk are summed together; chunks are so small
   that their numbers stay below CHUNK.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .double_double import DoubleDouble, add, two_product

Array = np.ndarray
CHUNK = 2**17  # samples whose moments are summed at a time
LONG = 256  # samples of a block that are summed one after the other; more in two levels


@dataclass
class Series:
    """m series of n samples, in float64, columns scaled by powers of two.

    m: leading axes of the call, then groups.
    """

    X: Array  # (m or 1, n, D), the ones of an intercept last; 0 where a sample is left out
    y: Array  # (m, n)
    weights: Array | None  # (m, n), scaled
    there: Array  # (m, n) bool: the sample is used
    bad: Array  # (m, n) bool: it is not finite
    exponents: Array  # (m, D + 1)
    of_weights: Array  # (m,): weights are divided by 2^this
    least: Array  # (m,): the least weight

    @property
    def n_entries(self) -> int:
        """Numbers of the sums of a window: XᵀX, Xᵀy and yᵀy, Σω, samples used, samples invalid."""
        size = self.X.shape[-1]
        return size * (size + 1) // 2 + size + 1 + 3


def _products(series: Series, which: slice, first: int, stop: int) -> DoubleDouble:
    """(samples, series, entries) of samples first … stop-1; zeros beyond the last one."""
    n, size = series.y.shape[1], series.X.shape[2]
    end = min(stop, n)
    X = series.X[which if len(series.X) > 1 else slice(0, 1), first:end].transpose(1, 0, 2)
    y = series.y[which, first:end].T
    found = np.zeros((2, stop - first, y.shape[1], series.n_entries))
    i, j = np.array([(i, j) for j in range(size) for i in range(j + 1)]).T
    columns = np.concatenate([np.broadcast_to(X, (*y.shape, size)), y[..., None]], axis=2)
    left = np.concatenate([i, np.arange(size + 1)])
    right = np.concatenate([j, np.full(size + 1, size)])
    here, count = slice(0, end - first), len(left)
    if series.weights is None:
        found[0, here, :, :count], found[1, here, :, :count] = two_product(columns[..., left], columns[..., right])
    else:
        weights = series.weights[which, first:end].T[..., None]
        weighed = DoubleDouble(*two_product(weights, columns))
        whole = weighed[..., right] * DoubleDouble(columns[..., left], np.zeros((*y.shape, count)))
        found[0, here, :, :count], found[1, here, :, :count] = whole.high, whole.low
    there = series.there[which, first:end].T
    found[0, here, :, count] = there if series.weights is None else series.weights[which, first:end].T
    found[0, here, :, count + 1], found[0, here, :, count + 2] = there, series.bad[which, first:end].T
    return DoubleDouble(found[0], found[1])


def running_sums(values: DoubleDouble) -> None:
    """Replace values (n, …) by their sums from the first one on, in place."""
    n = len(values.high)
    if n <= LONG:
        for place in range(1, n):
            values[place] = values[place] + values[place - 1]
        return
    piece = math.isqrt(n)
    whole = n // piece * piece
    shape = (whole // piece, piece, *values.high.shape[1:])
    pieces = DoubleDouble(values.high[:whole].reshape(shape), values.low[:whole].reshape(shape))
    for place in range(1, piece):
        pieces[:, place] = pieces[:, place] + pieces[:, place - 1]
    totals = pieces[:, -1].copy()
    running_sums(totals)
    for place in range(piece):
        pieces[1:, place] = pieces[1:, place] + totals[:-1]
    for place in range(whole, n):  # fewer than one piece
        values[place] = values[place] + values[place - 1]


def rolling_sums(series: Series, starts: Array, window: int) -> Array:
    """(2, m, windows, entries): the sums of windows of equal length."""
    m, n = series.y.shape
    found = np.empty((2, m, len(starts), series.n_entries))
    some = max(1, min(m, CHUNK // (2 * window)))
    blocks = max(1, CHUNK // (some * window) - 1)
    for series_first in range(0, m, some):
        which = slice(series_first, min(series_first + some, m))
        for first in range(0, n, blocks * window):
            own = np.flatnonzero((starts >= first) & (starts < first + blocks * window))
            if not len(own):
                continue
            products = _products(series, which, first, first + (blocks + 1) * window)
            shape = (blocks + 1, window, *products.high.shape[1:])
            ends = DoubleDouble(*(part.reshape(shape).swapaxes(0, 1).copy() for part in (products.high, products.low)))
            begins = ends.copy()  # (window, blocks + 1, series, entries)
            running_sums(begins)
            running_sums(ends[::-1])
            block, offset = np.divmod(starts[own] - first, window)
            left = ends[offset, block]
            right = begins[np.maximum(offset - 1, 0), block + 1]
            total = left + right
            alone = offset == 0  # the window is a block
            total[alone] = left[alone]
            found[0, which, own], found[1, which, own] = total.high, total.low
    return found


def expanding_sums(series: Series, ends: Array) -> Array:
    """(2, m, windows, entries): the sums of all samples before these ends."""
    m, n = series.y.shape
    found = np.empty((2, m, len(ends), series.n_entries))
    some = max(1, min(m, CHUNK // n))
    length = max(1, CHUNK // some)
    for series_first in range(0, m, some):
        which = slice(series_first, min(series_first + some, m))
        before: DoubleDouble | None = None
        for first in range(0, n, length):
            sums = _products(series, which, first, min(first + length, n))
            running_sums(sums)
            if before is not None:
                sums = DoubleDouble(*add(sums.high, sums.low, before.high, before.low))
            before = sums[-1].copy()
            own = np.flatnonzero((ends > first) & (ends <= first + length))
            here = sums[ends[own] - first - 1]
            found[0, which, own], found[1, which, own] = here.high, here.low
    return found
