"""The runner of the CPU kernels: the fits of a job, cut into tasks.

1. Fits with data of their own are compressed and descended in one task, while their data are in the
   cache. Where data are shared, or a fit has more than 65,536 samples (planning/plan.py), a group
   of pairs (of an X and a y) is compressed first, and its fits descend afterwards.
2. The buffers are in the order of computation (FitOrder); each task writes its own slice.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..kernels import cpu
from ..kernels.chunk import MOMENTS, MOST_PACKED, Chunk
from ..kernels.cpu import compile_ahead
from ..planning.job import FitJob
from ..planning.plan import PACK, PIECE_NS
from .blocks import descend_chunk
from .chunks import chunk_of_group, finish_chunk, follow_schedule, make_chunk, set_safe_rates
from .explaining import explain, explain_later, looked_at, note
from .groups import Group, gather_group, spread, take_scratch
from .least_values import find_least_values
from .long_fits import parts_of_moments
from .moments import at_once, complete_group, compress_groups
from .pool import Control, Run, cut
from .standardizing import standardize_group, unscale_results
from .validating import Validator, compiled_parts


def run(job: FitJob, control: Control, go: Run) -> None:
    """Run all fits of a job."""
    cutting = cut if control.store is None else control.store.cut
    if not job.recalled:
        _compile(job, cuts_anew=control.store is not None and control.store.goes_on)
    validator = None if job.stopping is None else Validator(job, control, go)
    if job.plan.staged:
        _run_staged(job, control, go, validator)
    else:
        go(cutting(job.order.n_fits, job.plan.fits_per_task, partial(_run_fits, job, control, validator)))
    explain_later(job)


def _compile(job: FitJob, cuts_anew: bool) -> None:
    """Compile or load the kernels that the job certainly needs.

    It is done before the threads start, because Ctrl-C interrupts only the calling thread.
    cuts_anew: the tasks are not those of the plan.
    """
    problem, plan, parts = job.problem, job.plan, set()
    if plan.needs_moments:
        parts |= parts_of_moments(problem)
    in_packs = job.batches is None and plan.algorithm == MOMENTS and cpu.runs_in_packs(problem.n_parameters)
    plain = _is_plain(job)
    smallest = cpu.smallest_pack(problem.dtype, problem.n_parameters, job.tol, plain)
    fill_a_pack = job.order.n_fits >= smallest or problem.n_features == 1  # whose packs can be smaller
    parts |= {"packs" if plain else "rule_packs"} if in_packs and fill_a_pack else set()
    parts |= (
        {"batches"} if job.batches is not None else {"fit_by_fit"} if not in_packs or cuts_anew or _leaves_some(job, smallest) else set()
    )
    parts |= {"rates"} if job.rates is None else set()
    if plan.algorithm == MOMENTS and problem.n_parameters <= MOST_PACKED:
        parts |= {"least"} if job.measured and parts & {"fit_by_fit", "batches"} else set()
    elif plan.algorithm == MOMENTS:
        parts |= {"solve"} if job.least_needed else set()
    parts |= {"find_kept"} if problem.may_lose_samples or not plan.needs_moments else set()
    parts |= {"standardize"} if job.standardize else set()
    if job.stopping is not None:  # parts of a chunk may be few fits
        parts |= {"fit_by_fit", *compiled_parts(job.stopping.validation)}
    compile_ahead.compile_parts(problem.dtype, parts)


def _is_plain(job: FitJob) -> bool:
    """Whether the fits are plain SGD, asked once for a call and those like it."""
    if not job.plain:
        job.plain.append(cpu.is_plain(job.rule, job.hyper))
    return job.plain[0] and not (job.schedule is not None and job.schedule.moves_momentum)


def _leaves_some(job: FitJob, smallest: int) -> bool:
    """Whether some task has fewer fits than a pack, or leaves as few when its packs are full."""
    n_fits, per_task = job.order.n_fits, job.plan.fits_per_task
    if job.problem.n_features == 1:  # whose packs can be smaller
        return n_fits < smallest
    per_group = min(job.plan.pairs_per_group * job.order.n_cells, n_fits) if job.plan.staged else n_fits
    of_groups = per_group, n_fits % per_group
    of_tasks = [fits for group in of_groups for fits in (min(per_task, group), group % per_task)]
    return any(0 < fits % PACK < smallest for fits in of_tasks)


def _run_fits(job: FitJob, control: Control, validator: Validator | None, first: int, stop: int, counter: np.ndarray) -> None:
    """One task: fits first … stop-1, each with data of its own or without need of moments."""
    problem, n_cells, compress = job.problem, job.order.n_cells, job.plan.needs_moments
    of_moments = job.plan.algorithm == MOMENTS
    group = gather_group(problem, job.order, first // n_cells, (stop - 1) // n_cells + 1, for_moments=of_moments)
    if group.in_order and _run_single_feature(job, group, control, first, stop, counter):
        return
    scratch = take_scratch(job) if compress and n_cells == 1 else None
    complete_group(problem, group, control, compress=compress, scratch=scratch)
    if control.cancel[0]:
        return
    if job.standardize:
        standardize_group(job, group, control, at_once)
    eigenvalues = None
    if job.rates is None:
        eigenvalues = group.moments.largest_eigenvalues(0, len(group.moments.gram), control.cancel)
    _descend(job, group, eigenvalues, first, stop, control, counter, validator)
    explain(job, group, first, stop)
    if scratch is not None:
        job.scratch.append(scratch)


def _run_single_feature(job: FitJob, group: Group, control: Control, first: int, stop: int, counter: np.ndarray) -> bool:
    """Compress and descend in one kernel, for fits of a single feature.

    Returns False, with nothing done, where that kernel does not apply or some data are not finite.
    """
    problem, plan, samples = job.problem, job.plan, group.samples
    makes_more_of_moments = job.rates is None or job.standardize or job.batches is not None
    begins_elsewhere = job.state is not None or job.stopping is not None
    if plan.algorithm != MOMENTS or makes_more_of_moments or begins_elsewhere or problem.n_samples < problem.min_samples:
        return False
    if not cpu.runs_single_feature(samples):
        return False
    chunk, noted = make_chunk(job, samples, first, stop), looked_at(job, first, stop)
    # a copy, too: for an array that is read-only, as `noted` is, the kernel would be compiled anew
    grams = cpu.descend_single_feature(chunk, job.least_needed, control.cancel, counter, _is_plain(job), noted - first)
    if grams is None:
        return False
    job.buffers.scatter(first, stop, chunk)  # no fit has too few samples
    if len(noted):
        note(job, (noted, grams, None, problem.n_samples))
    return True


def _descend(
    job: FitJob, group: Group, eigenvalues: np.ndarray | None, first: int, stop: int, control: Control, counter: np.ndarray,
    validator: Validator | None = None,
) -> None:  # fmt: skip
    """Run all epochs of fits first … stop-1 of a group.

    eigenvalues: λ_max of each Gram record, where rates are the safe rates.
    """
    chunk, pairs = chunk_of_group(job, group, first, stop)
    gram_index = pairs if group.gram_index is None else spread(group.gram_index, pairs)
    if eigenvalues is not None:
        set_safe_rates(chunk, group.moments.curvature(gram_index, eigenvalues, job.reduction == "sum"))
        follow_schedule(job, chunk, first, stop)
    moments = group.moments or cpu.no_records(job.problem.n_parameters, job.problem.dtype)
    plain = _is_plain(job)

    def descend(part: Chunk, places: np.ndarray | slice, counter: np.ndarray) -> None:
        complete = partial(find_least_values, job, part, group, pairs[places], control)
        if job.batches is not None:
            cpu.descend_batches(part, moments, gram_index[places], pairs[places], control.cancel, counter, complete)
        else:
            cpu.descend(part, moments, gram_index[places], pairs[places], control.cancel, counter, job.least_needed, complete, plain)
        if job.standardize:
            unscale_results(part, control.cancel)

    descend_chunk(job, chunk, first, validator, descend, control, counter)
    finish_chunk(job, first, stop, chunk)


def _run_staged(job: FitJob, control: Control, go: Run, validator: Validator | None) -> None:
    """Group after group: compress the data of its pairs, then descend its fits."""
    n_cells, store = job.order.n_cells, control.store
    cutting = cut if store is None else store.cut
    needed = None if store is None else lambda first, stop: bool(store.missing(first * n_cells, stop * n_cells))
    for group in compress_groups(job.problem, job.order, job.plan, control, go, needed):
        if job.standardize:
            standardize_group(job, group, control, go)
        eigenvalues = _largest_eigenvalues(group.moments, job.problem.n_parameters, control, go) if job.rates is None else None

        def descend(first: int, stop: int, counter: np.ndarray, group: Group = group, eigenvalues: Any = eigenvalues) -> None:
            _descend(job, group, eigenvalues, first, stop, control, counter, validator)
            if job.part is not None:  # it stores what is kept of a task with its fits
                explain(job, group, first, stop)

        first, n_fits = group.first * n_cells, len(group.invalid) * n_cells
        go(cutting(n_fits, job.plan.fits_per_task, descend, first))
        if job.part is None:
            explain(job, group, first, first + n_fits)
        del group, descend  # free its memory before the next group is made


def _largest_eigenvalues(moments: Any, size: int, control: Control, go: Run) -> np.ndarray:
    """(n_gram,): λ_max of every Gram record, computed in parallel."""
    result = np.empty(len(moments.gram))

    def find(first: int, stop: int, counter: np.ndarray) -> None:
        result[first:stop] = moments.largest_eigenvalues(first, stop, control.cancel)

    go(cut(len(result), max(1, int(PIECE_NS / (20 * size**3))), find))
    return result
