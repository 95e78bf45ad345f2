"""Arrays that lie against memory that must not be touched: a kernel that reads or writes one number
too far is killed by the system."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE


def fenced(pages: int) -> np.ndarray:
    """The bytes of so many pages, and of one before and one behind them that must not be
    touched."""
    whole = np.frombuffer(mmap.mmap(-1, (pages + 2) * PAGE), np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for page in (0, pages + 1):
        if protect(ctypes.c_void_p(whole.ctypes.data + page * PAGE), ctypes.c_size_t(PAGE), ctypes.c_int(0)):
            raise OSError(ctypes.get_errno(), "mprotect")
    return whole


def guarded(values: np.ndarray, at_end: bool = True) -> np.ndarray:
    """A copy of one axis of numbers that ends where a page ends, or begins where one begins."""
    room = fenced(values.nbytes // PAGE + 1)[PAGE:-PAGE].view(values.dtype)
    part = room[len(room) - len(values) :] if at_end else room[: len(values)]
    part[:] = values
    return part
