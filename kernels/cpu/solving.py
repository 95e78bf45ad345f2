"""solve: the minimiser from the moments (docs/arithmetic.md, section 11).

1. Cholesky in float64 finds the leading digits, refinement finds the others: the residual of the
   normal equations is taken in double-double and so is the iterate. What is left is the error of
   the moments themselves, cond(G) · 2^-104 for float64 data.
2. Where cond(G) is too large for float64, float64 data get a Cholesky in double-double (NIST's
   Filip in raw powers: 13 digits, where QR of the data has 8 and numpy.linalg.lstsq none). Where it
   is too large for that, or float32 data need more than float64 moments contain, the fit is left to
   LAPACK.
3. Moments of float32 data have no low parts; theirs are zeros here, and one kernel serves both
   dtypes.
"""

from __future__ import annotations

import math

import numpy as np

from ..chunk import LSTSQ, MOMENTS
from .descent.evaluate import evaluate_moments, evaluate_moments_doubled
from .moments.stack import W_EXPONENT, W_HIGH, W_LOW
from .simd.compiling import inlined, kernel, part
from .simd.double_double import dd_add, fast_two_sum, pow2, scale, two_sum
from .simd.lanes import fma
from .simd.scalars import raised

# Limits of D · tr(G⁻¹), G with a unit diagonal: at least cond(G), at most D² · cond(G).
MOST_SINGLE = 2.0**24  # moments in float64 (float32 data): the solution keeps 2^-53+24
MOST_REFINED = 2.0**46  # Cholesky in float64: every step of refinement gains at least 2^7
MOST_DOUBLED = 2.0**88  # Cholesky in double-double
MOST_STEPS = 40
GOAL_SINGLE, GOAL_DOUBLED = 2.0**-50, 2.0**-80  # stop when the correction is so small beside the solution
STALLED = 2.0**-50  # a refinement that stops gaining above this has failed
UNSOLVED, REFINED, DOUBLED = range(3)  # how a Gram matrix was factored


@inlined
def _divide(a, a_low, b, b_low):
    """Quotient of two double-doubles."""
    q = a / b
    p = q * b
    e = fma(q, b, -p)
    e = fma(q, b_low, e)
    return fast_two_sum(q, (((a - p) - e) + a_low) / b)


@inlined
def _minus_product(total, low, a, a_low, b, b_low):
    """Compensated total − a·b: (total, low) is not normalised."""
    p = a * b
    e = fma(a, b, -p)
    e = fma(a_low, b, e)
    e = fma(a, b_low, e)
    total, lost = two_sum(total, -p)
    return total, low + (lost - e)


@part
def _scale_gram(gram, low_gram, powers, decay, count, low_count, matrix, low_matrix, exponents):
    """Fill matrix = 2^-e (G + λI) 2^-e, with a diagonal in [1/2, 4), and the exponents e.

    λ = decay · (count + low_count) / 2. Returns False where the diagonal has a zero.
    """
    size = len(exponents)
    mantissa, power = math.frexp(decay)
    penalty = mantissa * count
    low_penalty = fma(mantissa, low_count, fma(mantissa, count, -penalty))
    power -= 1
    for j in range(size):
        entry = j * (j + 1) // 2 + j
        if gram[entry] == 0.0 and penalty == 0.0:
            return False
        exponent = math.frexp(gram[entry])[1] + 2 * powers[j]
        if gram[entry] == 0.0 or (penalty != 0.0 and math.frexp(penalty)[1] + power > exponent):
            exponent = math.frexp(penalty)[1] + power
        exponents[j] = exponent >> 1
    for j in range(size):
        for i in range(j + 1):
            entry = j * (j + 1) // 2 + i
            left, right = powers[i] - exponents[i], powers[j] - exponents[j]
            high, low = scale(scale(gram[entry], left), right), scale(scale(low_gram[entry], left), right)
            if i == j and penalty != 0.0:
                shift = power - 2 * exponents[j]
                high, low = dd_add(high, low, scale(penalty, shift), scale(low_penalty, shift))
            matrix[i, j], low_matrix[i, j] = high, low
            matrix[j, i], low_matrix[j, i] = high, low
    return True


