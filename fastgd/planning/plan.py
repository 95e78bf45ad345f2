"""plan: which algorithm, which backend, how large a chunk, how many threads; and why.

1. The algorithm depends on n_samples and n_features alone, so that a fit keeps its bits in any company (docs/arithmetic.md, section 9).
   Chunks, threads and memory never change a bit.
2. The cost estimates below are rough, measured on AVX2 and AVX-512 machines; they only cut the work into pieces of a few milliseconds.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..kernels.chunk import AUTOGRAD, MOMENTS, STREAM
from .backends import choose_algorithm, choose_backend, on_device

PIECE_NS = 4_000_000  # aim for a task's length
DEVICE_BYTES = 2**32  # of data that are handed to a GPU at a time
INLINE_NS = 2_000_000  # less work than this is done by the calling thread: starting others, and waiting for them, takes as long
DEAF_NS = 200_000_000  # unless it may take longer than this, in which Ctrl-C would not be heard
FITS_OF_A_VECTOR = 32  # of the CPU kernels
LONG = 65_536  # samples; a fit with more is compressed in parts
TILED_BYTES = 2**19  # of data whose fits interleave, transposed by one task
MOMENTS_BYTES = 256 * 2**20  # at most so many bytes of moments are kept at a time


@dataclass(frozen=True)
class Plan:
    """What was decided for a fit, and why."""

    backend: str
    algorithm: int  # of fits with finite data
    auto: bool  # whether the algorithm of a fit that loses samples may be another one
    explanation: str
    threads: int
    staged: bool  # compress all data of a group first (they are shared, or long), then descend
    needs_moments: bool
    inline: bool
    fits_per_task: int
    pairs_per_group: int


def available_threads() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cost(problem: Problem, algorithm: int, needs_moments: bool, safe_rate: bool, side_by_side: bool, epochs: int) -> tuple[float, float]:
    """Rough nanoseconds of compressing and of descending one fit."""
    n, size = problem.n_samples, problem.n_parameters
    double = problem.dtype == np.float64
    pairs = (size + 1) * (size + 2) / 2
    compress = (60 + n * (pairs * (0.31 if double else 0.04) + (0.5 if double else 0.2) * size)) * needs_moments
    compress += 5 * size**3 * safe_rate  # λ_max
    if algorithm == MOMENTS and side_by_side:
        epoch = 3.5 + size * size * 0.6 if double else 0.5 + size * size * 0.08
    elif algorithm == MOMENTS:
        epoch = 10 + 30 * size + size * size * (4.0 if double else 1.0)
    elif algorithm == STREAM:
        epoch = 30 + n * (1 + size) * (0.2 if double else 0.1)
    else:
        epoch = 50_000 if algorithm == AUTOGRAD else 10_000
    return compress, 60 + (epochs + 1) * epoch


def _even(n_fits: int, fits: int, workers: int) -> int:
    """About so many fits for a task that all workers have as many tasks, and no vector of a kernel is cut in two."""
    rounds = -(-n_fits // (fits * workers))
    fits = -(-n_fits // (rounds * workers))
    return -(-fits // FITS_OF_A_VECTOR) * FITS_OF_A_VECTOR if fits > 8 * FITS_OF_A_VECTOR else fits


def make_plan(
    problem: Problem,
    order: FitOrder,
    *,
    epochs: int,
    algorithm: str,
    backend: str,
    threads: int | None,
    safe_rate: bool,
    side_by_side: bool = False,
    chunk: int | None = None,
) -> Plan:
    """Decide. `side_by_side`: the update rule is one that the CPU kernels run in vectors. `chunk` (fits per task) is for tests."""
    backend, why_backend = choose_backend(backend, problem.device)
    code, why_algorithm = choose_algorithm(algorithm, backend, problem.n_samples, problem.n_features)
    if threads is not None and backend != "cpu":
        does = "runs on the whole GPU" if on_device(backend) else "runs fits one after another"
        raise ValueError(f"threads is an option of backend 'cpu'; backend {backend!r} {does}")
    needs_moments = backend == "cpu" and (code == MOMENTS or safe_rate)
    n_grams = math.prod(problem.gram_leading)
    shared = order.n_cells > 1 or n_grams < order.n_pairs or problem.y.count < order.n_pairs
    compress, descend = _cost(problem, code, needs_moments, safe_rate, side_by_side, epochs)
    per_fit = descend + (0 if shared else compress)
    total = order.n_fits * descend + (order.n_pairs if shared else order.n_fits) * compress
    # at worst every fit overflows at once, and goes on from its samples
    at_worst = order.n_fits * _cost(problem, STREAM, False, False, False, epochs)[1]
    # the calling thread tells the progress and hears Ctrl-C while another one compiles kernels for a GPU and waits for them
    inline = total < INLINE_NS and (backend != "cpu" or at_worst < DEAF_NS) and not on_device(backend)
    workers = 1 if inline or backend != "cpu" else (available_threads() if threads is None else threads)
    fits = max(1, int(PIECE_NS / per_fit)) if backend == "cpu" else max(1, int(50 * PIECE_NS / per_fit))
    if on_device(backend):
        of_a_pair = problem.n_samples * (problem.n_features + 1) * problem.dtype.itemsize
        fits = max(1, int(DEVICE_BYTES / of_a_pair)) * order.n_cells  # the fits of one pair of an X and a y stay together
    if workers > 1:
        fits = _even(order.n_fits, min(fits, max(1, -(-order.n_fits // (4 * workers)))), workers)
    size, parts = problem.n_parameters, -(-problem.n_samples // LONG)
    bytes_per_gram, bytes_per_target = 8 * size * (size + 3), 8 * 3 * (size + 1)
    grams_per_pair = 1.0 if problem.may_lose_samples else n_grams / order.n_pairs
    bytes_per_pair = (bytes_per_target + bytes_per_gram * grams_per_pair) * parts
    bytes_per_pair += 16 * problem.n_samples if problem.may_lose_samples else 0
    bytes_per_pair += sum(items.bytes_to_copy(items.count, tiles=False) / order.n_pairs for items in (problem.X, problem.y))
    return Plan(
        backend=backend,
        algorithm=code,
        auto=algorithm == "auto",
        explanation=f"{why_backend}; {why_algorithm}",
        threads=workers,
        staged=needs_moments and (shared or problem.n_samples > LONG),
        needs_moments=needs_moments,
        inline=inline,
        fits_per_task=min(chunk or fits, order.n_fits),
        pairs_per_group=max(1, int(MOMENTS_BYTES / bytes_per_pair)),
    )
