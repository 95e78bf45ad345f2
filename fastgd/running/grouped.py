"""The runner of groups: batch after batch, each a job of its own, their results put in place."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np

from ..planning.explained import MOST, spread_over
from ..planning.grouped import GroupsJob
from ..planning.job import Job, ResultJob
from ..planning.statistics_job import prepare_statistics
from ..results.building import build
from ..results.curvatures import joined
from ..results.statistics import AXES, Statistics
from .adding_statistics import with_statistics
from .pool import Control, Run, run_tasks
from .run import runner_of


def run(job: GroupsJob, control: Control, go: Run) -> None:
    """Run all groups of a job. Each batch has its own number of threads; `go` is not used."""
    for which in job.batches:
        batch = job.prepare_batch(which)
        runner_of(batch).run(batch, control, tasks_of_batch(job, batch, control))
        if control.cancel[0]:
            return
        _put(job, which, batch)
        if (statistics := prepare_statistics(batch)) is not None:
            stats = with_statistics(build(batch.buffers, batch.provenance), statistics).stats
            assert stats is not None
            _put_statistics(job, which, stats)


def tasks_of_batch(job: Job, batch: Job, control: Control) -> Run:
    """What runs the tasks of a batch, in no more threads than the job has."""
    threads, watch = min(batch.plan.threads, job.plan.threads), control.watch or (lambda: None)
    return partial(run_tasks, workers=threads, inline=batch.plan.inline, control=control, watch=watch)


def _put(job: GroupsJob, which: np.ndarray, batch: ResultJob) -> None:
    """Put the results of a batch, groups with the numbers `which`, into their places."""
    shape = job.order.shape
    for name, values in batch.buffers.arrays.items():
        tail = values.shape[1:]
        whole: Any = job.buffers.arrays[name].reshape(*shape, *tail)
        whole[(..., which, *[slice(None)] * len(tail))] = batch.order.restore(values)
    job.made.append(batch.provenance)
    if batch.buffers.curvatures:
        found = joined(batch.buffers.curvatures, batch.order)
        share = -(-MOST * batch.order.n_fits // job.order.n_fits)  # so that all batches together have about MOST
        found = found[spread_over(len(found.index), share)]
        *place, group = np.unravel_index(found.index, batch.order.shape)
        job.buffers.curvatures.append(replace(found, index=np.ravel_multi_index((*place, which[group]), shape)))


def _put_statistics(job: GroupsJob, which: np.ndarray, stats: Statistics) -> None:
    """Put the statistics of a batch into their places."""
    for each in fields(stats):
        value = getattr(stats, each.name)
        if isinstance(value, str):
            job.statistics[each.name] = value
            continue
        n_last = AXES.get(each.name, 0)
        axis = value.ndim - 1 - n_last  # of the groups
        if each.name not in job.statistics:
            shape = (*value.shape[:axis], job.order.shape[-1], *value.shape[axis + 1 :])
            job.statistics[each.name] = np.empty(shape, value.dtype)
        job.statistics[each.name][(..., which, *[slice(None)] * n_last)] = value
