"""Sums of 32 lanes, eight sums at a time (docs/arithmetic.md, section 2).

1. A sum of 32 lanes is a *butterfly*: lane l takes lane l + o for the distances o = 16, 8, 4, 2, 1.
   Eight sums are transposed, so that each of the last three distances is one vector addition.
2. The lanes of sum p are lanes[p·LANES …]. Eight sums are read whatever the count: they must exist.
3. Tiny fits, of at most 32 samples, go from the tile to their sums in registers, and lanes without
   a sample are left out (`add_short_doubled`).
"""

from __future__ import annotations

import numpy as np

from ..simd.compiling import inlined, part
from ..simd.double_double import dd_add_lanes, two_sum_lanes
from ..simd.lanes import (
    LANES,
    PART,
    absolute,
    add,
    fill,
    first_half,
    fma,
    load,
    load_eight,
    load_first,
    load_part,
    multiply,
    negate,
    second_half,
    store,
)
from ..simd.masks import below, choose
from ..simd.transpose import SIDE, columns_of

SUM_STEP = SIDE * SIDE  # numbers from one sum of a fit to its next: between them lie those of seven other fits


@inlined
def _eight_lanes(lanes, at):
    """Add the 32 lanes from lanes[at] at distances 16 and 8: eight lanes are left."""
    all_lanes = load(lanes, at)
    sixteen = add(first_half(all_lanes), second_half(all_lanes))
    return add(first_half(sixteen), second_half(sixteen))


@inlined
def _add_eight(rows):
    """Add eight rows of eight lanes at distances 4, 2 and 1: a vector of eight sums."""
    v = columns_of(rows)
    v0, v1, v2, v3 = add(v[0], v[4]), add(v[1], v[5]), add(v[2], v[6]), add(v[3], v[7])
    return add(add(v0, v2), add(v1, v3))


@part
def add_lanes(lanes, count, sums):
    """Write sum p of the lanes to sums[p], p < count, up to the next multiple of eight.

    Float32 or float64; the sums have the type of the lanes.
    """
    for first in range(0, count, SIDE):
        at = first * LANES
        r0, r1 = _eight_lanes(lanes, at), _eight_lanes(lanes, at + LANES)
        r2, r3 = _eight_lanes(lanes, at + 2 * LANES), _eight_lanes(lanes, at + 3 * LANES)
        r4, r5 = _eight_lanes(lanes, at + 4 * LANES), _eight_lanes(lanes, at + 5 * LANES)
        r6, r7 = _eight_lanes(lanes, at + 6 * LANES), _eight_lanes(lanes, at + 7 * LANES)
        store(sums, first, _add_eight((r0, r1, r2, r3, r4, r5, r6, r7)))


def _half_of_the_lanes(with_ones: bool):
    """A function that sums half of the lanes, with the intercept's sums or without.

    They are two functions since the intercept's sums cost as much as all others.
    """

    @inlined
    def sums_of_half(X, x_at, y, y_at, begin, rows):
        """Σx², Σxy, Σy², Σx and Σy in the PART lanes from lane `begin` on."""
        zero = first_half(fill(0.0))
        xx, xy, yy, sx, sy = zero, zero, zero, zero, zero
        i = begin
        while i + PART <= rows:
            x, value = load_part(X, x_at + i), load_part(y, y_at + i)
            xx, xy, yy = fma(x, x, xx), fma(x, value, xy), fma(value, value, yy)
            if with_ones:
                sx, sy = add(sx, x), add(sy, value)
            i += LANES
        if i < rows:
            x, value = load_first(X, x_at + i, rows - i), load_first(y, y_at + i, rows - i)
            xx, xy, yy = fma(x, x, xx), fma(x, value, xy), fma(value, value, yy)
            if with_ones:
                sx, sy = add(sx, x), add(sy, value)
        return xx, xy, yy, sx, sy

    return sums_of_half


_half, _half_with_ones = _half_of_the_lanes(False), _half_of_the_lanes(True)


