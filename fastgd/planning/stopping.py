"""Early stopping: the options, checked, and the validation data that decide.

1. The words and what they mean are those of Keras's and Lightning's EarlyStopping. An epoch t ≥ 1
   improves a fit where val_loss + min_delta < the best val_loss before, in float64 of the numbers
   that are reported; `patience` epochs in a row that do not end it. Keras restores the best epoch
   whatever ends a fit, and so does `restore_best`.
2. A validation loss is the loss that `fit` reports of a descent of no epochs that begins at the w
   that is reported, on the validation data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.arrays import arrive
from ..input.messages import counted, shown
from ..input.options import read_count, read_switch, read_tol
from ..input.reading import check_names
from ..input.shapes import broadcast
from ..kernels.chunk import MOMENTS
from .backends import BACKENDS, Backend
from .compressed import is_compressed, read_moments
from .memory import bytes_of_pair
from .plan import PACK, Plan, make_plan

MOST_EPOCHS = 10**6  # of a fit with epochs=None
BLOCK_BYTES, LEAST_BYTES = 2**23, 2**14  # of a block, without a memory_limit and at least
SHARE = 32  # a block takes this part of a memory_limit at most
STEADY_EPOCHS = 1000  # as many epochs are planned for at most: a fit may end long before the ceiling


@dataclass(frozen=True)
class Validation:
    """Validation data, read as training data are."""

    problem: Problem
    order: FitOrder
    plan: Plan
    limit: int | None  # bytes: memory_limit


@dataclass(frozen=True)
class Stopping:
    """When fits end before their last epoch, and which epoch they report."""

    validation: Validation
    patience: int | None  # epochs without improvement; None: validation ends no fit
    min_delta: float
    restore_best: bool
    block_bytes: int  # of the w of every epoch of a block, for the fits of one task


def read_epochs(epochs: Any, ends: bool, every: int) -> int:
    """The option `epochs`; the ceiling where it is None.

    ends: whether a tol or a patience can end a fit; every: of the history.
    """
    if epochs is not None:
        return read_count(epochs, "epochs", 0)
    if not ends:
        raise ValueError(f"epochs=None goes on until a fit ends by itself, up to {MOST_EPOCHS:,} epochs: give tol or patience too")
    if every:
        raise ValueError("history has a row for every epoch, and epochs=None does not say how many there are: give epochs")
    return MOST_EPOCHS


def read_validation(
    given: Mapping[str, Any], options: Mapping[str, Any], problem: Problem, backend: Backend, limit: int | None = None
) -> Validation | None:
    """The validation data; None where there are none.

    given: X, y and sample_weight of the validation data. options: nan_policy, nodata and threads of
    the call. problem: the data of the fits.
    """
    missing = [f"{name}_val" for name in ("X", "y") if given[name] is None]
    if len(missing) == 2 and given["sample_weight"] is None:
        return None
    compressed = is_compressed(given["X"])
    if missing and not compressed:
        has = ", ".join(f"{name}_val" for name in given if given[name] is not None)
        raise ValueError(f"{has} was given without {missing[0]}: validation data are X_val and y_val")
    try:
        found = _read(given, options, problem, compressed)
    except (ValueError, TypeError) as error:
        raise type(error)(f"of the validation data: {error}") from None
    _check(found, problem, given["X"])
    runs_it = backend if backend.runner == "reference" else BACKENDS["cpu"]
    if compressed and not runs_it.takes_moments:
        raise ValueError(f"X_val is Moments, and backend {backend.name!r} computes losses of samples: give X_val and y_val")
    order = FitOrder.of(found.leading, found.gram_leading, found.y.leading)
    threads = options["threads"] if runs_it.has_threads else None
    algorithm = "moments" if compressed else "auto"
    plan = make_plan(found, order, runs_it, epochs=0, algorithm=algorithm, threads=threads, safe_rate=False)
    return Validation(found, order, plan, limit)


def _read(given: Mapping[str, Any], options: Mapping[str, Any], problem: Problem, compressed: bool) -> Problem:
    if compressed:
        told = {"nodata": None, "dtype": None, "nan_policy": "raise", "intercept": False, "min_samples": 1}
        return read_moments({**given, **told})
    return Problem.read(
        arrive(**given),
        intercept=problem.intercept,
        dtype=problem.dtype,
        nan_policy=options["nan_policy"],
        min_samples=1,
        nodata=options["nodata"],
    )


def _check(found: Problem, problem: Problem, X: Any) -> None:
    """Raise unless validation data are of the features, dtype and fits of the training data."""
    check_names(X, "X_val", problem.features)
    if (found.n_features, found.one_feature) != (problem.n_features, problem.one_feature):
        raise ValueError(f"X has {counted(problem.n_features, 'feature')}, but X_val has {found.n_features}: give it the same columns")
    for name, has, needs in (("intercept", found.intercept, problem.intercept), ("dtype", found.dtype.name, problem.dtype.name)):
        if has != needs:
            raise ValueError(f"X_val is Moments with {name}={has!r}, but the fits have {needs!r}: give compress(..., {name}={needs!r})")
    try:
        fine = broadcast({"": problem.leading, "val": found.leading}) == problem.leading
    except ValueError:
        fine = False
    if not fine:
        raise ValueError(f"the leading axes of X_val and y_val, {found.leading}, do not broadcast to those of X and y, {problem.leading}")


def read_stopping(
    validation: Validation | None, patience: Any, min_delta: Any, restore_best: Any, state: Any, device: int | None
) -> Stopping | None:
    """What ends fits early; None without validation data. device: the GPU of the data."""
    if min_delta is None:
        raise TypeError("min_delta must be a number, not None: give 0 where every improvement counts")
    wait = None if patience is None else read_count(patience, "patience", 0)
    least, restores = read_tol(min_delta, "min_delta"), read_switch(restore_best, "restore_best")
    if validation is None:
        for name, value, unused in (("patience", wait, None), ("min_delta", least, 0.0), ("restore_best", restores, False)):
            if value != unused:
                raise ValueError(f"{name}={shown(value)} looks at the loss of validation data: give X_val and y_val")
        return None
    if device is not None:
        raise ValueError(f"validation data are looked at in the computer's memory, and X and y are on cuda:{device}: give copies there")
    if state is not None and (wait is not None or restores):
        name = "restore_best" if wait is None else "patience"
        raise ValueError(
            f"{name} counts from the beginning of a descent, and state does not hold its best epoch: leave {name} or state out"
        )
    limit = validation.limit
    block_bytes = BLOCK_BYTES if limit is None else max(LEAST_BYTES, min(BLOCK_BYTES, limit // SHARE))
    return Stopping(validation, wait, least, restores, block_bytes)


def epochs_planned(epochs: int, can_end: bool) -> int:
    """The epochs that the sizes of tasks are chosen for; no bit depends on them."""
    return min(epochs, STEADY_EPOCHS) if can_end else epochs


def fits_of_a_task(problem: Problem, n_fits: int, plan: Plan) -> int:
    """How many fits descend together, block after block.

    Between two blocks Python does some 0.5 ms of work, so that a task has more fits than others;
    the w of 64 epochs of them fit into a block. Only descents on moments go in packs.
    """
    if not plan.backend.has_threads:
        return plan.fits_per_task
    together = PACK if plan.algorithm == MOMENTS and not plan.batched else 1
    most = max(together, BLOCK_BYTES // (64 * problem.n_parameters * problem.dtype.itemsize))
    return min(n_fits, most, max(together, math.ceil(n_fits / plan.threads / together) * together))


def bytes_of_blocks(stopping: Stopping, problem: Problem, of_a_fit: int) -> tuple[int, int]:
    """(bytes per fit, bytes per task) that descending in blocks takes besides.

    of_a_fit: bytes of the results and the state of a fit.
    """
    size, itemsize, validation = problem.n_parameters, problem.dtype.itemsize, stopping.validation
    of_pair = bytes_of_pair(validation.problem, validation.plan)
    once, each = (of_pair, 0) if validation.order.n_pairs == 1 else (0, of_pair)
    # its part of a block, the state that is restored, two rows, and a few numbers
    return each + 2 * of_a_fit + 2 * (size + 1) * itemsize + 256, once + 4 * stopping.block_bytes
