"""Tiles: blocks of samples in the cache, feature-major float64, and the sums over them (docs/arithmetic.md, sections 3 and 4).

1. A tile is (columns, BLOCK), flat: the features, the intercept's ones, y, the weights. What is beyond the last sample is 0, up to a whole
   group of lanes: adding it is exact, since no lane can hold -0.
2. The sums of several pairs of columns are kept in registers while a block is gone through, PART lanes of each.
"""

from __future__ import annotations

import numpy as np

from .compiling import inlined, part
from .doubled import dd_add_lanes, dd_butterfly, two_sum_lanes
from .masks import below, choose
from .transposing import SIDE, transpose
from .vectors import LANES, PART, absolute, add, fill, fma, get, load, load_part, multiply, negate, put, store

BLOCK = 256  # samples; any multiple of 32 that divides CHUNK gives the same bits


@inlined
def _fill_column(tile, column, done, rows, array, base, step, first, row, masked):
    """One column of the tile from row `done` on: numbers base + step · (the places of samples first … first+rows-1)."""
    to = column * BLOCK
    if masked:
        for i in range(done, rows):
            put(tile, to + i, get(array, base + np.int64(row[first + i]) * step))
        return
    start = base + first * step
    i = done
    if step == 1:
        while i + PART <= rows:
            store(tile, to + i, load_part(array, start + i))
            i += PART
    while i < rows:
        put(tile, to + i, get(array, start + i * step))
        i += 1


@part
def fill_tile(tile, rows, data, where, first, d, intercept):
    """Copy samples first … first+rows-1 to the tile; pad to whole groups of lanes."""
    X, x_steps, y, y_steps, weights, w_steps = data
    x_base, y_base, w_base, row, masked = where
    padded = (rows + LANES - 1) // LANES * LANES
    done = 0  # rows whose features are there
    if d > 1 and x_steps[3] == 1 and not masked:
        start, step = x_base + first * x_steps[2], x_steps[2]
        last = (d - 1) // SIDE * SIDE  # where the last block of features begins; it is read as if it were whole
        while done + SIDE <= rows and step >= 0 and start + (done + SIDE - 1) * step + last + SIDE <= len(X):
            for j in range(0, d, SIDE):
                transpose(X, start + done * step + j, step, min(SIDE, d - j), tile, j * BLOCK + done, BLOCK)
            done += SIDE
    for j in range(d):
        _fill_column(tile, j, done, rows, X, x_base + j * x_steps[3], x_steps[2], first, row, masked)
    count = d
    if intercept:
        for i in range(rows):
            put(tile, count * BLOCK + i, 1.0)
        count += 1
    _fill_column(tile, count, 0, rows, y, y_base, y_steps[2], first, row, masked)
    count += 1
    if len(weights):
        _fill_column(tile, count, 0, rows, weights, w_base, w_steps[2], first, row, masked)
        count += 1
    for j in range(count):
        for i in range(rows, padded):
            put(tile, j * BLOCK + i, 0.0)


@part
def scale_tile(tile, groups, count, factor):
    """The columns of the tile times a factor each."""
    for j in range(count):
        by = fill(factor[j])
        for g in range(groups):
            store(tile, j * BLOCK + g * LANES, multiply(load(tile, j * BLOCK + g * LANES), by))


@part
def weigh_tile(tile, groups, n_columns, weighted, low_weighted, doubled):
    """The columns times the weights, and for float64 data the errors of the products."""
    for j in range(n_columns):
        for g in range(groups):
            weight = load(tile, n_columns * BLOCK + g * LANES)
            value = load(tile, j * BLOCK + g * LANES)
            product = multiply(weight, value)
            store(weighted, j * BLOCK + g * LANES, product)
            if doubled:
                store(low_weighted, j * BLOCK + g * LANES, fma(weight, value, negate(product)))


