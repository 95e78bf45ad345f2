"""The runner of `compress_groups`: batch after batch, its moments put in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..planning.grouped import CompressGroupsJob
from ..results.moments import Moments
from .compressing import run as run_batch
from .grouped import tasks_of_batch
from .pool import Control, Run

_GRAMS, _PAIRS = ("gram", "gram_exponents", "weighing"), ("gram_index", "target", "exponents", "n_used", "invalid")


def run(job: CompressGroupsJob, control: Control, go: Run) -> None:
    """Compress all groups of a job. Each batch has its own number of threads; `go` is not used."""
    made: list[Moments] = []
    for which in job.batches:
        batch = job.prepare_batch(which)
        run_batch(batch, control, tasks_of_batch(job, batch, control))
        if control.cancel[0]:
            return
        made.append(batch.made)
    job.moments = made[0] if len(made) == 1 else _joined(job.batches, made)


def _joined(batches: list[np.ndarray], made: list[Moments]) -> Moments:
    """The moments of all groups; batches: the numbers of the groups of each."""
    first, count = made[0], sum(len(which) for which in batches)
    before = np.cumsum([0, *(len(one.gram) for one in made)])
    axis = len(first.leading) - 1  # of the groups
    whole: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in made]) for name in _GRAMS}
    for name in _PAIRS:
        values = getattr(first, name)
        whole[name] = np.empty((*values.shape[:axis], count, *values.shape[axis + 1 :]), values.dtype)
        for which, one, records in zip(batches, made, before.tolist(), strict=False):
            own = getattr(one, name)
            whole[name][(*[slice(None)] * axis, which)] = own + records if name == "gram_index" else own
    return replace(first, **whole, leading=(*first.leading[:-1], count))
