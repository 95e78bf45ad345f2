"""Many descents on moments side by side: fit l of a batch in lane l of every vector (docs/arithmetic.md, sections 6, 8, 10; SGD).

1. The chain of operations of one fit waits for itself; 32 of them do not. Every operation is that of fit_by_fit.py and update.py,
   in the same order, so the bits are the same. What differs between fits (options, limits, who has stopped) is a mask, not a branch.
2. A batch runs until all its epochs are done. A lane that has converged is frozen: computed again its row is the same row. A lane that
   passes a limit leaves: its state is kept, its place noted (`left`), and fit_by_fit.py goes on with its samples, over what is
   written here.
3. Of float32 data L / W is rounded once without a division: with the reciprocal y of W rounded to nearest, q = L·y, twice
   q ← fma(fma(−q, W, L), y, q) (Markstein, 1990); near 2^-969 that is not so, but such a float32 loss is 0. Whether it passes the limit is
   asked of L: L / W ≤ limit where L ≤ the largest number for which that holds.
4. Lines (single_feature.py) need no records: a batch takes its moments from the samples.
"""

from __future__ import annotations

from ...chunk import CONVERGED
from ..simd.addresses import count_at, further
from ..simd.compiling import inlined, part
from ..simd.lanes import LANES, absolute, divide, fill, fma, load, multiply, negate, store, store_rounded
from ..simd.masks import as_bits, at_most, below, both, choose, from_bits
from ..simd.scalars import get, is_double, put, raised
from .gradient import divided, evaluate, evaluate_doubled
from .plain_epochs import MOST_UNROLLED, MOST_UNROLLED_DOUBLED, plain_epochs, plain_epochs_doubled
from .results import ALL, leave_lanes, report, staged_results, write_ends, write_past_cache, write_rows
from .state import (
    DECAY,
    EASY,
    EPOCHS,
    KEEP,
    LARGEST,
    LOSS_LIMIT,
    MOMENTUM,
    PREVIOUS,
    RECIPROCAL,
    SAFE,
    STOPPED,
    TOTAL,
    UP_LOSS,
    W_LIMIT,
    are_neighbours,
    is_ordinary,
    load_batch,
    load_batch_of_lines,
    set_limits,
)

POLL = 64  # epochs between two looks at the cancel flag
RUN, CANCELLED, NOT_FINITE = range(3)  # what became of a batch


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


@inlined
def can_be_lean(size, doubled, tol):
    """Whether epochs of plain SGD may run in blocks without questions."""
    return (doubled or size <= MOST_UNROLLED) and tol < 0.0


@inlined
def _set_rates(fits, count, options, epoch, number, rates):
    """-lr of `number` epochs; 0 or 1: how many rows further the next epoch's are."""
    lr, n_rates, n_fits = options[0], options[1], options[2]
    varies = n_rates > 1
    together = are_neighbours(fits, count)
    for e in range(number if varies else 1):
        begin = (epoch + e if varies else 0) * n_fits
        if together:
            store(rates, e * LANES, negate(load(lr, begin + count_at(fits, 0))))
            continue
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
def _all_easy(size, there, room):
    """The same of the size that is safe for all ordinary numbers."""
    state, constants = room[4], room[10]
    easy = fill(EASY)
    fine = at_most(load(constants, LARGEST * LANES), easy)
    for j in range(size):
        fine = both(fine, at_most(absolute(load(state, j * LANES)), easy))
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
def _plain_epochs_doubled(size, number, rate_step, stored, recorded, room):
    """What plain_epochs.py does for float32 data: `number` epochs of every lane, without questions."""
    state, gradient, constants, rates, rows = room[4], room[8], room[10], room[11], room[13]
    losses = further(rows, EPOCHS * size * LANES)
    if not recorded and size <= MOST_UNROLLED_DOUBLED:
        plain_epochs_doubled(room[0], room[1], room[2], room[3], room[9], state, constants, rates, rate_step, size, number)
        return
    most = load(constants, LARGEST * LANES)
    for e in range(number):
        value = evaluate_doubled(size, recorded, room)
        if recorded:
            store_rounded(losses, (stored + e) * LANES, _loss_of(value, True, constants))
        rate = load(rates, e * rate_step * LANES)
        for j in range(size):
            w = load(state, j * LANES)
            if recorded:
                store_rounded(rows, ((stored + e) * size + j) * LANES, w)
            new = fma(rate, load(gradient, j * LANES), w)
            store(state, j * LANES, new)
            length = absolute(new)
            most = choose(below(most, length), length, most)
    store(constants, LARGEST * LANES, most)


