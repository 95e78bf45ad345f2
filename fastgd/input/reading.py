"""Reading: what a caller gives as an array becomes NumPy's, of real numbers.

1. Masks count wherever they stand: `numpy.ma`, behind `__array__` or `[...]` (netCDF4.Variable, a
   dask array), in lists, as None or pandas.NA among objects. `read` says what is missing;
   `read_array` refuses it.
2. An array of NumPy, or of a library that shares memory with it, is not copied. Lists, frames of
   several dtypes and arrays of objects are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from .messages import counted, place, shown, what_was_raised
from .missing import Numbers, as_stored
from .room import check_readable, check_room
from .shapes import axes_that_repeat, first_true, without_repeats
from .sharing import HOST, rounding_of, to_numpy
from .unreadable import is_collection, is_missing_kind, is_number_kind, what_is_ragged, why_unreadable

AN_ARRAY = "an array of real numbers"
MOST_DEEP = 32  # lists in each other: of more some versions of NumPy make no array
SEQUENCES = (list, tuple, deque)
_PLAIN = {bool, int, float, *(kind for kind in np.sctypeDict.values() if is_number_kind(kind))}


def read(value: Any, name: str, needed: str = AN_ARRAY, nodata: tuple[Any, ...] = ()) -> Numbers:
    """The numbers of an array, and what of them is missing. nodata: as in `read_nodata`."""
    if type(value) is np.ndarray and not nodata and value.dtype.kind in "fiub":  # fast path
        return Numbers(check_kind(value, value, name, needed))
    if type(value) is not np.ndarray:
        columns = columns_of(value)
        if columns is not None:
            return _stack([read(column, f"{name}[{label!r}]", needed, nodata) for label, column in columns], -1, name)
        value = _listed(value, name)
        if isinstance(value, SEQUENCES) and not _is_plain(value, nodata != (), name):
            return _read_sequence(value, name, needed, nodata)
    given, array = value, _as_numpy(value, name, needed)
    mask: Any = None
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.ma.getmask(array)
        hidden = np.asarray(hidden if array.dtype.names is None else False)
        array, mask = array.data, hidden if hidden.any() else None
    array = np.asarray(array)  # no matrix, which never has three axes
    if array.dtype == object and array.ndim:
        array, mask = _read_objects(given, array, mask, name, needed)
    check_kind(given, array, name, needed)
    if not nodata:
        return Numbers(array, mask, dims=_dims_of(given, array))
    held = as_stored(nodata, array.dtype, rounding_of(given))
    not_held = frozenset(number for number in nodata if number not in held)
    return Numbers(array, mask, tuple(held.values()), not_held, _dims_of(given, array))


def read_array(value: Any, name: str, needed: str = AN_ARRAY) -> np.ndarray:
    """`value` as a NumPy array of real numbers of which none is missing."""
    if type(value) is np.ndarray and value.dtype.kind in "fiub":  # fast path
        return check_kind(value, value, name, needed)
    numbers = read(value, name, needed)
    if numbers.mask is not None:
        where = place(first_true(numbers.mask))
        raise ValueError(
            f"{name} must be {needed}; a number is missing{where} (masked, None or NA): give {name}.filled(value), or a number"
        )
    return numbers.array if numbers.array.dtype.kind in "fiub" else numbers.array.astype(np.float32)


def check_kind(value: Any, array: Any, name: str, needed: str) -> Any:
    """Return `array`; raise unless its dtype is one of real numbers of at most 64 bits."""
    kind = array.dtype.kind
    if kind not in "fiub" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} must be {needed}; {why_unreadable(value, array, name)}")
    if kind == "f" and array.dtype.itemsize > 8:
        raise TypeError(f"{name} has dtype {array.dtype}; there are float32 and float64: use {name}.astype('float64')")
    return array


def read_numbers(value: Any, name: str, needed: str = "a real number or an array of them") -> np.ndarray:
    """Finite numbers, at least one, as float64; axes that only repeat (stride 0) still do."""
    array = read_array(value, name, needed)
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    numbers = without_repeats(array, 0)
    check_room(name, numbers.size)
    numbers = numbers.astype(np.float64)
    check_all(numbers, np.isfinite(numbers), name, "finite")
    return np.broadcast_to(numbers, array.shape)


def check_all(array: np.ndarray, fine: np.ndarray, name: str, needed: str) -> None:
    """Raise an error that names the first value where `fine` (same shape, bool) is False."""
    if not fine.all():
        where = first_true(~fine)
        raise ValueError(f"{name} must be {needed}; it is {array[where]:g}{place(where)}")


def _as_numpy(value: Any, name: str, needed: str) -> np.ndarray:
    """An array of NumPy, which may be masked or of objects."""
    if is_collection(value):
        raise TypeError(f"{name} must be {needed}; {why_unreadable(value, np.array(None), name)}")
    value = to_numpy(value, name)
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "dims") and hasattr(getattr(value, "data", None), "__array__"):
            value = to_numpy(value.data, name)  # xarray drops the mask of what it wraps
        if not isinstance(value, np.ndarray):
            check_readable(value, name)
        by_index = hasattr(value, "shape") and hasattr(value, "__getitem__") and not hasattr(value, "__array__")
        array = np.asanyarray(value[...] if by_index else value)  # of a variable of a file, such as scipy.io's
    except MemoryError:  # a list may be right, and too long for an array
        raise
    except Exception as error:  # whatever an __array__ may raise
        ragged = what_is_ragged(value, name) if isinstance(value, SEQUENCES) else None
        raise TypeError(f"{name} must be {needed}; {ragged or f'it cannot be read as one: {what_was_raised(error)}'}") from None
    return array


def _dims_of(value: Any, array: np.ndarray) -> tuple[str, ...] | None:
    """The names of the axes of an array of xarray or netCDF4; None where they have none."""
    if isinstance(value, HOST):
        return None
    names = getattr(value, "dims", None) or getattr(value, "dimensions", None)
    if isinstance(names, tuple) and len(names) == array.ndim and all(isinstance(name, str) for name in names):
        return names
    return None


def columns_of(value: Any) -> list[tuple[Any, Any]] | None:
    """[(label, column)] of a frame whose columns are to be read one by one; else None.

    A frame of one dtype that NumPy has is an array.
    """
    if isinstance(value, HOST):
        return None
    if (hasattr(value, "iloc") or hasattr(value, "to_series")) and hasattr(value, "columns") and hasattr(value, "dtypes"):  # pandas, polars
        kinds = list(value.dtypes)
        if kinds and all(isinstance(kind, np.dtype) and kind == kinds[0] and kind.kind in "fiub" for kind in kinds):
            return None
        column = (lambda k: value.iloc[:, k]) if hasattr(value, "iloc") else value.to_series
        return [(label, column(k)) for k, label in enumerate(value.columns)] or None
    if hasattr(value, "column_names") and hasattr(value, "column"):  # pyarrow
        return [(label, value.column(k)) for k, label in enumerate(value.column_names)] or None
    return None


def names_of_columns(value: Any, count: int) -> tuple[str, ...] | None:
    """The names of the columns of a frame with `count` of them; None where they are no names."""
    names = _names_of(value)
    return names if names is None or len(names) == count else None


def check_names(value: Any, name: str, features: tuple[str, ...] | None) -> None:
    """Raise where a frame has other columns than those of the fit, or has them in another order.

    Columns are taken by their position; arrays and fits without names have nothing else.
    """
    names = None if features is None else _names_of(value)
    if names is None or names == features:
        return
    of_fit, arrays = list(features or ()), "or an array, whose columns are taken by their position"
    if missing := [one for one in of_fit if one not in names]:
        raise ValueError(f"{name} has no column {missing[0]!a}, which the fit had: give a frame that has it, {arrays}")
    if len(names) > len(of_fit):
        what = f"has {counted(len(names), 'column')}, and the fit had {len(of_fit)} of them"
    else:
        what = "has the columns of the fit in another order"
    order = shown(of_fit)
    picked = f"{name}.select({order})" if hasattr(value, "column_names") else f"{name}[{order}]"
    mend = picked if order[0] == "[" else "the columns that the fit had, in their order"
    raise ValueError(f"{name} {what}: give {mend}, {arrays}")


def _names_of(value: Any) -> tuple[str, ...] | None:
    """The names of the columns of a frame; None where they are no names, or not each its own."""
    if isinstance(value, HOST):
        return None
    names = getattr(value, "columns", None) if hasattr(value, "dtypes") else getattr(value, "column_names", None)
    try:
        names = () if names is None else tuple(names)
    except Exception:  # whatever an __iter__ may raise
        return None
    if not names or len(set(map(repr, names))) != len(names) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(str.__str__(name) for name in names)


def _listed(value: Any, name: str) -> Any:
    """The entries of what NumPy would read one by one, without their masks; else the value."""
    kind = type(value)
    if isinstance(value, (*HOST, *SEQUENCES, range, Mapping)) or not (hasattr(kind, "__getitem__") and hasattr(kind, "__len__")):
        return value
    if any(hasattr(value, known) for known in ("__array__", "__dlpack__", "shape")) or is_collection(value):
        return value
    try:
        memoryview(value)  # an array of numbers, or bytes
        return value
    except TypeError:
        check_readable(value, name)
    try:
        return list(value)
    except MemoryError:
        raise
    except Exception:  # whatever a __getitem__ may raise; NumPy is asked, too, and its error told
        return value


def _is_plain(value: Any, of_one_kind: bool, name: str) -> bool:
    """Whether a list, nested too, has numbers or NumPy's arrays alone, in which nothing is hidden.

    of_one_kind: whether the arrays must have one dtype.
    """
    if name.count("[") > MOST_DEEP:  # it may hold itself
        raise TypeError(f"{name.partition('[')[0]} must be {AN_ARRAY}; it is a list with lists in each other more than {MOST_DEEP} deep")
    kinds = set(map(type, value))
    if _PLAIN.issuperset(kinds):
        return True
    if kinds == {np.ndarray}:
        return not of_one_kind or len({array.dtype for array in value}) == 1
    return kinds <= {list, tuple} and all(_is_plain(row, of_one_kind, f"{name}[") for row in value)


def _read_sequence(value: Any, name: str, needed: str, nodata: tuple[Any, ...]) -> Numbers:
    """The numbers of a list in which something may be hidden: its entries are read one by one."""
    entries = [None if entry is np.ma.masked else entry for entry in value]
    if not any(isinstance(entry, (*SEQUENCES, np.ndarray)) or _is_array(entry) for entry in entries):
        array = np.empty(len(entries), object)
        array[:] = entries
        return read(array, name, needed, nodata)
    parts = [read(entry, f"{name}[{k}]", needed, nodata) for k, entry in enumerate(entries)]
    if len({part.array.shape for part in parts}) > 1:
        raise TypeError(f"{name} must be {needed}; {what_is_ragged([part.array for part in parts], name)}")
    return _stack(parts, 0, name)


def _is_array(entry: Any) -> bool:
    return not isinstance(entry, np.generic) and any(hasattr(type(entry), name) for name in ("__array__", "__dlpack__"))


def _stack(parts: list[Numbers], axis: int, name: str) -> Numbers:
    """One array of several, along a new axis; `nodata` is compared in the dtype of each."""
    check_room(name, sum(part.array.size for part in parts))
    missing = [part.missing for part in parts]
    array = np.stack([part.array for part in parts], axis)
    not_held = frozenset.intersection(*(part.not_held for part in parts))
    if all(mask is None or not mask.any() for mask in missing):
        return Numbers(array, not_held=not_held)
    shape = parts[0].array.shape
    return Numbers(array, np.stack([np.zeros(shape, bool) if mask is None else mask for mask in missing], axis), not_held=not_held)


def _read_objects(given: Any, array: np.ndarray, mask: np.ndarray | None, name: str, needed: str) -> tuple[np.ndarray, np.ndarray | None]:
    """(float64 array, mask) of an array of Python's numbers; None, NA and NaT are missing."""
    shape = array.shape
    index = axes_that_repeat(0, *((array,) if mask is None else (array, mask)))
    array, mask = array[index], None if mask is None else mask[index]
    check_room(name, array.size)
    if mask is not None:
        array = array.copy()
        array[mask] = None
    kinds = set(map(type, array.flat))
    missing = {kind for kind in kinds if is_missing_kind(kind)}
    if not all(map(is_number_kind, kinds - missing)):
        raise TypeError(f"{name} must be {needed}; {why_unreadable(given, array, name)}")
    if missing:
        mask = np.array([type(entry) in missing for entry in array.flat], bool).reshape(array.shape)
        array = array.copy()
        array[mask] = np.nan
    try:
        return np.broadcast_to(array.astype(np.float64), shape), None if mask is None else np.broadcast_to(mask, shape)
    except OverflowError:
        raise TypeError(f"{name} must be {needed}; a number in it is too large for float64") from None