@inlined
def _store_eight(sixteen, more, eights, at):
    """Add two halves of the lanes, then at distance 8."""
    total = add(sixteen, more)
    store(eights, at, add(first_half(total), second_half(total)))


@inlined
def add_single_feature(X, x_at, y, y_at, rows, intercept, eights, at):
    """Sum one feature and y, whose samples are contiguous: Σx², Σxy, Σy², with an intercept Σx, Σy.

    Each sum is left as eight lanes, added at distances 16 and 8, at eights[at], eights[at +
    SUM_STEP], …
    """
    if intercept:
        xx, xy, yy, sx, sy = _half_with_ones(X, x_at, y, y_at, 0, rows)
        more_xx, more_xy, more_yy, more_sx, more_sy = _half_with_ones(X, x_at, y, y_at, PART, rows)
        _store_eight(sx, more_sx, eights, at + 3 * SUM_STEP)
        _store_eight(sy, more_sy, eights, at + 4 * SUM_STEP)
    else:
        xx, xy, yy, _, _ = _half(X, x_at, y, y_at, 0, rows)
        more_xx, more_xy, more_yy, _, _ = _half(X, x_at, y, y_at, PART, rows)
    _store_eight(xx, more_xx, eights, at)
    _store_eight(xy, more_xy, eights, at + SUM_STEP)
    _store_eight(yy, more_yy, eights, at + 2 * SUM_STEP)


@inlined
def add_eights(eights, count, sums, to):
    """Write the sum of row r of eights to sums[to + r], r < count, a multiple of eight."""
    for first in range(0, count, SIDE):
        store(sums, to + first, _add_eight(_eight_rows(eights, first * SIDE)))


@inlined
def _to_eight_doubled(total, low, more, low_more):
    """Normalise the compensated sums of two halves of the lanes; add at distances 16 and 8."""
    high, low = two_sum_lanes(total, low)
    other, low_other = two_sum_lanes(more, low_more)
    high, low = dd_add_lanes(high, low, other, low_other)
    return dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))


@inlined
def _eight_lanes_doubled(lanes, low_lanes, at):
    return _to_eight_doubled(load_part(lanes, at), load_part(low_lanes, at), load_part(lanes, at + PART), load_part(low_lanes, at + PART))


@inlined
def _add_eight_doubled(highs, lows):
    """Add eight rows of eight lanes at distances 4, 2 and 1: a vector of eight sums."""
    v, e = columns_of(highs), columns_of(lows)
    v0, e0 = dd_add_lanes(v[0], e[0], v[4], e[4])
    v1, e1 = dd_add_lanes(v[1], e[1], v[5], e[5])
    v2, e2 = dd_add_lanes(v[2], e[2], v[6], e[6])
    v3, e3 = dd_add_lanes(v[3], e[3], v[7], e[7])
    v0, e0 = dd_add_lanes(v0, e0, v2, e2)
    v1, e1 = dd_add_lanes(v1, e1, v3, e3)
    return dd_add_lanes(v0, e0, v1, e1)


@part
def add_lanes_doubled(lanes, low_lanes, count, sums, low_sums):
    """`add_lanes` in double-double."""
    for first in range(0, count, SIDE):
        at = first * LANES
        high_0, low_0 = _eight_lanes_doubled(lanes, low_lanes, at)
        high_1, low_1 = _eight_lanes_doubled(lanes, low_lanes, at + LANES)
        high_2, low_2 = _eight_lanes_doubled(lanes, low_lanes, at + 2 * LANES)
        high_3, low_3 = _eight_lanes_doubled(lanes, low_lanes, at + 3 * LANES)
        high_4, low_4 = _eight_lanes_doubled(lanes, low_lanes, at + 4 * LANES)
        high_5, low_5 = _eight_lanes_doubled(lanes, low_lanes, at + 5 * LANES)
        high_6, low_6 = _eight_lanes_doubled(lanes, low_lanes, at + 6 * LANES)
        high_7, low_7 = _eight_lanes_doubled(lanes, low_lanes, at + 7 * LANES)
        highs, lows = (
            (high_0, high_1, high_2, high_3, high_4, high_5, high_6, high_7),
            (low_0, low_1, low_2, low_3, low_4, low_5, low_6, low_7),
        )
        high, low = _add_eight_doubled(highs, lows)
        store(sums, first, high)
        store(low_sums, first, low)


