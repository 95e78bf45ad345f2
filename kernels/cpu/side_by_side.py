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
from .addresses import count_at, further
from .batch import (
    DECAY,
    EPOCHS,
    KEEP,
    LARGEST,
    LOSS_LIMIT,
    MOMENTUM,
    PREVIOUS,
    RECIPROCAL,
    SAFE,
    TOTAL,
    UP_LOSS,
    W_LIMIT,
    load_batch,
)
from .compiling import inlined, part
from .evaluate_batch import divided, evaluate, evaluate_doubled
from .masks import as_bits, at_most, both, choose, from_bits
from .plain_epochs import MOST_UNROLLED, plain_epochs
from .scalars import get, is_double, keep_apart, move, put, put_rounded, raised
from .transposing import SIDE, transpose
from .vectors import LANES, absolute, divide, fill, fma, load, multiply, negate, store, store_rounded

POLL = 64  # epochs between two looks at the cancel flag
ALL = (1 << LANES) - 1
NOT_RUN, FINISHED = -1, -2  # what `resume` says of a fit that is not to be resumed


@inlined
def _update(size, plain, rate_row, first, velocities, nesterovs, maximized, limit, room):
    """One step of SGD in every lane, into the next state; the lanes in which all stayed within the limit.

    Masks as bits: which lanes make their first step, have momentum, look ahead, ascend.
    """
    _, _, _, _, state, slot, next_state, next_slot, gradient, _, constants, rates, _, _ = room
    rate, most = load(rates, rate_row * LANES), fill(limit)
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
def _write_rows(fits, count, size, rows, first_row, stored, n_rows, history_w, history_loss):
    """Rows first_row … first_row+stored-1 of every fit, from their vectors; see 4. Addresses."""
    keep_apart()
    losses = further(rows, EPOCHS * size * LANES)
    lane = 0
    while lane < count:
        together = lane + SIDE <= count and count_at(fits, lane + SIDE - 1) - count_at(fits, lane) == SIDE - 1
        to = count_at(fits, lane) * n_rows + first_row
        done, done_losses, wide = 0, 0, 1
        if together:
            wide = SIDE
            while done + SIDE <= stored * size:
                transpose(rows, done * LANES + lane, LANES, SIDE, history_w, to * size + done, n_rows * size)
                done += SIDE
            while done_losses + SIDE <= stored:
                transpose(losses, done_losses * LANES + lane, LANES, SIDE, history_loss, to + done_losses, n_rows)
                done_losses += SIDE
        for k in range(wide):
            for i in range(done, stored * size):
                move(rows, i * LANES + lane + k, history_w, (to + k * n_rows) * size + i)
            for i in range(done_losses, stored):
                move(losses, i * LANES + lane + k, history_loss, to + k * n_rows + i)
        lane += wide


@part
def _leave(fits, left, epoch, row_is_done, size, room, reported, results):
    """The lanes of `left` pass a limit: their state, before the update, is noted; see 2."""
    keep_apart()
    w, slots, _, algorithm, _, _, _, _, _, _, resume, resume_loss = results
    state, slot, constants = room[4], room[5], room[10]
    for lane in range(LANES):
        if left >> lane & 1:
            f = count_at(fits, lane)
            for j in range(size):
                move(state, j * LANES + lane, w, f * size + j)
                move(slot, j * LANES + lane, slots, f * size + j)
            put(algorithm, f, np.int8(STREAM))
            put(resume, 2 * f, np.int64(epoch))
            put(resume, 2 * f + 1, np.int64(row_is_done))
            put(resume_loss, 2 * f, reported[lane])
            move(constants, PREVIOUS * LANES + lane, resume_loss, 2 * f + 1)


@inlined
def _report(losses, at, reported):
    for lane in range(LANES):
        reported[lane] = get(losses, at + lane)


@inlined
def _set_rates(fits, count, options, epoch, number, rates):
    """-lr of `number` epochs; 0 or 1: how many rows further the next epoch's are."""
    lr, n_rates, n_fits = options[0], options[1], options[2]
    varies = n_rates > 1
    for e in range(number if varies else 1):
        begin = (epoch + e if varies else 0) * n_fits
        for lane in range(LANES):
            put(rates, e * LANES + lane, -get(lr, begin + count_at(fits, lane if lane < count else 0)))
    return 1 if varies else 0


