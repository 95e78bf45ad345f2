"""Memory that fails at a chosen request: of NumPy's arrays (NEP 49), or of what kernels ask for.

NumPy asks the handler of the current context, which the threads of a call inherit. Numba's kernels
are told to ask Python's raw memory, and that is replaced; requests of Python's own never fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba.core.runtime import _nrt_python

SOURCE = Path(__file__).with_suffix(".c")
RAW = 0  # PYMEM_DOMAIN_RAW
NUMBERS = ("armed", "and_all_after"), ("requests", "fails_at", "failed", "alive")  # of the C file: int, long


def needs_compiler() -> str | None:
    """Why this memory cannot be had here."""
    return None if shutil.which("cc") else "no C compiler (cc)"


def _function_of_numpy(name: str) -> ctypes._CFuncPtr:
    """A function of NumPy's C interface, found by its number in the table of them."""
    header = Path(np.get_include(), "numpy", "__multiarray_api.h").read_text(encoding="utf-8")
    number = int(re.search(rf"{name}[^;]*?PyArray_API\[(\d+)\]", header)[1])
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = ctypes.cast(pointer(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[number])


def build(folder: Path) -> Path:
    """Compile the C file; the library is in this folder."""
    library = folder / "failing_memory.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True, capture_output=True)
    return library


class FailingMemory:
    """The memory of NumPy, or with `kernels` of the kernels, until this process ends."""

    def __init__(self, library: Path, kernels: bool = False) -> None:
        self._library = ctypes.CDLL(str(library))
        kinds = {**dict.fromkeys(NUMBERS[0], ctypes.c_int), **dict.fromkeys(NUMBERS[1], ctypes.c_long)}
        self._numbers = {name: kind.in_dll(self._library, name) for name, kind in kinds.items()}
        if kernels:
            _nrt_python.memsys_use_cpython_allocator()
            set_allocator = ctypes.pythonapi.PyMem_SetAllocator
            set_allocator.argtypes, set_allocator.restype = (ctypes.c_int, ctypes.c_void_p), None
            set_allocator(RAW, ctypes.addressof(ctypes.c_char.in_dll(self._library, "raw_allocator")))
        else:
            new = ctypes.pythonapi.PyCapsule_New
            new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
            self._name = b"mem_handler"  # the capsule keeps a pointer to it
            handler = new(ctypes.addressof(ctypes.c_char.in_dll(self._library, "numpy_handler")), self._name, None)
            _function_of_numpy("PyDataMem_SetHandler")(handler)

    def __getattr__(self, name: str) -> int:
        return self._numbers[name].value

    @contextlib.contextmanager
    def failing(self, number: int, and_all_after: bool = False) -> Iterator[None]:
        """While it is open the request of this number fails; -1: none does, they are counted."""
        numbers = self._numbers
        numbers["requests"].value = numbers["failed"].value = 0
        numbers["fails_at"].value, numbers["and_all_after"].value, numbers["armed"].value = number, and_all_after, 1
        try:
            yield
        finally:
            numbers["armed"].value = 0
