"""gpu_fits: the fits of a job through the CUDA kernels.

1. Data in the computer's memory go there in tasks, results come back into the job's NumPy arrays. Data on a GPU stay there, all fits are
   one task, and results are made there.
2. Nobody looks at the data here: kernels find what is missing (`cuda.Handling`), and only what they found is judged.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from ..kernels import cuda
from ..kernels.chunk import COMPLETED, CONVERGED, DIVERGED, INVALID_DATA, MOMENTS, STREAM, TOO_FEW_SAMPLES, Chunk
from ..kernels.cuda.splitting import Handling
from ..planning.job import Job
from ..results.device_buffers import GpuOutputs
from .chunks import finish_chunk, make_chunk
from .groups import gather_group
from .moments import NegativeWeightError, NonFiniteDataError
from .pool import Control, cut, watched


def run_on_gpu(job: Job, progress: object) -> None:
    """Run all fits of a job into `job.outputs`."""
    plan, order, outputs = job.plan, job.order, job.outputs
    device = outputs.device if isinstance(outputs, GpuOutputs) else cuda.DEVICES[plan.backend]()
    with watched(plan, progress, order.n_fits * max(job.epochs, 1), f"{order.n_fits:,} fits") as (control, go):
        device.tell = partial(setattr, control, "note")  # kernels are compiled when they are first used
        if isinstance(outputs, GpuOutputs):
            go([partial(_run_resident, job, outputs, control)])
        else:
            go(cut(order.n_fits, plan.fits_per_task, partial(_run_task, job, device, control)))


def _handling(job: Job) -> Handling:
    return Handling(partial(_refuse, job), job.problem.nan_policy == "omit", job.rates is None)


def _refuse(job: Job, part: Chunk, n_used: np.ndarray, invalid: np.ndarray, negative: np.ndarray) -> None:
    """What becomes of fits whose data are not as they should be."""
    problem = job.problem
    if negative.any():
        raise NegativeWeightError
    if problem.nan_policy == "raise" and invalid.any():
        raise NonFiniteDataError
    if problem.may_lose_samples:
        part.n_used[:] = n_used
        if job.state is None and job.plan.auto and job.plan.algorithm == MOMENTS:
            part.algorithm[n_used <= 2 * problem.n_features] = STREAM
    if invalid.any():
        part.status[invalid] = INVALID_DATA
        part.algorithm[invalid] = STREAM
    if problem.may_lose_samples or problem.min_samples > problem.n_samples:
        part.status[n_used < problem.min_samples] = TOO_FEW_SAMPLES


def _run_task(job: Job, device: Any, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """Fits first … stop-1, with data in the computer's memory."""
    n_cells = job.order.n_cells
    group = gather_group(job.problem, job.order, first // n_cells, (stop - 1) // n_cells + 1, contiguous=True)
    chunk, _ = make_chunk(job, group, first, stop)
    cuda.descend(chunk, control.cancel, counter, device, _handling(job))
    job.outputs.arrays["n_used"][first:stop] = chunk.n_used
    finish_chunk(job, first, stop, chunk)


def _run_resident(job: Job, outputs: GpuOutputs, control: Control, counter: np.ndarray) -> None:
    """All fits, with data on the device."""
    chunk = _chunk_of_all(job, outputs)
    limit = None if job.memory_limit is None else max(0, job.memory_limit - outputs.bytes_made())
    cuda.descend(chunk, control.cancel, counter, outputs.device, _handling(job), limit)
    few = chunk.status == TOO_FEW_SAMPLES
    if few.any():
        outputs.spoil(("w_out", "loss", "history_w", "history_loss", "w", "slots", "products"), few, math.nan)
        outputs.spoil(("epochs_run",), few, 0)
    outputs.finish()


def _hyper(job: Job, fits: np.ndarray) -> np.ndarray:
    """(m, n_values): of stride 0 where all fits have the same."""
    if all(values.size == 1 for values in job.hyper):
        row = np.array([values.reshape(-1)[0] for values in job.hyper], dtype=np.float64)
        return np.broadcast_to(row, (len(fits), len(row)))
    return np.stack([job.order.pick(values, fits) for values in job.hyper], axis=1)


def _chunk_of_all(job: Job, outputs: GpuOutputs) -> Chunk:
    """One chunk of all fits, with their start written into the state."""
    problem, order, state = job.problem, job.order, job.state
    fits = np.arange(order.n_fits, dtype=np.int64)
    room = outputs.room(0, order.n_fits)
    room["n_used"][:] = problem.n_samples
    algorithm, status = room["algorithm"], room["status"]
    if state is None:
        outputs.set("w", job.start)
        outputs.device.fill(room["slots"], 0)
        outputs.set("products", np.ones(room["products"].shape[1:]))
        outputs.device.fill(room["steps"], 0)
        algorithm[:], status[:] = job.plan.algorithm, COMPLETED
    else:
        for name, values in (("w", state.w), ("slots", state.slots), ("products", state.products), ("steps", state.epoch)):
            outputs.set(name, values)
        algorithm[:] = order.pick(state.algorithm, fits)
        before = order.pick(state.status, fits)
        status[:] = np.where((before != DIVERGED) & ((before != CONVERGED) | (job.tol < 0)), COMPLETED, before)
    if job.rates is not None:
        outputs.set("lr", job.rates)
    pairs = fits // order.n_cells * order.n_cells if order.n_cells > 1 else fits
    X, y = problem.X, problem.y
    none = np.empty((0, problem.n_samples), problem.dtype)
    weights = none if problem.weights is None else problem.weights.flat()
    of_weights = np.zeros(0, np.int64) if problem.weights is None else order.index(problem.weights.leading, pairs)
    return Chunk(
        X.flat(), y.flat(), order.index(X.leading, pairs), order.index(y.leading, pairs), weights,
        of_weights if len(of_weights) else np.broadcast_to(np.int64(0), (order.n_fits,)),
        np.empty((0, problem.n_samples), np.int32), np.broadcast_to(np.int64(-1), (order.n_fits,)), room["n_used"],
        intercept=problem.intercept, rule=job.rule, lr=room["lr"][None, :], hyper=_hyper(job, fits), epochs=job.epochs,
        reduction=job.reduction, tol=job.tol, every=job.every,
        w=room["w"], slots=room["slots"], products=room["products"], steps=room["steps"], algorithm=algorithm, status=status,
        w_out=room["w_out"], loss=room["loss"], epochs_run=room["epochs_run"],
        history_w=room["history_w"], history_loss=room["history_loss"],
    )  # fmt: skip
