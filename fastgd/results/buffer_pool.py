"""Memory of small results, reused: touching a fresh page takes longer than computing what it holds.

1. An array of `empty` keeps its memory until the last view of it is gone. Then the memory waits for
   the next array of its size class, MOST_KEPT bytes in all at most. Larger arrays, whose pages
   NumPy asks for by the megabyte, and tiny ones are NumPy's own.
2. There are no locks: memory may come back whenever Python collects garbage, in any thread, also
   while another piece is being taken.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_KEPT = 2**24  # bytes
SMALLEST = 2**17  # bytes of an array: from here on the system gives each array fresh pages
LARGEST = 2**22  # bytes of an array: from here on NumPy asks for huge pages
CLASSES = 8  # of sizes between a power of two and the next


# by size: all that there may ever be, since the dictionary must not change while it is gone through
_waiting: dict[int, deque[np.ndarray]] = {
    2**power // CLASSES * k: deque() for power in range(17, 22) for k in range(CLASSES, 2 * CLASSES + 1)
}


def _give_back(memory: np.ndarray, waiting: dict[int, deque[np.ndarray]] = _waiting, most: int = MOST_KEPT) -> None:
    """Keep memory for its next use. All names are bound: at exit the module's may be gone first."""
    if sum([size * len(pieces) for size, pieces in waiting.items()]) + len(memory) > most:
        for pieces in waiting.values():
            pieces.clear()
    waiting[len(memory)].append(memory)


class _Lease:
    """Memory that goes back to the pool when its last array is gone."""

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory

    def __del__(self, give_back: Callable[[np.ndarray], None] = _give_back) -> None:
        give_back(self._memory)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialised array, like `numpy.empty`, in memory of the pool if it has some."""
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if not SMALLEST <= needed < LARGEST:
        return np.empty(shape, dtype)
    step = 2 ** (needed.bit_length() - 1) // CLASSES
    size = -(-needed // step) * step
    try:
        memory = _waiting[size].pop()
    except IndexError:
        memory = np.empty(size, np.uint8)
    return np.asarray(_Lease(memory))[:needed].view(dtype).reshape(shape)


def forget() -> None:
    """Give all waiting memory back to the system."""
    for pieces in _waiting.values():
        pieces.clear()
