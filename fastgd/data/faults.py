"""Error messages that name the first number of the data that is not finite or negative."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..input.sharing import fetch
from .fit_order import FitOrder
from .items import Items
from .problem import Problem

MOST_AT_A_TIME = 2**20  # numbers that are searched in one step
BYTES_OF_A_NUMBER = 64  # at most, while it is searched: as given, converted, and what is found of it

# (name of the array, number of the item, index within the item)
Found = tuple[str, int, tuple[int, ...]]


def where_not_finite(problem: Problem, limit: int | None = None) -> str:
    """Name the first number that is not finite and has a weight > 0, and say what to do.

    limit: bytes that the search may take; None: as many as make it fast.
    """
    at_a_time = _numbers_at_a_time(limit)
    found = _first_of_the_data(problem, at_a_time) if problem.weights is None else _first_that_counts(problem, at_a_time)
    if found is None:
        raise AssertionError("the data are finite, but their moments are not: please report this")
    name, item, (row, *column) = found
    items = dict(_arrays(problem))[name]
    feature = f", feature {column[0]}" if column and not problem.one_feature else ""
    if column and problem.features is not None:
        feature += f" ({problem.features[column[0]]!a})"
    where = f"in row {row}{feature}{_fit_named(problem, items, item)}"
    advice = "give nan_policy='omit' to leave such samples out, or 'propagate' to get NaN for such fits alone"
    value = _given(items, item, [row, *column])
    missing = items.missing(slice(item, item + 1), slice(row, row + 1))
    if missing is not None and missing[(0, 0, *column)]:
        if items.mask is not None and _given(items.mask, item, [row, *column]):
            return f"{name} is missing (masked, None or NA) {where}: {advice}; or fill it in (a masked array by {name}.filled(value))"
        return f"{name} is the nodata value {value:g} {where}: {advice}"
    if np.isfinite(value):
        return f"{name} is too large for {problem.dtype}: {value:g} {where}; give dtype='float64'"
    return f"{name} is not finite: {value:g} {where}. Clean the data, or {advice}"


def where_negative(problem: Problem, limit: int | None = None) -> str:
    """Name the first negative weight; limit as in `where_not_finite`."""
    assert problem.weights is not None
    found = _first_item(problem.weights, lambda weights: (weights < 0) & np.isfinite(weights), _numbers_at_a_time(limit))
    if found is None:
        raise AssertionError("no weight is negative: please report this")
    item, (row,) = found
    value = _given(problem.weights, item, [row])
    return f"sample_weight must be at least 0; it is {value:g} in row {row}{_fit_named(problem, problem.weights, item)}"


def _arrays(problem: Problem) -> list[tuple[str, Items]]:
    """(name, array) in the order in which they are searched."""
    weights = [] if problem.weights is None else [("sample_weight", problem.weights)]
    return [*weights, ("X", problem.X), ("y", problem.y)]


def _numbers_at_a_time(limit: int | None) -> int:
    return MOST_AT_A_TIME if limit is None else min(MOST_AT_A_TIME, max(1, limit // BYTES_OF_A_NUMBER))


def _blocks(count: int, n_samples: int, of_a_sample: int, at_a_time: int) -> Iterator[tuple[slice, list[slice]]]:
    """(items, rows): many items at a time with all rows, or one item with some rows at a time.

    of_a_sample: numbers of each.
    """
    items, rows = max(1, at_a_time // (n_samples * of_a_sample)), max(1, at_a_time // of_a_sample)
    for first in range(0, count, items):
        yield slice(first, min(first + items, count)), [slice(start, min(start + rows, n_samples)) for start in range(0, n_samples, rows)]


def _first_item(items: Items, wrong: Callable[[np.ndarray], np.ndarray], at_a_time: int) -> tuple[int, tuple[int, ...]] | None:
    """(number of the item, index in it) of the first number that is wrong."""
    n_samples, *columns = items.item
    for where, rows in _blocks(items.count, n_samples, math.prod(columns), at_a_time):
        for some in rows:
            here = wrong(items.pick(where, some))
            if here.any():
                offset, row, *column = (int(i) for i in np.argwhere(here)[0])
                return where.start + offset, (some.start + row, *column)
    return None


def _not_finite(numbers: np.ndarray) -> np.ndarray:
    return ~np.isfinite(numbers)


def _first_of_the_data(problem: Problem, at_a_time: int) -> Found | None:
    """The first number of X, else of y, that is not finite in the problem's dtype."""
    for name, items in _arrays(problem):
        found = _first_item(items, _not_finite, at_a_time)
        if found is not None:
            return name, *found
    return None


def _first_that_counts(problem: Problem, at_a_time: int) -> Found | None:
    """The first number that is not finite in a sample whose weight is not 0."""
    assert problem.weights is not None
    order = FitOrder.of(problem.leading, problem.gram_leading, problem.y.leading)
    for where, rows in _blocks(order.n_pairs, problem.n_samples, problem.n_features + 2, at_a_time):
        pairs = np.arange(where.start, where.stop) * order.n_cells
        for name, items in _arrays(problem):
            # items that many fits share are searched once
            numbers, places = np.unique(order.index(items.leading, pairs), return_inverse=True)
            for some in rows:
                wrong = _not_finite(items.pick(numbers, some))
                bad = np.flatnonzero(np.logical_or.reduce(wrong.reshape(len(wrong), -1), axis=1)[places])
                if not len(bad):
                    continue
                in_use = _counts(problem.weights, order, pairs[bad], some)
                here = np.argwhere(wrong[places[bad]] & (in_use[..., None] if wrong.ndim == 3 else in_use))
                if len(here):
                    place, row, *column = (int(i) for i in here[0])
                    return name, int(numbers[places[bad[place]]]), (some.start + row, *column)
    return None


def _counts(weights: Items, order: FitOrder, fits: np.ndarray, rows: slice) -> np.ndarray:
    """(fits, rows) bool: whether the weights of these samples are not 0."""
    numbers, places = np.unique(order.index(weights.leading, fits), return_inverse=True)
    counts: np.ndarray = weights.pick(numbers, rows) != 0
    return counts[places]


def _given(items: Items, item: int, where: list[int]) -> Any:
    """A value as the caller gave it, before it was converted."""
    index = (*(int(i) for i in np.unravel_index(item, items.leading)), *where)
    value = fetch(items.array[index[: items.array.ndim]])[()]  # a 1-D X has no feature axis
    return value if value.dtype.kind in "fiub" else float(value)


def _fit_named(problem: Problem, items: Items, item: int) -> str:
    """' of fit i of m', by the caller's indices: the first fit with this item; '' where m = 1."""
    n_fits = math.prod(problem.leading)
    if n_fits == 1:
        return ""
    index = tuple(int(i) for i in np.unravel_index(item, items.leading))
    padded = (0,) * (len(problem.leading) - len(index)) + index
    return f" of fit {padded[0] if len(padded) == 1 else padded} of {n_fits:,}"
