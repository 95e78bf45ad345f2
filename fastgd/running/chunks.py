"""Chunks: what a backend is given."""

from __future__ import annotations

import numpy as np

from ..kernels.chunk import (
    ALGORITHMS,
    COMPLETED,
    CONVERGED,
    DIVERGED,
    INVALID_DATA,
    MOMENTS,
    STREAM,
    TOO_FEW_SAMPLES,
    WRITTEN,
    Chunk,
    Samples,
)
from ..planning.backends import on_device
from ..planning.job import Job
from .groups import Group


def make_chunk(job: Job, group: Group, first: int, stop: int) -> tuple[Chunk, np.ndarray]:
    """Fits first … stop-1 of a group, with their start written into the state; and which pair of the group each belongs to."""
    problem = job.problem
    samples, pairs = group.of_fits(job.order, first, stop)
    chunk = prepared_chunk(job, samples, first, stop)
    if job.state is None and job.plan.auto and problem.may_lose_samples and job.plan.algorithm == MOMENTS:
        chunk.algorithm[samples.n_used <= 2 * problem.n_features] = STREAM
    if group.invalid.any():
        invalid = group.invalid[pairs]
        chunk.status[invalid] = INVALID_DATA
        if job.plan.backend == "cpu" or on_device(job.plan.backend):
            chunk.algorithm[invalid] = STREAM
    chunk.status[samples.n_used < problem.min_samples] = TOO_FEW_SAMPLES
    return chunk, pairs


def prepared_chunk(job: Job, samples: Samples, first: int, stop: int) -> Chunk:
    """Fits first … stop-1, whose samples these are, as if all data were finite; the start is written into the state."""
    order = job.order
    room = job.outputs.room(first, stop)

    def pick(values: np.ndarray, n_last: int = 0) -> np.ndarray:
        return order.pick_range(values, first, stop, n_last)

    room["n_used"][:] = samples.n_used
    if job.state is None:
        room["w"][:] = pick(job.start, 1)
        room["slots"].fill(0.0)
        room["products"].fill(1.0)
        room["steps"].fill(0)
        room["algorithm"].fill(job.plan.algorithm)
        room["status"].fill(COMPLETED)
    else:
        room["w"][:] = pick(job.state.w, 1)
        room["slots"][:] = pick(job.state.slots, 2)
        room["products"][:] = pick(job.state.products, 1)
        room["steps"][:] = pick(job.state.epoch)
        room["algorithm"][:] = pick(job.state.algorithm)
        before = pick(job.state.status)
        goes_on = (before != DIVERGED) & ((before != CONVERGED) | (job.tol < 0))
        room["status"][:] = np.where(goes_on, COMPLETED, before)
    if job.rates is not None:
        room["lr"][:] = pick(job.rates)
    return Chunk(
        samples.X, samples.y, samples.x_index, samples.y_index, samples.weights, samples.weight_index, samples.kept, samples.kept_index,
        samples.n_used,
        intercept=job.problem.intercept,
        rule=job.rule,
        lr=room["lr"][None, :],
        hyper=_side_by_side([pick(values) for values in job.hyper], stop - first),
        epochs=job.epochs,
        reduction=job.reduction,
        tol=job.tol,
        every=job.every,
        **{name: room[name] for name in WRITTEN},
    )  # fmt: skip


def _side_by_side(columns: list[np.ndarray], count: int) -> np.ndarray:
    """(count, columns); one row, repeated, where all fits have the same values."""
    if all(len(column) == 1 for column in columns):
        row = np.array([[column[0] for column in columns]])
        return row if count == 1 else np.broadcast_to(row, (count, len(columns)))
    return np.stack(np.broadcast_arrays(*columns), axis=1)


def safe_rates(chunk: Chunk, curvature: np.ndarray) -> None:
    """1/(λ_max + weight_decay) of the Hessian of the reduced loss (docs/arithmetic.md, section 5)."""
    names = list(chunk.rule.hyperparameters)
    decay = chunk.hyper[:, names.index("weight_decay")] if "weight_decay" in names else 0.0
    with np.errstate(all="ignore"):
        curvature = curvature + decay
        chunk.lr[0] = np.where(curvature == 0.0, 0.0, np.minimum(1.0 / curvature, np.finfo(chunk.w_out.dtype).max))


def finish_chunk(job: Job, first: int, stop: int, chunk: Chunk) -> None:
    """What fits of too few samples have, and what the kernels did not write into the user's arrays themselves."""
    few = chunk.status == TOO_FEW_SAMPLES
    if few.any():
        for values in (chunk.w_out, chunk.loss, chunk.history_w, chunk.history_loss, chunk.w, chunk.slots, chunk.products):
            values[few] = np.nan
        chunk.epochs_run[few] = 0
    job.outputs.keep(first, stop, chunk)


def algorithm_name(code: int) -> str:
    """Name of an algorithm code."""
    return ALGORITHMS[code]
