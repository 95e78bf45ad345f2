"""Transpose eight rows of eight numbers at a time: three rounds of shuffles in registers."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .addresses import of_floats, pointer_to
from .lanes import LaneVector

SIDE = 8
_ROUNDS = (  # which numbers of two vectors go where: pairs, then pairs of pairs, then halves
    ([0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
    ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
    ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
)


def _columns(builder, rows):
    """The eight columns of eight rows of eight."""

    def mixed(a, b, places):
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), SIDE), places))

    low, high = _ROUNDS[0]
    pairs = [[mixed(rows[i], rows[i + 1], places) for places in (low, high)] for i in range(0, SIDE, 2)]
    low, high = _ROUNDS[1]
    quads = []  # of rows 0-3 and 4-7: columns 0|4, 1|5, 2|6, 3|7
    for i in (0, 2):
        quads.append([mixed(pairs[i][side], pairs[i + 1][side], places) for side in (0, 1) for places in (low, high)])
    low, high = _ROUNDS[2]
    return [mixed(quads[0][j], quads[1][j], low) for j in range(4)] + [mixed(quads[0][j], quads[1][j], high) for j in range(4)]


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

        def at(which, index, kind):
            return pointer_to(context, builder, signature.args[which], args[which], index, ir.VectorType(kind, SIDE))

        rows = []
        for _ in range(SIDE):
            row = builder.load(at(0, begin, of_source))
            row.align = signature.args[0].dtype.bitwidth // 8
            rows.append(row)
            begin = builder.add(begin, step)
        for j, found in enumerate(_columns(builder, rows)):
            column = found
            if of_source != of_target:
                column = builder.fpext(found, ir.VectorType(of_target, SIDE))
            with builder.if_then(builder.icmp_signed("<", ir.Constant(number.type, j), number)):
                instruction = builder.store(column, at(4, place, of_target))
                instruction.align = signature.args[4].dtype.bitwidth // 8
            place = builder.add(place, stride)
        return context.get_dummy_value()

    return types.void(source, start, row_step, count, target, to, column_step), generate


@intrinsic
def columns_of(typing_context, rows):
    """The eight columns of eight rows: tuples of vectors of eight lanes."""
    if not isinstance(rows, types.UniTuple) or rows.count != SIDE or not isinstance(rows.dtype, LaneVector):
        return None

    def generate(context, builder, signature, args):
        found = _columns(builder, [builder.extract_value(args[0], i) for i in range(SIDE)])
        return context.make_tuple(builder, signature.return_type, found)

    return rows(rows), generate
