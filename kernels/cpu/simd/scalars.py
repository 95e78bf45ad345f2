"""One number at a time of flat arrays, and instructions to the compiler and the cache.

A NumPy-style index tests at every access whether it is negative; these functions do not.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .addresses import of_floats, of_numbers, pointer_to

LARGEST_FLOAT64 = 1.7976931348623157e308
_INDEX = ir.IntType(32)


def element_of(kind: types.Type):
    """The LLVM type of the numbers of an array of floats."""
    return ir.DoubleType() if kind.dtype == types.float64 else ir.FloatType()


@intrinsic
def get(typing_context, array, index):
    """Number `index` of a flat array, as float64."""
    if not of_floats(array):
        return None

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        element = element_of(array)
        value = builder.load(pointer_to(context, builder, signature.args[0], args[0], where, element))
        return value if array.dtype == types.float64 else builder.fpext(value, ir.DoubleType())

    return types.float64(array, index), generate


@intrinsic
def get_own(typing_context, array, index):
    """Number `index` of a flat array, in its own type."""
    if not of_floats(array):
        return None

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        return builder.load(pointer_to(context, builder, signature.args[0], args[0], where, element_of(array)))

    return array.dtype(array, index), generate


def prefetch_line(builder, pointer) -> None:
    """Fetch the cache line of a pointer into the second-level cache; any address is allowed."""
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, _INDEX, _INDEX, _INDEX])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0"), [pointer, _INDEX(0), _INDEX(2), _INDEX(1)])


@intrinsic
def prefetch(typing_context, begin, index):
    """`prefetch_line` of the cache line of number `index`."""
    if not of_numbers(begin):
        return None

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        prefetch_line(builder, pointer_to(context, builder, signature.args[0], args[0], where, ir.IntType(8)))
        return context.get_dummy_value()

    return types.void(begin, index), generate


@intrinsic
def put(typing_context, array, index, value):
    """Write number `index` of a flat array."""
    if not of_numbers(array) or array.dtype != value:
        return None

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        builder.store(args[2], pointer_to(context, builder, signature.args[0], args[0], where, args[2].type))
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def put_rounded(typing_context, array, index, value):
    """Write number `index` of a flat array of either type from a float64, rounded to nearest."""
    if not of_floats(array) or value != types.float64:
        return None

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        element = element_of(array)
        rounded = args[2] if array.dtype == types.float64 else builder.fptrunc(args[2], element)
        builder.store(rounded, pointer_to(context, builder, signature.args[0], args[0], where, element))
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def rounded(typing_context, array, value):
    """A float64 rounded to the type of the numbers of an array."""
    if not of_floats(array) or value != types.float64:
        return None

    def generate(context, builder, signature, args):
        return args[1] if array.dtype == types.float64 else builder.fptrunc(args[1], ir.FloatType())

    return array.dtype(array, value), generate


@intrinsic
def to_next_line(typing_context, begin):
    """How many numbers lie before the next cache line (64 bytes) begins."""
    if not of_floats(begin):
        return None

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        pointer = pointer_to(context, builder, signature.args[0], args[0], word(0), ir.IntType(8))
        before = builder.and_(builder.neg(builder.ptrtoint(pointer, word)), word(63))
        return builder.udiv(before, word(begin.dtype.bitwidth // 8))

    return types.int64(begin), generate


@intrinsic
def move_line(typing_context, source, place, target, to):
    """Copy 64 bytes to the beginning of a cache line, past the cache. `fence` must follow.

    The line is not read before it is written.
    """
    if not of_floats(source) or source.dtype != target.dtype:
        return None

    def generate(context, builder, signature, args):
        line = ir.VectorType(ir.DoubleType(), 8)
        at = [context.cast(builder, args[i], signature.args[i], types.intp) for i in (1, 3)]
        pointers = [pointer_to(context, builder, signature.args[i], args[i], at[i // 2], line) for i in (0, 2)]
        value = builder.load(pointers[0])
        value.align = source.dtype.bitwidth // 8
        stored = builder.store(value, pointers[1])
        stored.align = 64
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(source, place, target, to), generate


@intrinsic
def fence(typing_context):
    """Make what was written past the cache visible to all threads."""

    def generate(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def move(typing_context, source, place, target, to):
    """Copy one number between flat arrays of one type."""
    if not of_floats(source) or source.dtype != target.dtype:
        return None

    def generate(context, builder, signature, args):
        element = element_of(source)
        at = [context.cast(builder, args[i], signature.args[i], types.intp) for i in (1, 3)]
        pointers = [pointer_to(context, builder, signature.args[i], args[i], at[i // 2], element) for i in (0, 2)]
        builder.store(builder.load(pointers[0]), pointers[1])
        return context.get_dummy_value()

    return types.void(source, place, target, to), generate


@intrinsic
def is_double(typing_context, array):
    """Whether an array is of float64: a constant when compiling, so the other branch is dropped."""
    if not of_numbers(array):
        return None

    def generate(context, builder, signature, args):
        return ir.Constant(ir.IntType(1), int(array.dtype == types.float64))

    return types.boolean(array), generate


@intrinsic
def never_inline(typing_context):
    """Keep LLVM from inlining the function that calls this: long functions with several callers."""

    def generate(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def normal_power(typing_context, exponent):
    """2 to an integer from −1022 to 1023, made from its bits."""
    if not isinstance(exponent, types.Integer):
        return None

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        moved = builder.add(context.cast(builder, args[0], signature.args[0], types.int64), ir.Constant(word, 1023))
        return builder.bitcast(builder.shl(moved, ir.Constant(word, 52)), ir.DoubleType())

    return types.float64(exponent), generate


@intrinsic
def exponent_bits(typing_context, value):
    """Of a float64 ≥ 0 the bits of its exponent: 0 for 0 and subnormal numbers, 2047 for inf."""
    if value != types.float64:
        return None

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        return builder.lshr(builder.bitcast(args[0], word), ir.Constant(word, 52))

    return types.int64(value), generate


@intrinsic
def raised(typing_context, flag):
    """Whether number 0 of an int32 array is not 0, read from memory: other threads set it."""
    if not of_numbers(flag) or flag.dtype != types.int32:
        return None

    def generate(context, builder, signature, args):
        pointer = pointer_to(context, builder, signature.args[0], args[0], ir.Constant(ir.IntType(64), 0), ir.IntType(32))
        value = builder.load_atomic(pointer, "monotonic", 4)
        return builder.icmp_signed("!=", value, ir.Constant(_INDEX, 0))

    return types.boolean(flag), generate
