"""The arrays that a call was given, wherever they are in its arguments.

They are found by what they are, not by the names of arguments: an argument that is added later is
among them without a change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .messages import shown
from .reading import SEQUENCES, columns_of
from .sharing import HOST, device_of, to_cupy, to_numpy

_MARKS = ("__array__", "__array_interface__", "__dlpack__", "__cuda_array_interface__")


def arrays_given(value: Any, name: str, device: int | None, lazily: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield (name, array) of every array in a value, which is an argument or lies in one.

    The arrays are NumPy's (on the GPU `device` CuPy's) and share memory with the caller's; those in
    other memory are left out. lazily: leave out what has no numbers until it is read.
    """
    if isinstance(value, np.ndarray):
        if device is None:
            yield name, np.asarray(value)
            if isinstance(value, np.ma.MaskedArray) and value.mask is not np.ma.nomask:
                yield f"the mask of {name}", value.mask
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from arrays_given(getattr(value, field.name), f"{name}.{field.name}", device)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from arrays_given(inner, f"{name}[{shown(key)}]", device)
    elif isinstance(value, SEQUENCES):
        for k, entry in enumerate(value):
            if not isinstance(entry, int | float):
                yield from arrays_given(entry, f"{name}[{k}]", device)
    elif not isinstance(value, HOST):
        columns = columns_of(value) or ()
        for label, column in columns:
            yield from arrays_given(column, f"{name}[{shown(label)}]", device)
        if not columns and any(hasattr(type(value), mark) for mark in _MARKS) and device_of(value) == device:
            found = to_numpy(value, name) if device is None else to_cupy(value, name)
            if device is not None or not lazily or isinstance(found, np.ndarray):
                yield name, found if device is not None else np.asarray(found)


def same_place(a: Any, b: Any) -> bool:
    """Whether two arrays of NumPy or CuPy are the same numbers in the same order and memory."""
    return _layout(a) == _layout(b)


def holds_a_place_twice(array: Any) -> bool:
    """Whether two entries of an array may lie in the same memory, as after numpy.broadcast_to."""
    reach = array.itemsize
    for stride, length in sorted((abs(stride), length) for stride, length in zip(array.strides, array.shape, strict=True)):
        if length > 1 and stride < reach:
            return True
        reach += stride * (length - 1)
    return False


def _layout(array: Any) -> tuple[Any, ...]:
    """What is the same for two arrays with the same numbers in the same memory."""
    address = array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr
    steps = tuple(stride for stride, length in zip(array.strides, array.shape, strict=True) if length > 1)
    return address, array.dtype, array.shape, steps
