"""Many descents on moments side by side: fit l of a batch in lane l of every vector (docs/arithmetic.md, sections 6, 8, 10; SGD).

1. The chain of operations of one fit waits for itself; 32 of them do not. Every operation is that of descent.py and update.py, in the same
   order, so the bits are the same. What differs between fits (options, limits, who has stopped) is a mask, not a branch.
2. A batch runs until all its epochs are done. A lane that has converged is frozen: computed again its row is the same row. A lane that
   passes a limit leaves: its state and place are noted (`resume`), and descent.py goes on with its samples, over what is written here.
3. Of float32 data L / W is rounded once without a division: with the reciprocal y of W rounded to nearest, q = L·y, twice
   q ← fma(fma(−q, W, L), y, q) (Markstein, 1990); near 2^-969 that is not so, but such a float32 loss is 0. Whether it passes the limit is
   asked of L: L / W ≤ limit where L ≤ the largest number for which that holds.
4. Rows are collected for EPOCHS epochs and written fit by fit, so that every line of memory is written once.
"""

from __future__ import annotations

import numpy as np

from ..chunk import COMPLETED, CONVERGED, STREAM
from .batch import (
    DECAY,
    EPOCHS,
    FACTOR,
    KEEP,
    L_LIMIT,
    LOW_FACTOR,
    MOMENTUM,
    PREVIOUS,
    RATE,
    RECIPROCAL,
    TOTAL,
    UP_LOSS,
    W_LIMIT,
    load_batch,
)
from .compiling import inlined, part
from .doubled import dd_add_lanes, two_sum_lanes
from .masks import as_bits, at_most, below, both, choose, from_bits
from .vectors import (
    LANES,
    absolute,
    add,
    divide,
    fill,
    fma,
    is_double,
    keep_apart,
    load,
    move,
    multiply,
    negate,
    raised,
    store,
    store_rounded,
    subtract,
)

POLL = 64  # epochs between two looks at the cancel flag
ALL = (1 << LANES) - 1
NOT_RUN, FINISHED = -1, -2  # what `resume` says of a fit that is not to be resumed


@inlined
def _divided(value, total, reciprocal):
    """value / total, see 3."""
    q = multiply(value, reciprocal)
    q = fma(fma(negate(q), total, value), reciprocal, q)
    return fma(fma(negate(q), total, value), reciprocal, q)


@inlined
def _evaluate(size, room):
    """L of every lane, and the gradient: float32 data."""
    grams, _, targets, _, state, _, _, _, gradient, _, constants, _ = room
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


@inlined
def _evaluate_doubled(size, room):
    """The same of float64 data: L in the units of the scaled moments."""
    grams, low_grams, targets, low_targets, state, _, _, _, gradient, ups, constants, _ = room
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


@inlined
def _update(size, plain, first, velocities, nesterovs, maximized, limit, room):
    """One step of SGD in every lane, into the next state; the lanes in which all stayed within the limit.

    Masks as bits: which lanes make their first step, have momentum, look ahead, ascend.
    """
    _, _, _, _, state, slot, next_state, next_slot, gradient, _, constants, _ = room
    rate, most = load(constants, RATE * LANES), fill(limit)
    within = from_bits(ALL)
    for j in range(size):
        direction, w = load(gradient, j * LANES), load(state, j * LANES)
        if not plain:
            direction = choose(from_bits(maximized), negate(direction), direction)
            decay, momentum = load(constants, DECAY * LANES), load(constants, MOMENTUM * LANES)
            undecayed = both(at_most(decay, fill(0.0)), at_most(fill(0.0), decay))
            direction = choose(undecayed, direction, fma(decay, w, direction))
            old, moves = load(slot, j * LANES), from_bits(velocities)
            velocity = fma(load(constants, KEEP * LANES), direction, multiply(old, momentum))
            velocity = choose(from_bits(first), direction, velocity)
            ahead = choose(from_bits(nesterovs), fma(momentum, velocity, direction), velocity)
            within = both(within, at_most(choose(moves, absolute(velocity), fill(0.0)), most))
            store(next_slot, j * LANES, choose(moves, velocity, old))
            direction = choose(moves, ahead, direction)
        new = fma(rate, direction, w)
        within = both(within, both(at_most(absolute(multiply(rate, direction)), most), at_most(absolute(new), most)))
        store(next_state, j * LANES, new)
    return as_bits(within)


