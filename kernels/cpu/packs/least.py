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
from .gradient import divide_exactly
from .state import GOAL, LOSS_SCALE, MINIMUM, N_CONSTANTS, RECIPROCAL, TOTAL

ALIASED, REGULAR = 2.0**-48, 2.0**-40  # shares of a diagonal entry that a pivot may have
ALIASED_DOUBLED, REGULAR_DOUBLED = 2.0**-98, 2.0**-90
UNIT, UNIT_DOUBLED = 2.0**-51, 2.0**-100  # of the allowance


class LeastScratch(NamedTuple):
    """Arrays or addresses. Rows of LANES float64."""

    moments: Any  # (D+1)(D+2)/2 rows, with the penalty; of float64 data the high parts
    low_moments: Any  # as many, of float64 data only
    entries: Any  # as many: what the elimination leaves
    low_entries: Any
    solution: Any  # D rows: the minimiser
    last: Any  # of the pack before, whose fits had one problem: 1 + its records (else 0), and the lanes in doubt


@inlined
def make_least_scratch(size, doubled):
    """New arrays for 32 fits of `size` parameters."""
    entries, low = (size + 1) * (size + 2) // 2 * LANES, 1 if doubled else 0
    return LeastScratch(
        new_zeros(entries, np.float64), new_zeros(entries * low, np.float64), new_zeros(entries, np.float64),
        new_zeros(entries * low, np.float64), new_zeros(size * LANES, np.float64), new_zeros(3, np.float64),
    )  # fmt: skip


@inlined
def addresses_of_least(arrays):
    """The addresses of the arrays of a LeastScratch."""
    return LeastScratch(
        address(arrays.moments), address(arrays.low_moments), address(arrays.entries), address(arrays.low_entries),
        address(arrays.solution), address(arrays.last),
    )  # fmt: skip


