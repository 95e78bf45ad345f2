"""The plan of a call: which algorithm, how many fits in a task, how many threads; and why.

1. The algorithm of a fit depends on its own data alone (how many samples it uses, how many features
   it has, whether they are finite: running/chunks.py, `set_fates`) and on the option `algorithm`.
   So its bits do not depend on the other fits (docs/arithmetic.md, section 9). The plan names the
   algorithm of fits that use all their samples. Tasks, threads and memory never change a bit.
2. The costs below are rough, measured on AVX2 and AVX-512 machines. They only decide how the work
   is cut into pieces of a few milliseconds.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..kernels.chunk import ALGORITHMS, AUTOGRAD, LSTSQ, MANUAL, MOMENTS, MOST_PACKED, MOST_SINGLE, STREAM
from .backends import BACKENDS, MOST_FEATURES, Backend, choose_algorithm
from .minibatches import MiniBatches

PIECE_NS = 4_000_000  # length of a task that is aimed at [ns]
DEVICE_BYTES = 2**32  # data of one task on a GPU
SHORT_NS = 250_000  # what Python does around a task takes as long as a shorter one [ns]
THREADS_NS = 100_000  # what starting threads takes, and waiting for them: shorter stages of a call have none [ns]
INLINE_NS = 2_000_000  # less work runs in the calling thread: starting threads takes as long [ns]
DEAF_NS = 200_000_000  # longest work done in the calling thread, which Ctrl-C cannot interrupt [ns]
PACK = 32  # fits of a pack of the CPU kernels
LONG = 65_536  # samples; a fit with more is compressed in parts
TILED_BYTES = 2**19  # data whose fits interleave are transposed in tiles of this size
STACK_NUMBERS = 2**15  # numbers of samples or matrices that one step in NumPy takes
TALL = 4  # samples per parameter: from here on a factor is made block after block, where n · D is large
RECORDS_BYTES = 2**20  # records of a task of `solve`, which are read again while they are in the cache
MOMENTS_BYTES = 256 * 2**20  # most bytes of moments in memory at a time


@dataclass(frozen=True)
class Plan:
    """What was decided for a call, and why."""

    backend: Backend
    algorithm: int  # code of the algorithm, for fits with finite data
    auto: bool  # whether a fit that loses samples may take another algorithm
    explanation: str
    threads: int
    staged: bool  # all pairs of a group are compressed before its fits descend
    needs_moments: bool  # the CPU kernels make moments
    standardize: bool  # features are centred and scaled
    inline: bool  # the calling thread runs the job
    fits_per_task: int
    pairs_per_group: int  # pairs (of an X and a y) whose moments are in memory together
    together: bool = True  # many targets on one X may be summed at a time, which takes more memory in each thread
    batched: bool = False  # mini-batches; the algorithm is then what the losses of all samples come from

    @property
    def algorithm_name(self) -> str:
        """Name of the algorithm."""
        return "minibatch" if self.batched and self.algorithm in (MOMENTS, STREAM) else ALGORITHMS[self.algorithm]


def available_threads() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_short_series(problem: Problem) -> bool:
    """Whether moments/single_feature.py sums the samples, in whatever layout they lie."""
    return problem.n_features == 1 and problem.n_samples <= MOST_SINGLE


def _compress_cost(problem: Problem, safe_rate: bool) -> float:
    """Rough time to compress one fit, and to find its λ_max where safe_rate is True [ns]."""
    n, size = problem.usual_samples, problem.n_parameters
    pairs = (size + 1) * (size + 2) / 2
    per_pair, per_number = (0.31, 0.5) if problem.dtype == np.float64 else (0.04, 0.2)
    eigenvalue = 5 * size**3 if safe_rate else 0
    return 60 + n * (pairs * per_pair + size * per_number) + eigenvalue


def _epoch_cost(problem: Problem, algorithm: int, has_roots: bool) -> float:
    """Rough time of one epoch of one fit [ns]. has_roots: as in `make_plan`."""
    n, size, double = problem.usual_samples, problem.n_parameters, problem.dtype == np.float64
    if algorithm == MOMENTS and size <= MOST_PACKED:
        return (3.5 + size * size * 0.6 if double else 0.5 + size * size * 0.08) + size * 1.5 * has_roots
    if algorithm == MOMENTS:
        return 10 + 30 * size + size * size * (4.0 if double else 1.0)
    if algorithm == STREAM:
        return 30 + n * (1 + size) * (0.2 if double else 0.1)
    return 50_000 if algorithm == AUTOGRAD else 10_000


def _cost_of_batches(problem: Problem, algorithm: int, batches: MiniBatches) -> float:
    """Rough time of one epoch of mini-batches of one fit, and of the loss of all samples [ns]."""
    steps, of_row = batches.steps(problem.n_samples), _epoch_cost(problem, algorithm, False)
    if algorithm in (AUTOGRAD, MANUAL):
        return (1 + steps) * of_row
    return _epoch_cost(problem, STREAM, False) + of_row + 200 * steps + 20 * problem.n_samples * batches.shuffle


def _even(n_fits: int, fits: int, workers: int) -> int:
    """About `fits` fits per task: equally many tasks for all workers, of whole packs."""
    rounds = -(-n_fits // (fits * workers))
    fits = -(-n_fits // (rounds * workers))
    return -(-fits // PACK) * PACK if fits > 8 * PACK else fits


def _fits_per_task(problem: Problem, order: FitOrder, backend: Backend, per_fit: float, workers: int, in_packs: bool) -> int:
    """How many fits one task runs. per_fit: time of one fit [ns], where in_packs of a full pack."""
    if backend.takes_device_data:
        Z = problem.n_parameters + 1
        numbers = problem.n_samples * (problem.n_features + 1) if problem.given is None else Z * (Z + 1)
        of_a_pair = numbers * problem.dtype.itemsize
        # the fits of one pair of an X and a y stay together
        return max(1, int(DEVICE_BYTES / of_a_pair)) * order.n_cells
    # a pack of a few fits takes as long as a full one
    least = min(PACK, -(-order.n_fits // workers)) if in_packs else 1
    fits = max(least, int((PIECE_NS if backend.has_threads else 50 * PIECE_NS) / per_fit))
    if workers > 1:
        tasks = min(4, max(1, int(order.n_fits * per_fit / workers / SHORT_NS)))  # of each worker, at least
        fits = _even(order.n_fits, min(fits, max(least, -(-order.n_fits // (tasks * workers)))), workers)
    return fits


def _bytes_of_records(size: int) -> tuple[int, int]:
    """Bytes of a Gram record, and of a target's, of fits with this many parameters, at most."""
    return 8 * size * (size + 3), 8 * 3 * (size + 1)


