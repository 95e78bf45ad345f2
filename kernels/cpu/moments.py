"""compress: the second moments of each item's data, in one read (docs/arithmetic.md, sections 2 to 4).

1. An item is a range of samples of one fit: a whole fit, or one of the equal parts of a long one, each a power of two times 4,096
   samples long. Chunks, and then parts (`join`), are added pairwise, neighbour with neighbour, so every such split gives the same
   bits.
2. The moments of columns z_0 … z_D (features, the intercept's ones, y) are packed by columns: entry (i, j), i ≤ j, is at j(j+1)/2 + i.
   So the Gram matrix comes first and [c, yy] are the last D + 1: each is computed alone when the other is shared.
3. Blocks of 256 samples are transposed to feature-major float64 in the L1/L2 cache; a pair of columns keeps its 32 lanes in registers
   for a block. Padding with zeros is exact here: no lane can hold -0.
4. With weights a second tile holds the columns times the weights (for float64 data a third one the errors of these products): of a pair of
   columns the first is taken from there. A tile is (columns, BLOCK), flat; the weights are the column after y.
5. What belongs to the weights of an item is a row of `weighing`: W, W′, k_ω, and the least weight. The last two are given.
"""

from __future__ import annotations

import numpy as np

from .compiling import aligned, copy, inlined, kernel, part
from .doubled import dd_add, exponent_of, pow2
from .samples import where_of
from .tiles import (
    BLOCK,
    add_lanes_doubled,
    fill_tile,
    largest_of_tile,
    multiply_block,
    multiply_block_doubled,
    scale_tile,
    sum_weights,
    weigh_tile,
)
from .vectors import LANES, butterfly, is_double, load, raised

CHUNK = 4096  # samples; part of the specification
MOST_PAIRS = 4096  # of columns whose lanes are held at a time (1 MiB, or 2): with many features the tile is filled several times
RANGE = 16 * CHUNK  # samples of an item at most; CHUNK times any power of two gives the same bits


W_HIGH, W_LOW, W_EXPONENT, W_LEAST = range(4)  # columns of `weighing`


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
    parts[result, entry], low_parts[result, entry] = dd_add(
        parts[left, entry], low_parts[left, entry], parts[right, entry], low_parts[right, entry]
    )  # the sum of the weights


