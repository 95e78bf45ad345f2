"""compress: the second moments of each item's data, in one read (docs/arithmetic.md, sections 2 to 4).

1. An item is a range of samples of one fit: a whole fit, or one of the equal parts of a long one, each a power of two times 4,096
   samples long. Chunks, and then parts (`join`), are added pairwise, neighbour with neighbour, so every such split gives the same
   bits.
2. The moments of columns z_0 … z_D (features, the intercept's ones, y) are packed by columns: entry (i, j), i ≤ j, is at j(j+1)/2 + i.
   So the Gram matrix comes first and [c, yy] are the last D + 1: each is computed alone when the other is shared.
3. Blocks of 256 samples are transposed to feature-major float64 in the L1/L2 cache; a pair of columns keeps its 32 lanes in registers
   for a block. Padding with zeros is exact here: no lane can hold -0.
4. With weights a second tile holds the columns times the weights (for float64 data a third one the errors of these products): of a pair of
   columns the first is taken from there. A tile is (columns, STRIDE), flat; the weights are the column after y.
5. What belongs to the weights of an item is a row of `weighing`: W, W′, k_ω, and the least weight. The last two are given.
"""

from __future__ import annotations

import math

import numpy as np

from ..simd.addresses import address, count_at, further, hold
from ..simd.compiling import aligned, copy, inlined, kernel, part
from ..simd.double_double import dd_add, exponent_of, pow2
from ..simd.lanes import LANES, fill, store
from ..simd.scalars import fetch, get, is_double, move, put, raised
from ..simd.transpose import SIDE
from .lane_sums import add_lanes, add_lanes_doubled
from .register_tiles import BLOCK, STRIDE, multiply_block, multiply_block_doubled
from .samples import is_weighted, sources_of, where_of
from .single_feature import ROOM, SX, SY, XX, XY, YY, are_lines, sum_lines, sum_lines_doubled
from .tiles import fill_tile, largest_of_tile, scale_tile, sum_weights, weigh_tile

CHUNK = 4096  # samples; part of the specification
MOST_PAIRS = 4096  # of columns whose lanes are held at a time (1 MiB, or 2): with many features the tile is filled several times
LINES = 1024  # items between two looks at the cancel flag
RANGE = 16 * CHUNK  # samples of an item at most; CHUNK times any power of two gives the same bits


W_HIGH, W_LOW, W_EXPONENT, W_LEAST = range(4)  # columns of `weighing`


@part
def _add_parts(left, right, result, n_columns, entries, pieces, doubled):
    """Part `result` = part `left` + part `right`; `result` may be `left`. entries: of a part, the last one is the sum of the weights."""
    parts, low_parts, exponents, factors = pieces
    size = n_columns * (n_columns + 1) // 2 + 1
    a, b, c = left * entries, right * entries, result * entries
    if not doubled:
        for entry in range(size):
            put(parts, c + entry, get(parts, a + entry) + get(parts, b + entry))
        return
    for j in range(n_columns):
        k_left, k_right = count_at(exponents, left * n_columns + j), count_at(exponents, right * n_columns + j)
        k = max(k_left, k_right)
        put(factors, j, pow2(k_left - k))
        put(factors, n_columns + j, pow2(k_right - k))
        put(exponents, result * n_columns + j, k)
    entry = 0
    for j in range(n_columns):
        of_left, of_right = get(factors, j), get(factors, n_columns + j)
        for i in range(j + 1):
            with_left, with_right = get(factors, i), get(factors, n_columns + i)
            high, low = dd_add(
                (get(parts, a + entry) * with_left) * of_left,
                (get(low_parts, a + entry) * with_left) * of_left,
                (get(parts, b + entry) * with_right) * of_right,
                (get(low_parts, b + entry) * with_right) * of_right,
            )
            put(parts, c + entry, high)
            put(low_parts, c + entry, low)
            entry += 1
    high, low = dd_add(get(parts, a + entry), get(low_parts, a + entry), get(parts, b + entry), get(low_parts, b + entry))
    put(parts, c + entry, high)
    put(low_parts, c + entry, low)


