"""Memory of small results, used again: the first touch of a page costs more than what is computed for it.

1. An array of `empty` holds its memory until the last view of it is gone; then the memory waits for the next array of such a size. At most
   MOST_KEPT bytes wait; larger arrays, whose pages NumPy asks for by the megabyte, and tiny ones are NumPy's own.
2. No locks: memory may come back whenever Python collects garbage, in any thread, also while another piece is being taken.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_KEPT = 2**24  # bytes
SMALLEST, LARGEST = 2**17, 2**22  # bytes of an array: from where on each gets pages of its own, and huge ones
CLASSES = 8  # of sizes between a power of two and the next


# by size: all that there may ever be, since the dictionary must not change while it is gone through
_waiting: dict[int, deque[np.ndarray]] = {
    2**power // CLASSES * k: deque() for power in range(17, 22) for k in range(CLASSES, 2 * CLASSES + 1)
}


def _give_back(memory: np.ndarray, waiting: dict[int, deque[np.ndarray]] = _waiting, most: int = MOST_KEPT) -> None:
    """Keep memory for its next use. At the end of a process the names of this module are gone before the last results: all are bound."""
    if sum([size * len(pieces) for size, pieces in waiting.items()]) + len(memory) > most:
        for pieces in waiting.values():
            pieces.clear()
    waiting[len(memory)].append(memory)


class _Lease:
    """Memory that goes back when nobody has it any more."""

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory

    def __del__(self, give_back: Callable[[np.ndarray], None] = _give_back) -> None:
        give_back(self._memory)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`numpy.empty`."""
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
    """Give all that waits back to the system."""
    for pieces in _waiting.values():
        pieces.clear()
