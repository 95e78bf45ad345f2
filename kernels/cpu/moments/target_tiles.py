"""Sums of columns of X with the columns of targets, many pairs at a time in registers.

As in register_tiles.py, but the columns of the right are in a tile of their own: those of TARGETS
targets. Pair (i, j), column i of X and target j, is number (j - first target) * height + i - first
row; with height = rows + 1 the last one of a target is that of it with itself.
"""

from __future__ import annotations

import numpy as np

from ..simd.compiling import inlined, part
from ..simd.lanes import LANES
from .register_tiles import WIDE, Tile, summing

TARGETS = 8  # that are brought into a tile at a time: a multiple of SIDE
ACROSS = 8 if WIDE else 4  # targets of a register tile
MOST_BESIDE = 3  # columns of X beside them; in double-double, ten operations a pair, one is enough


class Squares(Tile):
    """Columns of the right, each with the column of the left that has its number."""

    def pairs(self) -> list[tuple[int, int]]:
        """The pairs (row, column) that are summed."""
        return [(c, c) for c in range(self.columns)]


_add, _add_squares = summing([Tile(rows, ACROSS) for rows in range(1, MOST_BESIDE + 1)]), summing([Squares(0, ACROSS)])
_add_doubled, _add_weighted = (summing([Tile(1, ACROSS)], True, weighted) for weighted in (False, True))
_add_squares_doubled, _add_squares_weighted = (summing([Squares(0, ACROSS)], True, weighted) for weighted in (False, True))


@inlined
def _next_rows(left):
    """Of `left` columns of X, how many the next tile has: all tiles have about as many."""
    tiles = (left + MOST_BESIDE - 1) // MOST_BESIDE
    return (left + tiles - 1) // tiles


@part
def multiply_targets(left, own, targets, groups, panel, lanes, fresh, ahead, lines, done):
    """Add one block to the lanes of a panel: its rows are columns of X, its columns targets.

    Where its height is more than its rows, also of each target with itself. own: the left column of
    a target, times the weights if there are any. fresh: the sums begin with this block. ahead,
    lines: see `multiply_block`; done: how many of the lines were prefetched. Returns how many are.
    """
    begin, end, across, height = np.int64(0), np.int64(LANES), np.int64(ACROSS), panel.height
    before = panel.first_column * height
    for j in range(panel.first_column, panel.last_column, ACROSS):
        i, to = panel.first_row, before + panel.first_row
        while i < panel.last_row:
            rows = _next_rows(panel.last_row - i)
            done = done if done < lines else begin
            done = _add(left, left, targets, lanes, lanes, i, j, height, to, groups, begin, end, fresh, rows, across, ahead, done)
            i += rows
        if height > panel.last_row - panel.first_row:  # of columns that are height - 1 apart those of the squares are height apart
            to = before + 1 - height
            _add_squares(own, own, targets, lanes, lanes, j, j, height - 1, to, groups, begin, end, fresh, begin, across, ahead, begin)
    return done


@part
def multiply_targets_doubled(
    left, low_left, own, low_own, targets, weighted, groups, panel, lanes, low_lanes, fresh, ahead, lines, done
):  # fmt: skip
    """`multiply_targets` as compensated dot products.

    low_left, low_own: the low parts of the left columns, where `weighted`.
    """
    begin, end, one, across, height = np.int64(0), np.int64(LANES), np.int64(1), np.int64(ACROSS), panel.height
    before = panel.first_column * height
    for j in range(panel.first_column, panel.last_column, ACROSS):
        to = before + panel.first_row
        for i in range(panel.first_row, panel.last_row):
            done = done if done < lines else begin
            if weighted:
                done = _add_weighted(
                    left, low_left, targets, lanes, low_lanes, i, j, height, to, groups, begin, end, fresh, one, across, ahead, done
                )
            else:
                done = _add_doubled(
                    left, left, targets, lanes, low_lanes, i, j, height, to, groups, begin, end, fresh, one, across, ahead, done
                )
        if height > panel.last_row - panel.first_row:
            to = before + 1 - height
            if weighted:
                _add_squares_weighted(
                    own, low_own, targets, lanes, low_lanes, j, j, height - 1, to, groups, begin, end, fresh, begin, across, ahead, begin
                )
            else:
                _add_squares_doubled(
                    own, own, targets, lanes, low_lanes, j, j, height - 1, to, groups, begin, end, fresh, begin, across, ahead, begin
                )
    return done
