"""What the fits of a batch write: rows of the history, their ends, and notes of those that leave (run_pack.py).

1. Rows are collected for EPOCHS epochs and written fit by fit, so that every line of memory is written once.
2. A long history is written into a place in the cache first, and all rows of the batch from there to memory past the cache: else every line
   of it would be read before it is written, which takes as long again.
"""

from __future__ import annotations

import numpy as np

from ...chunk import COMPLETED, CONVERGED, STREAM
from ..simd.addresses import count_at, further
from ..simd.compiling import inlined, part
from ..simd.lanes import LANES, PART, load, load_part, store, store_rounded
from ..simd.scalars import get, is_double, keep_apart, move, move_line, put, put_rounded, to_next_line
from ..simd.transpose import SIDE, transpose
from .state import EPOCHS, PREVIOUS, REPORTED, STOPPED, are_neighbours

ALL = (1 << LANES) - 1


@part
def write_rows(fits, count, size, rows, first_row, stored, n_rows, history_w, history_loss):
    """Rows first_row … first_row+stored-1 of every fit, from their vectors. Addresses."""
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


@inlined
def leave(fit, epoch, row_is_done, left, n_left):
    """Note that a fit is left to fit_by_fit.py: from an epoch, whose row may be done, or NOT_RUN. Returns the number of its note."""
    number = count_at(n_left, 0)
    put(left, 3 * number, np.int64(fit))
    put(left, 3 * number + 1, np.int64(epoch))
    put(left, 3 * number + 2, np.int64(row_is_done))
    put(n_left, 0, np.int64(number + 1))
    return number


@part
def leave_lanes(fits, lanes, epoch, row_is_done, size, plain, room, results):
    """These lanes pass a limit: their state is that before the update."""
    keep_apart()
    w, slots, _, algorithm, _, _, _, _, _, _, left, left_losses, n_left = results
    state, slot, constants = room[4], room[5], room[10]
    for lane in range(LANES):
        if lanes >> lane & 1:
            f = count_at(fits, lane)
            for j in range(size):
                move(state, j * LANES + lane, w, f * size + j)
                if not plain:
                    move(slot, j * LANES + lane, slots, f * size + j)
            put(algorithm, f, np.int8(STREAM))
            put(constants, STOPPED * LANES + lane, float(epoch))
            number = leave(f, epoch, row_is_done, left, n_left)
            move(constants, REPORTED * LANES + lane, left_losses, 2 * number)
            move(constants, PREVIOUS * LANES + lane, left_losses, 2 * number + 1)


@inlined
def report(losses, at, constants):
    """Note the losses of an epoch as the last ones."""
    for lane in range(0, LANES, PART):
        store(constants, REPORTED * LANES + lane, load_part(losses, at + lane))


@inlined
def staged_results(fits, count, size, n_rows, results, staging):
    """(the results with the places where rows are collected, whether these are in `staging`); see 2."""
    place, wanted = staging
    if not (wanted and are_neighbours(fits, count)):
        return results, False
    first = count_at(fits, 0)
    history_w, history_loss = further(place, -first * n_rows * size), further(place, (LANES * size - first) * n_rows)
    return (*results[:8], history_w, history_loss, *results[10:]), True


@part
def write_past_cache(source, target, count):
    """Copy numbers that lie side by side; see 2."""
    keep_apart()
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
def write_ends(fits, count, size, there, frozen, plain, epochs, row, n_rows, room, results):
    """What the lanes that are there have in the end; how many epochs were made in all lanes."""
    w, slots, steps, _, status, w_out, loss_out, epochs_run, history_w, history_loss, _, _, _ = results
    state, slot, constants = room[4], room[5], room[10]
    if size == 1 and plain and frozen == 0 and row == n_rows and there == ALL and are_neighbours(fits, count):
        first = count_at(fits, 0)
        store(w, first, load(state, 0))
        store_rounded(w_out, first, load(state, 0))
        store_rounded(loss_out, first, load(constants, REPORTED * LANES))
        for f in range(first, first + LANES):
            put(steps, f, np.int64(count_at(steps, f) + epochs))
            put(epochs_run, f, np.int64(epochs))
        return epochs * LANES
    done = 0
    for lane in range(count):
        f = count_at(fits, lane)
        stopped = np.int64(get(constants, STOPPED * LANES + lane))
        if not there >> lane & 1:
            done += stopped
            continue
        done += epochs
        for j in range(size):
            move(state, j * LANES + lane, w, f * size + j)
            if not plain:
                move(slot, j * LANES + lane, slots, f * size + j)
            put_rounded(w_out, f * size + j, get(state, j * LANES + lane))
        put_rounded(loss_out, f, get(constants, REPORTED * LANES + lane))
        for later in range(row, n_rows):
            for j in range(size):
                move(w_out, f * size + j, history_w, (f * n_rows + later) * size + j)
            move(loss_out, f, history_loss, f * n_rows + later)
        put(steps, f, np.int64(count_at(steps, f) + stopped))
        put(epochs_run, f, stopped)
        if count_at(status, f) == COMPLETED and frozen >> lane & 1:
            put(status, f, np.int8(CONVERGED))
    return done
