"""Epochs of mini-batches: a step for each batch, a row for each epoch (docs/arithmetic.md, 13).

1. The gradient of a batch is that of `stream` on a data set that has the batch's samples in the
   batch's order, and so is its loss: the functions are those of descent/evaluate.py. The state is
   in the data's type.
2. The loss of a row is that of all samples at the row's w: from moments where the fit has them, and
   w and the loss are within the limits; else from the samples.
3. A call runs the epochs first … stop-1 of some fits, whose samples come in one order; `standing`
   says where each fit stands. In between the host makes the orders of further epochs.
"""

from __future__ import annotations

import math

import numpy as np

from ...chunk import COMPLETED, CONVERGED, DIVERGED, MOMENTS, TOO_FEW_SAMPLES
from ..descent.evaluate import (
    BLOCK,
    Standard,
    evaluate_moments,
    evaluate_moments_doubled,
    evaluate_stream,
    fill_stream_tile,
    stride_for,
    sum_weights,
)
from ..descent.fit_arrays import all_finite, all_nan, all_within, copy_state, forget_if_nan, largest_column, unpack, write_row
from ..descent.limits import LIMIT_FLOAT32, LIMIT_FLOAT64, factors_of, limits_of
from ..descent.objective import excess_of, objective_of, target_of
from ..descent.update import enter_momentum, update
from ..moments.compress import CHUNK
from ..moments.samples import Place, place_of, sources_of
from ..moments.stack import W_EXPONENT, W_HIGH
from ..simd.addresses import address, count_at, keep_alive
from ..simd.arrays import new_empty, new_zeros
from ..simd.compiling import copy, kernel, part
from ..simd.lanes import LANES
from ..simd.scalars import is_double, raised
from ..simd.transpose import SIDE
from .gather import AHEAD, gather_tile

FIRST_BAD, NAN_ROWS, ENDED = range(3)  # columns of `standing`: the first row that is not finite or −1; a count; 0 or 1


@part
def _choose_rows(rows, order, first, count, kept, base, shuffled, masked):
    """Write the samples first … first+count-1 of an order to rows: their places in the data."""
    for i in range(count):
        number = np.int64(order[first + i]) if shuffled else first + i
        rows[i] = count_at(kept, base + number) if masked else number


