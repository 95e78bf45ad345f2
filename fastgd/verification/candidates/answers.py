"""What a user's function returned: rows of w and losses, from the forms that people return.

1. A step may return w, (w, loss), (w, gradient), (w, b) and so on; a training the rows of w, a
   generator of them, the last w alone, (w, history, losses), (w, b, losses). The sizes decide.
2. Of a dict, a named tuple, an object with attributes and a frame the names decide
   (candidates/named_answers.py).
3. What was left out or put together is told in a note. What cannot be read is told in words.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...input.messages import counted, shown
from ...input.shapes import differ_in_size
from ...input.sharing import library_of
from ..bound.yardstick import Array
from .named_answers import Named, are_rows, by_name, has_last_among, is_number, names_in, numbers, with_weights_named
from .tasks import Unreadable

__all__ = ["Step", "Training", "has_parts", "kept", "library_of_float32", "places_of_w", "read_step", "read_training"]

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
    has_last: bool = False  # the last w was returned beside its rows, and is the last of them


def library_of_float32(answer: Any) -> str | None:
    """Return the name of the library whose float32 arrays a function returned; None: another.

    NumPy computes in the precision of the data, so its float32 is the function's own choice; JAX
    computes in float32 unless jax_enable_x64 is set, and its arrays become NumPy's in a list.
    """
    for _ in range(3):
        if isinstance(answer, list | tuple | Mapping) and answer:
            answer = next(iter(answer.values() if isinstance(answer, Mapping) else answer))
    if not str(getattr(answer, "dtype", "")).endswith("float32"):
        return None
    library = library_of(answer)
    if library == "numpy":
        jax = sys.modules.get("jax")
        return "jax" if jax is not None and not getattr(getattr(jax, "config", None), "jax_enable_x64", True) else None
    return library if library != "array API" else type(answer).__module__.partition(".")[0]


def has_parts(rows: Any) -> bool:
    """Return whether rows are w and more beside it: tuples, dicts, lists [w, b]."""
    first = rows if isinstance(rows, Mapping) else rows[0] if isinstance(rows, list) and rows else None
    return isinstance(first, tuple | Mapping) or (isinstance(first, list) and differ_in_size(first))


def read_step(answer: Any, n_parameters: int, intercept: bool, b_first: bool = False) -> Step:
    """Return the new w that a step returned, and its loss where there is one.

    b_first: the intercept comes before w where their sizes do not tell.
    """
    D, answer = n_parameters, by_name(answer)
    b_first = b_first and intercept and not isinstance(answer, Named)
    if answer is None:
        raise Unreadable("it returned None: a step must return the new w (return w)")
    if not isinstance(answer, tuple) and (not isinstance(answer, list) or is_number(answer)):
        return Step(_turned(_sized(numbers(answer, "w"), D), b_first), None)
    if not answer:
        raise Unreadable("it returned an empty tuple: a step must return the new w")
    parts = [numbers(part, "w" if place == 0 else "what it returned beside w") for place, part in enumerate(answer) if part is not None]
    if not parts:
        raise Unreadable("it returned None: a step must return the new w (return w)")
    if intercept and len(parts) > 1 and parts[0].size == 1 and parts[1].size == D - 1 and (D > 2 or b_first):
        w, rest, notes = np.append(parts[1].ravel(), parts[0].ravel()), parts[2:], ["what it returned was read as (b, w)"]
    elif intercept and len(parts) > 1 and parts[0].size == D - 1 and parts[1].size == 1:
        w, rest, notes = np.append(parts[0].ravel(), parts[1].ravel()), parts[2:], ["what it returned was read as (w, b)"]
    elif len(parts) == D > 1 and all(part.size == 1 for part in parts):
        return Step(_turned(np.concatenate([part.ravel() for part in parts]), b_first), None)
    else:
        loss_first = len(parts) > 1 and parts[0].size == 1 and parts[1].size == D > 1
        parts[:2] = parts[1::-1] if loss_first else parts[:2]
        w, rest, notes = _turned(_sized(parts[0], D), b_first), parts[1:], []
    place = next((k for k, part in enumerate(rest) if part.size == 1), None)
    if len(rest) - (place is not None):
        left_out = ", ".join(str(part.shape) for k, part in enumerate(rest) if k != place)
        notes.append(f"beside w{'' if place is None else ' and the loss'} it returned arrays of shape {left_out}: they are left out")
    return Step(w, None if place is None else float(rest[place].ravel()[0]), tuple(notes))


def places_of_w(answer: Any, n_parameters: int, intercept: bool) -> list[int]:
    """Return where the last w may stand in what a training returned: arrays of D > 1 numbers.

    None does where the intercept stands beside it, or its rows.
    """
    if not isinstance(answer, tuple) or hasattr(answer, "_asdict") or n_parameters == 1:
        return []
    shapes = [np.shape(part) if part is not None and is_number(part) else (0,) for part in answer]
    sizes = [math.prod(shape) for shape in shapes]
    has_rows = any(len(shape) == 2 and min(shape) > 1 and {n_parameters, n_parameters - intercept} & {*shape} for shape in shapes)
    apart = intercept and n_parameters - 1 in sizes
    return [] if has_rows or apart else [k for k, size in enumerate(sizes) if size == n_parameters]


def read_training(
    answer: Any, n_parameters: int, intercept: bool, epochs: int, b_first: bool = False, of_last: bool = False, place: int = 0
) -> Training:
    """Return the rows of w that a training returned, and the losses where there are some.

    b_first: the intercept comes before w where their sizes do not tell. of_last: it is known that w
    is the last one alone. place: where w stands, or its rows, if anything does before it.
    """
    if place:
        answer = (answer[place], *answer[:place], *answer[place + 1 :])
    if answer is None:
        raise Unreadable(f"it returned None: {_FORMS}")
    names = names_in(answer)
    answer = by_name(with_weights_named(answer, n_parameters, intercept))
    b_first = not (named := isinstance(answer, Named)) and b_first and intercept
    if isinstance(answer, Mapping):
        raise Unreadable(f"it returned a dict with {', '.join(map(shown, answer))}: {_FORMS}")
    parts = isinstance(answer, tuple) or (isinstance(answer, list) and answer and is_number(answer[0]) and np.ndim(answer[0]) > 1)
    if parts and 1 < len(answer) <= 5 and (isinstance(answer, tuple) or not is_number(answer)):
        read = _of_parts([part for part in answer if part is not None], n_parameters, intercept, b_first, of_last)
    else:
        read = _rows(answer[0] if isinstance(answer, tuple) and len(answer) == 1 else answer, n_parameters, intercept, b_first)
    if named:
        read = read._replace(notes=("what it returned was read by the names in it", *read.notes[1:]))
    if names is not None and has_last_among(names, read.w):
        read = read._replace(has_last=True)
    if len(read.w) > epochs + 1:
        rows = f"{counted(len(read.w), 'row')} of w for {counted(epochs, 'epoch')}"
        raise Unreadable(f"it returned {rows}; {epochs + 1:,} are needed, the start first, or {epochs:,} without it")
    return read


def _of_parts(parts: list[Any], D: int, intercept: bool, b_first: bool, of_last: bool) -> Training:
    """Return the rows and losses of several values."""
    if not parts:
        raise Unreadable(f"it returned None alone: {_FORMS}")
    arrays: list[Array | None] = [numbers(part, "what it returned") if is_number(part) else None for part in parts]
    if len(parts) > 1 and arrays[1] is None and not are_rows(parts[1]):  # the losses, which are judged
        numbers(parts[1], "what it returned beside w")
    first, second = arrays[0], arrays[1] if len(arrays) > 1 else None
    if first is not None and first.size == D and of_last:  # two losses beside w (2,) may be two rows of w and b
        return Training(_turned(first.reshape(1, D), b_first), _losses(arrays[1:]))
    if first is not None and second is not None and intercept:
        before = b_first if D == 2 else _width(first) <= 1 and D - 1 in (_width(second), second.size)
        of_w, of_b = (second, first) if before else (first, second)
        order = "b and of w" if before else "w and of b"
        if _width(of_w) == D - 1 and of_w.ndim and of_b.size == len(of_w) > 1 and (of_w.ndim > 1 or D == 2):
            joined = np.column_stack([of_w.reshape(len(of_w), D - 1), of_b.ravel()])
            if D > 2 or not _is_last(parts[0], second):
                return Training(joined, _losses(arrays[2:]), (f"what it returned was read as the rows of {order}",))
        if of_w.size == D - 1 and of_b.size == 1:
            words = f"the last {order.replace('of ', 'the last ')}"
            return _of_last(np.append(of_w, of_b), parts[2:], arrays[2:], D, b_first, intercept, words)
    if first is not None and first.size == D:
        read = _of_last(_turned(first.ravel(), b_first), parts[1:], arrays[1:], D, b_first, intercept, "the last w")
        if len(read.w) > 1:
            return read
    why: Unreadable | None = None
    of_columns = D == 1 and any(array is not None and array.ndim == 2 for array in arrays)
    for k, part in enumerate(parts):  # the losses may come first
        array = arrays[k]
        if of_columns and array is not None and array.ndim < 2:
            continue
        try:
            read = _rows(part, D, intercept, b_first)
        except Unreadable as error:
            why = why or error
        else:
            return read if read.loss is not None else read._replace(loss=_losses(arrays[:k] + arrays[k + 1 :]))
    assert why is not None
    raise why


def _of_last(last: Array, parts: list[Any], arrays: list[Array | None], D: int, b_first: bool, intercept: bool, words: str) -> Training:
    """Return the rows of w where there are some beside the last w, else the last w alone."""
    for k, part in enumerate(parts):
        try:
            read = _rows(part, D, intercept, b_first)
        except Unreadable:
            continue
        # of one parameter losses look like rows: those are columns, or stand before the losses
        sizes = [other.size for other in arrays[k + 1 :] if other is not None]
        array = arrays[k]
        looks_so = array is None or array.ndim != 1 or (D == 1 and bool({len(read.w), len(read.w) - 1} & set(sizes)))
        if len(read.w) > 1 and (np.array_equal(read.w[-1], last) or looks_so):
            losses = read.loss if read.loss is not None else _losses(arrays[:k] + arrays[k + 1 :])
            told = f"what it returned was read as {words} and the rows of w"
            return Training(read.w, losses, (*read.notes, told), np.array_equal(read.w[-1], last))
    return Training(last[None], _losses(arrays), (f"what it returned was read as {words}",))


def _is_last(value: Any, rows: Array) -> bool:
    """Return whether a value is a single number that ends the rows."""
    return np.size(value) == 1 and rows.size > 1 and np.ravel(value)[0] == np.ravel(rows)[-1]


def _rows(value: Any, D: int, intercept: bool, b_first: bool = False) -> Training:
    """Return the rows of w in one value."""
    if not is_number(value):
        if are_rows(value):
            steps = [read_step(row if isinstance(row, Mapping) else tuple(row), D, intercept, b_first) for row in value]
            loss, gaps = _of_rows_with_losses([step.loss for step in steps])
            notes = dict.fromkeys((*(note for step in steps for note in step.notes), *gaps))
            return Training(np.array([step.w for step in steps]), loss, tuple(notes))
        numbers(value, "w_history")
    w = numbers(value, "w_history")
    if w.size == D and (w.ndim < 2 or w.shape == (D, 1)) and not (D == 1 and w.ndim):
        return Training(_turned(w.reshape(1, D), b_first), None)
    if w.ndim and w.size == len(w) * D and (D == 1 or w.ndim > 1):
        return Training(_turned(w.reshape(len(w), D), b_first), None)
    if w.ndim == 2 and len(w) == D:
        return Training(_turned(w.T, b_first), None, ("the columns of what it returned were read as the rows of w",))
    if w.ndim == 2 and w.shape[1] == D + 1 and (intercept or (isinstance(value, list) and isinstance(value[0], tuple))):
        told = "the last column of what it returned was read as the losses"
        return Training(_turned(w[:, :D], b_first), w[:, D], (told,))
    what = f"{counted(D - intercept, 'feature')}{' and the intercept, which is last' if intercept else ''}"
    mend = "; with an intercept give intercept=True" if not intercept and w.ndim and D + 1 in (w.size, w.shape[-1]) else ""
    raise Unreadable(f"it returned an array of shape {w.shape}: w_history must have shape (epochs + 1, {D}), for {what}{mend}")


def _of_rows_with_losses(losses: list[float | None]) -> tuple[Array | None, tuple[str, ...]]:
    """Return the losses that stand beside rows of w, and what is to be told of them.

    That of the first row or of the last one may be missing: one is left for each update.
    """
    known = losses[1:] if losses[0] is None else losses[:-1] if losses[-1] is None else losses
    if all(loss is None for loss in losses):
        return None, ()
    if None in known:
        missing = sum(loss is None for loss in losses)
        return None, (f"the losses are not judged: {missing:,} of the {counted(len(losses), 'row')} have none",)
    return np.array(known, np.float64), ()


def _turned(w: Array, b_first: bool) -> Array:
    """Return w (…, D) with the intercept last."""
    return np.roll(w, -1, axis=-1) if b_first else w


def kept(value: Any) -> Any:
    """Return a copy of a row that a generator gives, and may change later."""
    if isinstance(value, Mapping):
        return {name: kept(part) for name, part in value.items()}
    if isinstance(value, list | tuple) and not is_number(value):
        return tuple(kept(part) for part in value)
    return numbers(value, "w")


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
