"""build(): makes a FitResult of the kernels' arrays, in the caller's shapes and library."""

from __future__ import annotations

import functools
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import numpy as np

from ..kernels.chunk import STANDARD
from .buffers import NAMES, Buffers
from .curvatures import Curvatures, joined
from .result import FitResult, History, State, versions_here
from .status import Status, named

_STATUSES = tuple(Status)  # by their codes
_VALIDATED, _SOLVED = ("val_loss", "best_epoch"), ("rank", "condition", "ill_conditioned")  # what some results have besides


@dataclass(frozen=True)
class Provenance:
    """How a result was computed: backend and algorithm, and why they were chosen."""

    backend: str
    algorithm: str
    explanation: str
    tol: float | None = None  # what fits that are CONVERGED have met
    start: str = ""  # as FitResult._start
    penalised: bool = False  # a coupled weight_decay is part of the objective
    scheduled: bool = False  # a schedule moves the rate
    hyperparameters: dict[str, np.ndarray] = field(default_factory=dict)  # by name, to be broadcast


def build(buffers: Buffers, provenance: Provenance) -> FitResult:
    """The result of `fit` or `solve`; an array that the caller gave as `out` is in it itself."""
    layout = buffers.layout
    problem, order = layout.problem, layout.order
    wrap, given = problem.library.wrap, buffers.given

    arrays = buffers.arrays | buffers.direct if given else buffers.arrays
    if not order.shape:
        values = {name: array[0, ...] for name, array in arrays.items()}
    elif order.natural:
        values = {name: array.reshape(order.shape + array.shape[1:]) for name, array in arrays.items()}
    else:
        values = {name: order.restore(array) for name, array in arrays.items()}

    def part_of(source: str, name: str) -> Any:
        if name in given:
            return given[name][1]
        return wrap(layout.select(values[source], NAMES[name][1])[()])

    def state_of(source: str, name: str) -> Any:
        return given[name][1] if name in given else values[source]

    status = given["status"][1] if "status" in given else named(values["status"])
    dtype = "float32" if problem.dtype.itemsize == 4 else "float64"
    standard, in_units_of_x = {}, {}
    if layout.standardize:
        standard = {name: values[name] for name in STANDARD}
        in_units_of_x = {name: wrap(layout.select(values[name], "features").astype(problem.dtype)[()]) for name in STANDARD}
    state = {
        "w": state_of("w", "state.w"),
        "slots": state_of("slots", "state.slots"),
        "products": values["products"],
        "epoch": values["steps"],
        "algorithm": values["algorithm"],
        "status": status,
        "optimizer": layout.optimizer,
        "intercept": problem.intercept,
        "dtype": dtype,
        "initial_excess": values["initial_excess"],
        "tol": provenance.tol,
        **standard,
    }
    if layout.batched:
        state |= {name: values[name] for name in ("passes", "seed")}
    found = {
        "w": part_of("w_out", "w"),
        "loss": part_of("loss", "loss"),
        "epochs": part_of("epochs_run", "epochs"),
        "status": wrap(status) if order.shape else _STATUSES[int(status)],
        "n_used": wrap(values["n_used"][()]),
        "lr": wrap(values["lr"][()]),
        "backend": provenance.backend,
        "algorithm": provenance.algorithm,
        "explanation": provenance.explanation,
        "state": _made(State, state),
        "intercept": part_of("w_out", "intercept") if problem.intercept else None,
        "history": None,
        "excess_loss": part_of("excess", "excess_loss") if layout.measured else None,
        "hyperparameters": dict(provenance.hyperparameters),
        "versions": versions_here(),
        "features": problem.features,
        "_one_feature": problem.one_feature,
        "_start": provenance.start,
        "_penalised": provenance.penalised,
        "_scheduled": provenance.scheduled,
        **in_units_of_x,
    }
    if layout.every:
        found["history"] = _history(buffers, part_of, wrap(values["history_val_loss"][()]) if layout.validated else None)
    if buffers.explains:
        found["_explains"] = buffers.explains
    else:
        found["_curvatures"] = _kept(buffers)
    for name in (*(_VALIDATED if layout.validated else ()), *(_SOLVED if layout.solved else ())):
        found[name] = wrap(values[name][()])
    return _made(FitResult, found)


def _kept(buffers: Buffers) -> Curvatures | None:
    return joined(buffers.curvatures, buffers.layout.order) if buffers.curvatures else None


def _made(kind: Any, values: dict[str, Any]) -> Any:
    """A dataclass of these values. A frozen one takes 3 µs for 20 of them, 20 arguments 2 µs."""
    one = object.__new__(kind)
    object.__setattr__(one, "__dict__", _defaults(kind) | values)
    return one


@functools.cache
def _defaults(kind: Any) -> dict[str, Any]:
    """The defaults of a dataclass. Those that are made anew for each object must be given."""
    return {each.name: each.default for each in fields(kind) if each.default is not MISSING}


def _history(buffers: Buffers, part_of: Any, val_loss: Any) -> History:
    layout = buffers.layout
    return History(
        epoch=np.append(np.arange(0, layout.epochs, layout.every), layout.epochs),
        w=part_of("history_w", "history.w"),
        loss=part_of("history_loss", "history.loss"),
        intercept=part_of("history_w", "history.intercept") if layout.problem.intercept else None,
        batch_loss=part_of("batch_loss", "history.batch_loss") if layout.batched else None,
        val_loss=val_loss,
    )