@inlined
def multiply_block(left, tile, groups, first_column, last_column, lanes):
    """Add one block to the lanes of every pair of columns (i, j), i ≤ j, first_column ≤ j < last_column: float64 sums.

    Four pairs of a column at a time: their sums stay in registers, PART lanes of each.
    """
    pair = 0
    for j in range(first_column, last_column):
        i = 0
        while i + 4 <= j + 1:
            for begin in range(0, LANES, PART):
                at, right = i * BLOCK + begin, j * BLOCK + begin
                sum_0, sum_1 = load_part(lanes, pair + begin), load_part(lanes, pair + LANES + begin)
                sum_2, sum_3 = load_part(lanes, pair + 2 * LANES + begin), load_part(lanes, pair + 3 * LANES + begin)
                for g in range(groups):
                    value = load_part(tile, right + g * LANES)
                    sum_0 = fma(load_part(left, at + g * LANES), value, sum_0)
                    sum_1 = fma(load_part(left, at + BLOCK + g * LANES), value, sum_1)
                    sum_2 = fma(load_part(left, at + 2 * BLOCK + g * LANES), value, sum_2)
                    sum_3 = fma(load_part(left, at + 3 * BLOCK + g * LANES), value, sum_3)
                store(lanes, pair + begin, sum_0)
                store(lanes, pair + LANES + begin, sum_1)
                store(lanes, pair + 2 * LANES + begin, sum_2)
                store(lanes, pair + 3 * LANES + begin, sum_3)
            i += 4
            pair += 4 * LANES
        if i + 2 <= j + 1:
            for begin in range(0, LANES, PART):
                at, right = i * BLOCK + begin, j * BLOCK + begin
                sum_0, sum_1 = load_part(lanes, pair + begin), load_part(lanes, pair + LANES + begin)
                for g in range(groups):
                    value = load_part(tile, right + g * LANES)
                    sum_0 = fma(load_part(left, at + g * LANES), value, sum_0)
                    sum_1 = fma(load_part(left, at + BLOCK + g * LANES), value, sum_1)
                store(lanes, pair + begin, sum_0)
                store(lanes, pair + LANES + begin, sum_1)
            i += 2
            pair += 2 * LANES
        if i <= j:
            total = load(lanes, pair)
            for g in range(groups):
                total = fma(load(left, i * BLOCK + g * LANES), load(tile, j * BLOCK + g * LANES), total)
            store(lanes, pair, total)
            pair += LANES


@part
def multiply_block_doubled(left, low_left, weighted, tile, groups, first_column, last_column, lanes, low_lanes):
    """The same as compensated dot products (Ogita, Rump, Oishi 2005); the left columns have low parts where they are weighted."""
    pair = 0
    for j in range(first_column, last_column):
        for i in range(j + 1):
            for begin in range(0, LANES, PART):
                at, right = i * BLOCK + begin, j * BLOCK + begin
                total, low = load_part(lanes, pair + begin), load_part(low_lanes, pair + begin)
                if weighted:
                    for g in range(groups):
                        a, b = load_part(left, at + g * LANES), load_part(tile, right + g * LANES)
                        product = multiply(a, b)
                        error = fma(a, b, negate(product))
                        error = fma(load_part(low_left, at + g * LANES), b, error)
                        total, lost = two_sum_lanes(total, product)
                        low = add(low, add(lost, error))
                else:
                    for g in range(groups):
                        a, b = load_part(left, at + g * LANES), load_part(tile, right + g * LANES)
                        product = multiply(a, b)
                        error = fma(a, b, negate(product))
                        total, lost = two_sum_lanes(total, product)
                        low = add(low, add(lost, error))
                store(lanes, pair + begin, total)
                store(low_lanes, pair + begin, low)
            pair += LANES


@part
def sum_weights(tile, groups, n_columns, lanes, low_lanes, doubled):
    """Add one block of weights to their lanes, which stand before those of the pairs."""
    total = load(lanes, 0)
    for g in range(groups):
        weight = load(tile, n_columns * BLOCK + g * LANES)
        if doubled:
            total, lost = two_sum_lanes(total, weight)
            store(low_lanes, 0, add(load(low_lanes, 0), lost))
        else:
            total = add(total, weight)
    store(lanes, 0, total)


@inlined
def add_lanes_doubled(lanes, low_lanes, pair):
    """The butterfly in double-double."""
    high, low = two_sum_lanes(load_part(lanes, pair), load_part(low_lanes, pair))
    other, low_other = two_sum_lanes(load_part(lanes, pair + PART), load_part(low_lanes, pair + PART))
    high, low = dd_add_lanes(high, low, other, low_other)
    return dd_butterfly(high, low)


@part
def largest_of_tile(tile, groups, count, largest):
    """Raise largest[j] to the largest size in column j of the tile; a NaN is passed over."""
    lanes = np.empty(LANES)
    for j in range(count):
        most = fill(largest[j])
        for g in range(groups):
            size = absolute(load(tile, j * BLOCK + g * LANES))
            most = choose(below(most, size), size, most)
        store(lanes, 0, most)
        for lane in range(LANES):
            if lanes[lane] > largest[j]:
                largest[j] = lanes[lane]
