"""run(): runs a job by its runner, and names bad numbers in the data by the caller's indices."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from ..data.faults import where_negative, where_not_finite
from ..input.float_mode import quietly, set_ieee_mode
from ..planning.job import Job
from .moments import NegativeWeightError, NonFiniteDataError
from .pool import unwatched, watched


def run(job: Job) -> None:
    """Run all fits of a job into its buffers.

    A runner is a module of this folder with a function `run(job, control, go)`, named by the
    backend's row. `go` runs tasks in the planned threads; `control` has the flag that ends them.
    """
    if not job.recalled:
        set_ieee_mode()  # what was loaded or called since the call began may have changed it
    quietly(_run, job)  # in a context that ends with it: who hears what kernels say is forgotten wherever Ctrl-C falls


def run_call(job: Job, function: str, arguments: Mapping[str, Any]) -> None:
    """Run the job of a call; its fits are stored in the `checkpoint`, if there is one."""
    if arguments["checkpoint"] is None:
        run(job)
    else:
        quietly(_run_with_checkpoint, job, function, arguments)


def _run_with_checkpoint(job: Job, function: str, arguments: Mapping[str, Any]) -> None:
    from ..results.checkpoint import Call, Part, open_checkpoint

    given = arguments["checkpoint"]
    if isinstance(given, Part):  # of a call that opened it
        job.part = given
        run(job)
        return
    with open_checkpoint(given, Call.of(function, arguments, job.problem)) as checkpoint:
        job.part = checkpoint.part("fits")
        run(job)


@functools.cache  # import_module takes 1.5 µs for a module that is there
def _runner(name: str) -> ModuleType:
    return import_module(f".{name}", __package__)


def runner_of(job: Job) -> ModuleType:
    """The module that runs a job."""
    return _runner(job.runner)


def _run(job: Job) -> None:
    runner = runner_of(job)
    try:
        if job.plan.inline and job.progress is None and job.part is None:  # it ends before a bar would appear
            runner.run(job, *unwatched(job.plan.threads))
            return
        with watched(job.plan, job.progress, job.total, f"{job.order.n_fits:,} fits") as (control, go):
            if job.part is None:
                runner.run(job, control, go)
            else:
                from .storing import run_stored

                run_stored(runner, job, control, go)
        return
    except NonFiniteDataError:
        find = where_not_finite
    except NegativeWeightError:
        find = where_negative
    job.drop_results()  # what the tasks held of the data went with their error
    raise ValueError(find(job.problem, job.memory_limit))
