"""The least value of the objective of 32 fits, fit l in lane l (docs/arithmetic.md, section 10).

1. Elimination of the moments [XᵀX Xᵀy; yᵀX yᵀy], with the penalty on the diagonal: what it leaves
   of yᵀy is the least value times the total weight. A column that the ones before it explain is
   passed over; where rounding leaves open whether they do, the fit is doubtful.
2. The entries of the D + 1 columns are packed by columns: entry (i, j), i ≤ j, is row j(j+1)/2 + i.
   A Gram record and then a target record have this order already.
3. With the allowance the factors stay where the entries were, and the minimiser comes from them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..moments.stack import W_EXPONENT, W_HIGH, W_LOW
from ..simd.addresses import address, count_at, further, keep_alive
from ..simd.arrays import new_zeros
from ..simd.compiling import inlined, kernel, part
from ..simd.double_double import dd_add, pow2, scale, two_sum_lanes
from ..simd.lanes import LANES, add, divide, fill, fma, load, multiply, negate, store, subtract
from ..simd.masks import as_bits, at_most, below, both, choose
from ..simd.scalars import get, move, put, raised

# Rows of `constants`, LANES numbers each.
WEIGHT, SQUARES = 0, 1  # W and the high part of yᵀy
SCALE_Y = 2  # 2^k_y; 1 for float32 data
LEAST, ALLOWANCE = 3, 4  # what is computed: F* and ρ
N_CONSTANTS = 5

ALIASED, REGULAR = 2.0**-48, 2.0**-40  # shares of a diagonal entry that a pivot may have
ALIASED_DOUBLED, REGULAR_DOUBLED = 2.0**-98, 2.0**-90
UNIT, UNIT_DOUBLED = 2.0**-51, 2.0**-100  # of the allowance


class LeastScratch(NamedTuple):
    """Arrays or addresses. Rows of LANES float64."""

    entries: Any  # (D+1)(D+2)/2 rows; of float64 data the high parts
    low_entries: Any  # as many, of float64 data only
    diagonal: Any  # D rows: the diagonal with the penalty, before the elimination
    solution: Any  # D rows: the minimiser
    constants: Any  # N_CONSTANTS rows


@inlined
def make_least_scratch(size, doubled):
    """New arrays for 32 fits of `size` parameters."""
    entries, wide = (size + 1) * (size + 2) // 2 * LANES, size * LANES
    return LeastScratch(
        new_zeros(entries, np.float64), new_zeros(entries * (1 if doubled else 0), np.float64), new_zeros(wide, np.float64),
        new_zeros(wide, np.float64), new_zeros(N_CONSTANTS * LANES, np.float64),
    )  # fmt: skip


@inlined
def addresses_of_least(arrays):
    """The addresses of the arrays of a LeastScratch."""
    return LeastScratch(
        address(arrays.entries), address(arrays.low_entries), address(arrays.diagonal), address(arrays.solution), address(arrays.constants)
    )


@inlined
def _find_allowance(size, unit, scratch):
    """Fill the row ALLOWANCE from F*, the factors in the entries, and the diagonal."""
    entries, solution, constants = scratch.entries, scratch.solution, scratch.constants
    last = size * (size + 1) // 2
    total = load(constants, SQUARES * LANES)
    for k in range(size - 1, -1, -1):
        w = load(entries, (last + k) * LANES)
        for j in range(k + 1, size):
            w = fma(negate(load(entries, (j * (j + 1) // 2 + k) * LANES)), load(solution, j * LANES), w)
        store(solution, k * LANES, w)
    for j in range(size):
        w = load(solution, j * LANES)
        total = fma(multiply(w, w), load(scratch.diagonal, j * LANES), total)
    up = load(constants, SCALE_Y * LANES)
    noise = divide(multiply(fill(unit * float((size + 1) * (size + 1))), total), load(constants, WEIGHT * LANES))
    noise = multiply(multiply(noise, up), up)
    store(constants, ALLOWANCE * LANES, fma(fill(2.0**-52), load(constants, LEAST * LANES), noise))


@part
def find_least(size, with_allowance, scratch):
    """Fill the row LEAST and, if asked, ALLOWANCE: float32 data. Returns the lanes in doubt.

    The diagonal has the penalty already. The entries are overwritten.
    """
    entries, diagonal, constants = scratch.entries, scratch.diagonal, scratch.constants
    zero, one = fill(0.0), fill(1.0)
    doubtful = 0
    for k in range(size):
        pivot, before = load(entries, (k * (k + 1) // 2 + k) * LANES), load(diagonal, k * LANES)
        regular = below(multiply(fill(REGULAR), before), pivot)  # not where the diagonal is 0: there no pivot is positive
        aliased = as_bits(at_most(before, zero)) | as_bits(at_most(pivot, multiply(fill(ALIASED), before)))
        doubtful |= ~(as_bits(regular) | aliased)
        reciprocal = choose(regular, divide(one, choose(regular, pivot, one)), zero)
        for j in range(size, k, -1):  # from the last, so that a factor may take the place of its entry
            column = j * (j + 1) // 2
            factor = multiply(load(entries, (column + k) * LANES), reciprocal)
            minus = negate(factor)
            for i in range(k + 1, j + 1):
                entry = (column + i) * LANES
                store(entries, entry, fma(minus, load(entries, (i * (i + 1) // 2 + k) * LANES), load(entries, entry)))
            if with_allowance:
                store(entries, (column + k) * LANES, factor)
    left = load(entries, (size * (size + 1) // 2 + size) * LANES)
    left = choose(below(left, zero), zero, left)
    store(constants, LEAST * LANES, divide(left, load(constants, WEIGHT * LANES)))
    if with_allowance:
        _find_allowance(size, UNIT, scratch)
    return doubtful


@inlined
def _reciprocal(pivot, low_pivot):
    """1 / pivot, in double-double."""
    one = fill(1.0)
    q = divide(one, pivot)
    minus = negate(q)
    rest = multiply(q, fma(minus, low_pivot, fma(minus, pivot, one)))
    high = add(q, rest)
    return high, subtract(rest, subtract(high, q))


@inlined
def _product(high, low, other, low_other):
    """A product of two double-doubles."""
    p = multiply(high, other)
    e = fma(high, low_other, fma(low, other, fma(high, other, negate(p))))
    total = add(p, e)
    return total, subtract(e, subtract(total, p))


@part
def find_least_doubled(size, with_allowance, scratch):
    """`find_least` of float64 data, in double-double."""
    entries, low_entries, diagonal, constants = scratch.entries, scratch.low_entries, scratch.diagonal, scratch.constants
    zero, one = fill(0.0), fill(1.0)
    doubtful = 0
    for k in range(size):
        entry = (k * (k + 1) // 2 + k) * LANES
        pivot, before = load(entries, entry), load(diagonal, k * LANES)
        regular = below(multiply(fill(REGULAR_DOUBLED), before), pivot)
        aliased = as_bits(at_most(before, zero)) | as_bits(at_most(pivot, multiply(fill(ALIASED_DOUBLED), before)))
        doubtful |= ~(as_bits(regular) | aliased)
        inverse, low_inverse = _reciprocal(choose(regular, pivot, one), choose(regular, load(low_entries, entry), zero))
        inverse, low_inverse = choose(regular, inverse, zero), choose(regular, low_inverse, zero)
        for j in range(size, k, -1):
            column = j * (j + 1) // 2
            factor, low_factor = _product(
                load(entries, (column + k) * LANES), load(low_entries, (column + k) * LANES), inverse, low_inverse
            )
            for i in range(k + 1, j + 1):
                entry, above = (column + i) * LANES, (i * (i + 1) // 2 + k) * LANES
                other, low_other = load(entries, above), load(low_entries, above)
                p = multiply(factor, other)
                q = fma(factor, low_other, fma(low_factor, other, fma(factor, other, negate(p))))
                total, lost = two_sum_lanes(load(entries, entry), negate(p))
                total, low = two_sum_lanes(total, add(load(low_entries, entry), subtract(lost, q)))
                store(entries, entry, total)
                store(low_entries, entry, low)
            if with_allowance:
                store(entries, (column + k) * LANES, factor)
    last = (size * (size + 1) // 2 + size) * LANES
    left, up = add(load(entries, last), load(low_entries, last)), load(constants, SCALE_Y * LANES)
    left = choose(below(left, zero), zero, left)
    least = multiply(multiply(divide(left, load(constants, WEIGHT * LANES)), up), up)
    squares = load(constants, SQUARES * LANES)
    nothing = both(at_most(squares, zero), at_most(zero, squares))  # y is 0
    store(constants, LEAST * LANES, choose(nothing, zero, least))
    if with_allowance:
        _find_allowance(size, UNIT_DOUBLED, scratch)
    return doubtful


@inlined
def add_penalty(size, n_decayed, penalty, scratch):
    """Add λ, 32 lanes, to the diagonal where that is not 0, and note it: float32 data."""
    for j in range(size):
        entry = (j * (j + 1) // 2 + j) * LANES
        own = load(scratch.entries, entry)
        if j < n_decayed:
            own = choose(below(fill(0.0), own), add(own, penalty), own)
        store(scratch.entries, entry, own)
        store(scratch.diagonal, j * LANES, own)


@part
def add_penalty_to_lane(lane, size, n_decayed, powers, weighing, half, reduction_sum, scratch):
    """`add_penalty` in one lane: float64 data. half: of weight_decay, not 0.

    powers: address of k_0 … k_D−1; weighing: address of W, W′, k_ω.
    """
    total = get(weighing, W_HIGH)
    penalty, low_penalty, shift = half, 0.0, -np.int64(get(weighing, W_EXPONENT))
    if not reduction_sum:
        penalty, shift = half * total, 0
        low_penalty = fma(half, get(weighing, W_LOW), fma(half, total, -penalty))
    for j in range(size):
        entry = (j * (j + 1) // 2 + j) * LANES + lane
        high = get(scratch.entries, entry)
        if high != 0.0 and j < n_decayed:
            power = shift - 2 * count_at(powers, j)
            high, low = dd_add(high, get(scratch.low_entries, entry), scale(penalty, power), scale(low_penalty, power))
            put(scratch.entries, entry, high)
            put(scratch.low_entries, entry, low)
        put(scratch.diagonal, j * LANES + lane, high)


@inlined
def penalty_factor(half, weighing, reduction_sum):
    """κ. half: of weight_decay; weighing: address of W, W′, k_ω."""
    if not reduction_sum or half == 0.0:
        return half
    return half / scale(get(weighing, W_HIGH), np.int64(get(weighing, W_EXPONENT)))


@part
def _load_lane(lane, size, n_decayed, doubled, gram, target, powers, weighing, half, reduction_sum, scratch):
    """Fill a lane with the moments and the penalty of a fit; gram … weighing are addresses."""
    entries, total = size * (size + 1) // 2, get(weighing, W_HIGH)
    for entry in range(entries):
        move(gram, entry, scratch.entries, entry * LANES + lane)
    for entry in range(size + 1):
        move(target, entry, scratch.entries, (entries + entry) * LANES + lane)
    squares = get(target, size)
    put(scratch.constants, WEIGHT * LANES + lane, total)
    put(scratch.constants, SQUARES * LANES + lane, squares)
    put(scratch.constants, SCALE_Y * LANES + lane, pow2(count_at(powers, size)) if doubled and squares != 0.0 else 1.0)
    penalty = half if reduction_sum else half * total
    for j in range(size):
        entry = (j * (j + 1) // 2 + j) * LANES + lane
        own = get(scratch.entries, entry)
        if not doubled and own > 0.0 and j < n_decayed:
            own = own + penalty
            put(scratch.entries, entry, own)
        put(scratch.diagonal, j * LANES + lane, own)
    if doubled:
        for entry in range(entries):
            move(gram, entries + entry, scratch.low_entries, entry * LANES + lane)
        for entry in range(size + 1):
            move(target, size + 1 + entry, scratch.low_entries, (entries + entry) * LANES + lane)
        if half != 0.0:
            add_penalty_to_lane(lane, size, n_decayed, powers, weighing, half, reduction_sum, scratch)


@kernel
def least_values(
    fits, gram, gram_index, target, target_index, exponents, weighing, half_decay, n_decayed, reduction_sum, with_allowance,
    penalty, least, allowance, cancel,
):  # fmt: skip
    """Fill κ, F* and, if asked, ρ of fits on moments; F* is NaN where the elimination is doubtful.

    fits (k,) int64: numbers in the arrays of length m; records as in fit_by_fit.descend; half_decay
    (m,) float64: half of a coupled weight_decay, else 0; it acts on the first n_decayed parameters.
    """
    size, doubled = target.shape[2] - 1, gram.shape[1] == 2
    scratch = make_least_scratch(size, doubled)
    to_scratch = addresses_of_least(scratch)
    of_gram, of_target = gram.shape[1] * gram.shape[2], target.shape[1] * target.shape[2]
    for first in range(0, len(fits), LANES):
        if raised(cancel):
            return
        count = min(LANES, len(fits) - first)
        for lane in range(LANES):
            f = fits[first + (lane if lane < count else 0)]
            g, record = gram_index[f], target_index[f]
            powers, weights = further(address(exponents), record * (size + 1)), further(address(weighing), g * 4)
            _load_lane(
                lane, size, n_decayed, doubled, further(address(gram), g * of_gram), further(address(target), record * of_target), powers,
                weights, half_decay[f], reduction_sum, to_scratch,
            )  # fmt: skip
        if doubled:
            doubtful = find_least_doubled(size, with_allowance, to_scratch)
        else:
            doubtful = find_least(size, with_allowance, to_scratch)
        for lane in range(count):
            f = fits[first + lane]
            penalty[f] = penalty_factor(half_decay[f], further(address(weighing), gram_index[f] * 4), reduction_sum)
            least[f] = math.nan if doubtful >> lane & 1 else get(to_scratch.constants, LEAST * LANES + lane)
            if with_allowance:
                allowance[f] = get(to_scratch.constants, ALLOWANCE * LANES + lane)
    keep_alive((gram, target, exponents, weighing, scratch))
