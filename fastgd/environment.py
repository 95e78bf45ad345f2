"""What fastgd found on this machine, in one object that prints itself (`fastgd info`).

1. Versions are read from the installed metadata, so that neither torch nor CuPy is imported. torch
   is imported only where its build may use a GPU, because only torch knows whether it finds one.
2. Where compiled kernels lie is decided in kernels/cpu/simd/disk_cache.py.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .input.float_mode import computes
from .input.messages import in_ascii, repr_in_ascii
from .planning.backends import BACKENDS
from .planning.plan import available_threads
from .results.table import html_table

_LIBRARIES = {  # name: the distributions that bring it
    "numpy": ("numpy",),
    "numba": ("numba",),
    "torch": ("torch",),
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "matplotlib": ("matplotlib",),
}
_NOWHERE = "there is no home folder to keep them in (set NUMBA_CACHE_DIR to a folder)"


@repr_in_ascii
@dataclass(frozen=True)
class KernelCache:
    """Where the compiled CPU kernels are stored.

    Attributes
    ----------
    folder : str or None
        The folder that has kernels of this version, else the one to which they would be written.
        None: there is none.
    writable : bool
        Whether this process may write there.
    n_bytes : int
        Size of all kernels there.
    ready : bool
        Whether the folder has the kernels that `fit` needs, of this version and for this processor,
        for float32 and float64.
    complete : bool
        Whether it also has the kernels for `solve`, weights and missing values. ``fastgd info
        --warm`` compiles all of them.
    why_not : str or None
        Why kernels can be neither read nor stored, so that every process compiles its own, or
        (where `usable` is False) why there are none; None where they can.
    time_to_compile : str
        How long compiling takes here, in words.
    usable : bool
        Whether kernels can be compiled at all: not with ``NUMBA_DISABLE_JIT=1``.
    """

    folder: str | None
    writable: bool
    n_bytes: int
    ready: bool
    complete: bool = False
    why_not: str | None = None
    time_to_compile: str = ""
    usable: bool = True

    def in_words(self) -> str:
        """Whether kernels must still be compiled, as a sentence."""
        if not self.usable:
            return f"none: {self.why_not}"
        if self.why_not:
            return f"compiled in every process: {self.why_not}"
        if self.complete:
            return "compiled and stored"
        if self.ready:
            return "compiled and stored; solve, mini-batches, weights and missing values at their first use (fastgd info --warm: now)"
        return f"not compiled yet: {self.time_to_compile} (fastgd info --warm: now)"


@dataclass(frozen=True, repr=False)
class Environment:
    """What fastgd found on this machine.

    Attributes
    ----------
    fastgd, python, platform, cpu : str
        Versions, and the processor's name.
    threads : int
        CPUs that this process may use.
    simd_bits : int
        Width of the vector registers that the CPU kernels are compiled for: 512, 256 or 128, the
        processor's unless NUMBA_CPU_FEATURES says less.
    fma : bool
        Whether they are compiled with fused multiply-add. Without it results are the same, and much
        slower.
    libraries : dict of str to (str or None)
        Version of each library; None where it is not installed.
    backends : dict of str to (str or None)
        Why each backend cannot run here; None where it can.
    kernel_cache : KernelCache
        Where the compiled CPU kernels are, and whether any are missing.
    cuda_compiler : dict
        ``version`` of NVRTC, which compiles the CUDA kernels (None where it is not installed),
        ``folder`` of compiled CUDA kernels, number of ``kernels`` there, and their ``n_bytes``.
    gpu : str or None
        Name and memory of the GPU.
    why_no_gpu : str or None
        Why there is no GPU; None where there is one.
    """

    fastgd: str
    python: str
    platform: str
    cpu: str
    threads: int
    simd_bits: int
    fma: bool
    libraries: dict[str, str | None]
    backends: dict[str, str | None]
    kernel_cache: KernelCache
    cuda_compiler: dict[str, Any]
    gpu: str | None
    why_no_gpu: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, strings, numbers and None, ready for JSON."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Return the rows that `fastgd info` prints: (what, value), both as text."""
        cache = self.kernel_cache
        stored = f"{cache.folder} ({'writable' if cache.writable else 'NOT writable'}, {cache.n_bytes / 2**20:.1f} MiB)"
        cuda = self.cuda_compiler
        return [
            ("fastgd", self.fastgd),
            ("Python", self.python),
            ("platform", self.platform),
            ("CPU", self.cpu),
            ("threads", str(self.threads)),
            ("SIMD", f"{self.simd_bits} bits, " + ("with FMA" if self.fma else "WITHOUT FMA: the same results, much slower")),
            *((name, version or "not installed") for name, version in self.libraries.items()),
            *((f"backend {name}", "not available: " + reason if reason else "available") for name, reason in self.backends.items()),
            ("kernels", cache.in_words()),
            ("kernel cache", stored if cache.folder else "none"),
            ("NVRTC", cuda["version"] or "not installed"),
            ("CUDA kernels", f"{cuda['folder']} ({cuda['kernels']} stored, {cuda['n_bytes'] / 2**20:.1f} MiB)"),
            ("GPU", self.gpu or f"none: {self.why_no_gpu}"),
        ]

    def _repr_html_(self) -> str:
        return html_table("fastgd on this machine", self.rows())

    def __str__(self) -> str:
        width = max(len(what) for what, _ in self.rows())
        return in_ascii("\n".join(f"{what:<{width}}  {value}" for what, value in self.rows()))

    __repr__ = __str__


