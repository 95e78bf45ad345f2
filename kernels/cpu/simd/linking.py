"""How the parts of a kernel become machine code: once, inside the kernel.

1. Numba optimises every function together with all that it calls, and makes machine code of it,
   before the next function that calls it is compiled. A part never runs by itself, so here it stays
   LLVM's intermediate code, tidied function by function, and is linked, optimised and made into
   machine code in its kernel: half of the time to compile (benchmarks/NOTES.md, What compiling
   costs). The pipeline of passes is made once.
2. The tidying stays: Numba's reference counts go away while a function is small, or not at all
   (an epoch of fit_by_fit.py would take twice as long), and LLVM puts tidy functions into others
   where they are short (without: 3 to 7 % slower; with AVX2 tiles spill registers).
3. Numba compiles a function anew for each constant that it is called with. Parts are not
   (`without_constants`): the optimiser puts constants in where it pays. One constant decides what
   is compiled at all (dead_branches.py).
4. This is in parts of Numba that are not public, and may mean something else in the next version.
   With a version that the tests did not run with (`AVAILABLE`), parts are compiled Numba's own way:
   the same bits, twice the time.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numba
from llvmlite.binding import Linkage
from numba import _dynfunc, types
from numba.core import lowering
from numba.core.callconv import CPUCallConv
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.cpu import CPUContext
from numba.core.datamodel.models import DataModel
from numba.core.runtime.context import NRTContext
from numba.core.typed_passes import AnnotateTypes, NativeLowering, NopythonTypeInference
from numba.core.untyped_passes import DeadBranchPrune, RewriteSemanticConstants

from .dead_branches import PutConstants, compiled_for
from .lifetimes import LEANER
from .remembering import InferTypes, LowerTersely
from .terse import terse

_OF_LIBRARY = ("_optimize_functions", "_get_module_for_linking", "_finalize_final_module", "_raise_if_finalized")
_NEEDED = (
    *((JITCodeLibrary, name) for name in _OF_LIBRARY),
    *((lowering.Lower, name) for name in ("_alloca_var", "_disable_sroa_like_opt", "alloca_lltype")),
    *((CPUCallConv, name) for name in ("_get_arg_packer", "_return_errcode_raw")),
    (CPUContext, "call_conv"),
    *((JITCPUCodegen, name) for name in ("_function_pass_manager", "_pass_builder")),
    (NRTContext, "get_meminfos"),
    (DataModel, "contains_nrt_meminfo"),
)
_TESTED = "0.68."  # versions of Numba
AVAILABLE = numba.__version__.startswith(_TESTED) and all(hasattr(owner, name) for owner, name in _NEEDED)


class _PartLibrary(JITCodeLibrary):
    """The code of a part, without the parts that it calls: nothing that runs."""

    _linking_libraries: list[Any]
    _shared_module: Any

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout
        manager, builder = self._codegen._function_pass_manager()
        for function in module.functions:
            if not function.is_declaration:
                manager.run(function, builder)

    def finalize(self) -> None:
        self._raise_if_finalized()
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = Linkage.linkonce_odr  # a kernel may get it from several parts
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """For a function of Numba's own, which links only what it calls itself: with all parts."""
        self._ensure_finalized()
        if self._shared_module is None:
            self._shared_module = self._final_module.clone()
            _link(self._shared_module, self._linking_libraries)
        return self._shared_module

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


class _KernelLibrary(JITCodeLibrary):
    """The code of a kernel with all parts that it and they call."""

    _linking_libraries: list[Any]

    def finalize(self) -> None:
        for library in _link(self._final_module, self._linking_libraries):
            self._reload_init.update(library._reload_init)
        self._linking_libraries = []
        super().finalize()


def _link(module: Any, libraries: list[Any]) -> list[Any]:
    """Put libraries, and those of the parts that they call, into a module: each once."""
    linked: dict[Any, None] = {}
    waiting = libraries[::-1]
    while waiting:
        library = waiting.pop()
        if library in linked:
            continue
        linked[library] = None
        is_part = isinstance(library, _PartLibrary)
        waiting += library._linking_libraries[::-1] if is_part else []
        module.link_in(library._final_module if is_part else library._get_module_for_linking(), preserve=True)
    return list(linked)


def _nothing_to_call(library: Any, descriptor: Any, environment: Any) -> Any:
    """What Numba takes for the compiled function of a part: an object that is never called."""
    library._ensure_finalized()
    name = descriptor.qualname.rpartition(".")[2]
    return _dynfunc.make_function(descriptor.lookup_module(), name, "", 0, environment, (library,))


@register_pass(mutates_CFG=False, analysis_only=True)
class _BeginKernel(LoweringPass):
    """Before LLVM's code is made."""

    _name = "fastgd_begin_kernel"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.targetctx = terse(state.targetctx)
        state.library = self._library(state.targetctx.codegen(), state.func_id.func_qualname)
        return False

    @staticmethod
    def _library(codegen: Any, name: str) -> Any:
        library = _KernelLibrary(codegen, name)
        library.enable_object_caching()  # so that it can be written to disk
        return library


@register_pass(mutates_CFG=False, analysis_only=True)
class _BeginPart(_BeginKernel):
    """The same for a part, which gets a library of its kind."""

    _name = "fastgd_begin_part"

    def run_pass(self, state: Any) -> bool:
        super().run_pass(state)
        state.targetctx = state.targetctx.subtarget(get_executable=_nothing_to_call)
        return False

    @staticmethod
    def _library(codegen: Any, name: str) -> Any:
        return _PartLibrary(codegen, name)


# passes that have nothing to do in parts: for closures, `with`, `raise`, array expressions
_IDLE = (
    "WithLifting", "InlineClosureLikes", "RewriteDynamicRaises", "MakeFunctionToJitFunction", "InlineInlinables", "FindLiterallyCalls",
    "LiteralUnroll", "LiteralPropagationSubPipelinePass", "InlineOverloads", "NopythonRewrites", "NoPythonSupportedFeatureValidation",
    "DumpParforDiagnostics",
)  # fmt: skip


_OURS = LEANER | {NopythonTypeInference: InferTypes, NativeLowering: LowerTersely}


_pipelines: dict[Any, Any] = {}  # of the classes below


class _KernelCompiler(Compiler):
    begin: type[LoweringPass] = _BeginKernel

    def define_pipelines(self) -> list[Any]:
        kind = type(self)
        if kind not in _pipelines:
            manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
            manager.passes = self._passes(manager.passes)
            manager.add_pass_after(PutConstants, RewriteSemanticConstants)
            manager.add_pass_after(self.begin, AnnotateTypes)
            manager.finalize()
            _pipelines[kind] = manager
        manager = copy.copy(_pipelines[kind])
        manager.exec_times = {}
        return [manager]

    def _passes(self, passes: list[Any]) -> list[Any]:
        return [(_OURS.get(each, each), words) for each, words in passes]


class _PartCompiler(_KernelCompiler):
    begin = _BeginPart

    def _passes(self, passes: list[Any]) -> list[Any]:
        kept = [(each, words) for each, words in super()._passes(passes) if each.__name__ not in _IDLE]
        places = [place for place, (each, _) in enumerate(kept) if each is DeadBranchPrune]
        for place in places[1:-1]:  # one of three: nothing is left between it and the first
            del kept[place]
        return kept


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
