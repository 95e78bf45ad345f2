"""descend_batches: fits of SGD on moments, 32 at a time (run_pack.py); what cannot run here, or not to its end, is left to fit_by_fit.py.

Lines (single_feature.py) need no moments: without records the batches make their own, in the lanes where they are needed.
"""

from __future__ import annotations

import numpy as np

from ..descent.fit_by_fit import NOT_RUN
from ..descent.limits import LIMIT_FLOAT32, LIMIT_FLOAT64
from ..moments.samples import sources_of
from ..moments.single_feature import ROOM
from ..simd.addresses import address, hold
from ..simd.compiling import aligned, kernel
from ..simd.lanes import LANES
from ..simd.scalars import fence, is_double
from .results import leave
from .run_pack import CANCELLED, NOT_FINITE, can_be_lean, run_batch
from .state import FEWEST, addresses_of, fits_a_batch, is_plain, make_room

LEAST_STAGED, MOST_STAGED = 2**21, 2**19  # bytes: of a history that is beyond the cache; of one batch, which stays in the cache


@kernel
def descend_batches(
    of_lines, data, index, n_used, d, intercept, reduction_sum, rule, lr, hyper, epochs, tol, every,
    gram, gram_index, target, target_index, exponents, weighing,
    w, slots, products, steps, algorithm, status,
    w_out, loss_out, epochs_run, history_w, history_loss, left, left_losses, cancel, progress,
):  # fmt: skip
    """Run what can run side by side of a chunk. Arguments as in fit_by_fit.py; of_lines: moments are not read but made.

    Returns how many fits are left: left[k] is the fit, its epoch (or NOT_RUN) and whether that epoch's row is done, left_losses[k] the last
    two losses. Negative: numbers of some line are not finite, and the state is not what it was.
    """
    size = w.shape[1]
    doubled = is_double(data[0])
    n_left = np.zeros(1, np.int64)
    room, scratch = make_room(size, doubled, data[0].dtype), aligned(np.zeros(ROOM + 8))
    batch, count = np.zeros(LANES, np.int64), 0
    lean = not doubled and len(hyper) == 1 and can_be_lean(size, doubled, tol) and is_plain(address(hyper))
    fewest = 1 if lean or of_lines else FEWEST[min(size, len(FEWEST) - 1)]  # lines have no records, which fit_by_fit.py would need
    records = (
        address(gram), address(gram_index), address(target), address(target_index), address(exponents), address(weighing),
    )  # fmt: skip
    lines = sources_of(data, index), address(n_used), intercept, address(scratch), of_lines
    options = (
        address(lr), lr.shape[0], lr.shape[1], address(hyper), hyper.shape[1], len(hyper) > 1, reduction_sum,
        LIMIT_FLOAT64 if doubled else LIMIT_FLOAT32, doubled,
    )  # fmt: skip
    results = (
        address(w), address(slots), address(steps), address(algorithm), address(status), address(w_out), address(loss_out),
        address(epochs_run), address(history_w), address(history_loss), address(left), address(left_losses), address(n_left),
    )  # fmt: skip
    to_batch, to_room, flag, told, n_rows = address(batch), addresses_of(room), address(cancel), address(progress), history_loss.shape[1]
    of_batch, of_chunk = LANES * n_rows * (size + 1), len(n_used) * n_rows * (size + 1)
    is_staged = of_batch * w_out.itemsize <= MOST_STAGED and of_chunk * w_out.itemsize >= LEAST_STAGED
    staged = np.empty(of_batch if is_staged else 0, data[0].dtype)
    staging = address(staged), is_staged
    outcome = CANCELLED
    for f in range(len(n_used)):
        if fits_a_batch(algorithm[f], status[f]):
            batch[count] = f
            count += 1
        else:
            leave(f, NOT_RUN, 0, address(left), address(n_left))
        last = f == len(n_used) - 1
        if count == LANES or (last and count >= fewest):
            outcome = run_batch(
                to_batch, count, size, records, lines, options, epochs, tol, every, n_rows, results, staging, to_room, flag, told
            )
            if outcome in (CANCELLED, NOT_FINITE):
                break
            count = 0
        elif last:
            for k in range(count):
                leave(batch[k], NOT_RUN, 0, address(left), address(n_left))
    hold((data, index, n_used, lr, hyper, gram, gram_index, target, target_index, exponents, weighing, w, slots, steps, algorithm, status))
    if is_staged:
        fence()
    hold((w_out, loss_out, epochs_run, history_w, history_loss, left, left_losses, n_left, batch, room, scratch, staged, cancel, progress))
    return -1 if outcome == NOT_FINITE else n_left[0]
