"""The curvatures of some fits that ended far from the minimum, kept while moments are at hand."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from ..kernels.chunk import Chunk
from ..planning.job import FitJob
from ..results.curvatures import Curvatures
from ..results.distances import not_near
from .groups import Group
from .hessians import curvatures_of


def explain(job: FitJob, chunk: Chunk, group: Group, gram_index: np.ndarray | None, first: int) -> None:
    """Keep what explains the ends of fits of a chunk, of those that are looked at.

    gram_index (m,): each fit's record in the group's moments; None where the group has none: then
    its fits have a single feature, and all data are finite. first: number of the first fit.
    """
    fits, ends = _looked_at(job, first, len(chunk.loss)), (chunk.loss, chunk.excess, chunk.initial_excess, chunk.status)
    if not len(fits):
        return
    if len(fits) < len(chunk.loss):
        ends = tuple(values[fits] for values in ends)
    fits = fits[not_near(*ends, from_zero=job.start == "zero")]
    if group.standard is not None and gram_index is not None:  # their moments may not hold the scaled features
        fits = fits[~group.standard.doubtful[gram_index[fits]]]
    if not len(fits):
        return
    if job.schedule is not None or job.free_intercept:  # λ_max with a penalty on some parameters is not known here
        hyper = np.full((len(fits), chunk.hyper.shape[1]), np.nan)
    else:
        hyper = chunk.hyper[fits if job.hyper_row is None else slice(len(fits))]
    if gram_index is None:
        scale = np.empty(len(fits))
        scale.fill(2.0 if job.reduction == "sum" else 2.0 / job.problem.n_samples)
        found = Curvatures(fits + first, _grams(chunk, fits), np.zeros((len(fits), chunk.w.shape[1]), np.int64), scale, hyper)
    else:
        found = curvatures_of(group.moments, gram_index[fits], fits + first, hyper, job.reduction == "sum")
    job.buffers.curvatures.append(found)


def _looked_at(job: FitJob, first: int, count: int) -> np.ndarray:
    """Positions in a chunk, which begins at fit `first`, of the fits that are looked at."""
    numbers = job.explained
    if count == job.order.n_fits:
        return numbers
    return numbers[bisect_left(numbers, first) : bisect_left(numbers, first + count)] - first


def _grams(chunk: Chunk, fits: np.ndarray) -> np.ndarray:
    """(k, D(D+1)/2): the Gram matrices of fits of one feature, as Curvatures has them.

    Products of float32 data are exact, and NumPy adds them pairwise: off by less than 2^-47.
    """
    rows = chunk.X[fits, :, 0]  # such fits have their data in order
    found = np.empty((len(fits), 3 if chunk.intercept else 1))
    np.add.reduce(np.square(rows, dtype=np.float64), axis=1, out=found[:, 0])
    if chunk.intercept:
        np.add.reduce(rows, axis=1, dtype=np.float64, out=found[:, 1])
        found[:, 2] = chunk.n_used[fits]
    return found
