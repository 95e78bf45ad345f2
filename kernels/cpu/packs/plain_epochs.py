"""Unchecked blocks of SGD: one loop for each number of parameters up to MOST_UNROLLED.

1. Every operation is that of run_pack.py, in the same order. w stays in registers from epoch to
   epoch and nothing is tested on the way: the largest |w| of every lane is noted, and run_pack.py
   decides afterwards whether the block is valid.
2. As many lanes go together as the registers can take: more with few parameters, where one chain of
   operations would wait for itself.
3. With momentum the largest velocity of every lane is noted too, which could pass its limit while
   w stays small. What a step adds to w needs no note: it is at most |w| before plus |w| after.
4. Numba unrolls no loop over a run-time number of parameters, so the loops are LLVM code made here:
   8.3 → 3.4 ns an epoch and fit at eight parameters (benchmarks/NOTES.md, Special paths).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..moments.register_tiles import WIDE, two_sum
from ..simd.addresses import Address, pointer_to
from ..simd.lanes import LANES, REGISTER, fma_of
from .rule_state import SHARE
from .state import FACTOR, LARGEST, LARGEST_VELOCITY, LOW_FACTOR, RECIPROCAL, TOTAL

MOST_UNROLLED = 8  # parameters
_INT = ir.IntType(64)
# the arguments of `plain_epochs`, and those of `momentum_epochs`
GRAMS, TARGETS, STATE, CONSTANTS, RATES, RATE_STEP, ROWS, LOSSES, SIZE, COUNT, RECORDED, VELOCITIES, VALUES = range(13)
_MOMENTUM, _NESTEROV = 0, 3  # rows of the values of SGD


def _lanes_together(size: int) -> int:
    return REGISTER * (1 if size > 3 else 4 if WIDE and size == 1 else 2)


class _Lanes:
    """Reads and writes some lanes of the arrays of a pack."""

    def __init__(self, context, builder, kinds, args, begin, count):
        self._context, self._builder, self._kinds, self._args, self._begin = context, builder, kinds, args, begin
        self.count = count
        self.doubles = ir.VectorType(ir.DoubleType(), count)

    def _pointer(self, which, row, llvm_type):
        row = row if isinstance(row, ir.Value) else ir.Constant(_INT, row)
        index = self._builder.add(self._builder.mul(row, ir.Constant(_INT, LANES)), self._begin)
        return pointer_to(self._context, self._builder, self._kinds[which], self._args[which], index, llvm_type)

    def load(self, which, row):
        """These lanes of a row of float64."""
        value = self._builder.load(self._pointer(which, row, self.doubles))
        value.align = 8
        return value

    def store(self, which, row, value):
        self._builder.store(value, self._pointer(which, row, self.doubles)).align = 8

    def store_rounded(self, which, row, value):
        """Store these lanes rounded to float32."""
        rounded = ir.VectorType(ir.FloatType(), self.count)
        self._builder.store(self._builder.fptrunc(value, rounded), self._pointer(which, row, rounded)).align = 4

    def larger(self, most, value):
        """|value| where it is larger than `most`, else `most`."""
        length = self.call("fabs", value)
        return self._builder.select(self._builder.fcmp_ordered("<", most, length), length, most)

    def call(self, name, *args):
        kind = ir.FunctionType(self.doubles, [self.doubles] * len(args))
        function = cgutils.get_or_insert_function(self._builder.module, kind, f"llvm.{name}.v{self.count}f64")
        return self._builder.call(function, args)


class _Momentum:
    """The steps of some lanes that all have momentum, none of them the first: update_lanes._sgd."""

    def __init__(self, builder, lanes, fma):
        self._builder, self._lanes, self._fma = builder, lanes, fma
        self._momentum, self._undamped = lanes.load(VALUES, _MOMENTUM), lanes.load(VALUES, SHARE)
        zero = ir.Constant(lanes.doubles, [0.0] * lanes.count)
        self._nesterov = builder.fcmp_ordered("<", zero, lanes.load(VALUES, _NESTEROV))
        self._largest = cgutils.alloca_once_value(builder, lanes.load(CONSTANTS, LARGEST_VELOCITY))

    def direction_of(self, j, gradient):
        """Where w_j goes; its velocity is stored."""
        old = self._builder.fmul(self._lanes.load(VELOCITIES, j), self._momentum)
        velocity = self._fma(self._undamped, gradient, old)
        self._lanes.store(VELOCITIES, j, velocity)
        self._builder.store(self._lanes.larger(self._builder.load(self._largest), velocity), self._largest)
        return self._builder.select(self._nesterov, self._fma(self._momentum, velocity, gradient), velocity)

    def end(self):
        """Store the largest velocity."""
        self._lanes.store(CONSTANTS, LARGEST_VELOCITY, self._builder.load(self._largest))


def _epochs(builder, lanes, size, numbers, recorded, moves):
    """Generate all epochs of some lanes: float32 data. moves: whether with momentum."""
    count, rate_step = numbers
    multiply_add = fma_of(builder, lanes.doubles)

    def fma(a, b, c):
        return builder.call(multiply_add, [a, b, c])

    few = size <= 3  # then the moments fit into registers
    entries = [(j, k) for j in range(size) for k in range(j + 1)]  # k ≤ j: entry j(j+1)/2 + k
    at_hand = {("gram", j, k): lanes.load(GRAMS, j * (j + 1) // 2 + k) for j, k in entries if few}
    at_hand |= {("towards", j): lanes.load(TARGETS, j) for j in range(size) if few}

    def gram(j, k):
        j, k = max(j, k), min(j, k)
        return at_hand[("gram", j, k)] if few else lanes.load(GRAMS, j * (j + 1) // 2 + k)

    momentum = _Momentum(builder, lanes, fma) if moves else None
    factor, total, reciprocal = (lanes.load(CONSTANTS, row) for row in (FACTOR, TOTAL, RECIPROCAL))
    squares = lanes.load(TARGETS, size)
    state = [cgutils.alloca_once(builder, lanes.doubles) for _ in range(size)]
    largest = cgutils.alloca_once(builder, lanes.doubles)
    for j in range(size):
        builder.store(lanes.load(STATE, j), state[j])
    builder.store(lanes.load(CONSTANTS, LARGEST), largest)
    zero = ir.Constant(lanes.doubles, [0.0] * lanes.count)
    with cgutils.for_range(builder, count, intp=_INT) as loop:
        w = [builder.load(cell) for cell in state]
        loss, gradient = squares, []
        for j in range(size):
            towards = at_hand[("towards", j)] if few else lanes.load(TARGETS, j)
            residual = builder.fneg(towards)
            for k in range(size):
                residual = fma(gram(j, k), w[k], residual)
            gradient.append(builder.fmul(factor, residual))
            if recorded:
                loss = fma(w[j], builder.fsub(residual, towards), loss)
        if recorded:
            loss = builder.select(builder.fcmp_ordered("<", loss, zero), zero, loss)
            quotient = builder.fmul(loss, reciprocal)
            for _ in range(2):
                quotient = fma(fma(builder.fneg(quotient), total, loss), reciprocal, quotient)
            lanes.store_rounded(LOSSES, loop.index, lanes.call("copysign", quotient, loss))
            row = builder.mul(loop.index, ir.Constant(_INT, size))
            for j in range(size):
                lanes.store_rounded(ROWS, builder.add(row, ir.Constant(_INT, j)), w[j])
        rate = lanes.load(RATES, builder.mul(loop.index, rate_step))
        most = builder.load(largest)
        for j in range(size):
            new = fma(rate, momentum.direction_of(j, gradient[j]) if momentum else gradient[j], w[j])
            builder.store(new, state[j])
            most = lanes.larger(most, new)
        builder.store(most, largest)
    for j in range(size):
        lanes.store(STATE, j, builder.load(state[j]))
    lanes.store(CONSTANTS, LARGEST, builder.load(largest))
    if momentum:
        momentum.end()


def _generate_epochs(context, builder, signature, args):
    """The code of `plain_epochs`, or of `momentum_epochs`, which has more arguments."""
    number = {k: context.cast(builder, args[k], signature.args[k], types.int64) for k in (RATE_STEP, SIZE, COUNT)}
    wanted = context.cast(builder, args[RECORDED], signature.args[RECORDED], types.boolean)
    for k in range(1, MOST_UNROLLED + 1):
        with builder.if_then(builder.icmp_signed("==", number[SIZE], ir.Constant(_INT, k))):
            together = _lanes_together(k)
            bounds = (ir.Constant(_INT, value) for value in (0, LANES, together))
            with cgutils.for_range_slice(builder, *bounds, _INT) as (begin, _):
                lanes = _Lanes(context, builder, signature.args, args, begin, together)
                with builder.if_else(wanted) as (then, otherwise):
                    for branch, recorded in ((then, True), (otherwise, False)):
                        with branch:
                            _epochs(builder, lanes, k, (number[COUNT], number[RATE_STEP]), recorded, len(args) > VELOCITIES)
    return context.get_dummy_value()


@intrinsic
def plain_epochs(typing_context, grams, targets, state, constants, rates, rate_step, rows, losses, size, count, recorded):
    """Make `count` epochs in every lane: float32 data, size ≤ MOST_UNROLLED.

    Updates `state` (w) and the row LARGEST of the constants. The arrays are addresses, as in
    state.PackScratch; rates (1 or count, LANES) are −lr, rate_step is 0 or 1. Where `recorded`, row
    e·size + j of `rows` becomes w_j of epoch e before its update, and row e of `losses` its loss,
    both rounded to float32.
    """
    if not isinstance(rows, Address):
        return None

    kinds = (grams, targets, state, constants, rates, rate_step, rows, losses, size, count, recorded)
    return types.void(*kinds), _generate_epochs


@intrinsic
def momentum_epochs(
    typing_context, grams, targets, state, constants, rates, rate_step, rows, losses, size, count, recorded, velocities, values
):  # fmt: skip
    """`plain_epochs` of fits that all have momentum, none of which makes its first step here.

    Without weight decay and maximize. velocities and values: the slots and the values of
    rule_state.py. Updates the velocities and the row LARGEST_VELOCITY too.
    """
    if not isinstance(rows, Address):
        return None
    kinds = (grams, targets, state, constants, rates, rate_step, rows, losses, size, count, recorded, velocities, values)
    return types.void(*kinds), _generate_epochs


MOST_UNROLLED_DOUBLED = 3  # parameters
# the arguments of `plain_epochs_doubled`
LOW_GRAMS, HIGH_TARGETS, LOW_TARGETS, SCALES, OF_STATE, OF_CONSTANTS, OF_RATES, STEP, N_PARAMETERS, N_EPOCHS = range(1, 11)


def _epochs_doubled(builder, lanes, size, numbers):
    """Generate all epochs of some lanes: float64 data, without the loss."""
    count, rate_step = numbers
    multiply_add = fma_of(builder, lanes.doubles)

    def fma(a, b, c):
        return builder.call(multiply_add, [a, b, c])

    def entry(j, k):
        return max(j, k) * (max(j, k) + 1) // 2 + min(j, k)

    entries = range(size * (size + 1) // 2)
    grams, low_grams = ([lanes.load(which, e) for e in entries] for which in (GRAMS, LOW_GRAMS))
    towards, low_towards = ([builder.fneg(lanes.load(which, j)) for j in range(size)] for which in (HIGH_TARGETS, LOW_TARGETS))
    scales = [lanes.load(SCALES, row) for row in range(4 * size)]  # two of each w, then two of each gradient
    factor, low_factor = (lanes.load(OF_CONSTANTS, row) for row in (FACTOR, LOW_FACTOR))
    state = [cgutils.alloca_once_value(builder, lanes.load(OF_STATE, j)) for j in range(size)]
    largest = cgutils.alloca_once_value(builder, lanes.load(OF_CONSTANTS, LARGEST))
    with cgutils.for_range(builder, count, intp=_INT) as loop:
        w = [builder.load(cell) for cell in state]
        scaled = [builder.fmul(builder.fmul(w[k], scales[k]), scales[size + k]) for k in range(size)]
        rate = lanes.load(OF_RATES, builder.mul(loop.index, rate_step))
        most = builder.load(largest)
        for j in range(size):
            total, low = towards[j], low_towards[j]
            for k in range(size):
                product = builder.fmul(grams[entry(j, k)], scaled[k])
                error = fma(grams[entry(j, k)], scaled[k], builder.fneg(product))
                error = fma(low_grams[entry(j, k)], scaled[k], error)
                total, lost = two_sum(builder, total, product)
                low = builder.fadd(low, builder.fadd(lost, error))
            total, low = two_sum(builder, total, low)
            product = builder.fmul(total, factor)
            error = fma(total, factor, builder.fneg(product))
            error = fma(low, factor, error)
            error = fma(total, low_factor, error)
            gradient = builder.fmul(builder.fmul(builder.fadd(product, error), scales[2 * size + j]), scales[3 * size + j])
            new = fma(rate, gradient, w[j])
            builder.store(new, state[j])
            most = lanes.larger(most, new)
        builder.store(most, largest)
    for j in range(size):
        lanes.store(OF_STATE, j, builder.load(state[j]))
    lanes.store(OF_CONSTANTS, LARGEST, builder.load(largest))


@intrinsic
def plain_epochs_doubled(
    typing_context, grams, low_grams, targets, low_targets, scales, state, constants, rates, rate_step, size, count
):  # fmt: skip
    """Make `count` epochs in every lane: float64 data, no history.

    The operations are those of gradient.evaluate_doubled; 1 ≤ size ≤ MOST_UNROLLED_DOUBLED. Updates
    `state` (w) and the row LARGEST of the constants. Addresses, as in state.PackScratch.
    """
    if not isinstance(state, Address):
        return None

    def generate(context, builder, signature, args):
        number = {k: context.cast(builder, args[k], signature.args[k], types.int64) for k in (STEP, N_PARAMETERS, N_EPOCHS)}
        for k in range(1, MOST_UNROLLED_DOUBLED + 1):
            with builder.if_then(builder.icmp_signed("==", number[N_PARAMETERS], ir.Constant(_INT, k))):
                together = REGISTER * (4 if WIDE and k == 1 else 2)
                bounds = (ir.Constant(_INT, value) for value in (0, LANES, together))
                with cgutils.for_range_slice(builder, *bounds, _INT) as (begin, _):
                    lanes = _Lanes(context, builder, signature.args, args, begin, together)
                    _epochs_doubled(builder, lanes, k, (number[N_EPOCHS], number[STEP]))
        return context.get_dummy_value()

    return types.void(grams, low_grams, targets, low_targets, scales, state, constants, rates, rate_step, size, count), generate
