"""Loss and gradient of a batch, side by side: the operations of evaluate.py, in the same order (docs/arithmetic.md, section 6)."""

from __future__ import annotations

from ..simd.compiling import inlined, part
from ..simd.double_double import dd_add_lanes, two_sum_lanes
from ..simd.lanes import LANES, add, fill, fma, load, multiply, negate, store, subtract, with_sign_of
from ..simd.masks import below, choose
from .state import FACTOR, LOW_FACTOR


@inlined
def divided(value, total, reciprocal):
    """value / total of float32 data's L (≥ 0, or -0): run_pack.py, 3. Far below what float32 holds the sign would be lost."""
    q = multiply(value, reciprocal)
    q = fma(fma(negate(q), total, value), reciprocal, q)
    return with_sign_of(fma(fma(negate(q), total, value), reciprocal, q), value)


@inlined
def evaluate(size, room):
    """L of every lane, and the gradient: float32 data."""
    grams, _, targets, _, state, _, _, _, gradient, _, constants, _, _, _ = room
    factor = load(constants, FACTOR * LANES)
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
                w = load(state, k * LANES)
                total = fma(load(grams, entry * LANES), w, total)
                below_total = fma(load(grams, below_entry * LANES), w, below_total)
            store(gradient, j * LANES, multiply(factor, total))
            loss = fma(load(state, j * LANES), subtract(total, towards), loss)
            j += 1
            total, towards = below_total, below_towards
        else:
            for k in range(size):
                entry = row + k if k <= j else k * (k + 1) // 2 + j
                total = fma(load(grams, entry * LANES), load(state, k * LANES), total)
        store(gradient, j * LANES, multiply(factor, total))
        loss = fma(load(state, j * LANES), subtract(total, towards), loss)
        j += 1
    zero = fill(0.0)
    return choose(below(loss, zero), zero, loss)


@part
def evaluate_doubled(size, with_loss, room):
    """The same of float64 data: L in the units of the scaled moments; without it the gradient alone, in two thirds of the time."""
    grams, low_grams, targets, low_targets, state, _, _, _, gradient, ups, constants, _, _, _ = room
    wide = size * LANES
    factor, low_factor = load(constants, FACTOR * LANES), load(constants, LOW_FACTOR * LANES)
    for k in range(size):
        store(ups, 4 * wide + k * LANES, multiply(multiply(load(state, k * LANES), load(ups, k * LANES)), load(ups, wide + k * LANES)))
    loss, low_loss = load(targets, size * LANES), load(low_targets, size * LANES)
    for j in range(size):
        towards, low_towards = negate(load(targets, j * LANES)), negate(load(low_targets, j * LANES))
        total, low = towards, low_towards
        row = j * (j + 1) // 2
        for k in range(size):
            entry = row + k if k <= j else k * (k + 1) // 2 + j
            g, scaled = load(grams, entry * LANES), load(ups, 4 * wide + k * LANES)
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
        raise_1, raise_2 = load(ups, 2 * wide + j * LANES), load(ups, 3 * wide + j * LANES)
        store(gradient, j * LANES, multiply(multiply(add(p, q), raise_1), raise_2))
        if with_loss:
            total, low = dd_add_lanes(total, low, towards, low_towards)
            scaled = load(ups, 4 * wide + j * LANES)
            p = multiply(total, scaled)
            q = fma(total, scaled, negate(p))
            q = fma(low, scaled, q)
            loss, lost = two_sum_lanes(loss, p)
            low_loss = add(low_loss, add(lost, q))
    zero = fill(0.0)
    loss = add(loss, low_loss)
    return choose(below(loss, zero), zero, loss)
