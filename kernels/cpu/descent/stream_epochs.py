"""Epochs of plain SGD on samples, in a loop of their own (docs/arithmetic.md, 7, 8, 10).

What surrounds an epoch in fit_by_fit.py takes 120 ns, here 20 (benchmarks/NOTES.md, Special paths).
"""

from __future__ import annotations

import math

from ..simd.addresses import count_at
from ..simd.compiling import part
from ..simd.lanes import fma
from ..simd.scalars import get, get_own, put, raised, rounded
from .evaluate import add_stream
from .objective import target_of

POLL = 64
HANDED_OVER, LAST, STOPPED = range(3)  # why the epochs ended: fit_by_fit.py goes on, all are run, converged


@part
def stream_epochs(
    tile, stride, rows, d, intercept, w, total, factor, lr, lr_step, span, stopping, recording, lanes, sums, cancel, progress
):  # fmt: skip
    """Run epochs from span[0] on: (epoch, row, loss, F(w_0) − F*, why they ended).

    tile, w, lanes, sums are addresses of numbers in the data's type; lr of float64, the rate of the
    next epoch lr_step further on. span: (first epoch, last one); stopping: (tol, F*, ρ, F(w_0) − F*
    or NaN); recording: (every, epochs of the call, rows so far, history_w, history_loss). `w`
    becomes that of the returned epoch, whose update is not made. An epoch in which w or the loss is
    not finite is handed over: nothing of it is recorded.
    """
    epoch, last = span
    tol, least, allowance, initial = stopping
    every, epochs, row, history_w, history_loss = recording
    goal = target_of(least, allowance, initial, tol)
    size = d + intercept
    reported = epoch
    while True:
        add_stream(tile, stride, rows, d, intercept, w, factor, lanes, sums)
        loss = get_own(sums, size) / total
        fine = math.isfinite(loss)
        for j in range(size):
            fine = fine and math.isfinite(get_own(w, j))
        handed_over = not fine or raised(cancel)
        if epoch - reported >= POLL or handed_over:
            put(progress, 0, count_at(progress, 0) + epoch - reported)
            reported = epoch
        if handed_over:
            return epoch, row, loss, initial, HANDED_OVER
        if every > 0 and (epoch % every == 0 or epoch == epochs):
            for j in range(size):
                put(history_w, row * size + j, get_own(w, j))
            put(history_loss, row, loss)
            row += 1
        if epoch == 0 and math.isnan(initial):
            initial = float(loss) - least  # there is no penalty
            goal = target_of(least, allowance, initial, tol)
        if epoch >= 1 and float(loss) <= goal:
            put(progress, 0, count_at(progress, 0) + epoch - reported)
            return epoch, row, loss, initial, STOPPED
        if epoch == last:
            put(progress, 0, count_at(progress, 0) + epoch - reported)
            return epoch, row, loss, initial, LAST
        rate = -get(lr, epoch * lr_step)
        own_rate = rounded(tile, rate)
        for j in range(size):
            put(w, j, fma(own_rate, get_own(sums, j), get_own(w, j)))
        epoch += 1
