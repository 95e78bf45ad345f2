"""A batch: the moments, the state and the options of up to 32 fits, fit l in lane l of every vector. run_pack.py runs it."""

from __future__ import annotations

import math

import numpy as np

from ...chunk import COMPLETED, CONVERGED, MOMENTS
from ..moments.single_feature import load_lines
from ..simd.addresses import address, count_at, further
from ..simd.compiling import aligned, inlined, part
from ..simd.double_double import pow2, scale
from ..simd.lanes import LANES, divide, fill, fma, load, multiply, negate, root, store, subtract
from ..simd.masks import as_bits, at_most, below, both, choose
from ..simd.scalars import get, move, put

EPOCHS = 16  # rows that are collected before they are written
MOST_PARAMETERS = 32  # beyond, the moments of a batch would not stay in the cache
FEWEST = (1, 1, 2, 4)  # fits of so many parameters, or of more, for which a batch with questions is as fast as one after the other
# rows of `constants`, LANES numbers each. LEAST: the least weight; SAFE: see `set_limits`; LARGEST: the largest |w| since a block of epochs
# began; REPORTED: the last loss; STOPPED: the epochs made by a lane that left or was frozen; of float64 data COLUMN: max_j √G_jj, and FAR:
# the largest exponent of a column, in size
TOTAL, RECIPROCAL, FACTOR, LOW_FACTOR, W_LIMIT, LOSS_LIMIT, MOMENTUM, KEEP, DECAY = range(9)
UP_LOSS, PREVIOUS, LEAST, SAFE, LARGEST, REPORTED, STOPPED, COLUMN, FAR = range(9, 18)
N_CONSTANTS = 18
EASY, FAR_ENOUGH = 2.0**30, 100.0  # see `is_ordinary`


@inlined
def make_room(size, doubled, number):
    """Scratch of a batch: (gram, low gram, target, low target, w, slot, next w, next slot, gradient, ups, constants, rates, before, rows).

    `rows` holds w of EPOCHS epochs, then their losses; `before` the w and slot with which a block of epochs began.
    """
    entries = size * (size + 1) // 2 * LANES
    wide = size * LANES
    more = 1 if doubled else 0
    return (
        aligned(np.zeros(entries + 8)), aligned(np.zeros(entries * more + 8)), aligned(np.zeros(wide + LANES + 8)),
        aligned(np.zeros((wide + LANES) * more + 8)), aligned(np.zeros(wide + 8)), aligned(np.zeros(wide + 8)),
        aligned(np.zeros(wide + 8)), aligned(np.zeros(wide + 8)), aligned(np.zeros(wide + 8)), aligned(np.zeros(5 * wide * more + 8)),
        aligned(np.zeros(N_CONSTANTS * LANES + 8)), aligned(np.zeros(EPOCHS * LANES + 8)), aligned(np.zeros(2 * wide + 8)),
        aligned(np.zeros(EPOCHS * (wide + LANES) + 16, number)),
    )  # fmt: skip


@inlined
def addresses_of(room):
    """The same as addresses."""
    grams, low_grams, targets, low_targets, w, slot, next_w, next_slot, gradient, ups, constants, rates, before, rows = room
    return (
        address(grams), address(low_grams), address(targets), address(low_targets), address(w), address(slot), address(next_w),
        address(next_slot), address(gradient), address(ups), address(constants), address(rates), address(before), address(rows),
    )  # fmt: skip


@inlined
def are_neighbours(fits, count):
    """Whether a batch is full and its fits, which ascend, follow each other: then their numbers lie side by side."""
    return count == LANES and count_at(fits, LANES - 1) - count_at(fits, 0) == LANES - 1


@inlined
def is_plain(hyper):
    """Whether these are the values of SGD without momentum, decay and maximize."""
    return get(hyper, 0) == 0.0 and get(hyper, 2) == 0.0 and get(hyper, 4) == 0.0


