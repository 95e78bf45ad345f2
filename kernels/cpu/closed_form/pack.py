"""A pack: up to 32 fits solved side by side, fit l in lane l of every vector.

1. The operations are those of one_fit.py with a Cholesky in float64, in the same order, so the bits
   are the same. A lane whose Cholesky is not accepted, or whose refinement does not converge, is
   left to one_fit.py.
2. Matrices are packed by columns as in a record: entry (i, j), i ≤ j, is at j(j+1)/2 + i; row j of
   a factor L stands where column j of the matrix does.
3. Lanes beyond the number of fits hold the first fit again, so that no lane computes on rubbish.
4. A pack of one Gram matrix and one decay leaves A and its factor to a next one of the same two.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..moments.stack import W_EXPONENT, W_HIGH, W_LOW
from ..packs.gradient import evaluate, evaluate_doubled
from ..packs.state import FACTOR, LOSS_SCALE, LOW_FACTOR, N_CONSTANTS, TOTAL
from ..simd.addresses import address, count_at, further
from ..simd.arrays import new_zeros
from ..simd.compiling import inlined, part
from ..simd.double_double import dd_add, dd_add_lanes, pow2, scale, two_sum_lanes
from ..simd.lanes import ALL, LANES, absolute, add, divide, fill, fma, load, multiply, negate, root, store, subtract
from ..simd.masks import as_bits, at_most, below, choose, from_bits
from ..simd.scalars import get, move, put
from .one_fit import (
    GOAL_DOUBLED,
    GOAL_SINGLE,
    MOST_REFINED,
    MOST_SINGLE,
    MOST_STEPS,
    STALLED,
    count_of_penalty,
    exponent_of_scale,
    penalty_on_diagonal,
)


class SolveScratch(NamedTuple):
    """What a pack computes with: arrays or addresses. Rows of LANES float64.

    Fields with the names of packs/state.py, PackScratch, are what packs/gradient.py reads.
    """

    grams: Any  # D(D+1)/2 rows: the Gram matrices; of float64 data the high parts
    low_grams: Any  # as many, of float64 data only, like every array of low parts of moments
    targets: Any  # D + 1 rows: Xᵀy, then yᵀy
    low_targets: Any
    w: Any  # D rows
    gradient: Any  # D rows
    scales: Any  # float64 data: 2 · D powers of two for w, 2 · D for the gradient, D rows of scaled w
    constants: Any
    matrix: Any  # D(D+1)/2 rows: A
    low_matrix: Any  # not 0 for float64 data, and on the diagonal where there is a λ
    factor: Any  # D(D+1)/2 rows: L
    right: Any  # D rows: b
    low_right: Any
    z: Any  # D rows
    low_z: Any
    x: Any  # D rows: a correction; a column of L⁻¹
    condition: Any  # 1 row: the condition
    powers: Any  # 2 · D powers of two for A, D for b, 2 · D for w


class SolveRecords(NamedTuple):
    """Addresses of the records of all fits, and of what says which record a fit has."""

    gram: Any
    gram_exponents: Any
    gram_index: Any
    target: Any
    exponents: Any
    target_index: Any
    weighing: Any
    decay: Any
    doubled: Any  # bool: whether the data are float64, and the moments double-double
    reduction_sum: Any  # bool


class SolveResults(NamedTuple):
    """Addresses of what is written, and of the row of each fit in it."""

    places: Any
    w: Any
    loss: Any
    condition: Any
    rank: Any


@inlined
def make_scratch(size, doubled):
    """New arrays for packs of fits of `size` parameters."""
    entries, wide, low = size * (size + 1) // 2 * LANES, size * LANES, 1 if doubled else 0
    return SolveScratch(
        new_zeros(entries, np.float64), new_zeros(entries * low, np.float64), new_zeros(wide + LANES, np.float64),
        new_zeros((wide + LANES) * low, np.float64), new_zeros(wide, np.float64), new_zeros(wide, np.float64),
        new_zeros(5 * wide * low, np.float64), new_zeros(N_CONSTANTS * LANES, np.float64), new_zeros(entries, np.float64),
        new_zeros(entries, np.float64), new_zeros(entries, np.float64), new_zeros(wide, np.float64), new_zeros(wide, np.float64),
        new_zeros(wide, np.float64), new_zeros(wide, np.float64), new_zeros(wide, np.float64), new_zeros(LANES, np.float64),
        new_zeros(5 * wide, np.float64),
    )  # fmt: skip


@inlined
def addresses_of(arrays):
    """The addresses of the arrays of a SolveScratch."""
    return SolveScratch(
        address(arrays.grams), address(arrays.low_grams), address(arrays.targets), address(arrays.low_targets), address(arrays.w),
        address(arrays.gradient), address(arrays.scales), address(arrays.constants), address(arrays.matrix), address(arrays.low_matrix),
        address(arrays.factor), address(arrays.right), address(arrays.low_right), address(arrays.z), address(arrays.low_z),
        address(arrays.x), address(arrays.condition), address(arrays.powers),
    )  # fmt: skip


@part
def _load_lane(lane, f, size, moments, again, scratch):
    """Fill a lane with moments of f (again: not XᵀX) and its powers of two; returns its rank."""
    entries, wide = size * (size + 1) // 2, size * LANES
    planes = 2 if moments.doubled else 1
    g, record = count_at(moments.gram_index, f), count_at(moments.target_index, f)
    gram, target = further(moments.gram, g * planes * entries), further(moments.target, record * planes * (size + 1))
    columns, exponents = further(moments.gram_exponents, g * (size + 1)), further(moments.exponents, record * (size + 1))
    weighing, powers = further(moments.weighing, g * 4), scratch.powers
    n_copied = 0 if again else entries
    for entry in range(n_copied):
        move(gram, entry, scratch.grams, entry * LANES + lane)
    for entry in range(size + 1):
        move(target, entry, scratch.targets, entry * LANES + lane)
    if moments.doubled:
        for entry in range(n_copied):
            move(gram, entries + entry, scratch.low_grams, entry * LANES + lane)
        for entry in range(size + 1):
            move(target, size + 1 + entry, scratch.low_targets, entry * LANES + lane)
    move(weighing, W_HIGH, scratch.constants, TOTAL * LANES + lane)
    count, low_count = count_of_penalty(get(weighing, W_HIGH), get(weighing, W_LOW), get(weighing, W_EXPONENT), moments.reduction_sum)
    penalty, _, power = penalty_on_diagonal(get(moments.decay, f), count, low_count)
    exponent_y = count_at(exponents, size)
    of_loss = exponent_y if get(target, size) != 0.0 else 0
    if moments.doubled:
        put(scratch.constants, LOSS_SCALE * LANES + lane, pow2(of_loss))  # used twice
    rank = 0
    for j in range(size):
        at = j * LANES + lane
        diagonal, exponent, of_column = get(gram, j * (j + 1) // 2 + j), count_at(columns, j), count_at(exponents, j)
        h = exponent_of_scale(diagonal, exponent, penalty, power)
        _put_power(powers, at, wide, exponent - h)
        put(powers, 2 * wide + at, pow2(of_column - h))
        _put_power(powers, 3 * wide + at, wide, exponent_y - h)
        put(scratch.x, at, float(h))  # h_j, for _add_penalty
        rank += diagonal != 0.0 or penalty != 0.0
        if moments.doubled:
            _put_power(scratch.scales, at, wide, of_column - of_loss)
            put(scratch.scales, 2 * wide + at, 1.0)  # the gradient is not used
            put(scratch.scales, 3 * wide + at, 1.0)
    return rank


@inlined
def _put_power(powers, at, wide, exponent):
    """Write 2^exponent as two factors, as `scale` takes them."""
    half = exponent >> 1
    put(powers, at, pow2(half))
    put(powers, at + wide, pow2(exponent - half))


@inlined
def _scaled(value, powers, j, wide):
    """`scale` of every lane by its power of column j."""
    return multiply(multiply(value, load(powers, j * LANES)), load(powers, wide + j * LANES))


@inlined
def _scale_target(size, doubled, scratch):
    """Fill b of every lane from the moments."""
    for j in range(size):
        by = load(scratch.powers, 2 * size * LANES + j * LANES)
        store(scratch.right, j * LANES, multiply(load(scratch.targets, j * LANES), by))
        if doubled:
            store(scratch.low_right, j * LANES, multiply(load(scratch.low_targets, j * LANES), by))


@part
def _scale(fits, count, size, moments, scratch):
    """Fill A of every lane from the moments; returns whether it has low parts."""
    powers, wide = scratch.powers, size * LANES
    zero, one = fill(0.0), fill(1.0)
    for j in range(size):
        for i in range(j + 1):
            at = (j * (j + 1) // 2 + i) * LANES
            value = _scaled(_scaled(load(scratch.grams, at), powers, i, wide), powers, j, wide)
            if i == j:
                value = choose(at_most(value, zero), one, value)  # a column of zeros
            store(scratch.matrix, at, value)
            if moments.doubled:
                store(scratch.low_matrix, at, _scaled(_scaled(load(scratch.low_grams, at), powers, i, wide), powers, j, wide))
            elif i == j:
                store(scratch.low_matrix, at, zero)  # λ may have left something
    has_low = moments.doubled
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        if get(moments.decay, f) != 0.0:
            _add_penalty(lane, f, size, moments, scratch)
            has_low = True
    return has_low


@part
def _add_penalty(lane, f, size, moments, scratch):
    """Add λ to the diagonal of A in one lane."""
    weighing = further(moments.weighing, count_at(moments.gram_index, f) * 4)
    count, low_count = count_of_penalty(get(weighing, W_HIGH), get(weighing, W_LOW), get(weighing, W_EXPONENT), moments.reduction_sum)
    penalty, low_penalty, power = penalty_on_diagonal(get(moments.decay, f), count, low_count)
    if penalty == 0.0:
        return
    for j in range(size):
        at = (j * (j + 1) // 2 + j) * LANES + lane
        shift = power - 2 * np.int64(get(scratch.x, j * LANES + lane))
        high, low = get(scratch.matrix, at) if get(scratch.grams, at) != 0.0 else 0.0, get(scratch.low_matrix, at)
        high, low = dd_add(high, low, scale(penalty, shift), scale(low_penalty, shift))
        put(scratch.matrix, at, high)
        put(scratch.low_matrix, at, low)


@part
def _factor(size, scratch):
    """Cholesky of every lane; returns the lanes in which no pivot was lost."""
    matrix, factor = scratch.matrix, scratch.factor
    fine = np.int64(ALL)
    for j in range(size):
        row = j * (j + 1) // 2
        for i in range(j + 1):
            other = i * (i + 1) // 2
            total = load(matrix, (row + i) * LANES)
            for k in range(i):
                total = fma(negate(load(factor, (other + k) * LANES)), load(factor, (row + k) * LANES), total)
            if i < j:
                store(factor, (row + i) * LANES, divide(total, load(factor, (other + i) * LANES)))
            else:
                fine &= as_bits(below(load(matrix, (row + j) * LANES), multiply(total, fill(MOST_REFINED))))
                store(factor, (row + j) * LANES, root(total))
    return fine


@part
def _accept(size, limit, scratch):
    """The lanes whose D · Σ v_j is at most the limit; writes √v_j of the largest v_j, or 1."""
    matrix, factor, inverse = scratch.matrix, scratch.factor, scratch.x
    total, largest = fill(0.0), fill(1.0)
    for j in range(size):
        square = fill(0.0)
        for i in range(j, size):
            row = i * (i + 1) // 2
            entry = fill(1.0 if i == j else 0.0)
            for k in range(j, i):
                entry = fma(negate(load(factor, (row + k) * LANES)), load(inverse, k * LANES), entry)
            entry = divide(entry, load(factor, (row + i) * LANES))
            store(inverse, i * LANES, entry)
            square = fma(entry, entry, square)
        square = multiply(square, load(matrix, (j * (j + 1) // 2 + j) * LANES))
        total = add(total, square)
        largest = choose(below(largest, square), square, largest)
    store(scratch.condition, 0, root(largest))
    return as_bits(at_most(multiply(total, fill(float(size))), fill(limit)))


@inlined
def _residual(size, has_low, scratch):
    """Fill x with the residual of A z = b, rounded once."""
    matrix, low_matrix = scratch.matrix, scratch.low_matrix
    for j in range(size):
        total, low = load(scratch.right, j * LANES), load(scratch.low_right, j * LANES)
        row = j * (j + 1) // 2
        for k in range(size):
            entry = row + k if k <= j else k * (k + 1) // 2 + j
            a, b = load(matrix, entry * LANES), load(scratch.z, k * LANES)
            p = multiply(a, b)
            e = fma(a, b, negate(p))
            if has_low:
                e = fma(load(low_matrix, entry * LANES), b, e)
            e = fma(a, load(scratch.low_z, k * LANES), e)
            total, lost = two_sum_lanes(total, negate(p))
            low = add(low, subtract(lost, e))
        store(scratch.x, j * LANES, add(total, low))


@inlined
def _substitute(size, scratch):
    """L Lᵀ x = x, in place."""
    factor, x = scratch.factor, scratch.x
    for j in range(size):
        row = j * (j + 1) // 2
        total = load(x, j * LANES)
        for k in range(j):
            total = fma(negate(load(factor, (row + k) * LANES)), load(x, k * LANES), total)
        store(x, j * LANES, divide(total, load(factor, (row + j) * LANES)))
    for j in range(size - 1, -1, -1):
        total = load(x, j * LANES)
        for k in range(j + 1, size):
            total = fma(negate(load(factor, (k * (k + 1) // 2 + j) * LANES)), load(x, k * LANES), total)
        store(x, j * LANES, divide(total, load(factor, (j * (j + 1) // 2 + j) * LANES)))


@part
def _refine(size, doubled, has_low, lanes, scratch):
    """Solve A z = b in these lanes; returns those of them that converge."""
    zero, half, goal = fill(0.0), fill(0.5), fill(GOAL_DOUBLED if doubled else GOAL_SINGLE)
    for j in range(size):  # the residual at z = 0 is b
        store(scratch.z, j * LANES, zero)
        store(scratch.low_z, j * LANES, zero)
        store(scratch.x, j * LANES, add(load(scratch.right, j * LANES), load(scratch.low_right, j * LANES)))
    before, correction, largest = fill(math.inf), fill(math.inf), zero
    going = lanes
    for step in range(MOST_STEPS):
        if step:
            _residual(size, has_low, scratch)
        _substitute(size, scratch)
        active = from_bits(going)
        moved, most = zero, zero
        for j in range(size):
            x, old, low_old = load(scratch.x, j * LANES), load(scratch.z, j * LANES), load(scratch.low_z, j * LANES)
            new, low_new = dd_add_lanes(old, low_old, x, zero)
            store(scratch.z, j * LANES, choose(active, new, old))
            store(scratch.low_z, j * LANES, choose(active, low_new, low_old))
            x, new = absolute(x), absolute(new)
            moved = choose(below(moved, x), x, moved)
            most = choose(below(most, new), new, most)
        correction, largest = choose(active, moved, correction), choose(active, most, largest)
        small, gaining = as_bits(at_most(correction, multiply(goal, largest))), as_bits(at_most(correction, multiply(half, before)))
        going = going & ~small & gaining
        if going == 0:
            break
        before = correction
    return lanes & as_bits(at_most(correction, multiply(fill(STALLED), largest)))


@part
def _write(fits, count, size, moments, lanes, ranks, scratch, results):
    """Write the results of these lanes; returns how many fits they are."""
    constants, wide = scratch.constants, size * LANES
    store(constants, FACTOR * LANES, fill(1.0))
    store(constants, LOW_FACTOR * LANES, fill(0.0))
    of_w = further(scratch.powers, 3 * wide)
    for j in range(size):
        store(scratch.w, j * LANES, _scaled(load(scratch.z, j * LANES), of_w, j, wide))
    total = load(constants, TOTAL * LANES)
    if moments.doubled:
        by = load(constants, LOSS_SCALE * LANES)
        loss = multiply(multiply(divide(evaluate_doubled(size, True, scratch), total), by), by)
    else:
        loss = divide(evaluate(size, scratch), total)
    store(scratch.z, 0, loss)
    done = 0
    for lane in range(count):
        if not lanes >> lane & 1:
            continue
        place = count_at(results.places, count_at(fits, lane))
        for j in range(size):
            move(scratch.w, j * LANES + lane, results.w, place * size + j)
        put(results.loss, place, get(scratch.z, lane) if get(scratch.targets, wide + lane) != 0.0 else 0.0)
        move(scratch.condition, lane, results.condition, place)
        put(results.rank, place, np.int64(count_at(ranks, lane)))
        done += 1
    return done


@inlined
def _is_of(f, other, moments):
    """Whether two fits have one Gram matrix and one decay."""
    same = count_at(moments.gram_index, f) == count_at(moments.gram_index, other)
    return same and get(moments.decay, f) == get(moments.decay, other)


@part
def solve_pack(fits, count, size, moments, ranks, kept, scratch, results):
    """Solve the fits with the numbers fits[0 … count-1]; returns the mask of those that are solved.

    ranks: scratch of LANES integers. kept: three integers: a fit whose A and factor are in all
    lanes, or −1; the lanes whose factor was accepted; whether A has low parts.
    """
    first, before = count_at(fits, 0), count_at(kept, 0)
    alike = True
    for lane in range(1, count):
        alike = alike and _is_of(count_at(fits, lane), first, moments)
    again = alike and before >= 0 and _is_of(first, before, moments)
    for lane in range(LANES):
        put(ranks, lane, np.int64(_load_lane(lane, count_at(fits, lane if lane < count else 0), size, moments, again, scratch)))
    _scale_target(size, moments.doubled, scratch)
    if not again:
        put(kept, 0, np.int64(first if alike else -1))
        put(kept, 2, np.int64(_scale(fits, count, size, moments, scratch)))
        put(kept, 1, np.int64(_factor(size, scratch) & _accept(size, MOST_REFINED if moments.doubled else MOST_SINGLE, scratch)))
    lanes, has_low = count_at(kept, 1) & ((1 << count) - 1), count_at(kept, 2) != 0
    if lanes:
        lanes = _refine(size, moments.doubled, has_low, lanes, scratch)
        _write(fits, count, size, moments, lanes, ranks, scratch, results)
    return lanes