def info() -> Environment:
    """Find out what is installed here: versions, backends, threads, SIMD, kernel cache, GPU.

    Returns
    -------
    Environment
        It prints itself as a table; ``.to_dict()`` makes a dict that is ready for JSON.

    Examples
    --------
    >>> from fastgd.environment import info
    >>> found = info()
    >>> found.backends["cpu"] is None  # nothing stands in the way of the cpu backend
    True
    >>> sorted(found.to_dict())[:4]
    ['backends', 'cpu', 'cuda_compiler', 'fastgd']
    """
    from .kernels import cuda

    bits, fma = _simd()
    libraries = {name: _version(*distributions) for name, distributions in _LIBRARIES.items()}
    backends = {name: _why_not(name, libraries["torch"]) for name in BACKENDS}
    gpu, why_no_gpu = _gpu(torch_finds_one=backends["torch-cuda"] is None)
    return Environment(
        fastgd=sys.modules["fastgd"].__version__,
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        platform=platform.platform(),
        cpu=_cpu(),
        threads=available_threads(),
        simd_bits=bits,
        fma=fma,
        libraries=libraries,
        backends=backends,
        kernel_cache=kernel_cache(),
        cuda_compiler=cuda.report(),
        gpu=gpu,
        why_no_gpu=why_no_gpu,
    )


def kernel_cache() -> KernelCache:
    """Find the folder of compiled CPU kernels, and whether those of this version are there."""
    missing = BACKENDS["cpu"].why_unavailable()
    if missing:
        return KernelCache(None, False, 0, False, why_not=missing, usable=False)
    from .kernels.cpu import compile_ahead

    folder, refused = compile_ahead.cache_folder()
    time_to_compile = compile_ahead.time_to_compile()
    if folder is None:
        return KernelCache(None, False, 0, False, why_not=_NOWHERE, time_to_compile=time_to_compile)
    ready, complete = compile_ahead.on_disk()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    writable = there.is_dir() and os.access(there, os.W_OK) and not refused
    n_bytes = sum(file.stat().st_size for file in folder.glob("*") if file.is_file()) if folder.is_dir() else 0
    why_not = refused or (None if ready or writable else f"{folder} cannot be written to (set NUMBA_CACHE_DIR to a folder that can)")
    return KernelCache(str(folder), writable, n_bytes, ready, complete, why_not, time_to_compile)


