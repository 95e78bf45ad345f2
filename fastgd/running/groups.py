"""Groups: the data of a range of pairs, gathered without a copy where that is possible."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.items import Items
from ..data.problem import Problem
from ..data.ragged import GroupProblem
from ..kernels.apart import LARGE, run_apart_if
from ..kernels.chunk import Samples
from ..planning.job import ResultJob
from ..planning.plan import is_short_series
from .pool import Run, cut

FEW = 64  # fits: their numbers are made once
CONVERTED_BYTES = 2**19  # data that one task converts


@dataclass
class Standard:
    """How the features of each Gram record of a group were standardised."""

    center: np.ndarray  # (n_gram, d) float64
    scale: np.ndarray
    doubtful: np.ndarray  # (n_gram,) bool: the moments do not hold the scaled features well enough
    apart: bool  # pairs of one X have records, center and scale of their own: those of a state


@dataclass
class Group:
    """A range of pairs (of an X and a y): their samples, and their moments if these are needed."""

    first: int  # number of the first pair
    samples: Samples  # of the pairs
    invalid: np.ndarray  # (pairs,) bool: whether data are not finite
    moments: Any = None  # cpu.Moments
    gram_index: Any = None  # (pairs,) int64: the Gram record of each pair
    standard: Standard | None = None  # of standardised fits
    middle: np.ndarray | None = None  # (pairs,): what is subtracted from y as it is read (centring.py)
    is_whole: bool = False  # all data are finite, and no sample is left out
    in_order: bool = False  # each fit has a y of its own, in order, X of its own or that of all, and no weights

    @property
    def has_samples(self) -> bool:
        """Whether samples are at hand; False where Moments were given."""
        return self.samples.X.shape[1] > 0

    def of_fits(self, order: FitOrder, first: int, stop: int) -> tuple[Samples, np.ndarray]:
        """(samples, pairs) of fits first … stop-1; pairs (m,): number of each fit's pair here."""
        s = self.samples
        if order.n_cells == 1 and stop - first == len(s.n_used):  # all of them
            return s, indices(stop - first)[0]
        if len(s.n_used) == 1:
            pairs = np.zeros(stop - first, np.int64)
        else:
            pairs = np.arange(first, stop, dtype=np.int64) // order.n_cells - self.first
        return select(s, pairs), pairs


def select(s: Samples, index: np.ndarray) -> Samples:
    """The samples of the fits with these numbers; X, y, weights and `kept` are shared."""
    x_index, y_index, weight_index, kept_index, n_used = (
        spread(values, index) for values in (s.x_index, s.y_index, s.weight_index, s.kept_index, s.n_used)
    )
    lengths = None if s.lengths is None else s.lengths[index]
    return Samples(s.X, s.y, x_index, y_index, s.weights, weight_index, s.kept, kept_index, n_used, lengths=lengths)


