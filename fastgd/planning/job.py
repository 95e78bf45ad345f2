"""Job: a call of `fit`, checked and planned, and what it shares with one of `solve`.

What shapes, dtypes and options tell is refused here, before any work: the arguments are read one by
one, then the plan is made, then the results are allocated. Numbers in the data that are not finite
and negative weights are found while the data are read (running/moments.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.arrays import Arrived, arrive
from ..input.hyperparameters import values_beside
from ..input.options import read_progress
from ..input.shapes import without_repeats
from ..input.sharing import beside
from ..input.statistics import StatsOptions
from ..input.unreadable import is_collection, why_unreadable
from ..kernels.chunk import n_rows
from ..kernels.update_rules import UpdateRule
from ..optimizers import find_optimizer
from ..results.buffers import Buffers, Layout, read_out
from ..results.building import Provenance
from ..results.result import State
from ..schedules.table import TABLE_NUMBERS, Scheduled, read_first_rates, read_schedule, walk
from .backends import Backend, choose_backend, refuse_rule
from .compressed import algorithm_on_moments, is_compressed, read_moments
from .explained import explained_fits
from .fits import order_fits
from .memory import fit_into_memory
from .minibatches import (
    MiniBatches,
    begin_batches,
    bytes_of_batches,
    check_state,
    rates_per_epoch,
    read_minibatches,
    refuse_endless_schedule,
    refuse_with_batches,
)
from .options import Key, options_of, with_ridge
from .plan import PACK, Plan, bytes_of_stack, make_plan
from .start import (
    Begin,
    algorithm_of,
    begin_again,
    begin_of,
    contiguous,
    kind_of_start,
    met_tol,
    read_start,
    read_state,
    with_one_standard_per_pair,
)
from .stopping import Stopping, bytes_of_blocks, epochs_planned, fits_of_a_task, read_epochs, read_stopping, read_validation


@dataclass(kw_only=True)
class Job:
    """A call that is ready to run: what its runner and its tasks read."""

    problem: Problem
    order: FitOrder
    plan: Plan
    progress: Any
    total: int  # units of progress in all
    runner: str  # name of the module in running/ that runs the job
    memory_limit: int | None  # bytes
    recalled: bool = False  # made by call_cache.py from an earlier job
    part: Any = None  # results.checkpoint.Part that finished fits are stored in

    def drop_results(self) -> None:
        """Let go of the memory of results, which are of no use after an error."""


@dataclass(kw_only=True)
class ResultJob(Job):
    """A call that makes a FitResult, ready to run."""

    buffers: Buffers
    reduction: str
    standardize: bool  # the fits descend on centred and scaled features
    stats: StatsOptions | None  # the statistics that are asked for
    scratch: list[Any] = field(default_factory=list)  # memory of tasks that ended, to be used again

    def drop_results(self) -> None:
        """Let go of results, in memory and stored, of a call that fails whenever it is made."""
        self.buffers.arrays.clear()
        if self.part is not None:
            self.part.checkpoint.discard()

    @property
    def provenance(self) -> Provenance:
        """How the job is computed, for the result."""
        return Provenance(self.plan.backend.name, self.plan.algorithm_name, self.plan.explanation)


@dataclass(kw_only=True)
class FitJob(ResultJob):
    """A call of `fit`, ready to run."""

    rule: UpdateRule
    rates: np.ndarray | None  # (…) learning rates, to be broadcast; None: the safe rate of each fit
    schedule: Scheduled | None  # how the rates go on from epoch to epoch; None: they stay
    hyper: tuple[np.ndarray, ...]  # (…) hyperparameters, then derived values, in the kernels' order
    epochs: int
    tol: float  # −1: none
    every: int  # epochs between two rows of the history; 0: no history
    measured: bool  # F(w) − F* is asked for: where F* costs little (least_values.py)
    least_needed: bool  # F* of every fit is asked for, whatever it costs
    begin: Begin  # the state before the first epoch
    state: State | None  # of the earlier fit that is continued
    start: str  # where the descent begins, as FitResult._start has it
    penalised: bool  # a coupled weight_decay is part of the objective
    free_intercept: bool  # the penalty is a ridge, which leaves the intercept alone
    met: float | None  # the tol that its converged fits have met
    batches: MiniBatches | None  # None: each epoch is one step of all samples
    n_rates: int  # rows of the table of rates, where there is a schedule
    stopping: Stopping | None  # validation data, and what ends fits early
    hyper_row: np.ndarray | None  # (1, values) where all fits have the same
    named: dict[str, np.ndarray]  # hyperparameters by the rule's names, as results have them
    told: Provenance = field(init=False)  # made once, also for later calls that are like this one
    explained: np.ndarray  # (k,) numbers of the fits whose curvatures are kept where they end far; ascending
    plain: list[bool]  # whether the fits are plain SGD, as soon as the runner has asked; calls with these options share it

    def __post_init__(self) -> None:
        plan, scheduled = self.plan, self.schedule is not None
        of_plan = plan.backend.name, plan.algorithm_name, plan.explanation
        self.told = Provenance(*of_plan, self.met, self.start, self.penalised, scheduled, self.named)

    @property
    def provenance(self) -> Provenance:
        """How the fits are computed, and what is known of their start and their objective."""
        return self.told


def prepare_anew(arguments: Mapping[str, Any], key: Key | None = None) -> FitJob:
    """Make the job for a call of `fit`, without the call cache.

    arguments: those of `fit`. key: of its options, as of `key_of_options`; None: read them anew.
    """
    arrived = None if is_read(arguments["X"]) else arrive(**data_of(arguments))
    device = None if arrived is None else arrived.device
    backend, why_backend = choose_backend(arguments["backend"], device)  # before CuPy is needed
    problem = read_problem(arguments, arrived)
    if arguments["checkpoint"] is not None:
        from ..results.checkpoint import refuse_checkpoint

        refuse_checkpoint(arguments["checkpoint"], arguments["out"], device)
    optimizer, lr, w0, intercept0 = _values_here(arguments, device)
    options = options_of(arguments, key, optimizer)
    rule, hyper, tol, every, limit = options.rule, options.hyper, options.tol, options.every, options.memory_limit
    standardize, measured = options.standardize, options.measured
    batches = None if options.in_one_batch else _read_minibatches(arguments, problem, backend)
    schedule = None if arguments["schedule"] is None else read_schedule(arguments["schedule"])
    rates = read_first_rates(lr, optimizer, schedule)
    refuse_rule(backend, rule, arguments["backend"])
    progress = read_progress(arguments["progress"])
    validated = not (arguments["X_val"] is arguments["y_val"] is arguments["sample_weight_val"] is None)
    stopping = _read_stopping(arguments, problem, backend, limit) if validated or options.ends_by_data else None
    refuse_with_batches(batches, rule, rates)
    can_end = tol >= 0.0 or (stopping is not None and stopping.patience is not None)
    epochs = read_epochs(arguments["epochs"], can_end, every)
    starts, state, algorithm = read_start(problem, w0, intercept0), arguments["state"], arguments["algorithm"]
    if state is not None:
        state = read_state(state, problem, rule, backend, algorithm, w0, intercept0, standardize)
        check_state(state, batches)
    if problem.given is not None:
        algorithm = algorithm_on_moments(algorithm, backend, state)
    elif state is not None:
        algorithm = algorithm_of(state)
    if arguments["ridge"] is not None:
        options = with_ridge(options, arguments["ridge"], problem, batches)
        hyper = options.hyper
    shapes = options.shapes if rates is None else {"lr": rates.shape, **options.shapes}
    if schedule is not None:
        shapes = {**shapes, "schedule": schedule.which.shape}
    if batches is not None:
        shapes = {**shapes, "seed": batches.seed.shape}
    order = order_fits(problem, shapes, starts, state, arguments)
    state = None if state is None else contiguous(state)  # of a shape that the data allow
    if state is not None and standardize:
        state = with_one_standard_per_pair(state, order)
    plan = make_plan(
        problem,
        order,
        backend,
        epochs=epochs_planned(epochs, can_end),
        algorithm=algorithm,
        threads=options.threads,
        safe_rate=rates is None,
        standardize=standardize,
        has_roots=rule.name != "sgd",
        why_backend=why_backend,
        batches=batches,
    )
    of_an_epoch = rates_per_epoch(batches, problem.n_samples)
    scheduled = epochs * of_an_epoch
    if schedule is not None and arguments["epochs"] is None:
        refuse_endless_schedule(scheduled, of_an_epoch)
    if stopping is not None:
        plan = replace(plan, fits_per_task=fits_of_a_task(problem, order.n_fits, plan))
    elif schedule is not None and not backend.takes_device_data:  # there each part makes its own table
        plan = replace(plan, fits_per_task=min(plan.fits_per_task, max(PACK, TABLE_NUMBERS // max(1, scheduled))))
    layout = Layout.of_rule(problem, order, rule, epochs, every, measured, standardize, stopping is not None, batches is not None)
    buffers = _open_buffers(layout, read_out(arguments["out"], arguments, layout), limit)
    of_results = buffers.bytes_made_per_fit
    of_blocks, of_a_block = (0, 0) if stopping is None else bytes_of_blocks(stopping, problem, layout.bytes_per_fit)
    plan = fit_into_memory(
        problem,
        order,
        plan,
        results=order.n_fits * (of_results + layout.bytes_in_units),
        of_a_fit=layout.bytes_per_fit
        - of_results
        + 8 * (len(rule.hyperparameters) + 12)
        + (16 * (scheduled if stopping is None else of_an_epoch) * (1 + schedule.moves_momentum) if schedule else 0)
        + of_blocks,
        of_a_thread=of_a_block + (bytes_of_stack(problem) if options.least_needed else 0) + bytes_of_batches(problem, batches),
        rows=n_rows(epochs, every),
        limit=limit,
        continued=state is not None,
    )
    done = None if state is None else state.epoch if batches is None or batches.per_step else state.passes
    schedule = walk(schedule, done, scheduled, rule)
    buffers.allocate(tightly=limit is not None)
    return FitJob(
        problem=problem,
        order=order,
        plan=plan,
        buffers=buffers,
        reduction=options.reduction,
        standardize=standardize,
        stats=options.stats,
        progress=progress,
        total=order.n_fits * max(epochs, 1),
        runner=backend.runner,
        rule=rule,
        rates=None if rates is None else np.asarray(without_repeats(rates, 0), order="C"),
        schedule=schedule,
        hyper=hyper,
        hyper_row=options.hyper_row,
        plain=options.plain,
        epochs=epochs,
        tol=tol,
        every=every,
        measured=measured,
        least_needed=options.least_needed,
        begin=(begin_of(problem, rule, starts, plan.algorithm, standardize) if state is None else begin_again(state, tol))
        | begin_batches(batches, state),
        batches=batches,
        n_rates=scheduled,
        state=state,
        # weights that are summed scale the rate, a schedule moves it
        start=kind_of_start(state, starts, rate_tells=schedule is None and not (options.reduction == "sum" and problem.is_weighted)),
        penalised=options.penalised,
        free_intercept=arguments["ridge"] is not None and problem.intercept,
        met=met_tol(state, tol),
        named=options.named,
        explained=explained_fits(problem, order, plan, len(hyper), limit) if measured else np.zeros(0, np.int64),
        stopping=stopping,
        memory_limit=limit,
    )


def data_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a call, by name."""
    if arguments["y"] is None:
        if hasattr(arguments["X"], "dataset") and hasattr(arguments["X"], "batch_size"):
            raise TypeError("X is a DataLoader, which fastgd does not read: give the tensors of its data set as X and y, and batch_size=")
        if is_collection(arguments["X"]):
            raise TypeError(f"y is missing, and X is no array: {why_unreadable(arguments['X'], np.array(None), 'X')}")
        raise TypeError("y is missing, it is None: give X and y, or Moments of fastgd.compress(X, y) in place of both")
    return {"X": arguments["X"], "y": arguments["y"], "sample_weight": arguments["sample_weight"]}


