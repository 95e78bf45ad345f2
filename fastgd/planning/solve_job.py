"""SolveJob: a call of `solve`, checked and planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..input.arrays import arrive_on_host
from ..input.hyperparameters import read_penalty
from ..input.options import read_choice, read_memory_limit, read_progress, read_switch, read_threads
from ..input.shapes import without_repeats
from ..input.statistics import read_stats
from ..results.buffers import Buffers, Layout
from ..results.building import Provenance
from .backends import require_kernels
from .fits import order_fits
from .job import ResultJob, data_of, is_read, read_problem
from .memory import bytes_of_centring, fit_into_memory
from .options import REDUCTIONS
from .plan import bytes_of_stack, plan_solve
from .start import Begin, begin_solved


@dataclass(kw_only=True)
class SolveJob(ResultJob):
    """A call of `solve`, ready to run."""

    decay: np.ndarray  # (…) weight_decay, to be broadcast; of `ridge` the one of the same penalty
    ridge: np.ndarray | None  # (…) as it was given: the penalty leaves the intercept alone
    told: Provenance = field(init=False)  # made once, also for later calls that are like this one
    statistics: Any = None  # the StatisticsJob that is made from the same moments
    settled: bool = True  # every fit that was solved is finite, determined, and not ill-conditioned

    def __post_init__(self) -> None:
        penalty = {"weight_decay": self.decay} if self.ridge is None else {"ridge": self.ridge}
        self.told = Provenance(self.plan.backend.name, self.plan.algorithm_name, self.plan.explanation, hyperparameters=penalty)

    @property
    def begin(self) -> Begin:
        """What the results hold before the data are read."""
        return begin_solved(self.problem.n_parameters, self.problem.n_samples, self.plan.algorithm)

    @property
    def of_the_sum(self) -> bool:
        """Whether the loss that decay goes with is the sum; `ridge` goes with the mean."""
        return self.reduction == "sum" and self.ridge is None

    @property
    def provenance(self) -> Provenance:
        """How the solutions are computed, and their penalty."""
        told = self.told
        return told if told.explanation == self.plan.explanation else replace(told, explanation=self.plan.explanation)


def prepare_solve(arguments: Mapping[str, Any]) -> SolveJob:
    """Make the job for a call of `solve`. arguments: those of `solve`, by name."""
    require_kernels("solve")
    problem = read_problem(arguments, None if is_read(arguments["X"]) else arrive_on_host(**data_of(arguments)))
    if arguments["checkpoint"] is not None:
        from ..results.checkpoint import refuse_checkpoint

        refuse_checkpoint(arguments["checkpoint"], None, None)
    decay, ridge = read_penalty(arguments["weight_decay"], arguments["ridge"])
    reduction = read_choice(arguments["reduction"], "reduction", REDUCTIONS)
    threads, limit = read_threads(arguments["threads"]), read_memory_limit(arguments["memory_limit"])
    progress = read_progress(arguments["progress"])
    standardize, stats = read_switch(arguments["standardize"], "standardize"), read_stats(arguments["stats"])
    order = order_fits(problem, {"weight_decay" if ridge is None else "ridge": decay.shape}, {}, None, arguments)
    layout = Layout.of_solve(problem, order, standardize)
    plan = fit_into_memory(
        problem,
        order,
        plan_solve(problem, order, threads, standardize),
        results=order.n_fits * (layout.bytes_per_fit + layout.bytes_in_units),
        of_a_fit=8 * 12 + (0 if ridge is None or not problem.intercept else bytes_of_centring(problem)),
        of_a_thread=bytes_of_stack(problem),
        rows=0,
        limit=limit,
    )
    buffers = Buffers(layout, {})
    buffers.allocate(tightly=limit is not None)
    return SolveJob(
        problem=problem,
        order=order,
        plan=plan,
        buffers=buffers,
        reduction=reduction,
        standardize=standardize,
        stats=stats,
        progress=progress,
        total=order.n_fits,
        runner="least_squares",
        memory_limit=limit,
        decay=_read_only(decay),
        ridge=None if ridge is None else _read_only(ridge),
    )


def _read_only(values: np.ndarray) -> np.ndarray:
    """A penalty as results hold it, those of like calls the same."""
    array = np.asarray(without_repeats(values, 0), order="C")
    array.flags.writeable = False
    return array
