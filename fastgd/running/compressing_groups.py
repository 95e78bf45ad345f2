"""The runner of `compress_groups`: batch after batch, its moments put in place."""

from __future__ import annotations

from ..planning.grouped import CompressGroupsJob
from ..results.moments import Moments, join_moments
from .compressing import run as run_batch
from .grouped import tasks_of_batch
from .pool import Control, Run


def run(job: CompressGroupsJob, control: Control, go: Run) -> None:
    """Compress all groups of a job. Each batch has its own number of threads; `go` is not used."""
    made: list[Moments] = []
    for which in job.batches:
        batch = job.prepare_batch(which)
        run_batch(batch, control, tasks_of_batch(job, batch, control))
        if control.cancel[0]:
            return
        made.append(batch.made)
    job.moments = made[0] if len(made) == 1 else join_moments(job.batches, made)
