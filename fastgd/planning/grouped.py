"""GroupsJob: a call of `fit_groups`, `solve_groups` or `compress_groups`, checked and planned.

1. A batch of groups is a job of `fit` or `solve` like any other. Its options are those of the
   call, with the values of its groups where an option has one for each.
2. Groups of one batch have equal sizes, or nearly so where the kernels of the CPU read them as they
   lie in the table (data/ragged.py): whatever their sizes are up to SHORT rows, then within a
   factor of WIDE, so that memory and tasks can be planned by the largest. They stay in the order of
   the table.
3. The largest groups come first: what does not fit into memory is told before work begins, and the
   last tasks are short ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.labels import order_of
from ..data.ragged import GroupProblem
from ..input.hyperparameters import read_hyperparameters, read_penalty
from ..input.messages import counted
from ..input.options import read_memory_limit, read_progress, read_threads
from ..input.reading import read_array
from ..input.shapes import without_repeats
from ..input.statistics import read_stats
from ..kernels.chunk import STANDARD
from ..optimizers import find_optimizer
from ..results.buffers import Buffers
from ..results.building import Provenance
from ..results.checkpoint import Part
from ..results.result import State
from ..schedules.table import read_schedule
from .compress_job import CompressJob, prepare_compress
from .job import ResultJob
from .memory import fit_into_memory
from .plan import LONG, available_threads
from .start import ARRAYS
from .statistics_job import prepare_statistics

SHORT, WIDE = 2**9, 2**3  # rows
MOST_OF_A_BATCH = 2**16  # fits: their results are there twice until they are in their places
_PER_FIT = {
    "lr": 0,
    "intercept0": 0,
    "w0": 1,
    "weight_decay": 0,
    "ridge": 0,
    "seed": 0,
}  # options with a value for each fit: axes that follow those of the fits
_OF_STATE = {name: {"w": 1, "slots": 2, "products": 1, **dict.fromkeys(STANDARD, 1)}.get(name, 0) for name in ARRAYS}


@dataclass(kw_only=True)
class GroupsJob(ResultJob):
    """A call whose fits are groups of rows, ready to run."""

    groups: GroupProblem
    batches: list[np.ndarray]  # the numbers of the groups of each
    prepare_batch: Callable[[np.ndarray], ResultJob]
    hyperparameters: dict[str, np.ndarray]  # of all groups, to be broadcast
    made: list[Provenance]  # of the batches that have run
    statistics: dict[str, Any]  # the fields of Statistics of all groups, as far as batches have run
    batches_part: Part | None = None  # of a checkpoint, that finished batches are stored in

    def drop_results(self) -> None:
        """Let go of results, in memory and stored, of a call that fails whenever it is made."""
        super().drop_results()
        if self.batches_part is not None:
            self.batches_part.checkpoint.discard()

    @property
    def provenance(self) -> Provenance:
        """How the groups are computed; of batches that differ, what holds for all of them."""
        first, sizes = self.made[0], self.groups.groups.sizes
        of_size = {True: f"{sizes.min():,}", False: f"{sizes.min():,} to {sizes.max():,}"}
        starts = {one.start for one in self.made}
        names = {one.algorithm for one in self.made}
        algorithm = "moments" if "moments" in names else first.algorithm
        backend = first.explanation.partition("; ")[0]
        alike = f"{algorithm}: of {of_size[len(set(sizes.tolist())) < 2]} rows, each group computed as alone"
        return Provenance(
            first.backend,
            algorithm,
            f"{backend}; {alike}",
            tol=None if any(one.tol is None for one in self.made) else first.tol,
            start=starts.pop() if len(starts) == 1 else "" if "" in starts else "given",
            penalised=any(one.penalised for one in self.made),
            scheduled=first.scheduled,
            hyperparameters=self.hyperparameters,
        )


def prepare_groups(arguments: Mapping[str, Any], groups: GroupProblem, prepare: Callable[[Mapping[str, Any]], ResultJob]) -> GroupsJob:
    """Make the job. arguments: those of `fit` or `solve`; prepare: makes a job of such a call."""
    limit, progress = read_memory_limit(arguments["memory_limit"]), read_progress(arguments["progress"])
    count = groups.groups.count
    pick = _picker({**arguments, "progress": False}, groups)
    largest = np.argmax(groups.groups.sizes, keepdims=True)
    one = prepare({**pick(largest), "X": groups.of_groups(largest), "memory_limit": None})
    prepare_statistics(one)  # refuses what they do not go with
    shape = (*one.order.shape[:-1], count)
    order = FitOrder(shape, shape, (True,) * len(shape))
    layout = replace(one.buffers.layout, problem=groups, order=order)
    results = order.n_fits * (layout.bytes_per_fit + layout.bytes_in_units)
    plan = replace(one.plan, inline=False, threads=_threads(one, arguments))
    fit_into_memory(groups, order, replace(plan, threads=1, fits_per_task=1), results=results, of_a_fit=0, rows=0, limit=limit)
    left = None if limit is None else max(1, limit - results)
    most = MOST_OF_A_BATCH if left is None else max(1, min(MOST_OF_A_BATCH, left * count // max(1, 4 * results)))
    buffers = Buffers(layout, {})
    buffers.allocate(tightly=limit is not None)
    return GroupsJob(
        problem=groups.table,
        order=order,
        plan=plan,
        progress=progress,
        total=one.total // one.order.n_fits * order.n_fits,
        runner="grouped",
        memory_limit=limit,
        buffers=buffers,
        reduction=one.reduction,
        standardize=one.standardize,
        stats=one.stats,
        groups=groups,
        batches=list(_batches(groups.groups.sizes, most, _reads_the_table(arguments, one, groups))),
        prepare_batch=lambda which: prepare({**pick(which), "X": groups.of_groups(which), "memory_limit": left}),
        hyperparameters=_hyperparameters(arguments),
        made=[],
        statistics={},
    )


@dataclass(kw_only=True)
class CompressGroupsJob(CompressJob):
    """A call of `compress` whose fits are groups of rows, ready to run."""

    batches: list[np.ndarray]  # the numbers of the groups of each
    prepare_batch: Callable[[np.ndarray], CompressJob]


def prepare_groups_to_compress(arguments: Mapping[str, Any], groups: GroupProblem) -> CompressGroupsJob:
    """Make the job. arguments: those of `compress`."""
    limit, progress = read_memory_limit(arguments["memory_limit"]), read_progress(arguments["progress"])
    arguments = {**arguments, "progress": False}
    whole = prepare_compress({**arguments, "X": groups.of_groups(np.arange(groups.groups.count))})  # its moments must have room

    def prepare_batch(which: np.ndarray) -> CompressJob:
        return prepare_compress({**arguments, "X": groups.of_groups(which)})

    return CompressGroupsJob(
        problem=groups.table,
        order=whole.order,
        plan=replace(whole.plan, inline=False),
        progress=progress,
        total=whole.total,
        runner="compressing_groups",
        memory_limit=limit,
        batches=list(_batches(groups.groups.sizes, MOST_OF_A_BATCH, groups.table.leading == ())),
        prepare_batch=prepare_batch,
    )


def _threads(one: ResultJob, arguments: Mapping[str, Any]) -> int:
    """The most threads that a batch may have."""
    asked = read_threads(arguments["threads"])
    return 1 if not one.plan.backend.has_threads else available_threads() if asked is None else asked


def _reads_the_table(arguments: Mapping[str, Any], one: ResultJob, groups: GroupProblem) -> bool:
    """Whether groups of unlike sizes can be one batch."""
    by_samples = one.stats is not None and one.stats.needs_samples
    return one.plan.backend.name == "cpu" and groups.table.leading == () and arguments.get("batch_size") is None and not by_samples


def _batches(sizes: np.ndarray, most: int, unlike: bool) -> Iterator[np.ndarray]:
    """The numbers of groups of a batch, at most `most` at a time, the largest groups first.

    unlike: whether groups of a batch may have unlike sizes.
    """
    kinds = sizes
    if unlike:
        bounds = np.array([0, *(SHORT * WIDE**k for k in range(1 + int(math.log(LONG / SHORT, WIDE))))])
        kinds = np.where(sizes <= bounds[-1], bounds[np.minimum(np.searchsorted(bounds, sizes), len(bounds) - 1)], sizes)
    order = order_of(kinds)
    begins = np.flatnonzero(np.diff(kinds[order], prepend=-1))
    for begin, end in zip(begins[::-1].tolist(), np.append(begins[1:], len(order))[::-1].tolist(), strict=True):
        for first in range(begin, end, most):
            yield order[first : min(first + most, end)]


def _hyperparameters(arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The hyperparameters of all groups, to be broadcast, as in Provenance."""
    if "optimizer" not in arguments:
        decay, ridge = read_penalty(arguments["weight_decay"], arguments["ridge"])
        named = {"weight_decay": decay} if ridge is None else {"ridge": ridge}
    else:
        named = read_hyperparameters(find_optimizer(arguments["optimizer"]))
        if arguments["ridge"] is not None:
            named["ridge"] = read_penalty(0.0, arguments["ridge"])[0] / 2.0
    return {name: np.asarray(without_repeats(values, 0), order="C") for name, values in named.items()}


