"""Groups: which rows of a table belong together, told by labels or by offsets.

1. Groups are numbered in the order in which the table first shows them. In a table that is sorted
   by its labels that is the sorted order; it needs labels that are equal or not, no larger and
   smaller ones, and is the same in every library.
2. Labels that are missing (None, NA, NaN, NaT, null) are one label like any other: their rows are a
   group of their own, and are never dropped.
3. Neighbouring rows with equal labels are a run. Runs are found first, in one comparison with the
   row before; only their labels are looked up. A table that is sorted has one run per group, and
   its rows stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..input.messages import counted, kind_of, shown, what_was_raised
from ..input.reading import read_array
from ..input.unreadable import is_missing_kind

_BY_COUNTING = 4  # labels that are whole numbers from a range of this many times as many are counted, not sorted


@dataclass(frozen=True)
class Groups:
    """The rows of each group.

    Attributes
    ----------
    starts : ndarray (n_groups,) of int64
        Where the rows of each group begin in `rows`.
    sizes : ndarray (n_groups,) of int64
        How many rows each group has.
    rows : ndarray (n_rows,) of int64, or None
        The rows of the table, group after group, in a group in the table's order. None: the table
        has that order itself.
    """

    starts: np.ndarray
    sizes: np.ndarray
    rows: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(self.sizes)

    @property
    def first_rows(self) -> np.ndarray:
        """(n_groups,): the first row of each group in the table; none may be empty."""
        return self.starts if self.rows is None else self.rows[self.starts]

    def of_row(self, row: int) -> int:
        """The number of the group that a row of the table belongs to."""
        place = row if self.rows is None else int(np.flatnonzero(self.rows == row)[0])
        return int(np.searchsorted(self.starts + self.sizes, place, side="right"))


@dataclass(frozen=True)
class Labels:
    """One label for each row: values that can be compared, and which of them are missing."""

    values: np.ndarray  # (n_rows,) of numbers, dates or fixed-width text; whatever where missing
    missing: np.ndarray | None = None  # (n_rows,) bool; None: none is


# -- from offsets ----------------------------------------------------------------------------------


def groups_of_offsets(offsets: Any, n_rows: int) -> Groups:
    """Groups of neighbouring rows: group g has rows offsets[g] … offsets[g+1]-1."""
    array = read_array(offsets, "offsets", "a list of whole numbers")
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) < 2:
        raise ValueError(
            f"offsets must be a list of whole numbers from 0 to {n_rows}, one more than there are groups; it has shape {array.shape} "
            f"and dtype {array.dtype}"
        )
    array = array.astype(np.int64)
    sizes = np.diff(array)
    if (sizes < 0).any():
        at = int(np.argmax(sizes < 0))
        raise ValueError(f"offsets must not decrease; offsets[{at + 1}] is {array[at + 1]} after {array[at]}")
    if array[0] != 0 or array[-1] != n_rows:
        raise ValueError(
            f"offsets must begin with 0 and end with the number of rows, {n_rows:,}; they go from {array[0]:,} to {array[-1]:,}, "
            "so rows would belong to no group"
        )
    return Groups(array[:-1].copy(), sizes)


# -- from labels -----------------------------------------------------------------------------------


def columns_of_labels(groups: Any) -> dict[str, Any]:
    """{name: labels of all rows}: of one array of labels, or of several in a mapping or tuple."""
    if isinstance(groups, Mapping):
        named = {str(name): column for name, column in groups.items()}
    elif isinstance(groups, tuple) and groups and all(_is_column(one) for one in groups):
        named = {f"group_{k}": column for k, column in enumerate(groups)}
    else:
        named = {"group": groups}
    if not named:
        raise ValueError("groups is empty: give an array of labels, or several in a tuple or mapping")
    return named


def groups_by(given: Any, n_rows: int, called: str = "groups") -> tuple[Groups, dict[str, np.ndarray]]:
    """(the rows of each group, {name: label of each group}) of labels of all rows, one or several.

    called: the option, for errors.
    """
    columns = columns_of_labels(given)
    read = {name: read_labels(column, called if len(columns) == 1 else f"{called}[{name!a}]", n_rows) for name, column in columns.items()}
    found = groups_of_labels([labels for labels, _ in read.values()])
    return found, {name: as_given[found.first_rows] for name, (_, as_given) in read.items()}


def _is_column(value: Any) -> bool:
    return not isinstance(value, str | bytes) and (isinstance(value, Sequence) or hasattr(value, "__array__"))


def read_labels(column: Any, name: str, n_rows: int) -> tuple[Labels, np.ndarray]:
    """(labels that can be compared, the labels as they are given) of an array or list."""
    given = _as_array(column, name)
    if given.ndim != 1 or len(given) != n_rows:
        raise ValueError(f"{name} must have a label for each of the {counted(n_rows, 'row')} of X; it has shape {given.shape}")
    missing = np.ma.getmaskarray(given) if isinstance(given, np.ma.MaskedArray) else None
    plain = np.asarray(given)
    if missing is not None:
        given = plain.astype(object)
        given[missing] = None
    return comparable(plain, missing, name), given


def _as_array(column: Any, name: str) -> np.ndarray:
    if isinstance(column, str | bytes | Mapping | set) or not _is_column(column) or getattr(column, "ndim", 1) == 0:
        raise TypeError(f"{name} must be an array of labels, one for each row, not {kind_of(column)} ({shown(column)})")
    try:
        if isinstance(column, list | tuple):
            array = np.empty(len(column), object)
            array[:] = column
            numbers = {type(label) for label in column}
            return np.array(column) if len(numbers) == 1 and numbers <= {int, str, bool} else array
        return np.asanyarray(column)
    except Exception as error:  # whatever an __array__ may raise
        raise TypeError(f"{name} cannot be read as an array of labels: {what_was_raised(error)}") from None


def comparable(values: np.ndarray, missing: np.ndarray | None, name: str) -> Labels:
    """Labels of a kind that NumPy compares at once."""
    kind = values.dtype.kind
    if kind in "biuUS":
        return Labels(values, missing)
    if kind == "f":
        missing = _either(missing, np.isnan(values))
        return Labels(values + 0.0, missing)  # −0.0 is 0.0
    if kind in "mM":
        return Labels(values.view(np.int64), _either(missing, np.isnat(values)))
    if kind == "O":
        return _numbered(values, missing, name)
    raise TypeError(f"{name} must be labels: numbers, text, dates or Python objects that can be hashed; it has dtype {values.dtype}")


def _either(a: np.ndarray | None, b: np.ndarray) -> np.ndarray | None:
    both = b if a is None else a | b
    return both if both.any() else None


def _numbered(values: np.ndarray, missing: np.ndarray | None, name: str) -> Labels:
    """Labels of Python objects as numbers; equal objects have equal numbers."""
    known: dict[Any, int] = {}
    gone = {kind for kind in set(map(type, values)) if is_missing_kind(kind)}
    try:
        codes = [-1 if type(label) in gone or label != label else known.setdefault(label, len(known)) for label in values.tolist()]
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} has a label that cannot be hashed or compared: {error}") from None
    numbers = np.array(codes, np.int64)
    return Labels(numbers, _either(missing, numbers < 0))


def groups_of_labels(columns: Sequence[Labels]) -> Groups:
    """Groups of the rows whose labels are all equal, in the order of their first rows."""
    n_rows = len(columns[0].values)
    begins = np.zeros(n_rows, bool)
    begins[:1] = True
    for labels in columns:
        begins[1:] |= _differ_from_before(labels)
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=n_rows)
    codes = _codes(columns, starts)
    count = int(codes.max(initial=-1)) + 1
    if count == len(starts):  # every run is a group
        return Groups(starts, lengths)
    sizes = np.bincount(codes, lengths).astype(np.int64)  # sums of float64, exact below 2^53
    order = order_of(codes)
    if len(starts) < n_rows:
        starts, lengths = starts.take(order), lengths.take(order)
        ends = np.cumsum(lengths)
        order = np.arange(n_rows) + np.repeat(starts - (ends - lengths), lengths)
    return Groups(np.cumsum(sizes) - sizes, sizes, order)


def _differ_from_before(labels: Labels) -> np.ndarray:
    """(n_rows - 1,) bool: whether a label is not that of the row before."""
    differ: np.ndarray = labels.values[1:] != labels.values[:-1]
    if labels.missing is None:
        return differ
    now, before = labels.missing[1:], labels.missing[:-1]
    return np.where(now | before, now != before, differ)


def _codes(columns: Sequence[Labels], rows: np.ndarray) -> np.ndarray:
    """(m,) int64: numbers 0, 1, … of the groups of some rows, in the order of first appearance."""
    codes = np.zeros(len(rows), np.int64)
    for k, labels in enumerate(columns):
        own, count = _number(labels.values[rows])
        if labels.missing is not None:
            own, count = np.where(labels.missing[rows], count, own), count + 1
        codes = own if k == 0 else _number(codes * count + own)[0]  # below 2^63: each is below 4 m + 1
    return _by_first_appearance(codes)


def _number(values: np.ndarray) -> tuple[np.ndarray, int]:
    """(numbers ≥ 0 of values, equal ones of equal values; a number above them)."""
    if values.dtype.kind in "biu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < _BY_COUNTING * len(values):
            above = values - np.uint64(low) if values.dtype == np.uint64 else values.astype(np.int64) - low
            return above.astype(np.int64), high - low + 1
    different, numbers = np.unique(values, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64), len(different)


def _by_first_appearance(codes: np.ndarray) -> np.ndarray:
    """The codes 0, 1, …, in the order in which they first appear."""
    if not len(codes):
        return codes
    first = np.full(int(codes.max()) + 1, -1, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal codes the last one that is written stays: the first
    different = np.flatnonzero(first >= 0)
    number = np.empty(len(first), np.int64)
    number[different[np.argsort(first[different])]] = np.arange(len(different))
    return number[codes]


def order_of(codes: np.ndarray) -> np.ndarray:
    """The stable order of numbers ≥ 0, by 16 bits at a time: NumPy sorts these by counting."""
    order = np.argsort((codes & 0xFFFF).astype(np.uint16), kind="stable")
    left = codes >> 16
    while left.any():
        order = order.take(np.argsort((left.take(order) & 0xFFFF).astype(np.uint16), kind="stable"))
        left = left >> 16
    return order
