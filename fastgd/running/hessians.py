"""Curvatures from moments: the Hessian of each fit, and its eigenvalues."""

from __future__ import annotations

import numpy as np

from ..kernels import cpu
from ..results.curvatures import Curvatures
from ..results.moments import Moments

BLOCK_NUMBERS = 2**20  # of matrices, at a time


def curvatures_of(records: cpu.Moments, grams: np.ndarray, index: np.ndarray, hyper: np.ndarray, of_the_sum: bool) -> Curvatures:
    """The curvatures of k fits; grams (k,): their Gram records. index, hyper: as in Curvatures."""
    if len(records.gram) == 1 < len(grams):  # one matrix, not a copy for each fit
        one = curvatures_of(records, grams[:1], index[:1], hyper[:1], of_the_sum)
        gram, exponents, scale = (
            np.broadcast_to(values, (len(grams), *values.shape[1:])) for values in (one.gram, one.exponents, one.scale)
        )
        return Curvatures(index, gram, exponents, scale, hyper)
    count, size = len(grams), records.gram_exponents.shape[1] - 1
    # moments of float32 data are not scaled
    exponents = np.zeros((count, size), np.int64) if records.gram.shape[1] == 1 else records.gram_exponents[grams, :-1]
    these = cpu.Moments(records.gram[grams], exponents, records.weighing[grams], records.target, records.exponents)
    scale = these.curvature(np.arange(count), np.ones(count), of_the_sum)
    return Curvatures(index, these.gram[:, 0], exponents, scale, hyper)


def extreme_eigenvalues(moments: Moments, of_the_sum: bool) -> tuple[np.ndarray, np.ndarray]:
    """(λ_max, λ_min) of the Hessian of the loss, of each pair of an X and a y.

    λ_min is 0 where rounding hides it; both are NaN where the data are invalid, or none.
    """
    n_gram, size = len(moments.gram), moments.n_parameters
    records = cpu.Moments(moments.gram, moments.gram_exponents, moments.weighing, moments.target, moments.exponents)
    largest, least = np.empty((2, n_gram))
    step = max(1, BLOCK_NUMBERS // size**2)
    for first in range(0, n_gram, step):
        here = np.arange(first, min(first + step, n_gram))
        some = curvatures_of(records, here, here, np.empty((len(here), 0)), of_the_sum)
        values = some.eigenvalues()
        largest[here] = values[:, -1]
        least[here] = np.where(np.isinf(some.conditions(values)), 0.0, values[:, 0])
    lost = moments.invalid | (moments.n_used == 0)
    largest, least = (np.where(lost, np.nan, found[moments.gram_index]) for found in (largest, least))
    return largest, least
