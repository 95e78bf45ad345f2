"""The memory of a call: how much it may take, what it needs, and how small its pieces must be.

1. Sizes are planned before anything is allocated: see input/room.py.
2. Counted are the results and states, and for each thread the converted data, lists of samples,
   moments and results of its task, and OF_A_CALL. The user's own arrays, `out` included, are not
   counted.
3. The size of a piece changes no bit (docs/arithmetic.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.messages import amount, counted
from ..input.room import SHARE, SMALL_BYTES, free_memory
from ..kernels.chunk import STREAM
from ..kernels.reference.kept import BLOCK
from .plan import TILED_BYTES, Plan, is_short_series

OF_A_CALL = 2**16  # bytes of Python's own objects, in a call of any size; 25 to 50 thousand were measured


def fit_into_memory(
    problem: Problem,
    order: FitOrder,
    plan: Plan,
    *,
    results: int,
    of_a_fit: int,
    rows: int,
    limit: int | None,
    of_a_thread: int = 0,
    continued: bool = False,
) -> Plan:  # fmt: skip
    """The plan, with pieces that stay below the limit; MemoryError where none are small enough.

    results: bytes of the results of all fits. of_a_fit: further bytes of one fit while it is
    computed; of_a_thread: of each thread. rows: rows of its history. continued: from a state.
    limit: bytes; None: 80 % of the free memory.
    """
    numbers = order.n_pairs * problem.n_samples * (problem.n_features + 2)  # X, y and weights
    if plan.inline and limit is None and results + 2 * 8 * numbers < SMALL_BYTES / 2:
        return plan  # its data, were all of them converted, and its scratch are small
    if problem.device is not None:  # a GPU's memory is checked by results/device_buffers.py
        return plan
    of_thread = _bytes_of_scratch(problem, plan) + of_a_thread
    of_pair = bytes_of_pair(problem, plan)
    if plan.standardize:
        of_pair += _bytes_of_standard(problem, plan, continued)
    of_fit, of_pair = (of_a_fit, of_pair) if plan.staged else (of_a_fit + of_pair, 0)
    shared = _bytes_of_shared(problem, plan) + of_thread + OF_A_CALL
    # at least one thread and one fit
    least = results + shared + of_fit + of_pair
    wanted = results + shared + plan.threads * (of_thread + plan.fits_per_task * of_fit)
    wanted += min(plan.pairs_per_group, order.n_pairs) * of_pair
    together = plan.threads * _bytes_of_targets(problem, order, plan)
    if limit is None:
        if wanted + together < SMALL_BYTES:
            return plan
        free = free_memory()
        if free is None:
            return plan
        limit = int(SHARE * free)
        limit_in_words = f"{limit / 2**30:,.2f} GiB ({SHARE:.0%} of what is free) may be used"
    else:
        limit_in_words = f"memory_limit is {amount(limit)}"
    if wanted + together <= limit:
        return plan
    plan = replace(plan, together=False)
    if wanted <= limit:
        return plan
    if least > limit:
        raise MemoryError(_what_is_needed(problem, order, plan, results, least - results, rows, limit_in_words))
    left = limit - results - shared
    groups = min(plan.pairs_per_group, order.n_pairs, max(1, int(left / 2 / of_pair))) if of_pair else plan.pairs_per_group
    left -= groups * of_pair if of_pair else 0
    threads = max(1, min(plan.threads, left // max(1, of_thread + of_fit)))
    fits = max(1, min(plan.fits_per_task, (left // threads - of_thread) // max(1, of_fit)))
    return replace(plan, threads=int(threads), fits_per_task=int(fits), pairs_per_group=int(groups))


def bytes_of_pair(problem: Problem, plan: Plan) -> int:
    """Bytes of one pair (an X and a y): of its data, as far as they are copied, and its moments."""
    return _bytes_of_data(problem, plan) + _bytes_of_record(problem, plan)


def _bytes_of_data(problem: Problem, plan: Plan) -> int:
    """Bytes of the converted data of one pair, and of its lists of kept samples."""
    tiles = not plan.staged
    data = [problem.y] if problem.weights is None else [problem.y, problem.weights]
    if tiles or problem.X.count > 1:
        data.append(problem.X)
    lists = 0
    if problem.may_lose_samples:
        lists = 16 * problem.n_samples  # by weights, by missing values, and both joined
    elif not plan.needs_moments:
        lists = 4 * problem.n_samples  # samples are searched for missing values
    indices = 2 * (9 + 5) * 8  # of two groups: one is freed after the next is made
    return sum(items.bytes_to_copy(1, tiles) for items in data) + lists + indices


def _bytes_of_shared(problem: Problem, plan: Plan) -> int:
    """Bytes of the converted copy of an X that all fits share; 0 where there is none."""
    return problem.X.bytes_to_copy(1, False) if plan.staged and problem.X.count == 1 else 0


def _bytes_of_record(problem: Problem, plan: Plan) -> int:
    """Bytes of the moments that are made of one pair."""
    if not plan.needs_moments or problem.given is not None:
        return 0
    shares_gram = plan.staged and problem.X.count == 1 and not problem.may_lose_samples
    return bytes_of_record(problem, with_gram=not shares_gram)


def bytes_of_record(problem: Problem, with_gram: bool) -> int:
    """Bytes of the moments of one pair of an X and a y; without its Gram record if it is shared."""
    from ..kernels import cpu

    return cpu.record_bytes(problem.n_parameters, problem.dtype, with_gram)


def bytes_of_centring(problem: Problem) -> int:
    """Bytes of one fit to be solved without its intercept: running/centring.py."""
    size = problem.n_parameters
    return 8 * 8 * (size * (size + 1) // 2 + 4 * size)  # records in double-double, and temporaries


def _bytes_of_standard(problem: Problem, plan: Plan, continued: bool) -> int:
    """Bytes of one pair for center, scale and copied moments: running/standardizing.py."""
    size, d = problem.n_parameters, problem.n_features
    made = 2 * 8 * d + d + 1  # center and scale; which columns are constant, which records are doubtful
    taken = 8 * d + 8  # one of them, taken for the fits
    given = 3 * 2 * 8 * d + 3 * 8 if continued else 0  # those of the state: of pairs, of records, compared
    if not plan.staged:
        return made + taken + given
    gram = bytes_of_record(problem, with_gram=True) - bytes_of_record(problem, with_gram=False)
    return made + taken + given + (gram + 8 * (size + 1) + 8 * 4) * (1 + continued)  # with exponents and weights


def _bytes_of_scratch(problem: Problem, plan: Plan) -> int:
    """Bytes of scratch memory of the kernels in one thread."""
    if plan.backend.runner == "reference":
        return BLOCK * (problem.n_features + 24)  # masks, places and weights of the samples that are looked at
    from ..kernels import cpu

    if not plan.needs_moments:
        return cpu.stream_scratch_bytes(problem.n_samples, problem.n_features, problem.n_parameters, problem.dtype)
    data = [items for items in (problem.X, problem.y, problem.weights) if items is not None]
    tiles = plan.staged and any(items.bytes_to_copy(1) and not items.bytes_to_copy(1, tiles=False) for items in data)
    tiled = TILED_BYTES if tiles else 0  # data whose fits interleave are transposed in tiles
    apart = is_short_series(problem) and any(items.lies_apart for items in (problem.X, problem.y))
    return tiled + cpu.moments_scratch_bytes(problem.n_samples, problem.n_parameters, problem.dtype, apart)


def _bytes_of_targets(problem: Problem, order: FitOrder, plan: Plan) -> int:
    """Bytes of scratch memory in each thread where many targets on one X are summed at a time."""
    if not (plan.staged and plan.together) or problem.given is not None or order.n_pairs == math.prod(problem.gram_leading):
        return 0
    from ..kernels import cpu

    return cpu.targets_scratch_bytes(problem.n_samples, problem.n_parameters, problem.dtype)


def _what_is_needed(problem: Problem, order: FitOrder, plan: Plan, results: int, work: int, rows: int, limit_in_words: str) -> str:
    size = problem.n_parameters
    recorded = f" with {counted(rows, 'history row')} each" if rows else ""
    needed = f"the results of {counted(order.n_fits, 'fit')} of {counted(size, 'parameter')}{recorded} need {amount(results)}"
    needed += f", computing one fit at a time {amount(work)}"
    if rows > 2:
        advice = "record fewer rows (history=k: every k-th epoch), or give out="
    else:
        advice = "fit a part of the batch at a time, or give out=, arrays on disk for example"
    if work > results:
        advice = "give a larger memory_limit"
        if plan.needs_moments and size > 1000:
            leave = ", and leave standardize=True out" if plan.standardize else ""
            advice = f"give an lr{leave}" if plan.algorithm == STREAM else f"give an lr and algorithm='stream'{leave}"
    return f"{needed}, and {limit_in_words}: {advice} (docs/how-to/memory.md)"