@inlined
def _lane_products(a, b, zero):
    """The compensated sums of lanes with one sample each, or with none, normalised."""
    product = multiply(a, b)
    error = fma(a, b, negate(product))
    return two_sum_lanes(add(product, zero), add(error, zero))  # no lane holds −0


@inlined
def _eight_of_eight(tile, a, b):
    """Of two columns of a tile with at most 8 samples: the lanes of their sum that are not zero."""
    return _lane_products(load_eight(tile, a), load_eight(tile, b), first_half(first_half(fill(0.0))))


@inlined
def _eight_of_sixteen(tile, a, b):
    """Of at most 16 samples: their lanes, added at distance 8."""
    high, low = _lane_products(load_part(tile, a), load_part(tile, b), first_half(fill(0.0)))
    return dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))


@inlined
def _eight_of_all(tile, a, b):
    """Of at most 32 samples: their lanes, added at distances 16 and 8."""
    high, low = _lane_products(load(tile, a), load(tile, b), fill(0.0))
    high, low = dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))
    return dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))


@inlined
def _after(i, j, last_column):
    """The pair of columns after (i, j), as both its numbers; the last one is its own."""
    if i < j:
        return i + 1, j
    if j + 1 < last_column:
        return np.int64(0), j + 1
    return i, j


def _summing_short(eight_of):
    """A function that sums all pairs of columns of a tile. eight_of: one of the three above."""

    @part
    def add_pairs(tile, first_column, last_column, stride, sums, low_sums):
        count = (last_column * (last_column + 1) - first_column * (first_column + 1)) // 2
        i, j = np.int64(0), np.int64(first_column)
        for first in range(0, count, SIDE):
            h0, l0 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            h1, l1 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            h2, l2 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            h3, l3 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            h4, l4 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            h5, l5 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            h6, l6 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            h7, l7 = eight_of(tile, i * stride, j * stride)
            i, j = _after(i, j, last_column)
            high, low = _add_eight_doubled((h0, h1, h2, h3, h4, h5, h6, h7), (l0, l1, l2, l3, l4, l5, l6, l7))
            store(sums, first, high)
            store(low_sums, first, low)

    return add_pairs


_add_of_eight, _add_of_sixteen, _add_of_all = map(_summing_short, (_eight_of_eight, _eight_of_sixteen, _eight_of_all))


@part
def add_short_doubled(tile, rows, first_column, last_column, stride, sums, low_sums):
    """Write all sums of pairs of columns of a tile of at most 32 samples, in double-double.

    Pairs (i, j), i ≤ j, first_column ≤ j < last_column; columns are `stride` numbers apart. A lane
    has one sample at most, and adding a lane of zeros changes no bit: half of the lanes, or three
    quarters, are left out where they have no sample.
    """
    if rows <= SIDE:
        _add_of_eight(tile, first_column, last_column, stride, sums, low_sums)
    elif rows <= PART:
        _add_of_sixteen(tile, first_column, last_column, stride, sums, low_sums)
    else:
        _add_of_all(tile, first_column, last_column, stride, sums, low_sums)


@inlined
def largest_of_column(array, at, rows):
    """The largest |value| of `rows` contiguous numbers; NaNs are ignored."""
    most = first_half(fill(0.0))
    for i in range(0, rows, PART):
        value = load_part(array, at + i) if i + PART <= rows else load_first(array, at + i, rows - i)
        value = absolute(value)
        most = choose(below(most, value), value, most)
    eight = choose(below(first_half(most), second_half(most)), second_half(most), first_half(most))
    four = choose(below(first_half(eight), second_half(eight)), second_half(eight), first_half(eight))
    two = choose(below(first_half(four), second_half(four)), second_half(four), first_half(four))
    return max(first_half(two), second_half(two))


