"""The GPU as a device for part.py: memory, copies and launches through CuPy. NOT RUN ON A GPU YET.

1. Everything happens on one stream, the caller's; copies of large NumPy arrays go through two
   pinned buffers on a stream of their own, one buffer being filled while the other is sent. Memory
   comes from CuPy's pools as they are set.
2. Data that are on the device already stay there: a CuPy array, or anything that lends its memory
   by DLPack, is used as it is where it is C-contiguous, of the right dtype, and aligned as the
   kernels' widest loads need it; else it is copied on the device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .compiling import compiled

STAGED_BYTES = 64 * 2**20  # of one pinned buffer
MULTIPROCESSORS, FLOAT32_TO_FLOAT64 = 16, 87  # cudaDevAttr…: how many there are; the ratio of the speeds
_log = logging.getLogger("fastgd")


class Gpu:
    """A CUDA device and a stream: a data.Device. Default: the calling thread's current ones."""

    epochs_per_launch: int | None = None
    tell: Callable[[str], object] = staticmethod(len)  # called with what is being compiled, and with "" when that is done

    def __init__(self, number: int | None = None, stream: Any = None) -> None:
        import cupy

        self._cupy = cupy
        self.out_of_memory = cupy.cuda.memory.OutOfMemoryError
        self._device = cupy.cuda.Device(number)
        with self._device:
            self._stream = cupy.cuda.get_current_stream() if stream is None else stream
            self._copies = cupy.cuda.Stream(non_blocking=True)
        ask = cupy.cuda.runtime.deviceGetAttribute
        ratio = max(2, ask(FLOAT32_TO_FLOAT64, self._device.id)) / 2  # of the lanes' rate where float64 is at half rate
        self.operations_per_second = ask(MULTIPROCESSORS, self._device.id) * 128 * 1.5e9 / ratio / 3  # of which a third is achieved
        self._architecture = f"sm_{self._device.compute_capability}"
        self._buffers: dict[str, list[tuple[np.ndarray, Any]]] = {"up": [], "down": []}  # one part goes up while another comes down

    @contextmanager
    def here(self) -> Iterator[None]:
        """Inside, CuPy works on this device and this stream, in whatever thread."""
        with self._device, self._stream:
            yield

    def upload(self, array: Any, dtype: Any = None, alignment: int = 8) -> Any:
        """A contiguous array on the device: the array itself where it is one there, else a copy."""
        cupy = self._cupy
        if not isinstance(array, np.ndarray):
            with self.here():
                there = array if isinstance(array, cupy.ndarray) else cupy.from_dlpack(array)
                there = cupy.ascontiguousarray(there, dtype)
                return there if there.data.ptr % alignment == 0 else there.copy()
        array = np.ascontiguousarray(array, dtype)
        if array.nbytes < STAGED_BYTES // 8:
            with self.here():
                result = cupy.empty(array.shape, array.dtype)
                result.set(array)
                return result
        with self._device, self._copies:  # its memory is its own: no kernel that still runs reads it, so nothing need be waited for
            result = cupy.empty(array.shape, array.dtype)
            source = array.reshape(-1).view(np.uint8)
            for k, (begin, stop) in enumerate(_pieces(array.nbytes)):
                buffer, event = self._pinned("up", k)
                event.synchronize()
                buffer[: stop - begin] = source[begin:stop]
                cupy.cuda.runtime.memcpyAsync(
                    result.data.ptr + begin, buffer.ctypes.data, stop - begin, cupy.cuda.runtime.memcpyHostToDevice, self._copies.ptr
                )
                event.record(self._copies)
            self._stream.wait_event(self._copies.record())
            return result

    def copy(self, array: Any) -> Any:
        """A copy of an array that is on the device."""
        with self.here():
            return array.copy()

    def fill(self, array: Any, byte: int) -> None:
        """Set every byte."""
        if array.nbytes:
            with self.here():
                self._cupy.cuda.runtime.memsetAsync(array.data.ptr, byte, array.nbytes, self._stream.ptr)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new array on the device."""
        with self.here():
            return self._cupy.empty(shape, dtype)

    def address(self, array: Any) -> int:
        """The address of an array."""
        return int(array.data.ptr)

    def download(self, array: Any, into: Any) -> None:
        """Copy into a NumPy array or an array on the device, and wait for it."""
        cupy = self._cupy
        with self.here():
            if not isinstance(into, np.ndarray):
                into[...] = array
                return
            if array.nbytes < STAGED_BYTES // 8 or not into.flags.c_contiguous:
                into[...] = array.get(blocking=True)
            else:
                target = into.reshape(-1).view(np.uint8)
                waiting: list[tuple[int, int, int]] = []
                for k, (begin, stop) in enumerate(_pieces(array.nbytes)):
                    if len(waiting) == 2:
                        self._empty_buffer(target, *waiting.pop(0))
                    buffer, event = self._pinned("down", k)
                    event.synchronize()
                    cupy.cuda.runtime.memcpyAsync(
                        buffer.ctypes.data, array.data.ptr + begin, stop - begin, cupy.cuda.runtime.memcpyDeviceToHost, self._stream.ptr
                    )
                    event.record(self._stream)
                    waiting.append((k, begin, stop))
                for piece in waiting:
                    self._empty_buffer(target, *piece)
            self._stream.synchronize()

    def launch(self, file: str, name: str, grid: tuple[int, int], threads: int, arguments: tuple[Any, ...]) -> None:
        """Launch a kernel on the stream."""
        with self.here():
            key = file, name, self._architecture, self._device.id
            if key not in _kernels:
                self.tell(f"compiling {name} (once)")
                try:
                    _load(*key)
                finally:
                    self.tell("")
            _kernels[key](grid, (threads,), arguments)

    def wait(self) -> None:
        """Wait for everything that was launched."""
        self._stream.synchronize()

    def free_bytes(self) -> int:
        """Memory that the device and CuPy's pool can still give."""
        with self._device:
            free, _ = self._cupy.cuda.runtime.memGetInfo()
            return int(free) + int(self._cupy.get_default_memory_pool().free_bytes())

    def _pinned(self, direction: str, k: int) -> tuple[np.ndarray, Any]:
        """One of two pinned buffers, and the event after which it may be used again."""
        buffers = self._buffers[direction]
        while len(buffers) < 2:
            memory = self._cupy.cuda.alloc_pinned_memory(STAGED_BYTES)
            buffers.append((np.frombuffer(memory, np.uint8, STAGED_BYTES), self._cupy.cuda.Event(disable_timing=True)))
        return buffers[k % 2]

    def _empty_buffer(self, target: np.ndarray, k: int, begin: int, stop: int) -> None:
        buffer, event = self._pinned("down", k)
        event.synchronize()
        target[begin:stop] = buffer[: stop - begin]


def _pieces(n_bytes: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, n_bytes, STAGED_BYTES):
        yield begin, min(begin + STAGED_BYTES, n_bytes)


_kernels: dict[tuple[str, str, str, int], Any] = {}  # loaded once per process and device


def _load(file: str, name: str, architecture: str, device: int) -> None:
    """Compile a kernel, or find it on the disk, and load it."""
    import cupy

    _log.info("compiling or loading the CUDA kernel %s for %s", name, architecture)
    found = compiled(file, name, architecture)
    _kernels[file, name, architecture, device] = cupy.RawModule(path=str(found.path)).get_function(found.symbol)


@contextmanager
def measured(milliseconds: list[float]) -> Iterator[None]:
    """Device time of what is launched inside, by events; for the benchmarks."""
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record()
    yield
    end.record()
    end.synchronize()
    milliseconds.append(cupy.cuda.get_elapsed_time(begin, end))
