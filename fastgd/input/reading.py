"""Reading: what a caller gives as an array becomes NumPy's, of real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .messages import place, shown
from .shapes import without_repeats
from .sharing import to_numpy

AN_ARRAY = "an array of real numbers"


def read_array(value: Any, name: str, needed: str = AN_ARRAY) -> np.ndarray:
    """`value` as a NumPy array of real numbers, not copied where it is an array."""
    if type(value) is np.ndarray:  # fast path
        return check_kind(value, value, name, needed)
    value = to_numpy(value, name)
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise TypeError(f"{name} is a masked array; masks are not available yet: give {name}.filled(numpy.nan) or leave the rows out")
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever an __array__ may raise
        raise TypeError(f"{name} must be {needed}; it cannot be read as one: {error}") from None
    return check_kind(value, array, name, needed)


def check_kind(value: Any, array: Any, name: str, needed: str) -> Any:
    """Return `array`; raise unless its dtype is one of real numbers of at most 64 bits."""
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


def read_numbers(value: Any, name: str, needed: str = "a real number or an array of them") -> np.ndarray:
    """Finite numbers, at least one, as float64; axes that only repeat (stride 0) still do."""
    array = read_array(value, name, needed)
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    numbers = without_repeats(array, 0).astype(np.float64)
    check_all(numbers, np.isfinite(numbers), name, "finite")
    return np.broadcast_to(numbers, array.shape)


def check_all(array: np.ndarray, fine: np.ndarray, name: str, needed: str) -> None:
    """Raise an error that names the first value where `fine` (same shape, bool) is False."""
    if not fine.all():
        where = tuple(np.argwhere(~fine)[0])
        raise ValueError(f"{name} must be {needed}; it is {array[where]:g}{place(where)}")
