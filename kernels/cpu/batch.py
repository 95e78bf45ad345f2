"""A batch: the moments, the state and the options of up to 32 fits, fit l in lane l of every vector. side_by_side.py runs it."""

from __future__ import annotations

import math

import numpy as np

from ..chunk import COMPLETED, CONVERGED, MOMENTS
from .addresses import address, count_at, further
from .compiling import aligned, inlined, part
from .doubled import pow2, scale
from .masks import at_most, below, choose
from .scalars import get, move, put
from .vectors import LANES, divide, fill, fma, load, multiply, negate, root, store, subtract

EPOCHS = 16  # rows that are collected before they are written
MOST_PARAMETERS = 32  # beyond, the moments of a batch would not stay in the cache
FEWEST = (1, 1, 2, 4)  # fits of so many parameters, or of more, for which a batch is as fast as one after the other
# rows of `constants`, LANES numbers each; SAFE: see `_safe_size`; LARGEST: the largest |w| since a block of epochs began
TOTAL, RECIPROCAL, FACTOR, LOW_FACTOR, W_LIMIT, LOSS_LIMIT, MOMENTUM, KEEP, DECAY, UP_LOSS, PREVIOUS, SAFE, LARGEST = range(13)
N_CONSTANTS = 13
LARGEST_EXPONENT = 100  # of a column of float64 data, in size; see `_safe_size`
LARGEST_SCALED = 2.0**400


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


