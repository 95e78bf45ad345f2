"""Rows of samples that lie anywhere, brought into a tile of `stream`.

Eight rows at a time are transposed in registers; those that come next are fetched meanwhile, since
each costs a wait for the memory. What this does not take is `fill_stream_tile`'s.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..simd.addresses import count_at, of_floats, pointer_to
from ..simd.compiling import part
from ..simd.lanes import LANES, LaneVector, store
from ..simd.scalars import move, prefetch
from ..simd.transpose import SIDE, columns_of

AHEAD = 32  # rows from the one that is copied to the one that is fetched
LINE_BYTES = 64


@intrinsic
def _load_row(typing_context, array, index):
    """SIDE numbers of a flat array from `index` on, in their own type."""
    if not of_floats(array):
        return None
    result = LaneVector(array.dtype, SIDE)

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        value = builder.load(pointer_to(context, builder, signature.args[0], args[0], where, ir.VectorType(result.llvm.element, SIDE)))
        value.align = array.dtype.bitwidth // 8
        return value

    return result(array, index), generate


@part
def gather_tile(tile, stride, sources, place, d, rows, count, known, itemsize):
    """Copy the samples rows[0] … rows[count-1] to a tile of `stream`: see descent/evaluate.py, 1.

    The features of a sample are contiguous. rows: int32, flat; those up to `known` are wanted next,
    and fetched. place: where sample 0 lies.
    """
    X, step, line = sources.X, sources.x_step, LINE_BYTES // itemsize
    # a block of features is read as if it were whole: the last numbers of X are copied one by one
    end = sources.x_length - ((d + SIDE - 1) // SIDE * SIDE)
    done = 0
    while done + SIDE <= count:
        for i in range(done + AHEAD, min(done + AHEAD + SIDE, known)):
            begin = place.x + count_at(rows, i) * step
            for k in range(0, d, line):
                prefetch(X, begin + k)
            prefetch(X, begin + d - 1)
        r0, r1 = place.x + count_at(rows, done) * step, place.x + count_at(rows, done + 1) * step
        r2, r3 = place.x + count_at(rows, done + 2) * step, place.x + count_at(rows, done + 3) * step
        r4, r5 = place.x + count_at(rows, done + 4) * step, place.x + count_at(rows, done + 5) * step
        r6, r7 = place.x + count_at(rows, done + 6) * step, place.x + count_at(rows, done + 7) * step
        if max(max(max(r0, r1), max(r2, r3)), max(max(r4, r5), max(r6, r7))) > end:
            for i in range(done, done + SIDE):
                _copy_row(tile, stride, X, place.x + count_at(rows, i) * step, d, i)
        else:
            for k in range(0, d, SIDE):
                c = columns_of((
                    _load_row(X, r0 + k), _load_row(X, r1 + k), _load_row(X, r2 + k), _load_row(X, r3 + k),
                    _load_row(X, r4 + k), _load_row(X, r5 + k), _load_row(X, r6 + k), _load_row(X, r7 + k),
                ))  # fmt: skip
                at, left = k * stride + done, d - k
                store(tile, at, c[0])
                if left > 1:
                    store(tile, at + stride, c[1])
                if left > 2:
                    store(tile, at + 2 * stride, c[2])
                if left > 3:
                    store(tile, at + 3 * stride, c[3])
                if left > 4:
                    store(tile, at + 4 * stride, c[4])
                if left > 5:
                    store(tile, at + 5 * stride, c[5])
                if left > 6:
                    store(tile, at + 6 * stride, c[6])
                if left > 7:
                    store(tile, at + 7 * stride, c[7])
        done += SIDE
    for i in range(done, count):
        _copy_row(tile, stride, X, place.x + count_at(rows, i) * step, d, i)
    _gather_column(tile, d * stride, sources.y, place.y, sources.y_step, rows, count, known)
    if sources.weighted:
        _gather_column(tile, (d + 1) * stride, sources.weights, place.weights, sources.w_step, rows, count, known)
    columns = d + 2 if sources.weighted else d + 1
    for i in range(count, (count + LANES - 1) // LANES * LANES):
        for k in range(columns):
            tile[k * stride + i] = tile.dtype.type(0)


@part
def _copy_row(tile, stride, X, begin, d, i):
    """Copy the features of one sample to row i of a tile."""
    for k in range(d):
        move(X, begin + k, tile, k * stride + i)


@part
def _gather_column(tile, start, array, base, step, rows, count, known):
    """Copy one number of each sample to a column of a tile."""
    for i in range(count):
        if i + AHEAD < known:
            prefetch(array, base + count_at(rows, i + AHEAD) * step)
        move(array, base + count_at(rows, i) * step, tile, start + i)
