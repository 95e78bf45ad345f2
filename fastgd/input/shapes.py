"""Shapes: how leading axes broadcast, and which of them only repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def broadcast(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that these shapes broadcast to; the error for shapes that do not names them."""
    result = [1] * max(map(len, shapes.values()))
    for shape in shapes.values():
        for axis, length in enumerate(shape, len(result) - len(shape)):
            if length != 1 and result[axis] not in (1, length):
                listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
                raise ValueError(f"leading axes do not broadcast against each other: {listed}")
            result[axis] = max(result[axis], length)
    return tuple(result)


def without_repeats(array: np.ndarray, n_last: int) -> np.ndarray:
    """A view in which leading axes of stride 0 have length 1; the last n_last axes stay."""
    return array[axes_that_repeat(n_last, array)] if array.ndim > n_last and 0 in array.strides else array


def differ_in_size(parts: Iterable[Any]) -> bool:
    """Whether parts of a row, where they are arrays, are not equally many numbers: w and more."""
    try:
        return len({np.size(part) for part in parts}) > 1
    except Exception:  # whatever an __array__ may raise, or a list that is too deep
        return False


def first_true(array: np.ndarray) -> tuple[int, ...]:
    """The index of the first True in an array of bool, which has one."""
    array = without_repeats(array, 0)
    return tuple(int(i) for i in np.unravel_index(int(array.argmax()), array.shape))


def axes_that_repeat(n_last: int, *arrays: np.ndarray) -> tuple[slice, ...]:
    """The index that keeps one of each leading axis that has stride 0 in all of these arrays.

    The arrays have one shape; their last n_last axes stay.
    """
    shape = arrays[0].shape
    repeat = (not any(array.strides[axis] for array in arrays) for axis in range(len(shape) - n_last))
    return tuple(slice(0, 1) if only and shape[axis] > 1 else slice(None) for axis, only in enumerate(repeat))
