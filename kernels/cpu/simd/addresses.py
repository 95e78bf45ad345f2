"""Addresses: where the numbers of an array begin, without the array.

1. Numba counts references: an array that a compiled function takes out of a tuple or passes on
   costs two locked instructions of some 5 ns each, 70 ns for the data of one fit. An address is a
   bare number, and may be used wherever a "flat array" is asked for.
2. An address keeps nothing alive: the function that makes one calls `keep_alive` with the array
   when all is done.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

_WORD = ir.IntType(64)


class Address(types.Type):
    """Where contiguous numbers of one type begin."""

    def __init__(self, dtype: types.Number) -> None:
        self.dtype = dtype
        super().__init__(name=f"address({dtype})")


@register_model(Address)
class _AddressModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, ir.PointerType(manager[numba_type.dtype].get_data_type()))


def of_floats(kind: types.Type) -> bool:
    """Whether a type is an array, or the address, of float32 or float64."""
    return isinstance(kind, types.Array | Address) and kind.dtype in (types.float32, types.float64)


def of_numbers(kind: types.Type) -> bool:
    """Whether a type is an array, or the address, of numbers."""
    return isinstance(kind, types.Array | Address)


def pointer_to(context, builder, kind: types.Type, value, index, llvm_type):
    """An LLVM pointer, of type `llvm_type`, to number `index` of a flat array."""
    begin = _begin_of(context, builder, kind, value) if isinstance(kind, types.Array) else value
    return builder.bitcast(builder.gep(begin, [index]), ir.PointerType(llvm_type))


def _begin_of(context, builder, kind: types.Array, value):
    return builder.extract_value(value, context.data_model_manager[kind].get_field_position("data"))


@intrinsic
def address(typing_context, array):
    """The address of a contiguous array."""
    if not isinstance(array, types.Array):
        return None

    def generate(context, builder, signature, args):
        return _begin_of(context, builder, signature.args[0], args[0])

    return Address(array.dtype)(array), generate


@intrinsic
def further(typing_context, begin, count):
    """The address `count` numbers further on."""
    if not isinstance(begin, Address):
        return None

    def generate(context, builder, signature, args):
        moved = context.cast(builder, args[1], signature.args[1], types.intp)
        return builder.gep(args[0], [moved])

    return begin(begin, count), generate


@intrinsic
def keep_alive(typing_context, arrays):
    """Do nothing; but arrays that are passed here are alive until then."""

    def generate(context, builder, signature, args):
        return context.get_dummy_value()

    return types.void(arrays), generate


@intrinsic
def count_at(typing_context, begin, index):
    """Number `index` of a flat array of integers, as int64; the index is not negative."""
    if not of_numbers(begin) or not isinstance(begin.dtype, types.Integer):
        return None

    def generate(context, builder, signature, args):
        where = context.cast(builder, args[1], signature.args[1], types.intp)
        element = context.get_data_type(begin.dtype)
        value = builder.load(pointer_to(context, builder, signature.args[0], args[0], where, element))
        return context.cast(builder, value, begin.dtype, types.int64)

    return types.int64(begin, index), generate