@inlined
def _all_safe(size, there, room):
    """Whether no lane of those that are there passed its safe size in the last block of epochs, nor became NaN."""
    state, constants = room[4], room[10]
    safe = load(constants, SAFE * LANES)
    fine = at_most(load(constants, LARGEST * LANES), safe)
    for j in range(size):
        fine = both(fine, at_most(absolute(load(state, j * LANES)), safe))
    return (there & ~as_bits(fine)) == 0


@inlined
def _begin_block(size, room):
    """Remember w, and note its largest size."""
    state, constants, before = room[4], room[10], room[12]
    largest = fill(0.0)
    for j in range(size):
        w = load(state, j * LANES)
        store(before, j * LANES, w)
        length = absolute(w)
        largest = choose(at_most(length, largest), largest, length)  # a NaN is the largest
    store(constants, LARGEST * LANES, largest)


@inlined
def _end_epoch(size, plain, going, room):
    """The next state becomes the state, in the lanes that go on."""
    _, _, _, _, state, slot, next_state, next_slot, _, _, _, _, _, _ = room
    for j in range(size):
        store(state, j * LANES, choose(going, load(next_state, j * LANES), load(state, j * LANES)))
        if not plain:
            store(slot, j * LANES, choose(going, load(next_slot, j * LANES), load(slot, j * LANES)))


@inlined
def _loss_of(value, doubled, constants):
    """The loss of L: float64, not yet rounded to the data's type."""
    total = load(constants, TOTAL * LANES)
    if not doubled:
        return divided(value, total, load(constants, RECIPROCAL * LANES))
    up = load(constants, UP_LOSS * LANES)
    return multiply(multiply(divide(value, total), up), up)


