"""solve(): the minimiser that descent converges to, without descending.

1. The road of each fit depends on its own data alone. From the moments (kernels/cpu/solving.py) where n_samples ≥ D and n_features ≤ 256
   and their condition allows; else LAPACK (lapack.py), on the samples.
2. Moments first, for all fits; those that they cannot tell are collected and go to LAPACK, the fits of one X and one penalty together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..kernels.chunk import COMPLETED, DIVERGED, INVALID_DATA, LSTSQ, MOMENTS, TOO_FEW_SAMPLES
from ..planning.backends import MOST_FEATURES
from ..planning.plan import Plan, make_plan
from ..results.building import split_parameters
from ..results.result import FitResult, State, Status
from .chunks import algorithm_name
from .groups import Group
from .moments import compress_groups, read_group
from .pool import Control, Run, Task, cut, watched
from .svd import Factored, factor


@dataclass
class _Job:
    """What every task needs to know, and the results in the order of computation."""

    problem: Problem
    order: FitOrder
    plan: Plan
    decay: np.ndarray  # weight_decay, leading axes broadcast
    reduction: str
    w: np.ndarray = field(init=False)  # (fits, D)
    loss: np.ndarray = field(init=False)
    condition: np.ndarray = field(init=False)
    rank: np.ndarray = field(init=False)
    algorithm: np.ndarray = field(init=False)
    status: np.ndarray = field(init=False)
    n_used: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        m, size = self.order.n_fits, self.problem.n_parameters
        self.w, self.loss, self.condition = np.empty((m, size)), np.empty(m), np.empty(m)
        self.rank, self.status = np.full(m, size), np.full(m, COMPLETED, np.int8)
        self.algorithm, self.n_used = np.full(m, self.plan.algorithm, np.int8), np.full(m, self.problem.n_samples)

    def sort_out(self, fits: np.ndarray, group: Group, pairs: np.ndarray) -> np.ndarray:
        """Note what became of the samples of these fits, of these pairs of the group; (fits,) bool: which of them can be solved."""
        n_used = self.n_used[fits] = group.samples.n_used[pairs]
        for fate, hit in ((INVALID_DATA, group.invalid[pairs]), (TOO_FEW_SAMPLES, n_used < self.problem.min_samples)):
            self.w[fits[hit]], self.loss[fits[hit]], self.condition[fits[hit]] = math.nan, math.nan, math.nan
            self.rank[fits[hit]], self.status[fits[hit]] = 0, fate
        return self.status[fits] == COMPLETED


def _plan(problem: Problem, order: FitOrder, threads: int | None) -> Plan:
    n, size = problem.n_samples, problem.n_parameters
    if n < size:
        code, why = LSTSQ, f"lstsq: n_samples {n} < n_parameters {size}"
    elif problem.n_features > MOST_FEATURES:
        code, why = LSTSQ, f"lstsq: n_features {problem.n_features} > {MOST_FEATURES}"
    else:
        code, why = MOMENTS, "moments: the data are read once; fits that need more than the moments hold are solved by lstsq"
    name = "moments" if code == MOMENTS else "stream"  # costs of a fit: so many epochs, or reading the data so often
    plan = make_plan(problem, order, epochs=4 * size, algorithm=name, backend="cpu", threads=threads, safe_rate=False)
    return replace(plan, algorithm=code, explanation=f"cpu: the data are in the computer's memory; {why}")


def _run(job: _Job, progress: object) -> None:
    from ..kernels.cpu import compile_ahead

    order, plan = job.order, job.plan
    with watched(plan, progress, order.n_fits, f"{order.n_fits:,} fits") as (control, go):
        if plan.algorithm == MOMENTS:
            compile_ahead.compile_solve(job.problem.dtype)
        if plan.algorithm == MOMENTS and plan.staged:
            _solve_groups(job, control, go)
        elif plan.algorithm == MOMENTS:
            go(cut(order.n_fits, plan.fits_per_task, partial(_solve_fits, job, control)))
        go(_left_to_lapack(job, control))


def _solve_fits(job: _Job, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """Compress and solve fits that have their data to themselves."""
    group = read_group(job.problem, job.order, first, stop, control, compress=True)
    if control.cancel[0]:
        return
    fits = np.arange(first, stop, dtype=np.int64)
    _solve_part(job, control, group, (fits, fits - first), 0, len(fits), counter)


def _solve_groups(job: _Job, control: Control, go: Run) -> None:
    """Fits that share data, or are long: compress a group, then solve its fits, those of one Gram matrix together."""
    order, plan = job.order, job.plan
    for group in compress_groups(job.problem, order, plan, control, go):
        pairs = np.arange(len(group.invalid) * order.n_cells, dtype=np.int64) // order.n_cells
        fits = np.arange(len(pairs), dtype=np.int64) + group.first * order.n_cells
        sequence = np.lexsort((order.pick(job.decay, fits), group.gram_index[pairs]))
        go(cut(len(fits), plan.fits_per_task, partial(_solve_part, job, control, group, (fits[sequence], pairs[sequence]))))
        del group  # before the next one is made


def _solve_part(
    job: _Job, control: Control, group: Group, places: tuple[np.ndarray, np.ndarray], first: int, stop: int, counter: np.ndarray
) -> None:
    """Solve fits of a group: (fits, their pairs in the group)."""
    from ..kernels import cpu

    fits, pairs = (values[first:stop] for values in places)
    solvable = job.sort_out(fits, group, pairs)
    solvable &= job.n_used[fits] >= job.problem.n_parameters  # the others keep LSTSQ
    job.algorithm[fits[~solvable]] = LSTSQ
    fits, pairs = fits[solvable], pairs[solvable]
    cpu.solve(
        group.moments, group.gram_index[pairs], pairs, job.order.pick(job.decay, fits), fits, job.reduction == "sum",
        job.w, job.loss, job.condition, job.algorithm, control.cancel, counter,
    )  # fmt: skip


def _left_to_lapack(job: _Job, control: Control) -> Iterator[Task]:
    """One task for the fits of one Gram matrix and one weight_decay; where samples may be missing, of one pair."""
    problem, order = job.problem, job.order
    fits = np.flatnonzero((job.algorithm == LSTSQ) & (job.status == COMPLETED))
    items = fits // order.n_cells if problem.may_lose_samples else order.index(problem.gram_leading, fits)
    decay = order.pick(job.decay, fits)
    sequence = np.lexsort((decay, items))
    fits, items, decay = fits[sequence], items[sequence], decay[sequence]
    changes = np.flatnonzero((np.diff(items) != 0) | (np.diff(decay) != 0)) + 1
    for here in np.split(np.arange(len(fits)), changes) if len(fits) else ():
        yield partial(_solve_by_lapack, job, control, fits[here], float(decay[here[0]]))


def _solve_by_lapack(job: _Job, control: Control, fits: np.ndarray, decay: float, counter: np.ndarray) -> None:
    """Fits of one X, with the same samples and weights."""
    problem, order = job.problem, job.order
    factored: Factored | None = None
    design = np.empty((0, 0))
    for fit in fits.tolist():
        pair = fit // order.n_cells
        group = read_group(problem, order, pair, pair + 1, control, compress=False)
        if control.cancel[0]:
            return
        if not job.sort_out(np.array([fit]), group, np.zeros(1, np.int64))[0]:
            continue
        X, y, weights = group.samples.samples(0)
        y = y.astype(np.float64)
        total, root, power = float(len(y)), np.ones(()), 0
        if weights is not None:
            power = 2 * (math.frexp(weights.max())[1] // 2)  # an exact scale: only proportions count
            weights = np.ldexp(weights.astype(np.float64), -power)
            total, root = float(weights.sum()), np.sqrt(weights)
        if factored is None:
            design = X.astype(np.float64, order="C")
            if problem.intercept:
                design = np.concatenate([design, np.ones((len(y), 1))], axis=1)
            penalty = math.sqrt(0.5 * decay) * (math.sqrt(total) if job.reduction == "mean" else math.ldexp(1.0, -power // 2))
            factored = factor(design * root[..., None], penalty)
        w = factored.solve(y * root)
        with np.errstate(all="ignore"):
            residual = design @ w - y
            job.w[fit], job.loss[fit] = w, (residual if weights is None else weights * residual) @ residual / total
        job.rank[fit], job.condition[fit] = factored.rank, factored.condition
        counter[0] += 1


def _result(job: _Job) -> FitResult:
    """Results in the order of computation -> the user's shapes and dtype."""
    problem, order, dtype = job.problem, job.order, job.problem.dtype
    with np.errstate(all="ignore"):
        parameters, loss = job.w.astype(dtype), job.loss.astype(dtype)
    finite = np.isfinite(parameters).all(axis=1) & np.isfinite(loss)
    job.status[~finite & (job.status == COMPLETED)] = DIVERGED
    few = np.minimum(job.n_used, problem.n_parameters)
    solved = (job.status != INVALID_DATA) & (job.status != TOO_FEW_SAMPLES)
    penalised = order.pick(job.decay, np.arange(order.n_fits)) > 0.0
    deficient = (job.rank < np.where(penalised, problem.n_parameters, few)) & solved
    ill = (job.condition > 1.0 / math.sqrt(np.finfo(dtype).eps / 2.0)) | deficient
    by_lapack = int(((job.algorithm == LSTSQ) & solved).sum())
    explanation = job.plan.explanation
    if by_lapack and job.plan.algorithm == MOMENTS:
        explanation += f" ({by_lapack:,} of {order.n_fits:,})"
    wrap = problem.library.wrap
    w, intercept = split_parameters(problem, order, parameters)
    status = order.restore(job.status)
    epochs = np.zeros(order.shape, np.int64)
    state = State(
        w=order.restore(job.w),
        slots=np.zeros((*order.shape, 0, problem.n_parameters)),
        products=np.zeros((*order.shape, 0)),
        epoch=epochs.copy(),
        algorithm=order.restore(job.algorithm),
        status=status,
        optimizer="solve",
        intercept=problem.intercept,
        dtype=str(dtype),
    )
    return FitResult(
        w=w,
        loss=wrap(order.restore(loss)[()]),
        epochs=wrap(epochs[()]),
        status=wrap(status) if order.shape else Status(int(status)),
        n_used=wrap(order.restore(job.n_used)[()]),
        lr=wrap(np.full(order.shape, math.nan)[()]),
        backend="cpu",
        algorithm=algorithm_name(job.plan.algorithm),
        explanation=explanation,
        state=state,
        intercept=intercept,
        rank=wrap(order.restore(job.rank)[()]),
        condition=wrap(order.restore(job.condition)[()]),
        ill_conditioned=wrap(order.restore(ill)[()]),
        _one_feature=problem.one_feature,
    )
