"""The 32 lanes of docs/arithmetic.md as one value: vectors in Numba functions.

1. One LLVM value of 32 lanes, whatever the machine: LLVM splits it into the registers that there
   are (4 AVX-512, 8 AVX or 16 SSE registers of float64). The operations are lane by lane, so the
   bits do not depend on that.
2. No fast-math flag anywhere; `fma` rounds once also on machines without the instruction (by a slow
   call).
3. A vector lives in local variables of an njit function. It cannot be returned to Python.
4. A *flat array* is a contiguous array of one dimension, or its address (addresses.py).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from .addresses import of_floats, pointer_to
from .disk_cache import processor

LANES = 32
ALL = (1 << LANES) - 1  # the mask of all lanes
_INDEX = ir.IntType(32)


def _numbers_of_a_register() -> int:
    """How many float64 a register holds of the machine that Numba compiles for: 8, 4 or 2."""
    features = processor()[2].split(",")
    return 8 if "+avx512f" in features else 4 if "+avx" in features else 2


class LaneVector(types.Type):
    """32 lanes of one float type, or fewer."""

    def __init__(self, element: types.Float, count: int = LANES) -> None:
        self.element = element
        self.count = count
        self.llvm = ir.VectorType(ir.FloatType() if element == types.float32 else ir.DoubleType(), count)
        super().__init__(name=f"lanes({element}, {count})")


@register_model(LaneVector)
class _LaneVectorModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, numba_type.llvm)


REGISTER = _numbers_of_a_register()  # float64 numbers
PART = 16  # lanes that are summed at a time: 32 sums would not stay in registers
LINE = 16  # float32 numbers of a cache line
TOGETHER = 2 * REGISTER  # lanes of two registers: of four rows of them the sums stay in registers
_LANES_OF = {types.float32: LaneVector(types.float32), types.float64: LaneVector(types.float64)}


def fma_of(builder, llvm_type):
    """The LLVM function for a fused multiply-add of this type."""
    suffix = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}
    name = f"v{llvm_type.count}{suffix[llvm_type.element]}" if isinstance(llvm_type, ir.VectorType) else suffix[llvm_type]
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(llvm_type, [llvm_type] * 3), f"llvm.fma.{name}")


@intrinsic
def fma(typing_context, a, b, c):
    """a·b + c rounded once: scalars of one float type, or vectors."""
    if not (a == b == c):
        return None

    def generate(context, builder, signature, args):
        return builder.call(fma_of(builder, args[0].type), args)

    return a(a, b, c), generate


@intrinsic
def load(typing_context, array, index):
    """Numbers index … index+31 of a flat array."""
    if not of_floats(array):
        return None
    result = _LANES_OF[array.dtype]

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        value = builder.load(pointer_to(context, builder, signature.args[0], args[0], where, result.llvm))
        value.align = array.dtype.bitwidth // 8
        return value

    return result(array, index), generate


@intrinsic
def load_part(typing_context, array, index):
    """PART numbers of a flat array from `index` on, as float64 (exact)."""
    if not of_floats(array):
        return None
    source, result = LaneVector(array.dtype, PART), LaneVector(types.float64, PART)

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        value = builder.load(pointer_to(context, builder, signature.args[0], args[0], where, source.llvm))
        value.align = array.dtype.bitwidth // 8
        return value if array.dtype == types.float64 else builder.fpext(value, result.llvm)

    return result(array, index), generate


@intrinsic
def load_eight(typing_context, array, index):
    """Eight float64 of a flat array from `index` on."""
    if not of_floats(array) or array.dtype != types.float64:
        return None
    result = LaneVector(types.float64, 8)

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        value = builder.load(pointer_to(context, builder, signature.args[0], args[0], where, result.llvm))
        value.align = 8
        return value

    return result(array, index), generate


@intrinsic
def load_two(typing_context, array, index):
    """TOGETHER float64 of a flat array from `index` on."""
    if not of_floats(array) or array.dtype != types.float64:
        return None
    result = LaneVector(types.float64, TOGETHER)

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        value = builder.load(pointer_to(context, builder, signature.args[0], args[0], where, result.llvm))
        value.align = 8
        return value

    return result(array, index), generate


@intrinsic
def load_first(typing_context, array, index, count):
    """`load_part` of `count` numbers; the lanes beyond are 0, and their memory is not read."""
    if not of_floats(array):
        return None
    source, result = LaneVector(array.dtype, PART), LaneVector(types.float64, PART)

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        number = context.cast(builder, args[2], signature.args[2], types.int32)
        wide = ir.VectorType(_INDEX, PART)
        nothing = ir.Constant(wide, ir.Undefined)
        counts = builder.shuffle_vector(
            builder.insert_element(nothing, number, ir.Constant(_INDEX, 0)), nothing, ir.Constant(wide, [0] * PART)
        )
        there = builder.icmp_signed("<", ir.Constant(wide, list(range(PART))), counts)
        pointer = pointer_to(context, builder, signature.args[0], args[0], where, source.llvm)
        kind = ir.FunctionType(source.llvm, [pointer.type, _INDEX, there.type, source.llvm])
        name = f"llvm.masked.load.v{PART}f{array.dtype.bitwidth}.p0"
        load_masked = cgutils.get_or_insert_function(builder.module, kind, name)
        zero = ir.Constant(source.llvm, [0.0] * PART)
        value = builder.call(load_masked, [pointer, ir.Constant(_INDEX, array.dtype.bitwidth // 8), there, zero])
        return value if array.dtype == types.float64 else builder.fpext(value, result.llvm)

    return result(array, index, count), generate


def _half(start_of, description):
    @intrinsic
    def function(typing_context, a):
        if not isinstance(a, LaneVector) or a.count < 2:
            return None
        count = a.count // 2
        result = LaneVector(a.element, count) if count > 1 else a.element

        def generate(context, builder, signature, args):
            first = start_of(count)
            if count == 1:
                return builder.extract_element(args[0], ir.Constant(_INDEX, first))
            places = ir.Constant(ir.VectorType(_INDEX, count), list(range(first, first + count)))
            return builder.shuffle_vector(args[0], ir.Constant(args[0].type, ir.Undefined), places)

        return result(a), generate

    function.__doc__ = description
    return function


first_half = _half(lambda count: 0, "The first half of the lanes; of two lanes, the number in the first.")
second_half = _half(lambda count: count, "The second half of the lanes; of two lanes, the number in the second.")


@intrinsic
def store(typing_context, array, index, value):
    """Write lanes to a flat array, from `index` on."""
    if not of_floats(array) or not isinstance(value, LaneVector) or array.dtype != value.element:
        return None

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        instruction = builder.store(args[2], pointer_to(context, builder, signature.args[0], args[0], where, value.llvm))
        instruction.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def fill(typing_context, value):
    """A vector of 32 lanes that all equal a scalar."""
    if value not in _LANES_OF:
        return None
    result = _LANES_OF[value]

    def generate(context, builder, signature, args):
        nothing = ir.Constant(result.llvm, ir.Undefined)
        first = builder.insert_element(nothing, args[0], ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))

    return result(value), generate


@intrinsic
def alike(typing_context, a, value):
    """A vector of as many lanes as `a`, that all equal a scalar of its type."""
    if not isinstance(a, LaneVector) or value != a.element:
        return None

    def generate(context, builder, signature, args):
        nothing = ir.Constant(a.llvm, ir.Undefined)
        first = builder.insert_element(nothing, args[1], ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INDEX, a.count), [0] * a.count))

    return a(a, value), generate


def _lane_by_lane(operation, description):
    @intrinsic
    def function(typing_context, a, b):
        if not isinstance(a, LaneVector) or a != b:
            return None

        def generate(context, builder, signature, args):
            return getattr(builder, operation)(*args)

        return a(a, b), generate

    function.__doc__ = description
    return function


add = _lane_by_lane("fadd", "a + b, lane by lane.")
subtract = _lane_by_lane("fsub", "a - b, lane by lane.")
multiply = _lane_by_lane("fmul", "a · b, lane by lane.")


@intrinsic
def negate(typing_context, a):
    """−a, lane by lane; −0 of 0."""
    if not isinstance(a, LaneVector):
        return None

    def generate(context, builder, signature, args):
        return builder.fneg(args[0])

    return a(a), generate


divide = _lane_by_lane("fdiv", "a / b, lane by lane.")


@intrinsic
def absolute(typing_context, a):
    """|a|, lane by lane."""
    if not isinstance(a, LaneVector):
        return None

    def generate(context, builder, signature, args):
        suffix = "f32" if a.element == types.float32 else "f64"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.llvm, [a.llvm]), f"llvm.fabs.v{a.count}{suffix}")
        return builder.call(function, args)

    return a(a), generate


@intrinsic
def with_sign_of(typing_context, a, b):
    """|a| with the sign of b, lane by lane."""
    if not isinstance(a, LaneVector) or a != b:
        return None

    def generate(context, builder, signature, args):
        suffix = "f32" if a.element == types.float32 else "f64"
        kind = ir.FunctionType(a.llvm, [a.llvm] * 2)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.copysign.v{a.count}{suffix}"), args)

    return a(a, b), generate


@intrinsic
def store_rounded(typing_context, array, index, value):
    """`store` float64 lanes in a flat array of either type, each rounded to nearest."""
    if not of_floats(array) or value != _LANES_OF[types.float64]:
        return None
    target = _LANES_OF[array.dtype]

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        rounded = args[2] if array.dtype == types.float64 else builder.fptrunc(args[2], target.llvm)
        instruction = builder.store(rounded, pointer_to(context, builder, signature.args[0], args[0], where, target.llvm))
        instruction.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def butterfly(typing_context, a):
    """The sum of the lanes: for o = 16, 8, 4, 2, 1, lane l takes lane l + o."""
    if not isinstance(a, LaneVector):
        return None

    def generate(context, builder, signature, args):
        value, width = args[0], LANES // 2
        while width:
            nothing = ir.Constant(value.type, ir.Undefined)
            halves = [
                builder.shuffle_vector(value, nothing, ir.Constant(ir.VectorType(_INDEX, width), list(range(first, first + width))))
                for first in (0, width)
            ]
            value, width = builder.fadd(*halves), width // 2
        return builder.extract_element(value, ir.Constant(_INDEX, 0))

    return a.element(a), generate


@intrinsic
def root(typing_context, a):
    """The square root, lane by lane."""
    if not isinstance(a, LaneVector):
        return None

    def generate(context, builder, signature, args):
        suffix = "f32" if a.element == types.float32 else "f64"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.llvm, [a.llvm]), f"llvm.sqrt.v{a.count}{suffix}")
        return builder.call(function, args)

    return a(a), generate
