"""The runner of groups: batch after batch, each a job of its own, their results put in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ..planning.explained import MOST, spread_over
from ..planning.grouped import GroupsJob
from ..planning.job import FitJob, Job, ResultJob
from ..planning.statistics_job import prepare_statistics
from ..results.building import build
from ..results.checkpoint import MOST_BYTES, Block, Part
from ..results.curvatures import concatenated, joined
from ..results.statistics import AXES
from .adding_statistics import with_statistics
from .explaining import explain_noted
from .pool import Control, Run, run_tasks
from .run import runner_of
from .storing import Ranges, Store, run_stored


def run(job: GroupsJob, control: Control, go: Run) -> None:
    """Run all groups of a job. Each batch has its own number of threads; `go` is not used."""
    store = None if job.batches_part is None else Store(Batches(job, job.batches_part), control)
    try:
        if store is not None:
            store.load(job.groups.groups.count)
        _run_batches(job, control, store)
    finally:
        if store is not None:
            store.close()


def _run_batches(job: GroupsJob, control: Control, store: Store | None) -> None:
    end = 0
    for which in job.batches:
        first, end = end, end + len(which)
        whole = job.prepare_batch(which)
        job.made.append(whole.provenance)
        missing = [(first, end)] if store is None else store.missing(first, end)
        stored = len(which) - sum(stop - begin for begin, stop in missing)
        control.counter(0)[0] += whole.total // len(which) * stored
        for begin, stop in missing:
            some = which[begin - first : stop - first]
            _run_batch(job, control, whole if not stored else job.prepare_batch(some), some, begin, store)
            if control.cancel[0]:
                return


def _run_batch(job: GroupsJob, control: Control, batch: ResultJob, which: np.ndarray, first: int, store: Store | None) -> None:
    """Run a batch, the groups with the numbers `which`. first: of its items in the store."""
    stop = first + len(which)
    go, statistics = tasks_of_batch(job, batch, control), prepare_statistics(batch)
    if job.batches_part is None:
        runner_of(batch).run(batch, control, go)
    else:  # a batch that takes long is stored as it goes on, and then with the others
        batch.part = job.batches_part.checkpoint.part(name_of_batch(first, stop))
        run_stored(runner_of(batch), batch, control, go, keeps=False)
    if control.cancel[0]:
        return
    if isinstance(batch, FitJob):
        explain_noted(batch)
    _put(job, which, batch)
    if statistics is not None:
        stats = with_statistics(build(batch.buffers, batch.provenance), statistics).stats
        assert stats is not None
        _put_statistics(job, which, {each.name: getattr(stats, each.name) for each in fields(stats)})
    if store is not None:
        store.note(first, stop)


def name_of_batch(first: int, stop: int) -> str:
    """The name of the part of a checkpoint that has fits of an unfinished batch of groups."""
    return f"batch{first}.{stop}"


class Batches:
    """Finished groups, and the part of the checkpoint that holds them.

    A group is numbered by its place among those of all batches: which they are and how they are
    ordered depends on the groups alone, where a batch ends on the memory limit too.
    """

    def __init__(self, job: GroupsJob, part: Part) -> None:
        self.job, self.part, self.folder = job, part, part.checkpoint.folder
        self.groups = np.concatenate(job.batches)
        of_a_group = job.order.n_fits // job.order.shape[-1] * max(1, job.buffers.layout.bytes_per_fit)
        self.most, self.ends = max(1, MOST_BYTES // of_a_group), np.cumsum([len(which) for which in job.batches])

    def pieces(self, first: int, stop: int) -> Ranges:
        """Cut a range of groups into blocks: whole batches, as far as they are in it."""
        inner = self.ends[(self.ends > first) & (self.ends < stop)].tolist()
        found, begin = [], first
        for before, end in pairwise([first, *inner, stop]):
            if end - begin > self.most and before > begin:
                found.append((begin, before))
                begin = before
        return [*found, (begin, stop)]

    def read(self) -> Ranges:
        """Put the results of all stored groups into their places; returns which they are."""
        found = []
        for block in self.part.read(self._holds):
            which = self.groups[block.first : block.stop]
            for name, values in block.arrays.items():
                if name in self.job.buffers.arrays:
                    _entries(self.job, name)[_of_groups(which, values.ndim - len(self.job.order.shape))] = values
            stats = {name.removeprefix(_STATS): value for name, value in block.arrays.items() if name.startswith(_STATS)}
            _put_statistics(self.job, which, stats)
            if block.curvatures is not None:
                self.job.buffers.curvatures.append(block.curvatures)
            found.append((block.first, block.stop))
        return found

    def _holds(self, block: Block) -> bool:
        """Whether a block has all arrays of some groups of the job."""
        if not 0 <= block.first < block.stop <= len(self.groups):
            return False
        shape = (*self.job.order.shape[:-1], block.stop - block.first)
        return all(
            name in block.arrays and (block.arrays[name].shape, block.arrays[name].dtype) == ((*shape, *values.shape[1:]), values.dtype)
            for name, values in self.job.buffers.arrays.items()
        )

    def write(self, first: int, stop: int) -> None:
        """Store a range of finished groups, and remove what was stored of their batches."""
        job, which = self.job, self.groups[first:stop]
        n_leading = len(job.order.shape)
        arrays = {name: _entries(job, name) for name in job.buffers.arrays}
        arrays = {name: values[_of_groups(which, values.ndim - n_leading)] for name, values in arrays.items()}
        for name, value in job.statistics.items():
            arrays[_STATS + name] = value if isinstance(value, str) else value[_of_groups(which, AXES.get(name, 0))]
        kept = [part[np.isin(part.index % job.order.shape[-1], which)] for part in job.buffers.curvatures]
        some = [part for part in kept if len(part.index)]
        self.part.write(first, stop, arrays, concatenated(some) if some else None)
        self.part.checkpoint.remove(lambda name: (own := _BATCH.fullmatch(name)) is not None and first <= int(own["first"]) < stop)


_BATCH = re.compile(r"batch(?P<first>\d+)\.\d+")
_STATS = "stats."  # begins the names of statistics in a block


def _of_groups(which: np.ndarray, n_last: int) -> tuple[Any, ...]:
    """The index of some groups, whose axis n_last others follow."""
    return (..., which, *[slice(None)] * n_last)


def _entries(job: GroupsJob, name: str) -> Any:
    """(*leading, n_groups, …): an array of results."""
    values = job.buffers.arrays[name]
    return values.reshape(*job.order.shape, *values.shape[1:])


def tasks_of_batch(job: Job, batch: Job, control: Control) -> Run:
    """What runs the tasks of a batch, in no more threads than the job has."""
    threads, watch = min(batch.plan.threads, job.plan.threads), control.watch or (lambda: None)
    return partial(run_tasks, workers=threads, inline=batch.plan.inline, control=control, watch=watch)


def _put(job: GroupsJob, which: np.ndarray, batch: ResultJob) -> None:
    """Put the results of a batch, groups with the numbers `which`, into their places."""
    shape = job.order.shape
    for name, values in batch.buffers.arrays.items():
        _entries(job, name)[_of_groups(which, values.ndim - 1)] = batch.order.restore(values)
    if batch.buffers.curvatures:
        found = joined(batch.buffers.curvatures, batch.order)
        share = -(-MOST * batch.order.n_fits // job.order.n_fits)  # so that all batches together have about MOST
        found = found[spread_over(len(found.index), share)]
        *place, group = np.unravel_index(found.index, batch.order.shape)
        job.buffers.curvatures.append(replace(found, index=np.ravel_multi_index((*place, which[group]), shape)))


def _put_statistics(job: GroupsJob, which: np.ndarray, stats: Mapping[str, Any]) -> None:
    """Put the statistics of some groups into their places."""
    for name, value in stats.items():
        if isinstance(value, str):
            job.statistics[name] = value
            continue
        n_last = AXES.get(name, 0)
        axis = value.ndim - 1 - n_last  # of the groups
        if name not in job.statistics:
            shape = (*value.shape[:axis], job.order.shape[-1], *value.shape[axis + 1 :])
            job.statistics[name] = np.empty(shape, value.dtype)
        job.statistics[name][_of_groups(which, n_last)] = value
