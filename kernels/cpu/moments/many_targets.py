"""compress_targets: the products with y of items that have their X in common, TARGETS at a time.

1. It writes what `compress` (compress.py) writes for an empty gram, with the same bits. There each
   item brings X into a tile anew; here its tiles stay for all items that follow with the same X,
   weights, list of samples and range. A second tile has a column for each target.
2. The sums of a target are D + 1: with each column of X, then with itself. Those of TARGETS targets
   are made together, ROWS columns of X at a time: their lanes stay in the cache. Columns without a
   target hold any numbers, and what becomes of them is not read.
3. It is a kernel of its own, which is compiled where there is work for it (running/moments.py).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..simd.addresses import address, count_at, further, keep_alive
from ..simd.arrays import new_empty, new_zeros
from ..simd.compiling import inlined, kernel, part
from ..simd.double_double import dd_add, exponent_of, pow2
from ..simd.lanes import LANES
from ..simd.scalars import get, is_double, move, put, raised
from ..simd.transpose import SIDE, transpose
from .compress import CHUNK
from .lane_sums import add_lanes, add_lanes_doubled
from .register_tiles import BLOCK, STRIDE, Panel
from .samples import place_of, sources_of
from .stack import W_EXPONENT
from .target_tiles import TARGETS, multiply_targets, multiply_targets_doubled
from .tiles import fill_column, fill_tile, largest_of_tile, pad_tile, scale_tile, weigh_tile

ROWS = 64  # columns of X, at most, whose sums are made at a time: their lanes are 128 KiB, or 256
FEW_ROWS = 12  # of samples that are one block: lanes are written once, and stay in the first-level cache


class _Side(NamedTuple):
    """The columns of X and any other, or those of the targets: flat arrays, by their addresses."""

    tile: Any  # (blocks, columns + 1, STRIDE): feature-major; the last column are the weights
    weighted: Any  # (blocks, columns + 1, STRIDE): the columns times the weights
    low_weighted: Any  # the errors of these products, of float64 data
    factor: Any  # (columns + 1,): the power of two that each column, and the weights, are scaled by
    exponents: Any  # (columns,) int64
    n_columns: Any
    per_block: Any  # numbers from the tile of a block to that of the next


class _Sums(NamedTuple):
    """The sums of TARGETS targets: addresses. A level is as in stack.py."""

    lanes: Any
    low_lanes: Any
    sums: Any  # (depth, TARGETS, D + 1)
    low_sums: Any
    exponents: Any  # (depth, D + TARGETS) int64
    factors: Any  # (2, D + TARGETS): scratch
    n_parameters: Any


@inlined
def _share(sources, start, stop, a, b):
    """Whether two items have the same X, weights, list of samples and range."""
    same = count_at(sources.x_index, a) == count_at(sources.x_index, b) and count_at(start, a) == count_at(start, b)
    same = same and count_at(sources.kept_index, a) == count_at(sources.kept_index, b) and count_at(stop, a) == count_at(stop, b)
    return same and (not sources.weighted or count_at(sources.weight_index, a) == count_at(sources.weight_index, b))


@inlined
def _groups_of(rows):
    return (rows + LANES - 1) // LANES


@inlined
def _find_exponents(side):
    """Make exponents and factors of the largest sizes in the columns, which `factor` holds."""
    for j in range(side.n_columns):
        k = exponent_of(get(side.factor, j))
        put(side.exponents, j, np.int64(k))
        put(side.factor, j, pow2(-k))


@part
def _bring_features(sources, item, start, stop, intercept, features):
    """Fill the tiles of X with samples start … stop-1; y of the item is the last column."""
    place, doubled = place_of(sources, item), is_double(sources.X)
    count, weighted = features.n_columns, sources.weighted
    for j in range(count):
        put(features.factor, j, 0.0)
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        tile = further(features.tile, (first - start) // BLOCK * features.per_block)
        fill_tile(tile, rows, sources, place, first, count - 1 - intercept, intercept)
        if doubled:
            largest_of_tile(tile, _groups_of(rows), count, features.factor)
    if doubled:
        _find_exponents(features)
    for first in range(start, stop, BLOCK):
        _scale_and_weigh(features, (first - start) // BLOCK * features.per_block, _groups_of(min(BLOCK, stop - first)), weighted, doubled)


@part
def _scale_and_weigh(side, at, groups, weighted, doubled):
    """Scale the columns of a block, whose tile begins at `at`, and the weights; weigh them."""
    tile = further(side.tile, at)
    if doubled:
        scale_tile(tile, groups, side.n_columns + weighted, side.factor)
    if weighted:
        weigh_tile(tile, groups, side.n_columns, further(side.weighted, at), further(side.low_weighted, at), doubled)


@part
def _bring_targets(sources, item, count, first, rows, tile):
    """Fill a tile with y of `count` items, samples first … first+rows-1."""
    place, done = place_of(sources, item), 0
    beside = sources.y_item == 1 and sources.y_step != 1 and count == TARGETS and not place.masked  # targets lie side by side
    for c in range(1, count):
        beside = beside and count_at(sources.y_index, item + c) == count_at(sources.y_index, item) + c
    pad_tile(tile, rows, TARGETS + sources.weighted)
    while beside and done + SIDE <= rows:
        at = place.y + (first + done) * sources.y_step
        for c in range(0, TARGETS, SIDE):
            transpose(sources.y, at + c, sources.y_step, np.int64(SIDE), tile, c * STRIDE + done, STRIDE)
        done += SIDE
    for c in range(count):
        y = sources.y_start + count_at(sources.y_index, item + c) * sources.y_item
        fill_column(tile, c, done, rows, sources.y, y, sources.y_step, first, sources.kept, place.kept, place.masked)
    if sources.weighted:
        fill_column(tile, TARGETS, 0, rows, sources.weights, place.weights, sources.w_step, first, sources.kept, place.kept, place.masked)


@part
def _sum_chunk(sources, item, count, start, stop, features, targets, sums, level, cancel):
    """The sums of samples start … stop-1 of `count` items into a level; False if cancelled."""
    size, weighted, doubled = sums.n_parameters, sources.weighted, is_double(sources.X)
    if doubled:
        for c in range(TARGETS):
            put(targets.factor, c, 0.0)
        for first in range(start, stop, BLOCK):
            rows = min(BLOCK, stop - first)
            tile = further(targets.tile, (first - start) // BLOCK * targets.per_block)
            _bring_targets(sources, item, count, first, rows, tile)
            largest_of_tile(tile, _groups_of(rows), TARGETS, targets.factor)
        _find_exponents(targets)
    strip = np.int64(ROWS if stop - start > BLOCK else FEW_ROWS)
    # y of the next targets, which are prefetched meanwhile if they come next in memory
    ahead, done = further(sources.y, place_of(sources, item).y + start + count * sources.y_item), np.int64(0)
    lines = TARGETS * min(sources.y_item, CHUNK) // (8 if doubled else 16) if sources.y_step == 1 and sources.y_item > 0 else 0
    for row in range(0, size, strip):
        last = min(row + strip, size)
        some = Panel(row, last, np.int64(0), np.int64(TARGETS), last - row + (last == size))  # the last one: with itself
        for first in range(start, stop, BLOCK):
            if raised(cancel):
                return False
            rows, block = min(BLOCK, stop - first), (first - start) // BLOCK
            at, to, groups = block * features.per_block, block * targets.per_block, _groups_of(rows)
            right = further(targets.tile, to)
            if row == 0:
                if not doubled:
                    _bring_targets(sources, item, count, first, rows, right)
                _scale_and_weigh(targets, to, groups, weighted, doubled)
            left = further(features.weighted if weighted else features.tile, at)
            own = further(targets.weighted if weighted else targets.tile, to)
            if doubled:
                low_left, low_own = further(features.low_weighted, at), further(targets.low_weighted, to)
                done = multiply_targets_doubled(
                    left, low_left, own, low_own, right, weighted, groups, some, sums.lanes, sums.low_lanes, block == 0, ahead, lines, done
                )
            else:
                done = multiply_targets(left, own, right, groups, some, sums.lanes, block == 0, ahead, lines, done)
        if doubled:
            add_lanes_doubled(sums.lanes, sums.low_lanes, TARGETS * some.height, sums.lanes, sums.low_lanes)
        else:
            add_lanes(sums.lanes, TARGETS * some.height, sums.lanes)
        for c in range(TARGETS):
            to = (level * TARGETS + c) * (size + 1) + row
            for i in range(some.height):
                move(sums.lanes, c * some.height + i, sums.sums, to + i)
                if doubled:
                    move(sums.low_lanes, c * some.height + i, sums.low_sums, to + i)
    if doubled:
        to = level * (size + TARGETS)
        for j in range(size):
            put(sums.exponents, to + j, count_at(features.exponents, j))
        for c in range(TARGETS):
            put(sums.exponents, to + size + c, count_at(targets.exponents, c))
    return True


@part
def _add_levels(sums, left, doubled):
    """Level `left` += the level after it: `add_levels` of stack.py for the sums of targets."""
    size = sums.n_parameters
    entries, columns = TARGETS * (size + 1), size + TARGETS
    a, factors = left * entries, sums.factors
    b = a + entries
    if not doubled:
        for entry in range(entries):
            put(sums.sums, a + entry, get(sums.sums, a + entry) + get(sums.sums, b + entry))
        return
    for j in range(columns):
        k_left, k_right = count_at(sums.exponents, left * columns + j), count_at(sums.exponents, (left + 1) * columns + j)
        k = max(k_left, k_right)
        put(factors, j, pow2(k_left - k))
        put(factors, columns + j, pow2(k_right - k))
        put(sums.exponents, left * columns + j, k)
    for c in range(TARGETS):
        of_left, of_right = get(factors, size + c), get(factors, columns + size + c)
        for i in range(size + 1):
            j = i if i < size else size + c
            with_left, with_right = get(factors, j), get(factors, columns + j)
            high, low = dd_add(
                (get(sums.sums, a) * with_left) * of_left,
                (get(sums.low_sums, a) * with_left) * of_left,
                (get(sums.sums, b) * with_right) * of_right,
                (get(sums.low_sums, b) * with_right) * of_right,
            )
            put(sums.sums, a, high)
            put(sums.low_sums, a, low)
            a += 1
            b += 1


@inlined
def _write(sums, count, item, empty, target, exponents, doubled):
    """Write level 0 as the records of `count` items; whether their sums are finite."""
    size = sums.n_parameters
    entries, planes, finite = size + 1, 2 if doubled else 1, True
    for c in range(count):
        to = (item + c) * planes * entries
        for i in range(entries):
            put(target, to + i, 0.0 if empty else get(sums.sums, c * entries + i))
            if doubled:
                put(target, to + entries + i, 0.0 if empty else get(sums.low_sums, c * entries + i))
        finite = finite and (empty or math.isfinite(get(sums.sums, c * entries + size)))
        for j in range(entries):
            known = doubled and not empty
            put(exponents, (item + c) * entries + j, count_at(sums.exponents, j if j < size else size + c) if known else np.int64(0))
    return finite


@kernel
def compress_targets(data, index, start, stop, intercept, target, exponents, weighing, cancel):
    """Products with y of items, each a range start … stop-1 of the samples that its fit uses.

    Arguments and result as of `compress`; weighing is read alone. Quick where neighbouring items
    have their X in common.
    """
    size = exponents.shape[1] - 1
    doubled, weighted = is_double(data[0]), len(data[4]) > 0
    longest = 0  # samples
    for item in range(len(start)):
        longest = max(longest, stop[item] - start[item])
    depth = 1  # of the stack
    while (CHUNK << (depth - 1)) < longest:
        depth += 1
    blocks = (min(longest, CHUNK) + BLOCK - 1) // BLOCK
    kept = doubled or size > ROWS  # whether the targets' tiles of all blocks are
    tiles = (3 if doubled else 2) if weighted else 1  # columns, weighted ones, their errors
    of_features, of_targets = (size + 2) * STRIDE, (TARGETS + 1) * STRIDE
    n_features, n_targets = blocks * of_features, (blocks if kept else 1) * of_targets
    x, y = new_empty(tiles * n_features, np.float64), new_zeros(tiles * n_targets, np.float64)
    factor, target_factor = new_empty(size + 2, np.float64), new_empty(TARGETS + 1, np.float64)
    powers, target_powers = new_zeros(size + 1, np.int64), new_zeros(TARGETS, np.int64)
    n_lanes = TARGETS * (min(size, ROWS) + 1) * LANES
    lanes, low_lanes = new_empty(n_lanes, np.float64), new_empty(n_lanes if doubled else 0, np.float64)
    n_sums, n_columns = depth * TARGETS * (size + 1), size + TARGETS
    totals, low_totals = new_empty(n_sums, np.float64), new_empty(n_sums if doubled else 0, np.float64)
    sum_powers, factors = new_zeros(depth * n_columns, np.int64), new_empty(2 * n_columns, np.float64)
    at_x, at_y = address(x), address(y)
    features = _Side(
        at_x, further(at_x, n_features), further(at_x, 2 * n_features), address(factor), address(powers), size + 1, of_features
    )  # fmt: skip
    targets = _Side(
        at_y, further(at_y, n_targets), further(at_y, 2 * n_targets), address(target_factor), address(target_powers), np.int64(TARGETS),
        of_targets if kept else 0,
    )  # fmt: skip
    sums = _Sums(
        address(lanes), address(low_lanes), address(totals), address(low_totals), address(sum_powers), address(factors), size
    )  # fmt: skip
    sources, flag, starts, stops = sources_of(data, index), address(cancel), address(start), address(stop)
    finite, cancelled = True, False
    item, held, held_start = 0, -1, np.int64(0)  # of which item, and from which sample on, X is in the tiles
    while item < len(start) and not cancelled:
        count = 1
        while count < TARGETS and item + count < len(start) and _share(sources, starts, stops, item, item + count):
            count += 1
        if held >= 0 and not _share(sources, starts, stops, held, item):
            held = -1
        begin, end, level = start[item], stop[item], 0
        if weighted:
            factor[size + 1] = target_factor[TARGETS] = pow2(-np.int64(weighing[item, W_EXPONENT]))
        for chunk in range(begin, end, CHUNK):
            chunk_end = min(chunk + CHUNK, end)
            if held < 0 or held_start != chunk:
                _bring_features(sources, item, chunk, chunk_end, intercept, features)
                held, held_start = item, chunk
            if not _sum_chunk(sources, item, count, chunk, chunk_end, features, targets, sums, level, flag):
                cancelled = True
                break
            level += 1
            equal = (chunk - begin) // CHUNK + 1  # chunks so far; two levels of as many chunks each become one
            while equal % 2 == 0:
                _add_levels(sums, level - 2, doubled)
                level -= 1
                equal //= 2
        if cancelled:
            break
        while level > 1:  # levels without a neighbour of their size
            _add_levels(sums, level - 2, doubled)
            level -= 1
        finite = _write(sums, count, item, level == 0, address(target), address(exponents), doubled) and finite
        item += count
    keep_alive((data, index, start, stop, target, exponents, weighing, cancel))
    keep_alive((x, y, factor, target_factor, powers, target_powers, lanes, low_lanes, totals, low_totals, sum_powers, factors))
    return finite
