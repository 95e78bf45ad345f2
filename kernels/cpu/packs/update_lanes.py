"""update_lanes: one step of every update rule but plain SGD in the lanes of a pack.

1. Each function is that of descent/update.py: the same operations in the same order, so the same
   bits. What is a scalar of a fit there is a row here (rule_state.py).
2. Eight lanes at a time: 32 lanes of a rule's dozen numbers stay in no machine's registers. Roots
   and divisions of one parameter do not wait for those of another.
3. The new w and slots may go where the old ones are: every number is read before it is written.
4. Numbers that have the limit Ω are asked once for a lane, by the largest of them: a chain of eight
   comparisons takes as long as a root. A NaN is passed over there, but makes the new w NaN, which
   is asked for in every parameter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..descent.update import ADADELTA, ADAGRAD, ADAM, ADAMAX, ADAMW, NADAM, RMSPROP, SGD
from ..simd.compiling import inlined, part
from ..simd.lanes import LANES, absolute, add, alike, divide, fma, load_eight, multiply, negate, root, store, subtract
from ..simd.masks import as_bits, at_most, below, both, choose
from ..simd.scalars import never_inline
from .rule_state import CORRECTION, FIRST, INVERSE, RATE, RATE_OF_AVERAGE, SHARE, SHRINK, SIGN, SQUARE_SHARE, TOWARDS
from .state import DECAY, W_MOST

GROUP = 8  # lanes


class Step(NamedTuple):
    """Addresses of what a step reads and writes, as in state.PackScratch."""

    gradient: Any
    w: Any
    slots: Any
    new_w: Any
    new_slots: Any
    values: Any
    constants: Any


@inlined
def _row(rows, number, lane):
    return load_eight(rows, number * LANES + lane)


@inlined
def _is_set(value):
    """Where an option is: its number is not 0."""
    zero = alike(value, 0.0)
    return below(zero, value)


@inlined
def _direction_of(j, lane, w, decay, switches, step):
    """The gradient of a parameter, with sign and weight decay."""
    direction = _row(step.gradient, j, lane)
    if switches.maximize:
        direction = multiply(_row(step.values, SIGN, lane), direction)
    if switches.decay and j < switches.n_decayed:
        zero = alike(w, 0.0)
        undecayed = both(at_most(decay, zero), at_most(zero, decay))
        direction = choose(undecayed, direction, fma(decay, w, direction))
    return direction


@inlined
def _average_of(old, direction, share, towards):
    """descent/update.py's `_lerp` from `old` to `direction`."""
    return fma(towards, subtract(direction, old), choose(below(share, alike(share, 0.5)), old, direction))


@inlined
def _larger(largest, value):
    """|value| where it is larger; a NaN is passed over."""
    length = absolute(value)
    return choose(below(largest, length), length, largest)


@inlined
def _times_inverse(length, correction, inverse):
    """length / correction, rounded once: run_pack.py, 3.

    Of a root, which is 0 or at least 2^-537, and 1 ≤ inverse ≤ 2^30: then no remainder underflows.
    """
    q = multiply(length, inverse)
    q = fma(fma(negate(q), correction, length), inverse, q)
    return fma(fma(negate(q), correction, length), inverse, q)


@part
def _sgd(size, lane, limit, switches, step):
    values, slots, new_slots = step.values, step.slots, step.new_slots
    momentum, undamped, decay, rate = (
        _row(values, 0, lane),
        _row(values, SHARE, lane),
        _row(step.constants, DECAY, lane),
        _row(values, RATE, lane),
    )
    nesterov, first, w_most = _row(values, 3, lane), _row(values, FIRST, lane), _row(step.constants, W_MOST, lane)
    zero = top = alike(rate, 0.0)
    within = at_most(top, top)
    for j in range(size):
        w = _row(step.w, j, lane)
        direction = _direction_of(j, lane, w, decay, switches, step)
        if switches.momentum:
            old, moves = _row(slots, j, lane), _is_set(momentum)
            velocity = choose(_is_set(first), direction, fma(undamped, direction, multiply(old, momentum)))
            ahead = choose(_is_set(nesterov), fma(momentum, velocity, direction), velocity)
            top = _larger(top, choose(moves, velocity, zero))
            store(new_slots, j * LANES + lane, choose(moves, velocity, old))
            direction = choose(moves, ahead, direction)
        else:
            store(new_slots, j * LANES + lane, _row(slots, j, lane))
        new = fma(rate, direction, w)
        top, within = _larger(top, multiply(rate, direction)), both(within, at_most(absolute(new), w_most))
        store(step.new_w, j * LANES + lane, new)
    return as_bits(both(within, at_most(top, alike(top, limit))))