@part
def _factor(matrix, factor):
    """Cholesky in float64. Returns False where a pivot is lost."""
    for j in range(matrix.shape[0]):
        for i in range(j + 1):
            total = matrix[j, i]
            for k in range(i):
                total = fma(-factor[i, k], factor[j, k], total)
            if i < j:
                factor[j, i] = total / factor[i, i]
            elif total * MOST_REFINED > matrix[j, j]:
                factor[j, j] = math.sqrt(total)
            else:
                return False
    return True


@part
def _factor_doubled(matrix, low_matrix, factor, low_factor):
    """Cholesky in double-double. Returns False where a pivot is lost."""
    for j in range(matrix.shape[0]):
        for i in range(j + 1):
            total, low = matrix[j, i], low_matrix[j, i]
            for k in range(i):
                total, low = _minus_product(total, low, factor[i, k], low_factor[i, k], factor[j, k], low_factor[j, k])
            total, low = two_sum(total, low)
            if i < j:
                factor[j, i], low_factor[j, i] = _divide(total, low, factor[i, i], low_factor[i, i])
            elif total * MOST_DOUBLED > matrix[j, j]:
                root = math.sqrt(total)
                factor[j, j], low_factor[j, j] = fast_two_sum(root, (fma(-root, root, total) + low) / (2.0 * root))
            else:
                return False
    return True


@part
def _collinearity(matrix, factor, inverse):
    """(sum, largest) of G_jj (G⁻¹)_jj, the squares of Stewart's collinearity indices.

    inverse (D,) is scratch.
    """
    size = matrix.shape[0]
    total, largest = 0.0, 0.0
    for j in range(size):
        square = 0.0
        for i in range(j, size):
            entry = 1.0 if i == j else 0.0
            for k in range(j, i):
                entry = fma(-factor[i, k], inverse[k], entry)
            inverse[i] = entry / factor[i, i]
            square = fma(inverse[i], inverse[i], square)
        square = square * matrix[j, j]
        total = total + square
        largest = max(largest, square)
    return total, largest


@part
def _choose(matrix, low_matrix, factor, low_factor, scratch, single):
    """Factor the scaled Gram matrix: (UNSOLVED, REFINED or DOUBLED, square of the condition)."""
    size = matrix.shape[0]
    if _factor(matrix, factor):
        total, largest = _collinearity(matrix, factor, scratch)
        if total * size <= (MOST_SINGLE if single else MOST_REFINED):
            return REFINED, largest
    if not single and _factor_doubled(matrix, low_matrix, factor, low_factor):
        total, largest = _collinearity(matrix, factor, scratch)
        if total * size <= MOST_DOUBLED:
            return DOUBLED, largest
    return UNSOLVED, math.nan


@part
def _substitute(factor, x):
    """L Lᵀ x = x in float64, in place."""
    size = len(x)
    for j in range(size):
        total = x[j]
        for k in range(j):
            total = fma(-factor[j, k], x[k], total)
        x[j] = total / factor[j, j]
    for j in range(size - 1, -1, -1):
        total = x[j]
        for k in range(j + 1, size):
            total = fma(-factor[k, j], x[k], total)
        x[j] = total / factor[j, j]


@part
def _substitute_doubled(factor, low_factor, x, low_x):
    """L Lᵀ x = x in double-double, in place."""
    size = len(x)
    for j in range(size):
        total, low = x[j], low_x[j]
        for k in range(j):
            total, low = _minus_product(total, low, factor[j, k], low_factor[j, k], x[k], low_x[k])
        total, low = two_sum(total, low)
        x[j], low_x[j] = _divide(total, low, factor[j, j], low_factor[j, j])
    for j in range(size - 1, -1, -1):
        total, low = x[j], low_x[j]
        for k in range(j + 1, size):
            total, low = _minus_product(total, low, factor[k, j], low_factor[k, j], x[k], low_x[k])
        total, low = two_sum(total, low)
        x[j], low_x[j] = _divide(total, low, factor[j, j], low_factor[j, j])


