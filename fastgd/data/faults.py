"""Error messages that name the first number of the data that is not finite or negative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..input.sharing import fetch
from .fit_order import FitOrder
from .items import Items
from .problem import Problem

NUMBERS_AT_A_TIME = 2**20  # searched in one step

# (name of the array, number of the item, index within the item)
Found = tuple[str, int, tuple[int, ...]]


def where_not_finite(problem: Problem) -> str:
    """Name the first number that is not finite and has a weight > 0, and say what to do."""
    found = _first_of_the_data(problem) if problem.weights is None else _first_that_counts(problem)
    if found is None:
        raise AssertionError("the data are finite, but their moments are not: please report this")
    name, item, (row, *column) = found
    items = dict(_arrays(problem))[name]
    feature = f", feature {column[0]}" if column and not problem.one_feature else ""
    where = f"in row {row}{feature}{_fit_named(problem, items, item)}"
    advice = "give nan_policy='omit' to leave such samples out, or 'propagate' to get NaN for such fits alone"
    value = _given(items, item, [row, *column])
    missing = items.missing(slice(item, item + 1))
    if missing is not None and missing[(0, row, *column)]:
        if items.mask is not None and _given(items.mask, item, [row, *column]):
            return f"{name} is missing (masked, None or NA) {where}: {advice}; or fill it in, as by {name}.filled(value)"
        return f"{name} is the nodata value {value:g} {where}: {advice}"
    if np.isfinite(value):
        return f"{name} is too large for {problem.dtype}: {value:g} {where}; give dtype='float64'"
    return f"{name} is not finite: {value:g} {where}. Clean the data, or {advice}"


def where_negative(problem: Problem) -> str:
    """Name the first negative weight."""
    assert problem.weights is not None
    found = _first_item(problem.weights, lambda weights: (weights < 0) & np.isfinite(weights))
    if found is None:
        raise AssertionError("no weight is negative: please report this")
    item, (row,) = found
    value = _given(problem.weights, item, [row])
    return f"sample_weight must be at least 0; it is {value:g} in row {row}{_fit_named(problem, problem.weights, item)}"


def _arrays(problem: Problem) -> list[tuple[str, Items]]:
    """(name, array) in the order in which they are searched."""
    weights = [] if problem.weights is None else [("sample_weight", problem.weights)]
    return [*weights, ("X", problem.X), ("y", problem.y)]


def _first_item(items: Items, wrong: Callable[[np.ndarray], np.ndarray]) -> tuple[int, tuple[int, ...]] | None:
    """(number of the item, index in it) of the first number that is wrong."""
    step = max(1, NUMBERS_AT_A_TIME // math.prod(items.item))
    for first in range(0, items.count, step):
        here = wrong(items.take(first, min(first + step, items.count)))
        if here.any():
            offset, *where = (int(i) for i in np.argwhere(here)[0])
            return first + offset, tuple(where)
    return None


def _not_finite(numbers: np.ndarray) -> np.ndarray:
    return ~np.isfinite(numbers)


def _first_of_the_data(problem: Problem) -> Found | None:
    """The first number of X, else of y, that is not finite in the problem's dtype."""
    for name, items in _arrays(problem):
        found = _first_item(items, _not_finite)
        if found is not None:
            return name, *found
    return None


def _first_that_counts(problem: Problem) -> Found | None:
    """The first number that is not finite in a sample whose weight is not 0."""
    assert problem.weights is not None
    order = FitOrder.of(problem.leading, problem.gram_leading, problem.y.leading)
    step = max(1, NUMBERS_AT_A_TIME // (problem.n_samples * problem.n_features))
    for first in range(0, order.n_pairs, step):
        pairs = np.arange(first, min(first + step, order.n_pairs)) * order.n_cells
        numbers, of_weights = np.unique(order.index(problem.weights.leading, pairs), return_inverse=True)
        counts: np.ndarray = problem.weights.pick(numbers) != 0
        for name, items in _arrays(problem):
            # items that many fits share are searched once
            numbers, places = np.unique(order.index(items.leading, pairs), return_inverse=True)
            wrong = _not_finite(items.pick(numbers))
            bad = np.flatnonzero(np.logical_or.reduce(wrong.reshape(len(wrong), -1), axis=1)[places])
            in_use = counts[of_weights[bad]]
            here = np.argwhere(wrong[places[bad]] & (in_use[..., None] if wrong.ndim == 3 else in_use))
            if len(here):
                place, *where = (int(i) for i in here[0])
                return name, int(numbers[places[bad[place]]]), tuple(where)
    return None


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
