"""The inverse of XᵀX of many fits, 32 side by side, where the symmetric sweep in float64 suffices.

1. The operations are those of `running/elimination.py`, in the same order, so the bits are the
   same: the intercept is swept in double-double, then the features in float64. What is ill
   conditioned, or lacks a feature, or has exponents that a normal power of two does not hold, is
   left to it.
2. Both triangles are swept: A_ik − A_ip · row_k and A_ki − A_kp · row_i may differ in a last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..moments.stack import W_EXPONENT
from ..simd.addresses import address, count_at, keep_alive
from ..simd.arrays import new_zeros
from ..simd.compiling import inlined, kernel, part
from ..simd.double_double import HIGHEST_EXPONENT, LOWEST_EXPONENT, dd_add_lanes, pow2
from ..simd.lanes import ALL, LANES, add, divide, fill, fma, load, multiply, negate, root, store, subtract
from ..simd.masks import as_bits, at_most, below, choose
from ..simd.scalars import get, move, put, raised


class _Scratch(NamedTuple):
    """Addresses of what a pack computes with: rows of LANES float64."""

    matrix: Any  # D² rows: entry (i, j) is row i·D + j
    low: Any  # as many: 0 of moments in float64
    row: Any  # D rows: of a pivot
    low_row: Any
    squares: Any  # D rows: the diagonal of XᵀX, of columns as they are
    centred: Any  # D rows: the diagonal of XᵀX of columns whose means were subtracted
    means: Any  # D rows
    powers: Any  # 3·D rows: powers of two of the rows and columns of the inverse, and of the means


@inlined
def _load_lane(lane, record, size, doubled, gram, exponents, weighing, scratch):
    """Fill a lane with a Gram record; returns whether its powers of two are normal numbers."""
    entries = size * (size + 1) // 2
    begin, own = record * (2 if doubled else 1) * entries, record * (size + 1)
    weight = np.int64(get(weighing, record * 4 + W_EXPONENT))
    normal = True
    for j in range(size):
        for i in range(j + 1):
            entry = begin + j * (j + 1) // 2 + i
            above, below_it = (i * size + j) * LANES + lane, (j * size + i) * LANES + lane
            move(gram, entry, scratch.matrix, above)
            move(gram, entry, scratch.matrix, below_it)
            if doubled:
                move(gram, entry + entries, scratch.low, above)
                move(gram, entry + entries, scratch.low, below_it)
        column = count_at(exponents, own + j) if doubled else np.int64(0)
        last = count_at(exponents, own + size - 1) if doubled else np.int64(0)
        normal = _put_power(scratch.powers, j * LANES + lane, -column - weight) and normal
        normal = _put_power(scratch.powers, (size + j) * LANES + lane, -column) and normal
        normal = _put_power(scratch.powers, (2 * size + j) * LANES + lane, column - last) and normal
    return normal


@inlined
def _put_power(powers, at, power):
    """Write 2^power; returns whether it is a normal number."""
    put(powers, at, pow2(power))
    return LOWEST_EXPONENT <= power <= HIGHEST_EXPONENT


@inlined
def _product(a, a_low, b, b_low):
    """a · b of two double-doubles."""
    p = multiply(a, b)
    e = add(fma(a, b, negate(p)), add(multiply(a, b_low), multiply(a_low, b)))
    s = add(p, e)
    return s, subtract(e, subtract(s, p))


@inlined
def _reciprocal(a, a_low):
    """1 / a of a double-double, by two steps of Newton."""
    one = fill(1.0)
    q, q_low = divide(one, a), fill(0.0)
    for _ in range(2):
        p, p_low = _product(a, a_low, q, q_low)
        rest = subtract(subtract(one, p), p_low)
        e = add(q_low, divide(rest, a))
        s = add(q, e)
        q, q_low = s, subtract(e, subtract(s, q))
    return q, q_low


@part
def _sweep_intercept(size, scratch):
    """Sweep the last column in double-double; of the result the high parts alone are kept."""
    matrix, low, last = scratch.matrix, scratch.low, size - 1
    inverse, low_inverse = _reciprocal(load(matrix, (last * size + last) * LANES), load(low, (last * size + last) * LANES))
    for k in range(size):
        at = (last * size + k) * LANES
        high, low_high = _product(load(matrix, at), load(low, at), inverse, low_inverse)
        store(scratch.row, k * LANES, high)
        store(scratch.low_row, k * LANES, low_high)
    for i in range(last):
        of_i = (i * size + last) * LANES
        factor, low_factor = load(matrix, of_i), load(low, of_i)
        for k in range(last):
            at = (i * size + k) * LANES
            p, p_low = _product(factor, low_factor, load(scratch.row, k * LANES), load(scratch.low_row, k * LANES))
            high, _ = dd_add_lanes(load(matrix, at), load(low, at), negate(p), negate(p_low))
            store(matrix, at, high)
    _put_row(last, size, inverse, scratch)


@inlined
def _put_row(pivot, size, inverse, scratch):
    """Enter the row of a pivot, its column and −1/pivot."""
    for k in range(size):
        row = load(scratch.row, k * LANES)
        store(scratch.matrix, (pivot * size + k) * LANES, row)
        store(scratch.matrix, (k * size + pivot) * LANES, row)
    store(scratch.matrix, (pivot * size + pivot) * LANES, negate(inverse))


@part
def _sweep(pivot, size, scratch):
    """Sweep a feature in float64."""
    matrix = scratch.matrix
    inverse = divide(fill(1.0), load(matrix, (pivot * size + pivot) * LANES))
    for k in range(size):
        store(scratch.row, k * LANES, multiply(load(matrix, (pivot * size + k) * LANES), inverse))
    for i in range(size):
        if i == pivot:
            continue
        factor = load(matrix, (i * size + pivot) * LANES)
        for k in range(size):
            at = (i * size + k) * LANES
            store(matrix, at, subtract(load(matrix, at), multiply(factor, load(scratch.row, k * LANES))))
    _put_row(pivot, size, inverse, scratch)


@part
def _accept(size, d, accurate, least, scratch):
    """The lanes of which float64 is accurate enough, and no pivot may be lost."""
    fine = np.int64(ALL)
    for j in range(d):
        centred = load(scratch.centred, j * LANES)
        inflation = multiply(negate(load(scratch.matrix, (j * size + j) * LANES)), centred)
        fine &= as_bits(at_most(multiply(inflation, fill(accurate)), fill(1.0)))
        fine &= as_bits(at_most(fill(0.5), inflation))
        fine &= as_bits(below(multiply(fill(least), load(scratch.squares, j * LANES)), centred))
    for j in range(d, size):
        fine &= as_bits(below(fill(0.0), load(scratch.squares, j * LANES)))
    return fine


@part
def _scale(size, d, scratch):
    """Replace swept matrices by inverses in the units of the data; row 0 gets the condition."""
    matrix, powers = scratch.matrix, scratch.powers
    one, most = fill(1.0), fill(1.0)
    for j in range(size):
        index = multiply(negate(load(matrix, (j * size + j) * LANES)), load(scratch.squares, j * LANES))
        most = choose(below(most, index), index, most)
        mean = one if j == d else load(scratch.means, j * LANES)
        store(scratch.low_row, j * LANES, multiply(mean, load(powers, (2 * size + j) * LANES)))
    store(scratch.row, 0, root(most))
    for i in range(size):
        of_row = load(powers, i * LANES)
        for j in range(size):
            at = (i * size + j) * LANES
            value = multiply(multiply(negate(load(matrix, at)), of_row), load(powers, (size + j) * LANES))
            store(matrix, at, value)


@kernel
def invert(gram, gram_exponents, weighing, records, intercept, accurate, least, inverse, mean, condition, left, cancel):
    """Invert the Gram records with these numbers; returns how many are left, by place in `left`.

    gram, gram_exponents, weighing: as in records.py. records (m,) int64. accurate: inflation ·
    accurate ≤ 1 is asked of every feature; least: a share of its square that it has at least
    without its mean. inverse (m, D, D), mean (m, D) and condition (m,) float64: elimination.py,
    `Inverses`, in the units of the data; of those that are left they are not written. left (m,)
    int64.
    """
    size, count, doubled = inverse.shape[1], len(records), gram.shape[1] == 2
    d = size - 1 if intercept else size
    wide = size * LANES
    arrays = (
        new_zeros(size * wide, np.float64), new_zeros(size * wide, np.float64), new_zeros(wide, np.float64), new_zeros(wide, np.float64),
        new_zeros(wide, np.float64), new_zeros(wide, np.float64), new_zeros(wide, np.float64), new_zeros(3 * wide, np.float64),
    )  # fmt: skip
    scratch = _Scratch(
        address(arrays[0]), address(arrays[1]), address(arrays[2]), address(arrays[3]), address(arrays[4]), address(arrays[5]),
        address(arrays[6]), address(arrays[7]),
    )  # fmt: skip
    of_gram, of_exponents, of_weights = address(gram), address(gram_exponents), address(weighing)
    numbers, to, means, conditions = address(records), address(inverse), address(mean), address(condition)
    n_left = 0
    for first in range(0, count, LANES):
        if raised(cancel):
            break
        many = min(LANES, count - first)
        normal = np.int64(0)
        for lane in range(LANES):
            record = count_at(numbers, first + (lane if lane < many else 0))
            if _load_lane(lane, record, size, doubled, of_gram, of_exponents, of_weights, scratch):
                normal |= np.int64(1) << lane
        for j in range(size):
            store(scratch.squares, j * LANES, load(scratch.matrix, (j * size + j) * LANES))
        if intercept:
            _sweep_intercept(size, scratch)
        for j in range(size):
            store(scratch.centred, j * LANES, load(scratch.matrix, (j * size + j) * LANES))
        for j in range(d):  # the means, which the sweeps of the features change
            store(scratch.means, j * LANES, load(scratch.matrix, (d * size + j) * LANES) if intercept else fill(0.0))
        for j in range(d):
            _sweep(j, size, scratch)
        fine = _accept(size, d, accurate, least, scratch) & normal
        _scale(size, d, scratch)
        for lane in range(many):
            if not fine >> lane & 1:
                left[n_left] = first + lane
                n_left += 1
                continue
            place = first + lane
            for entry in range(size * size):
                move(scratch.matrix, entry * LANES + lane, to, place * size * size + entry)
            for j in range(size):
                move(scratch.low_row, j * LANES + lane, means, place * size + j)
            move(scratch.row, lane, conditions, place)
    keep_alive((arrays, gram, gram_exponents, weighing, records, inverse, mean, condition, cancel))
    return n_left
