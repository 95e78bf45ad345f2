"""Which samples each fit uses, and where they lie in memory (docs/arithmetic.md, section 2).

1. Kernels take data of any layout without a copy: `data` is (X, X steps, y, y steps, weights,
   weights steps). Each array is flat; its steps are, in numbers, the place of the first number and
   the distances from item to item, from sample to sample, and for X from feature to feature. So one
   compiled kernel serves every layout. Without weights their array has length 0.
2. `index` is (x_index, y_index, weight_index, kept, kept_index) of the fits, as in
   kernels/chunk.py.
3. Inside the kernels both become `Sources`, bare addresses and numbers (simd/addresses.py says
   why), and `Place`, where the samples of one item begin.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...chunk import FINE, NEGATIVE, NOT_FINITE
from ..simd.addresses import address, count_at, keep_alive
from ..simd.compiling import inlined, kernel
from ..simd.double_double import two_sum
from ..simd.lanes import PART, absolute, fill, first_half, load_first, load_part
from ..simd.masks import as_bits, at_most
from ..simd.scalars import LARGEST_FLOAT64, get, put, raised

NUMBERS_PER_POLL = 2**18  # that are searched between two reads of the cancel flag


class Sources(NamedTuple):
    """The data and indices of all items, as addresses and numbers."""

    X: Any  # address
    x_length: Any  # numbers in memory from X on
    x_start: Any
    x_item: Any  # steps from item to item, from sample to sample, from feature to feature
    x_step: Any
    feature_step: Any
    y: Any  # address
    y_start: Any
    y_item: Any
    y_step: Any
    weights: Any  # address
    w_start: Any
    w_item: Any
    w_step: Any
    weighted: Any  # bool: whether there are weights
    kept: Any  # address of the lists of kept samples
    kept_length: Any  # of a list
    x_index: Any  # addresses
    y_index: Any
    weight_index: Any
    kept_index: Any


class Place(NamedTuple):
    """Where the samples of one item begin, in numbers from the addresses in `Sources`."""

    x: Any
    y: Any
    weights: Any
    kept: Any
    masked: Any  # bool: whether its list of kept samples counts; False: all samples are used


@inlined
def base_of(steps, item):
    """Where an item's first number lies."""
    return steps[0] + item * steps[1]


@inlined
def sources_of(data, index):
    """The Sources of `data` and `index`: see 1 and 2."""
    X, x_steps, y, y_steps, weights, w_steps = data
    x_index, y_index, weight_index, kept, kept_index = index
    return Sources(
        address(X), len(X), x_steps[0], x_steps[1], x_steps[2], x_steps[3],
        address(y), y_steps[0], y_steps[1], y_steps[2],
        address(weights), w_steps[0], w_steps[1], w_steps[2], len(weights) > 0,
        address(kept), kept.shape[1],
        address(x_index), address(y_index), address(weight_index), address(kept_index),
    )  # fmt: skip


@inlined
def place_of(sources, item):
    """The Place of an item."""
    row = count_at(sources.kept_index, item)
    weights = sources.w_start + count_at(sources.weight_index, item) * sources.w_item if sources.weighted else np.int64(0)
    x = sources.x_start + count_at(sources.x_index, item) * sources.x_item
    y = sources.y_start + count_at(sources.y_index, item) * sources.y_item
    return Place(x, y, weights, max(row, 0) * sources.kept_length, row >= 0)


@inlined
def _finite_bits(array, at, count):
    """Which of the numbers from `at` on, PART of them at most, are finite: bit k is number k."""
    numbers = load_part(array, at) if count >= PART else load_first(array, at, count)
    return as_bits(at_most(absolute(numbers), first_half(fill(LARGEST_FLOAT64))))


@inlined
def _are_finite(array, at, count):
    """Whether `count` numbers from `at` on are finite; count is a multiple of PART."""
    bits = (1 << PART) - 1
    for i in range(0, count, PART):
        bits &= _finite_bits(array, at + i, PART)
    return bits == (1 << PART) - 1


