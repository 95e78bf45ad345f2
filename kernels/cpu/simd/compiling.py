"""How the CPU kernels are compiled: three decorators, one set of options, Numba's internals.

1. `nogil`, so that threads of our own run kernels at the same time; never `parallel=True`, whose
   sums depend on the number of threads and which aborts in forked children and under two Python
   threads. No fastmath: the order of arithmetic is specified.
2. Before Numba reads a kernel from disk it imports all that compiling takes (its typing, its NumPy,
   SciPy where that is installed): three quarters of the first call's time. Machine code needs only
   Numba's memory management. What is compiled later makes Numba import the rest then.
3. Attributes of Numba's that are not public are used in disk_cache.py and linking.py, and here
   `_cache` and `_compile_for_args`. Without the first kernels are compiled in every process,
   without the second Ctrl-C waits for them (tests/kernels/cpu/simd/test_compiling.py).
4. A version is compiled, or loaded, in a thread of its own (kernels/apart.py): LLVM takes seconds
   for one, and nothing can interrupt it. After Ctrl-C it is finished there, and kept.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock

from ...apart import run_apart
from . import linking
from .disk_cache import DiskCache

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}
NOT_CALLED_BY_PYTHON = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # wrappers take a good part of the time to compile
RARELY = 10**6  # objects, made beyond those that have gone, before garbage is sought


def _rarely_collecting(function: Callable, *given: Any) -> Any:
    """function(*given), meanwhile Python hardly searches its objects for garbage.

    Compiling makes them by the million, and they stay: a tenth of the time, for 30 MiB. Numba's
    lock is held, which no fork is made in the midst of (kernels/forks.py).
    """
    with global_compiler_lock:
        before = gc.get_threshold()
        gc.set_threshold(RARELY, *before[1:])
        try:
            return function(*given)
        finally:
            gc.set_threshold(*before)


def part(function: Callable) -> Callable:
    """A function that kernels call: compiled with them, never cached on its own.

    Numba passes `forceinline` on to whatever an inlined function calls: here that stops.
    """
    return linking.without_constants(numba.njit(forceinline=False, **NOT_CALLED_BY_PYTHON, **OPTIONS, **linking.PART)(function))


def inlined(function: Callable) -> Callable:
    """A part that is called in an inner loop, where a call that passes arrays costs 20 to 50 ns.

    Inlining costs time to compile.
    """
    return linking.without_constants(numba.njit(forceinline=True, **NOT_CALLED_BY_PYTHON, **OPTIONS, **linking.PART)(function))


def kernel(function: Callable) -> Any:
    """A function that Python calls: compiled at first use for each data type, kept on disk."""
    dispatcher = numba.njit(no_cfunc_wrapper=True, **OPTIONS, **linking.KERNEL)(function)
    dispatcher._cache = DiskCache(function)
    dispatcher._compile_for_args = partial(run_apart, _rarely_collecting, dispatcher._compile_for_args)
    return dispatcher


@inlined
def copy(source, target):
    """Copy a flat array. Slice assignment compiles its error messages too: two seconds."""
    for i in range(len(source)):
        target[i] = source[i]
