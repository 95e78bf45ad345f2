"""A kernel so small that it compiles in a fraction of a second, in a cache of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba.core import types

from fastgd.kernels.cpu.simd.compiling import kernel


def smallest(array):
    """Add 1 to the first number."""
    array[0] += 1


SIGNATURE = (types.float64[::1],)


@contextlib.contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """While it is open kernels are kept in this folder."""
    before = os.environ.get("NUMBA_CACHE_DIR")
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["NUMBA_CACHE_DIR"]
        else:
            os.environ["NUMBA_CACHE_DIR"] = before


class KernelInFolder:
    """A kernel that is kept in a folder; `path` is its file there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with cache_in(folder):
            compiled = kernel(smallest)
            compiled(np.zeros(1))
        self._compiled = compiled.overloads[SIGNATURE]
        [self.path] = [path for path in folder.rglob("*") if path.suffix == ".kernel"]

    def keep(self) -> None:
        """Write the compiled kernel into the folder."""
        with cache_in(self.folder):
            kernel(smallest)._cache.save_overload(SIGNATURE, self._compiled)

    def load_and_run(self) -> str:
        """What is wrong with the kernel in the folder; "" if nothing is."""
        with cache_in(self.folder):
            again = kernel(smallest)
            array = np.zeros(1)
            again(array)
        if again.stats.cache_misses:
            return "it was not loaded, but compiled anew"
        return "" if array[0] == 1 else f"it computed {array[0]}"