@part
def _exponents_of_chunk(tile, sources, where, start, stop, d, intercept, exponents, factor, count):
    """Each column's exponent over the samples start … stop-1, and the factor that scales it into [1, 2); one block stays in the tile."""
    for j in range(count):
        put(factor, j, 0.0)
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        fill_tile(tile, rows, sources, where, first, d, intercept)
        largest_of_tile(tile, (rows + LANES - 1) // LANES, count, factor)
    for j in range(count):
        k = exponent_of(get(factor, j))
        put(exponents, j, np.int64(k))
        put(factor, j, pow2(-k))


@inlined
def _copy(source, at, target, to, count):
    for i in range(count):
        move(source, at + i, target, to + i)


@part
def _write_item(pieces, item, n_gram, n_target, gram, has_gram, target, has_target, exponents, weighing, doubled):
    """Part 0 of the scratch becomes the item's record."""
    parts, low_parts, part_exponents, _ = pieces
    n_entries = n_gram + n_target
    put(weighing, item * 4 + W_HIGH, get(parts, n_entries))
    put(weighing, item * 4 + W_LOW, get(low_parts, n_entries) if doubled else 0.0)
    planes = 2 if doubled else 1
    if has_gram:
        _copy(parts, 0, gram, item * planes * n_gram, n_gram)
        if doubled:
            _copy(low_parts, 0, gram, (item * planes + 1) * n_gram, n_gram)
    if has_target:
        _copy(parts, n_gram, target, item * planes * n_target, n_target)
        if doubled:
            _copy(low_parts, n_gram, target, (item * planes + 1) * n_target, n_target)
    for j in range(n_target):
        put(exponents, item * n_target + j, count_at(part_exponents, j))


@part
def _sum_columns(sources, where, start, stop, d, intercept, columns, scratch, pieces, entries, level, filled, cancel):
    """One chunk's moments of the columns columns[0] … columns[1]-1, into part `level`; False if cancelled."""
    tile, weighted_tile, low_weighted_tile, lanes, low_lanes, factor = scratch
    first_column, last_column = columns
    n_columns = d + 2 if intercept else d + 1
    weighted, doubled = is_weighted(sources), is_double(sources[0][0])
    offset = first_column * (first_column + 1) // 2
    count = last_column * (last_column + 1) // 2 - offset
    to = level * entries + offset
    if weighted:
        store(lanes, count * LANES, fill(0.0))
        if doubled:
            store(low_lanes, count * LANES, fill(0.0))
    for first in range(start, stop, BLOCK):
        if raised(cancel):
            return False
        rows = min(BLOCK, stop - first)
        groups = (rows + LANES - 1) // LANES
        if not filled:
            fill_tile(tile, rows, sources, where, first, d, intercept)
        if doubled:
            scale_tile(tile, groups, n_columns + weighted, factor)
        left = tile
        if weighted:
            weigh_tile(tile, groups, n_columns, weighted_tile, low_weighted_tile, doubled)
            sum_weights(tile, groups, n_columns, lanes, low_lanes, count * LANES, doubled)
            left = weighted_tile
        fresh = first == start
        ahead = further(sources[0][0], where[0] + (first + rows) * sources[0][4])  # the next block's samples, or the next fit's
        if sources[1][3] == 1:
            for i in range(0, rows, 8 if doubled else 16):
                fetch(sources[1][0], where[1] + first + rows + i)
        if doubled:
            multiply_block_doubled(
                left, low_weighted_tile, weighted, tile, groups, first_column, last_column, lanes, low_lanes, fresh, ahead
            )
        else:
            multiply_block(left, tile, groups, first_column, last_column, lanes, fresh, ahead)
    parts, low_parts = pieces[0], pieces[1]
    last = level * entries + n_columns * (n_columns + 1) // 2  # where the sum of the weights belongs
    if doubled:  # what is written beyond the last column is either written anew or not read
        add_lanes_doubled(lanes, low_lanes, count + 1, further(parts, to), further(low_parts, to))
        put(low_parts, last, get(low_parts, to + count) if weighted else 0.0)
    else:
        add_lanes(lanes, count + 1, further(parts, to))
    put(parts, last, get(parts, to + count) if weighted else float(stop - start))
    return True


@part
def _compress_item(sources, where, start, stop, d, intercept, wanted, scratch, pieces, entries, cancel):
    """The moments of one item into part 0; False if cancelled."""
    n_columns = d + 2 if intercept else d + 1
    parts, low_parts, part_exponents, _ = pieces
    doubled = is_double(sources[0][0])
    level = 0  # parts on the stack
    for chunk_start in range(start, stop, CHUNK):
        chunk_stop = min(chunk_start + CHUNK, stop)
        if doubled:
            exponents = further(part_exponents, level * n_columns)
            _exponents_of_chunk(scratch[0], sources, where, chunk_start, chunk_stop, d, intercept, exponents, scratch[5], n_columns)
        first = wanted[0]
        while first < wanted[1]:
            last = first + 1
            while last < wanted[1] and ((last + 1) * (last + 2) - first * (first + 1)) // 2 <= MOST_PAIRS:
                last += 1
            filled = doubled and first == wanted[0] and chunk_stop - chunk_start <= BLOCK
            if not _sum_columns(
                sources, where, chunk_start, chunk_stop, d, intercept, (first, last), scratch, pieces, entries, level, filled, cancel
            ):
                return False
            first = last
        level += 1
        equal = (chunk_start - start) // CHUNK + 1  # chunks so far; two parts of as many chunks each become one
        while equal % 2 == 0:
            _add_parts(level - 2, level - 1, level - 2, n_columns, entries, pieces, doubled)
            level -= 1
            equal //= 2
    if level == 0:  # no sample stayed
        for entry in range(n_columns * (n_columns + 1) // 2 + 1):
            put(parts, entry, 0.0)
            if doubled:
                put(low_parts, entry, 0.0)
        for j in range(n_columns):
            put(part_exponents, j, np.int64(0))
    while level > 1:  # the odd ones, which passed up
        _add_parts(level - 2, level - 1, level - 2, n_columns, entries, pieces, doubled)
        level -= 1
    return True


@inlined
def _write_plane(sums, at, item, plane, planes, intercept, gram, target):
    """Those sums of a line that are not counts: of the high parts, or of the low ones."""
    n_gram, n_target = (3, 3) if intercept else (1, 2)
    to_gram, to_target = (planes * item + plane) * n_gram, (planes * item + plane) * n_target
    move(sums, at + XX * SIDE, gram, to_gram)
    move(sums, at + XY * SIDE, target, to_target)
    move(sums, at + YY * SIDE, target, to_target + n_target - 1)
    if intercept:
        move(sums, at + SX * SIDE, gram, to_gram + 1)
        move(sums, at + SY * SIDE, target, to_target + 1)


@part
def _compress_lines(sources, start, stop, first, last, intercept, scratch, records):
    """The moments of items first … last-1, eight at a time; whether all are finite."""
    gram, target, exponents, weighing = records
    finite = True
    n_target = 3 if intercept else 2
    for begin in range(first, last, SIDE):
        count = min(SIDE, last - begin)
        sums = sum_lines(sources, begin, count, start, stop, True, intercept, scratch)
        for k in range(count):
            item, at = begin + k, sums + k
            n = float(count_at(stop, item) - count_at(start, item))
            finite = finite and math.isfinite(get(scratch, at + XX * SIDE)) and math.isfinite(get(scratch, at + YY * SIDE))
            _write_plane(scratch, at, item, 0, 1, intercept, gram, target)
            if intercept:
                put(gram, 3 * item + 2, n)
            for j in range(n_target):
                put(exponents, n_target * item + j, np.int64(0))
            put(weighing, 4 * item + W_HIGH, n)
            put(weighing, 4 * item + W_LOW, 0.0)
    return finite


@part
def _compress_lines_doubled(sources, start, stop, first, last, intercept, scratch, records):
    """The same of float64 data. scratch: (high parts, low parts, exponents)."""
    high, low, of_columns = scratch
    gram, target, exponents, weighing = records
    finite = True
    n_target = 3 if intercept else 2
    for begin in range(first, last, SIDE):
        count = min(SIDE, last - begin)
        sums = sum_lines_doubled(sources, begin, count, start, stop, intercept, high, low, of_columns)
        for k in range(count):
            item, at = begin + k, sums + k
            n = float(count_at(stop, item) - count_at(start, item))
            finite = finite and math.isfinite(get(high, at + XX * SIDE)) and math.isfinite(get(high, at + YY * SIDE))
            _write_plane(high, at, item, 0, 2, intercept, gram, target)
            _write_plane(low, at, item, 1, 2, intercept, gram, target)
            put(exponents, n_target * item, count_at(of_columns, 2 * k))
            put(exponents, n_target * item + n_target - 1, count_at(of_columns, 2 * k + 1))
            if intercept:
                put(gram, 6 * item + 2, n)
                put(gram, 6 * item + 5, 0.0)
                put(exponents, n_target * item + 1, np.int64(0))
            put(weighing, 4 * item + W_HIGH, n)
            put(weighing, 4 * item + W_LOW, 0.0)
    return finite


@kernel
def compress(data, index, start, stop, intercept, gram, target, exponents, weighing, cancel):
    """Moments of items, each a range of the samples that stay. An empty `gram` or `target` (length 0) is not computed.

    data, index: samples.py, 1 and 2; start, stop (items,) int64; gram (items, planes, D(D+1)/2) and target (items, planes, D+1) float64,
    planes = 1 for float32 data and 2 (hi, lo) for float64 data; exponents (items, D+1) int64, all 0 for float32 data; weighing (items, 4).
    All are C-contiguous. Returns whether all moments are finite.
    """
    n_columns = exponents.shape[1]
    n_parameters = n_columns - 1
    d = n_parameters - 1 if intercept else n_parameters
    n_gram = n_parameters * n_columns // 2
    n_entries = n_gram + n_columns
    doubled = is_double(data[0])
    weighted = len(data[4]) > 0
    has_gram, has_target = gram.shape[0] > 0, target.shape[0] > 0
    wanted = 0 if has_gram else n_parameters, n_columns if has_target else n_parameters
    longest = 1
    for item in range(len(start)):
        longest = max(longest, (stop[item] - start[item] + CHUNK - 1) // CHUNK)
    depth = 1  # of the stack of parts: part p holds the sum of a power of two of chunks
    while (1 << (depth - 1)) < longest:
        depth += 1
    entries = (n_entries + 1 + 2 * SIDE - 1) // SIDE * SIDE  # of a part; eight at a time are written
    n_sums = (min(n_entries, max(MOST_PAIRS, n_columns)) + SIDE) // SIDE * SIDE
    n_weighted = n_columns * STRIDE if weighted else 0
    tile, weighted_tile = aligned(np.empty((n_columns + 1) * STRIDE + 8)), aligned(np.empty(n_weighted + 8))
    low_weighted_tile = aligned(np.empty((n_weighted if doubled else 0) + 8))
    lanes, low_lanes = aligned(np.zeros(n_sums * LANES + 8)), aligned(np.zeros((n_sums * LANES if doubled else 0) + 8))
    factor, factors = np.ones(n_columns + 1), np.empty(2 * n_columns)
    parts, low_parts = np.empty(depth * entries), np.empty(depth * entries if doubled else 1)
    part_exponents = np.zeros(depth * n_columns, np.int64)
    sources, flag = sources_of(data, index), address(cancel)
    scratch = address(tile), address(weighted_tile), address(low_weighted_tile), address(lanes), address(low_lanes), address(factor)
    pieces = address(parts), address(low_parts), address(part_exponents), address(factors)
    to_gram, to_target, to_exponents, to_weighing = address(gram), address(target), address(exponents), address(weighing)
    finite = True
    done = 0
    if has_gram and has_target and longest == 1 and are_lines(sources, d, len(index[3])):
        records, lines = (to_gram, to_target, to_exponents, to_weighing), aligned(np.zeros(ROOM + 8))
        low_lines, line_exponents = aligned(np.zeros((ROOM if doubled else 0) + 8)), np.empty(2 * SIDE, np.int64)
        for first in range(0, len(start), LINES):
            if raised(flag):
                break
            last = min(first + LINES, len(start))
            if doubled:
                to = address(lines), address(low_lines), address(line_exponents)
                found = _compress_lines_doubled(sources, address(start), address(stop), first, last, intercept, to, records)
            else:
                found = _compress_lines(sources, address(start), address(stop), first, last, intercept, address(lines), records)
            finite = finite and found
        hold((lines, low_lines, line_exponents))
        done = len(start)
    for item in range(done, len(start)):
        factor[n_columns] = pow2(-np.int64(weighing[item, W_EXPONENT]))
        where = where_of(sources, item)
        if not _compress_item(sources, where, start[item], stop[item], d, intercept, wanted, scratch, pieces, entries, flag):
            break
        for j in range(wanted[0], wanted[1]):
            finite = finite and math.isfinite(parts[j * (j + 1) // 2 + j])
        _write_item(pieces, item, n_gram, n_columns, to_gram, has_gram, to_target, has_target, to_exponents, to_weighing, doubled)
    hold((data, index, start, stop, gram, target, exponents, weighing, cancel))
    hold((tile, weighted_tile, low_weighted_tile, lanes, low_lanes, factor, factors, parts, low_parts, part_exponents))
    return finite


@kernel
def join(gram, target, exponents, weighing, used):
    """Add the records of the first `used` parts of one long fit, in place, into record 0. `gram` or `target` may be empty."""
    n_columns = exponents.shape[1]
    n_gram = n_columns * (n_columns - 1) // 2
    n_entries = n_gram + n_columns
    entries = n_entries + 1
    doubled = (gram.shape[1] if gram.shape[0] else target.shape[1]) == 2
    parts, low_parts = np.zeros(used * entries), np.zeros(used * entries)
    part_exponents, factors = exponents.copy(), np.empty(2 * n_columns)
    for item in range(used):
        begin = item * entries
        if gram.shape[0]:
            copy(gram[item, 0], parts[begin : begin + n_gram])
            if doubled:
                copy(gram[item, 1], low_parts[begin : begin + n_gram])
        if target.shape[0]:
            copy(target[item, 0], parts[begin + n_gram : begin + n_entries])
            if doubled:
                copy(target[item, 1], low_parts[begin + n_gram : begin + n_entries])
        parts[begin + n_entries], low_parts[begin + n_entries] = weighing[item, W_HIGH], weighing[item, W_LOW]
    pieces = address(parts), address(low_parts), address(part_exponents), address(factors)
    step = 1
    while step < used:
        for left in range(0, used - step, 2 * step):
            _add_parts(left, left + step, left, n_columns, entries, pieces, doubled)
        step *= 2
    _write_item(
        pieces, 0, n_gram, n_columns, address(gram), gram.shape[0] > 0, address(target), target.shape[0] > 0, address(exponents),
        address(weighing), doubled,
    )  # fmt: skip
    hold((parts, low_parts, part_exponents, factors, gram, target, exponents, weighing))
