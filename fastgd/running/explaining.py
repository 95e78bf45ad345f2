"""The curvatures of some fits that ended far from the minimum, kept while moments are at hand."""

from __future__ import annotations

import numpy as np

from ..kernels.cpu import Moments
from ..planning.job import FitJob
from ..results.curvatures import Curvatures
from ..results.distances import not_near
from .groups import Group
from .hessians import curvatures_of, joined_records, records_of

ENDS = ("loss", "excess", "initial_excess", "status")  # what tells where a fit ended, by its name in a chunk


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
    if group.moments is None:
        fits = fits[_far(job, fits)]
        if not len(fits):
            return
        hyper, scale = _hyper_of(job, fits), np.empty(len(fits))
        scale.fill(2.0 if job.reduction == "sum" else 2.0 / job.problem.n_samples)
        grams = _grams(group, fits - group.first, job.problem.intercept)
        found = Curvatures(fits, grams, np.zeros((len(fits), job.problem.n_parameters), np.int64), scale, hyper)
        job.buffers.curvatures.append(found)
        return
    records = group.gram_index[fits // job.order.n_cells - group.first]
    if group.standard is not None:  # moments may not hold the scaled features
        held = ~group.standard.doubtful[records]
        fits, records = fits[held], records[held]
    if job.plan.staged or job.part is not None or len(fits) == len(job.explained):
        _keep(job, fits, group.moments, records)
    elif len(fits):  # one task of many, whose moments are made anew for the next
        job.buffers.noted.append((fits, records_of(group.moments, records)))


def explain_noted(job: FitJob) -> None:
    """Do what `explain` left to be done once for all tasks."""
    if job.buffers.noted:
        fits, records = zip(*sorted(job.buffers.noted, key=lambda part: part[0][0]), strict=True)
        whole = np.concatenate(fits)
        _keep(job, whole, joined_records(records), np.arange(len(whole)))


def _keep(job: FitJob, fits: np.ndarray, moments: Moments, records: np.ndarray) -> None:
    """Keep the curvatures of those of these fits that ended far. records: of each fit."""
    far = _far(job, fits)
    if len(far):
        fits = fits[far]
        job.buffers.curvatures.append(curvatures_of(moments, records[far], fits, _hyper_of(job, fits), job.reduction == "sum"))


def _far(job: FitJob, fits: np.ndarray) -> np.ndarray:
    """Positions of the fits whose end may have to be explained."""
    loss, excess, initial_excess, status = job.buffers.values_of(ENDS, fits)
    return not_near(loss, excess, initial_excess, status, from_zero=job.start == "zero")


def _hyper_of(job: FitJob, fits: np.ndarray) -> np.ndarray:
    """(k, n_values): hyperparameters of these fits; NaN where a schedule changes the rate.

    And where a penalty leaves the intercept alone: λ_max with it is not known here.
    """
    if job.schedule is not None or job.free_intercept:
        return np.full((len(fits), len(job.hyper)), np.nan)
    if job.hyper_row is not None:
        return job.hyper_row if len(fits) == 1 else np.broadcast_to(job.hyper_row, (len(fits), len(job.hyper)))
    return np.stack(np.broadcast_arrays(*[job.order.pick(values, fits) for values in job.hyper]), axis=1)


def _grams(group: Group, places: np.ndarray, intercept: bool) -> np.ndarray:
    """(k, D(D+1)/2): the Gram matrices of fits of one feature, as Curvatures has them.

    Products of float32 data are exact, and NumPy adds them pairwise: off by less than 2^-47.
    """
    samples = group.samples.X  # in order, or one of all fits
    rows = (samples[:, :, 0] if len(places) == len(samples) else samples[group.samples.x_index[places], :, 0]).astype(np.float64)
    found = np.empty((len(places), 3 if intercept else 1))
    if intercept:
        np.add.reduce(rows, axis=1, out=found[:, 1])
        found[:, 2] = samples.shape[1]
    rows *= rows
    np.add.reduce(rows, axis=1, out=found[:, 0])
    return found
