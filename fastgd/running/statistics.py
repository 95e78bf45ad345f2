"""The runner of `stats`: what the moments tell about the errors of fits, without their w.

1. The moments are those of `compress`, of features as they are, whatever algorithm fitted them: one
   more read of the data, or none where Moments were given.
2. What depends on X alone is made once for each Gram matrix where no samples can be missing.
3. The second pass over the samples, for standard errors that do not trust σ², is sandwich.py.

Facts, in the caller's order of fits, of length 1 along axes that only repeat; D parameters, the
intercept last: inverse (…, D, D) of XᵀX, mean (…, D), estimable (…, D), rank, condition, n_used,
total Σω, log_weights Σ ln ω, squares (of y: Σω(y − ȳ)² with an intercept, else Σωy²).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data.double_double import DoubleDouble
from ..kernels.chunk import W_EXPONENT, W_HIGH, W_LOW, Samples
from ..kernels.cpu import compile_ahead
from ..planning.plan import STACK_NUMBERS
from ..planning.statistics_job import StatisticsJob
from .elimination import MARGIN, Inverses, invert
from .groups import Group
from .moments import compress_groups
from .pool import Control, Run, cut
from .samples import distinct_rows, read_samples
from .sandwich import add_sandwiches

_FOUND = ("inverse", "mean", "estimable", "rank", "condition")
_OF_X = (*_FOUND, "total", "log_weights")


def run(job: StatisticsJob, control: Control, go: Run) -> None:
    """Fill the facts of a job."""
    problem = job.problem
    if problem.given is None:
        compile_ahead.compile_parts(problem.dtype, {"moments"} | ({"find_kept"} if problem.may_lose_samples else set()))
    facts = _empty(job)
    for group in compress_groups(problem, job.order, job.plan, control, go):
        if control.cancel[0]:
            return
        _of_group(job, group, facts, control, go)
        del group  # free its memory before the next group is made
    _in_callers_order(job, facts)
    if job.options.needs_samples:
        add_sandwiches(job, control, go)


def _empty(job: StatisticsJob) -> dict[str, np.ndarray]:
    """Facts to be filled, in the order of computation."""
    problem, size, n_pairs = job.problem, job.problem.n_parameters, job.order.n_pairs
    count = int(np.prod(problem.gram_leading, dtype=np.int64)) if job.shares_grams else n_pairs
    facts = {name: np.empty(count) for name in ("condition", "total", "log_weights")}
    facts |= {"inverse": np.empty((count, size, size)), "mean": np.empty((count, size))}
    facts |= {"estimable": np.empty((count, size), bool), "rank": np.empty(count, np.int64)}
    return facts | {"n_used": np.empty(n_pairs, np.int64), "squares": np.empty(n_pairs)}


def _of_group(job: StatisticsJob, group: Group, facts: dict[str, np.ndarray], control: Control, go: Run) -> None:
    """Fill the facts of the pairs of a group."""
    moments, problem = group.moments, job.problem
    numbers, index = np.unique(group.gram_index, return_inverse=True)
    index = index.reshape(-1)
    of_x = {name: np.empty((len(numbers), *facts[name].shape[1:]), facts[name].dtype) for name in _OF_X}

    def find(first: int, stop: int, counter: np.ndarray) -> None:
        if control.cancel[0]:
            return
        found = _inverses(moments, numbers[first:stop], problem.intercept)
        for name in _FOUND:
            of_x[name][first:stop] = getattr(found, name)

    go(cut(len(numbers), max(1, STACK_NUMBERS // problem.n_parameters**2), find))
    weighing = moments.weighing[numbers]
    of_x["total"][:] = np.ldexp(weighing[:, W_HIGH] + weighing[:, W_LOW], weighing[:, W_EXPONENT].astype(np.int64))
    pairs = np.arange(len(group.invalid), dtype=np.int64)
    first_pair = np.zeros(len(numbers), np.int64)
    first_pair[index[::-1]] = pairs[::-1]
    of_x["log_weights"][:] = _log_weights(job, group.samples, first_pair)
    places = pairs + group.first
    at = job.order.index(problem.gram_leading, places) if job.shares_grams else places
    for name in _OF_X:
        facts[name][at] = of_x[name][index]
    facts["n_used"][places] = group.samples.n_used
    squares = _squares(moments, group.gram_index, problem.intercept)
    squares[group.invalid] = np.nan
    facts["squares"][places] = squares


def _inverses(moments: Any, numbers: np.ndarray, intercept: bool) -> Inverses:
    """The inverses of some Gram records, in the units of the data."""
    size = moments.exponents.shape[1] - 1
    doubled = moments.gram.shape[1] == 2
    i, j = np.array([(i, j) for j in range(size) for i in range(j + 1)]).T
    gram = np.zeros((2, len(numbers), size, size))
    for plane in range(moments.gram.shape[1]):
        gram[plane][:, i, j] = gram[plane][:, j, i] = moments.gram[numbers, plane]
    found = invert(DoubleDouble(*gram), intercept, doubled)
    power = moments.gram_exponents[numbers, :size] if doubled else np.zeros((len(numbers), size), np.int64)
    weight = moments.weighing[numbers, W_EXPONENT].astype(np.int64)[:, None, None]
    with np.errstate(all="ignore"):
        found.inverse = np.ldexp(np.ldexp(found.inverse, -power[:, :, None] - weight), -power[:, None, :])
        if intercept:
            found.mean = np.ldexp(found.mean, power - power[:, -1:])
    return found


def _squares(moments: Any, gram_index: np.ndarray, intercept: bool) -> np.ndarray:
    """(pairs,): what y has to be explained; NaN where the moments do not tell it from rounding."""
    doubled = moments.target.shape[1] == 2
    zero = np.zeros_like(moments.target[:, 0])
    target = DoubleDouble(moments.target[:, 0], moments.target[:, 1] if doubled else zero)
    power = moments.exponents if doubled else np.zeros_like(moments.exponents)
    weighing = moments.weighing[gram_index]
    with np.errstate(all="ignore"):
        total = squares = target[:, -1]
        if intercept:
            ones = power[:, -2]  # the exponent of the column of ones
            weights = DoubleDouble(weighing[:, W_HIGH], weighing[:, W_LOW])
            of_one = DoubleDouble(np.ldexp(target.high[:, -2], ones), np.ldexp(target.low[:, -2], ones))
            total = squares - of_one * of_one * (1.0 / weights)
        lost = total.high <= MARGIN * (2.0**-104 if doubled else 2.0**-53) * squares.high
        found = np.ldexp(total.high, 2 * power[:, -1] + weighing[:, W_EXPONENT].astype(np.int64))
    return np.where(lost, np.nan, found)


def _log_weights(job: StatisticsJob, samples: Samples, pairs: np.ndarray) -> np.ndarray:
    """(m,): Σ ln ω of the samples of some pairs; NaN where Moments of weights were given."""
    if not job.problem.is_weighted:
        return np.zeros(len(pairs))
    if job.problem.given is not None:
        return np.full(len(pairs), np.nan)
    first, place = distinct_rows(np.stack([samples.n_used[pairs], samples.weight_index[pairs], samples.kept_index[pairs]], axis=1))
    found, some = np.zeros(len(first)), pairs[first]
    for here, start, stop in _blocks(samples.n_used[some]):
        with np.errstate(all="ignore"):  # invalid fits
            found[here] += np.log(read_samples(samples, "weights", some[here], start, stop)).sum(axis=1)
    return found[place]


def _blocks(lengths: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """(items of one length, first, stop): samples that are read at a time."""
    for n in np.unique(lengths).tolist():
        alike, step = np.flatnonzero(lengths == n), max(1, STACK_NUMBERS // max(1, n))
        for first in range(0, len(alike), step):
            for start in range(0, n, STACK_NUMBERS):
                yield alike[first : first + step], start, min(start + STACK_NUMBERS, n)


def _in_callers_order(job: StatisticsJob, facts: dict[str, np.ndarray]) -> None:
    """Give each fact the axes of the results."""
    rank = len(job.shape)
    shared = (1,) * (rank - len(job.problem.gram_leading)) + job.problem.gram_leading
    for name, values in facts.items():
        of_grams = job.shares_grams and name in _OF_X
        job.facts[name] = values.reshape(shared + values.shape[1:]) if of_grams else job.order.restore(values)
