"""Items: one array of many fits, handed out range by range as the kernels want it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ..input.arrays import fetch, strided


@dataclass(frozen=True)
class Items:
    """An array of items (leading axes …, each item of shape `item`), handed out in ranges as the kernels want them."""

    array: np.ndarray
    leading: tuple[int, ...]
    item: tuple[int, ...]
    dtype: np.dtype

    @property
    def count(self) -> int:
        """Number of different items."""
        return math.prod(self.leading)

    def take(self, first: int, stop: int, contiguous: bool = False) -> np.ndarray:
        """Items first … stop-1 as an aligned, read-only array of `dtype`: a view where that serves, else a C-contiguous copy; see 2."""
        part = self._given(first, stop)  # on a GPU only for a message: there the kernels take `flat`
        if contiguous or not self._serves(part) or items_interleave(part):
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, and is found as such
                part = np.require(part, dtype=self.dtype, requirements=["C", "A"])
            part = part.reshape(-1).reshape(part.shape)  # a view; axes of length 1 get the usual strides too: torch looks at them
        part.flags.writeable = False
        return part

    def view(self, first: int, stop: int) -> np.ndarray | None:
        """The same range in whatever layout it has; None where that needs a copy."""
        part = self._view(first, stop)
        if part is None or not self._serves(part):
            return None
        part.flags.writeable = False
        return part

    def flat(self) -> Any:
        """All items, (count, …): a view where one stride runs through them."""
        view = self._view(0, self.count)
        return self.array.reshape(self.count, *self.item) if view is None else view

    def bytes_to_copy(self, n_items: int, tiles: bool = True) -> int:
        """Memory that `take` (`convert`, without tiles) needs for so many items: 0 where there is a view."""
        serves, interleave = self._where_it_lies
        if serves and not (tiles and interleave):
            return 0
        size = self.dtype.itemsize + (self.array.itemsize if self._whole is None else 0)  # picked out, then converted
        return min(n_items, self.count) * math.prod(self.item) * size

    def convert(self, first: int, stop: int, target: np.ndarray) -> None:
        """Write items first … stop-1 into an array of `dtype`, without another copy where they can be run through with one stride."""
        with np.errstate(over="ignore"):
            np.copyto(target, self._given(first, stop), casting="unsafe")

    def _serves(self, part: np.ndarray) -> bool:
        """Whether the kernels can read it as it is."""
        return (
            part.dtype == self.dtype
            and getattr(part.flags, "aligned", True)
            and all(stride % part.itemsize == 0 for stride in part.strides)
        )

    def first_not_finite(self) -> tuple[int, tuple[int, ...], Any] | None:
        """(item, place in it, the value as it was given) of the first value that is not finite in `dtype`."""
        step = max(1, 2**20 // math.prod(self.item))
        for first in range(0, self.count, step):
            wrong = ~np.isfinite(self.take(first, min(first + step, self.count)))
            if wrong.any():
                offset, *where = (int(i) for i in np.argwhere(wrong)[0])
                index = (*(int(i) for i in np.unravel_index(first + offset, self.leading)), *where)
                return first + offset, tuple(where), fetch(self.array[index[: self.array.ndim]])[()]  # 1-D X has no feature axis
        return None

    def _given(self, first: int, stop: int) -> np.ndarray:
        """The range as it was given: a view, or else a copy."""
        part = self._view(first, stop)
        if part is not None:
            return fetch(part)
        return fetch(self.array)[np.unravel_index(np.arange(first, stop), self.leading)].reshape(stop - first, *self.item)

    def _view(self, first: int, stop: int) -> np.ndarray | None:
        """The range without a copy, or None where the leading axes cannot be run through with one stride."""
        return None if self._whole is None else self._whole[first:stop]

    @cached_property
    def _where_it_lies(self) -> tuple[bool, bool]:
        """Whether the kernels can read all items as they are, and whether these interleave."""
        return (False, False) if self._whole is None else (self._serves(self._whole), items_interleave(self._whole))

    @cached_property
    def _whole(self) -> np.ndarray | None:
        """The same of all items."""
        strides = self.array.strides
        moving = [a for a in range(len(self.leading)) if self.leading[a] > 1]
        if any(strides[a] != strides[b] * self.leading[b] for a, b in pairwise(moving)):
            return None
        step = strides[moving[-1]] if moving else 0
        item_strides = strides[len(self.leading) :]
        item_strides += (0,) * (len(self.item) - len(item_strides))  # 1-D X: its feature axis has length 1
        return strided(self.array, (self.count, *self.item), (step, *item_strides))


def items_interleave(part: np.ndarray) -> bool:
    """Whether neighbouring items lie closer together than an item's samples."""
    return len(part) > 1 and part.shape[1] > 1 and 0 < abs(part.strides[0]) < abs(part.strides[1])


def tile(array: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Items first … stop-1 of an array that `Items.view` gave, as `Items.take` would give them."""
    part = array[first:stop]
    if items_interleave(part):
        part = np.ascontiguousarray(part)
        part.flags.writeable = False
    return part
