"""Fits of a single feature, perhaps with an intercept: their sums, eight fits at a time.

1. The sums are those that compress.py makes of any fit (docs/arithmetic.md, sections 2 to 4): Σx²,
   Σxy, Σy², with an intercept Σx and Σy too. The samples go from memory into registers without a
   tile, and the butterflies of eight fits are done together: 285 → 27 ns a fit of 100 samples
   (benchmarks/NOTES.md, Special paths).
2. Only fits whose samples lie next to each other, without weights and without missing samples, come
   here: `is_single_feature` in kernels/cpu/__init__.py.
"""

from __future__ import annotations

import math

import numpy as np

from ..simd.addresses import count_at
from ..simd.compiling import inlined, part
from ..simd.double_double import exponent_of, pow2
from ..simd.lanes import ALL, LANES, absolute, fill, load, load_eight, store
from ..simd.masks import as_bits, at_most
from ..simd.scalars import LARGEST_FLOAT64, get, move, prefetch, put
from ..simd.transpose import SIDE
from .lane_sums import SUM_STEP, add_eights, add_eights_doubled, add_single_feature, add_single_feature_doubled, largest_of_column
from .samples import place_of
from .stack import W_HIGH, W_LOW

MOST_SUMS = 5
XX, XY, YY, SX, SY = range(MOST_SUMS)
SCRATCH = MOST_SUMS * (SUM_STEP + SIDE)  # eight lanes of each sum of eight fits, then the sums: sum r of fit k at r·SIDE + k
CACHE_LINE = 16  # float32 numbers
AHEAD = 32  # items: their samples are prefetched meanwhile, since reading them takes as long as all else


@part
def sum_single_feature(sources, first, count, begins, ends, ranged, intercept, scratch):
    """Sum items first … first+count-1, count ≤ SIDE, over samples begins[item] … ends[item]-1.

    Not `ranged`: from sample 0 on. Returns where in `scratch` the sums begin.
    """
    sums = MOST_SUMS * SUM_STEP
    for k in range(count):
        item = first + k
        place = place_of(sources, item)
        begin = count_at(begins, item) if ranged else 0
        n = count_at(ends, item) - begin
        x_at, y_at = place.x + begin, place.y + begin
        for i in range(0, n, CACHE_LINE):
            prefetch(sources.X, x_at + AHEAD * n + i)
            prefetch(sources.y, y_at + AHEAD * n + i)
        add_single_feature(sources.X, x_at, sources.y, y_at, n, intercept, scratch, SIDE * k)
    add_eights(scratch, (MOST_SUMS if intercept else YY + 1) * SIDE, scratch, sums)
    return sums


@part
def sum_single_feature_doubled(sources, first, count, begins, ends, intercept, scratch, low_scratch, exponents):
    """`sum_single_feature` of float64 data, in double-double.

    x and y of fit k are scaled by 2^-e; e is written to exponents[2k] for x, to [2k + 1] for y.
    """
    sums = MOST_SUMS * SUM_STEP
    for k in range(count):
        item = first + k
        place = place_of(sources, item)
        begin = count_at(begins, item)
        n = count_at(ends, item) - begin
        x_at, y_at = place.x + begin, place.y + begin
        of_x = exponent_of(largest_of_column(sources.X, x_at, n))
        of_y = exponent_of(largest_of_column(sources.y, y_at, n))
        put(exponents, 2 * k, np.int64(of_x))
        put(exponents, 2 * k + 1, np.int64(of_y))
        factors = pow2(-of_x), pow2(-of_y)
        add_single_feature_doubled(sources.X, x_at, sources.y, y_at, n, intercept, factors, scratch, low_scratch, SIDE * k)
    add_eights_doubled(scratch, low_scratch, (MOST_SUMS if intercept else YY + 1) * SIDE, sums)
    return sums