@part
def run_batch(fits, count, size, records, options, epochs, tol, every, n_rows, results, room, cancel, progress):
    """All epochs of the fits[:count]. False if cancelled. resume[f, 0] ≥ 0: fit f is to go on from there.

    Addresses, as in descent.py: records (gram, gram_index, target, target_index, exponents, weighing); options (lr, its rows, fits of a
    row, hyper, values of a fit, whether fits have their own, reduction_sum, limit, whether the data are float64); results (w, slots,
    steps, algorithm, status, w_out, loss_out, epochs_run, history_w, history_loss, resume, resume_loss).
    """
    lr_varies, hyper, n_hyper, own_hyper, limit = options[1] > 1, options[3], options[4], options[5], options[7]
    w, slots, steps, _, status, w_out, loss_out, epochs_run, history_w, history_loss, resume, _ = results
    doubled = is_double(loss_out)
    plain = load_batch(fits, count, size, records, options, w, slots, room)
    state, slot, constants, rates, before, rows = room[4], room[5], room[10], room[11], room[12], room[13]
    losses = further(rows, EPOCHS * size * LANES)
    reported = np.zeros(LANES)
    there = (1 << count) - 1  # lanes of fits that have not left
    frozen, first_steps, velocities, nesterovs, maximized = 0, 0, 0, 0, 0
    stopped = np.full(LANES, epochs)  # the epoch at which a lane was frozen
    for lane in range(LANES):
        f = count_at(fits, lane if lane < count else 0)
        if count_at(status, f) == CONVERGED:
            frozen |= 1 << lane
            stopped[lane] = 0
        if plain:
            continue
        first_steps |= (1 if count_at(steps, f) == 0 else 0) << lane
        h = f * n_hyper if own_hyper else 0
        velocities |= (1 if get(hyper, h) != 0.0 else 0) << lane
        nesterovs |= (1 if get(hyper, h + 3) != 0.0 else 0) << lane
        maximized |= (1 if get(hyper, h + 4) != 0.0 else 0) << lane
    lean = plain and not doubled and size <= MOST_UNROLLED and tol < 0.0 and frozen == 0
    careful_until = 0  # epochs before this one are run one by one
    stored, row, told, epoch, polled = 0, 0, 0, 0, 0
    _set_rates(fits, count, options, 0, 1, rates)
    while True:
        if epoch >= polled:
            polled = epoch + POLL
            if raised(cancel):
                return False
            put(progress, 0, count_at(progress, 0) + (epoch - told) * count)
            told = epoch
        recorded = every > 0 and (epoch % every == 0 or epoch == epochs)
        if lean and epoch < epochs and epoch >= careful_until:
            number = min(EPOCHS - stored if recorded else EPOCHS if lr_varies else POLL, epochs - epoch)
            if every > 1:
                number = 1 if recorded else min(number, every - epoch % every)
            _begin_block(size, room)
            rate_step = _set_rates(fits, count, options, epoch, number, rates) if lr_varies else 0
            plain_epochs(
                room[0], room[2], state, constants, rates, rate_step, further(rows, stored * size * LANES),
                further(losses, stored * LANES), size, number, recorded,
            )  # fmt: skip
            if _all_safe(size, there, room):
                epoch += number
                stored += number if recorded else 0
                if stored == EPOCHS:
                    _write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
                    row += stored
                    stored = 0
                continue
            careful_until = epoch + number
            for j in range(size):
                store(state, j * LANES, load(before, j * LANES))
        value = evaluate_doubled(size, room) if doubled else evaluate(size, room)
        loss = _loss_of(value, doubled, constants)
        within = at_most(loss, load(constants, LOSS_LIMIT * LANES))
        for j in range(size):
            within = both(within, at_most(absolute(load(state, j * LANES)), load(constants, W_LIMIT * LANES)))
        left = there & ~as_bits(within)
        if left:
            _leave(fits, left, epoch, 0, size, room, reported, results)
            there &= ~left
            if there == 0:
                break
        store_rounded(losses, stored * LANES, loss)
        if tol >= 0.0:
            for lane in range(count):
                now, previous = get(losses, stored * LANES + lane), get(constants, PREVIOUS * LANES + lane)
                if epoch >= 1 and not frozen >> lane & 1 and 0.0 <= previous - now <= tol * previous:
                    frozen |= 1 << lane
                    stopped[lane] = epoch
                put(constants, PREVIOUS * LANES + lane, now)
        of_epoch = stored * LANES
        ended = epoch == epochs or (there & ~frozen) == 0
        if recorded:
            for j in range(size):
                store_rounded(rows, (stored * size + j) * LANES, load(state, j * LANES))
            stored += 1
            if stored == EPOCHS:
                _write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
                row += stored
                stored = 0
        if ended:
            _report(losses, of_epoch, reported)
            break
        if lr_varies:
            _set_rates(fits, count, options, epoch, 1, rates)
        kept = _update(size, plain, 0, first_steps if epoch == 0 else 0, velocities, nesterovs, maximized, limit, room)
        left = there & ~frozen & ~kept
        if left:
            _report(losses, of_epoch, reported)
            _leave(fits, left, epoch, 1, size, room, reported, results)
            there &= ~left
        _end_epoch(size, plain, from_bits(there & ~frozen), room)
        epoch += 1
        if there == 0:
            break
    if stored:
        _write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
        row += stored
    done = 0
    for lane in range(count):
        f = count_at(fits, lane)
        if not there >> lane & 1:
            done += count_at(resume, 2 * f)
            continue
        done += epochs
        for j in range(size):
            move(state, j * LANES + lane, w, f * size + j)
            move(slot, j * LANES + lane, slots, f * size + j)
            put_rounded(w_out, f * size + j, get(state, j * LANES + lane))
        put_rounded(loss_out, f, reported[lane])
        for later in range(row, n_rows):
            for j in range(size):
                move(w_out, f * size + j, history_w, (f * n_rows + later) * size + j)
            move(loss_out, f, history_loss, f * n_rows + later)
        put(steps, f, count_at(steps, f) + stopped[lane])
        put(epochs_run, f, stopped[lane])
        if count_at(status, f) == COMPLETED and frozen >> lane & 1:
            put(status, f, np.int8(CONVERGED))
        put(resume, 2 * f, np.int64(FINISHED))
    put(progress, 0, count_at(progress, 0) + done - told * count)
    return True
