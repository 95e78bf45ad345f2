"""Memory of small results, used again: the first touch of a page costs more than what is computed for it.

1. An array of `empty` holds its memory until the last view of it is gone; then the memory waits for the next array of such a size. At most
   MOST_KEPT bytes wait; larger arrays, whose pages NumPy asks for by the megabyte, and tiny ones are NumPy's own.
2. No locks: memory may come back whenever Python collects garbage, in any thread, also while another piece is being taken.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

MOST_KEPT = 2**24  # bytes
SMALLEST, LARGEST = 2**17, 2**22  # bytes of an array: from where on each gets pages of its own, and huge ones
CLASSES = 8  # of sizes between a power of two and the next

_waiting: dict[int, deque[np.ndarray]] = {}


class _Lease:
    """Memory that goes back when nobody has it any more."""

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__ = memory.__array_interface__
        self._memory = memory

    def __del__(self) -> None:
        _give_back(self._memory)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`numpy.empty`."""
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if not SMALLEST <= needed < LARGEST:
        return np.empty(shape, dtype)
    step = 2 ** (needed.bit_length() - 1) // CLASSES
    size = -(-needed // step) * step
    try:
        memory = _waiting[size].pop()
    except (KeyError, IndexError):
        memory = np.empty(size, np.uint8)
    return np.asarray(_Lease(memory))[:needed].view(dtype).reshape(shape)


def _give_back(memory: np.ndarray) -> None:
    """Keep memory for its next use."""
    size = len(memory)
    if sum(each * len(pieces) for each, pieces in tuple(_waiting.items())) + size > MOST_KEPT:
        _waiting.clear()
    _waiting.setdefault(size, deque()).append(memory)


def forget() -> None:
    """Give all that waits back to the system."""
    _waiting.clear()
