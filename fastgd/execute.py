"""execute: the fits of a job, cut into chunks, through the backend.

1. Fits with data of their own are compressed and descended in one task, while their data are in the cache. Where data are shared,
   or long, a group of pairs (of an X and a y) is compressed first, and its fits descend afterwards: compressing.py.
2. Outputs and state are in the order of computation (FitOrder); a task owns its slice of them: outputs.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from .compressing import Group, NegativeWeightError, NonFiniteDataError, Run, compress_groups, cut, gather_in_order, read_group
from .kernels.chunk import (
    ALGORITHMS,
    AUTOGRAD,
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
from .kernels.update_rules import UpdateRule
from .outputs import Outputs
from .plan import PIECE_NS, Plan, on_device
from .pool import Control, Progress, run_tasks
from .problem import FitOrder, Problem
from .result import State


@dataclass
class Job:
    """A fit, checked: what every task needs to know."""

    problem: Problem
    order: FitOrder
    plan: Plan
    rule: UpdateRule
    rates: np.ndarray | None  # learning rates, leading axes broadcast; None: the safe rate of each fit
    hyper: tuple[np.ndarray, ...]  # and derived values, in the order of the kernels' table
    epochs: int
    reduction: str
    tol: float
    every: int
    start: np.ndarray  # (…, D) float64: w0 and intercept0, leading axes broadcast
    state: State | None
    outputs: Outputs
    memory_limit: int | None = None  # bytes

    rooms: list[Any] = field(default_factory=list)  # moments of a task's fits that no task has at the moment

    def take_moments(self, count: int) -> Any:
        """Room for so many moments, used again and again: its first touch would take as long as the smaller ones of them."""
        from .kernels import cpu

        try:
            return self.rooms.pop()
        except IndexError:
            return cpu.Moments.empty(count, count, self.problem.n_parameters, self.problem.dtype)

    @cached_property
    def numbers(self) -> np.ndarray:
        """0, 1, …: as many as a task has fits."""
        return np.arange(self.plan.fits_per_task)


def run(job: Job, progress: object) -> None:
    """Run all fits of a job into `job.outputs`."""
    plan = job.plan
    with watched(plan, progress, job.order.n_fits * max(job.epochs, 1), f"{job.order.n_fits:,} fits") as (control, go):
        if plan.backend == "cpu" or job.rates is None:
            _compile(job)
        if plan.staged:
            _run_staged(job, control, go)
        else:
            go(cut(job.order.n_fits, plan.fits_per_task, partial(_run_fits, job, control)))


@contextmanager
def watched(plan: Plan, progress: object, total: int, description: str) -> Iterator[tuple[Control, Run]]:
    """A pool as planned: (control, a function that runs tasks). The progress is told while they run."""
    control = Control(plan.threads)
    watcher = Progress(progress, total, description, control)
    complete = False
    try:
        yield control, partial(run_tasks, workers=plan.threads, inline=plan.inline, control=control, watch=watcher.watch)
        complete = True
    finally:
        watcher.close(complete)


def _compile(job: Job) -> None:
    """Compile or load the kernels in the calling thread, where Ctrl-C is heard: those that the job is sure to need."""
    from .kernels import cpu

    problem, plan, parts = job.problem, job.plan, set()
    if plan.needs_moments or job.rates is None:
        parts.add("moments")
    if plan.backend == "cpu":
        side_by_side = plan.algorithm == MOMENTS and cpu.runs_in_batches(job.rule, problem.n_parameters)
        plain = all(not np.any(values) for values in job.hyper)
        fewest = cpu.fewest_in_batches(problem.dtype, problem.n_parameters, job.tol, plain)
        parts |= {"batches"} if side_by_side else set()
        parts |= {"alone"} if not side_by_side or job.order.n_fits < fewest else set()
    cpu.prepare(problem.dtype, frozenset(parts))


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


def _run_fits(job: Job, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task of fits that have their data to themselves, or of a backend without moments."""
    n_cells, plan = job.order.n_cells, job.plan
    if _descend_lines(job, control, first, stop, counter):
        return
    compress = plan.needs_moments or job.rates is None
    room = job.take_moments(plan.fits_per_task) if compress and n_cells == 1 else None
    group = read_group(
        job.problem, job.order, first // n_cells, (stop - 1) // n_cells + 1, control, compress=compress, contiguous=plan.backend != "cpu",
        room=room,
    )  # fmt: skip
    if control.cancel[0]:
        return
    eigenvalues = None
    if job.rates is None and group.moments is not None:
        eigenvalues = group.moments.largest_eigenvalues(0, len(group.moments.gram), control.cancel)
    _descend(job, group, eigenvalues, first, stop, control, counter)
    if room is not None:
        job.rooms.append(room)


