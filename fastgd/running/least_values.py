"""F*, the least value of the objective of every fit of a chunk (docs/arithmetic.md, section 10).

1. Of fits on moments of at most 32 parameters it comes from an elimination that costs next to
   nothing: kernels/cpu/packs/least.py.
2. Of all others, and where rounding leaves the elimination open, it is the objective at the
   minimiser: of fits on moments as `solve` finds it, of fits on samples by LAPACK. That takes its
   time, so it is done only where F* is needed: with a tol, or where the caller wants every excess.
   Else F* stays NaN.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..data.double_double import two_product, two_sum
from ..kernels.chunk import INVALID_DATA, LSTSQ, MOMENTS, MOST_PACKED, TOO_FEW_SAMPLES, W_EXPONENT, W_HIGH, Chunk, Samples
from ..kernels.forks import lapack_lock
from ..planning.job import FitJob
from .groups import Group, Standard
from .pool import Control
from .samples import blocks_of, distinct_rows, read_samples, scale_samples, total_weights, weights_of


def find_least_values(job: FitJob, chunk: Chunk, group: Group, pairs: np.ndarray, control: Control, fits: np.ndarray) -> None:
    """Fill κ, F* and, with a tol, ρ of these fits of a chunk, where the job asks for them.

    pairs (m,): the number of each fit's pair in the group, which has moments where fits of the
    chunk run on them.
    """
    if not (job.measured and len(fits)):
        return
    runs = np.zeros(len(pairs), bool)
    runs[fits] = True
    runs &= (chunk.status != TOO_FEW_SAMPLES) & (chunk.status != INVALID_DATA) & ~chunk.rule.maximizes(chunk.hyper)
    eliminated = runs & (chunk.algorithm == MOMENTS) & (chunk.w.shape[1] <= MOST_PACKED)
    _set_penalties(chunk, group, pairs, np.flatnonzero(runs & ~eliminated))
    if eliminated.any():
        from ..kernels import cpu  # imports Numba, which the references may do without

        gram_index, with_allowance = group.gram_index[pairs], job.tol >= 0.0
        cpu.least_values(chunk, np.flatnonzero(eliminated), group.moments, gram_index, pairs, with_allowance, control.cancel)
    if job.least_needed:
        find_from_minimisers(job, chunk, group, pairs, runs & np.isnan(chunk.least), control)


def _set_penalties(chunk: Chunk, group: Group, pairs: np.ndarray, fits: np.ndarray) -> None:
    """Set κ of fits of which the elimination does not."""
    half, totals = 0.5 * chunk.rule.coupled_decay(chunk.hyper)[fits], chunk.n_used[fits].astype(np.float64)
    if chunk.reduction == "sum":
        penalised = half != 0.0
        if not group.has_samples:
            weighing = group.moments.weighing[group.gram_index[pairs[fits]]]
            totals = np.ldexp(weighing[:, W_HIGH], weighing[:, W_EXPONENT].astype(np.int64))
        elif len(chunk.weights) and penalised.any():
            totals[penalised] = total_weights(chunk, fits[penalised])
        with np.errstate(all="ignore"):
            half = np.where(half == 0.0, 0.0, half / totals)
    chunk.penalty[fits] = half


def find_from_minimisers(job: FitJob, chunk: Chunk, group: Group, pairs: np.ndarray, chosen: np.ndarray, control: Control) -> None:
    """Fill F* and ρ of some fits of a chunk from their minimisers; chosen (m,) bool."""
    on_moments = chunk.algorithm == MOMENTS
    _fill_from_minimisers(job, chunk, group, pairs, np.flatnonzero(chosen & on_moments), control)
    on_samples = replace(group, moments=None)  # F* of a fit on samples must not depend on what else is at hand
    _fill_from_minimisers(job, chunk, on_samples, pairs, np.flatnonzero(chosen & ~on_moments), control)


def _fill_from_minimisers(job: FitJob, chunk: Chunk, group: Group, pairs: np.ndarray, fits: np.ndarray, control: Control) -> None:
    """Fill F* and ρ of these fits of a chunk; NaN where they overflow."""
    if not len(fits) or control.cancel[0]:
        return
    decay = chunk.rule.coupled_decay(chunk.hyper)[fits]
    order = np.lexsort((decay, pairs[fits] if group.moments is None else group.gram_index[pairs[fits]]))
    fits, decay = fits[order], decay[order]
    raw, group = group, replace(group, samples=_samples_of(chunk, fits, group, pairs[fits]))
    w, loss = _minimise(job, chunk, fits, decay, group, raw, pairs[fits], control)
    if control.cancel[0]:
        return
    u = float(np.finfo(chunk.w_out.dtype).eps) / 2.0
    of_least, of_squares = 16.0 * u, 64.0 * u * u
    if group.moments is not None:
        of_least, of_squares = 2.0**-52, 2.0**-51 if chunk.w_out.dtype == np.float32 else 2.0**-100
    with np.errstate(all="ignore"):
        squares = _mean_squares(group.moments, group.gram_index, group.samples, pairs[fits], w.shape[1])
        total = squares[:, -1].copy()
        for j in range(w.shape[1]):
            total += w[:, j] * w[:, j] * squares[:, j]
        least = np.array(
            [_objective(*values) for values in zip(w[:, : chunk.n_decayed], loss.tolist(), chunk.penalty[fits].tolist(), strict=True)]
        )
        slack = of_least * least + (w.shape[1] + 1) ** 2 * of_squares * total
    known = np.isfinite(least) & np.isfinite(slack)
    chunk.least[fits], chunk.allowance[fits] = np.where(known, least, np.nan), slack


def _objective(w: np.ndarray, loss: float, penalty: float) -> float:
    """The objective at w, with fused multiply-adds."""
    if penalty == 0.0 or not (np.isfinite(w).all() and math.isfinite(loss)):
        return loss
    total = 0.0
    try:
        for value in w.tolist():
            total = float(Fraction(value) ** 2 + Fraction(total))
        return float(Fraction(penalty) * Fraction(total) + Fraction(loss))
    except OverflowError:
        return math.inf


def _mean_squares(moments: Any, gram_index: Any, samples: Samples, pairs: np.ndarray, size: int) -> np.ndarray:
    """(k, D + 1): the (weighted) mean of the squares of every column and of y."""
    found = np.ones((len(pairs), size + 1))
    if moments is not None:
        grams, exponents = gram_index[pairs], moments.exponents[pairs]
        diagonal = [j * (j + 1) // 2 + j for j in range(size)]
        found[:, :size], found[:, size] = moments.gram[grams, 0][:, diagonal], moments.target[pairs, 0, size]
        powers = 2 * exponents if moments.gram.shape[1] == 2 else 0 * exponents
        return np.ldexp(found / moments.weighing[grams, 0][:, None], powers)
    d = samples.X.shape[2]
    found[:, :d], found[:, size] = 0.0, 0.0
    for place in range(len(pairs)):
        pair = pairs[place : place + 1]
        blocks = blocks_of(samples, pair, size)
        read_weights, total, _ = weights_of(samples, pair, blocks)
        for block in blocks:
            share = read_weights(block) / total
            with lapack_lock():
                found[place, :d] += share @ read_samples(samples, "X", pair, *block)[0] ** 2
                found[place, size] += share @ read_samples(samples, "y", pair, *block)[0] ** 2
    return found


def _loss_at(samples: Samples, pair: np.ndarray, w: np.ndarray) -> float:
    """The loss at w (D,), with residuals as if in twice the precision of float64; pair (1,).

    Rounded in float64, they would be wrong by much more than the allowance where w is large.
    """
    blocks, squares = blocks_of(samples, pair, len(w)), 0.0
    read_weights, total, _ = weights_of(samples, pair, blocks)
    for block in blocks:
        X = read_samples(samples, "X", pair, *block)[0]
        high, low = -read_samples(samples, "y", pair, *block)[0], np.zeros(len(X))
        for j, value in enumerate(w):
            column = X[:, j] if j < X.shape[1] else np.ones(len(X))
            product, error = two_product(column, value)
            high, of_sum = two_sum(high, product)
            low += of_sum + error
        residual = high + low
        squares += float((read_weights(block) * residual * residual).sum())
    return squares / total


def _samples_of(chunk: Chunk, fits: np.ndarray, group: Group, pairs: np.ndarray) -> Samples:
    """The samples of a group, as these fits of a chunk descend on them; pairs (m,) of each fit."""
    samples = group.samples
    if not len(chunk.center):
        return samples
    center, scale = np.zeros((2, len(samples.x_index), chunk.center.shape[1]))
    center[pairs], scale[pairs] = chunk.center[fits], chunk.scale[fits]
    own = distinct_rows(np.concatenate([center, scale], axis=1))[1]
    # what stream scales it rounds to T; moments hold more than that
    precision = samples.X.dtype if group.moments is None else np.dtype(np.float64)
    return scale_samples(samples, center, scale, own, precision)


def _minimise(
    job: FitJob, chunk: Chunk, fits: np.ndarray, decay: np.ndarray, group: Group, raw: Group, pairs: np.ndarray, control: Control
) -> tuple[np.ndarray, np.ndarray]:
    """(w, loss) at the minimisers of these fits of a chunk, float64.

    decay (k,) weight_decay; pairs (k,): of a group, whose samples are scaled as the fits descend on
    them; raw: the group with its samples as they are.
    """
    from .minimisers import Minimisers, minimise  # imports Numba, which the references may do without

    found, places = Minimisers.empty(len(pairs), chunk.w.shape[1]), np.arange(len(pairs), dtype=np.int64)
    free = (decay > 0.0) & chunk.free_intercept
    some, counter = np.flatnonzero(~free), np.zeros(1, np.int64)
    if len(some):
        minimise(job.problem, group, pairs[some], decay[some], chunk.reduction == "sum", found, some, control, counter)
    if free.any():
        _minimise_without_intercept(job, chunk, fits, decay, raw, pairs, places[free], found, control)
    by_lapack = found.algorithm == LSTSQ
    if not group.has_samples:
        found.loss[by_lapack] = np.nan  # moments alone do not tell it well enough
        return found.w, found.loss
    for place in np.flatnonzero(by_lapack):
        if control.cancel[0]:
            break
        found.loss[place] = _loss_at(group.samples, pairs[place : place + 1], found.w[place])
    return found.w, found.loss


def _minimise_without_intercept(
    job: FitJob, chunk: Chunk, fits: np.ndarray, decay: np.ndarray, raw: Group, pairs: np.ndarray, places: np.ndarray, found: Any,
    control: Control,
) -> None:  # fmt: skip
    """Write the minimisers of fits whose penalty leaves the intercept alone, as `solve` finds them.

    places: of these fits among `fits`, decay, pairs and `found`.
    """
    from .centring import center_group
    from .minimisers import Minimisers, minimise

    if len(chunk.center):
        count = len(raw.samples.x_index)
        index = np.arange(count, dtype=np.int64) if raw.moments is None else raw.gram_index
        center, scale = np.zeros((2, int(index.max(initial=-1)) + 1, chunk.center.shape[1]))
        center[index[pairs]], scale[index[pairs]] = chunk.center[fits], chunk.scale[fits]
        raw = replace(raw, gram_index=index, standard=Standard(center, scale, np.zeros(len(center), bool), apart=True))
    centred = center_group(job.problem, raw, compressed=raw.moments is not None)
    d = job.problem.n_features
    inner, order = Minimisers.empty(len(places), d), np.arange(len(places), dtype=np.int64)
    of_the_sum, own = chunk.reduction == "sum", pairs[places]
    minimise(centred.problem, centred.group, own, decay[places], of_the_sum, inner, order, control, np.zeros(1, np.int64))
    with np.errstate(all="ignore"):
        found.w[places, :d] = inner.w
        found.w[places, d] = centred.middle[own] - (inner.w * centred.mean[own]).sum(axis=1)
    found.loss[places], found.algorithm[places] = inner.loss, inner.algorithm
