"""How the CPU kernels are compiled: one decorator, one set of options.

1. `nogil`, so that threads of our own run them side by side; never `parallel=True`, whose sums depend on the number of threads
   and which aborts in forked children and under two Python threads. No fastmath: the order of arithmetic is specified.
2. Numba's disk cache watches the one file that holds the function. A kernel here is made of several files, so every cache entry is
   stamped with a digest of them all (through an attribute of Numba's that is not public; without it only the development of
   this package would suffer, and tests/house/test_cache.py notices).
3. Where no cache folder can be written the kernels are compiled in every process.
4. Before Numba reads a kernel from disk it imports all that compiling takes: its typing, its implementations of NumPy, SciPy where that is
   installed; three quarters of the first call's time. Machine code needs none of that, only Numba's memory management: see `_load`. What is
   compiled after all makes Numba import the rest then (again through attributes that are not public; tests/house/test_cache.py notices).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from .scalars import to_next_line

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}
NOT_CALLED_BY_PYTHON = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # wrappers take a good part of the time to compile


def _digest_of_sources() -> str:
    kernels = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in (*sorted((kernels / "cpu").rglob("*.py")), kernels / "chunk.py", kernels / "update_rules.py"):
        digest.update(path.relative_to(kernels).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


_DIGEST = _digest_of_sources()


def part(function: Callable) -> Callable:
    """A function that kernels call: compiled with them, never cached on its own.

    Numba hands `forceinline` down to whatever an inlined function calls: here it stops.
    """
    return numba.njit(forceinline=False, **NOT_CALLED_BY_PYTHON, **OPTIONS)(function)


def inlined(function: Callable) -> Callable:
    """A part that is called in an inner loop: a call that passes arrays costs 20 to 50 ns, inlining it costs time to compile."""
    return numba.njit(forceinline=True, **NOT_CALLED_BY_PYTHON, **OPTIONS)(function)


def kernel(function: Callable) -> Callable:
    """A function that Python calls: compiled at first use for each type of data, kept on disk."""
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
    """What `cache.load_overload` gives, a kernel from disk or None, without importing what only compiling needs."""
    try:
        from numba.core.runtime import rtsys

        rtsys.initialize(context)
        return cache._load_overload(signature, context)
    except Exception:
        return type(cache).load_overload(cache, signature, context)


@inlined
def aligned(array):
    """The part of a flat array, made 64 bytes longer than needed, that begins with a cache line: a vector never lies across two lines."""
    skipped = to_next_line(array)
    return array[skipped : len(array) - 64 // array.itemsize + skipped]


@inlined
def copy(source, target):
    """Copy one axis of numbers. Slice assignment would do, at two seconds of compiling its error messages."""
    for i in range(len(source)):
        target[i] = source[i]
