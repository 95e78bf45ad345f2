"""Items: the data of many fits in one array, read range by range in a form for the kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..input.missing import missing_in
from ..input.sharing import fetch, strided

Where = slice | np.ndarray  # a range of items, or the numbers of some
ALL = slice(None)


@dataclass
class Items:
    """An array (*leading, *item) of items; an item is the X, the y or the weights of one fit.

    The kernels read any layout, so a range of items is a view where that is possible. It is a copy
    where the dtype differs, where no single stride runs through the leading axes, and where items
    interleave, as in rasters with the time first: a view would use one number of each cache line.
    Where numbers may be missing it is always a copy, with NaN in their place.
    """

    array: np.ndarray  # as the caller gave it; on a GPU CuPy's
    leading: tuple[int, ...]  # lengths of the leading axes; an axis that only repeats has length 1
    item: tuple[int, ...]  # shape of one item: (n, d) for X, (n,) for y and weights
    dtype: np.dtype  # of the computation
    mask: Items | None = None  # of bool: True where a number is missing, whatever it is
    nodata: tuple[Any, ...] = ()  # of the array's dtype: values that mean missing
    _whole: np.ndarray | None = field(init=False, repr=False)  # all items as one view, if a single stride runs through them
    as_it_is: bool = field(init=False, repr=False)  # `take` returns views of it
    picks_at_once = False  # whether items that lie apart are copied in one step, not one by one

    def __post_init__(self) -> None:
        self._whole = whole = self._as_one_view()
        self.as_it_is = isinstance(whole, np.ndarray) and self._serves(whole) and not items_interleave(whole)

    def of_another(self, array: np.ndarray | None) -> Items:
        """The items of another array of this shape and dtype, C-contiguous and aligned; or of none.

        The kernels read these items as they are, whatever numbers are in them.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.array, other.as_it_is = array, array is not None  # type: ignore[assignment]
        other._whole = None if array is None else array.reshape(self.count, *self.item)
        return other

    @property
    def count(self) -> int:
        """Number of different items."""
        return math.prod(self.leading)

    @property
    def may_miss(self) -> bool:
        """Whether numbers may be missing that are not NaN."""
        return self.mask is not None or self.nodata != ()

    @property
    def lies_apart(self) -> bool:
        """Whether the kernels read items as they are, and their samples lie apart in memory."""
        whole = self._whole
        return whole is not None and self._serves(whole) and whole.shape[1] > 1 and whole.strides[1] != whole.itemsize

    def take(self, first: int, stop: int, contiguous: bool = False) -> np.ndarray:
        """Items first … stop-1, aligned, read-only, of `dtype`: a view, or a contiguous copy."""
        if self.as_it_is and not contiguous:
            part = self._whole[first:stop]  # type: ignore[index]
            part.flags.writeable = False
            return part
        # data on a GPU come here only for an error message: the CUDA kernels take `flat`
        part = self.as_given(first, stop)
        if self.may_miss:
            part = np.empty(part.shape, self.dtype)
            self.convert(first, stop, part)
        elif contiguous or not self._serves(part) or items_interleave(part):
            with np.errstate(over="ignore"):  # too large for float32: inf, which the kernels find
                part = np.require(part, dtype=self.dtype, requirements=["C", "A"])
            # a view whose axes of length 1 have the usual strides, too: torch checks them
            part = part.reshape(-1).reshape(part.shape)
        part.flags.writeable = False
        return part

    def pick(self, where: Where, rows: slice | np.ndarray) -> np.ndarray:
        """A copy of these rows (samples) of some items, of `dtype`; NaN where one is missing."""
        part = self._at(where, rows)
        converted = np.empty(part.shape, self.dtype)
        self._convert(where, converted, rows)
        return converted

    def view(self, first: int, stop: int) -> np.ndarray | None:
        """Items first … stop-1 in any layout, read-only; None where that needs a copy."""
        part = self._view(first, stop)
        if part is None or not self._serves(part):
            return None
        part.flags.writeable = False
        return part

    def flat(self) -> Any:
        """All items, (count, *item): a view where one stride runs through them, else a copy."""
        view = self._view(0, self.count)
        return self.array.reshape(self.count, *self.item) if view is None else view

    def bytes_to_copy(self, n_items: int, tiles: bool = True) -> int:
        """Bytes that `take` copies for n_items items, 0 for views; tiles=False: for `convert`."""
        serves, interleave = self._serves_and_interleaves
        if serves and not (tiles and interleave):
            return 0
        # without one stride, items are picked out first, and converted then
        size = self.dtype.itemsize + (self.array.itemsize if self._whole is None else 0) + (3 if self.may_miss else 0)
        return min(n_items, self.count) * math.prod(self.item) * size

    def convert(self, first: int, stop: int, target: np.ndarray) -> None:
        """Write items first … stop-1 into `target` (stop - first, …), which has `dtype`.

        They are copied a second time only where no single stride runs through the leading axes.
        """
        self._convert(slice(first, stop), target)

    def _convert(self, where: Where, target: np.ndarray, rows: slice | np.ndarray = ALL) -> None:
        with np.errstate(over="ignore"):
            np.copyto(target, self._at(where, rows), casting="unsafe")
        missing = self.missing(where, rows)
        if missing is not None:
            np.copyto(target, np.nan, where=missing)

    def missing(self, where: Where, rows: slice | np.ndarray = ALL) -> np.ndarray | None:
        """(items, …) bool: which numbers of these items are missing; None: none can be."""
        if not self.may_miss:
            return None
        return missing_in(None if self.mask is None else self.mask._at(where, rows), self._at(where, rows), self.nodata)

    def _serves(self, part: np.ndarray) -> bool:
        """Whether the kernels can read `part` as it is."""
        return (
            not self.may_miss
            and part.dtype == self.dtype
            and getattr(part.flags, "aligned", True)
            and not any([stride % part.itemsize for stride in part.strides])
        )

    def as_given(self, first: int, stop: int) -> np.ndarray:
        """Items first … stop-1 in the caller's dtype, as NumPy's: a view where possible."""
        return self._at(slice(first, stop))

    def _at(self, where: Where, rows: slice | np.ndarray = ALL) -> np.ndarray:
        """Rows of items in the caller's dtype, as NumPy's: of a range a view where possible."""
        if isinstance(where, np.ndarray) and int(where[-1]) - int(where[0]) + 1 == len(where):
            where = slice(int(where[0]), int(where[-1]) + 1)
        whole: Any = self._whole  # on a GPU CuPy's, which takes no index of NumPy's
        if whole is not None and isinstance(where, np.ndarray) and not isinstance(whole, np.ndarray):
            return np.asarray(fetch(whole[int(where[0]) : int(where[-1]) + 1, rows])[where - where[0]])
        if whole is not None:
            return np.asarray(fetch(whole[where, rows]))
        numbers = np.arange(where.start, where.stop) if isinstance(where, slice) else where
        found = fetch(self.array)[(*np.unravel_index(numbers, self.leading), rows)]
        return found.reshape(len(numbers), -1, *self.item[1:])

    def _view(self, first: int, stop: int) -> np.ndarray | None:
        """Items first … stop-1 without a copy; None if no single stride runs through them."""
        return None if self._whole is None else self._whole[first:stop]

    @property
    def _serves_and_interleaves(self) -> tuple[bool, bool]:
        """(whether the kernels can read all items as they are, whether items interleave)."""
        return (False, False) if self._whole is None else (self._serves(self._whole), items_interleave(self._whole))

    def _as_one_view(self) -> np.ndarray | None:
        """All items as one strided view; None if no single stride runs through them."""
        if isinstance(self.array, np.ndarray) and self.array.flags.c_contiguous:
            return self.array.reshape(self.count, *self.item)
        strides = self.array.strides
        moving = [a for a in range(len(self.leading)) if self.leading[a] > 1]
        if any(strides[a] != strides[b] * self.leading[b] for a, b in pairwise(moving)):
            return None
        step = strides[moving[-1]] if moving else 0
        item_strides = strides[len(self.leading) :]
        # a 1-D X has no stride for the feature axis, whose length is 1
        item_strides += (0,) * (len(self.item) - len(item_strides))
        return strided(self.array, (self.count, *self.item), (step, *item_strides))


def items_interleave(part: np.ndarray) -> bool:
    """Whether neighbouring items lie closer together in memory than samples of one item."""
    return len(part) > 1 and part.shape[1] > 1 and 0 < abs(part.strides[0]) < abs(part.strides[1])


def tile(array: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Items first … stop-1 of a view by `Items.view`; a contiguous copy where they interleave."""
    part = array[first:stop]
    if items_interleave(part):
        part = np.ascontiguousarray(part)
        part.flags.writeable = False
    return part
