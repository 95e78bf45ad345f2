"""One pass over a tile of samples for all sums of `stream` (docs/arithmetic.md, section 7).

Generated for up to MOST_UNROLLED features. Every operation is that of evaluate.py, in the same
order. One register of lanes at a time goes through all samples, two with few features, so that each
number is loaded once and serves the residual and the gradient.

With more features, whose sums would not stay in registers, residuals come first, and then
`add_columns` sums up to MOST_UNROLLED columns at a time.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..simd.addresses import Address, pointer_to
from ..simd.lanes import LANES, REGISTER, fma_of

MOST_UNROLLED = 8  # features
_INT = ir.IntType(64)
_INDEX = ir.IntType(32)
TILE, STRIDE, ROWS, N_FEATURES, INTERCEPT, W, FACTOR, SUMS = range(8)  # the arguments of `pass_over`


class _Pass:
    """Reads and writes one register of lanes of the tile and the sums, or two."""

    def __init__(self, context, builder, kinds, args, begin, registers):
        self._context, self._builder, self._kinds, self._args, self._begin = context, builder, kinds, args, begin
        double = kinds[TILE].dtype == types.float64
        self.element = ir.DoubleType() if double else ir.FloatType()
        self.count, self._align = (registers * REGISTER, 8) if double else (registers * 2 * REGISTER, 4)
        self.vector = ir.VectorType(self.element, self.count)

    def _pointer(self, which, index, kind):
        return pointer_to(self._context, self._builder, self._kinds[which], self._args[which], index, kind)

    def load(self, index):
        """These lanes of the numbers of the tile from `index` on."""
        value = self._builder.load(self._pointer(TILE, self._builder.add(index, self._begin), self.vector))
        value.align = self._align
        return value

    def store_sum(self, number, value):
        index = self._builder.add(ir.Constant(_INT, number * LANES), self._begin)
        self._builder.store(value, self._pointer(SUMS, index, self.vector)).align = self._align

    def filled(self, scalar):
        """A vector whose lanes all equal a scalar."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self._builder.insert_element(nothing, scalar, ir.Constant(_INDEX, 0))
        return self._builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INDEX, self.count), [0] * self.count))

    def parameter(self, number):
        """w_number in all lanes."""
        return self.filled(self._builder.load(self._pointer(W, ir.Constant(_INT, number), self.element)))

    def below(self, rest):
        """The mask of the lanes below `rest`."""
        wide = ir.VectorType(_INDEX, self.count)
        nothing = ir.Constant(wide, ir.Undefined)
        begin, rest = (self._builder.trunc(value, _INDEX) for value in (self._begin, rest))
        left = self._builder.insert_element(nothing, self._builder.sub(rest, begin), ir.Constant(_INDEX, 0))
        counts = self._builder.shuffle_vector(left, nothing, ir.Constant(wide, [0] * self.count))
        return self._builder.icmp_signed("<", ir.Constant(wide, list(range(self.count))), counts)


def _sums(builder, lanes, numbers, factor, n_features, intercept):
    """Generate Σ x_j · factor · r for every parameter, then Σ r², in these lanes."""
    stride, rows = numbers
    multiply_add = fma_of(builder, lanes.vector)

    def fma(a, b, c):
        return builder.call(multiply_add, [a, b, c])

    size = n_features + intercept
    w = [lanes.parameter(k) for k in range(size)]
    by = lanes.filled(factor)
    columns = [builder.mul(stride, ir.Constant(_INT, k)) for k in range(n_features + 1)]
    totals = [cgutils.alloca_once(builder, lanes.vector) for _ in range(size + 1)]
    for cell in totals:
        builder.store(ir.Constant(lanes.vector, [0.0] * lanes.count), cell)

    def group(first, mask):
        def update(value, cell):
            builder.store(value if mask is None else builder.select(mask, value, builder.load(cell)), cell)

        x = [lanes.load(builder.add(column, first)) for column in columns[:-1]]
        residual = builder.fneg(lanes.load(builder.add(columns[-1], first)))
        for value, slope in zip(x, w, strict=False):
            residual = fma(value, slope, residual)
        if intercept:
            residual = builder.fadd(residual, w[n_features])
        scaled = builder.fmul(by, residual)
        update(fma(residual, residual, builder.load(totals[size])), totals[size])
        for value, cell in zip(x, totals, strict=False):
            update(fma(value, scaled, builder.load(cell)), cell)
        if intercept:
            update(builder.fadd(builder.load(totals[n_features]), scaled), totals[n_features])

    groups = builder.udiv(rows, ir.Constant(_INT, LANES))
    whole = builder.mul(groups, ir.Constant(_INT, LANES))
    with cgutils.for_range(builder, groups, intp=_INT) as loop:
        group(builder.mul(loop.index, ir.Constant(_INT, LANES)), None)
    rest = builder.sub(rows, whole)
    with builder.if_then(builder.icmp_signed(">", rest, ir.Constant(_INT, 0))):
        group(whole, lanes.below(rest))
    for number, cell in enumerate(totals):
        lanes.store_sum(number, builder.load(cell))