@part
def _write_rows(fits, count, size, rows, first_row, stored, history_w, history_loss):
    """Rows first_row … first_row+stored-1 of every fit, from their vectors; see 4."""
    keep_apart()
    step = (size + 1) * LANES
    n_rows = history_loss.shape[1]
    all_w, all_losses = history_w.reshape(-1), history_loss.reshape(-1)
    for lane in range(count):
        to = fits[lane] * n_rows + first_row
        for e in range(stored):
            for j in range(size):
                move(rows, e * step + j * LANES + lane, all_w, (to + e) * size + j)
        for e in range(stored):
            move(rows, e * step + size * LANES + lane, all_losses, to + e)


@part
def _leave(fits, left, epoch, row_is_done, size, room, reported, w, slots, algorithm, resume, resume_loss):
    """The lanes of `left` pass a limit: their state, before the update, is noted; see 2."""
    keep_apart()
    state, slot, constants = room[4], room[5], room[10]
    for lane in range(LANES):
        if left >> lane & 1:
            f = fits[lane]
            for j in range(size):
                w[f, j] = state[j * LANES + lane]
                slots[f, 0, j] = slot[j * LANES + lane]
            algorithm[f] = STREAM
            resume[f, 0], resume[f, 1] = epoch, row_is_done
            resume_loss[f, 0], resume_loss[f, 1] = reported[lane], constants[PREVIOUS * LANES + lane]


