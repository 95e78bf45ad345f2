"""GroupProblem: groups of rows of one table, each the samples of a fit of its own.

1. A fit has the same bits in any batch (docs/arithmetic.md), so a group has those of the same fit
   done alone.
2. Groups of unlike sizes are one batch where the kernels of the CPU read them as they lie in the
   table: `is_ragged`. A table in the order of its groups, whose numbers serve as they are, is not
   copied at all; else a task copies the rows of its own groups, in the dtype of the computation and
   with NaN where a number is missing.
3. Else groups of equal size are one batch (k, n, d) like any other. A task copies the rows of its
   own groups, group after group (`GroupItems`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .items import ALL, Items, Where
from .labels import Groups
from .problem import Problem


@dataclass
class GroupItems(Items):
    """Items that are groups of n rows: `array` has all rows of a table along one axis.

    The last of the leading axes are the groups.
    """

    starts: np.ndarray = field(kw_only=True)  # (k,) where the rows of each group begin: in `order`, or in the table
    order: np.ndarray | None = field(kw_only=True)  # (n_rows,) rows of the table, group after group; None: the table's order
    picks_at_once = True

    def _as_one_view(self) -> np.ndarray | None:
        return None

    def flat(self) -> Any:
        """All items, (count, *item): a copy."""
        return self._at(ALL)

    def _at(self, where: Where, rows: slice | np.ndarray = ALL) -> np.ndarray:
        numbers = np.arange(*where.indices(self.count)) if isinstance(where, slice) else where
        *place, group = np.unravel_index(numbers, self.leading)
        begins, (n, *rest) = self.starts[group], self.item
        if self.order is None and n and isinstance(rows, slice):
            part = self._windows(rows)[(*place, begins)]
        else:
            places = begins[:, None] + np.arange(n)[rows]
            places = places if self.order is None else self.order[places]
            if place or not self.array.flags.c_contiguous:
                part = self.array[(*(one[:, None] for one in place), places)]
            else:  # five times as fast
                part = self.array.take(places, axis=0)
        return part.reshape(len(numbers), -1 if part.size else len(np.arange(n)[rows]), *rest)

    def _windows(self, rows: slice) -> np.ndarray:
        """Views of n rows each, one for each row of the table that they may begin with."""
        n, array, axis = self.item[0], self.array, len(self.leading) - 1
        shape, strides = array.shape, array.strides
        of_a_row, length = shape[axis + 1 :], shape[axis] - n + 1
        if rows == ALL and array.flags.c_contiguous:  # a window is one stretch of numbers, copied ten times as fast
            windows = (*shape[:axis], length, n * math.prod(of_a_row)), (*strides[: axis + 1], array.itemsize)
            return np.lib.stride_tricks.as_strided(array, *windows, writeable=False)
        windows = (*shape[:axis], length, n, *of_a_row), (*strides[: axis + 1], *strides[axis:])
        return np.lib.stride_tricks.as_strided(array, *windows, writeable=False)[(*[ALL] * axis, ALL, rows)]


@dataclass
class GroupProblem(Problem):
    """Fits of groups of rows; the last of the leading axes are the groups."""

    groups: Groups = field(kw_only=True)
    table: Problem = field(kw_only=True)  # of all rows, as if they were the samples of one fit
    is_ragged: bool = field(default=False, kw_only=True)  # the groups have unlike sizes, and are read as rows of the table

    @property
    def may_lose_samples(self) -> bool:
        """Whether some fits may have fewer samples than others."""
        return self.is_ragged or super().may_lose_samples

    @property
    def usual_samples(self) -> float:
        """How many samples a fit has on average; how the work is cut depends on it, no bit does."""
        return float(self.groups.sizes.mean()) if self.is_ragged else float(self.n_samples)

    @classmethod
    def of_table(cls, table: Problem, groups: Groups, is_ragged: bool = False) -> GroupProblem:
        """The problem of these groups of the rows of a table; n_samples is that of the largest."""
        n, order = int(groups.sizes.max(initial=0)), groups.rows
        given = {each.name: getattr(table, each.name) for each in fields(Problem)}
        items = {name: _in_groups(given[name], groups.starts, order, n) for name in ("X", "y", "weights")}
        leading = (*table.leading, groups.count)
        return cls(**(given | items | {"leading": leading, "n_samples": n}), groups=groups, table=table, is_ragged=is_ragged)

    def rows_of(self, which: np.ndarray) -> np.ndarray:
        """(k, n): the rows of the table of k groups of equal size."""
        places = self.groups.starts[which][:, None] + np.arange(int(self.groups.sizes[which[0]]))
        return places if self.groups.rows is None else self.groups.rows[places]

    def of_groups(self, which: np.ndarray) -> GroupProblem:
        """The problem of some of the groups; `is_ragged` where they have unlike sizes."""
        groups = self.groups
        sizes = groups.sizes[which]
        is_ragged = bool(len(which)) and bool((sizes != sizes[0]).any())
        return self.of_table(self.table, Groups(groups.starts[which], sizes, groups.rows), is_ragged)

    def rows_of_range(self, first: int, stop: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """([X, y, perhaps weights], begins, sizes) of groups first … stop-1: rows and their places.

        Of a row there is (1, d) of X, and (1,) of the others: in order, read-only, of `dtype`.
        """
        starts, sizes = self.groups.starts[first:stop], self.groups.sizes[first:stop]
        table = [items for items in (self.table.X, self.table.y, self.table.weights) if items is not None]
        low, high = int(starts.min()), int((starts + sizes).max())
        together = int(sizes.sum())
        rows: slice | np.ndarray = slice(low, high)
        begins = starts - low
        views = [items.view(0, 1) if self.groups.rows is None else None for items in table]
        if self.groups.rows is not None or (any(view is None for view in views) and 2 * together < high - low):
            begins = np.cumsum(sizes) - sizes
            rows = np.repeat(starts - begins, sizes) + np.arange(together)
            views = [None] * len(table)
            if self.groups.rows is not None:
                rows = self.groups.rows[rows]
        return [_as_items(items, view, rows) for items, view in zip(table, views, strict=True)], begins, sizes


def _taken(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """These rows of a table; column by column where it lies so, which is some times as fast."""
    if table.ndim == 1 or abs(table.strides[1]) < abs(table.strides[0]):
        return table.take(rows, axis=0)
    found = np.empty((table.shape[1], len(rows)), table.dtype)
    for j, column in enumerate(table.T):
        column.take(rows, out=found[j], mode="clip")  # which needs no buffer; all rows are there
    return found.T


def _as_items(items: Items, view: np.ndarray | None, rows: slice | np.ndarray) -> np.ndarray:
    """(n_rows, 1, …): rows of the only item, each as an item of one sample. view: of the item."""
    as_it_is = items.view(0, 1) if view is None else view
    if as_it_is is None:
        found = items.pick(slice(0, 1), rows)[0]
    else:
        found = as_it_is[0][rows] if isinstance(rows, slice) else _taken(as_it_is[0], rows)
    step, *others = found.strides
    return np.lib.stride_tricks.as_strided(found, (len(found), 1, *found.shape[1:]), (step, step, *others), writeable=False)


def _in_groups(items: Items | None, starts: np.ndarray, order: np.ndarray | None, n: int) -> GroupItems | None:
    """The items of a table as items of its groups of n rows."""
    if items is None:
        return None
    leading = (*items.leading, len(starts))
    mask = None if items.mask is None else _in_groups(items.mask, starts, order, n)
    return GroupItems(items.array, leading, (n, *items.item[1:]), items.dtype, mask, items.nodata, starts=starts, order=order)
