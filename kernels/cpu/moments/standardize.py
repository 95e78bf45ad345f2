"""standardize and unscale: to the features (x − center) / scale, and back (docs/arithmetic.md, 12).

1. Records come in as `compress` writes them and go out in the same form, in place; what reads them
   afterwards does not know. center and scale are numbers of the data's type: the moments and the
   samples (descent/evaluate.py) speak of the same scaled features.
2. A ⊖ m·S cancels where a column's mean is large beside its spread. Each fma (float32 data) or
   compensated step (float64 data) rounds once, relative to its result, so what is lost is only what
   the moments did not hold. A record that lost too much is doubtful: its fits go to their samples.
3. A column whose spread is all rounding is constant: its moments are set to zero.
"""

from __future__ import annotations

import math

import numpy as np

from ..simd.compiling import inlined, kernel, part
from ..simd.double_double import dd_divide, scale, two_sum
from ..simd.lanes import fma
from ..simd.scalars import LARGEST_FLOAT64, raised
from .stack import W_EXPONENT, W_HIGH, W_LEAST

# Σ(x − center)² / Σx²: where it is smaller, what is left of a column is rounding: it is constant
CONSTANT_SINGLE, CONSTANT_DOUBLED = 2.0**-46, 2.0**-96
# Σx² / Σ(x − center)²: where it is larger, the moments of a column have lost too many digits
MOST_CANCELLED_SINGLE, MOST_CANCELLED_DOUBLED = 2.0**28, 2.0**50
MOST_SINGLE, MOST_DOUBLED = 2.0**120, 2.0**1000  # of |x − center|: Ω of section 6
ROWS_PER_POLL = 4096  # of a history, between two reads of the cancel flag
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@inlined
def _minus_product(x, x_low, v, v_low, m):
    """x − v·m, of double-doubles x and v."""
    p = v * m
    q = fma(v, m, -p)
    q = fma(v_low, m, q)
    total, lost = two_sum(x, -p)
    return two_sum(total, x_low + (lost - q))


@inlined
def _usable(found):
    """A standard deviation as a scale: 1 where it is 0."""
    return 1.0 if found == 0.0 else found


