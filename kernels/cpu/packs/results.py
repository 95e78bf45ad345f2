"""What a pack writes: rows of the history, ends of fits, and which fits it hands over.

1. Rows are collected for EPOCHS epochs and written fit by fit, so that every cache line is written
   once.
2. The rows of a long history are collected in a buffer that stays in the cache, and all of a pack's
   rows go from there to memory past the cache. Otherwise every line of the history would be read
   before it is written: 26 ms instead of 17 for 81 MB (benchmarks/NOTES.md, Special paths).
"""

from __future__ import annotations

import numpy as np

from ...chunk import COMPLETED, CONVERGED, STREAM
from ..descent.fit_by_fit import NOT_RUN
from ..simd.addresses import count_at, further
from ..simd.compiling import inlined, part
from ..simd.lanes import LANES, PART, load_part, store
from ..simd.scalars import get, is_double, move, move_line, never_inline, put, put_rounded, to_next_line
from ..simd.transpose import SIDE, transpose
from .state import EPOCHS, INITIAL_EXCESS, LAST_LOSS, MINIMUM, PENALTY, STOPPED, Results, are_neighbours


@part
def write_rows(fits, count, size, rows, first_row, stored, n_rows, history_w, history_loss):
    """Write `stored` collected rows of every fit as rows first_row … of its history."""
    never_inline()
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


@inlined
def hand_over(fit, epoch, row_is_done, results):
    """Note that fit_by_fit.py runs a fit, from `epoch` on or from its start (NOT_RUN).

    row_is_done: whether the history's row of that epoch is written. Returns the number of the note.
    """
    number = count_at(results.n_handed_over, 0)
    put(results.handed_over, 3 * number, np.int64(fit))
    put(results.handed_over, 3 * number + 1, np.int64(epoch))
    put(results.handed_over, 3 * number + 2, np.int64(row_is_done))
    put(results.n_handed_over, 0, np.int64(number + 1))
    return number


@inlined
def write_state(fit, lane, size, options, scratch, results):
    """Write what a fit remembers: w, slots and products."""
    of_slots, of_products = options.n_slots * size, options.n_products
    for k in range(size):
        move(scratch.w, k * LANES + lane, results.w, fit * size + k)
    for k in range(of_slots):
        move(scratch.slots, k * LANES + lane, results.slots, fit * of_slots + k)
    for k in range(of_products):
        move(scratch.products, k * LANES + lane, results.products, fit * of_products + k)


@part
def hand_over_lanes(fits, lanes, epoch, row_is_done, size, options, scratch, results):
    """Hand over the fits in these lanes, which would pass a limit, with their present state."""
    never_inline()
    for lane in range(LANES):
        if lanes >> lane & 1:
            f = count_at(fits, lane)
            write_state(f, lane, size, options, scratch, results)
            put(results.algorithm, f, np.int8(STREAM))
            put(scratch.constants, STOPPED * LANES + lane, float(epoch))
            number = hand_over(f, epoch, row_is_done, results)
            move(scratch.constants, LAST_LOSS * LANES + lane, results.handed_over_losses, number)
            if options.measured:
                move(scratch.constants, PENALTY * LANES + lane, results.penalty, f)
                move(scratch.constants, MINIMUM * LANES + lane, results.least, f)
                if epoch + row_is_done > 0:  # else fit_by_fit.py begins with row 0
                    move(scratch.constants, INITIAL_EXCESS * LANES + lane, results.initial_excess, f)


@part
def hand_over_doubtful(fits, lanes, results, constants):
    """Hand over the fits in these lanes before their first epoch: their F* must be known first."""
    for lane in range(LANES):
        if lanes >> lane & 1:
            hand_over(count_at(fits, lane), NOT_RUN, 0, results)
            put(constants, STOPPED * LANES + lane, 0.0)


@inlined
def keep_losses(losses, at, constants):
    """Copy the losses of an epoch to the row LAST_LOSS."""
    for lane in range(0, LANES, PART):
        store(constants, LAST_LOSS * LANES + lane, load_part(losses, at + lane))


@inlined
def staged_results(fits, count, size, n_rows, results, staging):
    """(results whose history is the buffer of `staging`, True), or (results, False).

    staging: (address of the buffer, whether the history is long enough for it).
    """
    buffer, wanted = staging
    if not (wanted and are_neighbours(fits, count)):
        return results, False
    first = count_at(fits, 0)
    history_w, history_loss = further(buffer, -first * n_rows * size), further(buffer, (LANES * size - first) * n_rows)
    staged = Results(
        results.w, results.slots, results.products, results.steps, results.algorithm, results.status, results.w_out, results.loss,
        results.epochs_run, history_w, history_loss, results.penalty, results.least, results.allowance, results.initial_excess,
        results.excess, results.handed_over, results.handed_over_losses, results.n_handed_over,
    )  # fmt: skip
    return staged, True


@part
def write_past_cache(source, target, count):
    """Copy `count` numbers to memory without reading its cache lines first."""
    never_inline()
    line = 8 if is_double(source) else 16
    i = min(to_next_line(target), count)
    for k in range(i):
        move(source, k, target, k)
    while i + line <= count:
        move_line(source, i, target, i)
        i += line
    for k in range(i, count):
        move(source, k, target, k)


@part
def write_ends(fits, count, size, active, frozen, options, row, n_rows, scratch, results):
    """Write the last w, loss and status of the fits in the lanes `active`.

    Returns how many epochs were made in all lanes, those of fits that were handed over included.
    """
    constants, done = scratch.constants, 0
    for lane in range(count):
        f = count_at(fits, lane)
        stopped = np.int64(get(constants, STOPPED * LANES + lane))
        if not active >> lane & 1:
            done += stopped
            continue
        done += options.epochs
        write_state(f, lane, size, options, scratch, results)
        for j in range(size):
            put_rounded(results.w_out, f * size + j, get(scratch.w, j * LANES + lane))
        put_rounded(results.loss, f, get(constants, LAST_LOSS * LANES + lane))
        for later in range(row, n_rows):
            for j in range(size):
                move(results.w_out, f * size + j, results.history_w, (f * n_rows + later) * size + j)
            move(results.loss, f, results.history_loss, f * n_rows + later)
        put(results.steps, f, np.int64(count_at(results.steps, f) + stopped))
        put(results.epochs_run, f, stopped)
        if count_at(results.status, f) == COMPLETED and frozen >> lane & 1:
            put(results.status, f, np.int8(CONVERGED))
    return done