@part
def load_batch(fits, count, size, records, options, w, slots, room):
    """Fill the lanes; those beyond `count` are the first fit again. True where no fit has an option of SGD.

    Addresses: records (gram, gram_index, target, target_index, exponents, weighing); options: as in run_pack.run_batch.
    """
    gram, gram_index, target, target_index, exponents, weighing = records
    reduction_sum, doubled = options[6], options[8]
    grams, targets, constants = room[0], room[2], room[10]
    planes = 2 if doubled else 1
    entries = size * (size + 1) // 2
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        g, record = count_at(gram_index, f), count_at(target_index, f)
        from_gram, from_target = g * planes * entries, record * planes * (size + 1)
        for entry in range(entries):
            move(gram, from_gram + entry, grams, entry * LANES + lane)
        for entry in range(size + 1):
            move(target, from_target + entry, targets, entry * LANES + lane)
        move(weighing, g * 4, constants, TOTAL * LANES + lane)
        move(weighing, g * 4 + 3, constants, LEAST * LANES + lane)
        if doubled:
            _load_low_parts(lane, size, gram, g, target, record, exponents, weighing, reduction_sum, room)
    plain = _load_state(fits, count, size, options, w, slots, room)
    _set_constants(reduction_sum, doubled, room)
    return plain


@part
def load_batch_of_lines(fits, count, size, options, data, w, slots, room):
    """The same of fits that follow each other, from their samples: (whether their moments are finite, whether no fit has an option).

    data: (sources, n_used, intercept, scratch), see single_feature.py.
    """
    sources, n_used, intercept, scratch = data
    constants, first = room[10], count_at(fits, 0)
    if not load_lines(sources, first, count, n_used, intercept, scratch, room[0], room[2]):
        return False, False
    for lane in range(LANES):
        put(constants, TOTAL * LANES + lane, float(count_at(n_used, first + (lane if lane < count else 0))))
    store(constants, LEAST * LANES, fill(1.0))
    plain = _load_state(fits, count, size, options, w, slots, room)
    _set_constants(options[6], False, room)
    return True, plain


@part
def _load_state(fits, count, size, options, w, slots, room):
    """w, and the options and slots that a fit has; see `load_batch`."""
    hyper, n_hyper, own_hyper = options[3], options[4], options[5]
    state, slot, constants = room[4], room[5], room[10]
    plain = True
    for lane in range(LANES if own_hyper else 1):
        h = count_at(fits, lane if lane < count else 0) * n_hyper if own_hyper else 0
        momentum, decay = get(hyper, h), get(hyper, h + 2)
        plain = plain and is_plain(further(hyper, h))
        if own_hyper:
            put(constants, MOMENTUM * LANES + lane, momentum)
            put(constants, KEEP * LANES + lane, 1.0 - get(hyper, h + 1))
            put(constants, DECAY * LANES + lane, decay)
        else:
            store(constants, MOMENTUM * LANES, fill(momentum))
            store(constants, KEEP * LANES, fill(1.0 - get(hyper, h + 1)))
            store(constants, DECAY * LANES, fill(decay))
    store(constants, PREVIOUS * LANES, fill(math.nan))
    if size == 1 and plain and are_neighbours(fits, count):
        store(state, 0, load(w, count_at(fits, 0)))
        return plain
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        for j in range(size):
            move(w, f * size + j, state, j * LANES + lane)
            if not plain:
                move(slots, f * size + j, slot, j * LANES + lane)
    return plain


@inlined
def _set_constants(reduction_sum, doubled, room):
    """What follows from the weights."""
    constants = room[10]
    totals, two, total = load(constants, TOTAL * LANES), fill(2.0), get(constants, TOTAL * LANES)
    same = as_bits(both(at_most(totals, fill(total)), at_most(fill(total), totals))) == (1 << LANES) - 1  # then one division serves all
    if not doubled:
        store(constants, UP_LOSS * LANES, fill(1.0))
    if reduction_sum:
        store(constants, FACTOR * LANES, two)
        store(constants, LOW_FACTOR * LANES, fill(0.0))
    else:
        factor = fill(2.0 / total) if same else divide(two, totals)
        store(constants, FACTOR * LANES, factor)
        if doubled:
            low_totals, minus = load(constants, LOW_FACTOR * LANES), negate(factor)
            store(constants, LOW_FACTOR * LANES, divide(fma(minus, low_totals, fma(minus, totals, two)), totals))
    store(constants, RECIPROCAL * LANES, fill(1.0 / total) if same else divide(fill(1.0), totals))


