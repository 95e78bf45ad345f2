"""Sums over pairs of columns of a tile, many pairs at a time in registers.

1. A register tile is `rows` columns of the left against `columns` of the right, REGISTER lanes of
   each. Its sums stay in registers while the samples of a block go by, and every number that is
   loaded is used `rows` or `columns` times: a tile of 4 × 4 loads 8 numbers for 16 fma. On the
   diagonal only pairs i ≤ j are summed.
2. REGISTER is what one register of this machine holds (8, 4 or 2 float64). Lanes are independent of
   each other, so the bits do not depend on it.
3. Pair (i, j) is number p = j(j+1)/2 + i; its lanes are the LANES numbers from p·LANES on.
4. A Numba loop over pairs keeps no sums in registers, so the code is LLVM made here, for each shape
   of a register tile: d = 16 from 8.3 to 0.56 ms (benchmarks/NOTES.md, Special paths).
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd.addresses import pointer_to
from ..simd.compiling import part
from ..simd.lanes import LANES, REGISTER, fma_of
from ..simd.scalars import prefetch_line

BLOCK = 512  # samples of a tile; any multiple of 32 that divides CHUNK gives the same bits
STRIDE = BLOCK + 8  # numbers from column to column: one cache line more, or many columns would share a few places of the cache
WIDE = REGISTER == 8  # such machines have 32 registers, others 16
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, REGISTER)
_INT = ir.IntType(64)


@dataclass(frozen=True)
class Shape:
    """How many columns of the left and of the right; `diagonal`: they are the same columns."""

    rows: int
    columns: int
    diagonal: bool = False

    def pairs(self) -> list[tuple[int, int]]:
        """The pairs (row, column) that are summed."""
        return [(r, c) for c in range(self.columns) for r in range(self.rows) if not self.diagonal or r <= c]


def two_sum(builder, a, b):
    """a + b and its rounding error (Knuth): LLVM values."""
    s = builder.fadd(a, b)
    t = builder.fsub(s, a)
    return s, builder.fadd(builder.fsub(a, builder.fsub(s, t)), builder.fsub(b, t))


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

    def prefetch(self, line):
        """Prefetch a cache line of the data that are read next: memory is idle meanwhile."""
        begin = pointer_to(self._context, self._builder, self._kinds[AHEAD], self._values[AHEAD], ir.Constant(_INT, 0), ir.IntType(8))
        prefetch_line(self._builder, self._builder.gep(begin, [self._builder.mul(line, ir.Constant(_INT, 64))]))


# what fits in the registers beside the numbers that are loaded; a sum in double-double takes two
ROWS, COLUMNS = (4 if WIDE else 2), 4
MOST_COLUMNS = COLUMNS + 1 if WIDE else COLUMNS  # of the last tiles: one column alone would take as long as four
ROWS_DOUBLED, COLUMNS_DOUBLED = 2, (4 if WIDE else 2)


def _sum(builder, arrays, where, shape, doubled, weighted):
    """Generate the sums of one block for one register tile.

    where: (i, j, offset, groups, begin, fresh, done), described in `_summing`.
    """
    pairs = shape.pairs()
    i, j, offset, groups, begin, fresh, done = where

    def number(value):
        return ir.Constant(_INT, value)

    def times(value, by):
        return builder.mul(value, number(by))

    starts = []  # of the lanes of the first row's pair in every column
    for c in range(shape.columns):
        column = builder.add(j, number(c))
        before = builder.sdiv(builder.mul(column, builder.add(column, number(1))), number(2))
        starts.append(times(builder.sub(builder.add(before, i), offset), LANES))
    totals = {pair: cgutils.alloca_once(builder, _VECTOR) for pair in pairs}
    lows = {pair: cgutils.alloca_once(builder, _VECTOR) for pair in pairs if doubled}
    multiply_add = fma_of(builder, _VECTOR)
    places = {(r, c): builder.add(builder.add(starts[c], number(r * LANES)), begin) for r, c in pairs}
    with builder.if_else(fresh) as (begins, goes_on):
        with begins:
            for cell in (*totals.values(), *lows.values()):
                builder.store(ir.Constant(_VECTOR, [0.0] * REGISTER), cell)
        with goes_on:
            for pair, place in places.items():
                builder.store(arrays.load(SUMS, place), totals[pair])
                if doubled:
                    builder.store(arrays.load(LOW_SUMS, place), lows[pair])
    above, right = builder.add(times(i, STRIDE), begin), builder.add(times(j, STRIDE), begin)
    with cgutils.for_range(builder, groups, intp=_INT) as loop:
        line = builder.add(done, loop.index)
        if doubled:
            arrays.prefetch(line)
        else:  # with few columns there are fewer rounds than lines
            arrays.prefetch(times(line, 2))
            arrays.prefetch(builder.add(times(line, 2), number(1)))
        moved = times(loop.index, LANES)
        at, to = builder.add(above, moved), builder.add(right, moved)
        a = [arrays.load(LEFT, builder.add(at, number(r * STRIDE))) for r in range(shape.rows)]
        a_low = [arrays.load(LOW_LEFT, builder.add(at, number(r * STRIDE))) for r in range(shape.rows if weighted and doubled else 0)]
        b = None
        for r, c in pairs:
            if r == 0:
                b = arrays.load(TILE, builder.add(to, number(c * STRIDE)))
            total = builder.load(totals[r, c])
            if not doubled:
                builder.store(builder.call(multiply_add, [a[r], b, total]), totals[r, c])
                continue
            product = builder.fmul(a[r], b)
            error = builder.call(multiply_add, [a[r], b, builder.fneg(product)])
            if weighted:
                error = builder.call(multiply_add, [a_low[r], b, error])
            total, lost = two_sum(builder, total, product)
            builder.store(total, totals[r, c])
            builder.store(builder.fadd(builder.load(lows[r, c]), builder.fadd(lost, error)), lows[r, c])
    for pair, place in places.items():
        arrays.store(SUMS, place, builder.load(totals[pair]))
        if doubled:
            arrays.store(LOW_SUMS, place, builder.load(lows[pair]))


# the arguments of what `_summing` makes
LEFT, LOW_LEFT, TILE, SUMS, LOW_SUMS, ROW, COLUMN, OFFSET, GROUPS, BEGIN, FRESH, N_COLUMNS, AHEAD, DONE = range(14)


def _summing(shapes: list[Shape], doubled: bool = False, weighted: bool = False):
    """A function that adds one block of samples to the lanes of one register tile's pairs.

    Its arguments: left, low_left, tile, lanes and low_lanes, arrays or addresses; i and j, the
    first column of the left and of the right; offset: the lanes of pair (i, j) begin at (j(j+1)/2 +
    i − offset)·LANES; groups of LANES samples; begin, the first of the REGISTER lanes; fresh: the
    sums begin with this block; columns: how many of the right, which chooses the shape; ahead: an
    address from where cache lines are prefetched, one for each group (two for float32 data, whose
    sums are quick), after `done` groups.
    """

    @intrinsic
    def add_block(typing_context, left, low_left, tile, lanes, low_lanes, i, j, offset, groups, begin, fresh, columns, ahead, done):
        def generate(context, builder, signature, args):
            arrays = _Arrays(context, builder, signature, args)
            where = [context.cast(builder, args[k], signature.args[k], types.int64) for k in (ROW, COLUMN, OFFSET, GROUPS, BEGIN)]
            where.append(context.cast(builder, args[FRESH], signature.args[FRESH], types.boolean))
            where.append(context.cast(builder, args[DONE], signature.args[DONE], types.int64))
            count = context.cast(builder, args[N_COLUMNS], signature.args[N_COLUMNS], types.int64)
            for shape in shapes:
                with builder.if_then(builder.icmp_signed("==", count, ir.Constant(_INT, shape.columns))):
                    _sum(builder, arrays, where, shape, doubled, weighted)
            return context.get_dummy_value()

        return types.void(left, low_left, tile, lanes, low_lanes, i, j, offset, groups, begin, fresh, columns, ahead, done), generate

    return add_block


def _shapes(rows: int, columns: int) -> tuple[list[Shape], list[Shape], list[Shape]]:
    """Shapes with 1 … columns columns: of `rows` rows, of one row, and on the diagonal."""
    counts = range(1, columns + 1)
    return [Shape(rows, k) for k in counts], [Shape(1, k) for k in counts], [Shape(k, k, True) for k in counts]


_add_rows, _add_row, _add_diagonal = (_summing(shapes) for shapes in _shapes(ROWS, MOST_COLUMNS))
_doubled = [_summing(shapes, True) for shapes in _shapes(ROWS_DOUBLED, COLUMNS_DOUBLED)]
_add_rows_doubled, _add_row_doubled, _add_diagonal_doubled = _doubled
_weighted = [_summing(shapes, True, True) for shapes in _shapes(ROWS_DOUBLED, COLUMNS_DOUBLED)]
_add_rows_weighted, _add_row_weighted, _add_diagonal_weighted = _weighted


@part
def multiply_block(left, tile, groups, first_column, last_column, lanes, fresh, ahead):
    """Add one block to the lanes of all pairs (i, j), i ≤ j, first_column ≤ j < last_column.

    fresh: the sums begin with this block; ahead: the address of the data that are read next.
    """
    offset = first_column * (first_column + 1) // 2
    done = 0
    for begin in range(0, LANES, REGISTER):
        j = first_column
        while j < last_column:
            columns = last_column - j
            columns = columns if columns <= MOST_COLUMNS else COLUMNS
            i = 0
            while i + ROWS <= j:
                _add_rows(left, left, tile, lanes, lanes, i, j, offset, groups, begin, fresh, columns, ahead, done)
                done += groups
                i += ROWS
            while i < j:
                _add_row(left, left, tile, lanes, lanes, i, j, offset, groups, begin, fresh, columns, ahead, done)
                done += groups
                i += 1
            _add_diagonal(left, left, tile, lanes, lanes, j, j, offset, groups, begin, fresh, columns, ahead, done)
            done += groups
            j += columns


@part
def multiply_block_doubled(left, low_left, weighted, tile, groups, first_column, last_column, lanes, low_lanes, fresh, ahead):
    """`multiply_block` as compensated dot products (Ogita, Rump, Oishi 2005).

    low_left: the low parts of the left columns, where `weighted`.
    """
    offset = first_column * (first_column + 1) // 2
    done = 0
    for begin in range(0, LANES, REGISTER):
        j = first_column
        while j < last_column:
            columns = min(COLUMNS_DOUBLED, last_column - j)
            i = 0
            if weighted:
                while i + ROWS_DOUBLED <= j:
                    _add_rows_weighted(left, low_left, tile, lanes, low_lanes, i, j, offset, groups, begin, fresh, columns, ahead, done)
                    done += groups
                    i += ROWS_DOUBLED
                while i < j:
                    _add_row_weighted(left, low_left, tile, lanes, low_lanes, i, j, offset, groups, begin, fresh, columns, ahead, done)
                    done += groups
                    i += 1
                _add_diagonal_weighted(left, low_left, tile, lanes, low_lanes, j, j, offset, groups, begin, fresh, columns, ahead, done)
                done += groups
            else:
                while i + ROWS_DOUBLED <= j:
                    _add_rows_doubled(left, left, tile, lanes, low_lanes, i, j, offset, groups, begin, fresh, columns, ahead, done)
                    done += groups
                    i += ROWS_DOUBLED
                while i < j:
                    _add_row_doubled(left, left, tile, lanes, low_lanes, i, j, offset, groups, begin, fresh, columns, ahead, done)
                    done += groups
                    i += 1
                _add_diagonal_doubled(left, left, tile, lanes, low_lanes, j, j, offset, groups, begin, fresh, columns, ahead, done)
                done += groups
            j += columns
