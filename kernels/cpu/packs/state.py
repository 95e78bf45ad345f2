"""A pack: up to 32 fits on moments, fit l in lane l of every vector. run_pack.py runs it.

1. Everything that a fit has (moments, w, options) is spread over rows of LANES numbers, one number
   of each fit: entry e of all fits lies at e·LANES … e·LANES + 31 of its array.
2. Lanes beyond the number of fits hold the first fit again, so that no lane computes on rubbish.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...chunk import COMPLETED, CONVERGED, MOMENTS
from ..moments.single_feature import load_single_feature
from ..moments.stack import W_EXPONENT, W_HIGH, W_LEAST, W_LOW
from ..simd.addresses import address, count_at, further
from ..simd.arrays import new_zeros
from ..simd.compiling import inlined, part
from ..simd.double_double import pow2, scale
from ..simd.lanes import LANES, divide, fill, fma, load, multiply, negate, root, store, subtract
from ..simd.masks import as_bits, at_most, below, both, choose
from ..simd.scalars import get, is_double, move, put

EPOCHS = 16  # rows of the history that are collected before they are written
MOST_IN_LANES = 8  # parameters: with more, fits that share a Gram matrix compute on that one
SMALLEST_PACK = (1, 1, 2, 4)  # [n_parameters, 3 for more]: with fewer fits, one by one is faster

# Rows of `constants`, LANES numbers each.
TOTAL, RECIPROCAL = 0, 1  # W, the total weight (n without weights), and 1 / W
FACTOR, LOW_FACTOR = 2, 3  # s and s′ of docs/arithmetic.md, section 6
W_LIMIT, LOSS_LIMIT = 4, 5  # what |w| and the loss must not pass: see `set_limits`
LOSS_SCALE = 6  # of float64 data: half the power of two of the loss
LAST_LOSS = 7  # of the last epoch
LEAST_WEIGHT = 8
W_SAFE = 9  # while no |w| is larger the next epoch passes no limit: see `set_limits`
LARGEST = 10  # of SGD: the largest |w| since the block of epochs began
W_MOST = 11  # of the other rules: what a new |w| must not pass, Ω in checked epochs
STOPPED = 12  # epochs made in a lane that was handed over, or has converged
LARGEST_COLUMN, LARGEST_EXPONENT = 13, 14  # of float64 data: max_j √G_jj; of columns and weights
PENALTY, MINIMUM, INITIAL_EXCESS, GOAL = 15, 16, 17, 18  # κ, F*, F(w_0) − F*, and what F must not pass
OBJECTIVE = 19  # F of the last epoch
DECAY = 20  # the weight decay that is part of the gradient
LOSS_OF_SHARED = 21  # L of gradient._evaluate_shared
LARGEST_VELOCITY = 22  # of SGD with momentum: as LARGEST
N_CONSTANTS = 23

MODERATE_W_SAFE, MODERATE_EXPONENT = 2.0**30, 100.0  # see `is_moderate`


class PackScratch(NamedTuple):
    """What a pack computes with: arrays or addresses. Rows of LANES float64, but for `rows`."""

    grams: Any  # D(D+1)/2 rows: the Gram matrices, packed by columns; of float64 data the high parts
    low_grams: Any  # as many, of float64 data only, like every array of low parts
    matrix: Any  # (D, D), float32 data: the Gram matrix, where all fits share it
    targets: Any  # D + 1 rows, behind those of the Gram matrix: Xᵀy, then yᵀy
    low_targets: Any
    w: Any  # D rows
    slots: Any  # rows s·D + j: slot s of parameter j; none of plain SGD, like all that is only the other rules'
    products: Any  # a row each
    next_w: Any
    next_slots: Any
    next_products: Any
    gradient: Any  # D rows
    values: Any  # rule_state.N_VALUES rows: hyperparameters, and what a step makes of them
    scales: Any  # float64 data: 2 · D powers of two for w, 2 · D for the gradient, D rows of scaled w
    constants: Any  # N_CONSTANTS rows
    rates: Any  # −lr of up to EPOCHS epochs, then their momenta
    before: Any  # w, slots and products at the beginning of the block of epochs
    rows: Any  # in the data's type: w of EPOCHS epochs, then the losses of as many


class Records(NamedTuple):
    """Addresses of the moments of all fits of a chunk, and which record each fit has."""

    gram: Any
    gram_index: Any
    target: Any
    target_index: Any
    exponents: Any
    weighing: Any


class SampleSource(NamedTuple):
    """Where fits of one feature take their moments from, instead of records."""

    wanted: Any  # bool; False: the moments are in `Records`
    sources: Any  # moments/samples.py, 3
    n_used: Any  # address
    intercept: Any  # bool
    scratch: Any  # address of single_feature.SCRATCH numbers
    series: Any  # single_feature.Series
    least: Any  # addresses of a LeastScratch
    noted: Any  # address: numbers of the fits whose Gram matrices are wanted, ascending
    n_wanted: Any  # how many
    noted_grams: Any  # address: a row of D(D+1)/2 for each of them, packed by columns
    n_noted: Any  # address: how many are written


class Options(NamedTuple):
    """What the user chose: numbers, and addresses of the values of each fit."""

    n_slots: Any  # of the rule; 0 for plain SGD, which has none
    n_products: Any

    lr: Any  # address: (n_rates, n_fits)
    n_rates: Any
    n_fits: Any
    momenta: Any  # address: (n_rates, n_fits)
    moves: Any  # bool: whether there are momenta
    hyper: Any  # address: (n_fits or 1, n_hyper)
    n_hyper: Any
    own_hyper: Any  # bool: whether every fit has its own row of `hyper`
    n_decayed: Any  # parameters that weight decay acts on, the first ones
    reduction_sum: Any  # bool
    limit: Any  # Ω of the data's type
    epochs: Any
    tol: Any
    every: Any
    measured: Any  # bool: whether the objective and its least value are asked for
    least_needed: Any  # bool: whether a fit whose least value is doubtful is handed over before its first epoch


class Results(NamedTuple):
    """Addresses of what a pack writes: arrays of a chunk, then notes on fits that it hands over."""

    w: Any
    slots: Any
    products: Any
    steps: Any
    algorithm: Any
    status: Any
    w_out: Any
    loss: Any
    epochs_run: Any
    history_w: Any
    history_loss: Any
    penalty: Any
    least: Any
    allowance: Any
    initial_excess: Any
    excess: Any
    handed_over: Any  # (fits, 3) int64: fit, epoch or NOT_RUN, whether the row of that epoch is done
    handed_over_losses: Any  # (fits,) float64: the loss of that epoch
    n_handed_over: Any  # (1,) int64


@inlined
def make_scratch(size, n_slots, n_products, n_values, doubled, dtype):
    """New arrays for a pack of fits of `size` parameters."""
    entries, wide = size * (size + 1) // 2 * LANES, size * LANES
    of_slots, of_products = n_slots * wide, n_products * LANES
    low = 1 if doubled else 0
    moments, low_moments = new_zeros(entries + wide + LANES, np.float64), new_zeros((entries + wide + LANES) * low, np.float64)
    return PackScratch(
        moments, low_moments, new_zeros(size * size * (1 - low), np.float64), moments[entries:], low_moments[entries * low :],
        new_zeros(wide, np.float64), new_zeros(of_slots, np.float64),
        new_zeros(of_products, np.float64), new_zeros(wide, np.float64), new_zeros(of_slots, np.float64),
        new_zeros(of_products, np.float64), new_zeros(wide, np.float64), new_zeros(n_values * LANES, np.float64),
        new_zeros(5 * wide * low, np.float64), new_zeros(N_CONSTANTS * LANES, np.float64), new_zeros(2 * EPOCHS * LANES, np.float64),
        new_zeros(wide + of_slots + of_products, np.float64),
        new_zeros(EPOCHS * (wide + LANES), dtype),
    )  # fmt: skip


@inlined
def addresses_of(arrays):
    """The addresses of the arrays of a PackScratch."""
    return PackScratch(
        address(arrays.grams), address(arrays.low_grams), address(arrays.matrix), address(arrays.targets), address(arrays.low_targets),
        address(arrays.w),
        address(arrays.slots), address(arrays.products), address(arrays.next_w), address(arrays.next_slots),
        address(arrays.next_products), address(arrays.gradient), address(arrays.values), address(arrays.scales), address(arrays.constants),
        address(arrays.rates), address(arrays.before), address(arrays.rows),
    )  # fmt: skip


@inlined
def are_neighbours(fits, count):
    """Whether a pack is full and its fits follow each other: then their numbers are rows."""
    return count == LANES and count_at(fits, LANES - 1) - count_at(fits, 0) == LANES - 1


@inlined
def can_join_a_pack(algorithm, status):
    """Whether a fit may run in a pack: on moments, and so far all was finite."""
    return algorithm == MOMENTS and status in (COMPLETED, CONVERGED)


@part
def load_pack(fits, count, size, records, options, w, scratch):
    """Fill the lanes from the records of the fits, and with w.

    Returns whether the gradient is to be computed on one Gram matrix, which is then filled too.
    """
    grams, targets, constants = scratch.grams, scratch.targets, scratch.constants
    doubled = is_double(scratch.rows)
    planes = 2 if doubled else 1
    entries = size * (size + 1) // 2
    shared, begin = _share_one_gram(fits, count, records), count_at(records.gram_index, count_at(fits, 0)) * planes * entries
    if shared:
        for entry in range(entries):
            store(grams, entry * LANES, fill(get(records.gram, begin + entry)))
            if doubled:
                store(scratch.low_grams, entry * LANES, fill(get(records.gram, begin + entries + entry)))
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        g, record = count_at(records.gram_index, f), count_at(records.target_index, f)
        from_gram, from_target = g * planes * entries, record * planes * (size + 1)
        for entry in range(0 if shared else entries):
            move(records.gram, from_gram + entry, grams, entry * LANES + lane)
            if doubled:
                move(records.gram, from_gram + entries + entry, scratch.low_grams, entry * LANES + lane)
        for entry in range(size + 1):
            move(records.target, from_target + entry, targets, entry * LANES + lane)
        move(records.weighing, g * 4 + W_HIGH, constants, TOTAL * LANES + lane)
        move(records.weighing, g * 4 + W_LEAST, constants, LEAST_WEIGHT * LANES + lane)
        if doubled:
            _load_low_parts(lane, size, g, record, records, options.reduction_sum, scratch)
    _load_w(fits, count, size, w, scratch)
    _set_constants(options.reduction_sum, doubled, scratch)
    if doubled or not shared or size <= MOST_IN_LANES:
        return False
    for j in range(size):
        for k in range(size):
            entry = j * (j + 1) // 2 + k if k <= j else k * (k + 1) // 2 + j
            move(records.gram, begin + entry, scratch.matrix, j * size + k)
    return True


@inlined
def _share_one_gram(fits, count, records):
    """Whether all fits of a pack have one Gram matrix."""
    first, shared = count_at(records.gram_index, count_at(fits, 0)), True
    for lane in range(1, count):
        shared = shared and count_at(records.gram_index, count_at(fits, lane)) == first
    return shared


@part
def load_pack_from_samples(fits, count, size, options, data, w, scratch):
    """Fill the lanes from the samples of fits of one feature that follow each other, and with w.

    Returns whether their moments are finite.
    """
    constants, first = scratch.constants, count_at(fits, 0)
    if not load_single_feature(
        data.sources, first, count, data.n_used, data.intercept, data.scratch, data.series, scratch.grams, scratch.targets
    ):
        return False
    for lane in range(LANES):
        put(constants, TOTAL * LANES + lane, float(count_at(data.n_used, first + (lane if lane < count else 0))))
    store(constants, LEAST_WEIGHT * LANES, fill(1.0))
    _load_w(fits, count, size, w, scratch)
    _set_constants(options.reduction_sum, False, scratch)
    _note_grams(first, count, size * (size + 1) // 2, data, scratch.grams)
    return True


@inlined
def _note_grams(first, count, entries, data, grams):
    """Copy the Gram matrices of those fits of a pack that are wanted."""
    number = count_at(data.n_noted, 0)
    while number < data.n_wanted and count_at(data.noted, number) < first + count:
        lane = count_at(data.noted, number) - first
        for entry in range(entries):
            move(grams, entry * LANES + lane, data.noted_grams, number * entries + entry)
        number += 1
    put(data.n_noted, 0, np.int64(number))


@part
def _load_w(fits, count, size, w, scratch):
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        for j in range(size):
            move(w, f * size + j, scratch.w, j * LANES + lane)


@inlined
def _set_constants(reduction_sum, doubled, scratch):
    """Fill the rows of `constants` that follow from the total weight."""
    constants = scratch.constants
    totals, two = load(constants, TOTAL * LANES), fill(2.0)
    if not doubled:
        store(constants, LOSS_SCALE * LANES, fill(1.0))
    if reduction_sum:
        store(constants, FACTOR * LANES, two)
        store(constants, LOW_FACTOR * LANES, fill(0.0))
    else:
        factor = divide(two, totals)
        store(constants, FACTOR * LANES, factor)
        if doubled:
            low_totals, minus = load(constants, LOW_FACTOR * LANES), negate(factor)
            store(constants, LOW_FACTOR * LANES, divide(fma(minus, low_totals, fma(minus, totals, two)), totals))
    store(constants, RECIPROCAL * LANES, divide(fill(1.0), totals))


@inlined
def is_moderate(size, doubled, scratch):
    """Whether all moments are near enough to 1 that every |w| ≤ MODERATE_W_SAFE is safe.

    Then `set_limits`, whose roots and divisions take as long as some fifty epochs, can wait. With
    M = max_j √G_jj ≤ 2^20, √yy ≤ 2^40, 1 ≤ ω and Σω ≤ 2^40 is √(n·loss) ≤ √yy + D·M·|w| ≤ 2^40 +
    2^55 (D ≤ 32), far below 2^60, its least limit; that of w is 2^100 / D at least. Of float64
    data, whose exponents (of columns and weights) are at most MODERATE_EXPONENT in size, M and √yy
    are below 2^172, √(n·loss) is below 2^210, and its least limit 2^500; no product of scaled
    numbers reaches 2^600.
    """
    grams, targets, constants = scratch.grams, scratch.targets, scratch.constants
    fine = both(at_most(fill(1.0), load(constants, LEAST_WEIGHT * LANES)), at_most(load(constants, TOTAL * LANES), fill(2.0**40)))
    if doubled:
        return as_bits(both(fine, at_most(load(constants, LARGEST_EXPONENT * LANES), fill(MODERATE_EXPONENT)))) == (1 << LANES) - 1
    fine = both(fine, at_most(load(targets, size * LANES), fill(2.0**80)))
    for j in range(size):
        fine = both(fine, at_most(load(grams, (j * (j + 1) // 2 + j) * LANES), fill(2.0**40)))
    return as_bits(fine) == (1 << LANES) - 1


@part
def _load_low_parts(lane, size, g, record, records, reduction_sum, scratch):
    """Fill one lane with what only float64 data have, and with what `set_limits` needs of them."""
    constants, scales = scratch.constants, scratch.scales
    wide, entries = size * LANES, size * (size + 1) // 2
    for entry in range(size + 1):
        move(records.target, (2 * record + 1) * (size + 1) + entry, scratch.low_targets, entry * LANES + lane)
    power = np.int64(get(records.weighing, g * 4 + W_EXPONENT))
    exponents = further(records.exponents, record * (size + 1))
    exponent_y = count_at(exponents, size) if get(scratch.targets, wide + lane) != 0.0 else 0
    largest_column, largest_exponent = 0.0, max(abs(exponent_y), abs(power))
    for j in range(size):
        exponent = count_at(exponents, j)
        diagonal = get(records.gram, 2 * g * entries + j * (j + 1) // 2 + j)
        largest_column = max(largest_column, scale(math.sqrt(scale(diagonal, power)), exponent))
        largest_exponent = max(largest_exponent, abs(exponent) if diagonal != 0.0 else 0)
        of_w = exponent - exponent_y
        of_gradient = exponent + exponent_y + (power if reduction_sum else 0)
        at = j * LANES + lane
        put(scales, at, pow2(of_w >> 1))
        put(scales, wide + at, pow2(of_w - (of_w >> 1)))
        put(scales, 2 * wide + at, pow2(of_gradient >> 1))
        put(scales, 3 * wide + at, pow2(of_gradient - (of_gradient >> 1)))
    put(constants, LOW_FACTOR * LANES + lane, get(records.weighing, g * 4 + W_LOW))
    put(constants, LARGEST_COLUMN * LANES + lane, largest_column)
    put(constants, LARGEST_EXPONENT * LANES + lane, float(largest_exponent))
    put(constants, LOSS_LIMIT * LANES + lane, scale(get(records.weighing, g * 4 + W_HIGH), power))
    put(constants, LOSS_SCALE * LANES + lane, pow2(exponent_y))  # used twice: the loss has the factor 2^(2·exponent_y)


@part
def set_limits(size, doubled, limit, scratch):
    """Fill the rows W_LIMIT and LOSS_LIMIT (limits.limits_of in every lane), and W_SAFE.

    With |w_j| ≤ s is √(n·loss) ≤ √yy + D·M·s, M = max_j √G_jj; a tenth is left for all rounding
    errors. If lr·gradient or the new w passed Ω, the new w would be far above Ω/4. Of float64 data
    nothing is called safe but MODERATE_W_SAFE; theirs must have LARGEST_COLUMN = M and
    LOSS_LIMIT = Σω before.
    """
    grams, targets, constants = scratch.grams, scratch.targets, scratch.constants
    one, zero, top = fill(1.0), fill(0.0), fill(limit)
    largest, whole = load(constants, LARGEST_COLUMN * LANES), load(constants, LOSS_LIMIT * LANES)
    least = load(constants, LEAST_WEIGHT * LANES)
    if not doubled:
        largest, whole = zero, load(constants, TOTAL * LANES)
        for j in range(size):
            length = root(load(grams, (j * (j + 1) // 2 + j) * LANES))
            largest = choose(below(largest, length), length, largest)
    least = choose(below(least, one), least, one)
    bound = multiply(top, least)
    ratio = divide(bound, multiply(fill(2.0), largest))
    ratio = multiply(ratio, ratio)
    loss_limit = divide(choose(below(ratio, bound), ratio, bound), whole)
    reach = multiply(fill(float(size)), largest)
    share = divide(reach, root(least))
    w_limit = divide(top, choose(below(one, share), share, one))
    fine = at_most(whole, top)
    none = fill(-1.0)
    w_limit, loss_limit = choose(fine, w_limit, none), choose(fine, loss_limit, none)
    store(constants, W_LIMIT * LANES, w_limit)
    store(constants, LOSS_LIMIT * LANES, loss_limit)
    if doubled:
        return
    safe = choose(below(w_limit, fill(limit / 4.0)), w_limit, fill(limit / 4.0))
    length = root(load(targets, size * LANES))
    by_loss = multiply(fill(0.9), multiply(root(choose(fine, loss_limit, zero)), root(whole)))
    by_loss = divide(subtract(by_loss, length), reach)
    store(constants, W_SAFE * LANES, choose(at_most(safe, by_loss), safe, by_loss))  # a NaN stays: then nothing is safe