@part
def _adam(size, lane, decoupled, limit, switches, step):
    values, slots, new_slots = step.values, step.slots, step.new_slots
    share, towards, keep, square_share = (
        _row(values, SHARE, lane),
        _row(values, TOWARDS, lane),
        _row(values, 1, lane),
        _row(values, SQUARE_SHARE, lane),
    )
    eps, decay, amsgrad = _row(values, 2, lane), _row(step.constants, DECAY, lane), _row(values, 4, lane)
    rate, correction, w_most = _row(values, RATE, lane), _row(values, CORRECTION, lane), _row(step.constants, W_MOST, lane)
    inverse = _row(values, INVERSE, lane)
    ordinary = as_bits(both(at_most(alike(rate, 1.0), inverse), at_most(inverse, alike(rate, 2.0**30)))) == (1 << GROUP) - 1
    top = alike(rate, 0.0)
    within = at_most(top, top)
    for j in range(size):
        start = _row(step.w, j, lane)
        direction = _direction_of(j, lane, start, decay, switches, step)
        if decoupled:
            start = multiply(start, _row(values, SHRINK, lane))
        average = _average_of(_row(slots, j, lane), direction, share, towards)
        square = fma(multiply(square_share, direction), direction, multiply(_row(slots, size + j, lane), keep))
        store(new_slots, j * LANES + lane, average)
        store(new_slots, (size + j) * LANES + lane, square)
        top = _larger(_larger(top, average), square)
        largest = _row(slots, 2 * size + j, lane)
        if switches.own:
            new_largest = choose(below(largest, square), square, largest)
            new_largest = choose(at_most(square, square), new_largest, square)  # a NaN is the largest
            largest = choose(_is_set(amsgrad), new_largest, largest)
            square = choose(_is_set(amsgrad), largest, square)
            top = _larger(top, square)
        store(new_slots, (2 * size + j) * LANES + lane, largest)
        product = multiply(rate, average)
        length = root(square)
        below_it = _times_inverse(length, correction, inverse) if ordinary else divide(length, correction)
        move = divide(product, add(below_it, eps))
        new = add(start, move)
        store(step.new_w, j * LANES + lane, new)
        top = _larger(_larger(top, product), move)
        within = both(within, at_most(absolute(new), w_most))
    return as_bits(both(within, at_most(top, alike(top, limit))))


