"""A tile: a block of samples in the cache, feature-major float64 (docs/arithmetic.md, 3, 4).

1. A tile is (columns, STRIDE), flat, of BLOCK samples: the features, the intercept's ones, y, the
   weights. What is beyond the last sample is 0, up to a whole group of LANES: adding it is exact,
   since no lane can hold −0.
2. The sums over pairs of its columns are made in register_tiles.py.
"""

from __future__ import annotations

from ..simd.addresses import count_at
from ..simd.compiling import inlined, part
from ..simd.double_double import two_sum_lanes
from ..simd.lanes import (
    LANES,
    PART,
    absolute,
    add,
    fill,
    first_half,
    fma,
    load,
    load_first,
    load_part,
    multiply,
    negate,
    second_half,
    store,
)
from ..simd.masks import below, choose
from ..simd.scalars import get, put
from ..simd.transpose import SIDE, transpose
from .register_tiles import STRIDE


@inlined
def fill_column(tile, column, done, rows, array, base, step, first, kept, row, masked):
    """Fill one column of the tile from row `done` on, with samples first … of those that are used.

    Sample i stands at array[base + i · step]; where `masked`, the list of used samples begins at
    kept[row].
    """
    to = column * STRIDE
    if masked:
        for i in range(done, rows):
            put(tile, to + i, get(array, base + count_at(kept, row + first + i) * step))
        return
    start = base + first * step
    i = done
    if step == 1:
        while i + PART <= rows:
            store(tile, to + i, load_part(array, start + i))
            i += PART
        if i < rows:
            store(tile, to + i, load_first(array, start + i, rows - i))
        return
    while i < rows:
        put(tile, to + i, get(array, start + i * step))
        i += 1


@inlined
def pad_tile(tile, rows, count):
    """Write zeros to the last group of LANES samples of the columns, where it is not whole."""
    if rows % LANES:
        zero = fill(0.0)
        for j in range(count):
            store(tile, j * STRIDE + rows // LANES * LANES, zero)


@part
def fill_tile(tile, rows, sources, place, first, d, intercept):
    """Copy samples first … first+rows-1 of the used ones to the tile; pad it with zeros."""
    x_step, kept, row, masked = sources.x_step, sources.kept, place.kept, place.masked
    pad_tile(tile, rows, d + intercept + 1 + sources.weighted)
    done = 0  # rows whose features are there
    if d > 1 and sources.feature_step == 1 and not masked:
        start = place.x + first * x_step
        last = (d - 1) // SIDE * SIDE  # where the last block of features begins; it is read as if it were whole
        while done + SIDE <= rows and x_step >= 0 and start + (done + SIDE - 1) * x_step + last + SIDE <= sources.x_length:
            for j in range(0, d, SIDE):
                transpose(sources.X, start + done * x_step + j, x_step, min(SIDE, d - j), tile, j * STRIDE + done, STRIDE)
            done += SIDE
    for j in range(d):
        fill_column(tile, j, done, rows, sources.X, place.x + j * sources.feature_step, x_step, first, kept, row, masked)
    count = d
    if intercept:
        for i in range(rows):
            put(tile, count * STRIDE + i, 1.0)
        count += 1
    fill_column(tile, count, 0, rows, sources.y, place.y, sources.y_step, first, kept, row, masked)
    count += 1
    if sources.weighted:
        fill_column(tile, count, 0, rows, sources.weights, place.weights, sources.w_step, first, kept, row, masked)


@part
def shift_tile(tile, rows, count, shift):
    """Subtract from each column of the tile its shift; the padding stays 0."""
    for j in range(count):
        by = get(shift, j)
        if by != 0.0:
            for i in range(j * STRIDE, j * STRIDE + rows):
                put(tile, i, get(tile, i) - by)


@part
def scale_tile(tile, groups, count, factor):
    """Multiply each column of the tile by its factor."""
    for j in range(count):
        by = fill(get(factor, j))
        for g in range(groups):
            store(tile, j * STRIDE + g * LANES, multiply(load(tile, j * STRIDE + g * LANES), by))


@part
def weigh_tile(tile, groups, n_columns, weighted, low_weighted, doubled):
    """Write the columns times the weights, and for float64 data the errors of these products."""
    for j in range(n_columns):
        for g in range(groups):
            weight = load(tile, n_columns * STRIDE + g * LANES)
            value = load(tile, j * STRIDE + g * LANES)
            product = multiply(weight, value)
            store(weighted, j * STRIDE + g * LANES, product)
            if doubled:
                store(low_weighted, j * STRIDE + g * LANES, fma(weight, value, negate(product)))


@part
def sum_weights(tile, groups, n_columns, lanes, low_lanes, at, doubled):
    """Add the weights of one block to their lanes, which begin at lanes[at]."""
    total = load(lanes, at)
    for g in range(groups):
        weight = load(tile, n_columns * STRIDE + g * LANES)
        if doubled:
            total, lost = two_sum_lanes(total, weight)
            store(low_lanes, at, add(load(low_lanes, at), lost))
        else:
            total = add(total, weight)
    store(lanes, at, total)


@inlined
def _larger(a, b):
    """b where it is larger, else a; a NaN in b is ignored."""
    return choose(below(a, b), b, a)


@part
def largest_of_tile(tile, groups, count, largest):
    """Raise largest[j] to the largest |value| in column j of the tile; NaNs are ignored."""
    for j in range(count):
        most = fill(get(largest, j))
        for g in range(groups):
            most = _larger(most, absolute(load(tile, j * STRIDE + g * LANES)))
        sixteen = _larger(first_half(most), second_half(most))
        eight = _larger(first_half(sixteen), second_half(sixteen))
        four = _larger(first_half(eight), second_half(eight))
        two = _larger(first_half(four), second_half(four))
        put(largest, j, max(first_half(two), second_half(two)))
