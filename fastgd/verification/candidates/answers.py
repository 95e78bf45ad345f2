"""What a user's function returned: rows of w and losses, from the forms that people return.

1. A step may return w, (w, loss), (w, gradient), (w, b) and so on; a training the rows of w, a
   generator of them, the last w alone, (w, history, losses), (w, b, losses). The sizes decide.
2. What was left out or put together is told in a note. What cannot be read is told in words.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...input.messages import counted, shown
from ...input.sharing import library_of
from ..bound.yardstick import Array
from .tasks import Unreadable, copied

__all__ = ["Step", "Training", "kept", "library_of_float32", "read_step", "read_training"]

_FORMS = "it must return the rows of w (epochs + 1, D), the start first, or a pair of them and the losses"


class Step(NamedTuple):
    """What one step returned."""

    w: Array  # (D,)
    loss: float | None
    notes: tuple[str, ...] = ()


class Training(NamedTuple):
    """What a training returned."""

    w: Array  # (m, D)
    loss: Array | None
    notes: tuple[str, ...] = ()


def library_of_float32(answer: Any) -> str | None:
    """Return the name of the library whose float32 arrays a function returned; None: another.

    NumPy computes in the precision of the data, so its float32 is the function's own choice; JAX
    computes in float32 unless jax_enable_x64 is set, and its arrays become NumPy's in a list.
    """
    for _ in range(3):
        if isinstance(answer, list | tuple) and answer:
            answer = answer[0]
    if not str(getattr(answer, "dtype", "")).endswith("float32"):
        return None
    library = library_of(answer)
    if library == "numpy":
        jax = sys.modules.get("jax")
        return "jax" if jax is not None and not getattr(getattr(jax, "config", None), "jax_enable_x64", True) else None
    return library if library != "array API" else type(answer).__module__.partition(".")[0]


def read_step(answer: Any, n_parameters: int, intercept: bool) -> Step:
    """Return the new w that a step returned, and its loss where there is one."""
    D = n_parameters
    if answer is None:
        raise Unreadable("it returned None: a step must return the new w (return w)")
    if not isinstance(answer, tuple) and (not isinstance(answer, list) or _is_number(answer)):
        return Step(_sized(_numbers(answer, "w"), D), None)
    if not answer:
        raise Unreadable("it returned an empty tuple: a step must return the new w")
    parts = [_numbers(part, "w" if place == 0 else "what it returned beside w") for place, part in enumerate(answer) if part is not None]
    if not parts:
        raise Unreadable("it returned None: a step must return the new w (return w)")
    if intercept and len(parts) > 1 and parts[0].size == D - 1 and parts[1].size == 1:
        w, rest, notes = np.append(parts[0].ravel(), parts[1].ravel()), parts[2:], ["what it returned was read as (w, b)"]
    elif len(parts) == D > 1 and all(part.size == 1 for part in parts):
        return Step(np.concatenate([part.ravel() for part in parts]), None)
    else:
        w, rest, notes = _sized(parts[0], D), parts[1:], []
    place = next((k for k, part in enumerate(rest) if part.size == 1), None)
    if len(rest) - (place is not None):
        left_out = ", ".join(str(part.shape) for k, part in enumerate(rest) if k != place)
        notes.append(f"beside w{'' if place is None else ' and the loss'} it returned arrays of shape {left_out}: they are left out")
    return Step(w, None if place is None else float(rest[place].ravel()[0]), tuple(notes))


def read_training(answer: Any, n_parameters: int, intercept: bool, epochs: int) -> Training:
    """Return the rows of w that a training returned, and the losses where there are some."""
    if answer is None:
        raise Unreadable(f"it returned None: {_FORMS}")
    if isinstance(answer, Mapping):
        raise Unreadable(f"it returned a dict with {', '.join(map(shown, answer))}: {_FORMS}")
    parts = isinstance(answer, tuple) or (isinstance(answer, list) and answer and _is_number(answer[0]) and np.ndim(answer[0]) > 1)
    if parts and 1 < len(answer) <= 4 and (isinstance(answer, tuple) or not _is_number(answer)):
        read = _of_parts([part for part in answer if part is not None], n_parameters, intercept)
    else:
        read = _rows(answer[0] if isinstance(answer, tuple) and len(answer) == 1 else answer, n_parameters, intercept)
    if len(read.w) > epochs + 1:
        rows = f"{counted(len(read.w), 'row')} of w for {counted(epochs, 'epoch')}"
        raise Unreadable(f"it returned {rows}; {epochs + 1:,} are needed, the start first, or {epochs:,} without it")
    return read


def _of_parts(parts: list[Any], D: int, intercept: bool) -> Training:
    """Return the rows and losses of several values."""
    if not parts:
        raise Unreadable(f"it returned None alone: {_FORMS}")
    arrays: list[Array | None] = [_numbers(part, "what it returned") if _is_number(part) else None for part in parts]
    if len(parts) > 1 and arrays[1] is None:  # the losses, which are judged
        _numbers(parts[1], "what it returned beside w")
    first, second = arrays[0], arrays[1] if len(arrays) > 1 else None
    if first is not None and second is not None:
        if intercept and _width(first) == D - 1 and first.ndim > 1 and second.size == len(first):
            joined = np.column_stack([first.reshape(len(first), D - 1), second.ravel()])
            return Training(joined, _losses(arrays[2:]), ("what it returned was read as the rows of w and of b",))
        if intercept and first.size == D - 1 and second.size == 1:
            return Training(
                np.append(first, second)[None], _losses(arrays[2:]), ("what it returned was read as the last w and the last b",)
            )
        is_rows = second.ndim > 0 and _width(second) == D and second.size > D
        if first.size == D and is_rows and (D > 1 or np.array_equal(first.ravel(), np.ravel(second[-1]))):
            read = _rows(second, D, intercept)
            return Training(read.w, _losses(arrays[2:]), (*read.notes, "what it returned was read as the last w and the rows of w"))
    read = _rows(parts[0], D, intercept)
    return read if read.loss is not None else read._replace(loss=_losses(arrays[1:]))


def _rows(value: Any, D: int, intercept: bool) -> Training:
    """Return the rows of w in one value."""
    if not _is_number(value):
        if isinstance(value, list | tuple) and value and all(isinstance(row, list | tuple) for row in value):
            steps = [read_step(tuple(row), D, intercept) for row in value]
            losses = [step.loss for step in steps]
            loss = None if None in losses else np.array(losses, np.float64)
            return Training(np.array([step.w for step in steps]), loss, tuple(dict.fromkeys(note for step in steps for note in step.notes)))
        _numbers(value, "w_history")
    w = _numbers(value, "w_history")
    if w.size == D and (w.ndim < 2 or w.shape == (D, 1)) and not (D == 1 and w.ndim):
        return Training(w.reshape(1, D), None)
    if w.ndim and w.size == len(w) * D and (D == 1 or w.ndim > 1):
        return Training(w.reshape(len(w), D), None)
    if w.ndim == 2 and len(w) == D:
        return Training(w.T, None, ("the columns of what it returned were read as the rows of w",))
    what = f"{counted(D - intercept, 'feature')}{' and the intercept, which is last' if intercept else ''}"
    raise Unreadable(f"it returned an array of shape {w.shape}: w_history must have shape (epochs + 1, {D}), for {what}")


def kept(value: Any) -> Any:
    """Return a copy of a row that a generator gives, and may change later."""
    if isinstance(value, list | tuple) and not _is_number(value):
        return tuple(kept(part) for part in value)
    return _numbers(value, "w")


def _losses(arrays: list[Array | None]) -> Array | None:
    """Return the losses: the first array that has one axis, or is a column."""
    for array in arrays:
        if array is not None and array.ndim and array.size == len(array):
            return array.ravel()
    return None


def _width(array: Array) -> int:
    return array.size // len(array) if array.ndim and len(array) else 0


def _sized(w: Array, D: int) -> Array:
    """Return w as (D,)."""
    if w.size != D:
        raise Unreadable(f"it returned a w of shape {w.shape}: cannot reshape it to ({D},), {counted(D, 'number')} are needed")
    return w.reshape(D)


def _is_number(value: Any) -> bool:
    """Return whether a value can be read as an array of numbers."""
    try:
        copied(value, "w")
    except (TypeError, ValueError):
        return False
    return True


def _numbers(value: Any, name: str) -> Array:
    """Return a value as an array of numbers."""
    try:
        return copied(value, name)
    except (TypeError, ValueError) as error:
        raise Unreadable(f"it returned something that cannot be read: {error}") from None
