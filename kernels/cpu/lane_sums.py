"""The butterfly over the 32 lanes of a sum (docs/arithmetic.md, section 2), of eight sums at a time: these lie side by side in a vector.

The sums of pair p are lanes[p·LANES …]; eight pairs are read whatever the count: they must be there.
"""

from __future__ import annotations

from .compiling import inlined, part
from .doubled import dd_add_lanes, two_sum_lanes
from .transposing import SIDE, columns_of
from .vectors import LANES, PART, add, fill, first_half, fma, load, load_eight, load_first, load_part, second_half, store


@inlined
def _eight_lanes(lanes, at):
    """Distances 16 and 8."""
    all_lanes = load(lanes, at)
    sixteen = add(first_half(all_lanes), second_half(all_lanes))
    return add(first_half(sixteen), second_half(sixteen))


@inlined
def _add_eight(rows):
    """Distances 4, 2 and 1, of eight rows."""
    v = columns_of(rows)
    v0, v1, v2, v3 = add(v[0], v[4]), add(v[1], v[5]), add(v[2], v[6]), add(v[3], v[7])
    return add(add(v0, v2), add(v1, v3))


@part
def add_lanes(lanes, count, sums):
    """sums[p] = the sum of the lanes of pair p, p < count; sums is at least as long as the next multiple of eight. Of either type."""
    for first in range(0, count, SIDE):
        at = first * LANES
        r0, r1 = _eight_lanes(lanes, at), _eight_lanes(lanes, at + LANES)
        r2, r3 = _eight_lanes(lanes, at + 2 * LANES), _eight_lanes(lanes, at + 3 * LANES)
        r4, r5 = _eight_lanes(lanes, at + 4 * LANES), _eight_lanes(lanes, at + 5 * LANES)
        r6, r7 = _eight_lanes(lanes, at + 6 * LANES), _eight_lanes(lanes, at + 7 * LANES)
        store(sums, first, _add_eight((r0, r1, r2, r3, r4, r5, r6, r7)))


@inlined
def _line_part(X, x_at, y, y_at, begin, rows):
    """Σx², Σxy, Σy², Σx and Σy in PART lanes from lane `begin` on."""
    zero = first_half(fill(0.0))
    xx, xy, yy, sx, sy = zero, zero, zero, zero, zero
    i = begin
    while i + PART <= rows:
        x, value = load_part(X, x_at + i), load_part(y, y_at + i)
        xx, xy, yy = fma(x, x, xx), fma(x, value, xy), fma(value, value, yy)
        sx, sy = add(sx, x), add(sy, value)
        i += LANES
    if i < rows:
        x, value = load_first(X, x_at + i, rows - i), load_first(y, y_at + i, rows - i)
        xx, xy, yy = fma(x, x, xx), fma(x, value, xy), fma(value, value, yy)
        sx, sy = add(sx, x), add(sy, value)
    return xx, xy, yy, sx, sy


@inlined
def _store_eight(sixteen, more, eights, at):
    """Distances 16 and 8."""
    total = add(sixteen, more)
    store(eights, at, add(first_half(total), second_half(total)))


@inlined
def add_line(X, x_at, y, y_at, rows, intercept, eights, at):
    """Of one feature and y, whose samples lie side by side: rows of eight lanes, distances 16 and 8 done, from eights[at] on.

    Σx², Σxy, Σy²; with an intercept Σx and Σy too.
    """
    xx, xy, yy, sx, sy = _line_part(X, x_at, y, y_at, 0, rows)
    more_xx, more_xy, more_yy, more_sx, more_sy = _line_part(X, x_at, y, y_at, PART, rows)
    _store_eight(xx, more_xx, eights, at)
    _store_eight(xy, more_xy, eights, at + SIDE)
    _store_eight(yy, more_yy, eights, at + 2 * SIDE)
    if intercept:
        _store_eight(sx, more_sx, eights, at + 3 * SIDE)
        _store_eight(sy, more_sy, eights, at + 4 * SIDE)


@inlined
def add_eights(eights, count, sums):
    """sums[r] = the sum of row r of eights, r < count, a multiple of eight."""
    for first in range(0, count, SIDE):
        at = first * SIDE
        r0, r1, r2, r3 = load_eight(eights, at), load_eight(eights, at + 8), load_eight(eights, at + 16), load_eight(eights, at + 24)
        r4, r5, r6, r7 = load_eight(eights, at + 32), load_eight(eights, at + 40), load_eight(eights, at + 48), load_eight(eights, at + 56)
        store(sums, first, _add_eight((r0, r1, r2, r3, r4, r5, r6, r7)))


@inlined
def _eight_lanes_doubled(lanes, low_lanes, at):
    high, low = two_sum_lanes(load_part(lanes, at), load_part(low_lanes, at))
    other, low_other = two_sum_lanes(load_part(lanes, at + PART), load_part(low_lanes, at + PART))
    high, low = dd_add_lanes(high, low, other, low_other)
    return dd_add_lanes(first_half(high), first_half(low), second_half(high), second_half(low))


@part
def add_lanes_doubled(lanes, low_lanes, count, sums, low_sums):
    """The same in double-double."""
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
        v = columns_of((high_0, high_1, high_2, high_3, high_4, high_5, high_6, high_7))
        e = columns_of((low_0, low_1, low_2, low_3, low_4, low_5, low_6, low_7))
        v0, e0 = dd_add_lanes(v[0], e[0], v[4], e[4])
        v1, e1 = dd_add_lanes(v[1], e[1], v[5], e[5])
        v2, e2 = dd_add_lanes(v[2], e[2], v[6], e[6])
        v3, e3 = dd_add_lanes(v[3], e[3], v[7], e[7])
        v0, e0 = dd_add_lanes(v0, e0, v2, e2)
        v1, e1 = dd_add_lanes(v1, e1, v3, e3)
        v0, e0 = dd_add_lanes(v0, e0, v1, e1)
        store(sums, first, v0)
        store(low_sums, first, e0)