@inlined
def _keep_finite(X, x_base, x_step, feature_step, y, y_base, y_step, d, begin, end, kept, row, count):
    """Append those of samples begin … end-1 that are finite to a list of `count`; how many it has.

    Every sample is written, and counted if it stays: a branch that nobody foresees costs 20 clocks.
    Samples whose numbers lie together are first asked PART at a time whether all are finite.
    """
    i = begin
    while i < end:
        many, from_x, from_y = min(end - i, PART), x_base + i * x_step, y_base + i * y_step
        if x_step == 1 and y_step == 1:
            bits = _finite_bits(y, from_y, many)
            for j in range(d):
                bits &= _finite_bits(X, from_x + j * feature_step, many)
            for k in range(many):
                put(kept, row + count, np.int32(i + k))
                count += (bits >> k) & 1
        elif y_step == 1 and feature_step == 1 and x_step == d and many == PART and (
            _are_finite(y, from_y, PART) and _are_finite(X, from_x, PART * d)
        ):  # fmt: skip
            for k in range(PART):
                put(kept, row + count + k, np.int32(i + k))
            count += PART
        else:
            for k in range(many):
                stays = math.isfinite(get(y, from_y + k * y_step))
                for j in range(d):
                    stays = stays & math.isfinite(get(X, from_x + k * x_step + j * feature_step))
                put(kept, row + count, np.int32(i + k))
                count += np.int64(stays)
        i += many
    return count


@kernel
def find_kept(data, index, d, omit, check_finite, kept, n_used, spread, faults, cancel):
    """Find the samples that each fit uses: those whose weight is not 0.

    omit: a weight that is not finite drops its sample; check_finite: so do numbers of X and y that
    are not finite. n_used (m,) int64: how many samples each fit has, replaced by how many it uses.
    Fills kept (m, n) int32; faults (m,) int8: FINE, NEGATIVE or NOT_FINITE, of the weights; spread
    (m, 2) float64: the least and the largest weight that is used, 1 and 1 without weights.
    """
    X, x_steps, y, y_steps, weights, w_steps = data
    x_index, y_index, weight_index = index[0], index[1], index[2]
    weighted = len(weights) > 0
    piece = max(1, NUMBERS_PER_POLL // (d + 1))
    X_at, y_at, kept_at, width = address(X), address(y), address(kept), kept.shape[1]
    x_step, feature_step, y_step = x_steps[2], x_steps[3], y_steps[2]
    for f in range(len(n_used)):
        x_base, y_base = base_of(x_steps, x_index[f]), base_of(y_steps, y_index[f])
        w_base = base_of(w_steps, weight_index[f]) if weighted else 0
        n, count = n_used[f], 0
        weight = 1.0
        least, largest = math.inf, 0.0
        faults[f] = FINE
        for begin in range(0, n, piece):
            if raised(cancel):
                return
            if faults[f] == NEGATIVE:
                break
            if check_finite and not weighted:
                count = _keep_finite(
                    X_at, x_base, x_step, feature_step, y_at, y_base, y_step, d, begin, min(begin + piece, n), kept_at, f * width, count
                )
                continue
            for i in range(begin, min(begin + piece, n)):
                if weighted:
                    weight = np.float64(weights[w_base + i * w_steps[2]])
                    if weight == 0.0:
                        continue
                    if weight < 0.0 and weight > -math.inf:
                        faults[f] = NEGATIVE
                        break
                    if not math.isfinite(weight):
                        if omit:
                            continue
                        faults[f] = NOT_FINITE
                stays = True
                if check_finite:
                    stays = math.isfinite(y[y_base + i * y_steps[2]])
                    for j in range(d):
                        stays = stays and math.isfinite(X[x_base + i * x_steps[2] + j * x_steps[3]])
                if stays:
                    kept[f, count] = i
                    count += 1
                    least, largest = min(least, weight), max(largest, weight)
        n_used[f] = count
        spread[f, 0], spread[f, 1] = (least, largest) if count and weighted else (1.0, 1.0)
    keep_alive((X, y, kept))


@kernel
def find_shifts(data, index, n_used, d, shift, cancel):
    """Find what can be subtracted from each column, and from y, exactly: their first used number.

    Fills shift (m, D + 1) float64, D = d or d + 1: of a column from which it cannot be subtracted
    without rounding in float64, and of the intercept's ones, 0.
    """
    sources, last = sources_of(data, index), shift.shape[1] - 1
    for f in range(len(n_used)):
        place = place_of(sources, f)
        for j in range(last + 1):
            shift[f, j] = 0.0
        for j in range(d + 1):
            first, exact = 0.0, True
            for i in range(n_used[f]):
                if i % NUMBERS_PER_POLL == 0 and raised(cancel):
                    exact = False
                    break
                sample = count_at(sources.kept, place.kept + i) if place.masked else np.int64(i)
                if j < d:
                    value = get(sources.X, place.x + sample * sources.x_step + j * sources.feature_step)
                else:
                    value = get(sources.y, place.y + sample * sources.y_step)
                if i == 0:
                    first = value
                _, lost = two_sum(value, -first)
                if lost != 0.0:  # true of a NaN, too: the difference is inf
                    exact = False
                    break
            shift[f, j if j < d else last] = first if exact else 0.0
    keep_alive((data, index, n_used))
