"""CompressJob: a call of `compress`, checked and planned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.arrays import arrive_on_host
from ..input.options import read_memory_limit, read_progress, read_threads
from ..results.moments import Moments
from .backends import BACKENDS, require_kernels
from .job import Job, data_of, read_problem
from .memory import bytes_of_record, fit_into_memory
from .plan import make_plan


@dataclass(kw_only=True)
class CompressJob(Job):
    """A call of `compress`, ready to run."""

    moments: Moments | None = None  # what its runner makes

    @property
    def made(self) -> Moments:
        """The moments, once the job has run."""
        assert self.moments is not None
        return self.moments


def prepare_compress(arguments: Mapping[str, Any]) -> CompressJob:
    """Make the job for a call of `compress`. arguments: those of `compress`, by name."""
    require_kernels("compress")
    read = isinstance(arguments["X"], Problem)
    problem = read_problem({**arguments, "min_samples": 1}, None if read else arrive_on_host(**data_of(arguments)))
    threads, limit = read_threads(arguments["threads"]), read_memory_limit(arguments["memory_limit"])
    progress = read_progress(arguments["progress"])
    pairs = np.broadcast_shapes(problem.gram_leading, problem.y.leading)
    order = FitOrder.of((1,) * (len(problem.leading) - len(pairs)) + pairs, problem.gram_leading, problem.y.leading)
    plan = make_plan(problem, order, BACKENDS["cpu"], epochs=0, algorithm="moments", threads=threads, safe_rate=False, keeps_moments=True)
    n_grams = order.n_fits if problem.may_lose_samples else math.prod(problem.gram_leading)
    records = order.n_fits * bytes_of_record(problem, with_gram=False) + n_grams * bytes_of_record(problem, with_gram=True)
    # the records of groups are gathered, then joined
    plan = fit_into_memory(problem, order, plan, results=2 * records, of_a_fit=0, rows=0, limit=limit)
    return CompressJob(
        problem=problem, order=order, plan=plan, progress=progress, total=order.n_fits, runner="compressing", memory_limit=limit
    )
