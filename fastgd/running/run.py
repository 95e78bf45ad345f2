"""run: a job through its backend."""

from __future__ import annotations

from functools import partial

from ..planning.job import Job
from .cpu import _compile, _run_fits, _run_staged
from .pool import cut, watched


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
