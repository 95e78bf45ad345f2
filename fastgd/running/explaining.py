"""The curvatures of some fits whose end is to be explained, while moments are at hand."""

from __future__ import annotations

import numpy as np

from ..kernels.chunk import DIVERGED, Chunk
from ..planning.job import FitJob
from ..results.curvatures import MOST, Collector, first_ranked
from ..results.distances import FEW, Ends, are_near, distances, not_near
from .groups import Group, select
from .hessians import curvatures_of
from .moments import complete_group
from .pool import Control

MOST_NUMBERS = 2**17  # that are kept: 1 MiB
MOST_SAMPLES = 2**18  # that are compressed for it alone: about 0.3 ms
LEAST_LIMIT = 2**24  # bytes: with a smaller memory_limit nothing is kept, and no room taken to look for it
LIMITED_BYTES = 2**14  # with a memory_limit, of which OF_A_CALL (planning/memory.py) has room for them


def explain(job: FitJob, chunk: Chunk, group: Group, pairs: np.ndarray, first: int, control: Control) -> None:
    """Keep what explains the ends of some fits of a chunk.

    pairs (m,): the number of each fit's pair in the group. first: number of the first fit. A group
    without moments has a single feature, and all its data are finite.
    """
    collector = job.buffers.collector
    if collector is None or not (job.measured and job.plan.needs_moments) or control.cancel[0]:
        return
    if job.memory_limit is not None and job.memory_limit < LEAST_LIMIT:
        return
    if len(chunk.loss) <= FEW and all(are_near(chunk.loss, chunk.excess, chunk.initial_excess, job.start == "zero")):
        return  # soon, since a small call takes some 90 µs in all
    most = _most(job)
    fits = _to_be_explained(job, chunk, first, collector, most)
    if group.standard is not None:  # whose moments may not hold the scaled features
        fits = fits[~group.standard.doubtful[group.gram_index[pairs[fits]]]]
    if not len(fits):
        return
    if job.order.n_fits > most:
        fits = fits[first_ranked(fits + first, most)]
    if group.moments is None:
        group, pairs = Group(0, select(chunk, fits), np.zeros(len(fits), bool)), np.arange(len(fits))
        complete_group(job.problem, group, control, compress=True)
    else:
        pairs = pairs[fits]
    hyper = chunk.hyper[fits] if job.schedule is None else np.full((len(fits), chunk.hyper.shape[1]), np.nan)
    collector.add(curvatures_of(group.moments, group.gram_index[pairs], fits + first, hyper, job.reduction == "sum"), most)


def _to_be_explained(job: FitJob, chunk: Chunk, first: int, collector: Collector, most: int) -> np.ndarray:
    """Positions in a chunk of fits to be explained: all, or enough of the lowest rank.

    Of a call whose fits can all be looked at, some that need no explanation may be among them.
    """
    wanted, from_zero = collector.wanted(first, first + len(chunk.loss), most), job.start == "zero"
    if wanted is None:
        fits = not_near(chunk.loss, chunk.excess, chunk.initial_excess, from_zero)
    else:
        fits = wanted - first
        fits = fits[not_near(chunk.loss[fits], chunk.excess[fits], chunk.initial_excess[fits], from_zero)]
    if job.order.n_fits <= most or not len(fits):
        return fits[~np.isnan(chunk.excess[fits]) | (chunk.status[fits] == DIVERGED)]
    for some in (fits[first_ranked(fits + first, 4 * most)], fits):  # the second time only where the first does not suffice
        found = some[distances(_ends(job, chunk, some)).unexplained()]
        if len(found) >= most or len(some) == len(fits):
            break
    return found


def _ends(job: FitJob, chunk: Chunk, fits: np.ndarray) -> Ends:
    """Where the descents of these fits ended."""
    rates = chunk.lr[0, fits] if len(chunk.lr) else np.zeros(len(fits))  # a schedule of no epochs
    return Ends(
        chunk.loss[fits], chunk.excess[fits], chunk.initial_excess[fits], rates, chunk.epochs_run[fits], chunk.status[fits],
        chunk.w[fits], job.rule.name, job.start, job.penalised,
    )  # fmt: skip


def _most(job: FitJob) -> int:
    """How many fits of a call are looked at; it follows from shapes and options alone."""
    problem, size = job.problem, job.problem.n_parameters
    numbers = size * (size + 1) // 2 + size + 2 + len(job.hyper)
    most = min(MOST, MOST_NUMBERS // numbers)
    if problem.n_features == 1 and not job.plan.staged:  # they may have no moments
        most = min(most, max(1, MOST_SAMPLES // problem.n_samples))
    return most if job.memory_limit is None else min(most, max(1, LIMITED_BYTES // (8 * numbers)))
