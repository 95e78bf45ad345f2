"""Values that are not arrays of real numbers: what they are, and how to make numbers of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from .messages import kind_of, place, shown
from .shapes import without_repeats

_DAYS = "of times t give (t - t[0]) / np.timedelta64(1, 'D')"
_TIMES = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)
_MOST_INSPECTED = 1000  # entries of a list
_ONE_HOT = "encode categories as numbers first, as pandas.get_dummies does"


def is_number_kind(kind: type) -> bool:
    """Whether a class is of real numbers of Python or NumPy."""
    return issubclass(kind, int | float | np.integer | np.floating | np.bool_) and not issubclass(kind, np.timedelta64)


def is_missing_kind(kind: type) -> bool:
    """Whether a class says that a number is missing: None, numpy.ma.masked, pandas.NA and NaT."""
    masks = (type(None), type(np.ma.masked))
    return kind in masks or (kind.__name__ in ("NAType", "NaTType") and kind.__module__.startswith("pandas."))


def is_missing(label: Any) -> bool:
    """Whether a Python object stands for something that is missing: None, NA, NaN, NaT."""
    return is_missing_kind(type(label)) or bool(label != label)


def why_not_inspected(value: Any, deep: int = 3) -> str:
    """What a value, or one within it, raises where it is asked what it is; '' where nothing."""
    try:
        isinstance(value, int)  # asks for its __class__
        hasattr(value, "dtype")
        _ = type(value).__name__, type(value).__module__  # which a metaclass may hide
        inner = list(value[:_MOST_INSPECTED]) if isinstance(value, list | tuple) else []
        inner += (*value, *value.values()) if isinstance(value, dict) else vars(value).values() if is_dataclass(value) else ()
    except Exception as error:  # whatever a __class__ or a __getattr__ may raise
        return f"it is a {kind_of(value)}, which raises {kind_of(error)} when it is asked for its class or an attribute"
    return next((why for one in inner if deep and (why := why_not_inspected(one, deep - 1))), "")


def is_refusal(error: Exception) -> bool:
    """Whether fastgd itself refused a call, in words: the error is not of what it called."""
    if not isinstance(error, TypeError | ValueError | MemoryError | OSError | ImportError):
        return False
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith(f"{__package__.partition('.')[0]}.")


def why_unreadable(value: Any, array: np.ndarray, name: str) -> str:
    """What is wrong with an array, and what to give instead. value: as the caller gave it."""
    kind = array.dtype.kind
    if array.ndim == 0 and kind in "OUST":
        return _what_one_is(value, name)
    if kind in "mM":
        return f"it has dtype {array.dtype}: {_in_units(array.dtype, '' if isinstance(value, np.ndarray) else name)}"
    if kind == "c":
        return f"it is complex ({array.dtype}): give {name}.real, or real and imaginary parts as two features"
    if kind in "UST":
        example = f"such as {shown(array.flat[0].item() if kind != 'T' else array.flat[0])}" if array.size else "and empty"
        return f"it is text, of dtype {array.dtype}, {example}: {_of_text(array, name)}"
    if array.dtype.names:
        stack = "np.ma.stack" if isinstance(value, np.ma.MaskedArray) else "np.stack"
        of_all = f"{stack}([{name}[k] for k in {name}.dtype.names], -1)"
        return f"it is structured: give a field of it, such as {name}[{array.dtype.names[0]!a}], or {of_all}"
    if kind != "O":
        return f"it has dtype {array.dtype}: give {name}.astype('float64') if these are numbers"
    for index in np.ndindex(array.shape):
        entry = array[index]
        if not is_number_kind(type(entry)) and not is_missing_kind(type(entry)):
            return f"it has dtype object, with {shown(entry)} ({kind_of(entry)}){place(index)}: {_how_to_mend(entry, name)}"
    return f"it has dtype object: use np.asarray({name}, 'float64')"


def _in_units(dtype: np.dtype, name: str) -> str:
    """How to make numbers of times or durations: months and years are no number of days.

    name: of an array that is not NumPy's; a Series may have no t[0].
    """
    unit = np.datetime_data(dtype)[0]
    of, number = ("times", "(t - t[0])") if dtype.kind == "M" else ("durations", "t")
    where = f"with t = np.asarray({name})" if name else f"of {of} t"
    return f"{where} give {number} / np.timedelta64(1, '{unit if unit in 'YM' else 'D'}')"


def what_is_ragged(value: Any, name: str) -> str | None:
    """Which entries of a list differ in length; None where all are alike."""
    lengths = [_length(entry) for entry in value]
    for k, length in enumerate(lengths):
        if length != lengths[0]:
            shapes = f"{name}[0] has shape {lengths[0]}, {name}[{k}] has {length}"
            return f"it is ragged: {shapes}; fill the shorter ones up with NaN and give nan_policy='omit'"
    inner = ((k, what_is_ragged(entry, f"{name}[{k}]")) for k, entry in enumerate(value) if isinstance(entry, list | tuple))
    return next((words for _, words in inner if words), None)


def _length(entry: Any) -> tuple[int, ...]:
    """The shape of an entry, as its own first entries tell it."""
    if isinstance(entry, np.ndarray):
        return entry.shape
    if isinstance(entry, list | tuple) and len(entry):
        return len(entry), *_length(entry[0])
    return (len(entry),) if hasattr(entry, "__len__") and not isinstance(entry, str) else ()


def _what_one_is(value: Any, name: str) -> str:
    """Words for something that is no array."""
    words = f"it is {shown(value)}"
    sparse = next((method for method in ("toarray", "todense") if hasattr(value, method)), None)
    if sparse:
        return f"it is sparse ({kind_of(value)}): give {name}.{sparse}()"
    if is_collection(value):
        return f"it is a {kind_of(value)}: give the arrays in it, such as X, y = dataset.tensors, or dataset['name']"
    if isinstance(value, Mapping):
        return f"it is a {kind_of(value)}: give np.stack(list({name}.values()), -1), or a frame"
    query = next((method for method in ("collect", "df") if hasattr(value, method)), None)  # of polars, of DuckDB
    if query:
        return f"it is a {kind_of(value)}, which is not computed yet: give {name}.{query}()"
    if hasattr(value, "__iter__") and not isinstance(value, str | bytes | set | frozenset):
        return f"{words}: give list({name})"
    return words if value is None or not isinstance(value, _TIMES) else f"{words}: {_DAYS}"


def is_collection(value: Any) -> bool:
    """Whether a value is a dataset or a loader of batches, of torch or another library."""
    names = {base.__name__ for base in type(value).__mro__}
    return not names.isdisjoint(("Dataset", "DataLoader")) and not hasattr(value, "__array__")  # h5py's is an array


def _of_text(array: np.ndarray, name: str) -> str:
    try:
        without_repeats(array, 0).astype(np.float64)
    except Exception:  # whatever an entry may raise
        return _ONE_HOT
    return f"give np.asarray({name}, 'float64')"


def _how_to_mend(entry: Any, name: str) -> str:
    """What to give instead of an array of objects with this entry."""
    kind = type(entry)
    if kind.__name__ == "Period":
        return f"with t = np.asarray({name}.astype('datetime64[us]')) {_DAYS.removeprefix('of times t ')}"
    if isinstance(entry, _TIMES):
        unit = "timedelta64[us]" if isinstance(entry, datetime.timedelta | np.timedelta64) else "datetime64[us]"
        return f"with t = np.asarray({name}, '{unit}') {_DAYS.removeprefix('of times t ')}"
    if kind.__module__.partition(".")[0] == "cftime":
        return f"give cftime.date2num({name}, 'days since 2000-01-01')"
    if isinstance(entry, str | bytes):
        return _of_text(np.array([entry], object), name)
    if isinstance(entry, complex):
        return f"give {name}.real, or real and imaginary parts as two features"
    if hasattr(entry, "__len__"):
        return f"give list({name}), of arrays of one length"
    try:
        float(entry)
    except Exception:  # whatever a __float__ may raise
        return "convert it to numbers first"
    return f"give np.asarray({name}, 'float64')"