def _descend_lines(job: Job, control: Control, first: int, stop: int, counter: np.ndarray) -> bool:
    """Data of one feature, where they allow it: moments and epochs in one go. False: nothing was done, or some number is not finite."""
    problem, plan = job.problem, job.plan
    if problem.n_features > 1 or plan.backend != "cpu" or plan.algorithm != MOMENTS or job.rates is None or job.state is not None:
        return False
    from .kernels import cpu

    if problem.n_samples < problem.min_samples or not cpu.runs_in_batches(job.rule, problem.n_parameters):
        return False
    samples = gather_in_order(problem, job.order, first, stop, job.numbers)
    if samples is None or not cpu.are_lines(samples):
        return False
    chunk = prepared_chunk(job, samples, first, stop)
    if not cpu.descend_lines(chunk, control.cancel, counter):
        return False
    finish_chunk(job, first, stop, chunk)
    return True


def _descend(job: Job, group: Group, eigenvalues: np.ndarray | None, first: int, stop: int, control: Control, counter: np.ndarray) -> None:
    """Hand fits of a group to the backend."""
    chunk, pairs = make_chunk(job, group, first, stop)
    gram_index = pairs if group.gram_index is None else group.gram_index[pairs]
    if eigenvalues is not None:
        safe_rates(chunk, group.moments.curvature(gram_index, eigenvalues, job.reduction == "sum"))
    if job.plan.backend == "cpu":
        from .kernels import cpu

        moments = group.moments or cpu.Moments.empty(0, 0, job.problem.n_parameters, job.problem.dtype)
        cpu.descend(chunk, moments, gram_index, pairs, control.cancel, counter)
    elif job.plan.algorithm == AUTOGRAD:
        from .kernels.reference import torch_autograd

        device = "cuda" if job.plan.backend == "torch-cuda" else "cpu"
        torch_autograd.descend(chunk, control.cancel, counter, device=device)
    else:
        from .kernels.reference import numpy_manual

        numpy_manual.descend(chunk, control.cancel, counter)
    finish_chunk(job, first, stop, chunk)


def finish_chunk(job: Job, first: int, stop: int, chunk: Chunk) -> None:
    """What fits of too few samples have, and what the kernels did not write into the user's arrays themselves."""
    few = chunk.status == TOO_FEW_SAMPLES
    if few.any():
        for values in (chunk.w_out, chunk.loss, chunk.history_w, chunk.history_loss, chunk.w, chunk.slots, chunk.products):
            values[few] = np.nan
        chunk.epochs_run[few] = 0
    job.outputs.keep(first, stop, chunk)


def _run_staged(job: Job, control: Control, go: Run) -> None:
    """Groups of pairs: compress all their data, then descend all their fits."""
    n_cells = job.order.n_cells
    for group in compress_groups(job.problem, job.order, job.plan, control, go):
        eigenvalues = _largest_eigenvalues(group.moments, job.problem.n_parameters, control, go) if job.rates is None else None

        def descend(
            first: int,
            stop: int,
            counter: np.ndarray,
            group: Group = group,
            eigenvalues: Any = eigenvalues,
        ) -> None:
            offset = group.first * n_cells
            _descend(job, group, eigenvalues, first + offset, stop + offset, control, counter)

        go(cut(len(group.invalid) * n_cells, job.plan.fits_per_task, descend))
        del group, descend  # before the next one is made


def _largest_eigenvalues(moments: Any, size: int, control: Control, go: Run) -> np.ndarray:
    """λ_max of every Gram record, in parallel."""
    result = np.empty(len(moments.gram))

    def find(first: int, stop: int, counter: np.ndarray) -> None:
        result[first:stop] = moments.largest_eigenvalues(first, stop, control.cancel)

    go(cut(len(result), max(1, int(PIECE_NS / (20 * size**3))), find))
    return result


def algorithm_name(code: int) -> str:
    """Name of an algorithm code."""
    return ALGORITHMS[code]


__all__ = [
    "MOMENTS", "Job", "NegativeWeightError", "NonFiniteDataError", "algorithm_name", "finish_chunk", "make_chunk", "prepared_chunk", "run",
    "safe_rates", "watched",
]  # fmt: skip
