"""Transpose eight rows of eight numbers at a time: shuffles in registers."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .addresses import of_floats, pointer_to
from .lanes import REGISTER, LaneVector

SIDE = 8
# Which numbers of two vectors go where: single numbers, then pairs. Single numbers stay within the
# 128 bits of a register in which a shuffle is one instruction: four float32, or two float64.
_SINGLES = {
    ir.FloatType(): ([0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
    ir.DoubleType(): ([0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]),
}
_PAIRS = ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
_HALVES = ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
CONVERTED_FIRST = REGISTER < 8  # float32 rows: 32 shuffles instead of 40 with AVX2, but with AVX-512 more


def _mixed(builder, a, b, places):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))


def _four_columns(builder, v):
    """Four columns of eight rows: vector i holds four numbers of row i, then four of row i + 4."""
    is_float = v[0].type.element == ir.FloatType()
    low, high = ([_mixed(builder, v[i], v[i + 1], places) for i in (0, 2)] for places in _SINGLES[v[0].type.element])
    columns = [_mixed(builder, *two, places) for two in (low, high) for places in _PAIRS]  # 0, 1, 2, 3 of float32
    return columns if is_float else [columns[k] for k in (0, 2, 1, 3)]


@intrinsic
def transpose(typing_context, source, start, row_step, count, target, to, column_step):
    """Copy columns 0 … count-1 of eight rows, in the target's type.

    source[start + i·row_step + j] goes to target[to + j·column_step + i]. Flat arrays, 1 ≤ count ≤
    8. Eight numbers of every row are read, whatever the count: they must exist.
    """
    if not of_floats(source) or not of_floats(target):
        return None

    def generate(context, builder, signature, args):
        kinds = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
        of_source, of_target = kinds[signature.args[0].dtype], kinds[signature.args[4].dtype]
        begin, step, number, place, stride = (
            context.cast(builder, args[k], signature.args[k], types.intp) for k in (1, 2, 3, 5, 6)
        )  # fmt: skip

        def at(which, index, kind, count):
            return pointer_to(context, builder, signature.args[which], args[which], index, ir.VectorType(kind, count))

        def four_of(row):
            """Numbers of a row; converted while they are read they take no shuffle."""
            value = builder.load(at(0, row, of_source, SIDE // 2))
            value.align = signature.args[0].dtype.bitwidth // 8
            return builder.fpext(value, ir.VectorType(of_target, SIDE // 2)) if CONVERTED_FIRST and of_source != of_target else value

        def is_wanted(j):
            return builder.if_then(builder.icmp_signed("<", ir.Constant(number.type, j), number))

        rows = [begin := builder.add(begin, step) if i else begin for i in range(SIDE)]
        places = [place := builder.add(place, stride) if j else place for j in range(SIDE)]
        for first in (0, SIDE // 2):  # of four columns
            with is_wanted(first):
                fours = [four_of(builder.add(row, ir.Constant(row.type, first))) for row in rows]
                joined = [_mixed(builder, fours[i], fours[i + SIDE // 2], list(range(SIDE))) for i in range(SIDE // 2)]
                for j, found in enumerate(_four_columns(builder, joined), first):
                    with is_wanted(j):
                        column = found
                        if column.type.element != of_target:
                            column = builder.fpext(column, ir.VectorType(of_target, SIDE))
                        builder.store(column, at(4, places[j], of_target, SIDE)).align = signature.args[4].dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(source, start, row_step, count, target, to, column_step), generate


@intrinsic
def columns_of(typing_context, rows):
    """The eight columns of eight rows: tuples of vectors of eight lanes."""
    if not isinstance(rows, types.UniTuple) or rows.count != SIDE or not isinstance(rows.dtype, LaneVector):
        return None

    def generate(context, builder, signature, args):
        v = [builder.extract_value(args[0], i) for i in range(SIDE)]
        halves = [[_mixed(builder, v[i], v[i + SIDE // 2], places) for i in range(SIDE // 2)] for places in _HALVES]
        found = [column for half in halves for column in _four_columns(builder, half)]
        return context.make_tuple(builder, signature.return_type, found)

    return rows(rows), generate
