"""A batch: the moments, the state and the options of up to 32 fits, fit l in lane l of every vector. side_by_side.py runs it."""

from __future__ import annotations

import math

import numpy as np

from ..chunk import COMPLETED, CONVERGED, MOMENTS
from .compiling import aligned, inlined, part
from .doubled import pow2, scale
from .vectors import LANES, fma

EPOCHS = 16  # rows that are collected before they are written
MOST_PARAMETERS = 32  # beyond, the moments of a batch would not stay in the cache
FEWEST = (1, 1, 2, 4)  # fits of so many parameters, or of more, for which a batch is as fast as one after the other
# rows of `constants`, LANES numbers each
TOTAL, RECIPROCAL, FACTOR, LOW_FACTOR, W_LIMIT, L_LIMIT, RATE, MOMENTUM, KEEP, DECAY, UP_LOSS, PREVIOUS = range(12)
N_CONSTANTS = 12


@inlined
def make_room(size, doubled, number):
    """Scratch of a batch: (gram, low gram, target, low target, w, slot, next w, next slot, gradient, ups, constants, rows)."""
    entries = size * (size + 1) // 2 * LANES
    wide = size * LANES
    more = 1 if doubled else 0
    return (
        aligned(np.zeros(entries + 8)), aligned(np.zeros(entries * more + 8)), aligned(np.zeros(wide + LANES + 8)),
        aligned(np.zeros((wide + LANES) * more + 8)), aligned(np.zeros(wide + 8)), aligned(np.zeros(wide + 8)),
        aligned(np.zeros(wide + 8)), aligned(np.zeros(wide + 8)), aligned(np.zeros(wide + 8)), aligned(np.zeros(5 * wide * more + 8)),
        aligned(np.zeros(N_CONSTANTS * LANES + 8)), aligned(np.zeros(EPOCHS * (wide + LANES) + 16, number)),
    )  # fmt: skip


@part
def most_below(total, limit):
    """The largest L with L / total ≤ limit, rounded to nearest; total > 0, limit ≥ 0."""
    if not limit >= 0.0:
        return -1.0
    most = total * limit
    if most == math.inf:
        return most
    while most / total <= limit:
        most = np.nextafter(most, math.inf)
    while not most / total <= limit:
        most = np.nextafter(most, -1.0)
    return most


@part
def load_batch(fits, count, gram, gram_index, target, target_index, exponents, weighing, lr, hyper, reduction_sum, limit, w, slots, room):
    """Fill the lanes; those beyond `count` are the first fit again. True where no fit has an option of SGD."""
    grams, low_grams, targets, low_targets, state, slot, _, _, _, ups, constants, _ = room
    size = w.shape[1]
    doubled = gram.shape[1] == 2
    entries = size * (size + 1) // 2
    wide = size * LANES
    plain = True
    for lane in range(LANES):
        f = fits[lane] if lane < count else fits[0]
        g, record = gram_index[f], target_index[f]
        for entry in range(entries):
            grams[entry * LANES + lane] = gram[g, 0, entry]
        for entry in range(size + 1):
            targets[entry * LANES + lane] = target[record, 0, entry]
        total = weighing[g, 0]
        power = np.int64(weighing[g, 2])
        exponent_y = 0
        if doubled:
            for entry in range(entries):
                low_grams[entry * LANES + lane] = gram[g, 1, entry]
            for entry in range(size + 1):
                low_targets[entry * LANES + lane] = target[record, 1, entry]
            exponent_y = exponents[record, size] if target[record, 0, size] != 0.0 else 0
        largest = 0.0
        for j in range(size):
            exponent = exponents[record, j] if doubled else 0
            diagonal = gram[g, 0, j * (j + 1) // 2 + j]
            largest = max(largest, scale(math.sqrt(scale(diagonal, power)), exponent))
            state[j * LANES + lane] = w[f, j]
            slot[j * LANES + lane] = slots[f, 0, j]
            if doubled:
                of_w = exponent - exponent_y
                of_gradient = exponent + exponent_y + (power if reduction_sum else 0)
                ups[j * LANES + lane] = pow2(of_w >> 1)
                ups[wide + j * LANES + lane] = pow2(of_w - (of_w >> 1))
                ups[2 * wide + j * LANES + lane] = pow2(of_gradient >> 1)
                ups[3 * wide + j * LANES + lane] = pow2(of_gradient - (of_gradient >> 1))
        w_limit, loss_limit = limits_of(largest, size, weighing[g], limit)
        factor, low_factor = factors_of(weighing[g], reduction_sum)
        constants[TOTAL * LANES + lane] = total
        constants[RECIPROCAL * LANES + lane] = 1.0 / total
        constants[FACTOR * LANES + lane] = factor
        constants[LOW_FACTOR * LANES + lane] = low_factor
        constants[W_LIMIT * LANES + lane] = w_limit
        constants[UP_LOSS * LANES + lane] = pow2(exponent_y)  # twice: the loss is that of the scaled moments times 2^(2·exponent_y)
        constants[L_LIMIT * LANES + lane] = loss_limit if doubled else most_below(total, loss_limit)
        constants[RATE * LANES + lane] = -lr[0, f]
        constants[MOMENTUM * LANES + lane] = hyper[f, 0]
        constants[KEEP * LANES + lane] = 1.0 - hyper[f, 1]
        constants[DECAY * LANES + lane] = hyper[f, 2]
        constants[PREVIOUS * LANES + lane] = math.nan
        plain = plain and hyper[f, 0] == 0.0 and hyper[f, 2] == 0.0 and hyper[f, 4] == 0.0
    return plain


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
