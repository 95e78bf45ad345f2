"""execute: the fits of a job, cut into chunks, through the backend.

1. Fits with data of their own are compressed and descended in one task, while their data are in the cache. Where data are shared,
   or long, a group of pairs (of an X and a y) is compressed first, by as many tasks as there are, and its fits descend afterwards.
2. Outputs and state are written in the order of computation (FitOrder) into arrays made once; a task owns its slice of them.
3. Non-finite data show in the moments; where there are none, the chunk's data are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .kernels.chunk import ALGORITHMS, AUTOGRAD, COMPLETED, CONVERGED, DIVERGED, INVALID_DATA, MOMENTS, STREAM, Chunk, n_rows
from .kernels.update_rules import UpdateRule
from .plan import MOMENTS_BYTES, PIECE_NS, Plan
from .pool import Control, Progress, Task, run_tasks
from .problem import FitOrder, Problem
from .result import State

Run = Callable[[Iterable[Task]], None]  # runs tasks to their end


class NonFiniteDataError(Exception):
    """Data of some fit are not finite; `fit` looks for the place and tells the user."""


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
    propagate: bool
    start: np.ndarray  # (…, D) float64: w0 and intercept0, leading axes broadcast
    state: State | None
    outputs: Outputs = field(init=False)

    def __post_init__(self) -> None:
        self.outputs = Outputs.empty(self)
        if self.plan.staged:
            self.problem = self.problem.ready()


@dataclass
class Outputs:
    """Results and state of all fits, in the order of computation. Shapes as in kernels/chunk.py, m = all fits."""

    w: np.ndarray
    loss: np.ndarray
    epochs: np.ndarray
    status: np.ndarray
    history_w: np.ndarray
    history_loss: np.ndarray
    rates: np.ndarray | None  # (m,) float64 when they were not given
    state_w: np.ndarray
    slots: np.ndarray
    products: np.ndarray
    steps: np.ndarray
    algorithm: np.ndarray

    @classmethod
    def empty(cls, job: Job) -> Outputs:
        """Room for the results of a job."""
        m, size, dtype = job.order.n_fits, job.problem.n_parameters, job.problem.dtype
        rows = n_rows(job.epochs, job.every)
        state = 8 * size * (1 + len(job.rule.slots)) + 8 * len(job.rule.products)
        needed = m * (rows * (size + 1) * dtype.itemsize + size * dtype.itemsize + state + 32)
        try:
            return cls(
                w=np.empty((m, size), dtype),
                loss=np.empty(m, dtype),
                epochs=np.empty(m, np.int64),
                status=np.empty(m, np.int8),
                history_w=np.empty((m, rows, size), dtype),
                history_loss=np.empty((m, rows), dtype),
                rates=np.empty(m) if job.rates is None else None,
                state_w=np.empty((m, size)),
                slots=np.empty((m, len(job.rule.slots), size)),
                products=np.empty((m, len(job.rule.products))),
                steps=np.empty(m, np.int64),
                algorithm=np.empty(m, np.int8),
            )
        except (MemoryError, ValueError) as error:  # NumPy: ValueError when the size passes 2^63
            raise MemoryError(
                f"the results of {m:,} fits ({rows:,} history rows of {size} parameters each) need {needed / 2**30:,.1f} GiB; "
                "record fewer rows (history=k keeps every k-th epoch) or fit a part of the batch at a time"
            ) from error


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
    """Compile or load the kernels in the calling thread, where Ctrl-C is heard."""
    from .kernels import cpu

    cpu.prepare(job.problem.dtype)


def cut(count: int, size: int, function: Callable[[int, int, np.ndarray], None]) -> Iterator[Task]:
    """function(first, stop, counter) over 0 … count-1 in pieces."""
    for first in range(0, count, size):
        yield partial(function, first, min(first + size, count))


def _make_chunk(job: Job, first: int, stop: int) -> Chunk:
    """Fits first … stop-1, with their start written into the state."""
    problem, order, out = job.problem, job.order, job.outputs
    fits = np.arange(first, stop, dtype=np.int64)
    x_index, y_index = order.index(problem.X.leading, fits), order.index(problem.y.leading, fits)
    x_first, y_first = int(x_index.min()), int(y_index.min())
    part = slice(first, stop)
    if job.state is None:
        out.state_w[part] = order.pick(job.start, fits, 1)
        out.slots[part] = 0.0
        out.products[part] = 1.0
        out.steps[part] = 0
        out.algorithm[part] = job.plan.algorithm
        out.status[part] = COMPLETED
    else:
        out.state_w[part] = order.pick(job.state.w, fits, 1)
        out.slots[part] = order.pick(job.state.slots, fits, 2)
        out.products[part] = order.pick(job.state.products, fits, 1)
        out.steps[part] = order.pick(job.state.epoch, fits)
        out.algorithm[part] = order.pick(job.state.algorithm, fits)
        status = order.pick(job.state.status, fits)
        goes_on = (status != DIVERGED) & ((status != CONVERGED) | (job.tol < 0))
        out.status[part] = np.where(goes_on, COMPLETED, status)
    rates = np.empty(len(fits)) if job.rates is None else order.pick(job.rates, fits)
    return Chunk(
        X=problem.X.take(x_first, int(x_index.max()) + 1),
        y=problem.y.take(y_first, int(y_index.max()) + 1),
        x_index=x_index - x_first,
        y_index=y_index - y_first,
        intercept=problem.intercept,
        rule=job.rule,
        lr=rates[None, :],
        hyper=np.stack([order.pick(values, fits) for values in job.hyper], axis=1),
        epochs=job.epochs,
        reduction=job.reduction,
        tol=job.tol,
        every=job.every,
        w=out.state_w[part],
        slots=out.slots[part],
        products=out.products[part],
        steps=out.steps[part],
        algorithm=out.algorithm[part],
        status=out.status[part],
        w_out=out.w[part],
        loss=out.loss[part],
        epochs_run=out.epochs[part],
        history_w=out.history_w[part],
        history_loss=out.history_loss[part],
    )


def _mark_invalid(job: Job, chunk: Chunk, invalid: np.ndarray) -> None:
    """Fits whose data are not finite: an error, or computed from the samples, as IEEE arithmetic does."""
    if not invalid.any():
        return
    if not job.propagate:
        raise NonFiniteDataError
    chunk.status[invalid] = INVALID_DATA
    if job.plan.backend == "cpu":
        chunk.algorithm[invalid] = STREAM


def _safe_rates(job: Job, eigenvalues: np.ndarray, chunk: Chunk, first: int) -> None:
    """1/(λ_max + weight_decay) of the Hessian of the reduced loss (docs/arithmetic.md, section 5)."""
    names = list(job.rule.hyperparameters)
    decay = chunk.hyper[:, names.index("weight_decay")] if "weight_decay" in names else 0.0
    s = 2.0 if job.reduction == "sum" else 2.0 / job.problem.n_samples
    with np.errstate(all="ignore"):
        curvature = s * eigenvalues + decay
        rates = np.where(curvature == 0.0, 0.0, np.minimum(1.0 / curvature, np.finfo(job.problem.dtype).max))
    chunk.lr = rates[None, :]
    if job.outputs.rates is not None:
        job.outputs.rates[first : first + len(rates)] = rates


def _run_fits(job: Job, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task of fits that have their data to themselves, or of a backend without moments."""
    chunk = _make_chunk(job, first, stop)
    indices = np.arange(stop - first, dtype=np.int64)
    moments = None
    if job.plan.needs_moments or job.rates is None:
        from .kernels import cpu

        moments = cpu.Moments.empty(stop - first, stop - first, job.problem.n_parameters, job.problem.dtype)
        cpu.compress_fits(chunk.X, chunk.y, chunk.x_index, chunk.y_index, chunk.intercept, moments, control.cancel)
        if control.cancel[0]:
            return
        invalid = ~(moments.finite_gram() & moments.finite_target())
    else:
        finite_x, finite_y = np.isfinite(chunk.X).all(axis=(1, 2)), np.isfinite(chunk.y).all(axis=1)
        invalid = ~(finite_x[chunk.x_index] & finite_y[chunk.y_index])
    _mark_invalid(job, chunk, invalid)
    if job.rates is None and moments is not None:
        _safe_rates(job, moments.largest_eigenvalues(0, stop - first, control.cancel), chunk, first)
    _descend(job, chunk, moments, indices, indices, control, counter)


