"""The objective of a pack and its goal: descent/objective.py in 32 lanes."""

from __future__ import annotations

import math

from ..simd.addresses import count_at
from ..simd.compiling import inlined, part
from ..simd.lanes import LANES, absolute, add, divide, fill, fma, load, multiply, store, subtract
from ..simd.masks import at_most, below, both, choose
from ..simd.scalars import get, is_double, put
from .least import ALLOWANCE, LEAST, SCALE_Y, SQUARES, WEIGHT, add_penalty, find_least
from .state import DECAY, GOAL, INITIAL_EXCESS, MINIMUM, OBJECTIVE, PENALTY, TOTAL, are_neighbours

LARGEST_FLOAT64 = 1.7976931348623157e308


@inlined
def objective_of_lanes(size, plain, loss, scratch):
    """F at w, from the loss; plain: there is no penalty."""
    if plain:
        return loss
    penalty, total = load(scratch.constants, PENALTY * LANES), fill(0.0)
    for j in range(size):
        w = load(scratch.w, j * LANES)
        total = fma(w, w, total)
    none = both(at_most(penalty, fill(0.0)), at_most(fill(0.0), penalty))
    return choose(none, loss, fma(penalty, total, loss))


@inlined
def _read(fits, count, values, constants, row):
    """Fill a row from the values of the fits, float64."""
    for lane in range(LANES):
        put(constants, row * LANES + lane, get(values, count_at(fits, lane if lane < count else 0)))


@inlined
def _write(fits, count, constants, row, values):
    """Write a row as values of the fits, float64."""
    if are_neighbours(fits, count):
        store(values, count_at(fits, 0), load(constants, row * LANES))
        return
    for lane in range(count):
        put(values, count_at(fits, lane), get(constants, row * LANES + lane))


@part
def _find_from_samples(fits, count, size, maximizing, options, results, least, scratch):
    """Fill the rows PENALTY, MINIMUM and GOAL (with ρ, if asked), from float32 moments.

    F* is NaN in the lanes `maximizing`, a mask, and in those where it is doubtful.
    """
    constants, entries = scratch.constants, size * (size + 1) // 2
    for entry in range(entries):
        store(least.entries, entry * LANES, load(scratch.grams, entry * LANES))
    for entry in range(size + 1):
        store(least.entries, (entries + entry) * LANES, load(scratch.targets, entry * LANES))
    total, half = load(constants, TOTAL * LANES), multiply(fill(0.5), load(constants, DECAY * LANES))
    store(least.constants, WEIGHT * LANES, total)
    store(least.constants, SQUARES * LANES, load(scratch.targets, size * LANES))
    store(least.constants, SCALE_Y * LANES, fill(1.0))
    add_penalty(size, half if options.reduction_sum else multiply(half, total), least)
    unknown = find_least(size, options.tol >= 0.0, least) | maximizing
    store(constants, PENALTY * LANES, divide(half, total) if options.reduction_sum else half)
    store(constants, MINIMUM * LANES, load(least.constants, LEAST * LANES))
    if unknown:
        for lane in range(LANES):
            if unknown >> lane & 1:
                put(constants, MINIMUM * LANES + lane, math.nan)
    store(constants, GOAL * LANES, load(least.constants, ALLOWANCE * LANES))
    _write(fits, count, constants, PENALTY, results.penalty)
    _write(fits, count, constants, MINIMUM, results.least)
    _write(fits, count, constants, GOAL, results.allowance)


@part
def begin_measuring(fits, count, size, plain, maximizing, loss, options, source, results, scratch):
    """Fill the rows PENALTY, MINIMUM, INITIAL_EXCESS and GOAL; `loss` is that of the start."""
    constants = scratch.constants
    if source.wanted and not is_double(results.loss):
        _find_from_samples(fits, count, size, maximizing, options, results, source.least, scratch)
    else:
        _read(fits, count, results.penalty, constants, PENALTY)
        _read(fits, count, results.least, constants, MINIMUM)
        _read(fits, count, results.allowance, constants, GOAL)
    _read(fits, count, results.initial_excess, constants, INITIAL_EXCESS)
    least, known = load(constants, MINIMUM * LANES), load(constants, INITIAL_EXCESS * LANES)
    initial = choose(at_most(known, known), known, subtract(objective_of_lanes(size, plain, loss, scratch), least))
    store(constants, INITIAL_EXCESS * LANES, initial)
    if options.tol >= 0.0:
        share, allowance = multiply(fill(options.tol), initial), load(constants, GOAL * LANES)
        goal = add(least, choose(below(share, allowance), allowance, share))
        finite = at_most(absolute(initial), fill(LARGEST_FLOAT64))
        store(constants, GOAL * LANES, choose(finite, goal, fill(math.nan)))


@inlined
def find_excess(constants):
    """Turn the row OBJECTIVE into the excess over the least value."""
    excess = subtract(load(constants, OBJECTIVE * LANES), load(constants, MINIMUM * LANES))
    store(constants, OBJECTIVE * LANES, choose(below(excess, fill(0.0)), fill(0.0), excess))
