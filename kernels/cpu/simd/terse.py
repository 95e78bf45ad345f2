"""LLVM's code of a function, without half of what Numba writes into it and LLVM drops again.

It is written, read and tidied before it is dropped: a good part of the time to compile. What is
left out changes no instruction of the machine code, or few (benchmarks/kernels.py):

1. **References.** To count those in a value Numba takes it apart, all fields of an array, a tuple
   and a NamedTuple of addresses. Here, what has references.
2. **Calls.** Around each call Numba makes room for an error, tests the code that comes back in six
   ways, and copies the error unless it is within `try`. No part has a `try`: here an error is
   written to where the caller was told to, and the caller returns the code if it is not 0.
3. **Variables.** Before one is set its old value is read, and where it ends it is set to zero: for
   the sake of references. Here, where there are some.
4. **Loops.** A range, its iterator, and each pair of (number, whether there is one) are written to
   memory field by field, copied, and read. Here they stay values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, lowering
from numba.core.callconv import CPUCallConv, Status, excinfo_ptr_t
from numba.core.cpu import CPUContext
from numba.core.debuginfo import DummyDIBuilder
from numba.core.runtime.context import NRTContext

_counted: dict[Any, bool] = {}  # types, and whether references to them are counted
_PLACE_OF_ERROR = ir.PointerType(excinfo_ptr_t)
_UNKNOWN = {field: None for field in Status._fields}


def _is_counted(context: Any, kind: Any) -> bool:
    if kind not in _counted:
        _counted[kind] = context.data_model_manager[kind].contains_nrt_meminfo()
    return _counted[kind]


class _Counting(NRTContext):
    def get_meminfos(self, builder: Any, ty: Any, val: Any) -> list[Any]:
        """The references in a value."""
        if not _is_counted(self._context, ty):
            return []
        model = self._context.data_model_manager[ty]
        found = [(ty, model.get_nrt_meminfo(builder, val))] if model.has_nrt_meminfo() else []
        for kind, field_of in model.traverse(builder):
            if _is_counted(self._context, kind):
                found += self.get_meminfos(builder, kind, field_of(val))
        return found


class _Calling(CPUCallConv):
    def call_function(self, builder: Any, callee: Any, resty: Any, argtys: Any, args: Any, attrs: Any = None) -> tuple[Status, Any]:
        """Call a compiled function: (what its code says, what it returned)."""
        given = builder.function.args
        is_compiled = len(given) > 1 and given[1].type == _PLACE_OF_ERROR  # else Python calls it
        if not is_compiled or attrs is not None or isinstance(resty, types.Optional | types.Generator):
            return super().call_function(builder, callee, resty, argtys, args, attrs)
        returned = cgutils.alloca_once(builder, self.get_return_type(resty).pointee)
        code = builder.call(callee, [returned, given[1], *self._get_arg_packer(argtys).as_arguments(builder, args)])
        status = Status(**_UNKNOWN | {"code": code, "is_error": builder.icmp_signed("!=", code, code.type(0))})
        return status, self.context.get_returned_value(builder, resty, builder.load(returned))

    def return_status_propagate(self, builder: Any, status: Status) -> None:
        """Return an error that a function which was called has returned."""
        if status.excinfoptr is None:
            self._return_errcode_raw(builder, status.code)
        else:
            super().return_status_propagate(builder, status)


class _Context(CPUContext):
    """Numba's target, which writes less."""

    @property
    def call_conv(self) -> _Calling:
        return _Calling(self)

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        """What writes a call of a function that Numba has no Python code of."""
        kind = sig.args[0] if sig.args else None
        write: Callable[..., Any] | None = None
        if fn == "getiter" and isinstance(kind, types.RangeType):
            write = _begin_loop
        elif fn == "iternext" and isinstance(kind, types.RangeIteratorType):
            write = _next_number
        elif getattr(fn, "typing_key", None) is range:
            write = _make_range
        if write is None:
            return super().get_function(fn, sig, _firstcall)
        return lambda builder, args, loc=None: write(self, builder, sig, args)

    def pair_first(self, builder: Any, val: Any, ty: Any) -> Any:
        return builder.extract_value(val, 0)

    def pair_second(self, builder: Any, val: Any, ty: Any) -> Any:
        return builder.extract_value(val, 1)


