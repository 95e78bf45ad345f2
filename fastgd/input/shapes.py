"""Shapes: how leading axes broadcast, and which of them only repeat."""

from __future__ import annotations

from collections.abc import Mapping

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
    leading = array.ndim - n_last
    if not leading:
        return array
    index = tuple(slice(0, 1) if array.strides[a] == 0 and array.shape[a] > 1 else slice(None) for a in range(leading))
    return array[index] if index else array
