"""As much of CuPy as kernels/cuda/launching.py uses, on the host: device memory is NumPy's, a cubin is run by the shim from its sources.

It shows that launching.py does what it says with the calls that it makes; whether CuPy does the same with them only a GPU can show.
"""

from __future__ import annotations

import ctypes
import json
import types
from pathlib import Path
from typing import Any

import numpy as np

from tests.cuda_on_host.building import build, launch

calls: list[str] = []  # what was asked for, by name


class ndarray:
    """An array on the device: no NumPy array, so that a mix-up shows."""

    def __init__(self, host: np.ndarray) -> None:
        self.host = host
        self.shape, self.dtype, self.nbytes = host.shape, host.dtype, host.nbytes
        self.data = types.SimpleNamespace(ptr=host.ctypes.data)

    def set(self, array: np.ndarray) -> None:
        self.host[...] = array

    def get(self, blocking: bool = True) -> np.ndarray:
        assert blocking
        return self.host.copy()

    def copy(self) -> ndarray:
        return ndarray(aligned(self.host))


def aligned(array: np.ndarray) -> np.ndarray:
    """A contiguous copy at a multiple of 256 bytes, as CuPy's allocator gives it."""
    room = np.full(array.nbytes + 256, 0xFF, np.uint8)
    first = -room.ctypes.data % 256
    result = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def empty(shape: tuple[int, ...], dtype: Any) -> ndarray:
    return ndarray(aligned(np.full(shape, -1).astype(dtype)))


def ascontiguousarray(array: ndarray) -> ndarray:
    return array if array.host.flags.c_contiguous else array.copy()


def from_dlpack(array: Any) -> ndarray:
    calls.append("from_dlpack")
    return ndarray(np.from_dlpack(array))


class _Context:
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Event:
    def __init__(self, disable_timing: bool = False) -> None:
        self.recorded = False

    def record(self, stream: Any = None) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        pass


class Stream(_Context):
    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr = 1 + non_blocking

    def record(self) -> Event:
        return Event()

    def wait_event(self, event: Event) -> None:
        assert isinstance(event, Event)

    def synchronize(self) -> None:
        calls.append("synchronize")


class Device(_Context):
    id, compute_capability = 0, "90"


class OutOfMemoryError(MemoryError):
    pass


def _copy(to: int, source: int, size: int, kind: int, stream: int) -> None:
    calls.append("memcpyAsync")
    ctypes.memmove(to, source, size)


class RawModule:
    def __init__(self, *, path: str) -> None:
        assert Path(path).read_bytes()[:4] == b"\x7fELF"
        self._notes = json.loads(Path(path).with_suffix(".json").read_text())

    def get_function(self, symbol: str) -> Any:
        assert symbol == self._notes["symbol"]

        def call(grid: tuple[int, int], block: tuple[int], arguments: tuple) -> None:
            kernel = build(self._notes["file"], self._notes["name"])
            launch(kernel, grid, block[0], tuple(a.host if isinstance(a, ndarray) else a for a in arguments))

        return call


_pool = types.SimpleNamespace(free_bytes=lambda: 0)
get_default_memory_pool = lambda: _pool  # noqa: E731
cuda = types.SimpleNamespace(
    Device=Device, Stream=Stream, Event=Event, get_current_stream=Stream,
    memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    alloc_pinned_memory=lambda size: (ctypes.c_uint8 * size)(),
    runtime=types.SimpleNamespace(
        memcpyAsync=_copy, memcpyHostToDevice=1, memcpyDeviceToHost=2, memGetInfo=lambda: (10**9, 2 * 10**9), getDeviceCount=lambda: 1
    ),
)  # fmt: skip
