"""compress: the second moments of each item's data, in one read (docs/arithmetic.md, 2 to 4).

1. An item is a range of samples of one fit: a whole fit, or one of the equal parts of a long one,
   each a power of two times CHUNK samples long. Chunks, and then parts (`join`), are added
   pairwise, neighbour with neighbour, so every such split gives the same bits.
2. The moments of columns z_0 … z_D (features, the intercept's ones, y) are packed by columns: entry
   (i, j), i ≤ j, is at j(j+1)/2 + i. So the Gram matrix comes first and [c, yy] are the last D + 1:
   each is computed alone when the other is shared.
3. Blocks of samples are transposed to feature-major float64 in the cache (tiles.py); a pair of
   columns keeps its 32 lanes in registers for a block (register_tiles.py). Padding with zeros is
   exact here: no lane can hold −0.
4. Many columns are summed panel by panel (register_tiles.py), whose lanes stay in the cache; the
   tiles of all blocks of a chunk are kept for that.
5. With weights a second tile holds the columns times the weights, and for float64 data a third one
   the errors of these products: of a pair of columns the first is taken from there.
6. What belongs to the weights of an item is a row of `weighing`: W, W′, k_ω and the least weight.
   The last two are given, the others are written.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..simd.addresses import address, further, keep_alive
from ..simd.arrays import new_empty, new_zeros
from ..simd.compiling import copy, inlined, kernel, part
from ..simd.double_double import exponent_of, pow2
from ..simd.lanes import LANES, fill, store
from ..simd.scalars import get, is_double, move, prefetch, put, raised
from ..simd.transpose import SIDE
from .lane_sums import add_lanes, add_lanes_doubled, add_short_doubled
from .register_tiles import BLOCK, STRIDE, Panel, multiply_block, multiply_block_doubled
from .samples import place_of, sources_of
from .single_feature import SCRATCH, Series, compress_single_feature, compress_single_feature_doubled, make_series
from .stack import W_EXPONENT, RecordAddresses, Stack, add_levels, read_item, write_item
from .tiles import fill_tile, largest_of_tile, scale_tile, shift_tile, sum_weights, weigh_tile

CHUNK = 4096  # samples; part of the specification
MOST_PAIRS = 4096  # of columns whose lanes are held at a time (1 MiB, or 2): if there are more, panels are summed
PANEL = 48  # rows and columns of a panel: its lanes, and a block of its columns, are 1 MB
LINES_AHEAD = 2048  # cache lines of the next samples that are prefetched: more would drive the lanes from the cache
ITEMS_PER_POLL = 1024  # items of a single feature between two reads of the cancel flag
RANGE = 16 * CHUNK  # samples of an item at most; CHUNK times any power of two gives the same bits


class _Tiles(NamedTuple):
    """Addresses of what one block of samples is summed in: flat float64 arrays."""

    tile: Any  # (columns + 1, STRIDE): the block, feature-major; the last column are the weights
    weighted: Any  # (columns + 1, STRIDE): the columns times the weights
    low_weighted: Any  # the errors of these products, of float64 data
    lanes: Any  # (pairs + 1, LANES): the sums of the pairs at hand, then those of the weights
    low_lanes: Any
    factor: Any  # (columns + 1,): the power of two that each column, and the weights, are scaled by
    shift: Any  # (columns,): what is subtracted from each column of the item at hand
    shifted: Any  # bool: whether anything is
    per_block: Any  # numbers from the tile of a block to that of the next; 0: they share one


class _Columns(NamedTuple):
    """Which columns an item has, and which sums are wanted."""

    n_features: Any
    intercept: Any  # bool
    n_columns: Any  # features, intercept, y
    first: Any  # the sums of columns first … stop − 1 with all before them are wanted
    stop: Any
    entries: Any  # of a level of the stack: its sums, padded
    in_panels: Any  # bool: whether there are more than MOST_PAIRS of them


@inlined
def _fill(tiles, tile, rows, sources, place, first, columns):
    """Fill the tile with samples first … first+rows-1, their columns shifted."""
    fill_tile(tile, rows, sources, place, first, columns.n_features, columns.intercept)
    if tiles.shifted:
        shift_tile(tile, rows, columns.n_columns, tiles.shift)


@part
def _find_exponents(tiles, sources, place, start, stop, columns, exponents):
    """Write each column's exponent over samples start … stop-1, and its factor 2^-exponent.

    The blocks stay in the tiles, or the last one does.
    """
    count, factor = columns.n_columns, tiles.factor
    for j in range(count):
        put(factor, j, 0.0)
    for first in range(start, stop, BLOCK):
        rows = min(BLOCK, stop - first)
        tile = further(tiles.tile, (first - start) // BLOCK * tiles.per_block)
        _fill(tiles, tile, rows, sources, place, first, columns)
        largest_of_tile(tile, (rows + LANES - 1) // LANES, count, factor)
    for j in range(count):
        k = exponent_of(get(factor, j))
        put(exponents, j, np.int64(k))
        put(factor, j, pow2(-k))


@inlined
def _add_in_place(tiles, at, count, doubled):
    """Replace the lanes of `count` pairs, which begin at lanes[at], by their sums."""
    lanes, low_lanes = further(tiles.lanes, at), further(tiles.low_lanes, at)
    if doubled:
        add_lanes_doubled(lanes, low_lanes, count, lanes, low_lanes)
    else:
        add_lanes(lanes, count, lanes)


@part
def _add_panel(tiles, panel, doubled, stack, to):
    """Write the sums of a panel, and no others, to a level of the stack, which begins at `to`."""
    for j in range(panel.first_column, panel.last_column):
        at = (j - panel.first_column) * panel.height * LANES
        count = min(panel.last_row, j + 1) - panel.first_row
        entry = to + j * (j + 1) // 2 + panel.first_row
        _add_in_place(tiles, at, count, doubled)
        for i in range(count):
            move(tiles.lanes, at + i, stack.sums, entry + i)
            if doubled:
                move(tiles.low_lanes, at + i, stack.low_sums, entry + i)


@inlined
def _sum_panel(sources, place, start, stop, columns, panel, tiles, stack, level, filled, scaled, cancel):
    """Sum one chunk for the pairs of a panel into a level of the stack; False if cancelled.

    filled, scaled: what was done to the tiles of this chunk before; scaled ones are weighted, too.
    """
    n_columns = columns.n_columns
    weighted, doubled = sources.weighted, is_double(sources.X)
    first_column, last_column = panel.first_column, panel.last_column
    before = first_column * (first_column + 1) // 2
    count = last_column * (last_column + 1) // 2 - before
    if panel.height:
        count = panel.height * (last_column - first_column)
    level_at = level * columns.entries
    to = level_at + before
    short = doubled and not weighted and stop - start <= LANES
    if weighted:
        store(tiles.lanes, count * LANES, fill(0.0))
        if doubled:
            store(tiles.low_lanes, count * LANES, fill(0.0))
    for first in range(start, stop, BLOCK):
        if raised(cancel):
            return False
        rows = min(BLOCK, stop - first)
        groups = (rows + LANES - 1) // LANES
        at = (first - start) // BLOCK * tiles.per_block
        tile, left, low_left = further(tiles.tile, at), further(tiles.weighted, at), further(tiles.low_weighted, at)
        if not filled:
            _fill(tiles, tile, rows, sources, place, first, columns)
        if doubled and not scaled:
            scale_tile(tile, groups, n_columns + weighted, tiles.factor)
        if weighted:
            if not scaled:
                weigh_tile(tile, groups, n_columns, left, low_left, doubled)
            sum_weights(tile, groups, n_columns, tiles.lanes, tiles.low_lanes, count * LANES, doubled)
        else:
            left = tile
        fresh = first == start
        ahead = further(sources.X, place.x + (first + rows) * sources.x_step)  # the next block's samples, or the next fit's
        lines = 0 if scaled else LINES_AHEAD
        if sources.y_step == 1 and not scaled:
            for i in range(0, rows, 8 if doubled else 16):
                prefetch(sources.y, place.y + first + rows + i)
        if short:
            add_short_doubled(tile, rows, first_column, last_column, STRIDE, further(stack.sums, to), further(stack.low_sums, to))
        elif doubled:
            multiply_block_doubled(left, low_left, weighted, tile, groups, panel, tiles.lanes, tiles.low_lanes, fresh, ahead, lines)
        else:
            multiply_block(left, tile, groups, panel, tiles.lanes, fresh, ahead, lines)
    weights, low_weights, at = stack.sums, stack.low_sums, to + count  # where the sums of the weights are found
    if panel.height:
        _add_panel(tiles, panel, doubled, stack, level_at)
        weights, low_weights, at = tiles.lanes, tiles.low_lanes, count * LANES
        if weighted:
            _add_in_place(tiles, at, 1, doubled)
    elif not doubled:  # what is written beyond the last column is either written anew or not read
        add_lanes(tiles.lanes, count + 1, further(stack.sums, to))
    elif not short:
        add_lanes_doubled(tiles.lanes, tiles.low_lanes, count + 1, further(stack.sums, to), further(stack.low_sums, to))
    last = level_at + n_columns * (n_columns + 1) // 2  # where they belong
    if doubled:
        put(stack.low_sums, last, get(low_weights, at) if weighted else 0.0)
    put(stack.sums, last, get(weights, at) if weighted else float(stop - start))
    return True


@inlined
def _sum_chunk(sources, place, start, stop, columns, tiles, stack, level, cancel):
    """Sum one chunk into a level of the stack; False if cancelled."""
    doubled, zero = is_double(sources.X), np.int64(0)
    if doubled:
        _find_exponents(tiles, sources, place, start, stop, columns, further(stack.exponents, level * columns.n_columns))
    filled, scaled = doubled and (columns.in_panels or stop - start <= BLOCK), False
    in_panels = columns.in_panels and not (doubled and not sources.weighted and stop - start <= LANES)  # these have no lanes
    height, width = (zero + PANEL, zero + PANEL) if in_panels else (zero, columns.stop)
    for first_column in range(columns.first, columns.stop, width):
        last_column, row = min(first_column + width, columns.stop), zero
        while row < last_column:
            last_row = min(row + PANEL, first_column) if in_panels and row < first_column else last_column
            panel = Panel(row, last_row, first_column, last_column, height)
            if not _sum_panel(sources, place, start, stop, columns, panel, tiles, stack, level, filled, scaled, cancel):
                return False
            filled, scaled, row = True, True, last_row
    return True


@part
def _compress_item(sources, place, start, stop, columns, tiles, stack, cancel):
    """The moments of one item into level 0 of the stack; False if cancelled."""
    n_columns, entries = columns.n_columns, columns.entries
    doubled = is_double(sources.X)
    level = 0  # levels in use
    for chunk_start in range(start, stop, CHUNK):
        chunk_stop = min(chunk_start + CHUNK, stop)
        if not _sum_chunk(sources, place, chunk_start, chunk_stop, columns, tiles, stack, level, cancel):
            return False
        level += 1
        equal = (chunk_start - start) // CHUNK + 1  # chunks so far; two levels of as many chunks each become one
        while equal % 2 == 0:
            if raised(cancel):
                return False
            add_levels(level - 2, level - 1, level - 2, n_columns, entries, stack, doubled)
            level -= 1
            equal //= 2
    if level == 0:  # the item has no samples
        for entry in range(n_columns * (n_columns + 1) // 2 + 1):
            put(stack.sums, entry, 0.0)
            if doubled:
                put(stack.low_sums, entry, 0.0)
        for j in range(n_columns):
            put(stack.exponents, j, np.int64(0))
    while level > 1:  # levels without a neighbour of their size
        if raised(cancel):
            return False
        add_levels(level - 2, level - 1, level - 2, n_columns, entries, stack, doubled)
        level -= 1
    return True


@kernel
def compress(data, index, start, stop, intercept, single_feature, shift, gram, target, exponents, weighing, cancel):
    """Moments of items, each a range start … stop-1 of the samples that its fit uses.

    data, index: samples.py, 1 and 2; start, stop (items,) int64; single_feature: whether the
    samples allow the path of single_feature.py; shift (items, D+1) float64: what is subtracted from
    the columns of each item first, of length 0 where nothing is; gram (items, planes, D(D+1)/2) and
    target (items, planes, D+1) float64, planes = 1 for float32 data and 2 (hi, lo) for float64
    data; exponents (items, D+1) int64, all 0 for float32 data; weighing (items, 4). All are
    C-contiguous. An empty gram or target (length 0) is not computed. Returns whether all moments
    are finite.
    """
    n_columns = exponents.shape[1]
    n_parameters = n_columns - 1
    d = n_parameters - 1 if intercept else n_parameters
    n_gram = n_parameters * n_columns // 2
    n_entries = n_gram + n_columns
    doubled = is_double(data[0])
    weighted = len(data[4]) > 0
    has_gram, has_target = gram.shape[0] > 0, target.shape[0] > 0
    longest = 0  # samples
    for item in range(len(start)):
        longest = max(longest, stop[item] - start[item])
    depth = 1  # of the stack
    while (CHUNK << (depth - 1)) < longest:
        depth += 1
    entries = (n_entries + 1 + 2 * SIDE - 1) // SIDE * SIDE  # of a level; eight at a time are written
    first_column, stop_column = 0 if has_gram else n_parameters, n_columns if has_target else n_parameters
    in_panels = (stop_column * (stop_column + 1) - first_column * (first_column + 1)) // 2 > MOST_PAIRS
    columns = _Columns(d, intercept, n_columns, first_column, stop_column, entries, in_panels)
    n_sums = (min(n_entries, MOST_PAIRS) + SIDE) // SIDE * SIDE
    per_block = (n_columns + 1) * STRIDE
    n_tile = ((min(longest, CHUNK) + BLOCK - 1) // BLOCK if in_panels else 1) * per_block
    n_weighted = n_tile if weighted else 0
    tile, weighted_tile = new_empty(n_tile, np.float64), new_empty(n_weighted, np.float64)
    low_weighted_tile = new_empty(n_weighted if doubled else 0, np.float64)
    lanes, low_lanes = new_zeros(n_sums * LANES, np.float64), new_zeros(n_sums * LANES if doubled else 0, np.float64)
    factor, shift_of_item = new_empty(n_columns + 1, np.float64), new_zeros(n_columns, np.float64)
    factors = new_empty(2 * n_columns, np.float64)
    sums, low_sums = new_empty(depth * entries, np.float64), new_empty(depth * entries if doubled else 1, np.float64)
    sum_exponents = new_zeros(depth * n_columns, np.int64)
    sources, flag = sources_of(data, index), address(cancel)
    tiles = _Tiles(
        address(tile), address(weighted_tile), address(low_weighted_tile), address(lanes), address(low_lanes), address(factor),
        address(shift_of_item), len(shift) > 0, per_block if in_panels else 0,
    )  # fmt: skip
    stack = Stack(address(sums), address(low_sums), address(sum_exponents), address(factors))
    records = RecordAddresses(address(gram), has_gram, address(target), has_target, address(exponents), address(weighing))
    finite = True
    done = 0
    if single_feature and len(shift) == 0 and has_target and longest <= CHUNK:
        gathered = len(index[3]) > 0
        x_series, y_series, row = make_series(sources, longest, data[0].dtype, gathered)
        series = Series(address(x_series), address(y_series), row, gathered)
        eights, low_eights = new_zeros(SCRATCH, np.float64), new_zeros(SCRATCH if doubled else 0, np.float64)
        of_columns = new_zeros(2 * SIDE, np.int64)
        for first in range(0, len(start), ITEMS_PER_POLL):
            if raised(flag):
                break
            last = min(first + ITEMS_PER_POLL, len(start))
            if doubled:
                to = address(eights), address(low_eights), address(of_columns)
                found = compress_single_feature_doubled(sources, address(start), address(stop), first, last, intercept, to, series, records)
            else:
                found = compress_single_feature(
                    sources, address(start), address(stop), first, last, intercept, address(eights), series, records
                )
            finite = finite and found
        keep_alive((eights, low_eights, of_columns, x_series, y_series))
        done = len(start)
    for item in range(done, len(start)):
        factor[n_columns] = pow2(-np.int64(weighing[item, W_EXPONENT]))
        if len(shift):
            copy(shift[item], shift_of_item)
        if not _compress_item(sources, place_of(sources, item), start[item], stop[item], columns, tiles, stack, flag):
            break
        for j in range(columns.first, columns.stop):
            finite = finite and math.isfinite(sums[j * (j + 1) // 2 + j])
        write_item(stack, item, n_gram, n_columns, records, doubled)
    keep_alive((data, index, start, stop, shift, gram, target, exponents, weighing, cancel))
    keep_alive((tile, weighted_tile, low_weighted_tile, lanes, low_lanes, factor, factors, shift_of_item, sums, low_sums, sum_exponents))
    return finite


@kernel
def join(gram, target, exponents, weighing, used):
    """Add the records of the first `used` parts of one long fit, in place, into record 0.

    `gram` or `target` may be empty.
    """
    n_columns = exponents.shape[1]
    n_gram = n_columns * (n_columns - 1) // 2
    n_entries = n_gram + n_columns
    entries = n_entries + 1
    doubled = (gram.shape[1] if gram.shape[0] else target.shape[1]) == 2
    sums, low_sums = new_zeros(used * entries, np.float64), new_zeros(used * entries, np.float64)
    sum_exponents, factors = new_zeros(used * n_columns, np.int64), new_zeros(2 * n_columns, np.float64)
    stack = Stack(address(sums), address(low_sums), address(sum_exponents), address(factors))
    records = RecordAddresses(address(gram), gram.shape[0] > 0, address(target), target.shape[0] > 0, address(exponents), address(weighing))
    for item in range(used):
        read_item(stack, item, n_gram, n_columns, records, doubled)
    step = 1
    while step < used:
        for left in range(0, used - step, 2 * step):
            add_levels(left, left + step, left, n_columns, entries, stack, doubled)
        step *= 2
    write_item(stack, 0, n_gram, n_columns, records, doubled)
    keep_alive((sums, low_sums, sum_exponents, factors, gram, target, exponents, weighing))