def terse(context: Any, **more: Any) -> Any:
    """The same target, which writes less; with these attributes."""
    own = context.subtarget(**more)
    own.nrt = _Counting(own, own.enable_nrt)
    own.__class__ = _Context
    return own


class Lower(lowering.Lower):
    """What writes the code of one function."""

    def storevar(self, value: Any, name: str, argidx: Any = None) -> None:
        """Set a variable."""
        if not self._is_simple(name):
            super().storevar(value, name, argidx)
            return
        self._alloca_var(name, self.typeof(name))
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))

    def delvar(self, name: str) -> None:
        """A variable ends here."""
        if not self._is_simple(name):
            super().delvar(name)
        elif name not in self._blk_local_varmap:
            self._singly_assigned_vars.discard(name)

    def alloca_lltype(self, name: str, lltype: Any, datamodel: Any = None) -> Any:
        """Make room for a variable."""
        if isinstance(self.debuginfo, DummyDIBuilder):
            return cgutils.alloca_once(self.builder, lltype, name=name)
        return super().alloca_lltype(name, lltype, datamodel)

    def _is_simple(self, name: str) -> bool:
        plain = isinstance(self.debuginfo, DummyDIBuilder) and not self._disable_sroa_like_opt
        return plain and not _is_counted(self.context, self.typeof(name))


# -- loops: the same operations as Numba's own ----------------------------------------------------


def _make(context: Any, builder: Any, kind: Any, **fields: Any) -> Any:
    model = context.data_model_manager[kind]
    made = ir.Constant(model.get_value_type(), ir.Undefined)
    for name, value in fields.items():
        made = builder.insert_value(made, value, model.get_field_position(name))
    return made


def _field(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    return builder.extract_value(value, context.data_model_manager[kind].get_field_position(name))


def _make_range(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """range(…)."""
    number = context.get_value_type(signature.return_type.dtype)
    start, stop, step = (number(0), *args, number(1)) if len(args) == 1 else (*args, number(1))[:3]
    return _make(context, builder, signature.return_type, start=start, stop=stop, step=step)


def _begin_loop(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """iter(range(…)): how many numbers there are is known before the first."""
    start, stop, step = (_field(context, builder, signature.args[0], args[0], name) for name in ("start", "stop", "step"))
    at, left = cgutils.alloca_once(builder, start.type), cgutils.alloca_once(builder, start.type)
    builder.store(start, at)
    zero, one = start.type(0), start.type(1)
    difference = builder.sub(stop, start)
    upwards = builder.icmp_signed(">", difference, zero)
    no_numbers = builder.xor(upwards, builder.icmp_signed(">", step, zero))
    with cgutils.if_unlikely(builder, builder.icmp_unsigned("==", step, zero)):
        context.call_conv.return_user_exc(builder, ValueError, ("range() arg 3 must not be zero",))
    with builder.if_else(no_numbers) as (then, otherwise):
        with then:
            builder.store(zero, left)
        with otherwise:
            rest = builder.srem(difference, step)
            more = builder.icmp_signed(">", builder.select(upwards, rest, builder.neg(rest)), zero)
            builder.store(builder.add(builder.sdiv(difference, step), builder.select(more, one, zero)), left)
    return _make(context, builder, signature.return_type, iter=at, stop=stop, step=step, count=left)


def _next_number(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """next(…): (the number, whether there is one)."""
    at, step, left = (_field(context, builder, signature.args[0], args[0], name) for name in ("iter", "step", "count"))
    count = builder.load(left)
    is_one = builder.icmp_signed(">", count, count.type(0))
    number = builder.load(at)
    with builder.if_then(is_one):
        builder.store(builder.sub(count, count.type(1), flags=["nsw"]), left)
        builder.store(builder.add(number, step), at)
    return _make(context, builder, signature.return_type, first=number, second=is_one)
