"""The runner of `stats`: what the moments tell about the errors of fits, without their w.

1. The moments are those of `compress`, of features as they are, whatever algorithm fitted them: one
   more read of the data, or none where Moments were given, or where `solve` has the moments at hand
   and calls `note_group` (least_squares.py).
2. What depends on X alone is made once for each Gram matrix that fits share, where no samples can
   be missing.
3. The second pass over the samples, for standard errors that do not trust σ², is sandwich.py.

Facts, in the caller's order of fits, of length 1 along axes that only repeat; D parameters, the
intercept last: inverse (…, D, D) of XᵀX, mean (…, D), estimable (…, D), rank, condition, n_used,
total Σω, log_weights Σ ln ω, squares (of y: Σω(y − ȳ)² with an intercept, else Σωy²).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data.double_double import DoubleDouble
from ..kernels.chunk import W_EXPONENT, W_HIGH, W_LOW, Samples
from ..kernels.cpu import compile_ahead
from ..planning.plan import STACK_NUMBERS
from ..planning.statistics_job import StatisticsJob
from .elimination import MARGIN, Inverses, invert_records
from .groups import Group
from .long_fits import parts_of_moments
from .moments import compress_groups
from .pool import Control, Run, cut
from .samples import distinct_rows, read_samples
from .sandwich import add_sandwiches

AT_A_TIME = 2**19  # numbers of inverses that one task makes
_FOUND = ("inverse", "mean", "estimable", "rank", "condition")
_OF_X = (*_FOUND, "total", "log_weights")


def run(job: StatisticsJob, control: Control, go: Run) -> None:
    """Fill the facts of a job, as far as `solve` has not."""
    problem = job.problem
    if not job.facts:
        begin(job)
        parts = {"invert"} | parts_of_moments(problem) | ({"find_kept"} if problem.given is None and problem.may_lose_samples else set())
        compile_ahead.compile_parts(problem.dtype, parts)
        for group in compress_groups(problem, job.order, job.plan, control, go):
            if control.cancel[0]:
                return
            note_group(job, group, control, go)
            del group  # free its memory before the next group is made
    _in_callers_order(job)
    if job.options.needs_samples:
        add_sandwiches(job, control, go)


def begin(job: StatisticsJob) -> None:
    """Allocate the facts, in the order of computation."""
    problem, size, n_pairs = job.problem, job.problem.n_parameters, job.order.n_pairs
    count = math.prod(problem.gram_leading) if job.shares_grams else n_pairs
    job.facts = {name: np.empty(count) for name in ("condition", "total", "log_weights")}
    job.facts |= {"inverse": np.empty((count, size, size)), "mean": np.empty((count, size))}
    job.facts |= {"estimable": np.empty((count, size), bool), "rank": np.empty(count, np.int64)}
    job.facts |= {"n_used": np.empty(n_pairs, np.int64), "squares": np.empty(n_pairs)}


def note_group(job: StatisticsJob, group: Group, control: Control, go: Run) -> None:
    """Fill the facts of the pairs of a group, whose moments are those of features as they are."""
    moments, problem = group.moments, job.problem
    pairs = np.arange(len(group.invalid), dtype=np.int64)
    places = slice(group.first, group.first + len(pairs))
    if job.shares_grams or problem.given is not None or math.prod(problem.gram_leading) < job.order.n_pairs:
        records, index = np.unique(group.gram_index, return_inverse=True)
        first_pair = np.zeros(len(records), np.int64)
        first_pair[index.reshape(-1)[::-1]] = pairs[::-1]
        of_x = {name: np.empty((len(records), *job.facts[name].shape[1:]), job.facts[name].dtype) for name in _OF_X}
    else:  # a record for each pair
        records, index, first_pair = group.gram_index, None, pairs
        of_x = {name: job.facts[name][places] for name in _OF_X}

    def find(first: int, stop: int, counter: np.ndarray) -> None:
        if not control.cancel[0]:
            found = Inverses(*(of_x[name][first:stop] for name in _FOUND))
            invert_records(moments, records[first:stop], problem.intercept, found, control.cancel)

    go(cut(len(records), max(1, AT_A_TIME // problem.n_parameters**2), find))
    weighing = moments.weighing[records]
    of_x["total"][:] = np.ldexp(weighing[:, W_HIGH] + weighing[:, W_LOW], weighing[:, W_EXPONENT].astype(np.int64))
    of_x["log_weights"][:] = _log_weights(job, group.samples, first_pair)
    if index is not None:
        at = job.order.index(problem.gram_leading, pairs + group.first) if job.shares_grams else places
        for name in _OF_X:
            job.facts[name][at] = of_x[name][index.reshape(-1)]
    job.facts["n_used"][places] = group.samples.n_used
    squares = _squares(moments, group.gram_index, problem.intercept)
    squares[group.invalid] = np.nan
    job.facts["squares"][places] = squares


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


def _in_callers_order(job: StatisticsJob) -> None:
    """Give each fact the axes of the results."""
    rank = len(job.shape)
    shared = (1,) * (rank - len(job.problem.gram_leading)) + job.problem.gram_leading
    for name, values in job.facts.items():
        of_grams = job.shares_grams and name in _OF_X
        job.facts[name] = values.reshape(shared + values.shape[1:]) if of_grams else job.order.restore(values)
