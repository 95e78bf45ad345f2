"""The runner of `solve`: minimisers in closed form.

1. The algorithm of a fit depends only on its own data: moments (kernels/cpu/solving.py) where
   n_samples ≥ D, n_features ≤ 256 and their condition allows; else the singular value decomposition
   of the samples (svd.py).
2. All fits are tried from moments first. Fits for which these are not accurate enough are then
   solved by the decomposition, which fits of one X and one penalty share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ..kernels import cpu
from ..kernels.chunk import COMPLETED, DIVERGED, INVALID_DATA, LSTSQ, MOMENTS, TOO_FEW_SAMPLES
from ..kernels.cpu import compile_ahead
from ..planning.job import SolveJob
from .groups import Group
from .moments import compress_groups, read_group
from .pool import Control, Run, Task, cut
from .svd import Factored, factor


def run(job: SolveJob, control: Control, go: Run) -> None:
    """Solve all fits of a job."""
    order, plan = job.order, job.plan
    _begin(job)
    if plan.algorithm == MOMENTS:
        compile_ahead.compile_solve(job.problem.dtype)
    if plan.algorithm == MOMENTS and plan.staged:
        _solve_groups(job, control, go)
    elif plan.algorithm == MOMENTS:
        go(cut(order.n_fits, plan.fits_per_task, partial(_solve_fits, job, control)))
    go(_svd_tasks(job, control))
    _finish(job)


def _begin(job: SolveJob) -> None:
    """Fill the results with their values before the data are read."""
    arrays, problem = job.buffers.arrays, job.problem
    begin = {
        "rank": problem.n_parameters,
        "status": COMPLETED,
        "algorithm": job.plan.algorithm,
        "n_used": problem.n_samples,
        "epochs_run": 0,
        "steps": 0,
        "lr": math.nan,
        "initial_excess": math.nan,
    }
    for name, value in begin.items():
        arrays[name].fill(value)


def _sort_out(job: SolveJob, fits: np.ndarray, group: Group, pairs: np.ndarray) -> np.ndarray:
    """Write n_used of some fits, and mark those with invalid data or too few samples.

    pairs: (m,) the number of each fit's pair in the group. Returns (m,) bool: which fits can be
    solved.
    """
    arrays = job.buffers.arrays
    n_used = arrays["n_used"][fits] = group.samples.n_used[pairs]
    too_few = n_used < job.problem.min_samples
    for fate, hit in ((INVALID_DATA, group.invalid[pairs]), (TOO_FEW_SAMPLES, too_few)):
        for name in ("w", "loss64", "condition"):
            arrays[name][fits[hit]] = math.nan
        arrays["rank"][fits[hit]], arrays["status"][fits[hit]] = 0, fate
    return arrays["status"][fits] == COMPLETED


def _solve_fits(job: SolveJob, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task: compress and solve fits first … stop-1, each with data of its own."""
    group = read_group(job.problem, job.order, first, stop, control, compress=True)
    if control.cancel[0]:
        return
    fits = np.arange(first, stop, dtype=np.int64)
    _solve_part(job, control, group, (fits, fits - first), 0, len(fits), counter)


def _solve_groups(job: SolveJob, control: Control, go: Run) -> None:
    """Group after group: compress its data, then solve its fits, ordered by Gram matrix."""
    order, plan = job.order, job.plan
    for group in compress_groups(job.problem, order, plan, control, go):
        pairs = np.arange(len(group.invalid) * order.n_cells, dtype=np.int64) // order.n_cells
        fits = np.arange(len(pairs), dtype=np.int64) + group.first * order.n_cells
        sequence = np.lexsort((order.pick(job.decay, fits), group.gram_index[pairs]))
        go(cut(len(fits), plan.fits_per_task, partial(_solve_part, job, control, group, (fits[sequence], pairs[sequence]))))
        del group  # free its memory before the next group is made


