"""IEEE's default floating-point mode, in which everything here is computed.

1. A thread's mode says how results are rounded, whether subnormal numbers are flushed to zero, how
   many bits the x87 unit (NumPy's long double) keeps, and which exceptions end the process. It is
   changed by ``torch.set_flush_denormal(True)``, by C's ``fesetround``, and by libraries built with
   -ffast-math as they are loaded. Flushed and misrounded numbers look like any others: with
   rounding upwards half of all ``float(text)`` and ``repr(number)`` are wrong in the last digit.
2. Every public function that makes numbers, or text of numbers, runs by `in_ieee_mode` or is
   decorated with `computes`. Tasks set the mode once more: a new thread has the mode of the thread
   that made it, and code of the caller (progress, ``__array__``) may have changed it.
3. The mode is read by C's ``fegetenv`` through ctypes, which NumPy has loaded already: 0.24 µs, and
   the comparison takes about as much again. Where the mode is the default nothing is written.
   Machine code of LLVM's ``x86.sse.stmxcsr`` would need Numba, which the reference backends do
   without, and does not reach the x87 unit. ``PyDLL`` is used because ``CDLL`` lets go of Python's
   lock, which takes longer. A few operations would show flushing and rounding, but neither the x87
   unit nor unmasked exceptions.
4. The caller's ``numpy.errstate`` and decimal's context are set aside too: a conversion of 1e-300
   to float32 raised under ``under="raise"``, and NAdam's rates, whose decay is a power of decimals,
   depended on traps and on the rounding there. That is done in a `contextvars.Context` of the call,
   and modes are restored by ``finally`` in the frame that set them: Ctrl-C can fall into
   ``__exit__`` of a context manager before its first instruction, and the caller would keep what is
   ours.
5. Where the layout of C's ``fenv_t`` is not written down here, the mode is found out by arithmetic,
   and one that is not the default is refused. The layout of aarch64 was never tried.
"""

from __future__ import annotations

import ctypes
import decimal
import functools
import platform
import sys
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

import numpy as np

Given = ParamSpec("Given")
Made = TypeVar("Made")


_Words = ctypes.c_uint32 * 16  # longer than any fenv_t
_LAYOUTS = {  # of fenv_t on Linux: (word, the bits of it that are the mode, their values in IEEE's default mode)
    "x86_64": ((7, 0xFFC0, 0x1F80), (0, 0x0F3F, 0x033F)),  # the control words of SSE and of x87
    "aarch64": ((0, 0x07C8BF07, 0),),
}


def _of_c() -> tuple[Any, Any, tuple[tuple[int, int, int], ...]]:
    """(fegetenv, fesetenv, layout of fenv_t); (None, None, ()) where the mode cannot be set."""
    layout = _LAYOUTS.get(platform.machine(), ()) if sys.platform == "linux" else ()
    for name in (None, "libm.so.6") if layout else ():
        try:
            library = ctypes.PyDLL(name)
            return library.fegetenv, library.fesetenv, layout
        except (OSError, AttributeError):  # Python is not linked to libm
            continue
    return None, None, ()


_read, _write, _layout = _of_c()
_HALF_UNIT = 2.0**-54
_SUBNORMAL = np.array([1], np.int64).view(np.float64)  # which a flushed constant would not be


def _other_mode() -> Any:
    """The mode of this thread where it is not IEEE's default, else None."""
    if _read is None:
        _refuse_other_modes()
        return None
    words = _Words()
    _read(words)
    for word, bits, default in _layout:
        if words[word] & bits != default:
            return words
    return None


def _default_beside(mode: Any) -> Any:
    """IEEE's default mode, with whatever else a mode has."""
    words = _Words.from_buffer_copy(mode)
    for word, bits, default in _layout:
        words[word] = words[word] & ~bits | default
    return words


def what_differs() -> str | None:
    """What this thread's arithmetic does that IEEE's default mode does not, in words, or None."""
    if not (_SUBNORMAL * 1.0).view(np.int64)[0]:
        return "subnormal numbers are flushed to zero"
    if not (1.0 + _HALF_UNIT == 1.0 and 1.0 - _HALF_UNIT == 1.0):
        return "results are not rounded to nearest"
    return None


