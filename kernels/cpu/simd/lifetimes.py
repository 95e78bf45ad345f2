"""Where variables live: Numba asks five times for each function, and needs the answer once.

After each of its passes that rewrite a function Numba finds anew, for every block, which variables
are used, set and alive: a twentieth of the time to compile. Only generators need that before the
last pass, which writes where variables end. Here the others leave it out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba.core import postproc, transforms
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import PreLowerStripPhis
from numba.core.untyped_passes import GenericRewrites, IRProcessing, ReconstructSSA

_process = postproc.PostProcessor.run


def _tidy(processor: Any, emit_dels: bool = False, **options: Any) -> None:
    """What is left of Numba's function: blocks are joined where they can be."""
    code = processor.func_ir
    if emit_dels or code.is_generator:
        _process(processor, emit_dels, **options)
        return
    code.blocks = transforms.canonicalize_cfg(code.blocks)


@contextlib.contextmanager
def _tidying() -> Iterator[None]:
    """A pass runs while Numba's compiler is locked; none of these compiles another function."""
    before = postproc.PostProcessor.run
    postproc.PostProcessor.run = _tidy
    try:
        yield
    finally:
        postproc.PostProcessor.run = before


def _without_lifetimes(numbas: Any) -> Any:
    """A pass of Numba's that leaves out where variables live."""

    class Pass(numbas):
        _name = f"fastgd_{numbas._name}"

        def run_pass(self, state: Any) -> bool:
            with _tidying():
                return super().run_pass(state)

    return register_pass(mutates_CFG=True, analysis_only=False)(Pass)


LEANER = {each: _without_lifetimes(each) for each in (IRProcessing, GenericRewrites, ReconstructSSA, PreLowerStripPhis)}
