"""Error messages that name the first number of the data that is not finite or negative."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..input.sharing import fetch
from .fit_order import FitOrder
from .items import Items
from .problem import Problem

NUMBERS_AT_A_TIME = 2**20  # searched in one step

# (name of the array, number of the item, index within the item, the value as it was given)
Found = tuple[str, int, tuple[int, ...], Any]


def where_not_finite(problem: Problem) -> str:
    """Name the first number that is not finite and has a weight > 0, and say what to do."""
    found = _first_of_the_data(problem) if problem.weights is None else _first_that_counts(problem)
    if found is None:
        raise AssertionError("the data are finite, but their moments are not: please report this")
    name, item, (row, *column), value = found
    feature = f", feature {column[0]}" if column and not problem.one_feature else ""
    where = f"in row {row}{feature}{_fit_named(problem, dict(_arrays(problem))[name], item)}"
    if np.isfinite(value):
        return f"{name} is too large for {problem.dtype}: {value:g} {where}; give dtype='float64'"
    return (
        f"{name} is not finite: {value:g} {where}. Clean the data, or give nan_policy='omit' to leave "
        "such samples out, or 'propagate' to get NaN for such fits alone"
    )


def where_negative(problem: Problem) -> str:
    """Name the first negative weight."""
    assert problem.weights is not None
    for item in range(problem.weights.count):
        weights = problem.weights.take(item, item + 1)[0]
        for row in np.flatnonzero((weights < 0) & np.isfinite(weights)):
            where = f"in row {row}{_fit_named(problem, problem.weights, item)}"
            return f"sample_weight must be at least 0; it is {weights[row]:g} {where}"
    raise AssertionError("no weight is negative: please report this")


def _arrays(problem: Problem) -> list[tuple[str, Items]]:
    """(name, array) in the order in which they are searched."""
    weights = [] if problem.weights is None else [("sample_weight", problem.weights)]
    return [*weights, ("X", problem.X), ("y", problem.y)]


def _first_of_the_data(problem: Problem) -> Found | None:
    """The first number of X, else of y, that is not finite in the problem's dtype."""
    for name, items in _arrays(problem):
        step = max(1, NUMBERS_AT_A_TIME // math.prod(items.item))
        for first in range(0, items.count, step):
            wrong = ~np.isfinite(items.take(first, min(first + step, items.count)))
            if wrong.any():
                offset, *where = (int(i) for i in np.argwhere(wrong)[0])
                return name, first + offset, tuple(where), _given(items, first + offset, where)
    return None


def _first_that_counts(problem: Problem) -> Found | None:
    """The first number that is not finite in a sample whose weight is not 0."""
    assert problem.weights is not None
    order = FitOrder.of(problem.leading, problem.gram_leading, problem.y.leading)
    step = max(1, NUMBERS_AT_A_TIME // (problem.n_samples * problem.n_features))
    for first in range(0, order.n_pairs, step):
        pairs = np.arange(first, min(first + step, order.n_pairs)) * order.n_cells
        index = {name: order.index(items.leading, pairs) for name, items in _arrays(problem)}
        weights = _items_at(problem.weights, index["sample_weight"])
        for name, items in _arrays(problem):
            data = _items_at(items, index[name])
            counts = (weights != 0).reshape(*weights.shape, *(1,) * (data.ndim - 2))
            wrong = np.argwhere(~np.isfinite(data) & counts)
            if len(wrong):
                place, *where = (int(i) for i in wrong[0])
                item = int(index[name][place])
                return name, item, tuple(where), _given(items, item, where)
    return None


def _items_at(items: Items, numbers: np.ndarray) -> np.ndarray:
    return np.concatenate([items.take(int(i), int(i) + 1) for i in numbers])


def _given(items: Items, item: int, where: list[int]) -> Any:
    """A value as the caller gave it, before it was converted."""
    index = (*(int(i) for i in np.unravel_index(item, items.leading)), *where)
    return fetch(items.array[index[: items.array.ndim]])[()]  # a 1-D X has no feature axis


def _fit_named(problem: Problem, items: Items, item: int) -> str:
    """' of fit i of m', by the caller's indices: the first fit with this item; '' where m = 1."""
    n_fits = math.prod(problem.leading)
    if n_fits == 1:
        return ""
    index = tuple(int(i) for i in np.unravel_index(item, items.leading))
    padded = (0,) * (len(problem.leading) - len(index)) + index
    return f" of fit {padded[0] if len(padded) == 1 else padded} of {n_fits:,}"