@computes
def warm(say: Callable[[str], object] = print, *, shared: bool = False) -> bool:
    """Compile ahead every CPU kernel that `fit` and `solve` may need, for float32 and float64.

    Kernels that are on disk already are loaded.

    Parameters
    ----------
    say : callable, default print
        Called with one line of text at a time: the folder of the kernels, each step as it is done,
        and how long all of it took.
    shared : bool, default False
        Store them beside the installed package, where every user of it reads them: for images and
        shared installations. To be called in a new process, by someone who may write there.

    Returns
    -------
    bool
        Whether all kernels are on disk now. False: they cannot be stored, and every process
        compiles its own.

    Examples
    --------
    >>> from fastgd.environment import warm
    >>> lines = []
    >>> complete = warm(lines.append)  # about a minute where nothing is compiled yet
    >>> len(lines)
    16
    """
    unavailable = BACKENDS["cpu"].why_unavailable()
    if unavailable:
        say(f"Nothing can be compiled ahead: {unavailable}.")
        return False
    from .kernels.cpu import compile_ahead

    with compile_ahead.writing_shared() if shared else nullcontext():
        return _warm(say)


def _warm(say: Callable[[str], object]) -> bool:
    from .kernels.cpu import compile_ahead

    cache = kernel_cache()
    if cache.why_not:
        say(f"Nothing can be compiled ahead: {cache.why_not}. Kernels are compiled in every process.")
        return False
    say(f"Kernels are stored in {cache.folder}." + ("" if cache.complete else f" Compiling takes {cache.time_to_compile}."))
    steps = {
        "fit": compile_ahead.PARTS,
        "weights and missing values": {"find_kept"},
        "mini-batches": {"batches"},
        "many targets on one X": {"targets"},
        "standardized features": {"standardize"},
        "solve": {"solve"},
        "statistics": {"invert"},
    }
    began, counted = time.perf_counter(), compile_ahead.compiled_and_loaded()
    for dtype in ("float32", "float64"):
        for what, parts in steps.items():
            started, before = time.perf_counter(), compile_ahead.compiled_and_loaded()
            compile_ahead.compile_parts(np.dtype(dtype), parts)
            spent, after = time.perf_counter() - started, compile_ahead.compiled_and_loaded()
            compiled, loaded = after["compiled"] - before["compiled"], after["loaded"] - before["loaded"]
            done = f"compiled in {spent:.1f} s" if compiled else f"loaded in {spent:.1f} s" if loaded else "at hand"
            say(f"  {dtype}, {what}: {done}")
    spent, cache, after = time.perf_counter() - began, kernel_cache(), compile_ahead.compiled_and_loaded()
    compiled, loaded = after["compiled"] - counted["compiled"], after["loaded"] - counted["loaded"]
    stored = f"the folder holds {cache.n_bytes / 2**20:.1f} MiB" if cache.complete else f"NOT all could be stored in {cache.folder}"
    say(f"{compiled} kernels compiled, {loaded} loaded, in {spent:.1f} s; {stored}.")
    return cache.complete


def _version(*distributions: str) -> str | None:
    import importlib.metadata

    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _simd() -> tuple[int, bool]:
    """(width of the vector registers [bits], whether there is fma) that Numba compiles for."""
    from numba.core import registry

    features = registry.cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    if platform.machine().lower() in ("aarch64", "arm64"):
        return 128, True  # NEON, which includes fma
    bits = 512 if "+avx512f" in features else 256 if "+avx" in features else 128
    return bits, "+fma" in features


def _why_not(backend: str, torch_version: str | None) -> str | None:
    if backend == "torch-cuda" and torch_version is not None and torch_version.endswith("+cpu"):
        return f"torch {torch_version} is a build without CUDA"
    return BACKENDS[backend].why_unavailable()


def _gpu(torch_finds_one: bool) -> tuple[str | None, str | None]:
    """(name of the GPU, None), or (None, why there is no GPU)."""
    from .kernels.cuda.device import device_name, why_no_device

    reason = why_no_device()
    if reason is None:
        return device_name(), None
    if torch_finds_one:
        import torch

        return f"{torch.cuda.get_device_name(0)} (for backend torch-cuda alone: {reason})", None
    return None, reason
