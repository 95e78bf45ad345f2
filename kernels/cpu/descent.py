"""descend: all epochs of each fit, from its moments or its samples (docs/arithmetic.md, sections 6 to 8 and 10).

1. One kernel for every update rule and both algorithms: a run-time `if` costs nothing beside the arithmetic, and few
   specialisations keep the first call short. The rules are in update.py; their codes are those of kernels/update_rules.py.
2. No checks, no allocation per epoch. The cancel flag is read every POLL epochs.
3. A fit that overflows leaves the moments for the samples before the first value that torch could overflow in; from then on
   inf and NaN appear as in torch. Where it is the update that would pass the limit, the epoch's row stays that of the moments (a
   fit that ends there has the same row) and only its update comes from the samples. When two epochs in a row began with every w
   NaN, all that follows is NaN and is not computed.
"""

from __future__ import annotations

import math

import numpy as np

from ..chunk import COMPLETED, CONVERGED, DIVERGED, MOMENTS, STREAM
from .compiling import copy, inlined, kernel, part
from .doubled import scale
from .evaluate import evaluate_moments, evaluate_moments_doubled, evaluate_stream, fill_stream_tile
from .moments import CHUNK
from .update import update
from .vectors import LANES, fma, raised

POLL = 64
LIMIT_FLOAT32 = 2.0**120
LIMIT_FLOAT64 = 2.0**1000


