"""descend: all epochs of each fit, from moments or samples (docs/arithmetic.md, 6 to 8, 10).

1. One kernel for every update rule and both algorithms: a run-time `if` costs nothing beside the
   arithmetic, and few specialisations keep the first call short. The rules are in update.py. Many
   fits of SGD on moments run in packs instead: packs/descend_packs.py, a kernel of its own, so that
   neither waits for the other to compile.
2. No checks, no allocation per epoch. The cancel flag is read every POLL epochs, in epochs that
   take long also within them.
3. A fit that overflows leaves the moments for the samples before the first value that torch could
   overflow in; from then on inf and NaN appear as in torch. Where it is the update that would pass
   the limit, the epoch's row stays that of the moments and only its update comes from the samples.
   When two epochs in a row began with every w NaN, all that follows is NaN and is not computed.
4. Where there are no samples (Moments were given), a fit that overflows stays on its moments: they
   go on without limits, as IEEE arithmetic does, and end with the same NaNs as in 3.
"""

from __future__ import annotations

import math

import numpy as np

from ...chunk import COMPLETED, CONVERGED, DIVERGED, MOMENTS, STREAM, TOO_FEW_SAMPLES
from ..moments.compress import CHUNK
from ..moments.samples import place_of, sources_of
from ..moments.stack import W_EXPONENT, W_HIGH
from ..simd.addresses import address, further, keep_alive
from ..simd.arrays import new_empty, new_zeros
from ..simd.compiling import copy, kernel
from ..simd.lanes import LANES
from ..simd.scalars import is_double, raised
from ..simd.transpose import SIDE
from .evaluate import (
    BLOCK,
    WIDE,
    Standard,
    evaluate_moments,
    evaluate_moments_doubled,
    evaluate_stream,
    fill_stream_tile,
    stride_for,
    sum_weights,
)
from .fit_arrays import all_finite, all_finite_in, all_nan, all_within, copy_state, forget_if_nan, largest_column, unpack, write_row
from .limits import LIMIT_FLOAT32, LIMIT_FLOAT64, factors_of, limits_of
from .objective import excess_of, objective_of, target_of
from .stream_epochs import HANDED_OVER, STOPPED, stream_epochs
from .stream_pass import MOST_UNROLLED
from .update import SGD, enter_momentum, update

POLL = 64
NOT_RUN = -1  # the epoch in `handed_over` of a fit that begins with its state