@part
def run_batch(
    fits, count, gram, gram_index, target, target_index, exponents, weighing, lr, hyper, epochs, tol, every, reduction_sum, limit,
    w, slots, steps, algorithm, status, w_out, loss_out, epochs_run, history_w, history_loss, resume, resume_loss, room, cancel, progress,
):  # fmt: skip
    """All epochs of the fits[:count]; arrays as in descent.py. False if cancelled. resume[f, 0] ≥ 0: fit f is to go on from there."""
    size = w.shape[1]
    doubled = is_double(loss_out)
    plain = load_batch(
        fits, count, gram, gram_index, target, target_index, exponents, weighing, lr, hyper, reduction_sum, limit, w, slots, room
    )
    state, slot, next_state, next_slot, constants, rows = room[4], room[5], room[6], room[7], room[10], room[11]
    number = loss_out.dtype.type
    reported = np.zeros(LANES)
    there = (1 << count) - 1  # lanes of fits that have not left
    frozen, first_steps, velocities, nesterovs, maximized = 0, 0, 0, 0, 0
    stopped = np.full(LANES, epochs)  # the epoch at which a lane was frozen
    for lane in range(LANES):
        f = fits[lane] if lane < count else fits[0]
        if status[f] == CONVERGED:
            frozen |= 1 << lane
            stopped[lane] = 0
        first_steps |= (1 if steps[f] == 0 else 0) << lane
        velocities |= (1 if hyper[f, 0] != 0.0 else 0) << lane
        nesterovs |= (1 if hyper[f, 3] != 0.0 else 0) << lane
        maximized |= (1 if hyper[f, 4] != 0.0 else 0) << lane
    stored, row, told, epoch = 0, 0, 0, 0
    while True:
        if epoch % POLL == POLL - 1:
            if raised(cancel):
                return False
            progress[0] += (epoch - told) * count
            told = epoch
        recorded = every > 0 and (epoch % every == 0 or epoch == epochs)
        value = _evaluate_doubled(size, room) if doubled else _evaluate(size, room)
        total, reciprocal = load(constants, TOTAL * LANES), load(constants, RECIPROCAL * LANES)
        within = from_bits(ALL)
        for j in range(size):
            within = both(within, at_most(absolute(load(state, j * LANES)), load(constants, W_LIMIT * LANES)))
        loss = value
        exact = recorded or tol >= 0.0 or epoch == epochs or doubled
        if exact:
            loss = divide(value, total) if doubled else _divided(value, total, reciprocal)
            if doubled:
                up = load(constants, UP_LOSS * LANES)
                loss = multiply(multiply(loss, up), up)
        within = both(within, at_most(loss if doubled else value, load(constants, L_LIMIT * LANES)))
        left = there & ~as_bits(within)
        if left:
            _leave(fits, left, epoch, 0, size, room, reported, w, slots, algorithm, resume, resume_loss)
            there &= ~left
            if there == 0:
                break
        if exact:
            store_rounded(rows, stored * (size + 1) * LANES + size * LANES, loss)
        if tol >= 0.0:
            for lane in range(count):
                now = float(rows[(stored * (size + 1) + size) * LANES + lane])
                before = constants[PREVIOUS * LANES + lane]
                if epoch >= 1 and not frozen >> lane & 1 and 0.0 <= before - now <= tol * before:
                    frozen |= 1 << lane
                    stopped[lane] = epoch
                constants[PREVIOUS * LANES + lane] = now
        ended = epoch == epochs or (there & ~frozen) == 0
        if ended and not exact:
            store_rounded(rows, stored * (size + 1) * LANES + size * LANES, _divided(value, total, reciprocal))
        if ended:
            for lane in range(count):
                reported[lane] = float(rows[(stored * (size + 1) + size) * LANES + lane])
        if recorded:
            for j in range(size):
                store_rounded(rows, stored * (size + 1) * LANES + j * LANES, load(state, j * LANES))
            stored += 1
            if stored == EPOCHS:
                _write_rows(fits, count, size, rows, row, stored, history_w, history_loss)
                row += stored
                stored = 0
        if ended:
            break
        if lr.shape[0] > 1:
            for lane in range(count):
                constants[RATE * LANES + lane] = -lr[epoch, fits[lane]]
        kept = _update(size, plain, first_steps if epoch == 0 else 0, velocities, nesterovs, maximized, limit, room)
        left = there & ~frozen & ~kept
        if left:
            if not exact:
                store_rounded(rows, stored * (size + 1) * LANES + size * LANES, _divided(value, total, reciprocal))
            last = (stored if not recorded else (stored - 1 if stored else EPOCHS - 1)) * (size + 1) * LANES + size * LANES
            for lane in range(count):
                reported[lane] = float(rows[last + lane])
            _leave(fits, left, epoch, 1, size, room, reported, w, slots, algorithm, resume, resume_loss)
            there &= ~left
        going = from_bits(there & ~frozen)
        for j in range(size):
            store(state, j * LANES, choose(going, load(next_state, j * LANES), load(state, j * LANES)))
            if not plain:
                store(slot, j * LANES, choose(going, load(next_slot, j * LANES), load(slot, j * LANES)))
        epoch += 1
        if there == 0:
            break
    if stored:
        _write_rows(fits, count, size, rows, row, stored, history_w, history_loss)
        row += stored
    done = 0
    for lane in range(count):
        f = fits[lane]
        if not there >> lane & 1:
            done += resume[f, 0]
            continue
        done += epochs
        for j in range(size):
            w[f, j] = state[j * LANES + lane]
            slots[f, 0, j] = slot[j * LANES + lane]
            w_out[f, j] = w[f, j]
        loss_out[f] = number(reported[lane])
        for later in range(row, history_loss.shape[1]):
            for j in range(size):
                history_w[f, later, j] = w_out[f, j]
            history_loss[f, later] = loss_out[f]
        steps[f] += stopped[lane]
        epochs_run[f] = stopped[lane]
        if status[f] == COMPLETED and frozen >> lane & 1:
            status[f] = CONVERGED
        resume[f, 0] = FINISHED
    progress[0] += done - told * count
    return True