# -- the options of some of the groups -------------------------------------------------------------

Pick = Callable[[np.ndarray], Any]


def _picker(arguments: Mapping[str, Any], groups: GroupProblem) -> Callable[[np.ndarray], dict[str, Any]]:
    """The function that returns the options of the groups with some numbers."""
    picks: dict[str, Pick] = {}
    count, one_feature = groups.groups.count, groups.one_feature
    _add(picks, "stats", _pick_of_clusters(arguments["stats"], groups))
    for name, n_last in _PER_FIT.items():
        if arguments.get(name) is not None:
            _add(picks, name, _pick_of(arguments[name], name, count, 0 if one_feature else n_last))
    if "optimizer" in arguments:
        _add(picks, "optimizer", _pick_of_optimizer(find_optimizer(arguments["optimizer"]), count))
        _add(picks, "schedule", _pick_of_schedule(arguments["schedule"], count))
        _add(picks, "state", _pick_of_state(arguments["state"], count))
    return lambda which: {**arguments, **{name: pick(which) for name, pick in picks.items()}}


def _add(picks: dict[str, Pick], name: str, pick: Pick | None) -> None:
    if pick is not None:
        picks[name] = pick


def _pick_of(value: Any, name: str, count: int, n_last: int = 0) -> Pick | None:
    """What picks the values of some groups; None where all have the same."""
    try:
        if value is None or (np.ndim(value) == 0 and not hasattr(value, "__array__")):
            return None
    except Exception:  # no array, which the reader says in words
        pass
    array = read_array(value, name)
    return _pick_of_array(array, name, count, n_last)


