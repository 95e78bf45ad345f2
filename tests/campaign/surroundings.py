"""One call, and what it may not touch: its inputs, and the state of the process.

An error is a sentence of fastgd's: of a documented type, raised by fastgd itself, in one paragraph.
Everything else is an internal exception.
"""

from __future__ import annotations

import contextlib
import decimal
import io
import os
import random
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastgd
from tests.support.threads import own_threads, own_threads_left

IN_WORDS = (ValueError, TypeError, MemoryError, fastgd.BackendUnavailable)
LONGEST_SENTENCE = 600  # letters
_SMALLEST, _ONE, _HALF_ULP = np.array([5e-324]), np.array([1.0]), np.array([2.0**-53])


@dataclass
class Outcome:
    """What a call gave: a result or an error, and [(kind, text)] of broken promises."""

    result: Any
    error: BaseException | None
    faults: list[tuple[str, str]]


def arrays_in(value: Any) -> Iterable[np.ndarray]:
    """The arrays that a value is, or holds one level deep; the owner of the memory of a view."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,):
        if isinstance(each, np.ndarray):
            owner = each
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            yield owner


def bytes_of(values: Iterable[Any]) -> list[Any]:
    """The bytes of all arrays, and the text of all lists."""
    found: list[Any] = []
    for value in values:
        found += [array.tobytes() for array in arrays_in(value) if array.dtype.kind != "O"]
        if type(value) is list and len(value) < 200:
            with contextlib.suppress(Exception):
                found.append(repr(value))
    return found


def rounding() -> tuple[bool, float, float]:
    """Whether this thread keeps subnormal numbers, and how it rounds."""
    return (_SMALLEST + _SMALLEST * 1 != 0).item(), (_ONE + _HALF_ULP).item(), (-_ONE - _HALF_ULP * 1.5).item()


def surroundings() -> dict[str, Any]:
    """The state of the process that no call may change."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 - of the caller
    return {
        "np.geterr": np.geterr(), "np.random": (numpy_state["state"]["pos"], numpy_state["state"]["key"].tobytes()),
        "random": hash(random.getstate()), "floating-point mode": rounding(), "folder": os.getcwd(), "environment": dict(os.environ),
        "print options": np.get_printoptions(), "decimal": repr(decimal.getcontext()), "sys.path": list(sys.path),
        "hooks": (sys.excepthook, threading.excepthook), "recursion": sys.getrecursionlimit(),
    }  # fmt: skip


def is_a_sentence(error: BaseException, allowed: tuple[type[BaseException], ...] = IN_WORDS) -> str:
    """Why an error is not one of fastgd's sentences; '' where it is."""
    if not isinstance(error, allowed):
        return f"its type is {type(error).__name__}"
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames[-1].startswith("fastgd") or frames[-1].startswith("fastgd.kernels"):
        return f"it was raised in {frames[-1]}"
    if isinstance(error, MemoryError) and type(error) is not MemoryError:
        return "it is NumPy's: more memory was asked for than there is"
    text = str(error)
    return "it has no text" if not text.strip() else f"it has {len(text)} letters" if len(text) > LONGEST_SENTENCE else ""


def call(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    positional: tuple[Any, ...] = (),
    allowed: tuple[type[BaseException], ...] = IN_WORDS,
) -> Outcome:
    """Call a function; compare inputs and process before and after."""
    values = [*positional, *(value for name, value in given.items() if name != "out")]
    inputs, before, threads = bytes_of(values), surroundings(), set(threading.enumerate())
    result, error, faults = None, None, []
    said, complained = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        warnings.simplefilter("always")
        try:
            result = function(*positional, **given)
        except Exception as caught:
            error = caught
    if error is not None and (why := is_a_sentence(error, allowed)):
        where = "".join(traceback.format_exception(error)[-3:])
        faults.append(("internal exception", f"{type(error).__name__}: {str(error)[:300]}: {why}\n{where}"))
    after = surroundings()
    faults += [
        ("changed surroundings", f"{name}: {before[name]!r} became {after[name]!r}") for name in before if before[name] != after[name]
    ]
    if bytes_of(values) != inputs:
        faults.append(("modified input", "an array or a list that was given has changed"))
    faults += [("warning", f"{each.category.__name__}: {each.message}") for each in warned]
    new = set(threading.enumerate()) - threads
    for thread in new:
        thread.join(5.0)  # it has nothing more to do
    left = [thread.name for thread in new if thread.is_alive()]
    if left:
        faults.append(("threads left", ", ".join(left)))
    if own_threads_left(5.0):
        faults.append(("threads left", f"{own_threads()} of fastgd"))
    printed = said.getvalue() + complained.getvalue()
    if printed and "compiling" not in printed and given.get("progress") is not True:
        faults.append(("printed", printed[:500]))
    return Outcome(result, error, faults)
