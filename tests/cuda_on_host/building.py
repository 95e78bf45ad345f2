"""Compiles kernels/cuda/*.cu for the host with g++, and calls them.

One shared library holds the kernels of a file that differ in their last template argument only, or
all that the sanitizers are given: g++ spends much of its time on the shim.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from fastgd.kernels.cuda import instantiations

HERE = Path(__file__).parent
SOURCES = Path(__file__).resolve().parents[2] / "kernels" / "cuda"
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Werror", "-Wno-unknown-pragmas",
         "-Wno-maybe-uninitialized", "-Wno-unused-function")  # fmt: skip
SANITIZERS = {"": (), "thread": ("-fsanitize=thread", "-g"), "address": ("-fsanitize=address,alignment", "-fno-sanitize-recover", "-g")}
SANITIZED = [  # what tests/cuda_on_host/sanitized.py runs
    ("compress.cu", "weigh<float>"), ("compress.cu", "compress<float, 2, false>"), ("curvature.cu", "largest_eigenvalues<float>"),
    ("descend.cu", "descend<float, 2, Sgd>"),
    ("missing.cu", "find_kept<float>"), ("missing.cu", "find_invalid<float>"), ("rates.cu", "safe_rates<float>"),
    ("missing.cu", "find_kept<double>"), ("missing.cu", "find_invalid<double>"), ("rates.cu", "safe_rates<double>"),
    ("compress.cu", "weigh<double>"), ("compress.cu", "compress<double, 1, false>"), ("curvature.cu", "largest_eigenvalues<double>"),
    ("descend.cu", "descend<double, 1, Sgd>"),
    ("compress.cu", "find_exponents<double>"), ("compress.cu", "compress_any<double>"), ("compress.cu", "join<double>"),
    ("descend_any.cu", "descend_any<double, Sgd>"), ("stream.cu", "stream<double, Sgd>"), ("minibatch.cu", "minibatch<double, Sgd>"),
    ("least.cu", "least_values<float>"), ("least.cu", "least_values<double>"),
    ("least.cu", "initial_excesses<float>"), ("least.cu", "initial_excesses<double>"),
    ("standardize.cu", "standardize<float>"), ("standardize.cu", "standardize<double>"),
    ("units.cu", "enter_standard<float>"), ("units.cu", "enter_standard<double>"), ("units.cu", "leave_standard<double>"),
    ("compress.cu", "compress<double, 1, true>"), ("descend.cu", "descend<double, 2, Sgd>"),
]  # fmt: skip
ORDERS = {"forwards": 0, "backwards": 1, "random": 2}
LIBRARIES = Path(tempfile.gettempdir()) / f"fastgd-cuda-on-host-{os.getuid()}"


class KernelError(RuntimeError):
    """A kernel did what it must not; the message says what and where."""


@functools.cache
def _has_fma() -> bool:
    return " fma " in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")


def company(file: str, name: str, sanitizer: str, sources: Path) -> list[tuple[str, str]]:
    """(file, name) of the kernels that share a library with this one."""
    if sanitizer and (file, name) in SANITIZED:
        return [one for one in SANITIZED if sources == SOURCES or one[0] == file]
    family = name.rpartition(",")[0] or name
    found = [(file, other) for other in instantiations().get(file, []) if (other.rpartition(",")[0] or other) == family]
    return found if (file, name) in found and not sanitizer and sources == SOURCES else [(file, name)]


def source_of(kernels: list[tuple[str, str]]) -> str:
    """The C++ file: the shim, the unmodified sources, and a function per kernel that calls it."""
    includes = "".join(f'#include "{file}"\n' for file in dict.fromkeys(file for file, _ in kernels))
    launchers = (
        f'extern "C" int shim_launch_{k}(const unsigned* grid, unsigned threads, void** arguments, int order, unsigned seed) {{\n'
        f"    return shim::launch({name}, grid, threads, arguments, order, seed);\n}}\n"
        for k, (_, name) in enumerate(kernels)
    )
    return f'#include "shim.h"\n{includes}extern "C" const char* shim_error() {{ return shim::block->error; }}\n' + "".join(launchers)


@functools.cache
def build(file: str, name: str, sanitizer: str = "", sources: Path = SOURCES) -> tuple[Path, int]:
    """(the shared library that holds a kernel, its number there): compiled once, whatever the
    number of processes."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise KernelError("g++ is needed to run the CUDA kernels on the host: install it (Debian: apt-get install g++)")
    kernels = company(file, name, sanitizer, sources)
    flags = (*FLAGS, *SANITIZERS[sanitizer], *(("-mfma",) if _has_fma() else ()), f"-I{HERE}", f"-I{sources}")
    content = source_of(kernels)
    digest = hashlib.sha256(" ".join((content, *flags)).encode())
    for path in (*sorted(sources.glob("*.cu*")), *sorted(HERE.glob("*.h"))):
        digest.update(path.read_bytes())
    library = LIBRARIES / f"{digest.hexdigest()[:32]}.so"
    LIBRARIES.mkdir(mode=0o700, exist_ok=True)
    with (LIBRARIES / f"{library.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits and finds it made
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=LIBRARIES) as folder:
                source, made = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
                source.write_text(content)
                ran = subprocess.run([compiler, *flags, "-o", str(made), str(source)], capture_output=True, text=True, check=False)
                if ran.returncode:
                    raise KernelError(f"g++ could not compile {file}, {name}:\n{ran.stderr[:4000]}")
                os.replace(made, library)
    return library, kernels.index((file, name))


@functools.cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.shim_error.restype = ctypes.c_char_p
    return library


def launch(
    kernel: tuple[Path, int], grid: tuple[int, int], threads: int, arguments: tuple, order: str = "forwards", seed: int = 0, first: int = 0
) -> None:
    """Run a kernel to its end, from block `first` on. An argument is an array, of which the address
    is passed, a NumPy scalar, or an array of one element of void, a struct: these are passed by
    value.
    """
    path, number = kernel
    library = _load(path)
    values = [np.array(a.ctypes.data, np.uint64) if isinstance(a, np.ndarray) and a.ndim and a.dtype.kind != "V" else np.array(a)
              for a in arguments]  # fmt: skip
    pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
    start = getattr(library, f"shim_launch_{number}")
    if start((ctypes.c_uint * 3)(*grid, first), ctypes.c_uint(threads), pointers, ORDERS[order], ctypes.c_uint(seed)):
        raise KernelError(library.shim_error().decode())
