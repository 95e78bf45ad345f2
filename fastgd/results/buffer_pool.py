"""A pool of memory for small results: touching a fresh page takes longer than filling it.

1. An array of `empty` owns its memory until the last view of it is gone. Then the memory waits for
   the next array of its size class; at most MOST_WAITING bytes wait. Larger arrays, which NumPy
   gets in huge pages, and smaller ones do not use the pool.
2. There are no locks: memory may come back whenever Python collects garbage, in any thread, even
   while another piece is being taken.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_WAITING = 2**24  # bytes
SMALLEST = 2**17  # bytes of an array: from here on the system gives each array fresh pages
LARGEST = 2**22  # bytes of an array: from here on NumPy asks for huge pages
CLASSES = 8  # size classes between a power of two and the next


# {size class: waiting memory}: all classes from the start, as another thread may be iterating
_waiting: dict[int, deque[np.ndarray]] = {
    2**power // CLASSES * k: deque() for power in range(17, 22) for k in range(CLASSES, 2 * CLASSES + 1)
}


def _give_back(memory: np.ndarray, waiting: dict[int, deque[np.ndarray]] = _waiting, most: int = MOST_WAITING) -> None:
    """Put memory into the pool; if the pool is full it is emptied first.

    Globals are bound as defaults, because at exit they may be gone before the last array is.
    """
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
    """An uninitialised array, like `numpy.empty`, in memory of the pool if some waits there."""
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