@part
def run_batch(fits, count, size, records, lines, options, epochs, tol, every, n_rows, results, staging, room, cancel, progress):
    """All epochs of the fits[:count]: RUN, CANCELLED, or NOT_FINITE: then nothing of the batch was written.

    Addresses, as in fit_by_fit.py: records (gram, gram_index, target, target_index, exponents,
    weighing); lines (sources, n_used, intercept, scratch, whether the moments come from there);
    options (lr, its rows, fits of a row, hyper, values of a fit, whether fits have their own,
    reduction_sum, limit, whether the data are float64); results (w, slots, steps, algorithm,
    status, w_out, loss_out, epochs_run, history_w, history_loss, left, left_losses, n_left): of
    the fits that leave, (fit, epoch, whether its row is done), (its loss, the one before) and
    their number; staging: results.py, 2.
    """
    lr_varies, hyper, n_hyper, own_hyper, limit = options[1] > 1, options[3], options[4], options[5], options[7]
    to_memory, first = (results[8], results[9]), count_at(fits, 0)
    results, is_staged = staged_results(fits, count, size, n_rows, results, staging)
    steps, status, loss_out, history_w, history_loss = results[2], results[4], results[6], results[8], results[9]
    doubled = is_double(loss_out)
    sources, n_used, intercept, scratch, of_lines = lines
    state, constants, rates, before, rows = room[4], room[10], room[11], room[12], room[13]
    if of_lines:
        finite, plain = load_batch_of_lines(fits, count, size, options, (sources, n_used, intercept, scratch), results[0], results[1], room)
        if not finite:
            return NOT_FINITE
    else:
        plain = load_batch(fits, count, size, records, options, results[0], results[1], room)
    losses = further(rows, EPOCHS * size * LANES)
    there = (1 << count) - 1  # lanes of fits that have not left
    frozen, first_steps, velocities, nesterovs, maximized = 0, 0, 0, 0, 0
    store(constants, STOPPED * LANES, fill(float(epochs)))
    for lane in range(0 if of_lines and plain else LANES):  # lines begin anew: none has converged
        f = count_at(fits, lane if lane < count else 0)
        if count_at(status, f) == CONVERGED:
            frozen |= 1 << lane
            put(constants, STOPPED * LANES + lane, 0.0)
        if plain:
            continue
        first_steps |= (1 if count_at(steps, f) == 0 else 0) << lane
        h = f * n_hyper if own_hyper else 0
        velocities |= (1 if get(hyper, h) != 0.0 else 0) << lane
        nesterovs |= (1 if get(hyper, h + 3) != 0.0 else 0) << lane
        maximized |= (1 if get(hyper, h + 4) != 0.0 else 0) << lane
    lean = plain and can_be_lean(size, doubled, tol) and frozen == 0
    known = not (lean and epochs > 0 and is_ordinary(size, doubled, room))  # the limits
    if known:
        set_limits(size, doubled, limit, room)
        lean = lean and not doubled
    careful_until = 0  # epochs before this one are run one by one
    stored, row, told, epoch, polled = 0, 0, 0, 0, 0
    _set_rates(fits, count, options, 0, 1, rates)
    while True:
        if epoch >= polled:
            polled = epoch + POLL
            if raised(cancel):
                return CANCELLED
            put(progress, 0, count_at(progress, 0) + (epoch - told) * count)
            told = epoch
        recorded = every > 0 and (epoch % every == 0 or epoch == epochs)
        if lean and epoch < epochs and epoch >= careful_until:
            number = min(EPOCHS - stored if recorded else EPOCHS if lr_varies else POLL, epochs - epoch)
            if every > 1:
                number = 1 if recorded else min(number, every - epoch % every)
            _begin_block(size, room)
            rate_step = _set_rates(fits, count, options, epoch, number, rates) if lr_varies else 0
            if doubled:
                _plain_epochs_doubled(size, number, rate_step, stored, recorded, room)
            else:
                plain_epochs(
                    room[0], room[2], state, constants, rates, rate_step, further(rows, stored * size * LANES),
                    further(losses, stored * LANES), size, number, recorded,
                )  # fmt: skip
            if not known and not _all_easy(size, there, room):
                set_limits(size, doubled, limit, room)
                known, lean = True, not doubled
            if not known or (lean and _all_safe(size, there, room)):
                epoch += number
                stored += number if recorded else 0
                if stored == EPOCHS:
                    write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
                    row += stored
                    stored = 0
                continue
            careful_until = epoch + number
            for j in range(size):
                store(state, j * LANES, load(before, j * LANES))
        value = evaluate_doubled(size, True, room) if doubled else evaluate(size, room)
        loss = _loss_of(value, doubled, constants)
        left = 0
        if known:  # else this is the last epoch, and the block before it was easy
            within = at_most(loss, load(constants, LOSS_LIMIT * LANES))
            for j in range(size):
                within = both(within, at_most(absolute(load(state, j * LANES)), load(constants, W_LIMIT * LANES)))
            left = there & ~as_bits(within)
        if left:
            leave_lanes(fits, left, epoch, 0, size, plain, room, results)
            there &= ~left
            if there == 0:
                break
        store_rounded(losses, stored * LANES, loss)
        if tol >= 0.0:
            for lane in range(count):
                now, previous = get(losses, stored * LANES + lane), get(constants, PREVIOUS * LANES + lane)
                if epoch >= 1 and there & ~frozen & 1 << lane and 0.0 <= previous - now <= tol * previous:
                    frozen |= 1 << lane
                    put(constants, STOPPED * LANES + lane, float(epoch))
                put(constants, PREVIOUS * LANES + lane, now)
        of_epoch = stored * LANES
        ended = epoch == epochs or (there & ~frozen) == 0
        if recorded:
            for j in range(size):
                store_rounded(rows, (stored * size + j) * LANES, load(state, j * LANES))
            stored += 1
            if stored == EPOCHS:
                write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
                row += stored
                stored = 0
        if ended:
            report(losses, of_epoch, constants)
            break
        if lr_varies:
            _set_rates(fits, count, options, epoch, 1, rates)
        kept = _update(size, plain, 0, first_steps if epoch == 0 else 0, velocities, nesterovs, maximized, limit, room)
        left = there & ~frozen & ~kept
        if left:
            report(losses, of_epoch, constants)
            leave_lanes(fits, left, epoch, 1, size, plain, room, results)
            there &= ~left
        _end_epoch(size, plain, from_bits(there & ~frozen), room)
        epoch += 1
        if there == 0:
            break
    if stored:
        write_rows(fits, count, size, rows, row, stored, n_rows, history_w, history_loss)
        row += stored
    done = write_ends(fits, count, size, there, frozen, plain, epochs, row, n_rows, room, results)
    if is_staged:
        write_past_cache(staging[0], further(to_memory[0], first * n_rows * size), LANES * n_rows * size)
        write_past_cache(further(staging[0], LANES * n_rows * size), further(to_memory[1], first * n_rows), LANES * n_rows)
    put(progress, 0, count_at(progress, 0) + done - told * count)
    return RUN
