"""How the CUDA kernels are compiled: NVRTC through ctypes, one cubin per kernel, kept on disk.

1. CuPy's own compiler adds `-ftz=true` after the caller's options, and the last one wins: so NVRTC
   is called here, and CuPy only loads the cubin. NVRTC needs neither a driver nor a GPU, nor a CUDA
   toolkit: the sources include nothing but each other.
2. The name of a kept file is a digest of all sources, the kernel's name, the options, the
   architecture and the version of NVRTC. Files are written beside their place and renamed, so any
   number of processes may share the folder; a damaged one is made anew.
3. Where no folder can be written to, the kernels are compiled in every process, into a temporary
   folder.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
NO_SPILLS = ("-Xptxas", "-warn-spills", "-Xptxas", "-Werror")  # a register spill is an error; the tests compile with these
FOLDER_VARIABLE = "FASTGD_CUDA_CACHE_DIR"


class CompilerUnavailable(ImportError):
    """NVRTC is not installed, or is not usable."""


@dataclass(frozen=True)
class Compiled:
    """One kernel, compiled."""

    path: Path  # the cubin
    symbol: str  # the kernel's name in it


def candidates() -> Iterator[str]:
    """Where NVRTC may lie: NVIDIA's Python packages first, then what the system's loader finds."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or () if spec else ():
        for pattern in ("cu1*/lib/libnvrtc.so.1*", "cuda_nvrtc/lib/libnvrtc.so.1*"):
            yield from sorted((str(path) for path in Path(root).glob(pattern)), reverse=True)
    yield from ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")
    for root in filter(None, (os.environ.get("CUDA_PATH"), "/usr/local/cuda")):
        yield f"{root}/lib64/libnvrtc.so"


class Compiler:
    """NVRTC."""

    def __init__(self, path: str) -> None:
        for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins.so*")) if "/" in path else ():
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.path = path
        self._library = ctypes.CDLL(path)
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise RuntimeError(f"{function}: {self._library.nvrtcGetErrorString(code).decode()}")

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def compile(self, file: str, names: list[str], architecture: str, extra: tuple[str, ...] = ()) -> tuple[bytes, dict[str, str], str]:
        """Kernels of one file: (cubin, {name: symbol}, log). architecture: "sm_90"."""
        headers = {path.name: path.read_bytes() for path in sorted(SOURCES.glob("*.cuh"))}
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram", ctypes.byref(program), (SOURCES / file).read_bytes(), file.encode(), len(headers),
            (ctypes.c_char_p * len(headers))(*headers.values()), (ctypes.c_char_p * len(headers))(*(name.encode() for name in headers)),
        )  # fmt: skip
        try:
            for name in names:
                self._call("nvrtcAddNameExpression", program, name.encode())
            options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture={architecture}", *extra)]
            code = self._library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
            log = self._text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if code:
                raise RuntimeError(f"NVRTC {self.version} could not compile {file}, {', '.join(names)}:\n{log}")
            symbols = {}
            for name in names:
                lowered = ctypes.c_char_p()
                self._call("nvrtcGetLoweredName", program, name.encode(), ctypes.byref(lowered))
                symbols[name] = (lowered.value or b"").decode()
            return self._text(program, "CUBIN"), symbols, log
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))


@functools.cache
def compiler() -> Compiler:
    """Load NVRTC: the first that there is."""
    for path in candidates():
        try:
            return Compiler(path)
        except (OSError, AttributeError):
            continue
    raise CompilerUnavailable(
        "NVRTC, NVIDIA's run-time compiler, is not installed: pip install nvidia-cuda-nvrtc (for CUDA 13) or nvidia-cuda-nvrtc-cu12"
    )


@functools.cache
def digest_of_sources() -> str:
    """Of every byte of every source file."""
    digest = hashlib.sha256()
    for path in sorted((*SOURCES.glob("*.cu"), *SOURCES.glob("*.cuh"))):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where cubins are kept: $FASTGD_CUDA_CACHE_DIR, else a folder of the user's cache."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgd" / "cuda"


@functools.cache
def _temporary_folder() -> Path:
    """A folder of this process's own, removed when it ends."""
    made = tempfile.TemporaryDirectory(prefix="fastgd-cuda-")
    atexit.register(made.cleanup)
    return Path(made.name)


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, whatever other processes do."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(folder: Path, key: str) -> Compiled | None:
    try:
        notes = json.loads((folder / f"{key}.json").read_bytes())
        cubin = (folder / f"{key}.cubin").read_bytes()
    except (OSError, ValueError):
        return None
    if hashlib.sha256(cubin).hexdigest() != notes.get("sha256"):
        return None
    return Compiled(folder / f"{key}.cubin", notes["symbol"])


def compiled(file: str, name: str, architecture: str) -> Compiled:
    """One kernel of one file for one architecture, from the disk or from NVRTC."""
    nvrtc = compiler()
    question = json.dumps([digest_of_sources(), file, name, OPTIONS, architecture, nvrtc.version])
    key = hashlib.sha256(question.encode()).hexdigest()[:40]
    folder = cache_folder()
    kept = _read(folder, key)
    if kept is not None:
        return kept
    cubin, symbols, _ = nvrtc.compile(file, [name], architecture)
    notes = {"symbol": symbols[name], "sha256": hashlib.sha256(cubin).hexdigest(), "file": file, "name": name, "architecture": architecture}
    for place_of in (cache_folder, _temporary_folder):
        try:
            place = place_of()
            place.mkdir(parents=True, exist_ok=True)
            _write(place / f"{key}.cubin", cubin)
            _write(place / f"{key}.json", json.dumps(notes, indent=1).encode())
        except OSError:  # it cannot be written to, or is full
            continue
        return Compiled(place / f"{key}.cubin", symbols[name])
    raise RuntimeError(f"compiled kernels can be written neither to {folder} nor to {tempfile.gettempdir()}")