@part
def _rmsprop(size, lane, limit, switches, step):
    values, slots, new_slots = step.values, step.slots, step.new_slots
    keep, share, towards, eps = _row(values, 0, lane), _row(values, SHARE, lane), _row(values, TOWARDS, lane), _row(values, 1, lane)
    decay, momentum, centered = _row(step.constants, DECAY, lane), _row(values, 3, lane), _row(values, 4, lane)
    rate, w_most = _row(values, RATE, lane), _row(step.constants, W_MOST, lane)
    zero = top = alike(rate, 0.0)
    within = at_most(top, top)
    for j in range(size):
        w = _row(step.w, j, lane)
        direction = _direction_of(j, lane, w, decay, switches, step)
        average, buffer = _row(slots, size + j, lane), _row(slots, 2 * size + j, lane)
        square = fma(multiply(share, direction), direction, multiply(_row(slots, j, lane), keep))
        variance = square
        if switches.own:
            has = _is_set(centered)
            average = choose(has, _average_of(average, direction, share, towards), average)
            variance = choose(has, fma(negate(average), average, square), square)
            top = _larger(_larger(top, choose(has, average, zero)), choose(has, variance, zero))
        below_it = add(root(variance), eps)
        if switches.momentum:
            has = _is_set(momentum)
            product = multiply(rate, direction)
            quotient = divide(choose(has, direction, product), below_it)
            moved = add(multiply(buffer, momentum), quotient)
            product = choose(has, multiply(rate, moved), product)
            move = choose(has, product, quotient)
            new = choose(has, fma(rate, moved, w), add(w, quotient))
            buffer = choose(has, moved, buffer)
            top = _larger(top, choose(has, buffer, zero))
        else:
            product = multiply(rate, direction)
            move = divide(product, below_it)
            new = add(w, move)
        store(new_slots, j * LANES + lane, square)
        store(new_slots, (size + j) * LANES + lane, average)
        store(new_slots, (2 * size + j) * LANES + lane, buffer)
        store(step.new_w, j * LANES + lane, new)
        top = _larger(_larger(top, square), product)
        top = _larger(top, move)
        within = both(within, at_most(absolute(new), w_most))
    return as_bits(both(within, at_most(top, alike(top, limit))))


@part
def _adagrad(size, lane, limit, switches, step):
    values = step.values
    start, eps, decay, first = _row(values, 2, lane), _row(values, 3, lane), _row(step.constants, DECAY, lane), _row(values, FIRST, lane)
    rate, w_most = _row(values, RATE, lane), _row(step.constants, W_MOST, lane)
    top = alike(rate, 0.0)
    within = at_most(top, top)
    for j in range(size):
        w = _row(step.w, j, lane)
        direction = _direction_of(j, lane, w, decay, switches, step)
        total = fma(direction, direction, choose(_is_set(first), start, _row(step.slots, j, lane)))
        product = multiply(rate, direction)
        move = divide(product, add(root(total), eps))
        new = add(w, move)
        store(step.new_slots, j * LANES + lane, total)
        store(step.new_w, j * LANES + lane, new)
        top = _larger(_larger(top, total), product)
        top = _larger(top, move)
        within = both(within, at_most(absolute(new), w_most))
    return as_bits(both(within, at_most(top, alike(top, limit))))


@part
def _nadam(size, lane, limit, switches, step):
    values, slots, new_slots = step.values, step.slots, step.new_slots
    share, towards, keep, square_share = (
        _row(values, SHARE, lane),
        _row(values, TOWARDS, lane),
        _row(values, 1, lane),
        _row(values, SQUARE_SHARE, lane),
    )
    eps, decay, shrink, correction = (
        _row(values, 2, lane),
        _row(step.constants, DECAY, lane),
        _row(values, SHRINK, lane),
        _row(values, CORRECTION, lane),
    )
    rate, of_average, w_most = _row(values, RATE, lane), _row(values, RATE_OF_AVERAGE, lane), _row(step.constants, W_MOST, lane)
    top = alike(rate, 0.0)
    within = at_most(top, top)
    for j in range(size):
        start = _row(step.w, j, lane)
        direction = _direction_of(j, lane, start, decay, switches, step)
        start = multiply(start, shrink)
        average = _average_of(_row(slots, j, lane), direction, share, towards)
        square = fma(multiply(square_share, direction), direction, multiply(_row(slots, size + j, lane), keep))
        store(new_slots, j * LANES + lane, average)
        store(new_slots, (size + j) * LANES + lane, square)
        corrected = divide(square, correction)
        below_it = add(root(corrected), eps)
        product, other_product = multiply(rate, direction), multiply(of_average, average)
        move, other_move = divide(product, below_it), divide(other_product, below_it)
        new = add(add(start, move), other_move)
        store(step.new_w, j * LANES + lane, new)
        top = _larger(_larger(_larger(top, average), square), corrected)
        top = _larger(_larger(top, product), other_product)
        top = _larger(_larger(top, move), other_move)
        within = both(within, at_most(absolute(new), w_most))
    return as_bits(both(within, at_most(top, alike(top, limit))))


