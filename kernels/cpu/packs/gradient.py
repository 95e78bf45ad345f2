"""Loss and gradient of a pack: the operations of descent/evaluate.py, in 32 lanes.

docs/arithmetic.md, section 6; the order of operations is the same. L is the loss times the total
weight, before it is divided.

Of fits that share one Gram matrix each number of it is loaded once for all lanes: with 16
parameters the lanes of a matrix do not fit into the first cache.
"""

from __future__ import annotations

from ..simd.compiling import inlined, part
from ..simd.double_double import dd_add_lanes, two_sum_lanes
from ..simd.lanes import LANES, TOGETHER, add, alike, divide, fill, fma, load, load_two, multiply, negate, store, subtract, with_sign_of
from ..simd.masks import as_bits, at_most, below, both, choose
from ..simd.scalars import get
from .state import FACTOR, LOSS_OF_SHARED, LOSS_SCALE, LOW_FACTOR, RECIPROCAL, TOTAL


@inlined
def divide_by_reciprocal(value, total, reciprocal):
    """value / total, rounded once to float32's needs, from the rounded reciprocal: run_pack.py, 3.

    value is L of float32 data: ≥ 0, or −0, whose sign is taken over at the end, since far below
    what float32 holds it would be lost.
    """
    q = multiply(value, reciprocal)
    q = fma(fma(negate(q), total, value), reciprocal, q)
    return with_sign_of(fma(fma(negate(q), total, value), reciprocal, q), value)


@inlined
def divide_exactly(value, total, reciprocal):
    """value / total, rounded once to float64; value and total are as in `divide_by_reciprocal`."""
    ordinary = as_bits(both(at_most(fill(2.0**-700), value), at_most(value, fill(2.0**700)))) | as_bits(at_most(value, fill(0.0)))
    if ordinary == (1 << LANES) - 1:
        return divide_by_reciprocal(value, total, reciprocal)
    return divide(value, total)


@inlined
def loss_of(value, doubled, exactly, constants):
    """The loss, float64 and not yet rounded to the data's type, from what `evaluate` returned.

    exactly: as the objective needs it, not only the loss rounded to float32.
    """
    total = load(constants, TOTAL * LANES)
    if not doubled:
        reciprocal = load(constants, RECIPROCAL * LANES)
        return divide_exactly(value, total, reciprocal) if exactly else divide_by_reciprocal(value, total, reciprocal)
    up = load(constants, LOSS_SCALE * LANES)
    return multiply(multiply(divide(value, total), up), up)


@inlined
def evaluate(size, scratch):
    """Fill the gradient of every lane and return L: float32 data."""
    grams, targets, gradient = scratch.grams, scratch.targets, scratch.gradient
    factor = load(scratch.constants, FACTOR * LANES)
    loss = load(targets, size * LANES)
    j = 0
    while j < size:
        towards = load(targets, j * LANES)
        total = negate(towards)
        row = j * (j + 1) // 2
        if j + 1 < size:  # two rows at a time, which share what they load of w
            below_towards = load(targets, (j + 1) * LANES)
            below_total = negate(below_towards)
            for k in range(size):
                entry = row + k if k <= j else k * (k + 1) // 2 + j
                below_entry = row + j + 1 + k if k <= j + 1 else k * (k + 1) // 2 + j + 1
                w = load(scratch.w, k * LANES)
                total = fma(load(grams, entry * LANES), w, total)
                below_total = fma(load(grams, below_entry * LANES), w, below_total)
            store(gradient, j * LANES, multiply(factor, total))
            loss = fma(load(scratch.w, j * LANES), subtract(total, towards), loss)
            j += 1
            total, towards = below_total, below_towards
        else:
            for k in range(size):
                entry = row + k if k <= j else k * (k + 1) // 2 + j
                total = fma(load(grams, entry * LANES), load(scratch.w, k * LANES), total)
        store(gradient, j * LANES, multiply(factor, total))
        loss = fma(load(scratch.w, j * LANES), subtract(total, towards), loss)
        j += 1
    zero = fill(0.0)
    return choose(below(loss, zero), zero, loss)


