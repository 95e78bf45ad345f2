"""Sums over pairs of columns of a tile, many pairs at a time in registers.

1. A register tile is some columns of the left, its rows, against some columns of the right: of each
   pair one or more registers of lanes. Its sums stay in registers while the samples of a block go
   by, and every number that is loaded is used for all its rows or columns: 3 × 4 pairs load 7
   numbers for 12 fma. On the diagonal only pairs i ≤ j are summed.
2. Tiles are chosen for the registers of the machine that the kernel is compiled for: REGISTER
   numbers (8, 4 or 2 float64) are in each, and there are 32 of them, or 16. Lanes and pairs are
   independent of each other, so the bits depend on neither.
3. Pair (i, j) is number p = j(j+1)/2 + i, or j·height + i in a panel, a rectangle of that height;
   its lanes are the LANES numbers from (p − before)·LANES on: the first pair has the first ones.
4. A Numba loop over pairs keeps no sums in registers, so the code is LLVM made here, for each shape
   of a register tile: d = 16 from 8.3 to 0.56 ms (benchmarks/NOTES.md, Special paths).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd.addresses import pointer_to
from ..simd.compiling import inlined, part
from ..simd.lanes import LANES, REGISTER, fma_of
from ..simd.scalars import prefetch_line

BLOCK = 512  # samples of a tile; any multiple of 32 that divides CHUNK gives the same bits
STRIDE = BLOCK + 8  # numbers from column to column: one cache line more, or many columns would share a few places of the cache
FIRST_CACHE = 3072  # float64 (24 KiB) of a tile that stay in the first-level cache beside its sums
WIDE = REGISTER == 8  # such machines have 32 registers, others 16
FEW_LANES = 16 if WIDE else 8  # of a tile that is larger than that cache: those of two cache lines, or of one
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, REGISTER)
_INT = ir.IntType(64)


class Panel(NamedTuple):
    """Pairs (i, j), i ≤ j, of some rows i and columns j, whose sums are made at a time."""

    first_row: Any
    last_row: Any  # at least last_column, or at most first_column
    first_column: Any
    last_column: Any
    height: Any  # rows, or more; 0: the pairs of a column come right after those of the one before


@dataclass(frozen=True)
class Tile:
    """How many columns of the left and of the right; without rows they are the same columns."""

    rows: int
    columns: int

    def pairs(self) -> list[tuple[int, int]]:
        """The pairs (row, column) that are summed: what is used for fewer pairs comes by itself."""
        if not self.rows:
            return [(r, c) for c in range(self.columns) for r in range(c + 1)]
        if self.rows <= self.columns:
            return [(r, c) for c in range(self.columns) for r in range(self.rows)]
        return [(r, c) for r in range(self.rows) for c in range(self.columns)]

    def registers(self, most_sums: int) -> int:
        """How many registers of lanes are summed at a time."""
        count = LANES // REGISTER
        while count > 1 and count * len(self.pairs()) > most_sums:
            count //= 2
        return count


def two_sum(builder, a, b):
    """a + b and its rounding error (Knuth): LLVM values."""
    s = builder.fadd(a, b)
    t = builder.fsub(s, a)
    return s, builder.fadd(builder.fsub(a, builder.fsub(s, t)), builder.fsub(b, t))


# sums that stay in registers beside the numbers that are loaded; one in double-double takes two
MOST_SUMS, MOST_SUMS_DOUBLED = (24, 8) if WIDE else (12, 4)
ROWS = {1: 8, 2: 4, 3: 4, 4: 4, 5: 4} if WIDE else {1: 8, 2: 4, 3: 4, 4: 3}  # columns: the most rows beside them
ROWS_DOUBLED = {1: 4, 2: 2, 3: 2, 4: 2} if WIDE else {1: 2, 2: 2}
LINES = 2 if WIDE else 1  # that are prefetched for each register of lanes: enough for all samples that are read next


def tiles_of(rows: dict[int, int]) -> list[Tile]:
    """All tiles: beside some columns the most rows, two and one; and those on the diagonal."""
    return [Tile(r, c) for c, most in rows.items() for r in sorted({0, 1, min(most, 2), most})]


class _Arrays:
    """Reads and writes registers of flat float64 arrays."""

    def __init__(self, context, builder, signature, args):
        self._context, self._builder, self._kinds, self._values = context, builder, signature.args, args

    def _at(self, which, index):
        return pointer_to(self._context, self._builder, self._kinds[which], self._values[which], index, _VECTOR)

    def load(self, which, index):
        value = self._builder.load(self._at(which, index))
        value.align = 8
        return value

    def store(self, which, index, value):
        self._builder.store(value, self._at(which, index)).align = 8

    def number(self, which, kind=types.int64):
        """An argument that is a number."""
        return self._context.cast(self._builder, self._values[which], self._kinds[which], kind)

    def prefetch(self, line):
        """Prefetch a cache line of the data that are read next: memory is idle meanwhile."""
        begin = pointer_to(self._context, self._builder, self._kinds[AHEAD], self._values[AHEAD], ir.Constant(_INT, 0), ir.IntType(8))
        prefetch_line(self._builder, self._builder.gep(begin, [self._builder.mul(line, ir.Constant(_INT, 64))]))


def _sum_samples(builder, arrays, tile, registers, places, starts, doubled, weighted, lines):
    """Generate the sums of one block for some registers of lanes.

    places: of the sums of each pair; starts: of the left and the right column at these lanes;
    lines: the first cache line to prefetch.
    """
    above, right = starts
    sums = [(r, c, v) for v in range(registers) for r, c in tile.pairs()]
    totals = {each: cgutils.alloca_once(builder, _VECTOR) for each in sums}
    lows = {each: cgutils.alloca_once(builder, _VECTOR) for each in sums if doubled}
    multiply_add = fma_of(builder, _VECTOR)

    def number(value):
        return ir.Constant(_INT, value)

    def place(r, c, v):
        return builder.add(places[r, c], number(v * REGISTER))

    with builder.if_else(arrays.number(FRESH, types.boolean)) as (begins, goes_on):
        with begins:
            for cell in (*totals.values(), *lows.values()):
                builder.store(ir.Constant(_VECTOR, [0.0] * REGISTER), cell)
        with goes_on:
            for each in sums:
                builder.store(arrays.load(SUMS, place(*each)), totals[each])
                if doubled:
                    builder.store(arrays.load(LOW_SUMS, place(*each)), lows[each])
    with cgutils.for_range(builder, arrays.number(GROUPS), intp=_INT) as loop:
        many = (1 if doubled else LINES) * registers
        for line in range(many):
            arrays.prefetch(builder.add(lines, builder.add(builder.mul(loop.index, number(many)), number(line))))
        moved = builder.mul(loop.index, number(LANES))
        at, to = builder.add(above, moved), builder.add(right, moved)
        loaded = {}

        def load(which, begin, column, v):
            if (which, begin is at, column, v) not in loaded:
                loaded[which, begin is at, column, v] = arrays.load(which, builder.add(begin, number(column * STRIDE + v * REGISTER)))
            return loaded[which, begin is at, column, v]

        for r, c, v in sums:
            a, b = load(LEFT, at, r, v), load(TILE, to, c, v)
            total = builder.load(totals[r, c, v])
            if not doubled:
                builder.store(builder.call(multiply_add, [a, b, total]), totals[r, c, v])
                continue
            product = builder.fmul(a, b)
            error = builder.call(multiply_add, [a, b, builder.fneg(product)])
            if weighted:
                error = builder.call(multiply_add, [load(LOW_LEFT, at, r, v), b, error])
            total, lost = two_sum(builder, total, product)
            builder.store(total, totals[r, c, v])
            builder.store(builder.fadd(builder.load(lows[r, c, v]), builder.fadd(lost, error)), lows[r, c, v])
    for each in sums:
        arrays.store(SUMS, place(*each), builder.load(totals[each]))
        if doubled:
            arrays.store(LOW_SUMS, place(*each), builder.load(lows[each]))


def _sum(builder, arrays, tile, doubled, weighted):
    """Generate the sums of one block for one register tile; how many lines are prefetched then."""
    registers = tile.registers(MOST_SUMS_DOUBLED if doubled else MOST_SUMS)
    i, j, groups = arrays.number(ROW), arrays.number(COLUMN), arrays.number(GROUPS)

    def number(value):
        return ir.Constant(_INT, value)

    firsts = []  # the first row's pair in every column
    height = arrays.number(HEIGHT)
    for c in range(tile.columns):
        column = builder.add(j, number(c))
        triangle = builder.sdiv(builder.mul(column, builder.add(column, number(1))), number(2))
        above = builder.select(builder.icmp_signed("==", height, number(0)), triangle, builder.mul(column, height))
        firsts.append(builder.sub(builder.add(above, i), arrays.number(BEFORE)))
    lines = builder.mul(groups, number((1 if doubled else LINES) * registers))
    done = cgutils.alloca_once_value(builder, arrays.number(DONE))
    lanes = registers * REGISTER  # a tile of more lanes than are asked for is summed with the first of them
    first = builder.and_(builder.add(arrays.number(BEGIN), number(lanes - 1)), number(-lanes))
    with cgutils.for_range_slice(builder, first, arrays.number(END), number(lanes), _INT) as (begin, _):
        places = {(r, c): builder.add(builder.mul(builder.add(firsts[c], number(r)), number(LANES)), begin) for r, c in tile.pairs()}
        starts = [builder.add(builder.mul(column, number(STRIDE)), begin) for column in (i, j)]
        _sum_samples(builder, arrays, tile, registers, places, starts, doubled, weighted, builder.load(done))
        builder.store(builder.add(builder.load(done), lines), done)
    return builder.load(done)


# the arguments of what `summing` makes
LEFT, LOW_LEFT, TILE, SUMS, LOW_SUMS, ROW, COLUMN, HEIGHT, BEFORE = range(9)
GROUPS, BEGIN, END, FRESH, N_ROWS, N_COLUMNS, AHEAD, DONE = range(9, 17)


def summing(tiles: list[Tile], doubled: bool = False, weighted: bool = False):
    """A function that adds one block of samples to the lanes of one register tile's pairs.

    Its arguments: left, low_left, tile, lanes and low_lanes, arrays or addresses; i and j, the
    first column of the left and of the right; height and before: see 3; groups of LANES samples;
    lanes begin … end-1 alone; fresh: the sums begin with this block; rows (0: the tile lies on the
    diagonal, i = j) and columns choose the tile; ahead: an address from where cache lines are
    prefetched, `done` of them before. Returns how many there are then.
    """

    @intrinsic
    def add_block(
        typing_context, left, low_left, tile, lanes, low_lanes, i, j, height, before, groups, begin, end, fresh, rows, columns, ahead, done
    ):
        def generate(context, builder, signature, args):
            arrays = _Arrays(context, builder, signature, args)
            lines = cgutils.alloca_once_value(builder, arrays.number(DONE))
            most = ir.Constant(_INT, 16)  # more than any rows
            end = builder.append_basic_block("end")
            switch = builder.switch(builder.add(builder.mul(arrays.number(N_COLUMNS), most), arrays.number(N_ROWS)), end)
            for each in tiles:
                block = builder.append_basic_block("tile")
                switch.add_case(ir.Constant(_INT, each.columns * most.constant + each.rows), block)
                with builder.goto_block(block):
                    builder.store(_sum(builder, arrays, each, doubled, weighted), lines)
                    builder.branch(end)
            builder.position_at_end(end)
            return builder.load(lines)

        kinds = (left, low_left, tile, lanes, low_lanes, i, j, height, before, groups, begin, end, fresh, rows, columns, ahead, done)
        return types.int64(*kinds), generate

    return add_block


_add = summing(tiles_of(ROWS))
_add_doubled, _add_weighted = (summing(tiles_of(ROWS_DOUBLED), True, weighted) for weighted in (False, True))
_MOST_ROWS, _MOST_ROWS_DOUBLED = ((0, *rows.values()) for rows in (ROWS, ROWS_DOUBLED))  # of a number of columns
COLUMNS, COLUMNS_DOUBLED = len(ROWS), len(ROWS_DOUBLED)


@inlined
def _pairs_before(panel):
    """How many pairs would come before the first one of a panel: see 3."""
    j = panel.first_column
    return (j * panel.height if panel.height else j * (j + 1) // 2) + panel.first_row


@part
def _next_rows(left, most):
    """Of `left` rows, how many the next tile has: the most, two or one; of four not three."""
    if left >= most and (left != 4 or most != 3):
        return most
    return min(left, 2)


@part
def _next_columns(left):
    """Of `left` columns, how many the next tiles have: with 32 registers four, at the end five."""
    return left if left <= COLUMNS else min(COLUMNS, 4)


@part
def _lanes_at_a_time(groups, columns):
    """How many lanes are summed of all pairs, before the next ones.

    A few where the whole tile would not stay in the first-level cache.
    """
    return LANES if columns * groups * LANES <= FIRST_CACHE else FEW_LANES


@part
def multiply_block(left, tile, groups, panel, lanes, fresh, ahead, lines):
    """Add one block to the lanes of all pairs of a panel.

    fresh: the sums begin with this block; ahead: the address of the data that are read next;
    lines: how many cache lines of them are prefetched, then the same ones again, at no cost.
    """
    before = _pairs_before(panel)
    many = _lanes_at_a_time(groups, panel.last_column)
    done = 0
    for begin in range(0, LANES, many):
        end = begin + many
        j = panel.first_column
        while j < panel.last_column:
            columns = _next_columns(panel.last_column - j)
            most = _MOST_ROWS[columns]
            i, last_row = panel.first_row, min(panel.last_row, j)
            while i < last_row or i == j < panel.last_row:
                rows = _next_rows(last_row - i, most)
                done = done if done < lines else 0
                done = _add(
                    left, left, tile, lanes, lanes, i, j, panel.height, before, groups, begin, end, fresh, rows, columns, ahead, done
                )
                i += max(rows, 1)
            j += columns


@part
def multiply_block_doubled(left, low_left, weighted, tile, groups, panel, lanes, low_lanes, fresh, ahead, lines):
    """`multiply_block` as compensated dot products (Ogita, Rump, Oishi 2005).

    low_left: the low parts of the left columns, where `weighted`.
    """
    before = _pairs_before(panel)
    many = _lanes_at_a_time(groups, panel.last_column)
    done = 0
    for begin in range(0, LANES, many):
        end = begin + many
        j = panel.first_column
        while j < panel.last_column:
            columns = min(COLUMNS_DOUBLED, panel.last_column - j)
            most = _MOST_ROWS_DOUBLED[columns]
            i, last_row = panel.first_row, min(panel.last_row, j)
            while i < last_row or i == j < panel.last_row:
                rows = _next_rows(last_row - i, most)
                done = done if done < lines else 0
                if weighted:
                    done = _add_weighted(
                        left, low_left, tile, lanes, low_lanes, i, j, panel.height, before, groups, begin, end, fresh, rows, columns,
                        ahead, done,
                    )  # fmt: skip
                else:
                    done = _add_doubled(
                        left, left, tile, lanes, low_lanes, i, j, panel.height, before, groups, begin, end, fresh, rows, columns,
                        ahead, done,
                    )  # fmt: skip
                i += max(rows, 1)
            j += columns
