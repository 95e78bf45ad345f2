"""The runner of `solve`: minimisers in closed form.

1. The algorithm of a fit depends only on its own data: moments where n_samples ≥ D, n_features ≤
   256 and their condition allows; else the singular value decomposition of the samples
   (minimisers.py).
2. A task has the data of its fits at hand, and takes all of them to their end.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np

from ..kernels.chunk import COMPLETED, DIVERGED, INVALID_DATA, LSTSQ, MOMENTS, STANDARD, TOO_FEW_SAMPLES
from ..kernels.cpu import compile_ahead
from ..planning.job import SolveJob
from .centring import Centred, center_group
from .groups import Group
from .minimisers import LastMatrices, Minimisers, minimise, most_condition
from .moments import at_once, compress_groups, read_group
from .pool import Control, Run, cut
from .standardizing import standardize_group, write_unscaled

FOUND = ("w", "loss64", "condition", "rank", "algorithm")  # the arrays of Minimisers, by their names in the buffers


def run(job: SolveJob, control: Control, go: Run) -> None:
    """Solve all fits of a job."""
    order, plan = job.order, job.plan
    last = LastMatrices()
    _begin(job)
    parts = ({"solve"} if plan.algorithm == MOMENTS else set()) | ({"standardize"} if job.standardize else set())
    parts |= {"find_kept"} if job.problem.may_lose_samples or not plan.needs_moments else set()
    compile_ahead.compile_parts(job.problem.dtype, parts)
    if plan.algorithm == MOMENTS and plan.staged:
        _solve_groups(job, last, control, go)
    else:
        go(cut(order.n_pairs, max(1, plan.fits_per_task // order.n_cells), partial(_solve_pairs, job, last, control)))
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
    if group.standard is not None:
        for name in STANDARD:
            arrays[name][fits] = getattr(group.standard, name)[group.gram_index[pairs]]
    too_few = n_used < job.problem.min_samples
    for fate, hit in ((INVALID_DATA, group.invalid[pairs]), (TOO_FEW_SAMPLES, too_few)):
        if hit.any():
            for name in ("w", "loss64", "condition", *(STANDARD if fate == TOO_FEW_SAMPLES and job.standardize else ())):
                arrays[name][fits[hit]] = math.nan
            arrays["rank"][fits[hit]], arrays["status"][fits[hit]] = 0, fate
    return arrays["status"][fits] == COMPLETED


def _solve_pairs(job: SolveJob, last: LastMatrices, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task: read the data of pairs first … stop-1, and solve their fits."""
    group = read_group(job.problem, job.order, first, stop, control, compress=job.plan.needs_moments)
    if control.cancel[0]:
        return
    if job.standardize:
        standardize_group(job, group, control, at_once)
    centred = _centred(job, group)
    if job.plan.algorithm == LSTSQ:
        group.moments = None
    cells = job.order.n_cells
    fits = np.arange(first * cells, stop * cells, dtype=np.int64)
    _solve_part(job, last, control, group, centred, (fits, fits // cells - first), 0, len(fits), counter)


def _solve_groups(job: SolveJob, last: LastMatrices, control: Control, go: Run) -> None:
    """Group after group: compress its data, then solve its fits, ordered by Gram matrix."""
    order, plan = job.order, job.plan
    for group in compress_groups(job.problem, order, plan, control, go):
        if job.standardize:
            standardize_group(job, group, control, go)
        centred = _centred(job, group)
        pairs = np.arange(len(group.invalid) * order.n_cells, dtype=np.int64) // order.n_cells
        fits = np.arange(len(pairs), dtype=np.int64) + group.first * order.n_cells
        sequence = np.lexsort((order.pick(job.decay, fits), group.gram_index[pairs]))
        go(cut(len(fits), plan.fits_per_task, partial(_solve_part, job, last, control, group, centred, (fits[sequence], pairs[sequence]))))
        del group, centred  # free their memory before the next group is made


def _solve_part(
    job: SolveJob, last: LastMatrices, control: Control, group: Group, centred: Centred | None, places: tuple[np.ndarray, np.ndarray],
    first: int, stop: int, counter: np.ndarray,
) -> None:  # fmt: skip
    """One task: solve fits of a group.

    centred: the group without its intercept, where that is how they are solved. places: (fits,
    numbers of their pairs in the group), of which first … stop-1 are solved.
    """
    arrays = job.buffers.arrays
    fits, pairs = (values[first:stop] for values in places)
    solvable = _sort_out(job, fits, group, pairs)
    if not solvable.all():
        arrays["algorithm"][fits[~solvable]] = LSTSQ
        fits, pairs = fits[solvable], pairs[solvable]
    # where samples may be left out, fits of one X may have other matrices
    shared = None if job.problem.may_lose_samples else (last, job.order.index(job.problem.gram_leading, fits))
    decay = job.order.pick(job.decay, fits)
    if centred is not None:
        _solve_centred(job, centred, pairs, decay, fits, control, counter, shared)
        return
    found = Minimisers(*(arrays[name] for name in FOUND))
    minimise(job.problem, group, pairs, decay, job.of_the_sum, found, fits, control, counter, shared)


def _centred(job: SolveJob, group: Group) -> Centred | None:
    """The group without its intercept, where a penalty leaves the intercept alone; else None."""
    return center_group(job.problem, group, job.plan.algorithm == MOMENTS) if job.ridge is not None and job.problem.intercept else None


def _solve_centred(
    job: SolveJob, centred: Centred, pairs: np.ndarray, decay: np.ndarray, fits: np.ndarray, control: Control, counter: np.ndarray,
    shared: tuple[LastMatrices, np.ndarray] | None,
) -> None:  # fmt: skip
    """Solve fits without their intercept, which follows from w."""
    arrays, d = job.buffers.arrays, job.problem.n_features
    found, order = Minimisers.empty(len(fits), d), np.arange(len(fits), dtype=np.int64)
    minimise(centred.problem, centred.group, pairs, decay, job.of_the_sum, found, order, control, counter, shared)
    for name in FOUND[1:]:
        arrays[name][fits] = getattr(found, name.removesuffix("64"))
    arrays["rank"][fits] += 1
    w = np.concatenate([found.w, centred.middle[pairs, None]], axis=1)
    with np.errstate(all="ignore"):
        for j in range(d):
            w[:, d] -= found.w[:, j] * centred.mean[pairs, j]
    arrays["w"][fits] = w


def _finish(job: SolveJob) -> None:
    """Round results to the data's dtype, set ill_conditioned, and count the fits solved by SVD."""
    problem, order, arrays = job.problem, job.order, job.buffers.arrays
    rank, condition, status = arrays["rank"], arrays["condition"], arrays["status"]
    with np.errstate(all="ignore"):
        if job.standardize:
            write_unscaled(arrays["w"], arrays["center"], arrays["scale"], problem.intercept, arrays["w_out"])
        else:
            arrays["w_out"][:] = arrays["w"]
        arrays["loss"][:] = arrays["loss64"]
    finite = np.isfinite(arrays["w_out"]).all(axis=1) & np.isfinite(arrays["loss"])
    status[~finite & (status == COMPLETED)] = DIVERGED
    solved = (status != INVALID_DATA) & (status != TOO_FEW_SAMPLES)
    arrays["ill_conditioned"][:] = (condition > most_condition(problem.dtype)) | (rank < problem.n_parameters)
    by_svd = int(((arrays["algorithm"] == LSTSQ) & solved).sum())
    if by_svd and job.plan.algorithm == MOMENTS:
        job.plan = replace(job.plan, explanation=f"{job.plan.explanation} ({by_svd:,} of {order.n_fits:,})")