def _solve_part(
    job: SolveJob, control: Control, group: Group, places: tuple[np.ndarray, np.ndarray], first: int, stop: int, counter: np.ndarray
) -> None:
    """One task: solve fits of a group.

    places: (fits, numbers of their pairs in the group), of which first … stop-1 are solved.
    """
    arrays = job.buffers.arrays
    fits, pairs = (values[first:stop] for values in places)
    solvable = _sort_out(job, fits, group, pairs)
    solvable &= arrays["n_used"][fits] >= job.problem.n_parameters  # fits with fewer go to the SVD
    arrays["algorithm"][fits[~solvable]] = LSTSQ
    fits, pairs = fits[solvable], pairs[solvable]
    cpu.solve(
        group.moments, group.gram_index[pairs], pairs, job.order.pick(job.decay, fits), fits, job.reduction == "sum",
        *(arrays[name] for name in ("w", "loss64", "condition", "algorithm")), control.cancel, counter,
    )  # fmt: skip


def _svd_tasks(job: SolveJob, control: Control) -> Iterator[Task]:
    """Tasks for the fits that the moments did not solve.

    A task has the fits of one Gram matrix and weight_decay; where samples may be left out, of one
    pair.
    """
    problem, order, arrays = job.problem, job.order, job.buffers.arrays
    fits = np.flatnonzero((arrays["algorithm"] == LSTSQ) & (arrays["status"] == COMPLETED))
    items = fits // order.n_cells if problem.may_lose_samples else order.index(problem.gram_leading, fits)
    decay = order.pick(job.decay, fits)
    sequence = np.lexsort((decay, items))
    fits, items, decay = fits[sequence], items[sequence], decay[sequence]
    changes = np.flatnonzero((np.diff(items) != 0) | (np.diff(decay) != 0)) + 1
    for here in np.split(np.arange(len(fits)), changes) if len(fits) else ():
        yield partial(_solve_by_svd, job, control, fits[here], float(decay[here[0]]))


def _solve_by_svd(job: SolveJob, control: Control, fits: np.ndarray, decay: float, counter: np.ndarray) -> None:
    """One task: solve fits that have one X, with the same samples and weights, by the SVD."""
    problem, order, arrays = job.problem, job.order, job.buffers.arrays
    factored: Factored | None = None
    design = np.empty((0, 0))
    for fit in fits.tolist():
        pair = fit // order.n_cells
        group = read_group(problem, order, pair, pair + 1, control, compress=False)
        if control.cancel[0]:
            return
        if not _sort_out(job, np.array([fit]), group, np.zeros(1, np.int64))[0]:
            continue
        X, y, weights = group.samples.samples(0)
        y = y.astype(np.float64)
        total, root, power = float(len(y)), np.ones(()), 0
        if weights is not None:
            # a power of 4, so that the scaling is exact and √weights is scaled exactly, too
            power = 2 * (math.frexp(weights.max())[1] // 2)
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
            arrays["w"][fit], arrays["loss64"][fit] = w, (residual if weights is None else weights * residual) @ residual / total
        arrays["rank"][fit], arrays["condition"][fit] = factored.rank, factored.condition
        counter[0] += 1


def _finish(job: SolveJob) -> None:
    """Round results to the data's dtype, set ill_conditioned, and count the fits solved by SVD."""
    problem, order, arrays = job.problem, job.order, job.buffers.arrays
    rank, condition, status = arrays["rank"], arrays["condition"], arrays["status"]
    with np.errstate(all="ignore"):
        arrays["w_out"][:] = arrays["w"]
        arrays["loss"][:] = arrays["loss64"]
    finite = np.isfinite(arrays["w_out"]).all(axis=1) & np.isfinite(arrays["loss"])
    status[~finite & (status == COMPLETED)] = DIVERGED
    solved = (status != INVALID_DATA) & (status != TOO_FEW_SAMPLES)
    deficient = (rank < problem.n_parameters) & solved
    half_of_the_digits = 1.0 / math.sqrt(np.finfo(problem.dtype).eps / 2.0)
    arrays["ill_conditioned"][:] = (condition > half_of_the_digits) | deficient
    by_svd = int(((arrays["algorithm"] == LSTSQ) & solved).sum())
    if by_svd and job.plan.algorithm == MOMENTS:
        job.plan = replace(job.plan, explanation=f"{job.plan.explanation} ({by_svd:,} of {order.n_fits:,})")
