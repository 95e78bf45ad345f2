"""GroupProblem: groups of rows of one table, each the samples of a fit of its own.

1. Groups of equal size are one batch (k, n, d), and nothing else in the house knows of groups. A
   fit has the same bits in any batch (docs/arithmetic.md), so a group has those of the same fit
   done alone.
2. The table is never copied as a whole. A task copies the rows of its own groups, group after group
   (`GroupItems`), in the dtype of the computation and with NaN where a number is missing, which
   most other layouts need too.
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

    def _at(self, where: Where, rows: slice = ALL) -> np.ndarray:
        numbers = np.arange(*where.indices(self.count)) if isinstance(where, slice) else where
        *place, group = np.unravel_index(numbers, self.leading)
        begins, (n, *rest) = self.starts[group], self.item
        if self.order is None and n:
            part = self._windows(rows)[(*place, begins)]
        else:
            places = begins[:, None] + np.arange(n)[rows]
            places = places if self.order is None else self.order[places]
            if place or not self.array.flags.c_contiguous:
                part = self.array[(*(one[:, None] for one in place), places)]
            else:  # five times as fast
                part = self.array.take(places, axis=0)
        return part.reshape(len(numbers), len(range(n)[rows]), *rest)

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

    @classmethod
    def of_table(cls, table: Problem, groups: Groups) -> GroupProblem:
        """The problem of these groups of the rows of a table; n_samples is that of the largest."""
        n, order = int(groups.sizes.max(initial=0)), groups.rows
        given = {each.name: getattr(table, each.name) for each in fields(Problem)}
        items = {name: _in_groups(given[name], groups.starts, order, n) for name in ("X", "y", "weights")}
        leading = (*table.leading, groups.count)
        return cls(**(given | items | {"leading": leading, "n_samples": n}), groups=groups, table=table)

    def rows_of(self, which: np.ndarray) -> np.ndarray:
        """(k, n): the rows of the table of k groups of equal size."""
        places = self.groups.starts[which][:, None] + np.arange(int(self.groups.sizes[which[0]]))
        return places if self.groups.rows is None else self.groups.rows[places]

    def of_groups(self, which: np.ndarray) -> GroupProblem:
        """The problem of some of the groups."""
        groups = self.groups
        return self.of_table(self.table, Groups(groups.starts[which], groups.sizes[which], groups.rows))


def _in_groups(items: Items | None, starts: np.ndarray, order: np.ndarray | None, n: int) -> GroupItems | None:
    """The items of a table as items of its groups of n rows."""
    if items is None:
        return None
    leading = (*items.leading, len(starts))
    mask = None if items.mask is None else _in_groups(items.mask, starts, order, n)
    return GroupItems(items.array, leading, (n, *items.item[1:]), items.dtype, mask, items.nodata, starts=starts, order=order)
