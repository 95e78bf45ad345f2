"""The curvatures of some fits, kept while moments are at hand, for what is said of their ends.

1. What they are made of is copied, and no more: which of the fits ended far, and their curvatures,
   are found when a result is asked for them (`FitResult._curvatures`). That takes as long as a
   small call, and most results are never asked.
2. Of fits that are stored, or whose results are put together, it is done as soon as they end.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..input.float_mode import in_ieee_mode, quietly
from ..planning.job import FitJob
from ..results.curvatures import Curvatures, joined
from ..results.distances import not_near
from .groups import Group

ENDS = ("loss", "excess", "initial_excess", "status")  # what tells where a fit ended, by its name in a chunk


class Noted(NamedTuple):
    """Some fits of a task, and what their curvatures are made of: copies."""

    fits: np.ndarray  # (k,) numbers in the order of computation
    gram: np.ndarray  # (k or 1, D(D+1)/2): as in Curvatures
    exponents: np.ndarray | None  # (k or 1, D): as in Curvatures; None: all are 0
    weighing: np.ndarray  # (k or 1, 4): as of Moments
    hyper: np.ndarray  # (k or 1, n_values): as in Curvatures
    size: int  # D
    of_the_sum: bool

    def curvatures(self, some: np.ndarray) -> Curvatures:
        """The curvatures of the fits at some positions."""
        from ..kernels.cpu import Moments  # imports Numba, which groups of a reference do without

        count = len(self.fits)

        def rows(values: np.ndarray) -> np.ndarray:
            return values[some] if len(values) == count else values.repeat(len(some), 0)

        weighing = rows(self.weighing)  # all that `curvature` reads of records
        records = Moments(weighing[:0], weighing, weighing, weighing[:0], weighing)
        scale = records.curvature(np.arange(len(some)), np.ones(len(some)), self.of_the_sum)
        exponents = np.zeros((len(some), self.size), np.int64) if self.exponents is None else rows(self.exponents)
        return Curvatures(self.fits[some], rows(self.gram), exponents, scale, rows(self.hyper))


def explain(job: FitJob, group: Group, first: int, stop: int) -> None:
    """Keep what explains the ends of fits first … stop-1 of a group, of those that are looked at.

    They have ended, and their results are in the buffers. Where the group has no moments, its fits
    have a single feature, and all data are finite.
    """
    fits = job.explained
    if stop - first < job.order.n_fits:
        fits = fits[fits.searchsorted(first) : fits.searchsorted(stop)]
    if not len(fits):
        return
    moments, exponents = group.moments, None
    if moments is None:
        gram = _grams(group, fits, job.problem.intercept)
        weighing = np.array([[job.problem.n_samples, 0.0, 0.0, 1.0]])
    else:
        records = group.gram_index[fits // job.order.n_cells - group.first]
        if group.standard is not None:  # moments may not hold the scaled features
            held = ~group.standard.doubtful[records]
            fits, records = fits[held], records[held]
            if not len(fits):
                return
        if len(moments.gram) == 1:
            records = records[:1]
        gram, weighing = moments.gram[records, 0], moments.weighing[records]
        if moments.gram.shape[1] > 1:  # moments of float32 data are not scaled
            exponents = moments.gram_exponents[records, :-1]
    noted = Noted(fits, gram, exponents, weighing, _hyper_of(job, fits), job.problem.n_parameters, job.reduction == "sum")
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
    """Let the result of a job find the curvatures of fits that `explain` noted."""
    if job.buffers.noted:
        job.buffers.explains = partial(in_ieee_mode, quietly, _found, job.buffers.noted, job.order)


def _found(parts: list[Noted], order: Any, result: Any) -> Curvatures | None:
    """The curvatures of the fits of a result that ended far; None where none did."""
    found = joined([part.curvatures(np.arange(len(part.fits))) for part in parts], order)
    ends = (result.loss, result.excess_loss, result.state.initial_excess, result.status)
    loss, excess, initial_excess, status = (np.ravel(np.asarray(values))[found.index] for values in ends)
    far = not_near(loss, excess, initial_excess, status, from_zero=result._start == "zero")
    return found[far] if len(far) else None


def _keep(job: FitJob, noted: Noted) -> None:
    """Keep the curvatures of those of the fits that ended far."""
    loss, excess, initial_excess, status = job.buffers.values_of(ENDS, noted.fits)
    far = not_near(loss, excess, initial_excess, status, from_zero=job.start == "zero")
    if len(far):
        job.buffers.curvatures.append(noted.curvatures(far))


def _hyper_of(job: FitJob, fits: np.ndarray) -> np.ndarray:
    """(k or 1, n_values): hyperparameters of these fits; NaN where a schedule changes the rate.

    And where a penalty leaves the intercept alone: λ_max with it is not known here.
    """
    if job.schedule is not None or job.free_intercept:
        return np.full((1, len(job.hyper)), np.nan)
    if job.hyper_row is not None:
        return job.hyper_row
    return np.stack(np.broadcast_arrays(*[job.order.pick(values, fits) for values in job.hyper]), axis=1)


def _grams(group: Group, fits: np.ndarray, intercept: bool) -> np.ndarray:
    """(k, D(D+1)/2): the Gram matrices of fits of one feature, as Curvatures has them.

    Products of float32 data are exact, and NumPy adds them pairwise: off by less than 2^-47.
    """
    samples = group.samples.X  # in order, or one of all fits
    rows = samples[:, :, 0] if len(fits) == len(samples) else samples[group.samples.x_index[fits - group.first], :, 0]
    squares = np.add.reduce(np.square(rows, dtype=np.float64), axis=1)
    if not intercept:
        return squares[:, None]
    found = np.empty((len(rows), 3))
    found[:, 0], found[:, 2] = squares, rows.shape[1]
    np.add.reduce(rows, axis=1, dtype=np.float64, out=found[:, 1])
    return found
