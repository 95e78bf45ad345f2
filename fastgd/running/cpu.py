"""execute: the fits of a job, cut into chunks, through the backend.

1. Fits with data of their own are compressed and descended in one task, while their data are in the cache. Where data are shared,
   or long, a group of pairs (of an X and a y) is compressed first, and its fits descend afterwards: compressing.py.
2. Outputs and state are in the order of computation (FitOrder); a task owns its slice of them: outputs.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.chunk import AUTOGRAD, MOMENTS
from ..planning.job import Job
from ..planning.plan import PIECE_NS
from .chunks import finish_chunk, make_chunk, prepared_chunk, safe_rates
from .groups import Group, gather_in_order
from .moments import compress_groups, read_group
from .pool import Control, Run, cut


def _compile(job: Job) -> None:
    """Compile or load the kernels in the calling thread, where Ctrl-C is heard: those that the job is sure to need."""
    from ..kernels import cpu
    from ..kernels.cpu import compile_ahead

    problem, plan, parts = job.problem, job.plan, set()
    if plan.needs_moments or job.rates is None:
        parts.add("moments")
    if plan.backend == "cpu":
        in_packs = plan.algorithm == MOMENTS and cpu.runs_in_packs(job.rule, problem.n_parameters)
        plain = all(not np.any(values) for values in job.hyper)
        smallest = cpu.smallest_pack(problem.dtype, problem.n_parameters, job.tol, plain)
        parts |= {"packs"} if in_packs else set()
        parts |= {"fit_by_fit"} if not in_packs or job.order.n_fits < smallest else set()
    compile_ahead.compile_fit(problem.dtype, frozenset(parts))


def _run_fits(job: Job, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task of fits that have their data to themselves, or of a backend without moments."""
    n_cells, plan = job.order.n_cells, job.plan
    if _descend_single_feature(job, control, first, stop, counter):
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


def _descend_single_feature(job: Job, control: Control, first: int, stop: int, counter: np.ndarray) -> bool:
    """Run fits of a single feature, moments and epochs in one kernel, where their data allow it.

    Returns False where nothing was done, or some number is not finite.
    """
    problem, plan = job.problem, job.plan
    if problem.n_features > 1 or plan.backend != "cpu" or plan.algorithm != MOMENTS or job.rates is None or job.state is not None:
        return False
    from ..kernels import cpu

    if problem.n_samples < problem.min_samples or not cpu.runs_in_packs(job.rule, problem.n_parameters):
        return False
    samples = gather_in_order(problem, job.order, first, stop, job.numbers)
    if samples is None or not cpu.runs_single_feature(samples):
        return False
    chunk = prepared_chunk(job, samples, first, stop)
    if not cpu.descend_single_feature(chunk, control.cancel, counter):
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
        from ..kernels import cpu

        moments = group.moments or cpu.Moments.empty(0, 0, job.problem.n_parameters, job.problem.dtype)
        cpu.descend(chunk, moments, gram_index, pairs, control.cancel, counter)
    elif job.plan.algorithm == AUTOGRAD:
        from ..kernels.reference import torch_autograd

        device = "cuda" if job.plan.backend == "torch-cuda" else "cpu"
        torch_autograd.descend(chunk, control.cancel, counter, device=device)
    else:
        from ..kernels.reference import numpy_manual

        numpy_manual.descend(chunk, control.cancel, counter)
    finish_chunk(job, first, stop, chunk)


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
