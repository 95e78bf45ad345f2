"""As much of CuPy as fastgd uses, on the host: device memory is NumPy's, a cubin is run by the shim
from its sources.

1. An array here is no NumPy array and refuses to become one, as CuPy's do; it knows its device;
   what crosses the bus is counted.
2. What CuPy only puts on a stream is only put there, and done as late as CUDA may do it: when
   somebody waits for that stream, or for an event on it. So a copy or a kernel that nothing waits
   for is seen in the numbers, and a pinned buffer that is filled too early is too.
3. It shows that the launch code does what it says with the calls that it makes; whether CuPy does
   the same with them only a GPU can show. What is here was written beside CuPy 14.2's sources.
"""

from __future__ import annotations

import ctypes
import json
import math
import operator
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.cuda_on_host.building import build, launch
from tests.cuda_on_host.stand_in_streams import (
    N_DEVICES,
    Device,
    Event,
    OutOfMemoryError,
    Stream,
    calls,
    device_at,
    get_current_stream,
    launched_on,
    memory,
    reset,
    stream_at,
    take_room,
    transfers,
)

__version__ = "0.0 (a stand-in)"


class Flags:
    """CuPy has these three and no other."""

    def __init__(self, host: np.ndarray) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = host.flags.c_contiguous, host.flags.f_contiguous, host.base is None


class ndarray:
    """An array on a device."""

    __array_ufunc__ = None

    def __init__(self, host: np.ndarray, device: int | None = None) -> None:
        self._host = host
        self.shape, self.dtype, self.nbytes, self.ndim, self.size = host.shape, host.dtype, host.nbytes, host.ndim, host.size
        self.itemsize, self.strides, self.flags = host.itemsize, host.strides, Flags(host)
        self.device = Device(device)
        self.data = types.SimpleNamespace(ptr=host.ctypes.data)

    def __array__(self, *options: Any, **named: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly.")

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        assert blocking
        get_current_stream().synchronize()
        transfers["down"] += self.nbytes
        return self._host.copy()

    def set(self, array: np.ndarray, stream: Any = None) -> None:
        assert isinstance(array, np.ndarray)
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        get_current_stream().synchronize()  # pageable memory
        transfers["up"] += self.nbytes
        self._host[...] = array

    def _made(self, shape: tuple[int, ...], dtype: Any, fill: Callable[[np.ndarray], None]) -> ndarray:
        """A new array, filled when its stream gets there."""
        with Device(self.device.id):
            result = empty(shape, dtype)
        get_current_stream().append(lambda: fill(result._host))
        return result

    def copy(self, order: str = "C") -> ndarray:
        return self.astype(self.dtype)

    def astype(self, dtype: Any) -> ndarray:
        def fill(into: np.ndarray) -> None:
            with np.errstate(all="ignore"):
                into[...] = self._host.astype(dtype)

        return self._made(self.shape, dtype, fill)

    def _seen(self, host: np.ndarray) -> ndarray:
        return ndarray(host, self.device.id)

    def reshape(self, *shape: Any) -> ndarray:
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        view = self._host.view()
        try:
            view.shape = shape if -1 not in shape else view.reshape(shape).shape
        except AttributeError:
            return self._made(shape, self.dtype, lambda into: into.__setitem__(..., self._host.reshape(shape)))
        return self._seen(view)

    def transpose(self, *axes: Any) -> ndarray:
        return self._seen(self._host.transpose(*axes))

    def __len__(self) -> int:
        return len(self._host)

    def __getitem__(self, index: Any) -> ndarray:
        index = index if isinstance(index, tuple) else (index,)
        assert not any(isinstance(one, np.ndarray) for one in index), "an index of NumPy's"
        if any(isinstance(one, ndarray) for one in index):
            (one,) = index
            return self._made((*one.shape, *self.shape[1:]), self.dtype, lambda into: into.__setitem__(..., self._host[one._host]))
        index = index if any(one is ... for one in index) else (*index, ...)  # a view, also of a single number
        return self._seen(np.asarray(self._host[index]))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        assert not isinstance(value, ndarray) or value.device.id == self.device.id
        place = index._host if isinstance(index, ndarray) else index
        get_current_stream().append(lambda: self._host.__setitem__(place, value._host if isinstance(value, ndarray) else value))

    def _operate(self, operation: Callable[[Any, Any], Any], other: Any) -> ndarray:
        if isinstance(other, np.ndarray):
            raise TypeError(f"Unsupported type {type(other)}")
        assert not isinstance(other, ndarray) or other.device.id == self.device.id

        def compute() -> Any:
            with np.errstate(all="ignore"):
                return operation(self._host, other._host if isinstance(other, ndarray) else other)

        shaped = compute()
        return self._made(shaped.shape, shaped.dtype, lambda into: into.__setitem__(..., compute()))

    def __mul__(self, other: Any) -> ndarray:
        return self._operate(operator.mul, other)

    __rmul__ = __mul__

    def __add__(self, other: Any) -> ndarray:
        return self._operate(operator.add, other)

    def __sub__(self, other: Any) -> ndarray:
        return self._operate(operator.sub, other)

    def __iadd__(self, other: Any) -> ndarray:
        self[...] = self + other
        return self

    def sum(self, axis: int) -> ndarray:
        return self._operate(lambda host, axis: host.sum(axis=axis), axis)

    def fill(self, value: float) -> None:
        self[...] = value

    def __matmul__(self, other: Any) -> ndarray:
        return self._operate(operator.matmul, other)

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __dlpack__(self, stream: Any = None, **options: Any) -> Any:
        calls.append("__dlpack__")
        assert stream is not None, "a consumer on the host"
        consumer = Stream.null if stream == 1 else stream_at(stream)
        if consumer is not get_current_stream():
            consumer.wait_event(get_current_stream().record())
        return self._host.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self.data.ptr, False), "shape": self.shape, "typestr": self.dtype.str, "strides": self.strides, "version": 3}


