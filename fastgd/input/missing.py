"""What is missing in the caller's arrays: what a mask hides, and values that mean "no data".

1. The number under a mask is never read. A value of `nodata` is compared with the array as the
   caller stored it, before any conversion: 1e36 is looked for in float32 as float32(1e36).
2. Nothing is copied for that: data/items.py writes NaN in their place where it converts the items
   of a task. Lists, frames and arrays of objects, which are copied anyway, get a mask at once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .messages import shown

_SEVERAL = (list, tuple, set, frozenset)
_MASK = "of data with more give a numpy.ma array, or NaN where a number is missing"
NUMBER_OR_SEVERAL = "a number or several of them, the same for all arrays or in a mapping such as {'y': -9999}"

LARGEST = sys.float_info.max
MOST_NODATA = 1000  # values: each is compared with every number of the data


@dataclass(slots=True)
class Numbers:
    """The numbers of one array that the caller gave, and what of them is missing."""

    array: Any  # of real numbers: NumPy's, or CuPy's where it is on a GPU
    mask: np.ndarray | None = None  # bool, of the array's shape: True where a number is missing; None: nowhere
    nodata: tuple[Any, ...] = ()  # of the array's dtype: values that mean missing
    not_held: frozenset[Any] = frozenset()  # values of the option `nodata` that the dtype cannot hold
    dims: tuple[str, ...] | None = None  # names of the axes, where the array has them

    @property
    def missing(self) -> np.ndarray | None:
        """(the array's shape) bool, new: what is missing; None where nothing is."""
        return missing_in(self.mask, self.array, self.nodata)

    def filled(self) -> Any:
        """The array, with NaN where a number is missing; itself where none is."""
        missing = self.missing
        if missing is None:
            return self.array
        return np.where(missing, np.nan, self.array if self.array.dtype.kind == "f" else self.array.astype(np.float64))


def missing_in(mask: np.ndarray | None, array: np.ndarray, nodata: tuple[Any, ...]) -> np.ndarray | None:
    """What is masked or has a value of `nodata` (in the array's dtype); None where nothing can."""
    for value in nodata:
        same = array == value
        mask = same if mask is None else np.logical_or(mask, same, out=same)
    return mask


def read_nodata(option: Any, names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """The option `nodata` as {name of an array: finite numbers}, for all names."""
    names = tuple(names)
    if not isinstance(option, Mapping):
        return dict.fromkeys(names, _numbers_of(option, "nodata"))
    for name in option:
        if name not in names:
            raise ValueError(f"nodata has an array {shown(name)}; there are: {', '.join(names)}")
    return {name: _numbers_of(option.get(name), f"nodata[{name!r}]") for name in names}


def _numbers_of(option: Any, name: str) -> tuple[Any, ...]:
    """Finite numbers as Python's. NaN and inf are missing without being named."""
    if option is None:
        return ()
    array = isinstance(option, np.ndarray) and not isinstance(option, np.ma.MaskedArray)
    count = option.size if array else len(option) if isinstance(option, _SEVERAL) else 1
    if count > MOST_NODATA:
        raise ValueError(f"{name} must be {NUMBER_OR_SEVERAL}; it has {count:,} values, and {MOST_NODATA:,} are the most: {_MASK}")
    several = option.ravel().tolist() if array else option
    several = tuple(several) if isinstance(several, _SEVERAL) else (several,)
    numbers = tuple(value.item() if isinstance(value, np.number) else value for value in several)
    for value in numbers:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be {NUMBER_OR_SEVERAL}, not {shown(option)}")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"{name} has a number beyond {LARGEST:.2g}, which no array can hold: no number can be missing by it")
    return tuple(value for value in numbers if math.isfinite(value))


def as_stored(numbers: tuple[Any, ...], dtype: np.dtype, rounding: Callable[[float], Any] | None = None) -> dict[Any, Any]:
    """{number: it in this dtype}, without those that the dtype cannot hold.

    rounding: how a number was rounded before it came to be of this dtype; None: as the dtype does.
    """
    held = {}
    for number in numbers:
        try:
            with np.errstate(over="ignore", under="ignore"):
                stored = (rounding or dtype.type)(number)
        except OverflowError:
            continue
        lost = stored != number if dtype.kind in "iub" else not np.isfinite(stored) or (stored == 0) != (number == 0)
        if not lost:
            held[number] = stored
    return held


def refuse_impossible(asked: Mapping[str, tuple[Any, ...]], given: Mapping[str, Numbers]) -> None:
    """Raise where a value of `nodata` is of no use: no array that it is for can hold it."""
    for number in dict.fromkeys(number for name in given for number in asked[name]):
        names = [name for name in given if number in asked[name]]
        if all(number in given[name].not_held for name in names):
            dtypes = " and ".join(f"{name}, of dtype {given[name].array.dtype}," for name in names)
            raise ValueError(f"nodata is {number:g}, which {dtypes} cannot hold: no number there can be missing by it")