def _bytes_per_pair(problem: Problem, order: FitOrder, n_grams: int) -> float:
    """Bytes of moments, lists of kept samples and converted data per pair of an X and a y."""
    size, parts = problem.n_parameters, max(1, -(-problem.n_samples // LONG))
    per_gram, per_target = _bytes_of_records(size)
    grams_per_pair = 1.0 if problem.may_lose_samples else n_grams / order.n_pairs
    lists = 16 * problem.n_samples if problem.may_lose_samples else 0
    converted = (items.bytes_to_copy(items.count, tiles=False) for items in (problem.X, problem.y))
    return (per_target + per_gram * grams_per_pair) * parts + lists + sum(converted) / order.n_pairs


def make_plan(
    problem: Problem,
    order: FitOrder,
    backend: Backend,
    *,
    epochs: int,
    algorithm: str,
    threads: int | None,
    safe_rate: bool,
    standardize: bool = False,
    has_roots: bool = False,
    why_backend: str = "",
    fits_per_task: int | None = None,
    worst_cost: float | None = None,
    keeps_moments: bool = False,
    batches: MiniBatches | None = None,
) -> Plan:
    """Choose the algorithm, the number of threads, and the sizes of tasks and groups.

    Parameters
    ----------
    safe_rate : bool
        Whether rates are computed from λ_max, which needs moments.
    standardize : bool
        Whether features are centred and scaled, which needs moments too.
    has_roots : bool
        Whether a step of the update rule takes roots and divisions, as of every rule but SGD.
    why_backend : str
        The first half of the explanation.
    fits_per_task : int, optional
        Replaces the number that follows from the costs; no bit depends on it.
    worst_cost : float, optional
        Time of one fit at worst [ns]; None: all epochs on its samples.
    keeps_moments : bool
        Whether the moments are what is asked for.
    batches : MiniBatches, optional
        How epochs are cut into steps.
    """
    code, why_algorithm = choose_algorithm(algorithm, backend, problem.n_samples, problem.n_features)
    if problem.given is not None:
        why_algorithm = "moments: X is Moments"
    if threads is not None and not backend.has_threads:
        raise ValueError(f"threads is an option of backend 'cpu'; backend {backend.name!r} {backend.fits_at_a_time}")
    needs_moments = backend.makes_moments_on_host and (code == MOMENTS or safe_rate or standardize)
    n_grams = math.prod(problem.gram_leading)
    own_y = order.n_cells == 1 and problem.y.count == order.n_pairs
    # one feature's sums for the Gram matrix take no longer than to have them from elsewhere
    alone = is_short_series(problem) and problem.X.count == 1 and problem.weights is None
    shared = not (own_y and (alone or n_grams == order.n_pairs))
    compress = _compress_cost(problem, safe_rate) if needs_moments else 5 * problem.n_parameters**3 * safe_rate
    per_epoch = _epoch_cost(problem, code, has_roots) if batches is None else _cost_of_batches(problem, code, batches)
    descend = 60 + (epochs + 1) * per_epoch
    total = order.n_fits * descend + (order.n_pairs if shared else order.n_fits) * compress
    # in the worst case every fit overflows at once, and runs all epochs on its samples
    at_worst = order.n_fits * (worst_cost or 60 + (epochs + 1) * (_epoch_cost(problem, STREAM, False) + per_epoch * (batches is not None)))
    # the calling thread shows progress and receives Ctrl-C while another one waits for the GPU
    # torch's OpenMP threads keep the floating-point mode of the thread that makes them: one of ours
    elsewhere = backend.takes_device_data or code == AUTOGRAD
    inline = total < INLINE_NS and not elsewhere and (not backend.has_threads or at_worst < DEAF_NS)
    workers = 1 if inline or not backend.has_threads else (available_threads() if threads is None else threads)
    in_packs = backend.has_threads and code == MOMENTS and problem.n_parameters <= MOST_PACKED and batches is None
    per_fit = descend + (0 if shared else compress)
    fits = fits_per_task or _fits_per_task(problem, order, backend, per_fit, workers, in_packs)
    staged = needs_moments and (shared or problem.n_samples > LONG or keeps_moments or problem.given is not None)
    return Plan(
        backend=backend,
        algorithm=code,
        auto=algorithm == "auto",
        explanation=f"{why_backend}; {'' if batches is None else batches.words + ' '}{why_algorithm}",
        threads=workers,
        staged=staged,
        needs_moments=needs_moments,
        standardize=standardize,
        inline=inline,
        fits_per_task=min(fits, order.n_fits),
        pairs_per_group=max(1, int(MOMENTS_BYTES / _bytes_per_pair(problem, order, n_grams))) if staged else 1,
        batched=batches is not None,
    )


def plan_solve(problem: Problem, order: FitOrder, threads: int | None, standardize: bool) -> Plan:
    """Plan to solve from moments where n_samples ≥ D and n_features ≤ 256, else by the SVD."""
    n, size = problem.n_samples, problem.n_parameters
    if problem.given is not None:
        code, why = MOMENTS, "moments: X is Moments"
    elif n < size:
        code, why = LSTSQ, f"lstsq: n_samples {n} < n_parameters {size}"
    elif problem.n_features > MOST_FEATURES:
        code, why = LSTSQ, f"lstsq: n_features {problem.n_features} > {MOST_FEATURES}"
    else:
        code = MOMENTS
        why = "moments: the data are read once; fits that need more than the moments hold are solved by lstsq"
    # from moments a fit costs about as much as 4 D epochs of descent, its singular values as much
    # as 20 D epochs of `stream` and 3 µs of calls
    decomposed = 3_000 + 20 * size * (30 + 0.2 * n * (1 + size))
    plan = make_plan(
        problem,
        order,
        BACKENDS["cpu"],
        epochs=4 * size if code == MOMENTS else int(decomposed / (30 + 0.1 * n * (1 + size))),
        algorithm="moments" if code == MOMENTS else "stream",
        threads=threads,
        safe_rate=False,
        standardize=standardize,
        worst_cost=decomposed,
    )
    fits = plan.fits_per_task
    if code == MOMENTS and not plan.staged and order.n_fits > PACK:
        of_a_task = max(PACK, RECORDS_BYTES // sum(_bytes_of_records(size)))
        fits = _even(order.n_fits, min(fits, of_a_task), plan.threads)
    explanation = f"cpu: the data are in the computer's memory; {why}"
    return replace(plan, algorithm=code, fits_per_task=fits, explanation=explanation)


def bytes_of_stack(problem: Problem) -> int:
    """Bytes that a thread needs to decompose the samples of some fits, or the matrix of one."""
    size = problem.n_parameters  # longer samples are made triangular, block after block
    return 8 * 8 * max(STACK_NUMBERS, min(problem.n_samples, TALL * size) * size)
