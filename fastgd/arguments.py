"""arguments: one argument at a time, from the user's words to a checked value.

1. Every error names the argument, what was given and what is needed; nothing is computed before all arguments are read.
2. Axes along which an array is only repeated (stride 0, as from numpy.broadcast_to) are looked at once, however long they are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import to_numpy
from .gpu_arrays import device_of, fetch, to_cupy

MOST = 2**63 - 1
_MOST_THREADS = 1024
_LATER = {  # options that are not available yet: their value that means "not used"
    "schedule": None,
    "batch_size": None,
    "shuffle": True,
    "seed": 0,
    "checkpoint": None,
}


def refuse_later_options(given: Mapping[str, Any]) -> None:
    """An error for an option of `fit` that is used, but not available yet."""
    for name, unused in _LATER.items():
        value = given[name]
        kind = bool | np.bool_ if unused is True else int | np.integer
        alike = isinstance(value, kind) and isinstance(value, bool | np.bool_) == isinstance(unused, bool)
        if not (value is unused or (unused is not None and alike and value == unused)):
            raise ValueError(f"{name} is not available yet in this version of fastgd; leave it out (it was given as {shown(value)})")


def shown(value: Any) -> str:
    """A value for a message: itself where it is short, else what it is."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"<{type(value).__name__}>"


def place(index: tuple[Any, ...]) -> str:
    """' at index …' for a message; nothing for a single number."""
    if not index:
        return ""
    return f" at index {int(index[0]) if len(index) == 1 else tuple(int(i) for i in index)}"


def counted(count: int, noun: str) -> str:
    """'1 sample', '1,000 samples'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def read_array(value: Any, name: str, needed: str = "an array of real numbers", device: int | None = None) -> np.ndarray:
    """`value` as a NumPy array of real numbers, not copied where it is an array. What lies on `device` stays there, as a CuPy array."""
    if device is not None and device_of(value) == device:
        return _check_kind(value, to_cupy(value, name), name, needed)
    value = to_numpy(value, name)
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise TypeError(f"{name} is a masked array; masks are not available yet: give {name}.filled(numpy.nan) or leave the rows out")
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever an __array__ may raise
        raise TypeError(f"{name} must be {needed}; it cannot be read as one: {error}") from None
    return _check_kind(value, array, name, needed)


def _check_kind(value: Any, array: Any, name: str, needed: str) -> Any:
    """The array, if its dtype is one of real numbers that there are kernels for."""
    kind = array.dtype.kind
    if kind == "c":
        raise TypeError(f"{name} is complex ({array.dtype}); it must be {needed}")
    if kind not in "fiub":
        raise TypeError(f"{name} must be {needed}; {_what_it_is(value, array)}")
    if kind == "f" and array.dtype.itemsize > 8:
        raise TypeError(f"{name} has dtype {array.dtype}; there are float32 and float64: use {name}.astype('float64')")
    return array


def _what_it_is(value: Any, array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"it is {shown(value)}"
    if array.dtype.kind != "O":
        return f"it has dtype {array.dtype}"
    for index in np.ndindex(array.shape):
        entry: Any = array[index]
        if isinstance(entry, bool) or not isinstance(entry, int | float | np.number):
            return f"it has dtype object, with {shown(entry)} ({type(entry).__name__}){place(index)}"
    return "it has dtype object: use .astype('float64')"


def read_numbers(value: Any, name: str, needed: str = "a real number or an array of them", device: int | None = None) -> np.ndarray:
    """A number or an array of them as float64, finite and not empty; axes that only repeat stay views. What lies on `device` is fetched."""
    array = fetch(read_array(value, name, needed, device), name)
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    numbers = without_repeats(array, 0).astype(np.float64)
    check_all(numbers, np.isfinite(numbers), name, "finite")
    return np.broadcast_to(numbers, array.shape)


def check_all(array: np.ndarray, fine: np.ndarray, name: str, needed: str) -> None:
    """An error that names the first value which is not fine."""
    if not fine.all():
        where = tuple(np.argwhere(~fine)[0])
        raise ValueError(f"{name} must be {needed}; it is {array[where]:g}{place(where)}")


def read_count(value: Any, name: str, least: int, most: int = MOST, needed: str = "a whole number") -> int:
    """A whole number between `least` and `most`."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {needed}, not {shown(value)}") from None
    if count < least:
        raise ValueError(f"{name} must be {needed}, at least {least}; it is {count}")
    if count > most:
        raise ValueError(f"{name} must be {needed}, at most {'2^63 - 1' if most == MOST else format(most, ',')}; it is {count}")
    return count


def read_history(history: Any) -> int:
    """Every how many epochs a row is recorded; 0 for never."""
    if isinstance(history, bool | np.bool_):
        return int(history)
    return read_count(history, "history", 1, needed="True, False or a whole number of epochs")


def read_tol(tol: Any) -> float:
    """The tolerance; -1 for none."""
    if tol is None:
        return -1.0
    if isinstance(tol, bool | np.bool_ | str | bytes):
        raise TypeError(f"tol must be a number or None, not {shown(tol)}")
    try:
        value = float(tol)
    except (TypeError, ValueError):
        raise TypeError(f"tol must be a number or None, not {shown(tol)}") from None
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"tol must be finite and at least 0; it is {value:g}")
    return value


def read_threads(threads: Any) -> int | None:
    """The number of threads; None for as many as there are."""
    return None if threads is None else read_count(threads, "threads", 1, _MOST_THREADS)


def read_choice(value: Any, name: str, names: tuple[str, ...]) -> str:
    """One of the names."""
    if not (isinstance(value, str) and value in names):
        listed = ", ".join(map(repr, names[:-1])) + f" or {names[-1]!r}"
        raise ValueError(f"{name} must be {listed}, not {shown(value)}")
    return value


def read_progress(progress: Any) -> Any:
    """None, True, False or a function."""
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress must be None, True, False or a function of (done, total), not {shown(progress)}")
    return progress


def broadcast(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that all leading axes broadcast to; an error names the ones that do not fit together."""
    result = [1] * max(map(len, shapes.values()))
    for shape in shapes.values():
        for axis, length in enumerate(shape, len(result) - len(shape)):
            if length != 1 and result[axis] not in (1, length):
                told = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
                raise ValueError(f"leading axes do not broadcast against each other: {told}")
            result[axis] = max(result[axis], length)
    return tuple(result)


def without_repeats(array: np.ndarray, n_last: int) -> np.ndarray:
    """A view in which leading axes that only repeat have length 1; the last n_last axes stay."""
    leading = array.ndim - n_last
    index = tuple(slice(0, 1) if array.strides[a] == 0 and array.shape[a] > 1 else slice(None) for a in range(leading))
    return array[index] if index else array