@kernel
def descend_batches(
    data, index, n_used, d, intercept, n_decayed, reduction_sum, rule, lr, momenta, hyper, epochs, tol, every,
    gram, gram_index, target, target_index, exponents, weighing,
    w, slots, products, steps, algorithm, status,
    w_out, loss_out, epochs_run, history_w, history_loss, penalty, least, allowance, initial_excess, excess,
    center, scales, fits, first, stop, size_of_batch, drop_last, rate_per_step, orders, batch_loss, passes, standing, cancel, progress,
):  # fmt: skip
    """Run the epochs first … stop-1 of these fits of a chunk; epoch `epochs` is the last row alone.

    Arguments up to scales: as of descent/fit_by_fit.py. orders (stop - first, n) int32: the order
    of the samples in each epoch, of as many as every one of these fits uses; (…, 0): as they stand.
    lr (1, m), or a row for each epoch, or for each step of the call; momenta has as many or none.
    batch_loss (m, epochs) or (m, 0), passes (m,): as in kernels/chunk.py.
    """
    size, n_slots, dtype = w.shape[1], slots.shape[1], data[0].dtype
    number = dtype.type
    doubled = is_double(data[0])
    limit = LIMIT_FLOAT64 if doubled else LIMIT_FLOAT32
    most_used, any_moments = 1, False
    for f in fits:
        most_used = max(most_used, n_used[f])
        any_moments = any_moments or algorithm[f] == MOMENTS
    side = size if any_moments else 0
    matrix, low_matrix, powers = np.empty((side, side)), np.empty((side, side)), np.zeros(size + 1, np.int64)
    exact_state, exact_gradient, scratch = np.empty(size), np.empty(size), np.empty(size)
    longest = min(most_used, size_of_batch)
    stride, stride_of_batch = stride_for(most_used), stride_for(longest)
    tile = new_empty((d + 2) * stride + SIDE, dtype)
    lanes = new_zeros(BLOCK + (size + SIDE + 2) * LANES, dtype)
    parts = np.empty(((most_used + CHUNK - 1) // CHUNK, size + 1), dtype)
    rows = np.empty((1, longest + AHEAD), np.int32)  # of a batch, and of the next one those that are fetched meanwhile
    gradient, state, next_state = np.empty(size, dtype), np.empty(size, dtype), np.empty(size, dtype)
    slot, next_slot = np.empty((n_slots, size), dtype), np.zeros((n_slots, size), dtype)
    product, next_product = np.empty(products.shape[1]), np.ones(products.shape[1])
    options, moves = np.empty(hyper.shape[1]), len(momenta) > 0
    own_hyper, measured, shuffled = len(hyper) > 1, len(excess) > 0, orders.shape[1] > 0
    sources, gathered = sources_of(data, index), sources_of(data, (index[0], index[1], index[2], rows, index[4]))
    flat_rows = rows[0]
    quick = sources.feature_step == 1 and d > 1 and len(center) == 0
    for f in fits:
        if raised(cancel):
            return
        if standing[f, ENDED] != 0:
            continue
        if status[f] == TOO_FEW_SAMPLES:
            progress[0] += epochs
            standing[f, ENDED] = 1
            continue
        n = n_used[f]
        n_steps = n // size_of_batch if drop_last else (n + size_of_batch - 1) // size_of_batch
        last, outcome = 0 if status[f] == CONVERGED else epochs, status[f]
        if first == 0:
            standing[f, FIRST_BAD] = 0 if outcome == DIVERGED else -1
            standing[f, NAN_ROWS] = 0
        kappa, best, slack, initial = 0.0, math.nan, 0.0, math.nan
        if measured:
            kappa, best, slack, initial = penalty[f], least[f], allowance[f], initial_excess[f]
        goal, now = target_of(best, slack, initial, tol), math.nan
        copy(hyper[f if own_hyper else 0], options)
        copy_state(state, slot, product, w[f], slots[f], products[f])
        place = place_of(sources, f)
        standard = Standard(address(center), address(scales), f * d, len(center) > 0)
        total_weight, factor, low_factor, w_limit, loss_limit = 1.0, 2.0, 0.0, -1.0, -1.0
        has_moments = algorithm[f] == MOMENTS
        targets, low_targets = exact_state, exact_state  # not read without moments
        if has_moments:
            own, record = gram_index[f], target_index[f]
            unpack(gram[own, 0], size, matrix, cancel)
            if doubled:
                unpack(gram[own, 1], size, low_matrix, cancel)
                copy(exponents[record], powers)
                if target[record, 0, size] == 0.0:
                    powers[size] = 0  # y = 0 has no scale of its own
            total_weight = weighing[own, W_HIGH]
            factor, low_factor = factors_of(weighing[own], reduction_sum)
            targets, low_targets = target[record, 0], target[record, target.shape[1] - 1]
            largest = largest_column(matrix, powers, size, np.int64(weighing[own, W_EXPONENT]))
            w_limit, loss_limit = limits_of(largest, size, weighing[own], limit)
        of_all, ended = number(-1), False  # of_all: the sum of all weights, once it is needed
        for epoch in range(first, stop):
            within, exact_loss = False, math.nan
            if has_moments and all_within(state, w_limit):
                copy(state, exact_state)
                if doubled:
                    exact_loss = evaluate_moments_doubled(
                        matrix, low_matrix, targets, low_targets, powers, total_weight, factor, low_factor, 0, exact_state, scratch,
                        exact_gradient,
                    )  # fmt: skip
                else:
                    exact_loss = evaluate_moments(matrix, targets, total_weight, factor, exact_state, scratch, exact_gradient)
                within = exact_loss <= loss_limit
            loss = number(exact_loss)
            if not within:
                if of_all < number(0):
                    of_all = sum_weights(sources, place, n, lanes, parts, cancel)
                loss = evaluate_stream(
                    tile, stride, False, sources, place, standard, n, d, intercept, state, of_all, number(0), lanes, parts, gradient, cancel
                )
                exact_loss = np.float64(loss)
                if raised(cancel):
                    return
            if standing[f, FIRST_BAD] < 0 and not (math.isfinite(loss) and all_finite(state)):
                standing[f, FIRST_BAD] = epoch
            fine = standing[f, FIRST_BAD] < 0
            if measured:
                now = objective_of(exact_loss, state, kappa, n_decayed)
                if epoch == 0 and math.isnan(initial):
                    initial = now - best
                    initial_excess[f] = initial
                    goal = target_of(best, slack, initial, tol)
            standing[f, NAN_ROWS] = standing[f, NAN_ROWS] + 1 if all_nan(state) else 0
            converged = epoch >= 1 and fine and now <= goal
            ended = converged or epoch == last or standing[f, NAN_ROWS] >= 2
            if every > 0 and (ended or epoch % every == 0):
                row = (epoch + every - 1) // every
                for later in range(row, history_loss.shape[1] if ended else row + 1):
                    write_row(history_w[f], history_loss[f], later, state, loss)
            if ended:
                ran = epoch if converged else last
                outcome = CONVERGED if converged else outcome
                copy(state, w_out[f])
                loss_out[f] = loss
                if measured:
                    excess[f] = excess_of(now, best)
                forget_if_nan(state, product)
                for later in range(epoch, batch_loss.shape[1]):
                    batch_loss[f, later] = math.nan
                steps[f] += ran * n_steps
                passes[f] += ran
                epochs_run[f] = ran if outcome == CONVERGED else epochs
                if not fine:
                    epochs_run[f] = standing[f, FIRST_BAD]
                    outcome = DIVERGED if outcome == COMPLETED else outcome
                status[f] = outcome
                standing[f, ENDED] = 1
                progress[0] += epochs - epoch
                break
            # the steps
            order = orders[epoch - first]
            sum_of_losses, sum_of_weights = 0.0, 0.0
            for batch in range(n_steps):
                if raised(cancel):
                    return
                begin = batch * size_of_batch
                count = min(size_of_batch, n - begin)
                picked = shuffled or place.masked
                here, at = sources, Place(place.x + begin * sources.x_step, place.y + begin * sources.y_step,
                                          place.weights + begin * sources.w_step, np.int64(0), False)  # fmt: skip
                known = min(count + AHEAD, n - begin)
                if picked:
                    _choose_rows(flat_rows, order, begin, known, sources.kept, place.kept, shuffled, place.masked)
                    here, at = gathered, Place(place.x, place.y, place.weights, np.int64(0), True)
                one_chunk = count <= CHUNK
                if one_chunk and picked and quick:
                    gather_tile(tile, stride_of_batch, here, at, d, address(flat_rows), count, known, np.int64(data[0].itemsize))
                elif one_chunk:
                    fill_stream_tile(tile, stride_of_batch, here, at, d, standard, 0, count, cancel)
                total = sum_weights(here, at, count, lanes, parts, cancel)
                by = number(2) if reduction_sum else number(2) / total
                own_loss = evaluate_stream(
                    tile, stride_of_batch, one_chunk, here, at, standard, count, d, intercept, state, total, by, lanes, parts, gradient,
                    cancel,
                )  # fmt: skip
                sum_of_losses += np.float64(total) * np.float64(own_loss)
                sum_of_weights += np.float64(total)
                done = epoch * n_steps + batch  # steps of this call
                row = 0 if lr.shape[0] == 1 else done if rate_per_step else epoch
                rate = lr[row, f]
                if moves:
                    enter_momentum(rule, momenta[row, f], steps[f] + done, options, product)
                update(
                    rule,
                    state,
                    slot,
                    product,
                    gradient,
                    rate,
                    options,
                    n_decayed,
                    steps[f] + done,
                    next_state,
                    next_slot,
                    next_product,
                    math.inf,
                )
                copy_state(state, slot, product, next_state, next_slot, next_product)
            if batch_loss.shape[1] > 0:
                batch_loss[f, epoch] = sum_of_losses / sum_of_weights
            progress[0] += 1
        copy_state(w[f], slots[f], products[f], state, slot, product)
    keep_alive((data, index, rows, center, scales, tile, lanes, cancel))