@intrinsic
def pass_over(typing_context, tile, stride, rows, n_features, intercept, w, factor, sums):
    """Write the lanes of all sums: of x_j · factor · r for every parameter, then of r².

    tile (evaluate.py, 1), w and sums (LANES numbers for each sum) are addresses of numbers in the
    data's type. The samples are rows 0 … rows-1 of the tile; n_features ≤ MOST_UNROLLED.
    """
    if not isinstance(tile, Address) or not isinstance(sums, Address):
        return None

    def generate(context, builder, signature, args):
        number = {k: context.cast(builder, args[k], signature.args[k], types.int64) for k in (STRIDE, ROWS, N_FEATURES)}
        wanted = context.cast(builder, args[INTERCEPT], signature.args[INTERCEPT], types.boolean)
        factor = context.cast(builder, args[FACTOR], signature.args[FACTOR], signature.args[TILE].dtype)
        for k in range(1, MOST_UNROLLED + 1):
            with builder.if_then(builder.icmp_signed("==", number[N_FEATURES], ir.Constant(_INT, k))):
                registers = 2 if k <= 3 else 1  # one chain of sums would wait for itself
                step = registers * REGISTER * (1 if signature.args[TILE].dtype == types.float64 else 2)
                with cgutils.for_range_slice(builder, *(ir.Constant(_INT, value) for value in (0, LANES, step)), _INT) as (begin, _):
                    lanes = _Pass(context, builder, signature.args, args, begin, registers)
                    with builder.if_else(wanted) as (then, otherwise):
                        for branch, with_intercept in ((then, 1), (otherwise, 0)):
                            with branch:
                                _sums(builder, lanes, (number[STRIDE], number[ROWS]), factor, k, with_intercept)
        return context.get_dummy_value()

    return types.void(tile, stride, rows, n_features, intercept, w, factor, sums), generate


@intrinsic
def add_columns(typing_context, tile, stride, n_columns, groups, values, sums):
    """Add x_j · value of whole groups of LANES samples to the lanes of the sums of some columns.

    tile: from the first of the columns and samples on; values: one for each sample; sums: LANES
    numbers for each column, which are added to. All are addresses of numbers in the data's type.
    n_columns ≤ MOST_UNROLLED.
    """
    if not isinstance(tile, Address) or not isinstance(sums, Address):
        return None

    def generate(context, builder, signature, args):
        stride, count, groups = (context.cast(builder, args[k], signature.args[k], types.int64) for k in (1, 2, 3))
        element = ir.DoubleType() if signature.args[0].dtype == types.float64 else ir.FloatType()
        vector = ir.VectorType(element, REGISTER * (1 if element == ir.DoubleType() else 2))
        multiply_add = fma_of(builder, vector)

        def at(which, index):
            return pointer_to(context, builder, signature.args[which], args[which], index, vector)

        def load(which, index):
            value = builder.load(at(which, index))
            value.align = signature.args[which].dtype.bitwidth // 8
            return value

        for k in range(1, MOST_UNROLLED + 1):
            bounds = (ir.Constant(_INT, n) for n in (0, LANES, vector.count))
            wanted = builder.icmp_signed("==", count, ir.Constant(_INT, k))
            with builder.if_then(wanted), cgutils.for_range_slice(builder, *bounds, _INT) as (begin, _):
                columns = [builder.add(begin, builder.mul(stride, ir.Constant(_INT, j))) for j in range(k)]
                places = [builder.add(begin, ir.Constant(_INT, j * LANES)) for j in range(k)]
                cells = [cgutils.alloca_once(builder, vector) for _ in places]
                for place, cell in zip(places, cells, strict=True):
                    builder.store(load(5, place), cell)
                with cgutils.for_range(builder, groups, intp=_INT) as loop:
                    first = builder.mul(loop.index, ir.Constant(_INT, LANES))
                    value = load(4, builder.add(begin, first))
                    for column, cell in zip(columns, cells, strict=True):
                        builder.store(builder.call(multiply_add, [load(0, builder.add(column, first)), value, builder.load(cell)]), cell)
                for place, cell in zip(places, cells, strict=True):
                    builder.store(builder.load(cell), at(5, place)).align = signature.args[5].dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(tile, stride, n_columns, groups, values, sums), generate
