"""Masks: a bool for each lane, by which lanes are compared and chosen."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from .lanes import LANES, LaneVector

_INDEX = ir.IntType(32)


class LaneMask(types.Type):
    """A bool for each lane."""

    def __init__(self, count: int = LANES) -> None:
        self.count = count
        self.llvm = ir.VectorType(ir.IntType(1), count)
        super().__init__(name=f"lanes(bool, {count})")


@register_model(LaneMask)
class _LaneMaskModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, numba_type.llvm)


_MASK = LaneMask()


@intrinsic
def at_most(typing_context, a, b):
    """a ≤ b, lane by lane; false where one is NaN."""
    if not isinstance(a, LaneVector) or a != b:
        return None

    def generate(context, builder, signature, args):
        return builder.fcmp_ordered("<=", *args)

    return LaneMask(a.count)(a, b), generate


@intrinsic
def below(typing_context, a, b):
    """a < b, lane by lane; false where one is NaN."""
    if not isinstance(a, LaneVector) or a != b:
        return None

    def generate(context, builder, signature, args):
        return builder.fcmp_ordered("<", *args)

    return LaneMask(a.count)(a, b), generate


@intrinsic
def both(typing_context, a, b):
    """a and b, lane by lane."""
    if not isinstance(a, LaneMask) or a != b:
        return None

    def generate(context, builder, signature, args):
        return builder.and_(*args)

    return a(a, b), generate


@intrinsic
def choose(typing_context, mask, a, b):
    """a where the mask is true, else b."""
    if not isinstance(mask, LaneMask) or not isinstance(a, LaneVector) or a != b:
        return None

    def generate(context, builder, signature, args):
        return builder.select(*args)

    return a(mask, a, b), generate


@intrinsic
def as_bits(typing_context, mask):
    """The mask as an integer: bit l is lane l."""
    if not isinstance(mask, LaneMask):
        return None

    def generate(context, builder, signature, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(mask.count)), ir.IntType(64))

    return types.int64(mask), generate


@intrinsic
def from_bits(typing_context, bits):
    """The mask whose lane l is bit l of an integer."""
    if not isinstance(bits, types.Integer):
        return None

    def generate(context, builder, signature, args):
        return builder.bitcast(context.cast(builder, args[0], signature.args[0], types.int32), _MASK.llvm)

    return _MASK(bits), generate


@intrinsic
def select_first(typing_context, count, new, old):
    """`new` in the lanes below `count`, `old` in the others, which have no sample."""
    if not isinstance(new, LaneVector) or new != old:
        return None

    def generate(context, builder, signature, args):
        wide = ir.VectorType(_INDEX, LANES)
        n = context.cast(builder, args[0], signature.args[0], types.int32)
        nothing = ir.Constant(wide, ir.Undefined)
        counts = builder.shuffle_vector(builder.insert_element(nothing, n, ir.Constant(_INDEX, 0)), nothing, ir.Constant(wide, [0] * LANES))
        return builder.select(builder.icmp_signed("<", ir.Constant(wide, list(range(LANES))), counts), args[1], args[2])

    return new(count, new, old), generate