def _descend(
    job: Job, chunk: Chunk, moments: Any, gram_index: np.ndarray, target_index: np.ndarray, control: Control, counter: np.ndarray
) -> None:
    """Hand a chunk to the backend."""
    if job.plan.backend == "cpu":
        from .kernels import cpu

        if moments is None:
            moments = cpu.Moments.empty(0, 0, job.problem.n_parameters, job.problem.dtype)
        cpu.descend(chunk, moments, gram_index, target_index, control.cancel, counter)
    elif job.plan.algorithm == AUTOGRAD:
        from .kernels.reference import torch_autograd

        device = "cuda" if job.plan.backend == "torch-cuda" else "cpu"
        torch_autograd.descend(chunk, control.cancel, counter, device=device)
    else:
        from .kernels.reference import numpy_manual

        numpy_manual.descend(chunk, control.cancel, counter)


def compress_groups(problem: Problem, order: FitOrder, plan: Plan, control: Control, go: Run) -> Iterator[tuple[int, Any, np.ndarray]]:
    """Groups of pairs, all their data compressed: (first pair, moments, (pairs,) int64: which Gram matrix each pair has)."""
    from .kernels import cpu

    before: tuple[int, int, Any] | None = None  # the X items and the moments of the group before
    for pair in range(0, order.n_pairs, plan.pairs_per_group):
        pairs = np.arange(pair, min(pair + plan.pairs_per_group, order.n_pairs), dtype=np.int64)
        x_items = order.index(problem.X.leading, pairs * order.n_cells)
        y_items = order.index(problem.y.leading, pairs * order.n_cells)
        x_first, x_stop = int(x_items.min()), int(x_items.max()) + 1
        own = problem.X.count == order.n_pairs  # every pair has its own X: one read gives both
        known = before is not None and before[:2] == (x_first, x_stop)  # the same X as in the group before
        moments = cpu.Moments.empty(0 if known else x_stop - x_first, len(pairs), problem.n_parameters, problem.dtype)
        if own:
            _compress(problem, x_items, y_items, moments.gram, moments.target, moments.exponents, control, go)
            moments.gram_exponents[:] = moments.exponents
        elif before is not None and known:
            moments.gram, moments.gram_exponents = before[2].gram, before[2].gram_exponents
            _compress(problem, x_items, y_items, moments.gram[:0], moments.target, moments.exponents, control, go)
        else:
            grams = np.arange(x_first, x_stop, dtype=np.int64)
            _compress(problem, grams, np.zeros_like(grams), moments.gram, moments.target[:0], moments.gram_exponents, control, go)
            _compress(problem, x_items, y_items, moments.gram[:0], moments.target, moments.exponents, control, go)
        before = x_first, x_stop, moments
        yield pair, moments, x_items - x_first


