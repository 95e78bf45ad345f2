"""compress: the second moments of each item's data, in one read (docs/arithmetic.md, sections 2 to 4).

1. An item is a range of samples of one fit: a whole fit, or one of the equal parts of a long one, each a power of two times 4,096
   samples long. Chunks, and then parts (`join`), are added pairwise, neighbour with neighbour, so every such split gives the same
   bits.
2. The moments of columns z_0 … z_D (features, the intercept's ones, y) are packed by columns: entry (i, j), i ≤ j, is at j(j+1)/2 + i.
   So the Gram matrix comes first and [c, yy] are the last D + 1: each is computed alone when the other is shared.
3. Blocks of 512 samples are transposed to feature-major float64 in the L1/L2 cache; a pair of columns keeps its 32 lanes in registers
   for a block. Padding with zeros is exact here: no lane can hold -0.
"""

from __future__ import annotations

import numpy as np

from .compiling import copy, kernel, part
from .doubled import dd_add, exponent_of, pow2, two_sum, two_sum_lanes
from .vectors import LANES, add, butterfly, fma, load, multiply, negate, raised, store

CHUNK = 4096  # samples; part of the specification
BLOCK = 512  # samples; any multiple of 32 that divides CHUNK gives the same bits
MOST_PAIRS = 4096  # of columns whose lanes are held at a time (1 MiB, or 2): with many features the tile is filled several times
RANGE = 16 * CHUNK  # samples of an item at most; CHUNK times any power of two gives the same bits


@part
def _fill_tile(tile, rows, X, y, item, target_item, first, intercept, factor):
    """Copy samples first … first+rows-1 to tile (Z·BLOCK, feature-major), times a factor per column; pad to whole groups of lanes."""
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
    """Add one block to the lanes of every pair of columns (i, j), i ≤ j, first_column ≤ j < last_column: float64 sums."""
    pair = -LANES
    for j in range(first_column, last_column):
        for i in range(j + 1):
            pair += LANES
            total = load(lanes, pair)
            for g in range(groups):
                total = fma(load(tile, i * BLOCK + g * LANES), load(tile, j * BLOCK + g * LANES), total)
            store(lanes, pair, total)


@part
def _multiply_block_doubled(tile, groups, first_column, last_column, lanes, low_lanes):
    """The same as compensated dot products (Ogita, Rump, Oishi 2005)."""
    pair = -LANES
    for j in range(first_column, last_column):
        for i in range(j + 1):
            pair += LANES
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
def _add_parts(parts, low_parts, exponents, left, right, result, n_columns, doubled):
    """Part `result` = part `left` + part `right`; `result` may be `left`."""
    if not doubled:
        for entry in range(parts.shape[1]):
            parts[result, entry] = parts[left, entry] + parts[right, entry]
        return
    left_factor, right_factor = np.empty(n_columns), np.empty(n_columns)
    for j in range(n_columns):
        k = max(exponents[left, j], exponents[right, j])
        left_factor[j] = pow2(exponents[left, j] - k)
        right_factor[j] = pow2(exponents[right, j] - k)
        exponents[result, j] = k
    entry = 0
    for j in range(n_columns):
        for i in range(j + 1):
            parts[result, entry], low_parts[result, entry] = dd_add(
                (parts[left, entry] * left_factor[i]) * left_factor[j],
                (low_parts[left, entry] * left_factor[i]) * left_factor[j],
                (parts[right, entry] * right_factor[i]) * right_factor[j],
                (low_parts[right, entry] * right_factor[i]) * right_factor[j],
            )
            entry += 1


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


@part
def _sum_columns(
    X, y, item, target_item, start, stop, intercept, factor, first_column, last_column, parts, low_parts, level, scratch, cancel
):
    """One chunk's moments of some columns, into part `level`; False if cancelled. scratch: tile, lanes, low_lanes, high, low."""
    tile, lanes, low_lanes, high, low = scratch
    doubled = X.itemsize == 8
    offset = first_column * (first_column + 1) // 2
    count = last_column * (last_column + 1) // 2 - offset
    for lane in range(count * LANES):
        lanes[lane] = 0.0
        if doubled:
            low_lanes[lane] = 0.0
    for first in range(start, stop, BLOCK):
        if raised(cancel):
            return False
        rows = min(BLOCK, stop - first)
        groups = (rows + LANES - 1) // LANES
        _fill_tile(tile, rows, X, y, item, target_item, first, intercept, factor)
        if doubled:
            _multiply_block_doubled(tile, groups, first_column, last_column, lanes, low_lanes)
        else:
            _multiply_block(tile, groups, first_column, last_column, lanes)
    for entry in range(count):
        if doubled:
            parts[level, offset + entry], low_parts[level, offset + entry] = _add_lanes_doubled(lanes, low_lanes, entry * LANES, high, low)
        else:
            parts[level, offset + entry] = butterfly(load(lanes, entry * LANES))
    return True


