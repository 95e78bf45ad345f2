"""compress: the second moments of each item's data, in one read (docs/arithmetic.md, sections 2 to 4).

1. An item is a range of samples of one fit that begins at a multiple of RANGE and holds at most RANGE of them: a whole fit, or one
   of the parts of a long one. Parts are added by `join`: pairwise neighbours, so that any split at multiples of a power of two times
   4,096 gives the same bits.
2. The moments of columns z_0 … z_D (features, the intercept's ones, y) are packed by columns: entry (i, j), i ≤ j, is at j(j+1)/2 + i.
   So the Gram matrix comes first and [c, yy] are the last D + 1: each is computed alone when the other is shared.
3. Blocks of 512 samples are transposed to feature-major float64 in the L1/L2 cache; a pair of columns keeps its 32 lanes in registers
   for a block. Padding with zeros is exact here: no lane can hold -0.
"""

from __future__ import annotations

import numpy as np

from .compiling import copy, kernel, part
from .doubled import dd_add, exponent_of, pow2, two_sum, two_sum_lanes
from .vectors import LANES, add, butterfly, fill, fma, load, multiply, negate, raised, store

CHUNK = 4096  # samples; part of the specification
BLOCK = 512  # samples; any multiple of 32 that divides CHUNK gives the same bits
RANGE = 16 * CHUNK  # samples of an item at most; CHUNK times any power of two gives the same bits


@part
def _fill_tile(tile, rows, X, y, item, target_item, first, stop, intercept, factor):
    """Copy samples first … stop-1 to tile (Z·BLOCK, feature-major), times a factor per column; pad to whole groups of lanes."""
    d = X.shape[2]
    for i in range(rows):
        for j in range(d):
            tile[j * BLOCK + i] = np.float64(X[item, first + i, j]) * factor[j]
    last = d
    if intercept:
        for i in range(rows):
            tile[d * BLOCK + i] = 1.0
        last = d + 1
    for i in range(rows):
        tile[last * BLOCK + i] = np.float64(y[target_item, first + i]) * factor[last]
    padded = (rows + LANES - 1) // LANES * LANES
    for i in range(rows, padded):
        for j in range(last + 1):
            tile[j * BLOCK + i] = 0.0


