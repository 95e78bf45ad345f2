"""How the parts of a kernel become machine code: once, inside the kernel.

1. Numba optimises every function together with all that it calls, and makes machine code of it,
   before the next function that calls it is compiled. A part never runs by itself, so here it stays
   LLVM's intermediate code, tidied function by function, and is optimised and made into machine
   code in its kernel: half of the time to compile (benchmarks/NOTES.md, What compiling costs).
2. The tidying stays: Numba's reference counts go away while a function is small, or not at all
   (an epoch of fit_by_fit.py would take twice as long), and LLVM puts tidy functions into others
   where they are short (without: 3 to 7 % slower; with AVX2 tiles spill registers).
3. Numba compiles a function anew for each constant that it is called with. Parts are not
   (`without_constants`): the optimiser puts constants in where it pays. One constant decides what
   is compiled at all (dead_branches.py).
4. This is in parts of Numba that are not public. Where a version of Numba lacks one of them
   (`AVAILABLE`), parts are compiled its own way: the same bits, twice the time.
"""

from __future__ import annotations

import inspect
from typing import Any

from numba import _dynfunc, types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.datamodel.models import DataModel
from numba.core.runtime.context import NRTContext
from numba.core.typed_passes import AnnotateTypes, NativeLowering, NopythonTypeInference
from numba.core.untyped_passes import DeadBranchPrune, RewriteSemanticConstants

from .dead_branches import PutConstants, compiled_for
from .remembering import InferTypes, Lower

_OF_LIBRARY = ("_optimize_functions", "_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals")
_NEEDED = (
    *((JITCodeLibrary, name) for name in _OF_LIBRARY),
    *((JITCPUCodegen, name) for name in ("_function_pass_manager", "_pass_builder")),
    (NRTContext, "get_meminfos"),
    (DataModel, "contains_nrt_meminfo"),
)
AVAILABLE = all(hasattr(owner, name) for owner, name in _NEEDED)


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


_counted: dict[Any, bool] = {}  # types, and whether references to them are counted


class _Counting(NRTContext):
    """How Numba counts references, without code that takes apart what has none.

    It reads every field of a NamedTuple of addresses whenever a variable is set to one: a quarter
    of all instructions.
    """

    def get_meminfos(self, builder: Any, ty: Any, val: Any) -> list[Any]:
        if ty not in _counted:
            _counted[ty] = self._context.data_model_manager[ty].contains_nrt_meminfo()
        return super().get_meminfos(builder, ty, val) if _counted[ty] else []


@register_pass(mutates_CFG=False, analysis_only=True)
class _BeginKernel(LoweringPass):
    """Before LLVM's code is made."""

    _name = "fastgd_begin_kernel"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.targetctx = state.targetctx.subtarget(nrt=_Counting(state.targetctx, state.targetctx.enable_nrt))
        return False


@register_pass(mutates_CFG=False, analysis_only=True)
class _BeginPart(_BeginKernel):
    """The same for a part, which gets a library of its kind."""

    _name = "fastgd_begin_part"

    def run_pass(self, state: Any) -> bool:
        super().run_pass(state)
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.targetctx = state.targetctx.subtarget(get_executable=_nothing_to_call)
        return False


# passes that have nothing to do in parts: for closures, `with`, `raise`, array expressions
_IDLE = (
    "WithLifting", "InlineClosureLikes", "RewriteDynamicRaises", "MakeFunctionToJitFunction", "InlineInlinables", "FindLiterallyCalls",
    "LiteralUnroll", "LiteralPropagationSubPipelinePass", "InlineOverloads", "NopythonRewrites", "NoPythonSupportedFeatureValidation",
    "DumpParforDiagnostics",
)  # fmt: skip


_REMEMBERING = {NopythonTypeInference: InferTypes, NativeLowering: Lower}


class _KernelCompiler(Compiler):
    begin: type[LoweringPass] = _BeginKernel

    def define_pipelines(self) -> list[Any]:
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [(_REMEMBERING.get(each, each), words) for each, words in manager.passes]
        manager.add_pass_after(PutConstants, RewriteSemanticConstants)
        manager.add_pass_after(self.begin, AnnotateTypes)
        manager.finalize()
        return [manager]


class _PartCompiler(_KernelCompiler):
    begin = _BeginPart

    def define_pipelines(self) -> list[Any]:
        [manager] = super().define_pipelines()
        manager.passes = [(each, words) for each, words in manager.passes if each.__name__ not in _IDLE]
        places = [place for place, (each, _) in enumerate(manager.passes) if each is DeadBranchPrune]
        for place in places[1:-1]:  # one of three: nothing is left between it and the first
            del manager.passes[place]
        manager.finalize()
        return [manager]


# options of numba.njit
PART: dict[str, Any] = {"pipeline_class": _PartCompiler} if AVAILABLE else {}
KERNEL: dict[str, Any] = {"pipeline_class": _KernelCompiler} if AVAILABLE else {}


def without_constants(dispatcher: Any) -> Any:
    """The same part, compiled for the types of its arguments whatever constants are given."""
    names = tuple(inspect.signature(dispatcher.py_func).parameters)

    def get_call_template(arguments: Any, named: Any) -> Any:
        of_types = compiled_for(names, arguments)
        return type(dispatcher).get_call_template(dispatcher, of_types, {name: types.unliteral(kind) for name, kind in named.items()})

    dispatcher.get_call_template = get_call_template
    return dispatcher
