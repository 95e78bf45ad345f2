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

from ..kernels.chunk import INVALID_DATA, LSTSQ, MOMENTS, TOO_FEW_SAMPLES, Chunk, Samples
from ..planning.job import FitJob
from .groups import Group
from .pool import Control

MOST_ELIMINATED = 32  # parameters
_FIRST = np.zeros(1, np.int64)


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
    eliminated = runs & (chunk.algorithm == MOMENTS) & (chunk.w.shape[1] <= MOST_ELIMINATED)
    _set_penalties(chunk, np.flatnonzero(runs & ~eliminated))
    if eliminated.any():
        from ..kernels import cpu

        gram_index, with_allowance = group.gram_index[pairs], job.tol >= 0.0
        cpu.least_values(chunk, np.flatnonzero(eliminated), group.moments, gram_index, pairs, with_allowance, control.cancel)
    if job.least_needed:
        find_from_minimisers(job, chunk, group, pairs, runs & np.isnan(chunk.least), control)


def _set_penalties(chunk: Chunk, fits: np.ndarray) -> None:
    """Set κ of fits of which the elimination does not."""
    half, totals = 0.5 * chunk.rule.coupled_decay(chunk.hyper)[fits], chunk.n_used[fits].astype(np.float64)
    if chunk.reduction == "sum":
        for place in np.flatnonzero(half) if len(chunk.weights) else ():
            weights: Any = chunk.samples(int(fits[place]))[2]
            totals[place] = math.fsum(weights.tolist())
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
    w, loss = _minimise(job, chunk, fits, decay, group, pairs[fits], control)
    if control.cancel[0]:
        return
    u = float(np.finfo(chunk.w_out.dtype).eps) / 2.0
    of_least, of_squares = 16.0 * u, 64.0 * u * u
    if group.moments is not None:
        of_least, of_squares = 2.0**-52, 2.0**-51 if chunk.w_out.dtype == np.float32 else 2.0**-100
    squares = _mean_squares(chunk, group, pairs[fits], fits)
    with np.errstate(all="ignore"):
        total = squares[:, -1].copy()
        for j in range(w.shape[1]):
            total += w[:, j] * w[:, j] * squares[:, j]
        least = np.array([_objective(*values) for values in zip(w, loss.tolist(), chunk.penalty[fits].tolist(), strict=True)])
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


def _mean_squares(chunk: Chunk, group: Group, pairs: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """(k, D + 1): the (weighted) mean of the squares of every column and of y."""
    size = chunk.w.shape[1]
    found = np.ones((len(fits), size + 1))
    moments = group.moments
    with np.errstate(all="ignore"):
        if moments is not None:
            grams, exponents = group.gram_index[pairs], moments.exponents[pairs]
            diagonal = [j * (j + 1) // 2 + j for j in range(size)]
            found[:, :size], found[:, size] = moments.gram[grams, 0][:, diagonal], moments.target[pairs, 0, size]
            powers = 2 * exponents if moments.gram.shape[1] == 2 else 0 * exponents
            return np.ldexp(found / moments.weighing[grams, 0][:, None], powers)
        for place, fit in enumerate(fits.tolist()):
            X, y, weights = chunk.samples(fit)
            share = np.full(len(y), 1.0 / len(y)) if weights is None else weights.astype(np.float64) / weights.sum(dtype=np.float64)
            found[place, : X.shape[1]] = share @ (X.astype(np.float64) ** 2)
            found[place, size] = share @ (y.astype(np.float64) ** 2)
    return found


def _loss_at(X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, w: np.ndarray) -> float:
    """The loss at w (D,), with residuals as if in twice the precision of float64.

    Rounded in float64, they would be wrong by much more than the allowance where w is large.
    """
    high, low = -y.astype(np.float64), np.zeros(len(y))
    columns = [column.astype(np.float64) for column in X.T] + [np.ones(len(y))] * (len(w) - X.shape[1])
    with np.errstate(all="ignore"):
        for column, value in zip(columns, w, strict=True):
            product = column * value
            a, b = _upper_half(column), _upper_half(value)
            a_rest, b_rest = column - a, value - b
            error = ((a * b - product) + a * b_rest + a_rest * b) + a_rest * b_rest
            total = high + product
            there = total - high
            low += ((high - (total - there)) + (product - there)) + error
            high = total
        residual = high + low
        if weights is None:
            return float(np.square(residual).sum() / len(y))
        omega = weights.astype(np.float64)
        return float((omega * residual * residual).sum() / omega.sum())


def _upper_half(values: np.ndarray) -> np.ndarray:
    """The upper 26 bits of float64 numbers (Dekker, 1971)."""
    stretched = values * (2.0**27 + 1.0)
    return stretched - (stretched - values)


def _alone(chunk: Chunk, fit: int, group: Group, pair: int) -> Group:
    """The group of one standardised fit, with samples of its scaled features."""
    X, y, weights = chunk.samples(fit)
    n, m = len(y), group.moments
    samples = Samples(
        X[None], y[None], _FIRST, _FIRST, np.empty((0, n), y.dtype) if weights is None else weights[None], _FIRST,
        np.empty((0, n), np.int32), np.full(1, -1), np.full(1, n),
    )  # fmt: skip
    if m is not None:
        gram, target = slice(group.gram_index[pair], group.gram_index[pair] + 1), slice(pair, pair + 1)
        m = type(m)(m.gram[gram], m.gram_exponents[gram], m.weighing[gram], m.target[target], m.exponents[target])
    return Group(0, samples, np.zeros(1, bool), m, _FIRST)


def _minimise(
    job: FitJob, chunk: Chunk, fits: np.ndarray, decay: np.ndarray, group: Group, pairs: np.ndarray, control: Control
) -> tuple[np.ndarray, np.ndarray]:
    """(w, loss) at the minimisers of these fits, float64; decay (k,) weight_decay."""
    from .minimisers import Minimisers, minimise

    found, places = Minimisers.empty(len(fits), chunk.w.shape[1]), np.arange(len(fits), dtype=np.int64)
    parts = [(group, pairs, places)]
    if len(chunk.center):
        parts = [(_alone(chunk, int(fits[place]), group, int(pairs[place])), _FIRST, places[place : place + 1]) for place in places]
    for part, of_part, rows in parts:
        minimise(job.problem, part, of_part, decay[rows], chunk.reduction == "sum", found, rows, control, np.zeros(1, np.int64))
    for place in np.flatnonzero(found.algorithm == LSTSQ):
        if control.cancel[0]:
            break
        X, y, weights = chunk.samples(int(fits[place]))
        found.loss[place] = _loss_at(X, y, weights, found.w[place])
    return found.w, found.loss
