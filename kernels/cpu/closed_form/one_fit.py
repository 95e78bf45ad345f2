"""One fit in closed form: its Gram matrix scaled, factored, and the solution refined.

docs/arithmetic.md, section 11. pack.py does the same operations in 32 lanes, as far as a Cholesky
in float64 goes. Each part ends early once the cancel flag is raised, as if the fit could not be
solved.
"""

from __future__ import annotations

import math

import numpy as np

from ..simd.compiling import inlined, part
from ..simd.double_double import dd_add, dd_divide, fast_two_sum, pow2, scale, two_sum
from ..simd.lanes import fma
from ..simd.scalars import raised

# Limits of D · tr(G⁻¹), G with a unit diagonal: at least cond(G), at most D² · cond(G).
MOST_SINGLE = 2.0**24  # moments in float64 (float32 data): the solution keeps 2^-53+24
MOST_REFINED = 2.0**46  # Cholesky in float64: every step of refinement gains at least 2^7
MOST_DOUBLED = 2.0**88  # Cholesky in double-double
MOST_STEPS = 40
GOAL_SINGLE, GOAL_DOUBLED = 2.0**-50, 2.0**-80  # stop when the correction is so small beside the solution
STALLED = 2.0**-50  # a refinement that stops gaining above this has failed
UNSOLVED, REFINED, DOUBLED = range(3)  # how a Gram matrix was factored


@inlined
def exponent_of_scale(diagonal, exponent, penalty, power):
    """h_j: half the exponent of G_jj + λ, where the column is scaled by 2^-exponent.

    penalty · 2^power is λ, or nearly.
    """
    own = math.frexp(diagonal)[1] + 2 * exponent
    if diagonal == 0.0 or (penalty != 0.0 and math.frexp(penalty)[1] + power > own):
        own = math.frexp(penalty)[1] + power
    return own >> 1


@inlined
def count_of_penalty(high, low, exponent, reduction_sum):
    """(count, low_count) of `penalty_on_diagonal`, from W, W′ and k_ω: W, or 2^-k_ω for a sum."""
    if reduction_sum:
        high, low = pow2(-np.int64(exponent)), 0.0
    return high, low


@inlined
def penalty_on_diagonal(decay, count, low_count):
    """λ = decay · (count + low_count) / 2 as (high, low, power): (high + low) · 2^power."""
    mantissa, power = math.frexp(decay)
    penalty = mantissa * count
    return penalty, fma(mantissa, low_count, fma(mantissa, count, -penalty)), power - 1


@inlined
def minus_product(total, low, a, a_low, b, b_low):
    """Compensated total − a·b: (total, low) is not normalised."""
    p = a * b
    e = fma(a, b, -p)
    e = fma(a_low, b, e)
    e = fma(a, b_low, e)
    total, lost = two_sum(total, -p)
    return total, low + (lost - e)