@inlined
def _diagonal(j):
    """The row of diagonal entry j."""
    return (j * (j + 1) // 2 + j) * LANES


@inlined
def _find_allowance(size, unit, moments, constants, scratch):
    """Fill the row GOAL with ρ, from F* and the factors in the entries."""
    entries, solution = scratch.entries, scratch.solution
    last = size * (size + 1) // 2
    total = load(moments, _diagonal(size))
    for k in range(size - 1, -1, -1):
        w = load(entries, (last + k) * LANES)
        for j in range(k + 1, size):
            w = fma(negate(load(entries, (j * (j + 1) // 2 + k) * LANES)), load(solution, j * LANES), w)
        store(solution, k * LANES, w)
    for j in range(size):
        w = load(solution, j * LANES)
        total = fma(multiply(w, w), load(moments, _diagonal(j)), total)
    up = load(constants, LOSS_SCALE * LANES)
    noise = divide(multiply(fill(unit * float((size + 1) * (size + 1))), total), load(constants, TOTAL * LANES))
    noise = multiply(multiply(noise, up), up)
    store(constants, GOAL * LANES, fma(fill(2.0**-52), load(constants, MINIMUM * LANES), noise))


@inlined
def find_least(size, with_allowance, moments, constants, scratch):
    """Fill the row MINIMUM and, if asked, GOAL with ρ: float32 data. Returns the lanes in doubt.

    moments: with the penalty on the diagonal. constants: with the rows TOTAL, RECIPROCAL, and
    LOSS_SCALE, as in state.py.
    """
    entries = scratch.entries
    zero, one = fill(0.0), fill(1.0)
    doubtful, source = 0, moments
    for k in range(size):
        pivot, before = load(source, _diagonal(k)), load(moments, _diagonal(k))
        regular = below(multiply(fill(REGULAR), before), pivot)  # not where the diagonal is 0: there no pivot is positive
        aliased = as_bits(at_most(before, zero)) | as_bits(at_most(pivot, multiply(fill(ALIASED), before)))
        doubtful |= ~(as_bits(regular) | aliased)
        reciprocal = choose(regular, divide(one, choose(regular, pivot, one)), zero)
        for j in range(size, k, -1):  # from the last, so that a factor may take the place of its entry
            column = j * (j + 1) // 2
            factor = multiply(load(source, (column + k) * LANES), reciprocal)
            minus = negate(factor)
            for i in range(k + 1, j + 1):
                entry = (column + i) * LANES
                store(entries, entry, fma(minus, load(source, (i * (i + 1) // 2 + k) * LANES), load(source, entry)))
            if with_allowance:
                store(entries, (column + k) * LANES, factor)
        source = entries
    left = load(source, _diagonal(size))
    left = choose(below(left, zero), zero, left)
    store(constants, MINIMUM * LANES, divide_exactly(left, load(constants, TOTAL * LANES), load(constants, RECIPROCAL * LANES)))
    if with_allowance:
        _find_allowance(size, UNIT, moments, constants, scratch)
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
def find_least_doubled(size, with_allowance, moments, low_moments, constants, scratch):
    """`find_least` of float64 data, in double-double."""
    entries, low_entries = scratch.entries, scratch.low_entries
    zero, one = fill(0.0), fill(1.0)
    doubtful, source, low_source = 0, moments, low_moments
    for k in range(size):
        pivot, before = load(source, _diagonal(k)), load(moments, _diagonal(k))
        regular = below(multiply(fill(REGULAR_DOUBLED), before), pivot)
        aliased = as_bits(at_most(before, zero)) | as_bits(at_most(pivot, multiply(fill(ALIASED_DOUBLED), before)))
        doubtful |= ~(as_bits(regular) | aliased)
        inverse, low_inverse = _reciprocal(choose(regular, pivot, one), choose(regular, load(low_source, _diagonal(k)), zero))
        inverse, low_inverse = choose(regular, inverse, zero), choose(regular, low_inverse, zero)
        for j in range(size, k, -1):
            column = j * (j + 1) // 2
            factor, low_factor = _product(load(source, (column + k) * LANES), load(low_source, (column + k) * LANES), inverse, low_inverse)
            for i in range(k + 1, j + 1):
                entry, above = (column + i) * LANES, (i * (i + 1) // 2 + k) * LANES
                other, low_other = load(source, above), load(low_source, above)
                p = multiply(factor, other)
                q = fma(factor, low_other, fma(low_factor, other, fma(factor, other, negate(p))))
                total, lost = two_sum_lanes(load(source, entry), negate(p))
                total, low = two_sum_lanes(total, add(load(low_source, entry), subtract(lost, q)))
                store(entries, entry, total)
                store(low_entries, entry, low)
            if with_allowance:
                store(entries, (column + k) * LANES, factor)
        source, low_source = entries, low_entries
    last = _diagonal(size)
    left, up = add(load(source, last), load(low_source, last)), load(constants, LOSS_SCALE * LANES)
    left = choose(below(left, zero), zero, left)
    least = multiply(multiply(divide(left, load(constants, TOTAL * LANES)), up), up)
    squares = load(moments, last)
    nothing = both(at_most(squares, zero), at_most(zero, squares))  # y is 0
    store(constants, MINIMUM * LANES, choose(nothing, zero, least))
    if with_allowance:
        _find_allowance(size, UNIT_DOUBLED, moments, constants, scratch)
    return doubtful


@inlined
def add_penalty(n_decayed, penalty, moments):
    """Add λ, 32 lanes, to the diagonal where that is not 0: float32 data."""
    for j in range(n_decayed):
        own = load(moments, _diagonal(j))
        own = choose(below(fill(0.0), own), add(own, penalty), own)
        store(moments, _diagonal(j), own)


@part
def add_penalty_to_lane(lane, n_decayed, powers, weighing, half, reduction_sum, scratch):
    """`add_penalty` in one lane: float64 data. half: of weight_decay, not 0.

    powers: address of k_0 … k_D−1; weighing: address of W, W′, k_ω.
    """
    total = get(weighing, W_HIGH)
    penalty, low_penalty, shift = half, 0.0, -np.int64(get(weighing, W_EXPONENT))
    if not reduction_sum:
        penalty, shift = half * total, 0
        low_penalty = fma(half, get(weighing, W_LOW), fma(half, total, -penalty))
    for j in range(n_decayed):
        entry = _diagonal(j) + lane
        high = get(scratch.moments, entry)
        if high != 0.0:
            power = shift - 2 * count_at(powers, j)
            high, low = dd_add(high, get(scratch.low_moments, entry), scale(penalty, power), scale(low_penalty, power))
            put(scratch.moments, entry, high)
            put(scratch.low_moments, entry, low)


@inlined
def penalty_factor(half, weighing, reduction_sum):
    """κ. half: of weight_decay; weighing: address of W, W′, k_ω."""
    if not reduction_sum or half == 0.0:
        return half
    return half / scale(get(weighing, W_HIGH), np.int64(get(weighing, W_EXPONENT)))


@part
def _load_lane(lane, size, n_decayed, doubled, gram, target, powers, weighing, half, reduction_sum, constants, scratch):
    """Fill a lane with the moments and the penalty of a fit; gram … weighing are addresses."""
    entries, total, moments = size * (size + 1) // 2, get(weighing, W_HIGH), scratch.moments
    for entry in range(entries):
        move(gram, entry, moments, entry * LANES + lane)
    for entry in range(size + 1):
        move(target, entry, moments, (entries + entry) * LANES + lane)
    put(constants, TOTAL * LANES + lane, total)
    put(constants, LOSS_SCALE * LANES + lane, pow2(count_at(powers, size)) if doubled and get(target, size) != 0.0 else 1.0)
    if doubled:
        for entry in range(entries):
            move(gram, entries + entry, scratch.low_moments, entry * LANES + lane)
        for entry in range(size + 1):
            move(target, size + 1 + entry, scratch.low_moments, (entries + entry) * LANES + lane)
        if half != 0.0:
            add_penalty_to_lane(lane, n_decayed, powers, weighing, half, reduction_sum, scratch)
        return
    for j in range(n_decayed):
        own = get(moments, _diagonal(j) + lane)
        if own > 0.0:
            put(moments, _diagonal(j) + lane, own + (half if reduction_sum else half * total))


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
    scratch, rows = make_least_scratch(size, doubled), new_zeros(N_CONSTANTS * LANES, np.float64)
    to_scratch, constants = addresses_of_least(scratch), address(rows)
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
                weights, half_decay[f], reduction_sum, constants, to_scratch,
            )  # fmt: skip
        if doubled:
            doubtful = find_least_doubled(size, with_allowance, to_scratch.moments, to_scratch.low_moments, constants, to_scratch)
        else:
            store(constants, RECIPROCAL * LANES, divide(fill(1.0), load(constants, TOTAL * LANES)))
            doubtful = find_least(size, with_allowance, to_scratch.moments, constants, to_scratch)
        for lane in range(count):
            f = fits[first + lane]
            penalty[f] = penalty_factor(half_decay[f], further(address(weighing), gram_index[f] * 4), reduction_sum)
            least[f] = math.nan if doubtful >> lane & 1 else get(constants, MINIMUM * LANES + lane)
            if with_allowance:
                allowance[f] = get(constants, GOAL * LANES + lane)
    keep_alive((gram, target, exponents, weighing, scratch, rows))