def is_read(X: Any) -> bool:
    """Whether X is no array but Moments, or data that were read and checked before."""
    return isinstance(X, Problem) or is_compressed(X)


def read_problem(arguments: Mapping[str, Any], arrived: Arrived | None) -> Problem:
    """The problem of a call; arrived None: of Moments or of data that were read before."""
    if isinstance(arguments["X"], Problem):
        return arguments["X"]
    if arrived is None:
        return read_moments(arguments)
    return Problem.read(
        arrived,
        intercept=arguments["intercept"],
        dtype=arguments["dtype"],
        nan_policy=arguments["nan_policy"],
        min_samples=arguments["min_samples"],
        nodata=arguments["nodata"],
    )


def _read_minibatches(arguments: Mapping[str, Any], problem: Problem, backend: Backend) -> MiniBatches | None:
    """The options of mini-batches; None without a batch_size."""
    return read_minibatches(
        problem, backend, batch_size=arguments["batch_size"], shuffle=arguments["shuffle"], seed=arguments["seed"],
        drop_last=arguments["drop_last"], schedule_every=arguments["schedule_every"],
    )  # fmt: skip


def _read_stopping(arguments: Mapping[str, Any], problem: Problem, backend: Backend, limit: int | None) -> Stopping | None:
    """The validation data and what ends fits early; None where there are none."""
    given = {"X": arguments["X_val"], "y": arguments["y_val"], "sample_weight": arguments["sample_weight_val"]}
    validation = read_validation(given, arguments, problem, backend, limit)
    patience, min_delta, restore_best = arguments["patience"], arguments["min_delta"], arguments["restore_best"]
    return read_stopping(validation, patience, min_delta, restore_best, arguments["state"], problem.device)


def _values_here(arguments: Mapping[str, Any], device: int | None) -> tuple[Any, Any, Any, Any]:
    """(optimizer, lr, w0, intercept0); values on the GPU `device` are copied to NumPy arrays."""
    optimizer = find_optimizer(arguments["optimizer"])
    if device is None:
        return optimizer, arguments["lr"], arguments["w0"], arguments["intercept0"]
    lr, w0, intercept0 = (beside(arguments[name], name, device) for name in ("lr", "w0", "intercept0"))
    return values_beside(optimizer, device), lr, w0, intercept0


def _open_buffers(layout: Layout, given: dict[str, tuple[Any, Any]], limit: int | None) -> Buffers:
    """Buffers in the memory that the data are in: the computer's or a GPU's."""
    if layout.problem.device is None:
        return Buffers(layout, given)
    from ..results.device_buffers import open_on_device

    return open_on_device(layout, given, limit)
