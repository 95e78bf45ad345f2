"""with_statistics(): the result of a call with what `stats` asks of its data."""

from __future__ import annotations

from dataclasses import replace

from ..input.float_mode import quietly
from ..planning.statistics_job import StatisticsJob
from ..results.result import FitResult
from ..results.statistics import parameters_of, statistics_of
from .run import run


def with_statistics(result: FitResult, job: StatisticsJob) -> FitResult:
    """Run a job of statistics; the result with them. result: of the fits that they are of."""
    problem, options = job.problem, job.options
    job.w = parameters_of(result, problem.intercept)
    run(job)
    made = quietly(statistics_of, result, job.facts, options.covariance, options.weights_are, problem.intercept, problem.dtype)
    return replace(result, stats=made)
