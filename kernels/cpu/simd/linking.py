"""How the parts of a kernel become machine code: once, inside the kernel.

1. Numba optimises every function together with all that it calls, and makes machine code of it,
   before the next function that calls it is compiled. A part never runs by itself, so here it stays
   LLVM's intermediate code, tidied function by function, and is optimised and made into machine
   code in its kernel: half of the time to compile (benchmarks/NOTES.md, What compiling costs).
2. The tidying stays: Numba's reference counts go away while a function is small, or not at all
   (an epoch of fit_by_fit.py would take twice as long).
3. Numba compiles a function anew for each constant that it is called with. Parts are not
   (`without_constants`): the optimiser puts constants in where it pays.
4. This is in parts of Numba that are not public. Where a version of Numba lacks one of them
   (`AVAILABLE`), parts are compiled its own way: the same bits, twice the time.
"""

from __future__ import annotations

from typing import Any

from numba import _dynfunc, types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import AnnotateTypes

_OF_LIBRARY = ("_optimize_functions", "_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals")
_OF_CODEGEN = ("_function_pass_manager", "_pass_builder")
AVAILABLE = all(hasattr(JITCodeLibrary, name) for name in _OF_LIBRARY) and all(hasattr(JITCPUCodegen, name) for name in _OF_CODEGEN)


class _PartLibrary(JITCodeLibrary):
    """The code of a part, with all parts that it calls: nothing that runs."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout
        manager, builder = self._codegen._function_pass_manager()
        for function in module.functions:
            if not function.is_declaration:
                manager.run(function, builder)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


def _nothing_to_call(library: Any, descriptor: Any, environment: Any) -> Any:
    """What Numba takes for the compiled function of a part: an object that is never called."""
    library._ensure_finalized()
    name = descriptor.qualname.rpartition(".")[2]
    return _dynfunc.make_function(descriptor.lookup_module(), name, "", 0, environment, (library,))


@register_pass(mutates_CFG=False, analysis_only=True)
class _BeginPart(LoweringPass):
    """Before LLVM's code of a part is made: give it a library of its kind."""

    _name = "fastgd_begin_part"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.targetctx = state.targetctx.subtarget(get_executable=_nothing_to_call)
        return False


class _PartCompiler(Compiler):
    def define_pipelines(self) -> list[Any]:
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.add_pass_after(_BeginPart, AnnotateTypes)
        manager.finalize()
        return [manager]


PART: dict[str, Any] = {"pipeline_class": _PartCompiler} if AVAILABLE else {}  # options of numba.njit


def without_constants(dispatcher: Any) -> Any:
    """The same part, compiled for the types of its arguments whatever constants are given."""

    def get_call_template(arguments: Any, named: Any) -> Any:
        of_types = tuple(types.unliteral(argument) for argument in arguments)
        return type(dispatcher).get_call_template(dispatcher, of_types, {name: types.unliteral(kind) for name, kind in named.items()})

    dispatcher.get_call_template = get_call_template
    return dispatcher
