"""How the CPU kernels are compiled: three decorators, one set of options, Numba's internals.

1. `nogil`, so that threads of our own run kernels at the same time; never `parallel=True`, whose
   sums depend on the number of threads and which aborts in forked children and under two Python
   threads. No fastmath: the order of arithmetic is specified.
2. Numba's disk cache watches only the file that defines a function. A kernel here is made of many
   files, so every cache entry is stamped with a digest of them all.
3. Where no cache folder can be written the kernels are compiled in every process.
4. Before Numba reads a kernel from disk it imports all that compiling takes (its typing, its NumPy,
   SciPy where that is installed): three quarters of the first call's time. Machine code needs only
   Numba's memory management: see `_load`. What is compiled later makes Numba import the rest then.
5. Attributes of Numba's that are not public are used here and nowhere else: `_cache`,
   `_cache_file`, `_source_stamp`, `_load_overload`, `_load_index`, `magic_tuple`. Without them
   kernels still run (tests/kernels/cpu/simd/test_compiling.py).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import registry

from . import linking
from .scalars import to_next_line

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}
NOT_CALLED_BY_PYTHON = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # wrappers take a good part of the time to compile


def _digest_of_sources() -> str:
    """Of kernels/cpu with its folders, and of the codes that are compiled into the kernels."""
    kernels = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in (*sorted((kernels / "cpu").rglob("*.py")), kernels / "chunk.py", kernels / "update_rules.py"):
        digest.update(path.relative_to(kernels).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


_DIGEST = _digest_of_sources()


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


def kernel(function: Callable) -> Callable:
    """A function that Python calls: compiled at first use for each data type, cached on disk."""
    try:
        dispatcher = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # "no locator available": nowhere to write
        return numba.njit(**OPTIONS)(function)
    cache: Any = getattr(dispatcher, "_cache", None)
    cache_file = getattr(cache, "_cache_file", None)
    if cache_file is not None:
        cache_file._source_stamp = _DIGEST
    if hasattr(cache, "_load_overload"):
        cache.load_overload = functools.partial(_load, cache)
    return dispatcher


def _load(cache: Any, signature: Any, context: Any) -> Any:
    """A kernel from disk or None, without importing what only compiling needs."""
    try:
        from numba.core.runtime import rtsys

        rtsys.initialize(context)
        return cache._load_overload(signature, context)
    except Exception:
        return type(cache).load_overload(cache, signature, context)


def processor() -> tuple[str, ...]:
    """(triple, name, features) of the processor that Numba compiles for."""
    return registry.cpu_target.target_context.codegen().magic_tuple()


def versions_on_disk(kernel: Any) -> int:
    """How many compiled versions of a kernel are on disk, up to date and for this processor."""
    try:
        return sum(key[1] == processor() for key in kernel._cache._cache_file._load_index())
    except Exception:  # another Numba, or a damaged file: then 0, "not compiled yet", perhaps wrongly
        return 0


@inlined
def aligned(array):
    """The part of a flat array that begins with a cache line, so that no vector lies across two.

    The array must be 64 bytes longer than needed.
    """
    skipped = to_next_line(array)
    return array[skipped : len(array) - 64 // array.itemsize + skipped]


@inlined
def copy(source, target):
    """Copy a flat array. Slice assignment compiles its error messages too: two seconds."""
    for i in range(len(source)):
        target[i] = source[i]