def _run_staged(job: Job, control: Control, go: Run) -> None:
    """Groups of pairs: compress all their data, then descend all their fits."""
    order, plan = job.order, job.plan
    for pair, moments, grams in compress_groups(job.problem, order, plan, control, go):
        finite_gram, finite_target = moments.finite_gram(), moments.finite_target()
        eigenvalues = _largest_eigenvalues(moments, job.problem.n_parameters, control, go) if job.rates is None else None

        def descend(
            first: int,
            stop: int,
            counter: np.ndarray,
            pair: int = pair,
            moments: Any = moments,
            grams: np.ndarray = grams,
            finite_gram: np.ndarray = finite_gram,
            finite_target: np.ndarray = finite_target,
            eigenvalues: np.ndarray | None = eigenvalues,
        ) -> None:
            offset = pair * order.n_cells
            chunk = _make_chunk(job, first + offset, stop + offset)
            target_index = np.arange(first, stop, dtype=np.int64) // order.n_cells
            gram_index = grams[target_index]
            _mark_invalid(job, chunk, ~(finite_gram[gram_index] & finite_target[target_index]))
            if eigenvalues is not None:
                _safe_rates(job, eigenvalues[gram_index], chunk, first + offset)
            _descend(job, chunk, moments, gram_index, target_index, control, counter)

        go(cut(len(grams) * order.n_cells, plan.fits_per_task, descend))


