"""New flat arrays, which begin with a cache line, so that no vector lies across two.

`np.zeros` and `np.empty` become machine code of their own for every type, and their code, with its
errors, stands in a kernel as often as they are called there: 1.3 s of a first fit's compiling.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

LINE = 64  # bytes


def _new(zeroed: bool, description: str):
    @intrinsic
    def function(typing_context, count, dtype):
        if not isinstance(count, types.Integer) or not isinstance(dtype, types.DType | types.NumberClass):
            return None
        result = types.Array(dtype.dtype, 1, "C")

        def generate(context, builder, signature, args):
            kind = signature.return_type
            number, itemsize = context.cast(builder, args[0], signature.args[0], types.intp), kind.dtype.bitwidth // 8
            size = builder.mul(number, ir.Constant(number.type, itemsize))
            memory = context.nrt.meminfo_alloc_aligned(builder, size=size, align=LINE)
            begin = context.nrt.meminfo_data(builder, memory)
            if zeroed:
                cgutils.memset(builder, begin, size, 0)
            array = make_array(kind)(context, builder)
            data = builder.bitcast(begin, ir.PointerType(context.get_data_type(kind.dtype)))
            populate_array(
                array, data=data, shape=[number], strides=[ir.Constant(number.type, itemsize)], itemsize=itemsize, meminfo=memory
            )
            return array._getvalue()

        return result(count, dtype), generate

    function.__doc__ = description
    return function


new_zeros = _new(True, "A flat array of `count` zeros of a type.")
new_empty = _new(False, "A flat array of `count` numbers of a type, whatever they are.")