def _pick_of_array(array: Any, name: str, count: int, n_last: int) -> Pick | None:
    axis = array.ndim - 1 - n_last
    if axis < 0 or array.shape[axis] == 1:
        return None
    if array.shape[axis] != count:
        raise ValueError(
            f"{name} has shape {array.shape}, but there are {counted(count, 'group')}: its axis {axis} must have a value for each group, "
            f"or length 1: for each of these {name} with every group give {name}[..., None]"
        )
    return lambda which: array[(..., which, *[slice(None)] * n_last)]


def _pick_of_clusters(stats: Any, groups: GroupProblem) -> Pick | None:
    """What picks the clusters of statistics, a label for each row of the table."""
    options = read_stats(stats)
    if options is None or options.clusters is None:
        return None
    clusters, n_rows = options.clusters, groups.table.n_samples
    if clusters.shape[-1] != n_rows:
        raise ValueError(f"clusters of stats must have a label for each of {n_rows:,} rows; they have {clusters.shape[-1]:,}")
    return lambda which: {**stats, "clusters": clusters[..., groups.rows_of(which)]}


def _pick_of_optimizer(optimizer: Any, count: int) -> Pick | None:
    picks: dict[str, Pick] = {}
    for each in fields(optimizer):
        value = getattr(optimizer, each.name)
        if not isinstance(value, tuple | list) or each.name != "betas":
            _add(picks, each.name, _pick_of(value, each.name, count))
            continue
        pair = [_pick_of(one, f"{each.name}[{k}]", count) for k, one in enumerate(value)]
        if any(pick is not None for pick in pair):
            picks[each.name] = partial(_picked_pair, value, pair)
    return (lambda which: replace(optimizer, **{name: pick(which) for name, pick in picks.items()})) if picks else None


def _picked_pair(values: Any, picks: list[Pick | None], which: np.ndarray) -> tuple[Any, ...]:
    return tuple(value if pick is None else pick(which) for value, pick in zip(values, picks, strict=True))


def _pick_of_schedule(schedule: Any, count: int) -> Pick | None:
    read = read_schedule(schedule)
    pick = None if read is None else _pick_of_array(read.which, "schedule", count, 0)
    return None if pick is None or read is None else (lambda which: replace(read, which=pick(which)))


def _pick_of_state(state: Any, count: int) -> Pick | None:
    if not isinstance(state, State):
        return None  # refused where it is read
    arrays: dict[str, Any] = {name: np.asarray(getattr(state, name)) for name in _OF_STATE if getattr(state, name) is not None}
    if np.shape(state.epoch)[-1:] != (count,):
        raise ValueError(f"the state is of fits of shape {np.shape(state.epoch)}, but there are {counted(count, 'group')}")

    def pick(which: np.ndarray) -> Any:
        own: dict[str, Any] = {name: array[(..., which, *[slice(None)] * _OF_STATE[name])] for name, array in arrays.items()}
        return replace(state, **own)

    return pick