@inlined
def _add_product(a, b, total, low):
    """One step of a compensated dot product (Ogita, Rump, Oishi 2005)."""
    product = multiply(a, b)
    error = fma(a, b, negate(product))
    total, lost = two_sum_lanes(total, product)
    return total, add(low, add(lost, error))


def _half_of_the_lanes_doubled(with_ones: bool):
    """`_half_of_the_lanes` in double-double, of x and y times a factor each."""

    @inlined
    def sums_of_half(X, x_at, y, y_at, begin, rows, x_factor, y_factor):
        zero, one, of_x, of_y = first_half(fill(0.0)), first_half(fill(1.0)), first_half(fill(x_factor)), first_half(fill(y_factor))
        xx, xy, yy, sx, sy, low_xx, low_xy, low_yy, low_sx, low_sy = zero, zero, zero, zero, zero, zero, zero, zero, zero, zero
        for i in range(begin, rows, LANES):
            whole = i + PART <= rows
            x = multiply(load_part(X, x_at + i) if whole else load_first(X, x_at + i, rows - i), of_x)
            value = multiply(load_part(y, y_at + i) if whole else load_first(y, y_at + i, rows - i), of_y)
            xx, low_xx = _add_product(x, x, xx, low_xx)
            xy, low_xy = _add_product(x, value, xy, low_xy)
            yy, low_yy = _add_product(value, value, yy, low_yy)
            if with_ones:
                sx, low_sx = _add_product(x, one, sx, low_sx)
                sy, low_sy = _add_product(one, value, sy, low_sy)
        return (xx, xy, yy, sx, sy), (low_xx, low_xy, low_yy, low_sx, low_sy)

    return sums_of_half


_half_doubled, _half_with_ones_doubled = _half_of_the_lanes_doubled(False), _half_of_the_lanes_doubled(True)


@inlined
def _store_eight_doubled(totals, lows, more, low_more, eights, low_eights, at):
    high, low = _to_eight_doubled(totals, lows, more, low_more)
    store(eights, at, high)
    store(low_eights, at, low)


@part
def add_single_feature_doubled(X, x_at, y, y_at, rows, intercept, factors, eights, low_eights, at):
    """`add_single_feature` in double-double, of x and y times factors = (of x, of y)."""
    x_factor, y_factor = factors
    if intercept:
        v, e = _half_with_ones_doubled(X, x_at, y, y_at, 0, rows, x_factor, y_factor)
        u, d = _half_with_ones_doubled(X, x_at, y, y_at, PART, rows, x_factor, y_factor)
        _store_eight_doubled(v[3], e[3], u[3], d[3], eights, low_eights, at + 3 * SUM_STEP)
        _store_eight_doubled(v[4], e[4], u[4], d[4], eights, low_eights, at + 4 * SUM_STEP)
    else:
        v, e = _half_doubled(X, x_at, y, y_at, 0, rows, x_factor, y_factor)
        u, d = _half_doubled(X, x_at, y, y_at, PART, rows, x_factor, y_factor)
    _store_eight_doubled(v[0], e[0], u[0], d[0], eights, low_eights, at)
    _store_eight_doubled(v[1], e[1], u[1], d[1], eights, low_eights, at + SUM_STEP)
    _store_eight_doubled(v[2], e[2], u[2], d[2], eights, low_eights, at + 2 * SUM_STEP)


@inlined
def _eight_rows(eights, at):
    return (
        load_eight(eights, at), load_eight(eights, at + 8), load_eight(eights, at + 16), load_eight(eights, at + 24),
        load_eight(eights, at + 32), load_eight(eights, at + 40), load_eight(eights, at + 48), load_eight(eights, at + 56),
    )  # fmt: skip


@inlined
def add_eights_doubled(eights, low_eights, count, to):
    """`add_eights` in double-double; the sums go to both arrays, from `to` on."""
    for first in range(0, count, SIDE):
        high, low = _add_eight_doubled(_eight_rows(eights, first * SIDE), _eight_rows(low_eights, first * SIDE))
        store(eights, to + first, high)
        store(low_eights, to + first, low)