def _refuse_other_modes() -> None:
    """Raise where the arithmetic of this thread is not that of IEEE's default mode."""
    found = what_differs()
    if found:
        raise RuntimeError(
            f"in this thread {found}, and fastgd computes in IEEE's default floating-point mode, which it can set on Linux (x86-64, "
            "aarch64) only: set it before the call, by torch.set_flush_denormal(False), or by C's fesetenv(FE_DFL_ENV)"
        )


def set_ieee_mode() -> None:
    """Set IEEE's default mode in this thread."""
    mode = _other_mode()
    if mode is not None:
        _write(_default_beside(mode))


def in_ieee_mode(function: Callable[..., Made], *args: Any) -> Made:
    """Call a function in IEEE's default mode; the mode is as before afterwards, come what may."""
    mode = _other_mode()
    if mode is None:
        return function(*args)
    try:
        _write(_default_beside(mode))
        return function(*args)
    finally:
        _write(mode)


def quietly(function: Callable[..., Made], *args: Any) -> Made:
    """Call a function without errors and warnings of NumPy's errstate, and with plain decimals."""
    return copy_context().run(_with_settings, function, args)


def _with_settings(function: Callable[..., Made], args: Any) -> Made:
    for variable, value in _SETTINGS:
        variable.set(value)
    return function(*args)


def computes(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """Decorator: the function runs in IEEE's default mode, and quietly."""

    @functools.wraps(function)
    def call(*args: Given.args, **options: Given.kwargs) -> Made:
        return in_ieee_mode(quietly, functools.partial(function, *args, **options))

    return call


def _settings() -> list[tuple[Any, Any]]:
    """[(context variable, its value)] of ``numpy.errstate(all="ignore")`` and decimal's default."""
    before = copy_context()
    decimal.setcontext(decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, traps=[]))
    with np.errstate(all="ignore"):
        return [(variable, value) for variable, value in copy_context().items() if before.get(variable) is not value]


_SETTINGS = copy_context().run(_settings)  # setting the variables is faster than entering an errstate


class CallersMode:
    """The mode and the context in which this object is made, for code of the caller."""

    def __init__(self) -> None:
        self._context, self._mode = copy_context(), None
        if _read is not None:
            self._mode = _Words()
            _read(self._mode)

    def __reduce__(self) -> tuple[type[CallersMode], tuple[()]]:
        return CallersMode, ()  # in another process its own

    def run(self, function: Callable[..., Made], *args: Any) -> Made:
        """Call the caller's function in the midst of ours; the mode that it sets is kept for it."""
        if self._mode is None:
            return self._context.run(function, *args)
        ours = _Words()
        _read(ours)
        try:
            _write(self._mode)
            return self._context.run(function, *args)
        finally:
            _read(self._mode)
            _write(ours)


@functools.cache
def why_blas_differs() -> str | None:
    """Why NumPy's BLAS does not compute in IEEE's default mode, in a sentence; None: it does.

    OpenBLAS makes its threads as NumPy is imported. They keep the mode that the importing thread
    had, and cannot be reached. A product that is large enough for all of them shows it, in 1 ms.
    """
    n = 128
    left, right = np.zeros((n, n)), np.zeros((n, n))
    left[:, :3] = 1.0, _HALF_UNIT, _SUBNORMAL[0]
    right[:3] = np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])[:, np.arange(n) % 3]
    expected = np.tile(np.resize([1.0, 1.0, _SUBNORMAL[0]], n), (n, 1))
    if in_ieee_mode(lambda: (left @ right).tobytes()) == expected.tobytes():
        return None
    return (
        "threads of NumPy's BLAS flush subnormal numbers to zero, or do not round to nearest, since NumPy was imported while the "
        "floating-point mode was not IEEE's default: import NumPy before what changes the mode, or set OPENBLAS_NUM_THREADS=1"
    )
