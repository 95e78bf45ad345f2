"""The curvatures of some fits, kept while moments are at hand, for what is said of their ends.

1. What they are made of is copied, and no more: which of the fits ended far, and their curvatures,
   are found when a result is asked for them (`FitResult._curvatures`). That takes as long as a
   small call, and most results are never asked.
2. Of fits that are stored, or whose results are put together, it is done as soon as they end.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ..input.float_mode import in_ieee_mode, quietly
from ..planning.job import FitJob
from ..results.curvatures import Curvatures, joined
from ..results.distances import not_near
from .groups import Group

ENDS = ("loss", "excess", "initial_excess", "status")  # what tells where a fit ended, by its name in a chunk

# Some fits of a task, and copies of what their curvatures are made of: (k,) their numbers in the
# order of computation; (k or 1, D(D+1)/2) gram, and (k or 1, D) exponents, as in Curvatures (None:
# all are 0); (k or 1, 4) weighing, as of Moments, or a number of samples, all of weight 1. A class
# would take a task of a large call 10 µs more, whose Python finds nothing in the caches.
Noted = tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | int]


def _curvatures(noted: Noted, hyper: np.ndarray, of_the_sum: bool, some: np.ndarray) -> Curvatures:
    """The curvatures of some fits, by their positions in what was noted; hyper (k or 1, …)."""
    from ..kernels.cpu import Moments  # imports Numba, which groups of a reference do without

    fits, gram, exponents, weighing = noted
    if isinstance(weighing, int):
        weighing = np.array([[weighing, 0.0, 0.0, 1.0]])

    def rows(values: np.ndarray) -> np.ndarray:
        return values[some] if len(values) == len(fits) else values.repeat(len(some), 0)

    weighing = rows(weighing)  # all that `curvature` reads of records
    records = Moments(weighing[:0], weighing, weighing, weighing[:0], weighing)
    scale = records.curvature(np.arange(len(some)), np.ones(len(some)), of_the_sum)
    size = (math.isqrt(8 * gram.shape[1] + 1) - 1) // 2  # D
    scaled_by = np.zeros((len(some), size), np.int64) if exponents is None else rows(exponents)
    return Curvatures(fits[some], rows(gram), scaled_by, scale, rows(hyper))


def looked_at(job: FitJob, first: int, stop: int) -> np.ndarray:
    """Which of the fits first … stop-1 are looked at: their numbers, ascending."""
    fits = job.explained
    return fits if stop - first == job.order.n_fits else fits[fits.searchsorted(first) : fits.searchsorted(stop)]


def explain(job: FitJob, group: Group, first: int, stop: int) -> None:
    """Keep what explains the ends of fits first … stop-1 of a group, of those that are looked at.

    They have ended, and their results are in the buffers.
    """
    fits = looked_at(job, first, stop)
    if not len(fits):
        return
    moments, exponents = group.moments, None
    records = group.gram_index[fits // job.order.n_cells - group.first]
    if group.standard is not None:  # moments may not hold the scaled features
        held = ~group.standard.doubtful[records]
        fits, records = fits[held], records[held]
        if not len(fits):
            return
    if len(moments.gram) == 1:
        records = records[:1]
    if moments.gram.shape[1] > 1:  # moments of float32 data are not scaled
        exponents = moments.gram_exponents[records, :-1]
    note(job, (fits, moments.gram[records, 0], exponents, moments.weighing[records]))


def note(job: FitJob, noted: Noted) -> None:
    """Keep what explains the ends of some fits."""
    if job.part is None:
        job.buffers.noted.append(noted)
    else:
        _keep(job, noted)


def explain_noted(job: FitJob) -> None:
    """Keep the curvatures of fits that `explain` noted and that ended far."""
    for noted in job.buffers.noted:
        _keep(job, noted)
    job.buffers.explains = None


def explain_later(job: FitJob) -> None:
    """Let the result of a job find the curvatures of fits that were noted."""
    parts = job.buffers.noted
    if parts:
        hyper = [_hyper_of(job, noted[0]) for noted in parts]
        job.buffers.explains = partial(in_ieee_mode, quietly, _found, parts, hyper, job.reduction == "sum", job.order)


def _found(parts: list[Noted], hyper: list[np.ndarray], of_the_sum: bool, order: Any, result: Any) -> Curvatures | None:
    """The curvatures of the fits of a result that ended far; None where none did."""
    each = zip(parts, hyper, strict=True)
    found = joined([_curvatures(noted, own, of_the_sum, np.arange(len(noted[0]))) for noted, own in each], order)
    ends = (result.loss, result.excess_loss, result.state.initial_excess, result.status)
    loss, excess, initial_excess, status = (np.ravel(np.asarray(values))[found.index] for values in ends)
    far = not_near(loss, excess, initial_excess, status, from_zero=result._start == "zero")
    return found[far] if len(far) else None


def _keep(job: FitJob, noted: Noted) -> None:
    """Keep the curvatures of those of the fits that ended far."""
    fits = noted[0]
    loss, excess, initial_excess, status = job.buffers.values_of(ENDS, fits)
    far = not_near(loss, excess, initial_excess, status, from_zero=job.start == "zero")
    if len(far):
        job.buffers.curvatures.append(_curvatures(noted, _hyper_of(job, fits), job.reduction == "sum", far))


def _hyper_of(job: FitJob, fits: np.ndarray) -> np.ndarray:
    """(k or 1, n_values): hyperparameters of these fits; NaN where a schedule changes the rate.

    And where a penalty leaves the intercept alone: λ_max with it is not known here.
    """
    if job.schedule is not None or job.free_intercept:
        return np.full((1, len(job.hyper)), np.nan)
    if job.hyper_row is not None:
        return job.hyper_row
    return np.stack(np.broadcast_arrays(*[job.order.pick(values, fits) for values in job.hyper]), axis=1)