@part
def _has_moments(gram, weighing, d):
    """Whether there are samples, and their features are finite."""
    finite = weighing[W_HIGH] > 0.0
    for j in range(d):
        finite = finite and math.isfinite(gram[0, j * (j + 1) // 2 + j])
    return finite


@part
def _standardize_gram(gram, weighing, intercept, center, scales, constant, moved, cancel):
    """Float32 data: returns whether the record is doubtful. moved (d,) is scratch."""
    d, total = len(center), weighing[W_HIGH]
    last = d * (d + 1) // 2  # where the intercept's column begins
    finite = _has_moments(gram, weighing, d)
    made = math.isnan(scales[0])
    doubtful = False
    limit = MOST_SINGLE * math.sqrt(min(1.0, weighing[W_LEAST]))
    values = gram[0]
    count = values[last + d] if intercept else total
    for j in range(d):
        of_column = values[last + j] if intercept else 0.0
        if made:
            center[j] = np.float64(np.float32(of_column / count)) if intercept else 0.0
            if not finite:
                center[j] = math.nan
        moved[j] = fma(-center[j], count, of_column)
    for j in range(d):
        if raised(cancel):
            return False
        begin = j * (j + 1) // 2
        before = values[begin + j]
        if intercept:
            for i in range(j + 1):
                values[begin + i] = fma(-center[j], moved[i], fma(-center[i], values[last + j], values[begin + i]))
        square = values[begin + j]
        constant[j] = finite and not square > CONSTANT_SINGLE * before
        if made:
            spread = fma(-moved[j], moved[j] / count, square) if intercept else square
            scales[j] = 1.0 if constant[j] else _usable(np.float64(np.float32(min(math.sqrt(spread / total), LARGEST_FLOAT32))))
            if not finite:
                scales[j] = math.nan
        if not constant[j] and not (MOST_CANCELLED_SINGLE * square >= before and math.sqrt(square) <= limit):
            doubtful = True
    for j in range(d):
        if raised(cancel):
            return False
        begin = j * (j + 1) // 2
        for i in range(j + 1):
            dead = constant[i] or constant[j]
            values[begin + i] = 0.0 if dead else (values[begin + i] / scales[i]) / scales[j]
        if intercept:
            values[last + j] = 0.0 if constant[j] else moved[j] / scales[j]
    return doubtful


@part
def _standardize_gram_doubled(gram, powers, weighing, intercept, center, scales, constant, moved, cancel):
    """Float64 data: as `_standardize_gram`. powers (≥ d,) become 0; moved (4, d) is scratch."""
    d, total = len(center), weighing[W_HIGH]
    last = d * (d + 1) // 2
    finite = _has_moments(gram, weighing, d)
    made = math.isnan(scales[0])
    doubtful = False
    limit, power = MOST_DOUBLED * math.sqrt(min(1.0, weighing[W_LEAST])), np.int64(weighing[W_EXPONENT])
    high, low = gram[0], gram[1]
    shift, shift_low, middle, unit = moved[0], moved[1], moved[2], moved[3]  # t̂, its low part, m̂, ŝ
    count, count_low = (high[last + d], low[last + d]) if intercept else (total, 0.0)
    for j in range(d):
        of_column, of_column_low = (high[last + j], low[last + j]) if intercept else (0.0, 0.0)
        if made:
            center[j] = scale(dd_divide(of_column, of_column_low, count, count_low)[0], powers[j]) if intercept else 0.0
            if not finite:
                center[j] = math.nan
        middle[j] = scale(center[j], -powers[j])
        shift[j], shift_low[j] = _minus_product(of_column, of_column_low, count, count_low, middle[j])
    for j in range(d):
        if raised(cancel):
            return False
        begin = j * (j + 1) // 2
        before = high[begin + j]
        if intercept:
            for i in range(j + 1):
                a, a_low = _minus_product(high[begin + i], low[begin + i], high[last + j], low[last + j], middle[i])
                high[begin + i], low[begin + i] = _minus_product(a, a_low, shift[i], shift_low[i], middle[j])
        square = high[begin + j]
        constant[j] = finite and not square > CONSTANT_DOUBLED * before
        if made:
            spread = fma(-shift[j], shift[j] / count, square) if intercept else square
            scales[j] = 1.0 if constant[j] else _usable(min(scale(math.sqrt(spread / total), powers[j]), LARGEST_FLOAT64))
            if not finite:
                scales[j] = math.nan
        unit[j] = scale(scales[j], -powers[j])
        if not constant[j] and not (
            MOST_CANCELLED_DOUBLED * square >= before and scale(math.sqrt(scale(square, power)), powers[j]) <= limit
        ):
            doubtful = True
    for j in range(d):
        if raised(cancel):
            return False
        begin = j * (j + 1) // 2
        for i in range(j + 1):
            if constant[i] or constant[j]:
                high[begin + i], low[begin + i] = 0.0, 0.0
            else:
                a, a_low = dd_divide(high[begin + i], low[begin + i], unit[i], 0.0)
                high[begin + i], low[begin + i] = dd_divide(a, a_low, unit[j], 0.0)
        if intercept:
            high[last + j], low[last + j] = 0.0, 0.0
            if not constant[j]:
                high[last + j], low[last + j] = dd_divide(shift[j], shift_low[j], unit[j], 0.0)
    for j in range(d):
        powers[j] = 0
    return doubtful


@part
def _standardize_target(target, powers, intercept, center, scales, constant):
    """The products of the scaled features with y; powers (D+1,) of the features become 0."""
    d, doubled = len(center), target.shape[0] == 2
    high, low = target[0], target[target.shape[0] - 1]
    for j in range(d):
        if constant[j]:
            high[j], low[j] = 0.0, 0.0
        elif doubled:
            a, a_low = high[j], low[j]
            if intercept:
                a, a_low = _minus_product(a, a_low, high[d], low[d], scale(center[j], -powers[j]))
            high[j], low[j] = dd_divide(a, a_low, scale(scales[j], -powers[j]), 0.0)
        else:
            high[j] = (fma(-center[j], high[d], high[j]) if intercept else high[j]) / scales[j]
        powers[j] = 0


@kernel
def standardize(gram, gram_exponents, weighing, center, scales, constant, doubtful, target, exponents, gram_index, intercept, cancel):
    """Standardise Gram records, then records [Xᵀy, yᵀy], in place.

    Records as in kernels/cpu/records.py; either kind may be left out: length 0. center, scales
    (n_gram, d) float64: NaN where they are to be made from the moments; constant (n_gram, d) and
    doubtful (n_gram,) bool are filled. gram_index (n_target,): the Gram record that belongs to each
    target; its row of center, scales, constant is read.
    """
    d = center.shape[1]
    doubled = (gram.shape[1] if gram.shape[0] else target.shape[1]) == 2
    moved = np.empty((4, d))
    for g in range(gram.shape[0]):
        if raised(cancel):
            return
        if doubled:
            doubtful[g] = _standardize_gram_doubled(
                gram[g], gram_exponents[g], weighing[g], intercept, center[g], scales[g], constant[g], moved, cancel
            )  # fmt: skip
        else:
            doubtful[g] = _standardize_gram(gram[g], weighing[g], intercept, center[g], scales[g], constant[g], moved[0], cancel)
    for f in range(target.shape[0]):
        if raised(cancel):
            return
        g = gram_index[f]
        _standardize_target(target[f], exponents[f], intercept, center[g], scales[g], constant[g])


@kernel
def unscale(values, center, scales, intercept, out, cancel):
    """Write rows of parameters of scaled features in the caller's units to `out`, or in place.

    values, out (m, rows, D), each of its own type; center, scales (m, d) float64. Everything is
    computed in float64, and rounded once.
    """
    d = center.shape[1]
    for f in range(values.shape[0]):
        for row in range(values.shape[1]):
            if row % ROWS_PER_POLL == 0 and raised(cancel):
                return
            offset = np.float64(values[f, row, d]) if intercept else 0.0
            for j in range(d):
                w = np.float64(values[f, row, j]) / scales[f, j]
                offset -= w * center[f, j]
                out[f, row, j] = w
            if intercept:
                out[f, row, d] = offset
