"""solve: the minimiser from the moments (docs/arithmetic.md, section 11).

1. Cholesky in float64 finds the leading digits, refinement finds the others: the residual of the
   normal equations is taken in double-double and so is the iterate. What is left is the error of
   the moments themselves, cond(G) · 2^-104 for float64 data.
2. Where cond(G) is too large for float64, float64 data get a Cholesky in double-double (NIST's
   Filip in raw powers: 13 digits, where QR of the data has 8 and numpy.linalg.lstsq none). Where it
   is too large for that, or float32 data need more than float64 moments contain, the fit is left to
   the caller.
3. Moments of float32 data have no low parts; theirs are zeros here, and one kernel serves both
   dtypes.
4. Fits of few parameters are solved 32 at a time (closed_form/pack.py); what these leave, a few
   fits, larger ones, and fits of shifted columns are solved one by one (closed_form/one_fit.py).
   The bits are the same.
"""

from __future__ import annotations

import math

import numpy as np

from ..chunk import LSTSQ, MOMENTS, MOST_PACKED
from .closed_form.one_fit import (
    GOAL_DOUBLED,
    GOAL_SINGLE,
    UNSOLVED,
    choose_factor,
    count_of_penalty,
    penalty_on_diagonal,
    refine,
    scale_gram,
)
from .closed_form.pack import SolveRecords, SolveResults, addresses_of, make_scratch, solve_pack
from .closed_form.shifted import MOST_SHIFTED, condition_unshifted, unshift
from .descent.evaluate import evaluate_moments, evaluate_moments_doubled
from .moments.stack import W_EXPONENT, W_HIGH, W_LOW
from .simd.addresses import address, keep_alive
from .simd.compiling import inlined, kernel, part
from .simd.double_double import pow2, scale
from .simd.lanes import LANES
from .simd.scalars import raised

LARGE = 2.0**127  # what is at most as large stays finite as a float32
FEWEST = 5  # fits that are solved 32 at a time; fewer one by one


@part
def _solve_in_packs(size, moments, results, n_fits, left, cancel, progress):
    """Solve fits 32 at a time; returns how many are left, whose numbers are written to `left`."""
    arrays, ranks, fits = make_scratch(size, moments.doubled), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    kept = np.zeros(3, np.int64)
    kept[0] = -1
    scratch = addresses_of(arrays)
    n_left = 0
    for first in range(0, n_fits, LANES):
        if raised(cancel):
            break
        count = min(LANES, n_fits - first)
        for lane in range(count):
            fits[lane] = first + lane
        solved = solve_pack(address(fits), count, size, moments, address(ranks), address(kept), scratch, results)
        for lane in range(count):
            if solved >> lane & 1:
                progress[0] += 1
            else:
                left[n_left] = first + lane
                n_left += 1
    keep_alive((arrays, ranks, fits, kept))
    return n_left


@inlined
def _are_at_most(size, values):
    """Whether no |value| is larger, nor NaN."""
    for j in range(len(values)):
        if not abs(values[j]) <= size:
            return False
    return True


