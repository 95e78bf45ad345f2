"""The second moments of a group of fits, and which samples each fit keeps.

1. A group is a range of pairs (of an X and a y, with their weights). Where each fit has data of its
   own, one task gathers and compresses its group while the data are in the cache (`read_group`).
   Where data are shared, or a fit has more than 65,536 samples, many tasks compress one group
   together, before its fits descend (`compress_groups`).
2. Data are never copied to leave samples out. All samples are compressed first: NaN and inf in the
   data appear in the moments. Only fits with such moments are read again, to find the samples that
   are missing; good data are read once.
3. A negative weight raises under every nan_policy, one that is not finite under "raise", as data
   do. Then `fit` returns nothing, but the caller's arrays of `out` may be half written.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..data.ragged import GroupProblem
from ..input.float_mode import set_ieee_mode
from ..kernels.chunk import NEGATIVE, NOT_FINITE, Samples
from ..planning.plan import THREADS_NS, Plan
from . import pieces
from .groups import Group, gather, gather_group, given_group, indices, samples_of_grams, select
from .long_fits import length_of_part
from .pool import Control, Run, Task, cut

FindKept = Callable[[Samples, bool, bool, np.ndarray], tuple[np.ndarray, np.ndarray]]  # as kernels.reference.kept.find_kept


class NonFiniteDataError(Exception):
    """Data of some fit are not finite; run.py then names the first such number."""


class NegativeWeightError(Exception):
    """A sample weight is negative; run.py then names the first such weight."""


def read_group(
    problem: Problem, order: FitOrder, first: int, stop: int, control: Control, *, compress: bool, contiguous: bool = False,
    find_kept: FindKept | None = None, for_moments: bool = False,
) -> Group:  # fmt: skip
    """The group of one task: pairs first … stop-1, without missing samples, compressed if asked.

    contiguous, for_moments: as in `gather_group`.
    """
    group = gather_group(problem, order, first, stop, contiguous, for_moments)
    complete_group(problem, group, control, compress=compress, find_kept=find_kept)
    return group


def complete_group(
    problem: Problem, group: Group, control: Control, *, compress: bool, scratch: Any = None, find_kept: FindKept | None = None
) -> None:
    """Leave out missing samples of a group, and compress it if asked.

    scratch: moments of at least as many fits, to write into; None: new memory. find_kept: what
    looks for missing samples; None: the kernel of the CPU.
    """
    samples, count = group.samples, len(group.samples.n_used)
    spread = _leave_out_weightless(problem, group, control, find_kept)
    if not compress:
        _find_missing(problem, group, control, find_kept)
        return
    cpu = _kernels()
    moments = cpu.Moments.empty(count, count, problem.n_parameters, problem.dtype) if scratch is None else scratch.of_first(count)
    group.moments = moments
    group.gram_index = indices(count)[0]
    if spread is not None:
        moments.set_weight_range(spread)
    finite = cpu.compress_fits(samples, problem.intercept, moments, control.cancel)
    group.is_whole = finite and spread is None and samples.lengths is None
    if not finite and not control.cancel[0]:
        _find_invalid(problem, group, control, at_once)


@functools.cache  # the import takes 1 µs where it is done
def _kernels() -> Any:
    """The kernels of the CPU; they import Numba, which the references may do without."""
    from ..kernels import cpu

    return cpu


def at_once(tasks: Iterable[Task]) -> None:
    """Run tasks in the calling thread, within a task."""
    for task in tasks:
        task(np.zeros(1, np.int64))


def compress_groups(
    problem: Problem, order: FitOrder, plan: Plan, control: Control, go: Run, needed: Callable[[int, int], bool] | None = None
) -> Iterator[Group]:
    """Group after group, its data compressed. A Gram matrix that pairs share is computed once.

    needed: whether a group of pairs is wanted, by the first one and the one after the last.
    """
    starts: Iterable[int] = range(0, order.n_pairs, plan.pairs_per_group)
    if needed is not None:
        starts = [first for first in starts if needed(first, min(first + plan.pairs_per_group, order.n_pairs))]
    if problem.given is not None:
        for first in starts:
            yield given_group(problem, order, first, min(first + plan.pairs_per_group, order.n_pairs), own=plan.standardize)
        return
    if isinstance(problem, GroupProblem) and problem.is_ragged:
        for first in range(0, order.n_pairs, plan.pairs_per_group):
            yield _compress_rows(problem, order, first, min(first + plan.pairs_per_group, order.n_pairs), control, go)
        return
    cpu = _kernels()
    # of the last group: (range of its Gram matrices, their samples, which are invalid, moments)
    before: tuple[tuple[int, int], Samples, np.ndarray, Any] | None = None
    for first in starts:
        pairs = np.arange(first, min(first + plan.pairs_per_group, order.n_pairs), dtype=np.int64)
        fits = pairs * order.n_cells
        grams = order.index(problem.gram_leading, fits)
        span = int(grams.min()), int(grams.max()) + 1
        y, y_index = gather(problem.y, order.index(problem.y.leading, fits), go)
        if before is None or before[0] != span:
            of_grams = samples_of_grams(problem, span, go)
            holder = Group(0, of_grams, np.zeros(len(of_grams.n_used), bool))
            moments = cpu.Moments.empty(len(of_grams.n_used), len(pairs), problem.n_parameters, problem.dtype)
            spread = _leave_out_weightless(problem, holder, control)
            if spread is not None:
                moments.set_weight_range(spread)
            before = span, of_grams, holder.invalid, moments
        else:  # the Gram matrices of the last group
            moments = cpu.Moments.empty(0, len(pairs), problem.n_parameters, problem.dtype)
            known = before[3]
            moments.gram, moments.gram_exponents, moments.weighing = known.gram, known.gram_exponents, known.weighing
        span, of_grams, bad, known = before
        gram_index = grams - span[0]
        samples = Samples(
            of_grams.X, y, of_grams.x_index[gram_index], y_index, of_grams.weights, of_grams.weight_index[gram_index],
            of_grams.kept, of_grams.kept_index[gram_index], of_grams.n_used[gram_index],
        )  # fmt: skip
        # a Gram matrix for each pair: both records are made in one pass
        if math.prod(problem.gram_leading) == order.n_pairs:
            _compress(problem, samples, moments.gram, moments.target, moments.exponents, moments.weighing, control, go)
            moments.gram_exponents[:] = moments.exponents
        else:
            if known is moments:
                # the kernel needs a y to be there, and does not read it for Gram records alone
                some_y = replace(of_grams, y=y[:1], y_index=np.zeros_like(of_grams.x_index))
                _compress(problem, some_y, moments.gram, moments.target[:0], moments.gram_exponents, moments.weighing, control, go)
                del some_y
            weighing = moments.weighing[gram_index]
            records = moments.gram[:0], moments.target, moments.exponents, weighing
            _compress(problem, samples, *records, control, go, together=plan.together)
        group = Group(first, samples, bad[gram_index], moments, gram_index)
        if not control.cancel[0]:
            _find_invalid(problem, group, control, go)
        yield group
        del group, samples, moments, y  # free their memory before the next group is made


def _compress_rows(problem: GroupProblem, order: FitOrder, first: int, stop: int, control: Control, go: Run) -> Group:
    """Groups first … stop-1 of the rows of a table, of unlike sizes, compressed by many tasks."""
    cpu = _kernels()
    group, count = gather_group(problem, order, first, stop), stop - first
    group.moments = moments = cpu.Moments.empty(count, count, problem.n_parameters, problem.dtype)
    group.gram_index = np.arange(count, dtype=np.int64)
    spread = _leave_out_weightless(problem, group, control)
    if spread is not None:
        moments.set_weight_range(spread)
    _compress(problem, group.samples, moments.gram, moments.target, moments.exponents, moments.weighing, control, go)
    moments.gram_exponents[:] = moments.exponents
    if not control.cancel[0]:
        _find_invalid(problem, group, control, go)
    return group


def _leave_out_weightless(problem: Problem, group: Group, control: Control, find_kept: FindKept | None = None) -> np.ndarray | None:
    """Leave out the samples of weight 0; refuse or note weights that are negative or not finite.

    Returns (m, 2), the smallest and the largest weight of each fit; None without weights.
    """
    if problem.weights is None:
        return None
    find_kept = find_kept or _kernels().find_kept
    faults, spread = find_kept(group.samples, problem.nan_policy == "omit", False, control.cancel)
    if (faults == NEGATIVE).any():
        raise NegativeWeightError
    group.invalid |= faults == NOT_FINITE
    _refuse(problem, group.invalid)
    return spread


def _find_missing(problem: Problem, group: Group, control: Control, find_kept: FindKept | None) -> None:
    """Search the data for missing values, where there are no moments that would show them.

    Under `nan_policy="omit"` the samples are left out; else such fits are noted or refused.
    """
    omit = problem.nan_policy == "omit"
    seen = group.samples if omit else replace(group.samples, n_used=group.samples.n_used.copy())
    (find_kept or _kernels().find_kept)(seen, omit, True, control.cancel)
    if not omit and not control.cancel[0]:
        group.invalid |= seen.n_used < group.samples.n_used
        _refuse(problem, group.invalid)


def _find_invalid(problem: Problem, group: Group, control: Control, go: Run) -> None:
    """Find fits with non-finite data by their moments.

    They are refused ("raise"), noted ("propagate") or compressed again without the missing samples
    ("omit"), by `nan_policy`.
    """
    moments = group.moments
    group.invalid = group.invalid | ~(moments.finite_gram()[group.gram_index] & moments.finite_target())
    if not group.invalid.any():
        return
    _refuse(problem, group.invalid)
    if problem.nan_policy == "propagate":
        return
    wrong = np.flatnonzero(group.invalid)
    again, found = _compress_without_missing(problem, group.samples, wrong, control, go)
    if control.cancel[0]:
        return
    _replace_moments(group, wrong, again)
    _replace_samples(group, wrong, found)
    group.invalid = np.zeros_like(group.invalid)


# {position in `wrong` of the first fit of a task: (kept, kept_index, n_used) of its fits}
Found = dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]


def _compress_without_missing(problem: Problem, samples: Samples, wrong: np.ndarray, control: Control, go: Run) -> tuple[Any, Found]:
    """(moments, lists of kept samples) of the pairs with the numbers `wrong`."""
    cpu = _kernels()
    again = cpu.Moments.empty(len(wrong), len(wrong), problem.n_parameters, problem.dtype)
    found: Found = {}

    def compress(first: int, stop: int, counter: np.ndarray) -> None:
        some = select(samples, wrong[first:stop])
        _, spread = cpu.find_kept(some, True, True, control.cancel)
        if control.cancel[0]:
            return
        here = slice(first, stop)
        part = cpu.Moments(again.gram[here], again.gram_exponents[here], again.weighing[here], again.target[here], again.exponents[here])
        if problem.weights is not None:
            part.set_weight_range(spread)
        cpu.compress_fits(some, problem.intercept, part, control.cancel)
        found[first] = some.kept, some.kept_index, some.n_used

    go(cut(len(wrong), pieces.fits_per_task(problem.n_samples, problem.n_parameters), compress))
    return again, found


def _replace_moments(group: Group, wrong: np.ndarray, again: Any) -> None:
    """Give the pairs `wrong` new records; Gram records are appended, as the old may be shared."""
    cpu = _kernels()
    moments = group.moments
    group.moments = cpu.Moments(
        np.concatenate([moments.gram, again.gram]),
        np.concatenate([moments.gram_exponents, again.gram_exponents]),
        np.concatenate([moments.weighing, again.weighing]),
        moments.target,
        moments.exponents,
    )
    moments.target[wrong], moments.exponents[wrong] = again.target, again.exponents
    group.gram_index = group.gram_index.copy()
    group.gram_index[wrong] = len(moments.gram) + np.arange(len(wrong))


def _replace_samples(group: Group, wrong: np.ndarray, found: Found) -> None:
    """Give the pairs `wrong` their lists of kept samples, appended to those of the group."""
    samples = group.samples
    lists, kept_index, n_used = [samples.kept], samples.kept_index.copy(), samples.n_used.copy()
    n_rows = len(samples.kept)
    for first in sorted(found):
        kept, places, counts = found.pop(first)
        here = wrong[first : first + len(counts)]
        n_used[here] = counts
        if kept is not samples.kept:  # else no sample of this task was left out
            kept_index[here] = np.where(places < 0, -1, places + n_rows)
            lists.append(kept)
            n_rows += len(kept)
    group.samples = replace(samples, kept=np.concatenate(lists), kept_index=kept_index, n_used=n_used)


def _refuse(problem: Problem, invalid: np.ndarray) -> None:
    """Raise where some data are invalid and `nan_policy` is "raise"."""
    if problem.nan_policy == "raise" and invalid.any():
        raise NonFiniteDataError


def _compress(
    problem: Problem, samples: Samples, gram: np.ndarray, target: np.ndarray, exponents: np.ndarray, weighing: np.ndarray,
    control: Control, go: Run, shift: np.ndarray | None = None, together: bool = False,
) -> None:  # fmt: skip
    """Write the records of these samples, in parallel over fits and, for long fits, over samples.

    gram, target: the records, one per item each; of length 0 where they are not wanted.
    exponents, weighing: (items, D + 1) and (items, …), as in kernels/cpu/records.py. shift (items,
    D + 1): what is subtracted from the columns first. together: many targets on one X may be summed
    at a time.
    """
    cpu = _kernels()
    n, size, count = problem.n_samples, problem.n_parameters, len(samples.n_used)
    together = together and pieces.have_x_in_common(samples, n, size)
    if together:
        from ..kernels.cpu import compile_ahead

        compile_ahead.compile_parts(problem.dtype, {"targets"})
    length = cpu.RANGE if n <= cpu.RANGE else length_of_part(problem)
    while together and length < n:
        length *= 2
    starts = np.arange(0, n, length, dtype=np.int64)
    parts = len(starts)
    items_per_task = pieces.targets_per_task(count, n, size) if together else pieces.fits_per_task(min(n, length), size)
    copied = pieces.interleave(samples, together)
    if copied:
        items_per_task = 1 if parts > 1 else pieces.interleaved_per_task(samples, items_per_task, n, size)
    part_gram, part_target, part_exponents, part_weighing = gram, target, exponents, weighing
    if parts > 1:
        records = cpu.Moments.empty(count * parts if len(gram) else 0, count * parts if len(target) else 0, size, problem.dtype)
        part_gram, part_target = records.gram, records.target
        part_exponents, part_weighing = np.empty((count * parts, size + 1), np.int64), np.repeat(weighing, parts, axis=0)

    def compress(first: int, stop: int, counter: np.ndarray) -> None:
        item, part = np.divmod(np.arange(first, stop, dtype=np.int64), parts)
        here = slice(first, stop)
        some = pieces.tiled(samples, item) if copied else select(samples, item)
        begin, end = np.minimum(starts[part], samples.n_used[item]), np.minimum(starts[part] + length, samples.n_used[item])
        records = part_target[here], part_exponents[here], part_weighing[here]
        if together:
            cpu.compress_targets(some, begin, end, problem.intercept, *records, control.cancel)
            return
        by = None if shift is None else shift[item]
        cpu.compress_items(some, begin, end, problem.intercept, part_gram[here], *records, control.cancel, by)

    tasks = cut(count * parts, items_per_task, compress)
    if count * parts * pieces.cost(min(n, length), size) < THREADS_NS:
        set_ieee_mode()  # a progress function may have left another one
        at_once(tasks)
    else:
        go(tasks)
    if parts == 1 or control.cancel[0]:
        return
    for item in range(count):
        here = slice(item * parts, (item + 1) * parts)
        used = max(1, -(-int(samples.n_used[item]) // length))
        cpu.join(part_gram[here], part_target[here], part_exponents[here], part_weighing[here], used)
        if len(gram):
            gram[item] = part_gram[item * parts]
        if len(target):
            target[item] = part_target[item * parts]
        exponents[item], weighing[item] = part_exponents[item * parts], part_weighing[item * parts]


def compress_shifted(problem: Problem, group: Group, pairs: np.ndarray, shift: np.ndarray, control: Control) -> Any:
    """The moments of some pairs of a compressed group, with shift (m, D + 1) subtracted.

    It is work within a task.
    """
    cpu = _kernels()
    moments = cpu.Moments.empty(len(pairs), len(pairs), problem.n_parameters, problem.dtype)
    moments.weighing[:] = group.moments.weighing[group.gram_index[pairs]]
    samples = select(group.samples, pairs)
    _compress(problem, samples, moments.gram, moments.target, moments.exponents, moments.weighing, control, at_once, shift)
    moments.gram_exponents[:] = moments.exponents
    return moments
