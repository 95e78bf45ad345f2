"""Fits of a single feature, perhaps with an intercept: their sums, eight fits at a time.

1. The sums are those that compress.py makes of any fit (docs/arithmetic.md, sections 2 to 4): Σx²,
   Σxy, Σy², with an intercept Σx and Σy too. The samples go from memory into registers without a
   tile, and the butterflies of eight fits are done together: 285 → 27 ns a fit of 100 samples
   (benchmarks/NOTES.md, Special paths).
2. Only fits without weights come here: `is_single_feature` in kernels/cpu/__init__.py.
3. Where samples of a fit do not lie next to each other (a raster whose first axis is the time, a
   column of a table) those of eight fits are copied first. Eight neighbours are transposed in
   registers, so each cache line is read while it is there. Where samples are missing, the others
   are copied.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..simd.addresses import count_at
from ..simd.arrays import new_empty
from ..simd.compiling import inlined, part
from ..simd.double_double import exponent_of, pow2
from ..simd.lanes import ALL, LANES, absolute, fill, load, load_eight, store
from ..simd.masks import as_bits, at_most
from ..simd.scalars import LARGEST_FLOAT64, get, move, never_inline, prefetch, put
from ..simd.transpose import SIDE, transpose
from .lane_sums import SUM_STEP, add_eights, add_eights_doubled, add_single_feature, add_single_feature_doubled, largest_of_column
from .samples import place_of
from .stack import W_HIGH, W_LOW

MOST_SUMS = 5
XX, XY, YY, SX, SY = range(MOST_SUMS)
SCRATCH = MOST_SUMS * (SUM_STEP + SIDE)  # eight lanes of each sum of eight fits, then the sums: sum r of fit k at r·SIDE + k
CACHE_LINE = 16  # float32 numbers
AHEAD = 32  # items: their samples are prefetched meanwhile, since reading them takes as long as all else


class Series(NamedTuple):
    """Copies of the samples of eight fits, for those that lie apart: addresses, and a number."""

    x: Any  # (SIDE, row) numbers in the data's type
    y: Any
    row: Any
    gathered: Any  # bool: whether some fits leave samples out, so that those of all are copied


@inlined
def make_series(sources, longest, dtype, gathered):
    """(the array of x, that of y, the length of a row) for fits of at most `longest` samples."""
    row = (longest + 2 * CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE  # one line more: rows of 4 KiB would share places of the cache
    of_x, of_y = (SIDE * row if gathered or sources.x_step != 1 else 0), (SIDE * row if gathered or sources.y_step != 1 else 0)
    return new_empty(of_x, dtype), new_empty(of_y, dtype), row


@inlined
def _range_of(item, begins, ends, ranged):
    """(first sample, number of samples) of an item."""
    begin = count_at(begins, item) if ranged else np.int64(0)
    return begin, count_at(ends, item) - begin


@inlined
def _start_of(sources, item, begin, of_x):
    """Where in X, or in y, sample `begin` of an item lies."""
    place = place_of(sources, item)
    return place.x + begin * sources.x_step if of_x else place.y + begin * sources.y_step


@part
def _copy_samples(sources, of_x, first, count, begins, ends, ranged, gathered, series, row):
    """Copy x, or y, of items first … first+count-1, count ≤ SIDE, to rows of `series`."""
    never_inline()
    array, step = (sources.X, sources.x_step) if of_x else (sources.y, sources.y_step)
    begin, n = _range_of(first, begins, ends, ranged)
    start = _start_of(sources, first, begin, of_x)
    neighbours = count == SIDE and not gathered
    for k in range(1, count):
        begin, length = _range_of(first + k, begins, ends, ranged)
        neighbours = neighbours and length == n and _start_of(sources, first + k, begin, of_x) == start + k
    done = 0
    if neighbours:
        for i in range(n):
            prefetch(array, start + i * step + AHEAD)
        while done + SIDE <= n:
            transpose(array, start + done * step, step, SIDE, series, done, row)
            done += SIDE
    for k in range(count):
        begin, n = _range_of(first + k, begins, ends, ranged)
        start = _start_of(sources, first + k, begin, of_x)
        place = place_of(sources, first + k)
        if place.masked:
            start = place.x if of_x else place.y
            for i in range(n):
                move(array, start + count_at(sources.kept, place.kept + begin + i) * step, series, k * row + i)
        else:
            for i in range(done, n):
                move(array, start + i * step, series, k * row + i)


@inlined
def _copy_apart(sources, first, count, begins, ends, ranged, series):
    """Copy those samples of items first … first+count-1 that do not lie next to each other."""
    gathered = series.gathered
    if gathered or sources.x_step != 1:
        _copy_samples(sources, True, first, count, begins, ends, ranged, gathered, series.x, series.row)
    if gathered or sources.y_step != 1:
        _copy_samples(sources, False, first, count, begins, ends, ranged, gathered, series.y, series.row)


@inlined
def _x_of(sources, place, begin, k, series):
    """(array, where in it) the contiguous samples of x of fit k of eight begin."""
    return (sources.X, place.x + begin) if sources.x_step == 1 and not series.gathered else (series.x, k * series.row)


@inlined
def _y_of(sources, place, begin, k, series):
    return (sources.y, place.y + begin) if sources.y_step == 1 and not series.gathered else (series.y, k * series.row)


@part
def sum_single_feature(sources, first, count, begins, ends, ranged, intercept, scratch, series):
    """Sum items first … first+count-1, count ≤ SIDE, over samples begins[item] … ends[item]-1.

    Not `ranged`: from sample 0 on. Returns where in `scratch` the sums begin.
    """
    sums = MOST_SUMS * SUM_STEP
    _copy_apart(sources, first, count, begins, ends, ranged, series)
    for k in range(count):
        item = first + k
        place = place_of(sources, item)
        begin, n = _range_of(item, begins, ends, ranged)
        X, x_at = _x_of(sources, place, begin, k, series)
        y, y_at = _y_of(sources, place, begin, k, series)
        for i in range(0, 0 if series.gathered else n, CACHE_LINE):
            if sources.x_step == 1 and sources.x_item != 0:
                prefetch(X, x_at + AHEAD * n + i)
            if sources.y_step == 1:
                prefetch(y, y_at + AHEAD * n + i)
        add_single_feature(X, x_at, y, y_at, n, intercept, scratch, SIDE * k)
    add_eights(scratch, (MOST_SUMS if intercept else YY + 1) * SIDE, scratch, sums)
    return sums


@part
def sum_single_feature_doubled(sources, first, count, begins, ends, intercept, scratch, low_scratch, exponents, series):
    """`sum_single_feature` of float64 data, in double-double.

    x and y of fit k are scaled by 2^-e; e is written to exponents[2k] for x, to [2k + 1] for y.
    """
    sums = MOST_SUMS * SUM_STEP
    _copy_apart(sources, first, count, begins, ends, True, series)
    for k in range(count):
        item = first + k
        place = place_of(sources, item)
        begin, n = _range_of(item, begins, ends, True)
        X, x_at = _x_of(sources, place, begin, k, series)
        y, y_at = _y_of(sources, place, begin, k, series)
        of_x = exponent_of(largest_of_column(X, x_at, n)) if n else np.int64(0)
        of_y = exponent_of(largest_of_column(y, y_at, n)) if n else np.int64(0)
        put(exponents, 2 * k, np.int64(of_x))
        put(exponents, 2 * k + 1, np.int64(of_y))
        factors = pow2(-of_x), pow2(-of_y)
        add_single_feature_doubled(X, x_at, y, y_at, n, intercept, factors, scratch, low_scratch, SIDE * k)
    add_eights_doubled(scratch, low_scratch, (MOST_SUMS if intercept else YY + 1) * SIDE, sums)
    return sums


@part
def load_single_feature(sources, first, count, n_used, intercept, scratch, series, grams, targets):
    """Write the moments of fits first … first+count-1 into the lanes of a pack (packs/state.py).

    Lanes beyond `count` get those of the first fit. Returns whether all moments are finite.
    """
    size = 2 if intercept else 1
    for begin in range(0, count, SIDE):
        sums = sum_single_feature(sources, first + begin, min(SIDE, count - begin), n_used, n_used, False, intercept, scratch, series)
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
    if records.has_gram:
        move(sums, at + XX * SIDE, records.gram, to_gram)
        if intercept:
            move(sums, at + SX * SIDE, records.gram, to_gram + 1)
    move(sums, at + XY * SIDE, records.target, to_target)
    move(sums, at + YY * SIDE, records.target, to_target + n_target - 1)
    if intercept:
        move(sums, at + SY * SIDE, records.target, to_target + 1)


@part
def compress_single_feature(sources, start, stop, first, last, intercept, scratch, series, records):
    """Write the moments of items first … last-1 of a single feature; whether all are finite."""
    finite = True
    n_target = 3 if intercept else 2
    for begin in range(first, last, SIDE):
        count = min(SIDE, last - begin)
        sums = sum_single_feature(sources, begin, count, start, stop, True, intercept, scratch, series)
        for k in range(count):
            item, at = begin + k, sums + k
            n = float(count_at(stop, item) - count_at(start, item))
            finite = finite and math.isfinite(get(scratch, at + XX * SIDE)) and math.isfinite(get(scratch, at + YY * SIDE))
            _write_plane(scratch, at, item, 0, 1, intercept, records)
            if intercept and records.has_gram:
                put(records.gram, 3 * item + 2, n)
            for j in range(n_target):
                put(records.exponents, n_target * item + j, np.int64(0))
            put(records.weighing, 4 * item + W_HIGH, n)
            put(records.weighing, 4 * item + W_LOW, 0.0)
    return finite


@part
def compress_single_feature_doubled(sources, start, stop, first, last, intercept, scratch, series, records):
    """`compress_single_feature` of float64 data. scratch: (high parts, low parts, exponents)."""
    high, low, of_columns = scratch
    exponents = records.exponents
    finite = True
    n_target = 3 if intercept else 2
    for begin in range(first, last, SIDE):
        count = min(SIDE, last - begin)
        sums = sum_single_feature_doubled(sources, begin, count, start, stop, intercept, high, low, of_columns, series)
        for k in range(count):
            item, at = begin + k, sums + k
            n = float(count_at(stop, item) - count_at(start, item))
            finite = finite and math.isfinite(get(high, at + XX * SIDE)) and math.isfinite(get(high, at + YY * SIDE))
            _write_plane(high, at, item, 0, 2, intercept, records)
            _write_plane(low, at, item, 1, 2, intercept, records)
            put(exponents, n_target * item, count_at(of_columns, 2 * k))
            put(exponents, n_target * item + n_target - 1, count_at(of_columns, 2 * k + 1))
            if intercept and records.has_gram:
                put(records.gram, 6 * item + 2, n)
                put(records.gram, 6 * item + 5, 0.0)
            if intercept:
                put(exponents, n_target * item + 1, np.int64(0))
            put(records.weighing, 4 * item + W_HIGH, n)
            put(records.weighing, 4 * item + W_LOW, 0.0)
    return finite
