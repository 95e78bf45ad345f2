"""Compiles kernels/cuda/*.cu for the host with g++, one shared library per kernel, and calls them."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SOURCES = Path(__file__).resolve().parents[2] / "kernels" / "cuda"
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Werror", "-Wno-unknown-pragmas",
         "-Wno-maybe-uninitialized", "-Wno-unused-function")  # fmt: skip
SANITIZERS = {"": (), "thread": ("-fsanitize=thread", "-g"), "address": ("-fsanitize=address,alignment", "-fno-sanitize-recover", "-g")}
ORDERS = {"forwards": 0, "backwards": 1, "random": 2}
LIBRARIES = Path(tempfile.gettempdir()) / f"fastgd-cuda-on-host-{os.getuid()}"


class KernelError(RuntimeError):
    """A kernel did what it must not; the message says what and where."""


@functools.cache
def _has_fma() -> bool:
    return " fma " in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")


def source_of(file: str, name: str) -> str:
    """The C++ file: the shim, the unmodified source, and one function to call the kernel."""
    return (
        f'#include "shim.h"\n#include "{file}"\n'
        'extern "C" const char* shim_error() { return shim::block->error; }\n'
        'extern "C" int shim_launch(const unsigned* grid, unsigned threads, void** arguments, int order, unsigned seed) {\n'
        f"    return shim::launch({name}, grid, threads, arguments, order, seed);\n}}\n"
    )


@functools.cache
def build(file: str, name: str, sanitizer: str = "", sources: Path = SOURCES) -> Path:
    """The shared library of one kernel: compiled once, whatever the number of processes."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise KernelError("g++ is needed to run the CUDA kernels on the host: install it (Debian: apt-get install g++)")
    flags = (*FLAGS, *SANITIZERS[sanitizer], *(("-mfma",) if _has_fma() else ()), f"-I{HERE}", f"-I{sources}")
    content = source_of(file, name)
    digest = hashlib.sha256(" ".join((content, *flags)).encode())
    for path in (*sorted(sources.glob("*.cu*")), *sorted(HERE.glob("*.h"))):
        digest.update(path.read_bytes())
    library = LIBRARIES / f"{digest.hexdigest()[:32]}.so"
    if library.exists():
        return library
    LIBRARIES.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LIBRARIES) as folder:
        source, made = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        source.write_text(content)
        ran = subprocess.run([compiler, *flags, "-o", str(made), str(source)], capture_output=True, text=True, check=False)
        if ran.returncode:
            raise KernelError(f"g++ could not compile {file}, {name}:\n{ran.stderr[:4000]}")
        os.replace(made, library)
    return library


@functools.cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.shim_error.restype = ctypes.c_char_p
    return library


def launch(path: Path, grid: tuple[int, int], threads: int, arguments: tuple, order: str = "forwards", seed: int = 0) -> None:
    """Run a kernel to its end. An argument is an array, of which the address is passed, or a NumPy scalar."""
    library = _load(path)
    values = [np.array(a.ctypes.data, np.uint64) if isinstance(a, np.ndarray) and a.ndim else np.array(a) for a in arguments]
    pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
    if library.shim_launch((ctypes.c_uint * 2)(*grid), ctypes.c_uint(threads), pointers, ORDERS[order], ctypes.c_uint(seed)):
        raise KernelError(library.shim_error().decode())