@part
def _unpack(packed, size, matrix):
    """Columns of the upper triangle -> the symmetric matrix."""
    for j in range(size):
        for i in range(j + 1):
            matrix[i, j] = packed[j * (j + 1) // 2 + i]
            matrix[j, i] = matrix[i, j]


@part
def _limits(gram, exponents, size, n, limit):
    """Largest |w| and loss for which no intermediate result of torch's arithmetic can overflow."""
    largest = 0.0
    for j in range(size):
        largest = max(largest, scale(math.sqrt(gram[j, j]), exponents[j]))
    ratio = limit / (2.0 * largest)
    return limit / max(1.0, size * largest), min(limit, ratio * ratio) / n


@inlined
def _all_within(values, limit):
    for value in values:
        if not abs(value) <= limit:
            return False
    return True


@part
def _all_finite(values):
    for value in values:
        if not math.isfinite(value):
            return False
    return True


@part
def _all_nan(values):
    for value in values:
        if value == value:  # it is not NaN
            return False
    return True


@inlined
def _take_over(w, slots, products, next_w, next_slots, next_products):
    """Copy the next state: cheaper than exchanging array objects, whose reference counts are atomic."""
    copy(next_w, w)
    for k in range(slots.shape[0]):
        copy(next_slots[k], slots[k])
    copy(next_products, products)


@part
def _record(history_w, history_loss, row, w, loss):
    for j in range(len(w)):
        history_w[row, j] = w[j]
    history_loss[row] = loss


@inlined
def _has_converged(epoch, previous, loss, tol):
    """Whether the loss fell by no more than its share `tol` (and did not rise)."""
    drop = previous - loss
    return epoch >= 1 and tol >= 0.0 and math.isfinite(previous) and drop >= 0.0 and drop <= tol * previous


@kernel
def descend(
    X, y, x_index, y_index, intercept, reduction_sum, rule, lr, hyper, epochs, tol, every,
    gram, gram_index, target, target_index, exponents,
    w, slots, products, steps, algorithm, status,
    w_out, loss_out, epochs_run, history_w, history_loss, cancel, progress,
):  # fmt: skip
    """Run every fit of a chunk. Shapes as in kernels/chunk.py; moments as `compress` writes them.

    gram_index, target_index (m,): the records of a fit; not read where its algorithm is STREAM. exponents belongs to target.
    """
    n, d = X.shape[1], X.shape[2]
    size = w.shape[1]
    n_slots = slots.shape[1]
    number = X.dtype.type
    doubled = X.itemsize == 8
    limit = LIMIT_FLOAT64 if doubled else LIMIT_FLOAT32
    # scratch of the moments: float64
    any_moments = False
    for f in range(len(x_index)):
        any_moments = any_moments or algorithm[f] == MOMENTS
    side = size if any_moments else 0
    matrix, low_matrix = np.empty((side, side)), np.empty((side, side))
    powers = np.zeros(size + 1, np.int64)  # stay 0 for float32 data
    gradient, scratch = np.empty(size), np.empty(size)
    state, next_state = np.empty(size), np.empty(size)
    slot, next_slot = np.empty((n_slots, size)), np.zeros((n_slots, size))
    product, next_product = np.empty(products.shape[1]), np.ones(products.shape[1])  # of the fit at hand, for both algorithms
    factor = 2.0 if reduction_sum else 2.0 / n
    low_factor = 0.0 if reduction_sum else fma(-factor, float(n), 2.0) / n
    # scratch of the stream: the data's dtype, allocated when first needed
    tile, stride = np.empty(0, X.dtype), min(CHUNK, (n + LANES - 1) // LANES * LANES)
    lanes = np.empty(size * LANES, X.dtype)
    parts = np.empty(((n + CHUNK - 1) // CHUNK, size + 1), X.dtype)
    stream_gradient = np.empty(size, X.dtype)
    stream_state, next_stream_state = np.empty(size, X.dtype), np.empty(size, X.dtype)
    stream_slot, next_stream_slot = np.empty((n_slots, size), X.dtype), np.zeros((n_slots, size), X.dtype)
    stream_factor = number(2) if reduction_sum else number(2) / number(n)
    unpacked = -1
    for f in range(len(x_index)):
        if raised(cancel):
            return
        last = 0 if status[f] == CONVERGED else epochs
        outcome = status[f]
        epoch, row, reported = 0, 0, 0
        previous, loss = math.nan, number(0)
        first_bad = 0 if outcome == DIVERGED else -1  # a state remembers that it had a row that was not finite
        finished, row_is_done = False, False
        options = hyper[f]
        rows_w, rows_loss = history_w[f], history_loss[f]
        _take_over(state, slot, product, w[f], slots[f], products[f])
        step = steps[f]
        if algorithm[f] == MOMENTS:
            record = target_index[f]
            if gram_index[f] != unpacked:
                unpacked = gram_index[f]
                _unpack(gram[unpacked, 0], size, matrix)
                if doubled:
                    _unpack(gram[unpacked, 1], size, low_matrix)
            if doubled:
                copy(exponents[record], powers)
                if target[record, 0, size] == 0.0:
                    powers[size] = 0  # y = 0 has no scale of its own
            targets = target[record, 0]
            low_targets = target[record, target.shape[1] - 1]
            w_limit, loss_limit = _limits(matrix, powers, size, n, limit)
            while not finished:
                if epoch % POLL == POLL - 1:
                    if raised(cancel):
                        return
                    progress[0] += epoch - reported
                    reported = epoch
                if doubled:
                    exact_loss = evaluate_moments_doubled(
                        matrix, low_matrix, targets, low_targets, powers, float(n), factor, low_factor, state, scratch, gradient
                    )
                else:
                    exact_loss = evaluate_moments(matrix, targets, float(n), factor, state, scratch, gradient)
                if not (exact_loss <= loss_limit and _all_within(state, w_limit)):
                    break
                loss = number(exact_loss)
                recorded = every > 0 and (epoch % every == 0 or epoch == epochs)
                if first_bad < 0 and _has_converged(epoch, previous, float(loss), tol):
                    outcome = CONVERGED
                    finished = True
                elif epoch == last:
                    finished = True
                if recorded:
                    _record(rows_w, rows_loss, row, state, loss)
                    row += 1
                if not finished:
                    rate = lr[epoch if lr.shape[0] > 1 else 0, f]
                    if not update(rule, state, slot, product, gradient, rate, options, step, next_state, next_slot, next_product, limit):
                        row_is_done = True
                        break
                    previous = float(loss)
                    _take_over(state, slot, product, next_state, next_slot, next_product)
                    epoch += 1
                    step += 1
            if finished:
                copy(state, w_out[f])
                _take_over(w[f], slots[f], products[f], state, slot, product)
            else:
                algorithm[f] = STREAM
        if not finished:
            if len(tile) == 0:
                tile = np.empty((d + 1) * stride, X.dtype)
            _take_over(stream_state, stream_slot, product, state, slot, product)
            one_chunk = n <= CHUNK
            if one_chunk:
                fill_stream_tile(tile, stride, X, y, x_index[f], y_index[f], 0, n)
            nan_epochs = 0
            while not finished:
                if raised(cancel):
                    return
                if epoch % POLL == POLL - 1:
                    progress[0] += epoch - reported
                    reported = epoch
                stream_loss = evaluate_stream(
                    tile,
                    stride,
                    one_chunk,
                    X,
                    y,
                    x_index[f],
                    y_index[f],
                    intercept,
                    stream_state,
                    stream_factor,
                    lanes,
                    parts,
                    stream_gradient,
                )
                loss = loss if row_is_done else stream_loss
                if first_bad < 0 and not (math.isfinite(loss) and _all_finite(stream_state)):
                    first_bad = epoch
                nan_epochs = nan_epochs + 1 if _all_nan(stream_state) else 0
                if not row_is_done and every > 0 and (epoch % every == 0 or epoch == epochs):
                    _record(rows_w, rows_loss, row, stream_state, loss)
                    row += 1
                if first_bad < 0 and not row_is_done and _has_converged(epoch, previous, float(loss), tol):
                    outcome = CONVERGED
                    finished = True
                elif epoch == last or nan_epochs >= 2:
                    finished = True
                else:
                    rate = lr[epoch if lr.shape[0] > 1 else 0, f]
                    update(
                        rule, stream_state, stream_slot, product, stream_gradient, rate, options, step,
                        next_stream_state, next_stream_slot, next_product, math.inf,
                    )  # fmt: skip
                    previous = float(loss)
                    row_is_done = False
                    _take_over(stream_state, stream_slot, product, next_stream_state, next_stream_slot, next_product)
                    epoch += 1
                    step += 1
            copy(stream_state, w_out[f])
            if _all_nan(stream_state):  # the products of epochs that were not computed are not known; nor do they matter
                for k in range(len(product)):
                    product[k] = math.nan
            _take_over(w[f], slots[f], products[f], stream_state, stream_slot, product)
        loss_out[f] = loss
        for later in range(row, history_loss.shape[1]):
            _record(rows_w, rows_loss, later, w_out[f], loss)
        steps[f] = steps[f] + last if outcome != CONVERGED else step
        epochs_run[f] = epoch if outcome == CONVERGED else epochs
        if first_bad >= 0:
            epochs_run[f] = first_bad
            outcome = DIVERGED if outcome == COMPLETED else outcome
        status[f] = outcome
        progress[0] += epochs - reported
