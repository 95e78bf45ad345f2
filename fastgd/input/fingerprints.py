"""Fingerprints: SHA-256 of what a caller gave, to tell whether a later call was given the same.

1. Two values have the same fingerprint where they are the same numbers, text and objects of fastgd,
   whatever the library and the layout of arrays. Every value is taken that can be compared; any
   other is refused by name, so that none is passed over.
2. An array is hashed in pieces along its first axis, in place where it is contiguous; a piece of
   another is copied. That takes 1 s for each 1 to 2 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from .messages import kind_of, shown
from .reading import SEQUENCES, columns_of, read
from .sharing import to_numpy

PIECE = 2**24  # bytes of an array that are hashed at a time
_PLAIN = (bool, int, float, complex, str, bytes)


@dataclass(frozen=True)
class Fingerprint:
    """A digest, and the value in a few words."""

    digest: str  # hexadecimal
    words: str


def fingerprint(value: Any, name: str) -> Fingerprint:
    """The fingerprint of an argument; raise where it has a part that cannot be compared."""
    digest = hashlib.sha256()
    _add(digest, value, name)
    return Fingerprint(digest.hexdigest(), _in_words(value))


def _in_words(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"an array {shape} of {getattr(value, 'dtype', 'numbers')}"
    return shown(value)


def _add(digest: Any, value: Any, name: str) -> None:
    """Add a value to a digest: what kind it is, and all that it holds, in a form of its own."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, type):
        _tell(digest, "class", f"{value.__module__}.{value.__qualname__}")
    elif isinstance(value, Enum):
        _tell(digest, "member", f"{type(value).__qualname__}.{value.name}")
    elif value is None or isinstance(value, _PLAIN):
        kind: Any = next((one for one in _PLAIN if isinstance(value, one)), None)  # of a subclass the plain value alone
        _tell(digest, "None" if kind is None else kind.__name__, "" if kind is None else repr(kind(value)))
    elif isinstance(value, Mapping):
        _tell(digest, "mapping", str(len(value)))
        for key, one in value.items():
            _add(digest, key, name)
            _add(digest, one, f"{name}[{key!a:.40}]")
    elif isinstance(value, SEQUENCES):
        _tell(digest, "sequence", str(len(value)))
        for one in value:
            _add(digest, one, name)
    elif is_dataclass(value):
        _tell(digest, "object", f"{type(value).__module__}.{type(value).__qualname__}")
        for each in fields(value):
            _tell(digest, "field", each.name)
            _add(digest, getattr(value, each.name), f"{name}.{each.name}")
    else:
        _add_array(digest, value, name)


def _tell(digest: Any, kind: str, text: str) -> None:
    """Add a kind and a text; their lengths keep neighbours apart."""
    code = text.encode("utf-8", "surrogatepass")
    digest.update(f"{kind} {len(code)} ".encode() + code)


def _add_array(digest: Any, value: Any, name: str) -> None:
    """Add an array or a frame of any library; raise where the value is neither."""
    if callable(value):
        raise TypeError(_refusal(value, name))
    array: Any = value
    if not isinstance(value, np.ndarray):
        try:
            array = to_numpy(value, name)
            array = array if isinstance(array, np.ndarray) else np.asanyarray(array)
        except Exception:  # whatever an __array__ may raise
            raise TypeError(_refusal(value, name)) from None
    if array.dtype.kind in "OV" or columns_of(value) is not None:
        if array.ndim == 0:
            raise TypeError(_refusal(value, name))
        _add_entries(digest, value, array, name)
        return
    mask = np.ma.getmask(array)
    add_numbers(digest, np.asarray(array), None if mask is np.ma.nomask else np.asarray(mask))


def _add_entries(digest: Any, value: Any, array: np.ndarray, name: str) -> None:
    """Add an array of objects, or a frame: of numbers where it can be read so."""
    try:
        numbers = read(value, name)
    except TypeError:
        _tell(digest, "objects", str(array.shape))
        for one in array.flat:
            if not isinstance(one, (*_PLAIN, np.generic, type(None))) and not is_dataclass(one):
                one = str(one)  # a date, or a number that is missing
            _add(digest, one, name)
        return
    add_numbers(digest, numbers.array, numbers.mask)


def add_numbers(digest: Any, array: np.ndarray, mask: np.ndarray | None = None) -> None:
    """Add an array of numbers, text or dates: its dtype, shape and values in C order.

    mask: True where a number is missing, whatever it is.
    """
    _tell(digest, "array" if mask is None else "masked array", f"{array.dtype.str} {array.shape}")
    while array.ndim > 1 and len(array) == 1:
        array, mask = array[0], None if mask is None else mask[0]
    if not array.ndim or not array.size:
        digest.update(array.tobytes())
        return
    rows = max(1, PIECE // max(1, array.nbytes // len(array)))
    for first in range(0, len(array), rows):
        piece = array[first : first + rows]
        if mask is not None:
            missing = mask[first : first + rows]
            digest.update(np.packbits(missing))
            piece = np.where(missing, np.zeros((), array.dtype), piece)
        digest.update(np.ascontiguousarray(piece).view(np.uint8).reshape(-1))


def _refusal(value: Any, name: str) -> str:
    return (
        f"{name} is, or has, a {kind_of(value)}, and a checkpoint cannot tell whether a later call has the same: give numbers, arrays, or "
        "objects of fastgd in its place (for a function of the epoch an array of rates), or leave checkpoint out"
    )