def spread(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """values[index]; of one value, as for many fits of one data set, in an eighth of the time."""
    if len(values) > 1:
        return values[index]
    found = np.empty(len(index), values.dtype)
    found.fill(values[0])
    return found


def gather_group(problem: Problem, order: FitOrder, first: int, stop: int, contiguous: bool = False, for_moments: bool = False) -> Group:
    """Pairs first … stop-1, with all of their samples.

    contiguous: copy what is not contiguous. for_moments: a single feature and its y need not be
    copied where items interleave, since moments/single_feature.py does.
    """
    if isinstance(problem, GroupProblem) and problem.is_ragged:
        return Group(first, _ragged_samples(problem, first, stop), np.zeros(stop - first, bool))
    samples = None if contiguous else gather_in_order(problem, order, first, stop, for_moments and is_short_series(problem))
    if samples is not None:
        return Group(first, samples, np.zeros(stop - first, bool), in_order=True)
    pairs = np.arange(first, stop, dtype=np.int64) * order.n_cells
    data = [
        _take(items, order.index(items.leading, pairs), contiguous)
        for items in (problem.X, problem.y, *([] if problem.weights is None else [problem.weights]))
    ]
    return Group(first, _all_samples(problem, data, len(pairs)), np.zeros(len(pairs), bool))


def _ragged_samples(problem: GroupProblem, first: int, stop: int) -> Samples:
    """The samples of groups first … stop-1, of unlike sizes, none left out."""
    numbers = int(problem.groups.sizes[first:stop].sum()) * problem.n_features
    arrays, begins, sizes = run_apart_if(numbers > LARGE, problem.rows_of_range, first, stop)
    X, y, weights = (*arrays, _none(problem.n_samples, problem.dtype)[:, :1]) if len(arrays) == 2 else arrays
    kept = np.empty((0, problem.n_samples), np.int32)
    return Samples(X, y, begins, begins, weights, begins, kept, np.full(len(sizes), -1), sizes.copy(), lengths=sizes)


def gather_in_order(problem: Problem, order: FitOrder, first: int, stop: int, as_they_lie: bool = False) -> Samples | None:
    """The samples of fits first … stop-1 where each has its own y, in order; else None.

    X is its own, too, or that of all fits. as_they_lie: also where items interleave.
    """
    shares_x = problem.X.count == 1
    if problem.weights is not None or not order.natural or problem.y.leading != order.shape:
        return None
    if not (shares_x or problem.X.leading == order.shape):
        return None
    places, zeros, _ = indices(stop - first)

    def taken(items: Items, first: int, stop: int) -> np.ndarray:
        if items.as_it_is:
            return items.take(first, stop)
        view = items.view(first, stop) if as_they_lie else None
        return _take_range(items, first, stop) if view is None else view

    X = (taken(problem.X, 0, 1), zeros) if shares_x else (taken(problem.X, first, stop), places)
    return _all_samples(problem, [X, (taken(problem.y, first, stop), places)], stop - first)


def samples_of_all(problem: Problem, order: FitOrder) -> Samples:
    """The samples of all fits, without a copy, in the computer's memory or on a GPU."""
    fits = np.arange(order.n_fits, dtype=np.int64)
    pairs = fits // order.n_cells * order.n_cells if order.n_cells > 1 else fits
    arrays = [problem.X, problem.y, *([] if problem.weights is None else [problem.weights])]
    return _all_samples(problem, [(items.flat(), order.index(items.leading, pairs)) for items in arrays], order.n_fits)


def _take(items: Items, index: np.ndarray, contiguous: bool) -> tuple[np.ndarray, np.ndarray]:
    """(array, index): the items with these numbers, and the position of each in `array`.

    Items that must be copied and lie far apart are copied one by one, without those between them.
    """
    first, stop = int(index.min()), int(index.max()) + 1
    if items.picks_at_once and stop - first > len(index):
        return run_apart_if(_is_long(items, len(index)), _picked, items, index), np.arange(len(index), dtype=np.int64)
    if stop - first > len(index) and items.bytes_to_copy(1) + contiguous:
        one = partial(copy_one_by_one, index, items.item, items.dtype, lambda number: items.take(number, number + 1, contiguous)[0])
        return run_apart_if(_is_long(items, len(index)), one)
    return _take_range(items, first, stop, contiguous), index - first


def _picked(items: Items, index: np.ndarray) -> np.ndarray:
    """A read-only copy of the items with these numbers."""
    array = items.pick(index, slice(None))
    array.flags.writeable = False
    return array


def _take_range(items: Items, first: int, stop: int, contiguous: bool = False) -> np.ndarray:
    copies = contiguous or not items.as_it_is
    return run_apart_if(copies and _is_long(items, stop - first), items.take, first, stop, contiguous)


def _is_long(items: Items, count: int) -> bool:
    """Whether copying this many items would keep Ctrl-C waiting."""
    return count * math.prod(items.item) > LARGE


def copy_one_by_one(
    index: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, item: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(array, index): a contiguous copy of the items with these numbers, and each one's position.

    shape: of an item. item: returns the item of a number.
    """
    numbers, places = np.unique(index, return_inverse=True)
    found = np.empty((len(numbers), *shape), dtype)
    for place, number in enumerate(numbers.tolist()):
        found[place] = item(number)
    found.flags.writeable = False
    return found, places.astype(np.int64)


def gather(items: Items, index: np.ndarray, go: Run) -> tuple[np.ndarray, np.ndarray]:
    """(array, index): the items with these numbers, and the position of each in `array`.

    Where the dtype or the layout must change, tasks in parallel write one converted array.
    """
    first, stop = int(index.min()), int(index.max()) + 1
    whole = items.view(first, stop)
    if whole is None and stop - first > len(index):
        return _take(items, index, False)
    if whole is None:
        whole = np.empty((stop - first, *items.item), items.dtype)
        target = whole

        def convert(start: int, end: int, counter: np.ndarray) -> None:
            run_apart_if(_is_long(items, end - start), items.convert, first + start, first + end, target[start:end])

        go(cut(stop - first, max(1, CONVERTED_BYTES // (items.item[0] * items.dtype.itemsize)), convert))
        whole.flags.writeable = False
    return whole, index - first


def _all_samples(problem: Problem, data: list[tuple[np.ndarray, np.ndarray]], count: int) -> Samples:
    """The samples of `count` fits, none left out. data: (array, index) of X, y, perhaps weights."""
    n = problem.n_samples
    (X, x_index), (y, y_index) = data[0], data[1]
    _, zeros, all_kept = indices(count)
    weights, weight_index = data[2] if len(data) > 2 else (_none(n, problem.dtype), zeros)
    n_used = np.empty(count, np.int64)
    n_used.fill(n)
    return Samples(X, y, x_index, y_index, weights, weight_index, np.empty((0, n), np.int32), all_kept, n_used)


def given_group(problem: Problem, order: FitOrder, first: int, stop: int, own: bool) -> Group:
    """Pairs first … stop-1 of Moments that were given. own: copies, which may be changed."""
    from ..kernels import cpu

    given = problem.given
    pairs = np.arange(first, stop, dtype=np.int64)
    places = order.index(problem.X.leading, pairs * order.n_cells)
    in_order = np.array_equal(places, pairs)

    def pick(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(problem.X.count, *array.shape[len(problem.X.leading) :])
        found = flat[first:stop] if in_order else flat[places]
        return found.copy() if own else np.require(found, requirements=["C", "A", "W"])

    gram_index = pick(given.gram_index)
    grams = [given.gram, given.gram_exponents, given.weighing]
    if own:
        numbers, gram_index = np.unique(gram_index, return_inverse=True)
        gram_index, grams = gram_index.reshape(-1).astype(np.int64), [array[numbers] for array in grams]
    grams = [np.require(array, requirements=["C", "A", "W"]) for array in grams]
    moments = cpu.Moments(*grams, pick(given.target), pick(given.exponents))
    m, dtype, item = stop - first, problem.dtype, np.zeros(stop - first, np.int64)
    X, y = np.empty((1, 0, problem.n_features), dtype), np.empty((m, 0), dtype)
    X.flags.writeable = y.flags.writeable = False
    samples = Samples(X, y, item, pairs - first, y[:0], item, np.empty((0, 0), np.int32), item - 1, pick(given.n_used))
    return Group(first, samples, pick(given.invalid).copy(), moments, gram_index)


def take_scratch(job: ResultJob) -> Any:
    """Moments for the fits of one task: memory of an earlier task, or new memory.

    Memory is used again because touching fresh pages takes as long as compressing a small task.
    """
    try:
        return job.scratch.pop()
    except IndexError:
        from ..kernels import cpu

        count = min(job.plan.fits_per_task, job.order.n_fits)
        return cpu.Moments.empty(count, count, job.problem.n_parameters, job.problem.dtype)


def indices(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(count,) int64 each: 0, 1, …; zeros; −1. Nobody writes into them."""
    return _few_indices(count) if count <= FEW else _new_indices(count)


def _new_indices(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(count, dtype=np.int64), np.zeros(count, np.int64), np.full(count, -1)


_few_indices = functools.lru_cache(FEW)(_new_indices)


@functools.lru_cache(64)
def _none(n_samples: int, dtype: np.dtype) -> np.ndarray:
    """An empty array of items, such as weights where there are none."""
    weights = np.empty((0, n_samples), dtype)
    weights.flags.writeable = False
    return weights


def samples_of_grams(problem: Problem, span: tuple[int, int], go: Run) -> Samples:
    """X and weights of the Gram matrices with the numbers span[0] … span[1]-1; no y."""
    numbers = np.arange(*span, dtype=np.int64)
    data = [
        gather(problem.X, problem.item_of_gram(problem.X, numbers), go),
        (_none(problem.n_samples, problem.dtype), np.zeros(len(numbers), np.int64)),
    ]
    if problem.weights is not None:
        data.append(gather(problem.weights, problem.item_of_gram(problem.weights, numbers), go))
    return _all_samples(problem, data, len(numbers))