@part
def _refine(how, goal, matrix, low_matrix, factor, low_factor, right, low_right, z, low_z, x, low_x):
    """Solve matrix · z = right by refinement from z = 0. Returns False where it does not converge.

    x, low_x (D,) are scratch.
    """
    size = len(z)
    for j in range(size):
        z[j], low_z[j] = 0.0, 0.0
    before, correction, largest = math.inf, math.inf, 0.0
    for _ in range(MOST_STEPS):
        for j in range(size):
            total, low = right[j], low_right[j]
            for k in range(size):
                total, low = _minus_product(total, low, matrix[j, k], low_matrix[j, k], z[k], low_z[k])
            x[j], low_x[j] = two_sum(total, low)
        if how == DOUBLED:
            _substitute_doubled(factor, low_factor, x, low_x)
        else:
            _substitute(factor, x)
            for j in range(size):
                low_x[j] = 0.0
        correction, largest = 0.0, 0.0
        for j in range(size):
            z[j], low_z[j] = dd_add(z[j], low_z[j], x[j], low_x[j])
            correction = max(correction, abs(x[j]))
            largest = max(largest, abs(z[j]))
        if correction <= goal * largest or not correction <= 0.5 * before:
            break
        before = correction
    return how == DOUBLED or correction <= STALLED * largest


@kernel
def solve(
    gram, gram_exponents, gram_index, target, exponents, target_index, decay, places, weighing, reduction_sum,
    w, loss, condition, algorithm, cancel, progress,
):  # fmt: skip
    """Minimisers of fits whose moments, as `compress` writes them, are finite.

    Fits of one Gram matrix and one decay should follow each other: it is factored once. Of fit f,
    gram_index, target_index, decay, places (m,) are the records, weight_decay, and the row of the
    outputs: w (…, D), loss, condition (…,) float64; algorithm (…,) int8: MOMENTS, or LSTSQ where
    the moments do not suffice (then nothing else is written).
    """
    size = w.shape[1]
    single = gram.shape[1] == 1
    zeros = np.zeros(gram.shape[2])  # the low parts of float32 data; D(D+1)/2 ≥ D, but the target has D + 1
    low_target = np.zeros(size + 1)
    plain, low_plain = np.empty((size, size)), np.empty((size, size))  # G, for the loss
    matrix, low_matrix = np.empty((size, size)), np.empty((size, size))
    factor, low_factor = np.empty((size, size)), np.empty((size, size))
    powers, shifts = np.zeros(size + 1, np.int64), np.zeros(size, np.int64)
    right, low_right, z, low_z = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    x, low_x = np.empty(size), np.empty(size)
    how, square = UNSOLVED, math.nan
    for f in range(len(places)):
        if raised(cancel):
            return
        place, record = places[f], target_index[f]
        g = gram_index[f]
        if f == 0 or g != gram_index[f - 1] or decay[f] != decay[f - 1]:
            how = UNSOLVED
            low_gram = zeros if single else gram[g, 1]
            count, low_count = weighing[g, W_HIGH], weighing[g, W_LOW]
            if reduction_sum:
                count, low_count = pow2(-np.int64(weighing[g, W_EXPONENT])), 0.0
            if _scale_gram(gram[g, 0], low_gram, gram_exponents[g], decay[f], count, low_count, matrix, low_matrix, shifts):
                how, square = _choose(matrix, low_matrix, factor, low_factor, x, single)
            for j in range(size):
                for i in range(j + 1):
                    entry = j * (j + 1) // 2 + i
                    plain[i, j], low_plain[i, j] = gram[g, 0, entry], low_gram[entry]
                    plain[j, i], low_plain[j, i] = plain[i, j], low_plain[i, j]
        algorithm[place] = LSTSQ
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
        if not _refine(how, goal, matrix, low_matrix, factor, low_factor, right, low_right, z, low_z, x, low_x):
            continue
        for j in range(size):
            w[place, j] = scale(z[j], powers[size] - shifts[j])
        if target[record, 0, size] == 0.0:
            loss[place] = 0.0
        elif single:
            loss[place] = evaluate_moments(plain, target[record, 0], weighing[g, W_HIGH], 1.0, w[place], x, low_x)
        else:
            loss[place] = evaluate_moments_doubled(
                plain, low_plain, target[record, 0], low_target, powers, weighing[g, W_HIGH], 1.0, 0.0, 0, w[place], x, low_x
            )  # fmt: skip
        condition[place] = max(1.0, math.sqrt(square))
        algorithm[place] = MOMENTS
        progress[0] += 1