@part
def _exponents_of_chunk(tile, data, where, start, stop, d, intercept, exponents, factor):
    """Each column's exponent over the samples start … stop-1, and the factor that scales it into [1, 2); one block stays in the tile."""
    count = len(exponents)
    for j in range(count):
        factor[j] = 0.0
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        fill_tile(tile, rows, data, where, first, d, intercept)
        largest_of_tile(tile, (rows + LANES - 1) // LANES, count, factor)
    for j in range(count):
        exponents[j] = exponent_of(factor[j])
        factor[j] = pow2(-exponents[j])


@inlined
def _write_item(parts, low_parts, part_exponents, item, n_gram, gram, target, exponents, weighing, doubled):
    """Part 0 of the scratch becomes the item's record."""
    n_entries = n_gram + exponents.shape[1]
    weighing[item, W_HIGH] = parts[0, n_entries]
    weighing[item, W_LOW] = low_parts[0, n_entries] if doubled else 0.0
    if gram.shape[0]:
        copy(parts[0, :n_gram], gram[item, 0])
        if doubled:
            copy(low_parts[0, :n_gram], gram[item, 1])
    if target.shape[0]:
        copy(parts[0, n_gram:n_entries], target[item, 0])
        if doubled:
            copy(low_parts[0, n_gram:n_entries], target[item, 1])
    copy(part_exponents[0], exponents[item])


@inlined
def _sum_columns(data, where, start, stop, d, intercept, factor, columns, parts, low_parts, level, scratch, doubled, filled, cancel):
    """One chunk's moments of the columns columns[0] … columns[1]-1, into part `level`; False if cancelled."""
    tile, weighted_tile, low_weighted_tile, lanes, low_lanes = scratch
    first_column, last_column = columns
    n_columns = d + 2 if intercept else d + 1
    weighted = len(data[4]) > 0
    n_entries = n_columns * (n_columns + 1) // 2
    offset = first_column * (first_column + 1) // 2
    count = last_column * (last_column + 1) // 2 - offset
    for lane in range((count + 1) * LANES):
        lanes[lane] = 0.0
        if doubled:
            low_lanes[lane] = 0.0
    pair_lanes, low_pair_lanes = lanes[LANES:], low_lanes[LANES:]
    for first in range(start, stop, BLOCK):
        if raised(cancel):
            return False
        rows = min(BLOCK, stop - first)
        groups = (rows + LANES - 1) // LANES
        if not filled:
            fill_tile(tile, rows, data, where, first, d, intercept)
        if doubled:
            scale_tile(tile, groups, n_columns + weighted, factor)
        left = tile
        if weighted:
            weigh_tile(tile, groups, n_columns, weighted_tile, low_weighted_tile, doubled)
            sum_weights(tile, groups, n_columns, lanes, low_lanes, doubled)
            left = weighted_tile
        if doubled:
            multiply_block_doubled(left, low_weighted_tile, weighted, tile, groups, first_column, last_column, pair_lanes, low_pair_lanes)
        else:
            multiply_block(left, tile, groups, first_column, last_column, pair_lanes)
    for entry in range(count):
        if doubled:
            parts[level, offset + entry], low_parts[level, offset + entry] = add_lanes_doubled(pair_lanes, low_pair_lanes, entry * LANES)
        else:
            parts[level, offset + entry] = butterfly(load(pair_lanes, entry * LANES))
    if not weighted:
        parts[level, n_entries] = float(stop - start)
    elif doubled:
        parts[level, n_entries], low_parts[level, n_entries] = add_lanes_doubled(lanes, low_lanes, 0)
    else:
        parts[level, n_entries] = butterfly(load(lanes, 0))
    return True


@kernel
def compress(data, index, start, stop, intercept, gram, target, exponents, weighing, cancel):
    """Moments of items, each a range of the samples that stay. An empty `gram` or `target` (length 0) is not computed.

    data, index: samples.py, 1 and 2; start, stop (items,) int64; gram (items, planes, D(D+1)/2) and target (items, planes, D+1) float64,
    planes = 1 for float32 data and 2 (hi, lo) for float64 data; exponents (items, D+1) int64, all 0 for float32 data; weighing (items, 4).
    """
    n_columns = exponents.shape[1]
    n_parameters = n_columns - 1
    d = n_parameters - 1 if intercept else n_parameters
    n_gram = n_parameters * n_columns // 2
    n_entries = n_gram + n_columns
    doubled = is_double(data[0])
    weighted = len(data[4]) > 0
    first_wanted = 0 if gram.shape[0] else n_parameters
    last_wanted = n_columns if target.shape[0] else n_parameters
    longest = 1
    for item in range(len(start)):
        longest = max(longest, (stop[item] - start[item] + CHUNK - 1) // CHUNK)
    depth = 1  # of the stack of parts: part p holds the sum of a power of two of chunks
    while (1 << (depth - 1)) < longest:
        depth += 1
    parts = np.zeros((depth, n_entries + 1))  # the last entry is the sum of the weights
    low_parts = np.zeros((depth if doubled else 1, n_entries + 1))
    part_exponents = np.zeros((depth, n_columns), np.int64)
    n_lanes = (min(n_entries, max(MOST_PAIRS, n_columns)) + 1) * LANES
    low_lanes = np.empty((n_lanes if doubled else LANES) + 8)
    n_weighted = n_columns * BLOCK if weighted else 0
    scratch = (
        aligned(np.empty((n_columns + 1) * BLOCK + 8)), aligned(np.empty(n_weighted + 8)),
        aligned(np.empty((n_weighted if doubled else 0) + 8)), aligned(np.empty(n_lanes + 8)), aligned(low_lanes),
    )  # fmt: skip
    factor = np.ones(n_columns + 1)
    for item in range(len(start)):
        where = where_of(data, index, item)
        factor[n_columns] = pow2(-np.int64(weighing[item, W_EXPONENT]))
        level = 0  # parts on the stack
        for chunk_start in range(start[item], stop[item], CHUNK):
            chunk_stop = min(chunk_start + CHUNK, stop[item])
            if doubled:
                _exponents_of_chunk(scratch[0], data, where, chunk_start, chunk_stop, d, intercept, part_exponents[level], factor)
            first = first_wanted
            while first < last_wanted:
                last = first + 1
                while last < last_wanted and ((last + 1) * (last + 2) - first * (first + 1)) // 2 <= MOST_PAIRS:
                    last += 1
                filled = doubled and first == first_wanted and chunk_stop - chunk_start <= BLOCK
                if not _sum_columns(
                    data, where, chunk_start, chunk_stop, d, intercept, factor, (first, last), parts, low_parts, level, scratch, doubled,
                    filled, cancel,
                ):  # fmt: skip
                    return
                first = last
            level += 1
            equal = (chunk_start - start[item]) // CHUNK + 1  # chunks so far; two parts of as many chunks each become one
            while equal % 2 == 0:
                _add_parts(parts, low_parts, part_exponents, level - 2, level - 1, level - 2, n_columns, doubled)
                level -= 1
                equal //= 2
        if level == 0:  # no sample stayed
            parts[0], low_parts[0], part_exponents[0] = 0.0, 0.0, 0
        while level > 1:  # the odd ones, which passed up
            _add_parts(parts, low_parts, part_exponents, level - 2, level - 1, level - 2, n_columns, doubled)
            level -= 1
        _write_item(parts, low_parts, part_exponents, item, n_gram, gram, target, exponents, weighing, doubled)


@kernel
def join(gram, target, exponents, weighing, used):
    """Add the records of the first `used` parts of one long fit, in place, into record 0. `gram` or `target` may be empty."""
    n_columns = exponents.shape[1]
    n_gram = n_columns * (n_columns - 1) // 2
    n_entries = n_gram + n_columns
    doubled = (gram.shape[1] if gram.shape[0] else target.shape[1]) == 2
    parts = np.zeros((used, n_entries + 1))
    low_parts = np.zeros((used, n_entries + 1))
    part_exponents = exponents.copy()
    for item in range(used):
        if gram.shape[0]:
            copy(gram[item, 0], parts[item, :n_gram])
            if doubled:
                copy(gram[item, 1], low_parts[item, :n_gram])
        if target.shape[0]:
            copy(target[item, 0], parts[item, n_gram:n_entries])
            if doubled:
                copy(target[item, 1], low_parts[item, n_gram:n_entries])
        parts[item, n_entries], low_parts[item, n_entries] = weighing[item, W_HIGH], weighing[item, W_LOW]
    step = 1
    while step < used:
        for left in range(0, used - step, 2 * step):
            _add_parts(parts, low_parts, part_exponents, left, left + step, left, n_columns, doubled)
        step *= 2
    _write_item(parts, low_parts, part_exponents, 0, n_gram, gram, target, exponents, weighing, doubled)