@part
def load_batch(fits, count, size, records, options, w, slots, room):
    """Fill the lanes; those beyond `count` are the first fit again. True where no fit has an option of SGD.

    Addresses: records (gram, gram_index, target, target_index, exponents, weighing); options: as in side_by_side.run_batch.
    """
    gram, gram_index, target, target_index, exponents, weighing = records
    _, _, _, hyper, n_hyper, own_hyper, reduction_sum, limit, doubled = options
    grams, _, targets, _, state, slot, _, _, _, _, constants, _, _, _ = room
    planes = 2 if doubled else 1
    entries = size * (size + 1) // 2
    plain = True
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        g, record = count_at(gram_index, f), count_at(target_index, f)
        from_gram, from_target = g * planes * entries, record * planes * (size + 1)
        for entry in range(entries):
            move(gram, from_gram + entry, grams, entry * LANES + lane)
        for entry in range(size + 1):
            move(target, from_target + entry, targets, entry * LANES + lane)
        for j in range(size):
            move(w, f * size + j, state, j * LANES + lane)
            move(slots, f * size + j, slot, j * LANES + lane)
        move(weighing, g * 4, constants, TOTAL * LANES + lane)
        move(weighing, g * 4 + 3, constants, SAFE * LANES + lane)  # ω_min, for `_set_limits`
        if doubled:
            _load_low_parts(lane, size, gram, g, target, record, exponents, weighing, reduction_sum, room)
        h = f * n_hyper if own_hyper else 0
        momentum, decay = get(hyper, h), get(hyper, h + 2)
        put(constants, MOMENTUM * LANES + lane, momentum)
        put(constants, KEEP * LANES + lane, 1.0 - get(hyper, h + 1))
        put(constants, DECAY * LANES + lane, decay)
        plain = plain and momentum == 0.0 and decay == 0.0 and get(hyper, h + 4) == 0.0
    store(constants, PREVIOUS * LANES, fill(math.nan))
    totals = load(constants, TOTAL * LANES)
    if not doubled:
        largest = fill(0.0)
        for j in range(size):
            length = root(load(grams, (j * (j + 1) // 2 + j) * LANES))
            largest = choose(below(largest, length), length, largest)
        store(constants, LARGEST * LANES, largest)
        store(constants, LOSS_LIMIT * LANES, totals)
        store(constants, UP_LOSS * LANES, fill(1.0))
    two = fill(2.0)
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
    _set_limits(size, doubled, limit, room)
    return plain


@part
def _load_low_parts(lane, size, gram, g, target, record, exponents, weighing, reduction_sum, room):
    """What only float64 data have, of one lane; and what `_set_limits` wants to know of them."""
    _, low_grams, targets, low_targets, _, _, _, _, _, ups, constants, _, _, _ = room
    wide, entries = size * LANES, size * (size + 1) // 2
    for entry in range(entries):
        move(gram, (2 * g + 1) * entries + entry, low_grams, entry * LANES + lane)
    for entry in range(size + 1):
        move(target, (2 * record + 1) * (size + 1) + entry, low_targets, entry * LANES + lane)
    power = np.int64(get(weighing, g * 4 + 2))
    exponents = further(exponents, record * (size + 1))
    exponent_y = count_at(exponents, size) if get(targets, wide + lane) != 0.0 else 0
    largest, far = 0.0, abs(exponent_y)
    for j in range(size):
        exponent = count_at(exponents, j)
        diagonal = get(gram, 2 * g * entries + j * (j + 1) // 2 + j)
        if diagonal != 0.0:
            far = max(far, abs(exponent))
        largest = max(largest, scale(math.sqrt(scale(diagonal, power)), exponent))
        of_w = exponent - exponent_y
        of_gradient = exponent + exponent_y + (power if reduction_sum else 0)
        at = j * LANES + lane
        put(ups, at, pow2(of_w >> 1))
        put(ups, wide + at, pow2(of_w - (of_w >> 1)))
        put(ups, 2 * wide + at, pow2(of_gradient >> 1))
        put(ups, 3 * wide + at, pow2(of_gradient - (of_gradient >> 1)))
    put(constants, LOW_FACTOR * LANES + lane, get(weighing, g * 4 + 1))
    put(constants, LARGEST * LANES + lane, largest)
    put(constants, LOSS_LIMIT * LANES + lane, scale(get(weighing, g * 4), power))
    put(constants, W_LIMIT * LANES + lane, LARGEST_SCALED if far <= LARGEST_EXPONENT else -1.0)
    put(constants, UP_LOSS * LANES + lane, pow2(exponent_y))  # twice: the loss is that of the scaled moments times 2^(2·exponent_y)


@inlined
def _set_limits(size, doubled, limit, room):
    """`limits_of` of every lane, and the row SAFE: while no |w| is larger, the next epoch passes no limit.

    In: LARGEST = max_j √G_jj = M, LOSS_LIMIT = Σω, SAFE = ω_min; for float64 data also W_LIMIT = LARGEST_SCALED, or -1 for no safe size.
    With |w_j| ≤ s is √(n·loss) ≤ √yy + D·M·s; a tenth is left for all rounding errors. If lr·gradient or the new w passed Ω, the new w
    would be far above Ω/4. Of float64 data the scaled numbers must not overflow either: products of w and the data stay below
    LARGEST_SCALED, and no column is scaled by more than 2^±LARGEST_EXPONENT.
    """
    targets, constants = room[2], room[10]
    one, zero, top = fill(1.0), fill(0.0), fill(limit)
    largest, whole, least = load(constants, LARGEST * LANES), load(constants, LOSS_LIMIT * LANES), load(constants, SAFE * LANES)
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
    safe = choose(below(w_limit, fill(limit / 4.0)), w_limit, fill(limit / 4.0))
    length = multiply(root(load(targets, size * LANES)), load(constants, UP_LOSS * LANES))
    by_loss = multiply(fill(0.9), multiply(root(choose(fine, loss_limit, zero)), root(whole)))
    by_loss = divide(subtract(by_loss, length), reach)
    safe = choose(at_most(safe, by_loss), safe, by_loss)  # a NaN stays: then nothing is safe
    if doubled:
        by_scale = divide(load(constants, W_LIMIT * LANES), choose(below(one, reach), reach, one))
        safe = choose(at_most(safe, by_scale), safe, by_scale)
    store(constants, W_LIMIT * LANES, w_limit)
    store(constants, LOSS_LIMIT * LANES, loss_limit)
    store(constants, SAFE * LANES, safe)


@part
def limits_of(largest, size, weighing, limit):
    """Largest |w| and loss for which no intermediate result of torch's arithmetic can overflow; negative: none. largest = max_j √G_jj."""
    least = min(1.0, weighing[3])
    total = scale(weighing[0], np.int64(weighing[2]))
    if not total <= limit:
        return -1.0, -1.0
    ratio = (limit * least) / (2.0 * largest)
    return limit / max(1.0, (size * largest) / math.sqrt(least)), min(limit * least, ratio * ratio) / total


@part
def factors_of(weighing, reduction_sum):
    """s and s′ of docs/arithmetic.md, section 6."""
    if reduction_sum:
        return 2.0, 0.0
    total = weighing[0]
    factor = 2.0 / total
    return factor, fma(-factor, weighing[1], fma(-factor, total, 2.0)) / total


@inlined
def fits_a_batch(rule, size, algorithm, status):
    """Whether such a fit can run here: SGD (code 0) on moments, whose numbers were all finite."""
    return rule == 0 and size <= MOST_PARAMETERS and algorithm == MOMENTS and status in (COMPLETED, CONVERGED)