def _largest_eigenvalues(moments: Any, size: int, control: Control, go: Callable) -> np.ndarray:
    """λ_max of every Gram record, in parallel."""
    result = np.empty(len(moments.gram))

    def find(first: int, stop: int, counter: np.ndarray) -> None:
        result[first:stop] = moments.largest_eigenvalues(first, stop, control.cancel)

    go(cut(len(result), max(1, int(PIECE_NS / (20 * size**3))), find))
    return result


def _compress(
    problem: Problem,
    x_items: np.ndarray,
    y_items: np.ndarray,
    gram: np.ndarray,
    target: np.ndarray,
    exponents: np.ndarray,
    control: Control,
    go: Run,
) -> None:
    """Records of fits (X item, y item), in parallel over fits and, for long ones, over ranges of samples."""
    from .kernels import cpu

    n, size, count = problem.n_samples, problem.n_parameters, len(x_items)
    X, y = problem.X.take(0, problem.X.count), problem.y.take(0, problem.y.count)
    length = cpu.RANGE
    while -(-n // length) * 8 * (size + 1) * (size + 4) > MOMENTS_BYTES and length < n:
        length *= 2
    starts = np.arange(0, n, length, dtype=np.int64)
    parts = len(starts)
    items_per_task = max(1, int(PIECE_NS / (min(n, length) * (size + 1) * (size + 2) / 2)))
    part_gram, part_target = gram, target
    if parts > 1:
        records = cpu.Moments.empty(count * parts if len(gram) else 0, count * parts if len(target) else 0, size, problem.dtype)
        part_gram, part_target = records.gram, records.target
    part_exponents = exponents if parts == 1 else np.empty((count * parts, size + 1), np.int64)

    def compress(first: int, stop: int, counter: np.ndarray) -> None:
        item, part = np.divmod(np.arange(first, stop, dtype=np.int64), parts)
        here = slice(first, stop)
        begin = starts[part]
        end = np.minimum(begin + length, n)
        cpu.compress_range(
            X,
            y,
            x_items[item],
            y_items[item],
            begin,
            end,
            problem.intercept,
            part_gram[here],
            part_target[here],
            part_exponents[here],
            control.cancel,
        )

    go(cut(count * parts, items_per_task, compress))
    if parts == 1:
        return
    for item in range(count):
        here = slice(item * parts, (item + 1) * parts)
        cpu.join(part_gram[here], part_target[here], part_exponents[here])
        if len(gram):
            gram[item] = part_gram[item * parts]
        if len(target):
            target[item] = part_target[item * parts]
        exponents[item] = part_exponents[item * parts]


def algorithm_name(code: int) -> str:
    """Name of an algorithm code."""
    return ALGORITHMS[code]


__all__ = ["MOMENTS", "Job", "NonFiniteDataError", "Outputs", "algorithm_name", "compress_groups", "cut", "run", "watched"]
