"""Options: each function reads one argument and returns a checked value.

An error names the argument, what was given and what is needed.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from .messages import shown

MOST = 2**63 - 1
_MOST_THREADS = 1024


def read_count(value: Any, name: str, least: int, most: int = MOST, needed: str = "a whole number") -> int:
    """A whole number between `least` and `most`."""
    try:
        if isinstance(value, bool | np.bool_ | np.ma.MaskedArray):
            raise TypeError
        count = operator.index(value)
    except Exception:  # whatever an __index__ may raise
        raise TypeError(f"{name} must be {needed}, not {shown(value)}") from None
    if count < least:
        raise ValueError(f"{name} must be {needed}, at least {least}; it is {shown(count)}")
    if count > most:
        raise ValueError(f"{name} must be {needed}, at most {'2^63 - 1' if most == MOST else format(most, ',')}; it is {shown(count)}")
    return count


def read_seed(seed: Any, several: bool) -> np.ndarray:
    """`seed` as an array of int64; several: there may be one for each fit."""
    if not (several and isinstance(seed, np.ndarray | list | tuple) and np.ndim(seed)):
        return np.array(read_count(seed, "seed", 0), np.int64)
    needed = "a whole number, or an array of one for each fit"
    try:
        array = np.asarray(seed)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iu" or isinstance(seed, np.ma.MaskedArray):
        raise TypeError(f"seed must be {needed}, not {shown(seed)}")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= MOST:
        raise ValueError(f"seed must be {needed}, from 0 to 2^63 - 1; it is {shown(seed)}")
    return array.astype(np.int64)


def read_history(history: Any) -> int:
    """`history` as the number of epochs between two recorded rows; 0: nothing is recorded."""
    if isinstance(history, bool | np.bool_):
        return int(history)
    return read_count(history, "history", 1, needed="True, False or a whole number of epochs")


def read_switch(value: Any, name: str, needed: str = "True or False") -> bool:
    """An option that is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be {needed}, not {shown(value)}")
    return bool(value)


def read_tol(tol: Any, name: str = "tol") -> float:
    """`tol` as a float; -1 where there is none."""
    if tol is None:
        return -1.0
    try:
        if isinstance(tol, bool | np.bool_ | str | bytes | bytearray | np.ma.MaskedArray):
            raise TypeError
        if isinstance(tol, np.ndarray | np.generic) and (tol.ndim or tol.dtype.kind not in "fiu"):
            raise TypeError
        value = float(tol)
    except OverflowError:  # a number beyond float64
        value = math.inf
    except Exception:  # whatever a __float__ may raise
        raise TypeError(f"{name} must be a number or None, not {shown(tol)}") from None
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and at least 0; it is {value:g}")
    return value


def read_dtype(dtype: Any) -> np.dtype:
    """The option `dtype`: float32 or float64."""
    try:
        asked = np.dtype(dtype)
    except Exception:  # whatever an object may raise that NumPy asks for its dtype
        asked = np.dtype(object)
    if dtype is None or asked not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
    return asked


def read_excess_loss(value: Any) -> bool | None:
    """`excess_loss`, checked: True, False, or None where it is computed if that is cheap."""
    return None if value is None else read_switch(value, "excess_loss", "True, False or None")


def read_threads(threads: Any) -> int | None:
    """The number of threads; None: as many as this process may use."""
    return None if threads is None else read_count(threads, "threads", 1, _MOST_THREADS)


def name_among(value: Any, names: Iterable[str]) -> str | None:
    """The one of the names that a text is, be it of a subclass of str; None where it is none."""
    if isinstance(value, str):
        for one in names:
            if str.__eq__(one, value):
                return one
    return None


def read_choice(value: Any, name: str, names: tuple[str, ...]) -> str:
    """The one of the names that `value` is; raise where it is none."""
    found = name_among(value, names)
    if found is None:
        listed = " or ".join(filter(None, (", ".join(map(repr, names[:-1])), repr(names[-1]))))
        raise ValueError(f"{name} must be {listed}, not {shown(value)}")
    return found


def read_progress(progress: Any) -> Any:
    """Return `progress`, checked: None, True, False or a function."""
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress must be None, True, False or a function of (done, total), not {shown(progress)}")
    return progress


_UNITS = {"": 1, **{f"{k}{b}": base**power for power, k in enumerate("KMGT", 1) for b, base in (("B", 1000), ("iB", 1024))}, "B": 1}


def read_memory_limit(value: Any) -> int | None:
    """`memory_limit` in bytes; None where no limit is given."""
    if value is None:
        return None
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([KMGT]?i?B?)\s*", value, re.IGNORECASE)
        unit = next((size for name, size in _UNITS.items() if found and name.lower() == found[2].lower()), None)
        if found is None or unit is None:
            raise ValueError(f"memory_limit must be a number of bytes, or a text such as '2 GiB' or '500 MB'; it is {shown(value)}")
        size = float(found[1]) * unit
        if size > MOST:
            raise ValueError(f"memory_limit must be at most 2^63 - 1 bytes; it is {shown(value)}")
        value = int(size)
    return read_count(value, "memory_limit", 1, needed="a whole number of bytes, or a text such as '2 GiB'")
