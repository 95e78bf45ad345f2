"""What Numba finds for a function and the types of its arguments: found once, then remembered.

For each `a + b` in a kernel Numba asks all that may define it, NumPy's functions first, twice; for
each call of an intrinsic it looks through all registries. The answers depend on the function and
the types alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba import types
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering, NopythonTypeInference

from .terse import Lower

_find = types.Function.get_call_type
_found: dict[Any, Any] = {}


def _remembered(function: Any, context: Any, arguments: Any, named: Any) -> Any:
    """The signature with which a function that has templates is called."""
    key = function, context, tuple(arguments), tuple(named.items())
    if key not in _found:
        found = _find(function, context, arguments, named)
        if found is None:
            return None
        _found[key] = found
    return _found[key]


@contextlib.contextmanager
def _remembering() -> Iterator[None]:
    """Passes run while Numba's compiler is locked, one in the other where functions call others."""
    before = types.Function.get_call_type
    types.Function.get_call_type = _remembered
    try:
        yield
    finally:
        types.Function.get_call_type = before


@register_pass(mutates_CFG=False, analysis_only=False)
class InferTypes(NopythonTypeInference):
    """Numba's pass, which remembers."""

    _name = "fastgd_infer_types"

    def run_pass(self, state: Any) -> bool:
        """Infer the types of one function."""
        with _remembering():
            return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class LowerTersely(NativeLowering):
    """Numba's pass, which remembers and writes less."""

    _name = "fastgd_lower"
    lowering_class = Lower

    def run_pass(self, state: Any) -> bool:
        """Write LLVM's code of one function."""
        with _remembering():
            return super().run_pass(state)
