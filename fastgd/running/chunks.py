"""Chunks: how they are made for the backends, and what happens to them afterwards.

`make_chunk` writes the start of some fits into their slices of the buffers, `set_fates` marks fits
that are skipped or take another algorithm, `finish_chunk` copies results to the caller's arrays.
"""

from __future__ import annotations

import numpy as np

from ..kernels.chunk import INVALID_DATA, MOMENTS, STANDARD, STREAM, TOO_FEW_SAMPLES, WRITTEN, Batches, Chunk, Samples
from ..planning.job import FitJob
from ..planning.stopping import Validation
from .groups import Group, spread
from .standardizing import enter_standard

NOTHING = dict.fromkeys((*STANDARD, "momenta", "batch_loss"), np.empty((0, 0)))  # what most chunks lack: made once


def make_chunk(job: FitJob, samples: Samples, first: int, stop: int) -> Chunk:
    """The chunk of fits first … stop-1, which have these samples; all data are taken as finite."""
    buffers = job.buffers
    slices = buffers.slices(first, stop)
    slices["n_used"][:] = samples.n_used
    if not buffers.begun:  # else it was written as they were allocated
        for name, (values, n_last) in job.begin.items():
            if values.size:  # a rule may have no slots, and no products
                buffers.put(slices, name, values, first, stop, n_last)
    if job.rates is not None:
        buffers.put(slices, "lr", job.rates, first, stop)
    names = WRITTEN + (STANDARD if job.standardize else ()) + (("initial_excess", "excess") if job.measured else ())
    written = {**NOTHING, **{name: slices[name] for name in names}}
    if job.measured:  # least_values.py fills these; packs do of fits that they hand over; the CUDA kernels have their own
        count = 0 if job.plan.backend.takes_device_data else stop - first
        written["penalty"], written["least"], written["allowance"] = np.empty(count), np.empty(count), np.empty(count)
    chunk = Chunk(
        samples.X, samples.y, samples.x_index, samples.y_index, samples.weights, samples.weight_index, samples.kept, samples.kept_index,
        slices["n_used"],
        intercept=job.problem.intercept,
        rule=job.rule,
        lr=slices["lr"][None, :],
        hyper=_hyper_of(job, first, stop),
        epochs=job.epochs,
        reduction=job.reduction,
        tol=job.tol,
        every=job.every,
        free_intercept=job.free_intercept,
        **written,
    )  # fmt: skip
    chunk.flat = samples.flat
    if job.batches is not None:
        own = job.batches
        seeds = np.array(np.broadcast_to(job.order.pick_range(own.seed, first, stop), (stop - first,)))  # here, wherever results are
        chunk.batches = Batches(own.size, own.shuffle, own.drop_last, own.per_step, seeds, slices["passes"])
        chunk.batch_loss = slices["batch_loss"]
    if job.rates is not None and not job.plan.backend.takes_device_data:  # whose kernels ask for it part by part
        follow_schedule(job, chunk, first, stop)
    return chunk


def follow_schedule(job: FitJob, chunk: Chunk, first: int, stop: int) -> None:
    """Give the chunk of fits first … stop-1 the rate of every epoch, if there is a schedule.

    A descent in blocks asks for those of each block (blocks.py).
    """
    if job.schedule is not None and job.stopping is None:
        chunk.lr, chunk.momenta = scheduled_rates(job, first, stop, chunk.lr[0], counted(chunk))


def counted(chunk: Chunk) -> np.ndarray:
    """(m,): what a schedule counts, of the descent before: updates, or epochs of mini-batches."""
    return chunk.steps if chunk.batches is None or chunk.batches.rate_per_step else chunk.batches.passes


def scheduled_rates(job: FitJob, first: int, stop: int, lr: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_rates, m): rates of fits first … stop-1, which begin with lr (m,) after some steps.

    And their momenta, as in a Chunk.
    """
    return rates_of_fits(job, np.arange(first, stop, dtype=np.int64), lr, steps, job.n_rates)


def rates_of_fits(job: FitJob, fits: np.ndarray, lr: np.ndarray, steps: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, m): the rates of m fits, which begin with lr (m,) after some steps; momenta."""
    assert job.schedule is not None
    which = job.order.pick(job.schedule.which, fits)
    return job.schedule.table(which, lr, steps, count), job.schedule.momenta(which, steps, count)


def chunk_of_group(job: FitJob, group: Group, first: int, stop: int) -> tuple[Chunk, np.ndarray]:
    """(chunk, pairs) of fits first … stop-1; pairs (m,): number of each fit's pair in the group."""
    samples, pairs = group.of_fits(job.order, first, stop)
    chunk = make_chunk(job, samples, first, stop)
    set_fates(job, chunk, spread(group.invalid, pairs))
    if group.standard is not None:
        enter_standard(job, chunk, group.standard, group.gram_index[pairs])
    return chunk, pairs


def set_fates(job: FitJob | Validation, chunk: Chunk, invalid: np.ndarray) -> None:
    """Mark fits that have too few samples or invalid data, or so few samples that they stream.

    invalid: (m,) bool, whether data of the fit are not finite.
    """
    problem, plan = job.problem, job.plan
    if problem.given is not None:
        chunk.algorithm[:] = MOMENTS  # also of a state that diverged on its samples
    if plan.auto and problem.may_lose_samples and plan.algorithm == MOMENTS:
        chunk.algorithm[chunk.n_used <= 2 * problem.n_features] = STREAM
    if invalid.any():
        chunk.status[invalid] = INVALID_DATA
        if STREAM in plan.backend.codes and problem.given is None:
            chunk.algorithm[invalid] = STREAM
    chunk.status[chunk.n_used < problem.min_samples] = TOO_FEW_SAMPLES


def set_safe_rates(chunk: Chunk, curvature: np.ndarray) -> None:
    """Set the rates 1/(λ_max + weight_decay) (docs/arithmetic.md, section 5).

    curvature: (m,) λ_max of the Hessian of the mean or summed loss.
    """
    names = list(chunk.rule.hyperparameters)
    decay = chunk.hyper[:, names.index("weight_decay")] if "weight_decay" in names else 0.0
    with np.errstate(all="ignore"):
        curvature = curvature + decay
        most = np.finfo(chunk.w_out.dtype).max
        chunk.lr[0] = np.where(curvature == 0.0, 0.0, np.minimum(1.0 / curvature, most))


def finish_chunk(job: FitJob, first: int, stop: int, chunk: Chunk) -> None:
    """Set fits with too few samples to NaN, then copy results into the caller's own arrays."""
    few = chunk.status == TOO_FEW_SAMPLES
    if few.any():
        spoiled = [chunk.w_out, chunk.loss, chunk.history_w, chunk.history_loss, chunk.w, chunk.slots, chunk.products]
        spoiled += [chunk.batch_loss] if job.batches is not None else []
        for values in spoiled + ([chunk.center, chunk.scale] if job.standardize else []):
            job.buffers.spoil(values, few, np.nan)
        if job.measured:
            job.buffers.spoil(chunk.excess, few, np.nan)
        job.buffers.spoil(chunk.epochs_run, few, 0)
    job.buffers.scatter(first, stop, chunk)


def _hyper_of(job: FitJob, first: int, stop: int) -> np.ndarray:
    """(stop - first, n_values) hyperparameters; one repeated row where all fits have the same."""
    count, row = stop - first, job.hyper_row
    if row is not None:
        return row if count == 1 else np.broadcast_to(row, (count, row.shape[1]))
    columns = [job.order.pick_range(values, first, stop) for values in job.hyper]
    return np.stack(np.broadcast_arrays(*columns), axis=1)