@part
def _evaluate_shared(size, with_loss, scratch):
    """`evaluate` of fits that share one Gram matrix, four rows of it at a time.

    Without the loss what it returns means nothing.
    """
    matrix, targets, state, constants = scratch.matrix, scratch.targets, scratch.w, scratch.constants
    for begin in range(0, LANES, TOGETHER):
        factor, loss = load_two(constants, FACTOR * LANES + begin), load_two(targets, size * LANES + begin)
        j = 0
        while j < size:
            at, row = j * LANES + begin, j * size
            towards = load_two(targets, at)
            total = negate(towards)
            if j + 4 > size:
                for k in range(size):
                    w = load_two(state, k * LANES + begin)
                    total = fma(alike(w, get(matrix, row + k)), w, total)
                store(scratch.gradient, at, multiply(factor, total))
                if with_loss:
                    loss = fma(load_two(state, at), subtract(total, towards), loss)
                j += 1
                continue
            total_1, total_2 = negate(load_two(targets, at + LANES)), negate(load_two(targets, at + 2 * LANES))
            total_3 = negate(load_two(targets, at + 3 * LANES))
            for k in range(size):
                w, place = load_two(state, k * LANES + begin), row + k
                total = fma(alike(w, get(matrix, place)), w, total)
                total_1 = fma(alike(w, get(matrix, place + size)), w, total_1)
                total_2 = fma(alike(w, get(matrix, place + 2 * size)), w, total_2)
                total_3 = fma(alike(w, get(matrix, place + 3 * size)), w, total_3)
            store(scratch.gradient, at, multiply(factor, total))
            store(scratch.gradient, at + LANES, multiply(factor, total_1))
            store(scratch.gradient, at + 2 * LANES, multiply(factor, total_2))
            store(scratch.gradient, at + 3 * LANES, multiply(factor, total_3))
            if with_loss:
                loss = fma(load_two(state, at), subtract(total, towards), loss)
                loss = fma(load_two(state, at + LANES), subtract(total_1, load_two(targets, at + LANES)), loss)
                loss = fma(load_two(state, at + 2 * LANES), subtract(total_2, load_two(targets, at + 2 * LANES)), loss)
                loss = fma(load_two(state, at + 3 * LANES), subtract(total_3, load_two(targets, at + 3 * LANES)), loss)
            j += 4
        zero = alike(loss, 0.0)
        store(constants, LOSS_OF_SHARED * LANES + begin, choose(below(loss, zero), zero, loss))
    return load(constants, LOSS_OF_SHARED * LANES)


@part
def evaluate_doubled(size, with_loss, scratch):
    """Fill the gradient of every lane and return L of the scaled moments: float64 data.

    Without the loss it takes two thirds of the time, and what it returns means nothing.
    """
    grams, low_grams, targets, low_targets = scratch.grams, scratch.low_grams, scratch.targets, scratch.low_targets
    scales, constants = scratch.scales, scratch.constants
    wide = size * LANES
    factor, low_factor = load(constants, FACTOR * LANES), load(constants, LOW_FACTOR * LANES)
    for k in range(size):
        half_scaled = multiply(load(scratch.w, k * LANES), load(scales, k * LANES))
        store(scales, 4 * wide + k * LANES, multiply(half_scaled, load(scales, wide + k * LANES)))
    loss, low_loss = load(targets, size * LANES), load(low_targets, size * LANES)
    for j in range(size):
        towards, low_towards = negate(load(targets, j * LANES)), negate(load(low_targets, j * LANES))
        total, low = towards, low_towards
        row = j * (j + 1) // 2
        for k in range(size):
            entry = row + k if k <= j else k * (k + 1) // 2 + j
            g, scaled = load(grams, entry * LANES), load(scales, 4 * wide + k * LANES)
            p = multiply(g, scaled)
            q = fma(g, scaled, negate(p))
            q = fma(load(low_grams, entry * LANES), scaled, q)
            total, lost = two_sum_lanes(total, p)
            low = add(low, add(lost, q))
        total, low = two_sum_lanes(total, low)
        p = multiply(total, factor)
        q = fma(total, factor, negate(p))
        q = fma(low, factor, q)
        q = fma(total, low_factor, q)
        scale_1, scale_2 = load(scales, 2 * wide + j * LANES), load(scales, 3 * wide + j * LANES)
        store(scratch.gradient, j * LANES, multiply(multiply(add(p, q), scale_1), scale_2))
        if with_loss:
            total, low = dd_add_lanes(total, low, towards, low_towards)
            scaled = load(scales, 4 * wide + j * LANES)
            p = multiply(total, scaled)
            q = fma(total, scaled, negate(p))
            q = fma(low, scaled, q)
            loss, lost = two_sum_lanes(loss, p)
            low_loss = add(low_loss, add(lost, q))
    zero = fill(0.0)
    loss = add(loss, low_loss)
    return choose(below(loss, zero), zero, loss)


@inlined
def evaluate_pack(size, doubled, shared, with_loss, scratch):
    """Fill the gradient of every lane and return L, which means nothing without the loss.

    doubled: of float64 data. shared: `load_pack` found one Gram matrix for all fits.
    """
    if doubled:
        return evaluate_doubled(size, with_loss, scratch)
    if shared:
        return _evaluate_shared(size, with_loss, scratch)
    return evaluate(size, scratch)