@kernel
def compress(X, y, x_index, y_index, start, stop, intercept, gram, target, exponents, cancel):
    """Moments of items. An empty `gram` or `target` (length 0) is not computed.

    X (n_x, n, d), y (n_y, n); x_index, y_index, start, stop (items,) int64; gram (items, planes, D(D+1)/2) and target (items, planes, D+1)
    float64, planes = 1 for float32 data and 2 (hi, lo) for float64 data; exponents (items, D+1) int64, all 0 for float32 data.
    """
    n_parameters = X.shape[2] + 1 if intercept else X.shape[2]
    n_columns = n_parameters + 1
    n_gram = n_parameters * (n_parameters + 1) // 2
    n_entries = n_gram + n_columns
    doubled = X.itemsize == 8
    first_wanted = 0 if gram.shape[0] else n_parameters
    last_wanted = n_columns if target.shape[0] else n_parameters
    longest = 1
    for item in range(len(start)):
        longest = max(longest, (stop[item] - start[item] + CHUNK - 1) // CHUNK)
    depth = 1  # of the stack of parts: part p holds the sum of a power of two of chunks
    while (1 << (depth - 1)) < longest:
        depth += 1
    parts = np.zeros((depth, n_entries))
    low_parts = np.zeros((depth if doubled else 1, n_entries))
    part_exponents = np.zeros((depth, n_columns), np.int64)
    n_lanes = min(n_entries, max(MOST_PAIRS, n_columns)) * LANES
    low_lanes = np.empty(n_lanes if doubled else 1)
    scratch = (np.empty(n_columns * BLOCK), np.empty(n_lanes), low_lanes, np.empty(LANES), np.empty(LANES))
    factor = np.ones(n_columns)
    for item in range(len(start)):
        level = 0  # parts on the stack
        for chunk_start in range(start[item], stop[item], CHUNK):
            chunk_stop = min(chunk_start + CHUNK, stop[item])
            if doubled:
                _exponents_of_chunk(X, y, x_index[item], y_index[item], chunk_start, chunk_stop, intercept, part_exponents[level], factor)
            first = first_wanted
            while first < last_wanted:
                last = first + 1
                while last < last_wanted and ((last + 1) * (last + 2) - first * (first + 1)) // 2 <= MOST_PAIRS:
                    last += 1
                if not _sum_columns(
                    X, y, x_index[item], y_index[item], chunk_start, chunk_stop, intercept, factor, first, last, parts, low_parts, level,
                    scratch, cancel,
                ):  # fmt: skip
                    return
                first = last
            level += 1
            equal = (chunk_start - start[item]) // CHUNK + 1  # chunks so far; two parts of as many chunks each become one
            while equal % 2 == 0:
                _add_parts(parts, low_parts, part_exponents, level - 2, level - 1, level - 2, n_columns, doubled)
                level -= 1
                equal //= 2
        while level > 1:  # the odd ones, which passed up
            _add_parts(parts, low_parts, part_exponents, level - 2, level - 1, level - 2, n_columns, doubled)
            level -= 1
        _write_item(parts, low_parts, part_exponents, item, n_gram, gram, target, exponents, doubled)


@kernel
def join(gram, target, exponents):
    """Add the records of the parts of one long fit, in place, into record 0. `gram` or `target` may be empty."""
    count, n_columns = exponents.shape
    n_gram = gram.shape[2]
    doubled = gram.shape[1] == 2
    parts = np.zeros((count, n_gram + n_columns))
    low_parts = np.zeros((count, n_gram + n_columns))
    part_exponents = exponents.copy()
    for item in range(count):
        if gram.shape[0]:
            copy(gram[item, 0], parts[item, :n_gram])
            if doubled:
                copy(gram[item, 1], low_parts[item, :n_gram])
        if target.shape[0]:
            copy(target[item, 0], parts[item, n_gram:])
            if doubled:
                copy(target[item, 1], low_parts[item, n_gram:])
    step = 1
    while step < count:
        for left in range(0, count - step, 2 * step):
            _add_parts(parts, low_parts, part_exponents, left, left + step, left, n_columns, doubled)
        step *= 2
    _write_item(parts, low_parts, part_exponents, 0, n_gram, gram, target, exponents, doubled)
