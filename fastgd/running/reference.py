"""The runner of the reference backends, torch and NumPy: one fit after another.

They need no compiled kernel, but for the moments behind `lr=None` and `standardize=True`, and for
the least loss behind `tol` and `excess_loss=True`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..kernels.chunk import AUTOGRAD, MANUAL, Chunk
from ..kernels.reference.kept import find_kept
from ..kernels.reference.torch_autograd import CannotStepError
from ..planning.backends import require_kernels
from ..planning.job import FitJob
from .blocks import descend_chunk
from .chunks import chunk_of_group, finish_chunk, follow_schedule, set_safe_rates
from .least_values import find_least_values
from .long_fits import parts_of_moments
from .moments import at_once, read_group
from .pool import Control, Run, cut
from .standardizing import standardize_group, unscale_results
from .validating import Validator


def run(job: FitJob, control: Control, go: Run) -> None:
    """Run all fits of a job."""
    if _needs_moments(job):
        require_kernels("standardize=True" if job.standardize else "lr=None")
        from ..kernels.cpu import compile_ahead

        parts = (
            parts_of_moments(job.problem) | ({"rates"} if job.rates is None else set()) | ({"standardize"} if job.standardize else set())
        )
        parts |= {"find_kept"} if job.problem.nan_policy == "omit" else set()
        compile_ahead.compile_parts(job.problem.dtype, parts)
    if job.least_needed:
        require_kernels("tol" if job.tol >= 0.0 else "excess_loss=True")
    descend = _descent_of(job)
    validator = None if job.stopping is None else Validator(job, control, go)
    cutting = cut if control.store is None else control.store.cut
    go(cutting(job.order.n_fits, job.plan.fits_per_task, partial(_run_fits, job, descend, validator, control)))


def _descent_of(job: FitJob) -> Callable[..., None]:
    """The function descend(chunk, cancel, progress) of the backend's algorithm."""
    if job.plan.algorithm == AUTOGRAD:
        from ..kernels.reference import torch_autograd

        return partial(torch_autograd.descend, device="cuda" if job.plan.backend.name == "torch-cuda" else "cpu")
    if job.plan.algorithm == MANUAL:
        from ..kernels.reference import numpy_manual

        return numpy_manual.descend
    raise NotImplementedError(f"running/reference.py has no descent for the algorithm {job.plan.algorithm_name!r}")


def _of_torch(job: FitJob, fits: np.ndarray, lr: np.ndarray) -> dict[str, Any]:
    """What torch's own schedulers need, for fits that begin at lr; {} without a schedule."""
    schedule = job.schedule
    if schedule is None or job.plan.algorithm != AUTOGRAD:
        return {}
    which = job.order.pick(schedule.which, fits)
    return {"schedulers": [(float(rate), schedule.spelled_out(k)) for rate, k in zip(lr, which.tolist(), strict=True)]}


def _needs_moments(job: FitJob) -> bool:
    """Safe rates, and center and scale, come from moments, which the CPU kernels make."""
    return job.rates is None or job.standardize


def _run_fits(
    job: FitJob, run: Callable[..., None], validator: Validator | None, control: Control, first: int, stop: int, counter: np.ndarray
) -> None:
    """One task: fits first … stop-1."""
    n_cells = job.order.n_cells
    pairs_of_task = first // n_cells, (stop - 1) // n_cells + 1
    group = read_group(job.problem, job.order, *pairs_of_task, control, compress=_needs_moments(job), contiguous=True, find_kept=find_kept)
    if control.cancel[0]:
        return
    if job.standardize:
        standardize_group(job, group, control, at_once)
    chunk, pairs = chunk_of_group(job, group, first, stop)
    fits, lr = np.arange(first, stop, dtype=np.int64), job.buffers.slices(first, stop)["lr"]
    if job.rates is None:
        moments = group.moments
        eigenvalues = moments.largest_eigenvalues(0, len(moments.gram), control.cancel)
        set_safe_rates(chunk, moments.curvature(group.gram_index[pairs], eigenvalues, job.reduction == "sum"))
        follow_schedule(job, chunk, first, stop)

    def descend(part: Chunk, places: np.ndarray | slice, counter: np.ndarray) -> None:
        find_least_values(job, part, group, pairs[places], control, np.arange(len(part.w)))
        try:
            run(part, control.cancel, counter, **_of_torch(job, fits[places], lr[places]))
        except CannotStepError as error:
            raise ValueError(str(error)) from None
        if job.standardize:
            unscale_results(part, control.cancel)

    descend_chunk(job, chunk, first, validator, descend, control, counter)
    finish_chunk(job, first, stop, chunk)
