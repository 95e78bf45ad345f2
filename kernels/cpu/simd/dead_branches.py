"""Branches that a type of data never takes: dropped before Numba looks at them.

1. `if is_double(X):` is decided by the type of X, so one of its branches is dead in a version of a
   kernel. LLVM would drop it too, but after Numba has typed it, with all functions that it calls:
   as long as compiling the other half takes (benchmarks/NOTES.md, What compiling costs).
2. So calls of `is_double` become constants here, and so does `doubled`, the parameter by which
   functions pass the answer on. Numba drops branches whose condition is a constant.
3. A version of a part is compiled for each constant that is given for a parameter of that name, and
   for no other constant (linking.py, 3).
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import ir
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.consts import ConstantInference
from numba.core.ir_utils import get_definition, guard

from .scalars import is_double

KNOWN = "doubled"  # the parameter


def compiled_for(names: tuple[str, ...], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The types for which a part is compiled that is given these."""
    pairs = zip(names, arguments, strict=True)
    return tuple(kind if name == KNOWN and isinstance(kind, types.BooleanLiteral) else types.unliteral(kind) for name, kind in pairs)


def _type_of(code: Any, arguments: tuple[Any, ...], name: Any) -> Any:
    """The type of a variable that is an argument, a field of it or a number of its; else None."""
    found = guard(get_definition, code, name)
    if isinstance(found, ir.Arg):
        return arguments[found.index]
    if not isinstance(found, ir.Expr) or found.op not in ("getattr", "getitem", "static_getitem"):
        return None
    whole = _type_of(code, arguments, found.value)
    if found.op == "getattr":
        fields = whole.fields if isinstance(whole, types.BaseNamedTuple) else ()
        return whole.types[fields.index(found.attr)] if found.attr in fields else None
    if not isinstance(whole, types.BaseTuple):
        return None
    index = found.index
    if isinstance(index, ir.Var):
        constant = guard(get_definition, code, index)
        index = constant.value if isinstance(constant, ir.Const | ir.Global | ir.FreeVar) else None
    return whole.types[index] if isinstance(index, int) else None


def _constant_of(code: Any, arguments: tuple[Any, ...], value: Any) -> bool | None:
    """What is known of a value before types are inferred; None: nothing."""
    if isinstance(value, ir.Arg):
        kind = arguments[value.index]
        return kind.literal_value if value.name == KNOWN and isinstance(kind, types.BooleanLiteral) else None
    if not isinstance(value, ir.Expr) or value.op != "call":
        return None
    function = guard(get_definition, code, value.func)
    if getattr(function, "value", None) is not is_double:
        return None
    kind = _type_of(code, arguments, value.args[0])
    return None if kind is None else kind.dtype == types.float64


@register_pass(mutates_CFG=False, analysis_only=False)
class PutConstants(FunctionPass):
    """A pass of Numba's: what is known is replaced by constants."""

    _name = "fastgd_put_constants"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Put them into the code of one function."""
        code = state.func_ir
        changed = False
        for block in code.blocks.values():
            for statement in block.body:
                if not isinstance(statement, ir.Assign):
                    continue
                known = _constant_of(code, state.args, statement.value)
                if known is not None:
                    definitions, constant = code._definitions[statement.target.name], ir.Const(known, statement.loc)
                    definitions[definitions.index(statement.value)] = statement.value = constant
                    changed = True
        if changed:
            code._consts = ConstantInference(code)
        return changed