@part
def load_single_feature(sources, first, count, n_used, intercept, scratch, grams, targets):
    """Write the moments of fits first … first+count-1 into the lanes of a pack (packs/state.py).

    Lanes beyond `count` get those of the first fit. Returns whether all moments are finite.
    """
    size = 2 if intercept else 1
    for begin in range(0, count, SIDE):
        sums = sum_single_feature(sources, first + begin, min(SIDE, count - begin), n_used, n_used, False, intercept, scratch)
        store(grams, begin, load_eight(scratch, sums + XX * SIDE))
        store(targets, begin, load_eight(scratch, sums + XY * SIDE))
        store(targets, size * LANES + begin, load_eight(scratch, sums + YY * SIDE))
        if intercept:
            store(grams, LANES + begin, load_eight(scratch, sums + SX * SIDE))
            store(targets, LANES + begin, load_eight(scratch, sums + SY * SIDE))
    if intercept:
        for lane in range(count):
            put(grams, 2 * LANES + lane, float(count_at(n_used, first + lane)))
    for lane in range(count, LANES):
        for entry in range(size * (size + 1) // 2):
            move(grams, entry * LANES, grams, entry * LANES + lane)
        for entry in range(size + 1):
            move(targets, entry * LANES, targets, entry * LANES + lane)
    most = fill(LARGEST_FLOAT64)
    of_x = as_bits(at_most(absolute(load(grams, 0)), most))
    return (of_x & as_bits(at_most(absolute(load(targets, size * LANES)), most))) == ALL


@inlined
def _write_plane(sums, at, item, plane, planes, intercept, records):
    """Write the sums of a single feature that are not counts: the high parts, or the low ones."""
    n_gram, n_target = (3, 3) if intercept else (1, 2)
    to_gram, to_target = (planes * item + plane) * n_gram, (planes * item + plane) * n_target
    move(sums, at + XX * SIDE, records.gram, to_gram)
    move(sums, at + XY * SIDE, records.target, to_target)
    move(sums, at + YY * SIDE, records.target, to_target + n_target - 1)
    if intercept:
        move(sums, at + SX * SIDE, records.gram, to_gram + 1)
        move(sums, at + SY * SIDE, records.target, to_target + 1)


@part
def compress_single_feature(sources, start, stop, first, last, intercept, scratch, records):
    """Write the moments of items first … last-1 of a single feature; whether all are finite."""
    finite = True
    n_target = 3 if intercept else 2
    for begin in range(first, last, SIDE):
        count = min(SIDE, last - begin)
        sums = sum_single_feature(sources, begin, count, start, stop, True, intercept, scratch)
        for k in range(count):
            item, at = begin + k, sums + k
            n = float(count_at(stop, item) - count_at(start, item))
            finite = finite and math.isfinite(get(scratch, at + XX * SIDE)) and math.isfinite(get(scratch, at + YY * SIDE))
            _write_plane(scratch, at, item, 0, 1, intercept, records)
            if intercept:
                put(records.gram, 3 * item + 2, n)
            for j in range(n_target):
                put(records.exponents, n_target * item + j, np.int64(0))
            put(records.weighing, 4 * item + W_HIGH, n)
            put(records.weighing, 4 * item + W_LOW, 0.0)
    return finite


@part
def compress_single_feature_doubled(sources, start, stop, first, last, intercept, scratch, records):
    """`compress_single_feature` of float64 data. scratch: (high parts, low parts, exponents)."""
    high, low, of_columns = scratch
    exponents = records.exponents
    finite = True
    n_target = 3 if intercept else 2
    for begin in range(first, last, SIDE):
        count = min(SIDE, last - begin)
        sums = sum_single_feature_doubled(sources, begin, count, start, stop, intercept, high, low, of_columns)
        for k in range(count):
            item, at = begin + k, sums + k
            n = float(count_at(stop, item) - count_at(start, item))
            finite = finite and math.isfinite(get(high, at + XX * SIDE)) and math.isfinite(get(high, at + YY * SIDE))
            _write_plane(high, at, item, 0, 2, intercept, records)
            _write_plane(low, at, item, 1, 2, intercept, records)
            put(exponents, n_target * item, count_at(of_columns, 2 * k))
            put(exponents, n_target * item + n_target - 1, count_at(of_columns, 2 * k + 1))
            if intercept:
                put(records.gram, 6 * item + 2, n)
                put(records.gram, 6 * item + 5, 0.0)
                put(exponents, n_target * item + 1, np.int64(0))
            put(records.weighing, 4 * item + W_HIGH, n)
            put(records.weighing, 4 * item + W_LOW, 0.0)
    return finite
