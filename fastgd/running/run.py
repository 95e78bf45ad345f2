"""Run a job by its runner; what is wrong with the data is told in the caller's words."""

from __future__ import annotations

from importlib import import_module

from ..data.faults import where_negative, where_not_finite
from ..planning.job import Job
from .moments import NegativeWeightError, NonFiniteDataError
from .pool import watched


def run(job: Job) -> None:
    """Run all fits of a job into its buffers.

    A runner is a module of this folder, named by the backend's row: `run(job, control, go)`, where
    `go` runs tasks in the threads that were planned, and `control` holds the flag that ends them.
    """
    runner = import_module(f".{job.runner}", __package__)
    try:
        with watched(job.plan, job.progress, job.total, f"{job.order.n_fits:,} fits") as (control, go):
            runner.run(job, control, go)
    except NonFiniteDataError:
        raise ValueError(where_not_finite(job.problem)) from None
    except NegativeWeightError:
        raise ValueError(where_negative(job.problem)) from None
