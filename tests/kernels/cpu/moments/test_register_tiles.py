"""Sums over pairs of columns in register tiles (kernels/cpu/moments/register_tiles.py) against
plain loops over lanes, by `==`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fastgd.kernels.cpu.moments import register_tiles
from fastgd.kernels.cpu.moments.register_tiles import BLOCK, ROWS, ROWS_DOUBLED, STRIDE, Panel, Tile
from fastgd.kernels.cpu.simd.addresses import address, further
from fastgd.kernels.cpu.simd.lanes import LANES, REGISTER
from tests.support.against_arbiter import same_bits
from tests.support.guarded_memory import guarded
from tests.support.lanes_by_hand import columns_that_round, jit, sum_by_hand, sum_by_hand_doubled

MOST = 9  # columns: every tile occurs
UNTOUCHED = -0.0  # in lanes: no sum has it, and with what was there before sums would be wrong
NO_PAIR = [UNTOUCHED] * LANES


@jit
def multiplied(left, tile, groups, panel, lanes, fresh, ahead):
    register_tiles.multiply_block(
        address(left), address(tile), groups, panel, address(lanes), fresh, further(address(ahead), len(ahead)), len(ahead)
    )


@jit
def multiplied_doubled(left, low_left, weighted, tile, groups, panel, lanes, low_lanes, fresh, ahead):
    register_tiles.multiply_block_doubled(
        address(left), address(low_left), weighted, address(tile), groups, panel, address(lanes), address(low_lanes), fresh,
        further(address(ahead), len(ahead)), len(ahead),
    )  # fmt: skip


def tile_of(columns: np.ndarray) -> np.ndarray:
    """Columns of one block as they lie in a tile; NaN wherever nobody should look."""
    tile = np.full((len(columns), STRIDE), np.nan)
    tile[:, : columns.shape[1]] = columns
    return tile.ravel()


def pairs_of(panel: Panel) -> list[tuple[int, int] | None]:
    """The pairs of columns in the order in which their lanes lie; None: lanes of no pair."""
    columns = range(panel.first_column, panel.last_column)
    if not panel.height:
        return [(i, j) for j in columns for i in range(j + 1)]
    rows = range(panel.first_row, panel.first_row + panel.height)
    return [(i, j) if i < min(panel.last_row, j + 1) else None for j in columns for i in rows]


def panels() -> list[Panel]:
    """All rows of every range of up to nine columns; squares on the diagonal; others beside it."""
    found = []
    for first in range(MOST):
        for last in range(first + 1, MOST + 1):
            found += [Panel(0, last, first, last, 0), Panel(first, last, first, last, last - first), Panel(first, last, first, last, MOST)]
            found += [Panel(row, stop, first, last, MOST) for row in range(first) for stop in (row + 1, first)]
    return found


def lists(columns: np.ndarray) -> list[list[list[float]]]:
    """columns -> [column][lane]: the samples of a lane, in order."""
    return [[column[lane::LANES].tolist() for lane in range(LANES)] for column in columns]


class Blocks:
    """Columns in blocks of unlike length: how a kernel meets them."""

    def __init__(self, kind: str, groups: tuple[int, ...], seed: int, weighted: bool) -> None:
        ends = np.cumsum([0, *groups]) * LANES
        self.groups = groups
        self.columns = columns_that_round(kind, MOST, int(ends[-1]), seed)
        self.left = columns_that_round(kind, MOST, int(ends[-1]), seed + 1) if weighted else self.columns
        self.low = columns_that_round(kind, MOST, int(ends[-1]), seed + 2) * 2.0**-53 if weighted else None
        self.parts = [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def tiles(self, columns):
        return [tile_of(columns[:, part]) for part in self.parts]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["ordinary", "ends"])
def test_pairs_of_columns(kind, weighted):
    """Every panel of up to nine columns; three blocks, the first one `fresh`; lanes of no pair, and
    those behind the last one, are not touched."""
    blocks = Blocks(kind, (2, 3, 1), 1, weighted)
    left, right = lists(blocks.left), lists(blocks.columns)
    want = {(i, j): [sum_by_hand(left[i][lane], right[j][lane]) for lane in range(LANES)] for i, j in pairs_of(Panel(0, MOST, 0, MOST, 0))}
    tiles, lefts, ahead = blocks.tiles(blocks.columns), blocks.tiles(blocks.left), guarded(np.zeros(1))
    for panel in panels():
        pairs = pairs_of(panel)
        lanes = np.full((len(pairs) + 1) * LANES, UNTOUCHED)
        for k, (of_left, tile) in enumerate(zip(lefts, tiles, strict=True)):
            multiplied(of_left, tile, blocks.groups[k], panel, lanes, k == 0, ahead)
        assert same_bits(lanes, np.array([want.get(pair, NO_PAIR) for pair in (*pairs, None)]).ravel()), panel


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["ordinary", "ends"])
def test_pairs_of_columns_doubled(kind, weighted):
    """The same as compensated sums, with the low parts of weighted columns or without."""
    blocks = Blocks(kind, (2, 3, 1), 2, weighted)
    left, right = lists(blocks.left), lists(blocks.columns)
    low = lists(blocks.low) if weighted else None
    want = {
        (i, j): [sum_by_hand_doubled(left[i][lane], low[i][lane] if weighted else None, right[j][lane]) for lane in range(LANES)]
        for i, j in pairs_of(Panel(0, MOST, 0, MOST, 0))
    }
    tiles, lefts, ahead = blocks.tiles(blocks.columns), blocks.tiles(blocks.left), guarded(np.zeros(1))
    lows = blocks.tiles(blocks.low) if weighted else [np.empty(0)] * 3
    for panel in panels():
        pairs = pairs_of(panel)
        lanes, low_lanes = np.full((2, (len(pairs) + 1) * LANES), UNTOUCHED)
        for k in range(3):
            multiplied_doubled(lefts[k], lows[k], weighted, tiles[k], blocks.groups[k], panel, lanes, low_lanes, k == 0, ahead)
        for part, found in enumerate((lanes, low_lanes)):
            expected = [[both[part] for both in want[pair]] if pair else NO_PAIR for pair in (*pairs, None)]
            assert same_bits(found, np.array(expected).ravel()), (panel, part)


@pytest.mark.parametrize("doubled", [False, True])
def test_a_whole_block(doubled):
    """All the samples that a tile holds, twice."""
    blocks = Blocks("ordinary", (BLOCK // LANES,) * 2, 5, False)
    columns, lanes, low_lanes = lists(blocks.columns[:3]), *np.full((2, 6 * LANES), np.nan)
    for k, tile in enumerate(blocks.tiles(blocks.columns[:3])):
        if doubled:
            multiplied_doubled(
                tile, np.empty(0), False, tile, blocks.groups[k], Panel(0, 3, 0, 3, 0), lanes, low_lanes, k == 0, np.zeros(1)
            )
        else:
            multiplied(tile, tile, blocks.groups[k], Panel(0, 3, 0, 3, 0), lanes, k == 0, np.zeros(1))
    for p, (i, j) in enumerate(pairs_of(Panel(0, 3, 0, 3, 0))):
        for lane in range(LANES):
            at = p * LANES + lane
            if doubled:
                assert (lanes[at], low_lanes[at]) == sum_by_hand_doubled(columns[i][lane], None, columns[j][lane])
            else:
                assert lanes[at] == sum_by_hand(columns[i][lane], columns[j][lane])


def tiles_used(most_rows):
    """The tiles that multiply_block takes for every range of up to MOST columns."""
    used = set()
    for first in range(MOST):
        for last in range(first + 1, MOST + 1):
            j = first
            while j < last:
                columns, i, rows = min(len(most_rows), last - j), 0, None
                while rows != 0:
                    rows = register_tiles._next_rows.py_func(j - i, most_rows[columns])
                    used.add(Tile(rows, columns))
                    i += rows
                assert i == j
                j += columns
    return used


def test_the_cases_are_what_they_say():
    """Every tile that is made occurs, and no other; fma shows; the ends do."""
    for most_rows in (ROWS, ROWS_DOUBLED):
        assert tiles_used(most_rows) == set(register_tiles.tiles_of(most_rows))
    assert BLOCK % LANES == LANES % REGISTER == 0
    blocks = Blocks("ordinary", (2, 3, 1), 1, False)
    differ = 0
    for a, b in zip(lists(blocks.columns)[0], lists(blocks.columns)[1], strict=True):
        total = 0.0
        for x, y in zip(a, b, strict=True):
            total = x * y + total
        differ += total != sum_by_hand(a, b)
    assert differ > LANES // 4
    ends = columns_that_round("ends", MOST, 6 * LANES, 1)
    assert np.isnan(ends).any()
    assert np.isinf(ends).any()
    assert 3 < np.isfinite([sum_by_hand(lane, lane) for column in lists(ends) for lane in column]).sum() < MOST * LANES
