"""Lines: fits of one feature, perhaps with an intercept, eight at a time (docs/arithmetic.md, sections 2 to 4).

Their sums are those that `compress` makes of any fit: Σx², Σxy, Σy², and with an intercept Σx and Σy too.
"""

from __future__ import annotations

import numpy as np

from ..simd.addresses import count_at
from ..simd.compiling import inlined, part
from ..simd.double_double import exponent_of, pow2
from ..simd.lanes import LANES, absolute, fill, load, load_eight, store
from ..simd.masks import as_bits, at_most
from ..simd.scalars import fetch, move, put
from ..simd.transpose import SIDE
from .lane_sums import APART, add_eights, add_eights_doubled, add_line, add_line_doubled, largest_of_line
from .samples import is_weighted, where_of

MOST_SUMS = 5
LINE = 16  # numbers of a line of memory
AHEAD = 32  # while a line is summed, the samples of the one so many further on are fetched: reading them takes as long as all else
ROOM = MOST_SUMS * (APART + SIDE)  # numbers of `scratch`: eight lanes of every sum, then the sums, sum r of line k at r·SIDE + k
XX, XY, YY, SX, SY = range(MOST_SUMS)
LARGEST_FLOAT64 = 1.7976931348623157e308


@inlined
def are_lines(sources, d, n_kept):
    """Whether these data are lines: one feature, no weights, no gaps, samples side by side."""
    (_, _, _, _, x_step, _), (_, _, _, y_step), _, _, _ = sources
    return d == 1 and x_step == 1 and y_step == 1 and n_kept == 0 and not is_weighted(sources)


@part
def sum_lines(sources, first, count, begins, ends, ranged, intercept, scratch):
    """The sums of items first … first+count-1, count ≤ SIDE, into `scratch`: samples begins[item] … ends[item]-1, or 0 … if not `ranged`.

    Returns where they begin in the scratch.
    """
    sums = MOST_SUMS * APART
    for k in range(count):
        item = first + k
        x_at, y_at, _, _, _ = where_of(sources, item)
        begin = count_at(begins, item) if ranged else 0
        n = count_at(ends, item) - begin
        for i in range(0, n, LINE):
            fetch(sources[0][0], x_at + begin + AHEAD * n + i)
            fetch(sources[1][0], y_at + begin + AHEAD * n + i)
        add_line(sources[0][0], x_at + begin, sources[1][0], y_at + begin, n, intercept, scratch, SIDE * k)
    add_eights(scratch, (MOST_SUMS if intercept else YY + 1) * SIDE, scratch, sums)
    return sums


@part
def sum_lines_doubled(sources, first, count, begins, ends, intercept, scratch, low_scratch, exponents):
    """The same of float64 data, in double-double, of columns scaled by 2 to minus exponents[2k], exponents[2k + 1]."""
    sums = MOST_SUMS * APART
    for k in range(count):
        item = first + k
        x_at, y_at, _, _, _ = where_of(sources, item)
        begin = count_at(begins, item)
        n = count_at(ends, item) - begin
        X, y = sources[0][0], sources[1][0]
        of_x = exponent_of(largest_of_line(X, x_at + begin, n))
        of_y = exponent_of(largest_of_line(y, y_at + begin, n))
        put(exponents, 2 * k, np.int64(of_x))
        put(exponents, 2 * k + 1, np.int64(of_y))
        factors = pow2(-of_x), pow2(-of_y)
        add_line_doubled(X, x_at + begin, y, y_at + begin, n, intercept, factors, scratch, low_scratch, SIDE * k)
    add_eights_doubled(scratch, low_scratch, (MOST_SUMS if intercept else YY + 1) * SIDE, sums)
    return sums


@part
def load_lines(sources, first, count, n_used, intercept, scratch, grams, targets):
    """The moments of fits first … first+count-1 in the lanes of a batch (state.py); those beyond are the first fit again.

    False where some are not finite.
    """
    size = 2 if intercept else 1
    for begin in range(0, count, SIDE):
        sums = sum_lines(sources, first + begin, min(SIDE, count - begin), n_used, n_used, False, intercept, scratch)
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
    return (of_x & as_bits(at_most(absolute(load(targets, size * LANES)), most))) == (1 << LANES) - 1