@part
def scale_gram(gram, low_gram, powers, penalty, low_penalty, power, matrix, low_matrix, exponents, cancel):
    """Fill matrix = 2^-h (G + λI) 2^-h, with a diagonal in [1/2, 4), and the exponents h.

    λ = (penalty + low_penalty) · 2^power. A column of zeros without a penalty gets a 1 on the
    diagonal: its w is 0. Returns how many columns are not of that kind, the rank if all others are
    independent.
    """
    size = len(exponents)
    rank = 0
    for j in range(size):
        exponents[j] = exponent_of_scale(gram[j * (j + 1) // 2 + j], powers[j], penalty, power)
    for j in range(size):
        if raised(cancel):
            break
        for i in range(j + 1):
            entry = j * (j + 1) // 2 + i
            left, right = powers[i] - exponents[i], powers[j] - exponents[j]
            high, low = scale(scale(gram[entry], left), right), scale(scale(low_gram[entry], left), right)
            if i == j and penalty != 0.0:
                shift = power - 2 * exponents[j]
                high, low = dd_add(high, low, scale(penalty, shift), scale(low_penalty, shift))
            elif i == j and high == 0.0:
                high = 1.0
            matrix[i, j], low_matrix[i, j] = high, low
            matrix[j, i], low_matrix[j, i] = high, low
        rank += gram[j * (j + 1) // 2 + j] != 0.0 or penalty != 0.0
    return rank


@part
def _factor(matrix, factor, cancel):
    """Cholesky in float64. Returns False where a pivot is lost."""
    for j in range(matrix.shape[0]):
        if raised(cancel):
            return False
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
def _factor_doubled(matrix, low_matrix, factor, low_factor, cancel):
    """Cholesky in double-double. Returns False where a pivot is lost."""
    for j in range(matrix.shape[0]):
        if raised(cancel):
            return False
        for i in range(j + 1):
            total, low = matrix[j, i], low_matrix[j, i]
            for k in range(i):
                total, low = minus_product(total, low, factor[i, k], low_factor[i, k], factor[j, k], low_factor[j, k])
            total, low = two_sum(total, low)
            if i < j:
                factor[j, i], low_factor[j, i] = dd_divide(total, low, factor[i, i], low_factor[i, i])
            elif total * MOST_DOUBLED > matrix[j, j]:
                root = math.sqrt(total)
                factor[j, j], low_factor[j, j] = fast_two_sum(root, (fma(-root, root, total) + low) / (2.0 * root))
            else:
                return False
    return True


@part
def _collinearity(matrix, factor, inverse, cancel):
    """(sum, largest) of G_jj (G⁻¹)_jj, the squares of Stewart's collinearity indices.

    inverse (D,) is scratch.
    """
    size = matrix.shape[0]
    total, largest = 0.0, 0.0
    for j in range(size):
        if raised(cancel):
            return math.inf, math.inf
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
def choose_factor(matrix, low_matrix, factor, low_factor, scratch, single, cancel):
    """Factor the scaled Gram matrix: (UNSOLVED, REFINED or DOUBLED, square of the condition)."""
    size = matrix.shape[0]
    if _factor(matrix, factor, cancel):
        total, largest = _collinearity(matrix, factor, scratch, cancel)
        if total * size <= (MOST_SINGLE if single else MOST_REFINED):
            return REFINED, largest
    if not single and _factor_doubled(matrix, low_matrix, factor, low_factor, cancel):
        total, largest = _collinearity(matrix, factor, scratch, cancel)
        if total * size <= MOST_DOUBLED:
            return DOUBLED, largest
    return UNSOLVED, math.nan


@part
def _substitute(factor, x, cancel):
    """L Lᵀ x = x in float64, in place."""
    size = len(x)
    for j in range(size):
        if raised(cancel):
            return
        total = x[j]
        for k in range(j):
            total = fma(-factor[j, k], x[k], total)
        x[j] = total / factor[j, j]
    for j in range(size - 1, -1, -1):
        if raised(cancel):
            return
        total = x[j]
        for k in range(j + 1, size):
            total = fma(-factor[k, j], x[k], total)
        x[j] = total / factor[j, j]


@part
def _substitute_doubled(factor, low_factor, x, low_x, cancel):
    """L Lᵀ x = x in double-double, in place."""
    size = len(x)
    for j in range(size):
        if raised(cancel):
            return
        total, low = x[j], low_x[j]
        for k in range(j):
            total, low = minus_product(total, low, factor[j, k], low_factor[j, k], x[k], low_x[k])
        total, low = two_sum(total, low)
        x[j], low_x[j] = dd_divide(total, low, factor[j, j], low_factor[j, j])
    for j in range(size - 1, -1, -1):
        if raised(cancel):
            return
        total, low = x[j], low_x[j]
        for k in range(j + 1, size):
            total, low = minus_product(total, low, factor[k, j], low_factor[k, j], x[k], low_x[k])
        total, low = two_sum(total, low)
        x[j], low_x[j] = dd_divide(total, low, factor[j, j], low_factor[j, j])


@part
def refine(how, goal, matrix, low_matrix, factor, low_factor, right, low_right, z, low_z, x, low_x, cancel):
    """Solve matrix · z = right by refinement from z = 0. Returns False where it does not converge.

    x, low_x (D,) are scratch.
    """
    size = len(z)
    for j in range(size):
        z[j], low_z[j] = 0.0, 0.0
    before, correction, largest = math.inf, math.inf, 0.0
    for _ in range(MOST_STEPS):
        for j in range(size):
            if raised(cancel):
                return False
            total, low = right[j], low_right[j]
            for k in range(size):
                total, low = minus_product(total, low, matrix[j, k], low_matrix[j, k], z[k], low_z[k])
            x[j], low_x[j] = two_sum(total, low)
        if how == DOUBLED:
            _substitute_doubled(factor, low_factor, x, low_x, cancel)
        else:
            _substitute(factor, x, cancel)
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
