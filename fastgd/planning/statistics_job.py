"""StatisticsJob: what `stats` asks of the data of a call, once its fits are done."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field

import numpy as np

from ..data.fit_order import FitOrder
from ..input.shapes import broadcast
from ..input.statistics import StatsOptions
from ..kernels.chunk import MOMENTS
from .backends import BACKENDS, require_kernels
from .job import Job, ResultJob
from .memory import fit_into_memory
from .plan import STACK_NUMBERS, bytes_of_stack, make_plan
from .solve_job import SolveJob

TEMPORARIES = 24  # arrays of a block that the elimination and the second pass make


@dataclass(kw_only=True)
class StatisticsJob(Job):
    """The statistics of the fits of a job, ready to run once these are done."""

    options: StatsOptions
    of: ResultJob  # whose fits they are
    shares_grams: bool  # an inverse for each Gram matrix that pairs of an X and a y share, not for each pair
    facts: dict[str, np.ndarray] = field(default_factory=dict)  # what its runner makes, in the end in the caller's order; see its module
    w: np.ndarray | None = None  # (*shape, D): the parameters, for a second pass over the samples

    @property
    def shape(self) -> tuple[int, ...]:
        """Leading axes of the results."""
        return self.of.order.shape


def prepare_statistics(job: ResultJob) -> StatisticsJob | None:
    """Plan the statistics of a job; refuse what they do not go with. None: none are asked for."""
    options = job.stats
    if options is None:
        return None
    require_kernels("stats")
    problem = job.problem
    _refuse(job, options)
    size, shape = problem.n_parameters, job.order.shape
    pairs = np.broadcast_shapes(problem.gram_leading, problem.y.leading)
    order = FitOrder.of((1,) * (len(shape) - len(pairs)) + pairs, problem.gram_leading, problem.y.leading)
    shares = not problem.may_lose_samples and problem.given is None and math.prod(problem.gram_leading) < order.n_pairs
    plan = make_plan(
        problem,
        order,
        BACKENDS["cpu"],
        epochs=0,
        algorithm="moments",
        threads=job.plan.threads if job.plan.backend.has_threads else None,
        safe_rate=False,
        keeps_moments=True,
    )
    inverses = math.prod(problem.gram_leading) if shares else order.n_pairs
    of_fits = 8 * job.order.n_fits * (24 + 2 * size + (2 * size * size if options.needs_samples else 0))
    layout = job.buffers.layout
    results = job.order.n_fits * (layout.bytes_per_fit + layout.bytes_in_units) + 8 * inverses * (2 * size * size + 4 * size) + of_fits
    of_a_thread = 8 * TEMPORARIES * max(STACK_NUMBERS, size * size)
    plan = fit_into_memory(problem, order, plan, results=results, of_a_fit=0, rows=0, limit=job.memory_limit, of_a_thread=of_a_thread)
    made = StatisticsJob(
        problem=problem,
        order=order,
        plan=plan,
        progress=False if callable(job.progress) else job.progress,  # a function hears of fits alone
        total=order.n_fits,
        runner="statistics",
        memory_limit=job.memory_limit,
        options=options,
        of=job,
        shares_grams=shares,
    )
    if isinstance(job, SolveJob) and job.plan.algorithm == MOMENTS:
        _take_moments_of(job, made, results, of_a_thread)
    return made


def _take_moments_of(job: SolveJob, statistics: StatisticsJob, results: int, of_a_thread: int) -> None:
    """Have the statistics made from the moments of `solve`, where they have room at that time.

    Else the data are read once more.
    """
    with contextlib.suppress(MemoryError):
        job.plan = fit_into_memory(
            job.problem,
            job.order,
            job.plan,
            results=results,
            of_a_fit=8 * TEMPORARIES,
            rows=0,
            limit=job.memory_limit,
            of_a_thread=of_a_thread + bytes_of_stack(job.problem),
        )
        job.statistics = statistics


def _refuse(job: ResultJob, options: StatsOptions) -> None:
    """Raise where `stats` does not go with the other options."""
    problem, values = job.problem, job.provenance.hyperparameters
    for name, why in (("weight_decay", "a penalty"), ("ridge", "a penalty"), ("maximize", "ascent")):
        if name in values and np.any(values[name]):
            raise ValueError(f"stats are those of least squares, and {name} makes a fit with {why} of it: leave one of them out")
    if problem.device is not None:
        raise ValueError("stats are made in the computer's memory, and the data are on a GPU: give the data there, or leave stats out")
    if options.needs_samples and problem.given is not None:
        raise ValueError(
            f"X is Moments, whose samples are gone, and stats with covariance={options.covariance!r} read them again: give X and y"
        )
    if options.clusters is not None:
        *leading, length = options.clusters.shape
        if length != problem.n_samples:
            raise ValueError(f"clusters of stats must have a label for each of {problem.n_samples:,} samples; they have {length:,}")
        if broadcast({"the fits": job.order.shape, "clusters of stats": tuple(leading)}) != job.order.shape:
            raise ValueError(f"clusters of stats have shape {options.clusters.shape}, which does not broadcast to fits {job.order.shape}")
    if options.weights_are == "frequency" and not problem.is_weighted:
        raise ValueError("weights_are='frequency' of stats says what the weights are, but there are none: give sample_weight")