@kernel
def solve(
    gram, gram_exponents, gram_index, target, exponents, target_index, decay, places, weighing, reduction_sum, most, shift,
    w, loss, condition, rank, algorithm, cancel, progress,
):  # fmt: skip
    """Minimisers of fits whose moments, as `compress` writes them, are finite.

    Fits of one Gram matrix and one decay should follow each other: one by one, it is factored once.
    Of fit f, gram_index, target_index, decay, places (m,) are the records, weight_decay, and the
    row of the outputs: w (…, D), loss, condition (…,) float64, rank (…,) int64; algorithm (…,)
    int8: MOMENTS, or LSTSQ where the moments do not suffice (then nothing else is written). shift
    (records of target, D + 1): what was subtracted from the columns and from y before the moments,
    with an intercept and without a decay; of length 0 where nothing was. Returns how many fits are
    settled: of full rank, their condition at most `most`, and no |w| and loss above LARGE.
    """
    size, n_fits = w.shape[1], len(places)
    single = gram.shape[1] == 1
    left = np.arange(n_fits)
    for f in range(n_fits):
        algorithm[places[f]] = LSTSQ
    n_left = n_fits
    if n_fits >= FEWEST and size <= MOST_PACKED and len(shift) == 0:
        records = SolveRecords(
            address(gram), address(gram_exponents), address(gram_index), address(target), address(exponents), address(target_index),
            address(weighing), address(decay), not single, reduction_sum,
        )  # fmt: skip
        results = SolveResults(address(places), address(w), address(loss), address(condition), address(rank))
        n_left = _solve_in_packs(size, records, results, n_fits, left, cancel, progress)
        for f in range(n_fits):
            algorithm[places[f]] = MOMENTS
        for f in range(n_left):
            algorithm[places[left[f]]] = LSTSQ
    zeros = np.zeros(gram.shape[2])  # the low parts of float32 data; D(D+1)/2 ≥ D, but the target has D + 1
    low_target = np.zeros(size + 1)
    plain, low_plain = np.empty((size, size)), np.empty((size, size))  # G, for the loss
    matrix, low_matrix = np.empty((size, size)), np.empty((size, size))
    factor, low_factor = np.empty((size, size)), np.empty((size, size))
    powers, shifts = np.zeros(size + 1, np.int64), np.zeros(size, np.int64)
    right, low_right, z, low_z = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    x, low_x, own_shift = np.empty(size), np.empty(size), np.zeros(size + 1)
    how, square, found, before = UNSOLVED, math.nan, 0, -1
    for number in range(n_left):
        if raised(cancel):
            break
        f = left[number]
        place, record, g = places[f], target_index[f], gram_index[f]
        if before < 0 or g != gram_index[before] or decay[f] != decay[before]:
            low_gram = zeros if single else gram[g, 1]
            count, low_count = count_of_penalty(weighing[g, W_HIGH], weighing[g, W_LOW], weighing[g, W_EXPONENT], reduction_sum)
            penalty, low_penalty, power = penalty_on_diagonal(decay[f], count, low_count)
            found = scale_gram(gram[g, 0], low_gram, gram_exponents[g], penalty, low_penalty, power, matrix, low_matrix, shifts, cancel)
            how, square = choose_factor(matrix, low_matrix, factor, low_factor, x, single, cancel)
            for j in range(size):
                for i in range(j + 1):
                    entry = j * (j + 1) // 2 + i
                    plain[i, j], low_plain[i, j] = gram[g, 0, entry], low_gram[entry]
                    plain[j, i], low_plain[j, i] = plain[i, j], low_plain[i, j]
        before = f
        if how == UNSOLVED:
            continue
        for j in range(size + 1):
            powers[j] = exponents[record, j]
            if not single:
                low_target[j] = target[record, 1, j]
        for j in range(size):
            right[j] = target[record, 0, j] * pow2(powers[j] - shifts[j])
            low_right[j] = low_target[j] * pow2(powers[j] - shifts[j])
        goal = GOAL_SINGLE if single else GOAL_DOUBLED
        if not refine(how, goal, matrix, low_matrix, factor, low_factor, right, low_right, z, low_z, x, low_x, cancel):
            continue
        own = square
        if len(shift):
            for j in range(size + 1):
                own_shift[j] = shift[record, j]
            own = condition_unshifted(gram[g, 0], matrix, factor, shifts, own_shift, x, right, cancel)
            if not own <= MOST_SHIFTED * MOST_SHIFTED:
                continue
        for j in range(size):
            w[place, j] = scale(z[j], powers[size] - shifts[j])
        if len(shift):
            for j in range(size):
                low_z[j] = scale(low_z[j], powers[size] - shifts[j])
            unshift(gram[g, 0], own_shift, w[place], low_z, z)  # z: the solution for the shifted columns
        else:
            for j in range(size):
                z[j] = w[place, j]
        if target[record, 0, size] == 0.0:
            loss[place] = 0.0
        elif single:
            loss[place] = evaluate_moments(plain, target[record, 0], weighing[g, W_HIGH], 1.0, z, x, low_x)
        else:
            loss[place] = evaluate_moments_doubled(
                plain, low_plain, target[record, 0], low_target, powers, weighing[g, W_HIGH], 1.0, 0.0, 0, z, x, low_x
            )  # fmt: skip
        condition[place] = max(1.0, math.sqrt(own))
        rank[place] = found
        algorithm[place] = MOMENTS
        progress[0] += 1
    keep_alive((gram, gram_exponents, gram_index, target, exponents, target_index, weighing, decay))
    settled = 0
    for f in range(n_fits):
        place = places[f]
        if algorithm[place] == MOMENTS and rank[place] == size and condition[place] <= most and loss[place] <= LARGE:
            settled += _are_at_most(LARGE, w[place])
    keep_alive((places, w, loss, condition, rank))
    return settled
