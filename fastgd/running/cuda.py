"""The runner of the CUDA kernels.

1. Data in the computer's memory are copied to the GPU task by task, and results back into the
   job's NumPy arrays. Data on a GPU stay there, all fits are one task, and results are made there.
2. The kernels search the data for missing values; `_decide` sets what happens to such fits.
3. Moments in place of samples are uploaded task by task. They are few numbers, so that they are
   standardised in the computer's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..kernels import cuda
from ..kernels.chunk import MOMENTS, Chunk
from ..kernels.cuda.data import GivenMoments
from ..kernels.cuda.splitting import Handling
from ..planning.job import FitJob
from ..results.device_buffers import DeviceBuffers
from .blocks import descend_chunk
from .chunks import chunk_of_group, finish_chunk, make_chunk, scheduled_rates, set_fates
from .groups import Group, gather_group, given_group, samples_of_all, select
from .least_values import find_from_minimisers
from .moments import NegativeWeightError, NonFiniteDataError, at_once, complete_group
from .pool import Control, Run, cut
from .standardizing import standardize_group, standardize_moments, unscale_results
from .validating import Validator


def run(job: FitJob, control: Control, go: Run) -> None:
    """Run all fits of a job."""
    buffers = job.buffers
    device = buffers.device if isinstance(buffers, DeviceBuffers) else cuda.DEVICES[job.plan.backend.name]()
    device.tell = partial(setattr, control, "note")  # says so while kernels are compiled
    if isinstance(buffers, DeviceBuffers):
        go([partial(_run_resident, job, buffers, control)])
    else:
        validator = None if job.stopping is None else Validator(job, control, go)
        task = _run_task if job.problem.given is None else _run_moments
        cutting = cut if control.store is None else control.store.cut
        go(cutting(job.order.n_fits, job.plan.fits_per_task, partial(task, job, device, validator, control)))


def _handling(job: FitJob, control: Control, first: int) -> Handling:
    """What is done besides the epochs, for a chunk that begins with fit `first`."""
    return Handling(
        partial(_decide, job),
        omit=job.problem.nan_policy == "omit",
        safe_rates=job.rates is None,
        minimise=partial(_find_least, job, control) if job.least_needed else None,
        converts_results=job.standardize,
        converts_start=job.standardize and job.state is None,
        follow=_follower(job, first),
        tables=_tables(job),
    )


def _follower(job: FitJob, begin: int) -> Callable[[int, int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """`follow` of a Handling, for the chunk that begins with fit `begin`."""
    if job.schedule is None or job.stopping is not None:  # whose parts come with their rates
        return None
    return lambda first, stop, lr, steps: scheduled_rates(job, begin + first, begin + stop, lr, steps)


def _tables(job: FitJob) -> int:
    """How many tables `follow` of a Handling gives."""
    return 1 + (job.schedule is not None and job.schedule.moves_momentum)


def _find_least(job: FitJob, control: Control, chunk: Chunk) -> None:
    """Fill F* of fits whose moments on the device do not tell it, as the CPU backend does.

    The samples of the chunk are in the computer's memory, and none is left out yet.
    """
    m = len(chunk.n_used)
    places = np.arange(m)
    group = Group(0, select(chunk, places), np.zeros(m, bool))
    complete_group(job.problem, group, control, compress=bool((chunk.algorithm == MOMENTS).any()))
    for name in ("kept", "kept_index", "n_used"):
        setattr(chunk, name, getattr(group.samples, name))
    if job.standardize and group.moments is not None and not control.cancel[0]:
        fit_of_gram = np.zeros(len(group.moments.gram), np.int64)
        fit_of_gram[group.gram_index] = places
        given = chunk.center[fit_of_gram], chunk.scale[fit_of_gram]
        standardize_moments(job, group.moments, group.gram_index, *given, control, at_once)
    find_from_minimisers(job, chunk, group, places, np.ones(m, bool), control)


def _find_least_of_moments(job: FitJob, group: Group, control: Control, chunk: Chunk) -> None:
    """Fill F* of fits of a group of Moments whose elimination on the device does not tell it."""
    find_from_minimisers(job, chunk, group, chunk.y_index, np.ones(len(chunk.y_index), bool), control)


def _decide(job: FitJob, part: Chunk, n_used: np.ndarray, invalid: np.ndarray, negative: np.ndarray) -> None:
    """Refuse or mark fits with missing, invalid or negative numbers. Arrays: (m,), of a part."""
    problem = job.problem
    if negative.any():
        raise NegativeWeightError
    if problem.nan_policy == "raise" and invalid.any():
        raise NonFiniteDataError
    if problem.may_lose_samples:
        part.n_used[:] = n_used
    set_fates(job, part, invalid)


def _run_task(job: FitJob, device: Any, validator: Validator | None, control: Control, first: int, stop: int, counter: np.ndarray) -> None:
    """One task: fits first … stop-1, with data in the computer's memory."""
    n_cells = job.order.n_cells
    group = gather_group(job.problem, job.order, first // n_cells, (stop - 1) // n_cells + 1, contiguous=True)
    chunk, _ = chunk_of_group(job, group, first, stop)

    def run(part: Chunk, counter: np.ndarray, handling: Handling) -> None:
        cuda.descend(part, control.cancel, counter, device, handling)

    _descend(job, chunk, first, _handling(job, control, first), run, validator, control, counter)
    finish_chunk(job, first, stop, chunk)


def _descend(
    job: FitJob, chunk: Chunk, first: int, handling: Handling, run: Callable[..., None], validator: Validator | None, control: Control,
    counter: np.ndarray,
) -> None:  # fmt: skip
    """Run all epochs of a chunk by run(part, counter, handling)."""
    # what the first part makes of rates and of the start is in the chunk when others begin
    ways, afterwards = iter([handling]), replace(handling, safe_rates=False, converts_start=False)

    def descend(part: Chunk, places: Any, counter: np.ndarray) -> None:
        run(part, counter, next(ways, afterwards))

    descend_chunk(job, chunk, first, validator, descend, control, counter)


def _run_moments(
    job: FitJob, device: Any, validator: Validator | None, control: Control, first: int, stop: int, counter: np.ndarray
) -> None:
    """One task: fits first … stop-1 of Moments."""
    n_cells = job.order.n_cells
    group = given_group(job.problem, job.order, first // n_cells, (stop - 1) // n_cells + 1, own=job.standardize)
    if job.standardize:
        standardize_group(job, group, control, at_once)
    chunk, _ = chunk_of_group(job, group, first, stop)
    made = group.moments
    moments = GivenMoments(made.gram, made.weighing, group.gram_index, made.target, made.exponents)
    find_least = partial(_find_least_of_moments, job, group, control) if job.least_needed else None
    handling = Handling(
        partial(_decide, job),
        safe_rates=job.rates is None,
        minimise=find_least,
        follow=_follower(job, first),
        tables=_tables(job),
        moments=moments,
    )
    # standardised fits are like others to the device: only the numbers of their features differ
    nothing = np.empty((0, 0))

    def run(part: Chunk, counter: np.ndarray, handling: Handling) -> None:
        cuda.descend(replace(part, center=nothing, scale=nothing), control.cancel, counter, device, handling)
        if job.standardize:
            unscale_results(part, control.cancel)

    _descend(job, chunk, first, handling, run, validator, control, counter)
    finish_chunk(job, first, stop, chunk)


def _run_resident(job: FitJob, buffers: DeviceBuffers, control: Control, counter: np.ndarray) -> None:
    """The one task of all fits, with data on the device."""
    n_fits = job.order.n_fits
    chunk = make_chunk(job, samples_of_all(job.problem, job.order), 0, n_fits)
    limit = None if job.memory_limit is None else max(0, job.memory_limit - buffers.bytes_made())
    cuda.descend(chunk, control.cancel, counter, buffers.device, _handling(job, control, 0), limit)
    finish_chunk(job, 0, n_fits, chunk)