@kernel
def descend(
    data, index, n_used, d, intercept, n_decayed, reduction_sum, rule, lr, momenta, hyper, epochs, tol, every,
    gram, gram_index, target, target_index, exponents, weighing,
    w, slots, products, steps, algorithm, status,
    w_out, loss_out, epochs_run, history_w, history_loss, penalty, least, allowance, initial_excess, excess,
    center, scales, handed_over, handed_over_losses, cancel, progress,
):  # fmt: skip
    """Run the fits handed_over[:, 0] of a chunk, one after the other.

    data, index: moments/samples.py, 1 and 2; shapes as in kernels/chunk.py; moments as `compress`
    writes them. gram_index, target_index (m,): the records of a fit, not read where its algorithm
    is STREAM; exponents belongs to target, weighing to gram. handed_over (k, 3) int64 and
    handed_over_losses (k,) float64: where each fit begins, as `descend_packs` returns them; a fit
    that begins with its state has the epoch NOT_RUN.
    """
    size = w.shape[1]
    n_slots = slots.shape[1]
    dtype = data[0].dtype
    number = dtype.type
    doubled = is_double(data[0])
    limit = LIMIT_FLOAT64 if doubled else LIMIT_FLOAT32
    # scratch for moments: float64
    has_samples = len(data[0]) > 0
    any_moments, most_used = not has_samples, 1
    for f in handed_over[:, 0]:
        any_moments = any_moments or algorithm[f] == MOMENTS
        most_used = max(most_used, n_used[f])
    side = size if any_moments else 0
    matrix, low_matrix = np.empty((side, side)), np.empty((side, side))
    powers = np.zeros(size + 1, np.int64)  # stay 0 for float32 data
    gradient, scratch = np.empty(size), np.empty(size)
    state, next_state = np.empty(size), np.empty(size)
    slot, next_slot = np.empty((n_slots, size)), np.zeros((n_slots, size))
    product, next_product = np.empty(products.shape[1]), np.ones(products.shape[1])  # of the fit at hand, for both algorithms
    factor, low_factor, shift, total_weight = 2.0, 0.0, 0, 1.0
    # scratch for `stream`: the data's dtype; the tile is allocated when first needed
    tile, stride = np.empty(0, dtype), stride_for(most_used)
    lanes = new_zeros(BLOCK + (size + SIDE + 2) * LANES, dtype)  # eight at a time are added
    parts = np.empty(((most_used + CHUNK - 1) // CHUNK, size + 1), dtype)
    stream_gradient = np.empty(size, dtype)
    stream_state, next_stream_state = np.empty(size, dtype), np.empty(size, dtype)
    stream_slot, next_stream_slot = np.empty((n_slots, size), dtype), np.zeros((n_slots, size), dtype)
    own_hyper, n_rows, told, measured = len(hyper) > 1, history_loss.shape[1], address(progress), len(excess) > 0
    kappa, best, slack, initial = 0.0, math.nan, 0.0, math.nan  # κ, F*, ρ and F(w_0) − F* of the fit at hand
    options, moves = np.empty(hyper.shape[1]), len(momenta) > 0  # of the fit at hand; whether they move from epoch to epoch
    unpacked = -1
    sources = sources_of(data, index)
    for entry in range(len(handed_over)):
        f = handed_over[entry, 0]
        if raised(cancel):
            return
        if status[f] == TOO_FEW_SAMPLES:
            progress[0] += epochs
            continue
        n = n_used[f]
        last = 0 if status[f] == CONVERGED else epochs
        outcome = status[f]
        epoch, row, reported = 0, 0, 0
        loss, now = number(0), math.nan  # now: the objective
        if measured:
            kappa, best, slack, initial = penalty[f], least[f], allowance[f], initial_excess[f]
        goal = target_of(best, slack, initial, tol)
        first_bad = 0 if outcome == DIVERGED else -1  # a state remembers that it had a row that was not finite
        finished, row_is_done = False, False
        copy(hyper[f if own_hyper else 0], options)
        rows_w, rows_loss = history_w[f], history_loss[f]
        copy_state(state, slot, product, w[f], slots[f], products[f])
        step = steps[f]
        if handed_over[entry, 1] != NOT_RUN:
            epoch = reported = handed_over[entry, 1]
            row_is_done = handed_over[entry, 2] != 0
            step += epoch
            loss = number(handed_over_losses[entry])
            if every > 0:
                row = epoch // every + 1 if row_is_done else (epoch + every - 1) // every
        if not has_samples:
            algorithm[f] = MOMENTS  # a pack that handed it over expects samples to be there
        if algorithm[f] == MOMENTS:
            record = target_index[f]
            if gram_index[f] != unpacked:
                unpacked = gram_index[f]
                unpack(gram[unpacked, 0], size, matrix, cancel)
                if doubled:
                    unpack(gram[unpacked, 1], size, low_matrix, cancel)
                total_weight = weighing[unpacked, W_HIGH]
                factor, low_factor = factors_of(weighing[unpacked], reduction_sum)
                if reduction_sum:
                    shift = np.int64(weighing[unpacked, W_EXPONENT])
            if doubled:
                copy(exponents[record], powers)
                if target[record, 0, size] == 0.0:
                    powers[size] = 0  # y = 0 has no scale of its own
            targets = target[record, 0]
            low_targets = target[record, target.shape[1] - 1]
            largest = largest_column(matrix, powers, size, np.int64(weighing[unpacked, W_EXPONENT]))
            w_limit, loss_limit = limits_of(largest, size, weighing[unpacked], limit)
            nan_epochs = 0
            while not finished:
                if epoch % POLL == POLL - 1 or size > WIDE:
                    if raised(cancel):
                        return
                    progress[0] += epoch - reported
                    reported = epoch
                if doubled:
                    exact_loss = evaluate_moments_doubled(
                        matrix, low_matrix, targets, low_targets, powers, total_weight, factor, low_factor, shift, state, scratch, gradient
                    )
                else:
                    exact_loss = evaluate_moments(matrix, targets, total_weight, factor, state, scratch, gradient)
                if has_samples and not (exact_loss <= loss_limit and all_within(state, w_limit)):
                    break
                loss = number(exact_loss)
                if not has_samples and first_bad < 0 and not (math.isfinite(loss) and all_finite_in(state, stream_state)):
                    first_bad = epoch
                if measured:
                    now = objective_of(exact_loss, state, kappa, n_decayed)
                    if epoch == 0 and math.isnan(initial):
                        initial = now - best
                        goal = target_of(best, slack, initial, tol)
                recorded = every > 0 and (epoch % every == 0 or epoch == epochs)
                if epoch >= 1 and first_bad < 0 and now <= goal:
                    outcome = CONVERGED
                    finished = True
                nan_epochs = nan_epochs + 1 if all_nan(state) else 0
                if epoch == last or nan_epochs >= 2:
                    finished = True
                if recorded and not row_is_done:
                    write_row(rows_w, rows_loss, row, state, loss)
                    row += 1
                row_is_done = False
                if not finished:
                    rate = lr[epoch if lr.shape[0] > 1 else 0, f]
                    if moves:
                        enter_momentum(rule, momenta[epoch if lr.shape[0] > 1 else 0, f], step, options, product)
                    good = update(
                        rule, state, slot, product, gradient, rate, options, n_decayed, step, next_state, next_slot, next_product, limit
                    )
                    if has_samples and not good:
                        row_is_done = True
                        break
                    copy_state(state, slot, product, next_state, next_slot, next_product)
                    epoch += 1
                    step += 1
            if finished:
                copy(state, w_out[f])
                forget_if_nan(state, product)
                copy_state(w[f], slots[f], products[f], state, slot, product)
            else:
                algorithm[f] = STREAM
        if not finished:
            if len(tile) == 0:
                tile = new_empty((d + 2) * stride, dtype)
            copy_state(stream_state, stream_slot, product, state, slot, product)
            one_chunk = n <= CHUNK
            place = place_of(sources, f)
            standard = Standard(address(center), address(scales), f * d, len(center) > 0)
            if one_chunk:
                fill_stream_tile(tile, stride, sources, place, d, standard, 0, n, cancel)
            stream_weight = sum_weights(sources, place, n, lanes, parts, cancel)
            stream_factor = number(2) if reduction_sum else number(2) / stream_weight
            nan_epochs = 0
            plain = rule == SGD and not moves and options[0] == 0.0 and options[2] == 0.0 and options[4] == 0.0
            alone = one_chunk and plain and d <= MOST_UNROLLED and len(data[4]) == 0 and not row_is_done and first_bad < 0
            if alone and outcome == COMPLETED:
                rates = further(address(lr), f)
                history = further(address(history_w), f * n_rows * size), further(address(history_loss), f * n_rows)
                recording = every, epochs, row, history[0], history[1]
                progress[0] += epoch - reported
                epoch, row, loss, initial, ended = stream_epochs(
                    address(tile), stride, n, d, intercept, address(stream_state), stream_weight, stream_factor, rates,
                    lr.shape[1] if lr.shape[0] > 1 else 0, (epoch, last), (tol, best, slack, initial), recording,
                    further(address(lanes), BLOCK), address(lanes), address(cancel), told,
                )  # fmt: skip
                reported, step = epoch, steps[f] + epoch
                outcome = CONVERGED if ended == STOPPED else outcome
                finished = ended != HANDED_OVER
                now, goal = float(loss), target_of(best, slack, initial, tol)
            while not finished:
                if epoch % POLL == POLL - 1:
                    progress[0] += epoch - reported
                    reported = epoch
                stream_loss = evaluate_stream(
                    tile, stride, one_chunk, sources, place, standard, n, d, intercept, stream_state, stream_weight, stream_factor, lanes,
                    parts, stream_gradient, cancel,
                )  # fmt: skip
                if raised(cancel):  # within this epoch, too
                    return
                loss = loss if row_is_done else stream_loss
                if measured and not row_is_done:
                    now = objective_of(loss, stream_state, kappa, n_decayed)
                    if epoch == 0 and math.isnan(initial):
                        initial = now - best
                        goal = target_of(best, slack, initial, tol)
                if first_bad < 0 and not (math.isfinite(loss) and all_finite(stream_state)):
                    first_bad = epoch
                nan_epochs = nan_epochs + 1 if all_nan(stream_state) else 0
                if not row_is_done and every > 0 and (epoch % every == 0 or epoch == epochs):
                    write_row(rows_w, rows_loss, row, stream_state, loss)
                    row += 1
                if epoch >= 1 and first_bad < 0 and not row_is_done and now <= goal:
                    outcome = CONVERGED
                    finished = True
                elif epoch == last or nan_epochs >= 2:
                    finished = True
                else:
                    rate = lr[epoch if lr.shape[0] > 1 else 0, f]
                    if moves:
                        enter_momentum(rule, momenta[epoch if lr.shape[0] > 1 else 0, f], step, options, product)
                    update(
                        rule, stream_state, stream_slot, product, stream_gradient, rate, options, n_decayed, step,
                        next_stream_state, next_stream_slot, next_product, math.inf,
                    )  # fmt: skip
                    row_is_done = False
                    copy_state(stream_state, stream_slot, product, next_stream_state, next_stream_slot, next_product)
                    epoch += 1
                    step += 1
            copy(stream_state, w_out[f])
            forget_if_nan(stream_state, product)
            copy_state(w[f], slots[f], products[f], stream_state, stream_slot, product)
        loss_out[f] = loss
        if measured:
            initial_excess[f], excess[f] = initial, excess_of(now, best)
        for later in range(row, history_loss.shape[1]):
            if raised(cancel):
                return
            write_row(rows_w, rows_loss, later, w_out[f], loss)
        steps[f] = steps[f] + last if outcome != CONVERGED else step
        epochs_run[f] = epoch if outcome == CONVERGED else epochs
        if first_bad >= 0:
            epochs_run[f] = first_bad
            outcome = DIVERGED if outcome == COMPLETED else outcome
        status[f] = outcome
        progress[0] += epochs - reported
    keep_alive((data, index, lr, history_w, history_loss, excess, center, scales, tile, lanes, stream_state, cancel, progress))