@inlined
def is_ordinary(size, doubled, room):
    """Whether the numbers of all fits are so near to 1 that no limit can be passed while every |w| ≤ EASY.

    Then `set_limits`, whose roots and divisions take as long as some fifty epochs, can wait. With M = max_j √G_jj ≤ 2^20, √yy ≤ 2^40,
    1 ≤ ω and Σω ≤ 2^40 is √(n·loss) ≤ √yy + D·M·|w| ≤ 2^40 + 2^53, far below 2^60, its least limit; that of w is 2^100 / D at least.
    Of float64 data, whose exponents (of columns and weights) are at most FAR_ENOUGH in size, M and √yy are below 2^172, √(n·loss) is below
    2^210, and its least limit 2^500; no product of scaled numbers reaches 2^600.
    """
    grams, targets, constants = room[0], room[2], room[10]
    fine = both(at_most(fill(1.0), load(constants, LEAST * LANES)), at_most(load(constants, TOTAL * LANES), fill(2.0**40)))
    if doubled:
        return as_bits(both(fine, at_most(load(constants, FAR * LANES), fill(FAR_ENOUGH)))) == (1 << LANES) - 1
    fine = both(fine, at_most(load(targets, size * LANES), fill(2.0**80)))
    for j in range(size):
        fine = both(fine, at_most(load(grams, (j * (j + 1) // 2 + j) * LANES), fill(2.0**40)))
    return as_bits(fine) == (1 << LANES) - 1


@part
def _load_low_parts(lane, size, gram, g, target, record, exponents, weighing, reduction_sum, room):
    """What only float64 data have, of one lane; and what `set_limits` wants to know of them."""
    _, low_grams, targets, low_targets, _, _, _, _, _, ups, constants, _, _, _ = room
    wide, entries = size * LANES, size * (size + 1) // 2
    for entry in range(entries):
        move(gram, (2 * g + 1) * entries + entry, low_grams, entry * LANES + lane)
    for entry in range(size + 1):
        move(target, (2 * record + 1) * (size + 1) + entry, low_targets, entry * LANES + lane)
    power = np.int64(get(weighing, g * 4 + 2))
    exponents = further(exponents, record * (size + 1))
    exponent_y = count_at(exponents, size) if get(targets, wide + lane) != 0.0 else 0
    largest, far = 0.0, max(abs(exponent_y), abs(power))
    for j in range(size):
        exponent = count_at(exponents, j)
        diagonal = get(gram, 2 * g * entries + j * (j + 1) // 2 + j)
        largest = max(largest, scale(math.sqrt(scale(diagonal, power)), exponent))
        far = max(far, abs(exponent) if diagonal != 0.0 else 0)
        of_w = exponent - exponent_y
        of_gradient = exponent + exponent_y + (power if reduction_sum else 0)
        at = j * LANES + lane
        put(ups, at, pow2(of_w >> 1))
        put(ups, wide + at, pow2(of_w - (of_w >> 1)))
        put(ups, 2 * wide + at, pow2(of_gradient >> 1))
        put(ups, 3 * wide + at, pow2(of_gradient - (of_gradient >> 1)))
    put(constants, LOW_FACTOR * LANES + lane, get(weighing, g * 4 + 1))
    put(constants, COLUMN * LANES + lane, largest)
    put(constants, FAR * LANES + lane, float(far))
    put(constants, LOSS_LIMIT * LANES + lane, scale(get(weighing, g * 4), power))
    put(constants, UP_LOSS * LANES + lane, pow2(exponent_y))  # twice: the loss is that of the scaled moments times 2^(2·exponent_y)


@part
def set_limits(size, doubled, limit, room):
    """`limits_of` of every lane, and the row SAFE: while no |w| is larger, the next epoch passes no limit.

    With |w_j| ≤ s is √(n·loss) ≤ √yy + D·M·s, M = max_j √G_jj; a tenth is left for all rounding errors. If lr·gradient or the new w passed
    Ω, the new w would be far above Ω/4. Of float64 data nothing is called safe, only EASY.
    In, of float64 data: COLUMN = M, LOSS_LIMIT = Σω.
    """
    grams, targets, constants = room[0], room[2], room[10]
    one, zero, top = fill(1.0), fill(0.0), fill(limit)
    largest, whole, least = load(constants, COLUMN * LANES), load(constants, LOSS_LIMIT * LANES), load(constants, LEAST * LANES)
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
    store(constants, SAFE * LANES, choose(at_most(safe, by_loss), safe, by_loss))  # a NaN stays: then nothing is safe


@inlined
def fits_a_batch(algorithm, status):
    """Whether a fit of SGD can run here: on moments, and its numbers were all finite."""
    return algorithm == MOMENTS and status in (COMPLETED, CONVERGED)