ndarray.__module__ = "cupy"


def empty(shape: Any, dtype: Any = float) -> ndarray:
    shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    return ndarray(take_room(n_bytes).view(dtype).reshape(shape))


def ascontiguousarray(array: ndarray, dtype: Any = None) -> ndarray:
    assert isinstance(array, ndarray)
    kept = array.dtype if dtype is None else np.dtype(dtype)
    return array if array.flags.c_contiguous and array.dtype == kept else array.astype(kept)


def from_dlpack(lender: Any) -> ndarray:
    """As CuPy's: it tells the lender which stream it will use."""
    kind, number = lender.__dlpack_device__()
    assert int(kind) == 2, "an array on the host"
    capsule = lender.__dlpack__(stream=get_current_stream().ptr or 1)
    calls.append("from_dlpack")
    carrier = types.SimpleNamespace(__dlpack__=lambda **options: capsule, __dlpack_device__=lambda: (1, 0))
    return ndarray(_writeable(np.from_dlpack(carrier)), int(number))


def asarray(given: Any, dtype: Any = None) -> ndarray:
    """Of NumPy, a copy on the device; of what has the CUDA array interface, a view."""
    if isinstance(given, ndarray):
        return given if dtype is None or given.dtype == dtype else given.astype(dtype)
    if hasattr(given, "__cuda_array_interface__"):
        told = given.__cuda_array_interface__
        host = np.asarray(types.SimpleNamespace(__array_interface__={**told, "version": 3}, owner=given))
        return ndarray(_writeable(host), device_at(told["data"][0]))
    result = empty(np.shape(given), np.asarray(given, dtype).dtype)
    result.set(np.asarray(given, dtype))
    return result


