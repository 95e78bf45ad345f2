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
from ..kernels.cpu import compile_ahead, unscale
from ..planning.solve_job import SolveJob
from .centring import Centred, center_group
from .groups import Group, gather_group, indices, spread, take_scratch
from .long_fits import parts_of_moments
from .minimisers import LastMatrices, Minimisers, Shared, minimise, most_condition
from .moments import at_once, complete_group, compress_groups
from .pool import Control, Run, cut
from .standardizing import standardize_group
from .statistics import begin, note_group

FOUND = ("w", "loss64", "condition", "rank", "algorithm")  # the arrays of Minimisers, by their names in the buffers


def run(job: SolveJob, control: Control, go: Run) -> None:
    """Solve all fits of a job."""
    order, plan = job.order, job.plan
    last, n_fits, cells = LastMatrices(order, job.problem.gram_leading), order.n_fits, order.n_cells
    job.settled = control.store is None and not job.standardize
    if not job.recalled:
        for first, stop in [(0, n_fits)] if control.store is None else control.store.missing(0, n_fits):
            _begin(job, slice(first, stop))
        _compile(job)
    if _notes(job):
        begin(job.statistics)
    if plan.algorithm == MOMENTS and plan.staged:
        _solve_groups(job, last, control, go)
    else:
        cutting = cut if control.store is None else control.store.cut
        go(cutting(n_fits, max(1, plan.fits_per_task // cells) * cells, partial(_solve_fits, job, last, control)))
    _finish(job, control)


def _notes(job: SolveJob) -> bool:
    """Whether statistics are made from the moments: of all fits, none of which a checkpoint has."""
    return job.statistics is not None and job.part is None


def _compile(job: SolveJob) -> None:
    """Compile or load the kernels that the job needs, before the threads start."""
    parts = ({"solve"} if job.plan.algorithm == MOMENTS else set()) | ({"standardize"} if job.standardize else set())
    parts |= parts_of_moments(job.problem) if parts or _notes(job) else set()
    parts |= {"find_kept"} if job.problem.may_lose_samples or not job.plan.needs_moments else set()
    compile_ahead.compile_parts(job.problem.dtype, parts | ({"invert"} if _notes(job) else set()))


def _begin(job: SolveJob, fits: slice) -> None:
    """Fill the results of some fits with their values before the data are read."""
    for name, (value, _) in job.begin.items():
        job.buffers.arrays[name][fits] = value


def _sort_out(job: SolveJob, fits: np.ndarray, group: Group, pairs: np.ndarray) -> np.ndarray | None:
    """Write n_used of some fits, and mark those with invalid data or too few samples.

    pairs: (m,) the number of each fit's pair in the group. Returns (m,) bool: which fits can be
    solved; None: all.
    """
    arrays = job.buffers.arrays
    if group.standard is not None:
        for name in STANDARD:
            arrays[name][fits] = getattr(group.standard, name)[group.gram_index[pairs]]
    elif group.is_whole and job.problem.n_samples >= job.problem.min_samples:
        return None
    n_used = arrays["n_used"][fits] = group.samples.n_used[pairs]
    too_few = n_used < job.problem.min_samples
    for fate, hit in ((INVALID_DATA, group.invalid[pairs]), (TOO_FEW_SAMPLES, too_few)):
        if hit.any():
            for name in ("w", "loss64", "condition", *(STANDARD if fate == TOO_FEW_SAMPLES and job.standardize else ())):
                arrays[name][fits[hit]] = math.nan
            arrays["rank"][fits[hit]], arrays["status"][fits[hit]] = 0, fate
    solvable = arrays["status"][fits] == COMPLETED
    return None if solvable.all() else solvable


def _solve_fits(job: SolveJob, last: LastMatrices, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task: read the data of fits first … stop-1, and solve them."""
    cells = job.order.n_cells
    of_moments = job.plan.needs_moments
    group = gather_group(job.problem, job.order, first // cells, (stop - 1) // cells + 1, for_moments=of_moments)
    scratch = take_scratch(job) if of_moments and cells == 1 else None
    complete_group(job.problem, group, control, compress=of_moments, scratch=scratch)
    if control.cancel[0]:
        return
    if _notes(job):
        note_group(job.statistics, group, control, at_once)
    if job.standardize:
        standardize_group(job, group, control, at_once)
    centred = _centred(job, group)
    if job.plan.algorithm == LSTSQ:
        group.moments = None
    fits = pairs = indices(stop - first)[0]
    if first:
        fits = fits + first
    if cells > 1:
        pairs = fits // cells - first // cells
    _solve_part(job, last, control, group, centred, (fits, pairs), 0, stop - first, counter)
    if scratch is not None:
        job.scratch.append(scratch)


def _solve_groups(job: SolveJob, last: LastMatrices, control: Control, go: Run) -> None:
    """Group after group: compress its data, then solve its fits, ordered by Gram matrix."""
    order, plan, store, cells = job.order, job.plan, control.store, job.order.n_cells
    needed = None if store is None else lambda first, stop: bool(store.missing(first * cells, stop * cells))
    for group in compress_groups(job.problem, order, plan, control, go, needed):
        if _notes(job) and not control.cancel[0]:
            note_group(job.statistics, group, control, go)
        if job.standardize:
            standardize_group(job, group, control, go)
        centred, begin, count = _centred(job, group), group.first * cells, len(group.invalid) * cells
        if store is None:
            places = _by_matrix(job, group, begin, begin + count)
            go(cut(count, plan.fits_per_task, partial(_solve_part, job, last, control, group, centred, places)))
        else:  # ranges of fits are stored, so a task has one
            go(store.cut(count, plan.fits_per_task, partial(_solve_range, job, last, control, group, centred), begin))
        del group, centred  # free their memory before the next group is made


def _by_matrix(job: SolveJob, group: Group, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """(fits first … stop-1 ordered by Gram matrix and decay, the number of each one's pair)."""
    fits = np.arange(first, stop, dtype=np.int64)
    pairs = fits // job.order.n_cells - group.first
    sequence = np.lexsort((_decay_of(job, fits), group.gram_index[pairs]))
    return fits[sequence], pairs[sequence]


def _solve_range(
    job: SolveJob, last: LastMatrices, control: Control, group: Group, centred: Centred | None, first: int, stop: int, counter: np.ndarray
) -> None:
    """One task: solve fits first … stop-1 of a group."""
    _solve_part(job, last, control, group, centred, _by_matrix(job, group, first, stop), 0, stop - first, counter)


def _solve_part(
    job: SolveJob, last: LastMatrices, control: Control, group: Group, centred: Centred | None, places: tuple[np.ndarray, np.ndarray],
    first: int, stop: int, counter: np.ndarray,
) -> None:  # fmt: skip
    """One task: solve fits of a group.

    centred: the group without its intercept, where that is how they are solved. places: (fits,
    numbers of their pairs in the group), of which first … stop-1 are solved.
    """
    arrays = job.buffers.arrays
    fits, pairs = places[0][first:stop], places[1][first:stop]
    solvable = _sort_out(job, fits, group, pairs)
    if solvable is not None:
        arrays["algorithm"][fits[~solvable]] = LSTSQ
        fits, pairs = fits[solvable], pairs[solvable]
    # where samples may be left out, fits of one X may have other matrices
    shared = None if job.problem.may_lose_samples else (last, fits)
    decay = _decay_of(job, fits)
    if centred is not None:
        _solve_centred(job, centred, pairs, decay, fits, control, counter, shared)
        settled = False
    else:
        found = Minimisers(*[arrays[name] for name in FOUND])
        settled = minimise(job.problem, group, pairs, decay, job.of_the_sum, found, fits, control, counter, shared)
    if not (settled and solvable is None):
        job.settled = False


def _decay_of(job: SolveJob, fits: np.ndarray) -> np.ndarray:
    """(m,): weight_decay of these fits."""
    return spread(job.decay.reshape(1), fits) if job.decay.size == 1 else job.order.pick(job.decay, fits)


def _centred(job: SolveJob, group: Group) -> Centred | None:
    """The group without its intercept, where a penalty leaves the intercept alone; else None."""
    return center_group(job.problem, group, job.plan.algorithm == MOMENTS) if job.ridge is not None and job.problem.intercept else None


def _solve_centred(
    job: SolveJob, centred: Centred, pairs: np.ndarray, decay: np.ndarray, fits: np.ndarray, control: Control, counter: np.ndarray,
    shared: Shared | None,
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


def _finish(job: SolveJob, control: Control) -> None:
    """Round results to the data's dtype, set ill_conditioned, and count the fits solved by SVD."""
    problem, order, arrays = job.problem, job.order, job.buffers.arrays
    if job.standardize:
        w, center, deviation, w_out = (arrays[name] for name in ("w", *STANDARD, "w_out"))
        unscale(w[:, None], center, deviation, problem.intercept, w_out[:, None], control.cancel)
    else:
        arrays["w_out"][...] = arrays["w"]
    arrays["loss"][...] = arrays["loss64"]
    if job.settled:
        return
    rank, condition, status = arrays["rank"], arrays["condition"], arrays["status"]
    finite = np.isfinite(arrays["w_out"])
    if not (finite.all() and np.isfinite(arrays["loss"]).all()):  # of a few numbers in a row `all` is slow
        status[~(finite.all(axis=1) & np.isfinite(arrays["loss"])) & (status == COMPLETED)] = DIVERGED
    arrays["ill_conditioned"][:] = (condition > most_condition(problem.dtype)) | (rank < problem.n_parameters)
    by_svd = arrays["algorithm"] == LSTSQ
    if job.plan.algorithm == MOMENTS and by_svd.any():
        count = np.count_nonzero(by_svd & (status != INVALID_DATA) & (status != TOO_FEW_SAMPLES))
        if count:
            job.plan = replace(job.plan, explanation=f"{job.plan.explanation} ({count:,} of {order.n_fits:,})")
