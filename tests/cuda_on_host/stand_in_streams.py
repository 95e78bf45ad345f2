"""Streams, events, devices and memory of the stand-in for CuPy: see stand_in.py.

What is put on a stream is done when somebody waits for it; memory that is given back meanwhile
stays until then, as in CuPy's pool.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

calls: list[str] = []  # what was asked for, by name
transfers = {"up": 0, "down": 0}  # bytes
launched_on: set[int] = set()  # streams
memory = {"taken": 0, "most": 2**40, "free": 10**9}
N_DEVICES = 2
_lock = threading.RLock()
_local = threading.local()
_blocks: dict[int, tuple[int, int, weakref.ref]] = {}  # {address: (bytes, device, the memory)} of what was allocated


def reset() -> None:
    """As in a fresh process."""
    calls.clear()
    launched_on.clear()
    transfers.update(up=0, down=0)
    memory.update(taken=0, most=2**40, free=10**9)


class Stream:
    """Work is appended, and done when somebody waits."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, *, ptr: int | None = None) -> None:
        self._work: list[Callable[[], None]] = []
        self._done = 0  # how much of what was ever appended
        self.ptr = id(self) if ptr is None else ptr

    @classmethod
    def from_external(cls, lender: Any) -> Stream:
        version, address = lender.__cuda_stream__()
        assert version == 0
        return EXTERNAL.setdefault(address, Stream(ptr=address))

    def append(self, work: Callable[[], None]) -> None:
        """Memory that is given back meanwhile stays until this is done: CuPy's pool orders that by
        streams."""
        with _lock:
            needed = [block() for _, _, block in _blocks.values()]

            def and_let_go() -> None:
                work()
                needed.clear()

            self._work.append(and_let_go)

    def _run_until(self, count: int) -> None:
        with _lock:
            while self._done < count:
                self._done += 1
                self._work.pop(0)()

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        stream, count = event.place
        self.append(lambda: stream._run_until(count + 1))

    def synchronize(self) -> None:
        calls.append("synchronize")
        self._run_until(self._done + len(self._work))

    def __enter__(self) -> Stream:
        _stack("streams").append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _stack("streams").pop()


class Event:
    """A place on a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.place: tuple[Stream, int] = (Stream.null, -1)  # nothing was recorded: nothing to wait for

    def record(self, stream: Stream | None = None) -> None:
        stream = get_current_stream() if stream is None else stream
        self.place = stream, stream._done + len(stream._work)
        stream.append(self._pass)

    def _pass(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        stream, count = self.place
        stream._run_until(count + 1)


def _stack(name: str) -> list[Any]:
    if not hasattr(_local, name):
        setattr(_local, name, [])
    return getattr(_local, name)


def get_current_stream() -> Stream:
    return (_stack("streams") or [Stream.null])[-1]


Stream.null = Stream(ptr=0)
EXTERNAL: dict[int, Stream] = {0: Stream.null}


# ---- devices and memory


class Device:
    """A number, and what is current in the thread inside it."""

    compute_capability = "90"

    def __init__(self, number: int | None = None) -> None:
        self.id = (_stack("devices") or [0])[-1] if number is None else int(number)
        assert self.id < N_DEVICES

    def __enter__(self) -> Device:
        _stack("devices").append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        _stack("devices").pop()


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


def take_room(n_bytes: int) -> np.ndarray:
    """Device memory at a multiple of 256 bytes, as CuPy's allocator gives it, filled with 0xFF. It
    stays while a stream may need it."""
    with _lock:
        if memory["taken"] + n_bytes > memory["most"]:
            raise OutOfMemoryError(f"out of memory allocating {n_bytes} bytes")
        owner = np.full(n_bytes + 256, 0xFF, np.uint8)
        address = owner.ctypes.data + -owner.ctypes.data % 256
        _blocks[address] = (max(1, n_bytes), Device().id, weakref.ref(owner))
        memory["taken"] += n_bytes
        weakref.finalize(owner, _give_back, address, n_bytes)
        return owner[address - owner.ctypes.data :][:n_bytes]


def _give_back(address: int, n_bytes: int) -> None:
    memory["taken"] -= n_bytes
    _blocks.pop(address, None)


def device_at(address: int) -> int:
    return next(device for first, (size, device, _) in list(_blocks.items()) if first <= address < first + size)


def stream_at(address: int) -> Stream:
    found = [one for stack in (_stack("streams"), EXTERNAL.values()) for one in stack if one.ptr == address]
    assert found, "a stream that is not current"
    return found[0]
