"""Floating-point modes, set and read as a C program does: x86-64 and aarch64 Linux.

Words of C's fenv_t: of x86-64 the control words of x87 (0) and of SSE (7), of aarch64 FPCR (0).
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_C = ctypes.CDLL("libm.so.6")
_X86 = platform.machine() == "x86_64"

# {name: {word: (bits to clear, bits to set)}}
MODES: dict[str, dict[int, tuple[int, int]]] = (
    {
        "flush": {7: (0, 0x8040)},
        "flush results": {7: (0, 0x8000)},
        "flush operands": {7: (0, 0x0040)},
        "upward": {0: (0x0C00, 0x0800), 7: (0x6000, 0x4000)},
        "downward": {0: (0x0C00, 0x0400), 7: (0x6000, 0x2000)},
        "toward zero": {0: (0, 0x0C00), 7: (0, 0x6000)},
        "x87 of 53 bits": {0: (0x0300, 0x0200)},
        "x87 of 24 bits": {0: (0x0300, 0)},
        "fatal exceptions": {0: (0x000D, 0), 7: (0x0680, 0)},  # overflow, division by zero, invalid
    }
    if _X86
    else {"flush": {0: (0, 1 << 24)}, "upward": {0: (0, 1 << 22)}, "downward": {0: (0, 2 << 22)}, "toward zero": {0: (0, 3 << 22)}}
)


def environment() -> ctypes.Array[ctypes.c_uint32]:
    """The floating-point environment of this thread."""
    words = (ctypes.c_uint32 * 16)()
    _C.fegetenv(words)
    return words


def mode() -> tuple[int, ...]:
    """What of it is the mode, without the flags of past exceptions."""
    words = environment()
    return (words[0] & 0x0F3F, words[7] & 0xFFC0) if _X86 else (words[0],)


def set_mode(name: str) -> None:
    """Change the mode of this thread."""
    words = environment()
    for word, (clear, put) in MODES[name].items():
        words[word] = words[word] & ~clear | put
    _C.fesetenv(words)


@contextmanager
def mode_set(name: str) -> Iterator[None]:
    """The mode of this name, and what was before at the end."""
    before = environment()
    set_mode(name)
    try:
        yield
    finally:
        _C.fesetenv(before)