def _writeable(host: np.ndarray) -> np.ndarray:
    """The same memory: NumPy marks what others lend as read-only."""
    reach = [stride * (length - 1) for stride, length in zip(host.strides, host.shape, strict=True)]
    low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach) + host.itemsize
    buffer = (ctypes.c_uint8 * (high - low)).from_address(host.ctypes.data + low)
    buffer.owner = host
    return np.ndarray(host.shape, host.dtype, buffer, -low, host.strides)


def _as_strided(array: ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> ndarray:
    return array._seen(np.lib.stride_tricks.as_strided(array._host, shape, strides))


# ---- the runtime


def _memcpy(to: int, source: int, size: int, kind: int, stream: int) -> None:
    calls.append("memcpyAsync")
    transfers["up" if kind == 1 else "down"] += size
    stream_at(stream).append(lambda: ctypes.memmove(to, source, size) and None)


def _memset(to: int, byte: int, size: int, stream: int) -> None:
    calls.append("memsetAsync")
    stream_at(stream).append(lambda: ctypes.memset(to, byte, size) and None)


class RawModule:
    """A cubin; run from the sources that its notes name."""

    def __init__(self, *, path: str) -> None:
        assert Path(path).read_bytes()[:4] == b"\x7fELF"
        self._notes = json.loads(Path(path).with_suffix(".json").read_text())
        self._device = Device().id

    def get_function(self, symbol: str) -> Any:
        assert symbol == self._notes["symbol"]

        def call(grid: tuple[int, int], block: tuple[int], arguments: tuple) -> None:
            assert self._device == Device().id, "a kernel that was loaded for another device"
            calls.append(self._notes["name"])
            launched_on.add(get_current_stream().ptr)
            for one in arguments:
                assert isinstance(one, np.generic) or (isinstance(one, np.ndarray) and one.size == 1), "passed by value"
            kernel = build(self._notes["file"], self._notes["name"])
            copies = tuple(np.array(one) for one in arguments)  # now, as CUDA does
            get_current_stream().append(lambda: launch(kernel, grid, block[0], copies))

        return call


def _solve(a: ndarray, b: ndarray) -> ndarray:
    return a._operate(np.linalg.solve, b)


class _Generator:
    def __init__(self, seed: int) -> None:
        self._host = np.random.default_rng(seed)

    def standard_normal(self, size: tuple[int, ...], dtype: Any) -> ndarray:
        return asarray(self._host.standard_normal(size, dtype=dtype))


random = types.SimpleNamespace(default_rng=_Generator)
linalg = types.SimpleNamespace(solve=_solve)
matmul = operator.matmul
lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=_as_strided))
_pool = types.SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)
get_default_memory_pool = lambda: _pool  # noqa: E731
cuda = types.SimpleNamespace(
    Device=Device, Stream=Stream, Event=Event, get_current_stream=get_current_stream,
    memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    get_elapsed_time=lambda begin, end: 1e3 * (end.at - begin.at),
    alloc_pinned_memory=lambda size: (ctypes.c_uint8 * size)(),
    runtime=types.SimpleNamespace(
        memcpyAsync=_memcpy, memsetAsync=_memset, memcpyHostToDevice=1, memcpyDeviceToHost=2, getDeviceCount=lambda: N_DEVICES,
        deviceGetAttribute=lambda which, number: {16: 132, 87: 2}[which],
        memGetInfo=lambda: (memory["free"], 2 * 10**9),
        pointerGetAttributes=lambda address: types.SimpleNamespace(device=device_at(address)),
        getDeviceProperties=lambda number: {"name": b"a stand-in", "totalGlobalMem": 2**31, "major": 9, "minor": 0},
    ),
)  # fmt: skip

__all__ = [
    "Device", "Event", "Stream", "asarray", "ascontiguousarray", "calls", "cuda", "empty", "from_dlpack", "get_current_stream", "lib",
    "linalg", "matmul", "memory", "ndarray", "random", "reset", "transfers",
]  # fmt: skip