@part
def _multiply_block(tile, groups, first_column, last_column, lanes):
    """Add one block to the lanes of every wanted pair of columns: float64 sums."""
    for j in range(first_column, last_column):
        for i in range(j + 1):
            pair = (j * (j + 1) // 2 + i) * LANES
            total = load(lanes, pair)
            for g in range(groups):
                total = fma(load(tile, i * BLOCK + g * LANES), load(tile, j * BLOCK + g * LANES), total)
            store(lanes, pair, total)


@part
def _multiply_block_doubled(tile, groups, first_column, last_column, lanes, low_lanes):
    """The same as compensated dot products (Ogita, Rump, Oishi 2005)."""
    for j in range(first_column, last_column):
        for i in range(j + 1):
            pair = (j * (j + 1) // 2 + i) * LANES
            total = load(lanes, pair)
            low = load(low_lanes, pair)
            for g in range(groups):
                a = load(tile, i * BLOCK + g * LANES)
                b = load(tile, j * BLOCK + g * LANES)
                product = multiply(a, b)
                error = fma(a, b, negate(product))
                total, lost = two_sum_lanes(total, product)
                low = add(low, add(lost, error))
            store(lanes, pair, total)
            store(low_lanes, pair, low)


@part
def _add_lanes_doubled(lanes, low_lanes, pair, high, low):
    """The butterfly in double-double; `high` and `low` are scratch of 32."""
    for lane in range(LANES):
        high[lane], low[lane] = two_sum(lanes[pair + lane], low_lanes[pair + lane])
    width = LANES // 2
    while width:
        for lane in range(width):
            high[lane], low[lane] = dd_add(high[lane], low[lane], high[lane + width], low[lane + width])
        width //= 2
    return high[0], low[0]


@part
def _join_in_place(parts, low_parts, exponents, count, n_columns, doubled):
    """Add parts 0 … count-1 pairwise, neighbour with neighbour, into part 0."""
    n_entries = parts.shape[1]
    left_factor = np.empty(n_columns)
    right_factor = np.empty(n_columns)
    while count > 1:
        pairs = count // 2
        for p in range(pairs):
            left, right = 2 * p, 2 * p + 1
            if not doubled:
                for entry in range(n_entries):
                    parts[p, entry] = parts[left, entry] + parts[right, entry]
                continue
            for j in range(n_columns):
                k = max(exponents[left, j], exponents[right, j])
                left_factor[j] = pow2(exponents[left, j] - k)
                right_factor[j] = pow2(exponents[right, j] - k)
                exponents[p, j] = k
            entry = 0
            for j in range(n_columns):
                for i in range(j + 1):
                    parts[p, entry], low_parts[p, entry] = dd_add(
                        (parts[left, entry] * left_factor[i]) * left_factor[j],
                        (low_parts[left, entry] * left_factor[i]) * left_factor[j],
                        (parts[right, entry] * right_factor[i]) * right_factor[j],
                        (low_parts[right, entry] * right_factor[i]) * right_factor[j],
                    )
                    entry += 1
        if count % 2:
            copy(parts[count - 1], parts[pairs])
            if doubled:
                copy(low_parts[count - 1], low_parts[pairs])
                copy(exponents[count - 1], exponents[pairs])
            pairs += 1
        count = pairs


@part
def _exponents_of_chunk(X, y, item, target_item, start, stop, intercept, exponents, factor):
    """Each column's exponent over the samples start … stop-1, and the factor that scales it into [1, 2)."""
    d = X.shape[2]
    for j in range(d):
        factor[j] = 0.0
    largest = 0.0
    for i in range(start, stop):
        for j in range(d):
            size = abs(np.float64(X[item, i, j]))
            if size > factor[j]:
                factor[j] = size
        size = abs(np.float64(y[target_item, i]))
        if size > largest:
            largest = size
    last = d
    if intercept:
        factor[d] = 1.0
        last = d + 1
    factor[last] = largest
    for j in range(last + 1):
        exponents[j] = exponent_of(factor[j])
        factor[j] = pow2(-exponents[j])


@part
def _write_item(parts, low_parts, part_exponents, item, n_gram, gram, target, exponents, doubled):
    """Part 0 of the scratch becomes the item's record."""
    if gram.shape[0]:
        copy(parts[0, :n_gram], gram[item, 0])
        if doubled:
            copy(low_parts[0, :n_gram], gram[item, 1])
    if target.shape[0]:
        copy(parts[0, n_gram:], target[item, 0])
        if doubled:
            copy(low_parts[0, n_gram:], target[item, 1])
    copy(part_exponents[0], exponents[item])


@kernel
def compress(X, y, x_index, y_index, start, stop, intercept, gram, target, exponents, cancel):
    """Moments of items. An empty `gram` or `target` (length 0) is not computed.

    X (n_x, n, d), y (n_y, n); x_index, y_index, start, stop (items,) int64; gram (items, planes, D(D+1)/2) and target (items, planes, D+1)
    float64, planes = 1 for float32 data and 2 (hi, lo) for float64 data; exponents (items, D+1) int64, all 0 for float32 data.
    """
    d = X.shape[2]
    n_parameters = d + 1 if intercept else d
    n_columns = n_parameters + 1
    n_gram = n_parameters * (n_parameters + 1) // 2
    n_entries = n_gram + n_columns
    doubled = X.itemsize == 8
    first_column = 0 if gram.shape[0] else n_parameters
    last_column = n_columns if target.shape[0] else n_parameters
    most = 1
    for item in range(len(start)):
        most = max(most, (stop[item] - start[item] + CHUNK - 1) // CHUNK)
    parts = np.zeros((most, n_entries))
    low_parts = np.zeros((most if doubled else 1, n_entries))
    part_exponents = np.zeros((most, n_columns), np.int64)
    tile = np.empty(n_columns * BLOCK)
    lanes = np.empty(n_entries * LANES)
    low_lanes = np.empty(n_entries * LANES if doubled else LANES)
    factor = np.ones(n_columns)
    high, low = np.empty(LANES), np.empty(LANES)
    for item in range(len(start)):
        count = 0
        for chunk_start in range(start[item], stop[item], CHUNK):
            chunk_stop = min(chunk_start + CHUNK, stop[item])
            lanes[:] = 0.0
            if doubled:
                low_lanes[:] = 0.0
                _exponents_of_chunk(X, y, x_index[item], y_index[item], chunk_start, chunk_stop, intercept, part_exponents[count], factor)
            for first in range(chunk_start, chunk_stop, BLOCK):
                if raised(cancel):
                    return
                rows = min(BLOCK, chunk_stop - first)
                groups = (rows + LANES - 1) // LANES
                _fill_tile(tile, rows, X, y, x_index[item], y_index[item], first, chunk_stop, intercept, factor)
                if doubled:
                    _multiply_block_doubled(tile, groups, first_column, last_column, lanes, low_lanes)
                else:
                    _multiply_block(tile, groups, first_column, last_column, lanes)
            for entry in range(first_column * (first_column + 1) // 2, last_column * (last_column + 1) // 2):
                if doubled:
                    parts[count, entry], low_parts[count, entry] = _add_lanes_doubled(lanes, low_lanes, entry * LANES, high, low)
                else:
                    parts[count, entry] = butterfly(load(lanes, entry * LANES))
            count += 1
        if count > 1:
            _join_in_place(parts, low_parts, part_exponents, count, n_columns, doubled)
        _write_item(parts, low_parts, part_exponents, item, n_gram, gram, target, exponents, doubled)


@kernel
def join(gram, target, exponents):
    """Add the records of the parts of one long fit, in place, into record 0. `gram` or `target` may be empty."""
    items, n_columns = exponents.shape
    n_gram = gram.shape[2]
    doubled = gram.shape[1] == 2
    parts = np.zeros((items, n_gram + n_columns))
    low_parts = np.zeros((items, n_gram + n_columns))
    for item in range(items):
        if gram.shape[0]:
            copy(gram[item, 0], parts[item, :n_gram])
            if doubled:
                copy(gram[item, 1], low_parts[item, :n_gram])
        if target.shape[0]:
            copy(target[item, 0], parts[item, n_gram:])
            if doubled:
                copy(target[item, 1], low_parts[item, n_gram:])
    part_exponents = exponents.copy()
    _join_in_place(parts, low_parts, part_exponents, items, n_columns, doubled)
    _write_item(parts, low_parts, part_exponents, 0, n_gram, gram, target, exponents, doubled)
