"""The objective of a pack and its goal: descent/objective.py in 32 lanes."""

from __future__ import annotations

import math

import numpy as np

from ..simd.addresses import count_at, further
from ..simd.compiling import inlined
from ..simd.lanes import ALL, LANES, absolute, add, divide, fill, fma, load, multiply, store, store_rounded, subtract
from ..simd.masks import at_most, below, both, choose
from ..simd.scalars import LARGEST_FLOAT64, get, is_double, put, put_rounded
from .least import add_penalty, add_penalty_to_lane, find_least, find_least_doubled, penalty_factor
from .state import DECAY, GOAL, INITIAL_EXCESS, MINIMUM, OBJECTIVE, PENALTY, TOTAL, are_neighbours


@inlined
def objective_of_lanes(rule, n_decayed, loss, scratch):
    """F at w, from the loss; of plain SGD, whose rule is None, there is no penalty."""
    objective = loss
    if rule is not None:
        penalty, total = load(scratch.constants, PENALTY * LANES), fill(0.0)
        for j in range(n_decayed):
            w = load(scratch.w, j * LANES)
            total = fma(w, w, total)
        none = both(at_most(penalty, fill(0.0)), at_most(fill(0.0), penalty))
        objective = choose(none, loss, fma(penalty, total, loss))
    return objective


@inlined
def _read(fits, count, values, constants, row):
    """Fill a row from the values of the fits, float64."""
    if are_neighbours(fits, count):
        store(constants, row * LANES, load(values, count_at(fits, 0)))
        return
    for lane in range(LANES):
        put(constants, row * LANES + lane, get(values, count_at(fits, lane if lane < count else 0)))


@inlined
def _shared_records(fits, count, records):
    """1 + the number of the Gram record of all fits of a pack, and of the target record, or 0."""
    gram, target = count_at(records.gram_index, count_at(fits, 0)), count_at(records.target_index, count_at(fits, 0))
    for lane in range(1, count):
        f = count_at(fits, lane)
        if count_at(records.gram_index, f) != gram or count_at(records.target_index, f) != target:
            return 0.0, 0.0
    return float(gram + 1), float(target + 1)


@inlined
def _write(fits, count, constants, row, values):
    """Write a row as values of the fits, float64."""
    if are_neighbours(fits, count):
        store(values, count_at(fits, 0), load(constants, row * LANES))
        return
    for lane in range(count):
        put(values, count_at(fits, lane), get(constants, row * LANES + lane))


@inlined
def _find_least(rule, fits, count, size, maximizing, options, records, results, least, scratch):
    """Fill the rows PENALTY, MINIMUM and GOAL (with ρ, if asked) from the moments of the pack.

    F* is NaN in the lanes `maximizing`, a mask, and in those where it is doubtful: these are
    returned.
    """
    constants, doubled = scratch.constants, is_double(results.loss)
    moments, low_moments = scratch.grams, scratch.low_grams
    store(constants, PENALTY * LANES, fill(0.0))
    if rule is not None:
        for row in range(0, (size + 1) * (size + 2) // 2 * LANES, LANES):
            store(least.moments, row, load(moments, row))
            if doubled:
                store(least.low_moments, row, load(low_moments, row))
        moments, low_moments = least.moments, least.low_moments
        half = multiply(fill(0.5), load(constants, DECAY * LANES))
        total = load(constants, TOTAL * LANES)
        if doubled:
            store(constants, PENALTY * LANES, half)
            for lane in range(LANES):
                f, own = count_at(fits, lane if lane < count else 0), get(constants, PENALTY * LANES + lane)
                if own != 0.0:
                    powers = further(records.exponents, count_at(records.target_index, f) * (size + 1))
                    weighing = further(records.weighing, count_at(records.gram_index, f) * 4)
                    add_penalty_to_lane(lane, options.n_decayed, powers, weighing, own, options.reduction_sum, least)
                    put(constants, PENALTY * LANES + lane, penalty_factor(own, weighing, options.reduction_sum))
        else:
            add_penalty(options.n_decayed, half if options.reduction_sum else multiply(half, total), moments)
            store(constants, PENALTY * LANES, divide(half, total) if options.reduction_sum else half)
    if doubled:
        doubtful = find_least_doubled(size, options.tol >= 0.0, moments, low_moments, constants, least)
    else:
        doubtful = find_least(size, options.tol >= 0.0, moments, constants, least)
    unknown = doubtful | maximizing
    if unknown:
        for lane in range(LANES):
            if unknown >> lane & 1:
                put(constants, MINIMUM * LANES + lane, math.nan)
    if options.tol >= 0.0:  # else only those of fits that are handed over are read: 24 bytes of each fit less
        _write(fits, count, constants, PENALTY, results.penalty)
        _write(fits, count, constants, MINIMUM, results.least)
        _write(fits, count, constants, GOAL, results.allowance)
    return doubtful


@inlined
def begin_measuring(rule, fits, count, size, maximizing, loss, options, records, source, results, scratch):
    """Fill the rows PENALTY, MINIMUM, INITIAL_EXCESS and GOAL; `loss` is that of the start.

    Returns the lanes in which F* is doubtful, a mask.
    """
    constants, last = scratch.constants, source.least.last
    gram, target = 0.0, 0.0
    if rule is None and options.tol < 0.0 and not source.wanted:
        gram, target = _shared_records(fits, count, records)
    if gram > 0.0 and get(last, 0) == gram and get(last, 1) == target:  # as a grid of rates has: the rows are as they were
        doubtful = np.int64(get(last, 2))
    else:
        doubtful = _find_least(rule, fits, count, size, maximizing, options, records, results, source.least, scratch)
        put(last, 0, gram)
        put(last, 1, target)
        put(last, 2, float(doubtful))
    _read(fits, count, results.initial_excess, constants, INITIAL_EXCESS)
    least, known = load(constants, MINIMUM * LANES), load(constants, INITIAL_EXCESS * LANES)
    initial = choose(at_most(known, known), known, subtract(objective_of_lanes(rule, options.n_decayed, loss, scratch), least))
    store(constants, INITIAL_EXCESS * LANES, initial)
    if options.tol >= 0.0:
        share, allowance = multiply(fill(options.tol), initial), load(constants, GOAL * LANES)
        goal = add(least, choose(below(share, allowance), allowance, share))
        finite = at_most(absolute(initial), fill(LARGEST_FLOAT64))
        store(constants, GOAL * LANES, choose(finite, goal, fill(math.nan)))
    return doubtful


@inlined
def end_measuring(fits, count, active, constants, results):
    """Write the excess over the least value, and that of the start, of the lanes `active`."""
    excess = subtract(load(constants, OBJECTIVE * LANES), load(constants, MINIMUM * LANES))
    excess = choose(below(excess, fill(0.0)), fill(0.0), excess)
    if active == ALL and are_neighbours(fits, count):
        store_rounded(results.excess, count_at(fits, 0), excess)
        store(results.initial_excess, count_at(fits, 0), load(constants, INITIAL_EXCESS * LANES))
        return
    store(constants, OBJECTIVE * LANES, excess)
    for lane in range(count):
        if active >> lane & 1:
            f = count_at(fits, lane)
            put(results.initial_excess, f, get(constants, INITIAL_EXCESS * LANES + lane))
            put_rounded(results.excess, f, get(constants, OBJECTIVE * LANES + lane))