@part
def _adadelta(size, lane, limit, switches, step):
    values, slots, new_slots = step.values, step.slots, step.new_slots
    keep, share, eps, decay = _row(values, 0, lane), _row(values, SHARE, lane), _row(values, 1, lane), _row(step.constants, DECAY, lane)
    rate, w_most = _row(values, RATE, lane), _row(step.constants, W_MOST, lane)
    top = alike(rate, 0.0)
    within = at_most(top, top)
    for j in range(size):
        w, old = _row(step.w, j, lane), _row(slots, size + j, lane)
        direction = _direction_of(j, lane, w, decay, switches, step)
        square = fma(multiply(share, direction), direction, multiply(_row(slots, j, lane), keep))
        ratio = divide(root(add(old, eps)), root(add(square, eps)))
        move = multiply(ratio, direction)
        moves = fma(multiply(share, move), move, multiply(old, keep))
        new = fma(rate, move, w)
        store(new_slots, j * LANES + lane, square)
        store(new_slots, (size + j) * LANES + lane, moves)
        store(step.new_w, j * LANES + lane, new)
        top = _larger(_larger(_larger(top, square), ratio), move)
        top = _larger(_larger(top, moves), multiply(rate, move))
        within = both(within, at_most(absolute(new), w_most))
    return as_bits(both(within, at_most(top, alike(top, limit))))


@part
def _adamax(size, lane, limit, switches, step):
    values, slots, new_slots = step.values, step.slots, step.new_slots
    share, towards, keep, eps = _row(values, SHARE, lane), _row(values, TOWARDS, lane), _row(values, 1, lane), _row(values, 2, lane)
    decay, rate, w_most = _row(step.constants, DECAY, lane), _row(values, RATE, lane), _row(step.constants, W_MOST, lane)
    top = alike(rate, 0.0)
    within = at_most(top, top)
    for j in range(size):
        w = _row(step.w, j, lane)
        direction = _direction_of(j, lane, w, decay, switches, step)
        average = _average_of(_row(slots, j, lane), direction, share, towards)
        kept, now = multiply(_row(slots, size + j, lane), keep), add(absolute(direction), eps)
        largest = choose(below(now, kept), kept, now)
        largest = choose(at_most(kept, kept), largest, kept)  # a NaN is the largest
        product = multiply(rate, average)
        move = divide(product, largest)
        new = add(w, move)
        store(new_slots, j * LANES + lane, average)
        store(new_slots, (size + j) * LANES + lane, largest)
        store(step.new_w, j * LANES + lane, new)
        top = _larger(_larger(top, average), largest)
        top = _larger(_larger(top, product), move)
        within = both(within, at_most(absolute(new), w_most))
    return as_bits(both(within, at_most(top, alike(top, limit))))


@part
def update_lanes(rule, size, limit, switches, step):
    """One step, after `begin_step`. Returns the mask of the lanes that stayed within all limits.

    These are `limit` for all numbers that docs/arithmetic.md, section 8 names, and the row W_MOST
    for w. An unknown rule stays within none.
    """
    never_inline()
    bits = 0
    for lane in range(0, LANES, GROUP):
        own = 0
        if rule == SGD:
            own = _sgd(size, lane, limit, switches, step)
        elif rule in (ADAM, ADAMW):
            own = _adam(size, lane, rule == ADAMW, limit, switches, step)
        elif rule == RMSPROP:
            own = _rmsprop(size, lane, limit, switches, step)
        elif rule == ADAGRAD:
            own = _adagrad(size, lane, limit, switches, step)
        elif rule == NADAM:
            own = _nadam(size, lane, limit, switches, step)
        elif rule == ADAMAX:
            own = _adamax(size, lane, limit, switches, step)
        elif rule == ADADELTA:
            own = _adadelta(size, lane, limit, switches, step)
        bits |= own << lane
    return bits
