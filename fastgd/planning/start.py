"""Where a descent begins: w0 and intercept0, or the state of an earlier fit."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.messages import kind_of, shown
from ..input.options import MOST, name_among, read_tol
from ..input.reading import check_all, read_array, read_numbers
from ..input.room import check_room
from ..input.shapes import axes_that_repeat, broadcast, without_repeats
from ..input.sharing import device_of, fetch, place_of, to_cupy
from ..kernels.chunk import ALGORITHMS, COMPLETED, CONVERGED, DIVERGED, MOMENTS, STANDARD, STREAM
from ..kernels.update_rules import UpdateRule
from ..results.result import FitResult, State
from ..results.status import Status
from .backends import BACKENDS, CHOICES, Backend


def read_start(problem: Problem, w0: Any, intercept0: Any) -> dict[str, np.ndarray]:
    """{"w0": (…, n_features), perhaps "intercept0": (…)}: float64, rounded to the data's dtype.

    {} where neither is given: fits begin at zero.
    """
    if intercept0 is not None and not problem.intercept:
        raise ValueError(f"intercept0 was given ({shown(intercept0)}), but there is no intercept: give intercept=True too")
    if w0 is None and intercept0 is None:
        return {}
    w = np.zeros(problem.n_features) if w0 is None else read_numbers(w0, "w0")
    if w0 is not None and problem.one_feature:
        w = w[..., None]
    if w.ndim == 0 or w.shape[-1] != problem.n_features:
        raise ValueError(
            f"w0 must have shape (..., {problem.n_features}), since X has {problem.n_features} features; it has shape {w.shape}"
        )
    starts = {"w0": w}
    if problem.intercept:
        starts["intercept0"] = np.zeros(()) if intercept0 is None else read_numbers(intercept0, "intercept0")
    for name, values in starts.items():
        given = without_repeats(values, 1 if name == "w0" else 0)
        with np.errstate(over="ignore"):
            rounded = given.astype(problem.dtype).astype(np.float64)
        if not np.isfinite(rounded).all():
            raise ValueError(f"{name} is too large for {problem.dtype}: its largest value is {np.abs(given).max():g}")
        starts[name] = np.broadcast_to(rounded, values.shape)
    return starts


Begin = dict[str, tuple[Any, int]]  # {name in a chunk: (values, how many axes are not leading)}


def begin_of(problem: Problem, rule: UpdateRule, starts: dict[str, np.ndarray], algorithm: int, standardize: bool) -> Begin:
    """The state before the first epoch of new fits; leading axes broadcast."""
    begin = begin_at_zero(problem.n_parameters, len(rule.slots), len(rule.products), algorithm)
    if starts:
        begin = {**begin, "w": (_start(problem, starts), 1)}
    if standardize:
        begin = {**begin, **dict.fromkeys(STANDARD, (np.full(problem.n_features, np.nan), 1))}  # they are made from the data
    return begin


@functools.lru_cache(16)
def begin_at_zero(size: int, n_slots: int, n_products: int, algorithm: int) -> Begin:
    """`begin_of` fits of `size` parameters without a start of their own. Nobody writes into it."""
    return {
        "w": (np.zeros(size), 1),
        "slots": (np.zeros((n_slots, size)), 2),
        "products": (np.ones(n_products), 1),
        "steps": (np.zeros((), np.int64), 0),
        "algorithm": (np.array(algorithm, np.int8), 0),
        "status": (np.array(COMPLETED, np.int8), 0),
        "initial_excess": (np.array(np.nan), 0),
    }


@functools.lru_cache(16)
def begin_solved(size: int, n_samples: int, algorithm: int) -> Begin:
    """What the results of `solve` hold before the data are read. Nobody writes into it."""
    values = {
        "rank": np.array(size),
        "ill_conditioned": np.array(False),
        "status": np.array(COMPLETED, np.int8),
        "algorithm": np.array(algorithm, np.int8),
        "n_used": np.array(n_samples),
        "epochs_run": np.array(0),
        "steps": np.array(0),
        "lr": np.array(np.nan),
        "initial_excess": np.array(np.nan),
    }
    return {name: (value, 0) for name, value in values.items()}


def begin_again(state: State, tol: float) -> Begin:
    """The state before the first epoch of continued fits.

    Diverged fits do not go on, nor do converged ones where a `tol` is given (tol ≥ 0) that is at
    least the one they met.
    """
    stays = (state.status == DIVERGED) | ((state.status == CONVERGED) & (tol >= max(0.0, read_tol(state.tol, "state.tol"))))
    return ({} if state.center is None else {name: (getattr(state, name), 1) for name in STANDARD}) | {
        "w": (state.w, 1),
        "slots": (state.slots, 2),
        "products": (state.products, 1),
        "steps": (state.epoch, 0),
        "algorithm": (state.algorithm, 0),
        "status": (np.where(stays, state.status, np.int8(COMPLETED)), 0),
        "initial_excess": (state.initial_excess, 0),
    }


def met_tol(state: State | None, tol: float) -> float | None:
    """The tol that the converged fits of a call have met; None where it is not known, or none."""
    if state is not None and state.tol is None and (state.status == CONVERGED).any():
        return None
    return tol if tol >= 0.0 else None


def kind_of_start(state: State | None, starts: dict[str, np.ndarray], rate_tells: bool = True) -> str:
    """Where a descent begins, as FitResult._start has it.

    rate_tells: the learning rate tells how large the data are.
    """
    begins_at_zero = state is None and not any(without_repeats(values, 0).any() for values in starts.values())
    if begins_at_zero or not rate_tells:
        return "zero" if begins_at_zero else ""
    return "given" if state is None else "state"


def _start(problem: Problem, starts: dict[str, np.ndarray]) -> np.ndarray:
    """(…, D): w0 and intercept0 in one array; leading axes that only repeat have length 1."""
    w = without_repeats(starts["w0"], 1)
    if problem.intercept:
        last = without_repeats(starts["intercept0"], 0)
        leading = broadcast({"w0": w.shape[:-1], "intercept0": last.shape})
        w = np.broadcast_to(w, (*leading, problem.n_features))
        w = np.concatenate([w, np.broadcast_to(last, leading)[..., None]], axis=-1)
    return np.asarray(w, order="C")


def read_state(
    state: Any, problem: Problem, rule: UpdateRule, backend: Backend, algorithm: str, w0: Any, intercept0: Any, standardize: bool
) -> State:
    """The state, with its arrays as they were given; raise where it cannot be continued here."""
    if not isinstance(state, State):
        hint = ": give result.state" if isinstance(state, FitResult) else ""
        raise TypeError(f"state must be the state of a FitResult, not a {kind_of(state)}{hint}")
    if w0 is not None or intercept0 is not None:
        raise ValueError(f"state holds where to start: leave {'intercept0' if w0 is None else 'w0'} out")
    device = device_of(state.w)
    if device is not None and device != problem.device:
        raise ValueError(f"state is {place_of(device)} but X and y are {place_of(problem.device)}: nothing is moved silently")
    if (state.center is not None) != standardize:
        made, give = ("standardised", "True") if state.center is not None else ("not standardised", "False")
        raise ValueError(f"state is of a fit that was {made}: its w is not that of this fit; give standardize={give}")
    state = replace(state, **{name: _read_array(getattr(state, name), name, kind) for name, kind in ARRAYS.items()})
    leading, size = state.epoch.shape, problem.n_parameters
    if state.initial_excess is None:
        state = replace(state, initial_excess=np.broadcast_to(np.nan, leading))
    for what, has, needs in (
        ("optimizer", state.optimizer, rule.name),
        ("intercept", state.intercept, problem.intercept),
        ("dtype", state.dtype, str(problem.dtype)),
        ("n_features", state.w.shape[-1] - problem.intercept if state.w.ndim else problem.n_features, problem.n_features),
    ):
        if type(has) is not type(needs) or has != needs:
            raise ValueError(f"state was made with {what} {shown(has)}, but this fit has {needs!r}")
    of_each = {"w": (size,), "slots": (len(rule.slots), size), "products": (len(rule.products),)}
    of_each |= dict.fromkeys(("algorithm", "status", "initial_excess"), ())
    of_each |= dict.fromkeys(STANDARD, (problem.n_features,)) if standardize else {}
    of_each |= {name: () for name in ("passes", "seed") if getattr(state, name) is not None}
    for name, needs in of_each.items():
        has = np.shape(getattr(state, name))
        if has != leading + needs and not has[-1:] == needs[-1:] == (0,):  # of no numbers, for any fits
            raise ValueError(f"state.{name} has shape {has}; it must be {leading + needs}, since state.epoch has shape {leading}")
    _refuse_another_algorithm(state, algorithm)
    codes, _ = codes_of(state)
    known = np.isin(codes, backend.codes)
    if not known.all():
        made_by = ALGORITHMS[int(codes[~known].flat[0])]
        others = [row.name for row in BACKENDS.values() if made_by in row.algorithms]
        give = f": give backend={others[0]!r}" if others else ""
        raise ValueError(f"state was made by algorithm {made_by!r}, which backend {backend.name!r} does not have{give}")
    return state


_MOST_UPDATES = 2**62  # of a state: with those of a call they stay below 2^63
_MOST = {"epoch": _MOST_UPDATES, "passes": _MOST_UPDATES, "seed": MOST, "algorithm": len(ALGORITHMS) - 1, "status": len(Status) - 1}
# arrays of a state: their dtypes
ARRAYS = {"w": "f8", "slots": "f8", "products": "f8", "epoch": "i8", "algorithm": "i1", "status": "i1", "initial_excess": "f8"}
ARRAYS |= dict.fromkeys(("passes", "seed"), "i8")
ARRAYS |= dict.fromkeys(STANDARD, "f8")


def _read_array(value: Any, name: str, kind: str) -> Any:
    """An array of a state as it was given; raise where the dtype `kind` cannot hold its numbers.

    Of one on a GPU numbers that the host decides by are copied; the others stay there.
    """
    if value is None and name in ("initial_excess", "passes", "seed", *STANDARD):
        return None
    if device_of(value) is not None:
        if name in ("algorithm", "status", *STANDARD):
            value = fetch(value, f"state.{name}")
        elif (array := to_cupy(value, f"state.{name}")).dtype == kind:
            return array
        else:
            raise ValueError(f"state.{name} has dtype {array.dtype}; it must be {np.dtype(kind)}")
    array = read_array(value, f"state.{name}")
    if name in _MOST:
        some = without_repeats(array, 0)
        fine = (some >= 0) & (some <= _MOST[name]) & (some == np.floor(some))
        check_all(some, fine, f"state.{name}", f"a whole number from 0 to {_MOST[name]}")
    return array


def contiguous(state: State) -> State:
    """The state with C-contiguous arrays of the dtypes of `ARRAYS`."""
    changed: dict[str, Any] = {}
    for name, kind in ARRAYS.items():
        array = getattr(state, name)
        if isinstance(array, np.ndarray):
            if array.dtype != kind or not array.flags.c_contiguous:
                check_room(f"state.{name}", array.size)
            changed[name] = np.asarray(array, kind, order="C")
    return replace(state, **changed)


def codes_of(state: State) -> tuple[np.ndarray, np.ndarray]:
    """(algorithm, status) of a state; axes along which both only repeat have length 1."""
    index = axes_that_repeat(0, state.algorithm, state.status)
    return state.algorithm[index].astype(np.int8), state.status[index].astype(np.int8)


def _refuse_another_algorithm(state: State, asked: Any) -> None:
    """Raise where the option `algorithm` is neither "auto" nor the state's own."""
    codes, statuses = codes_of(state)
    going_on = codes[statuses != DIVERGED]  # fits that overflowed ended in `stream`
    own = {ALGORITHMS[code] for code in np.unique(going_on)}
    if len(own) == 2:  # of "moments", where fits with few samples stream
        own = {algorithm_of(state)}
    elif not own:
        own = {*CHOICES[1:], *(ALGORITHMS[code] for code in np.unique(codes))}
    if name_among(asked, {"auto", *own}) is None:
        words = " or ".join(sorted(map(repr, own)))
        raise ValueError(f"state continues with its own algorithm, {words}: leave algorithm={shown(asked)} out")


def with_one_standard_per_pair(state: State, order: FitOrder) -> State:
    """The state, whose center and scale do not differ between fits that share X and y.

    Such axes have length 1 afterwards. Raises where they do differ: then these fits were made from
    different data.
    """
    found = {}
    for name in STANDARD:
        values = getattr(state, name)
        first = len(order.shape) - (values.ndim - 1)  # the axis of the fits that is the first of the state
        for axis in range(values.ndim - 1):
            if order.pairs[first + axis] == 1 and values.shape[axis] > 1:
                one = values.take([0], axis)
                if not np.array_equal(np.broadcast_to(one, values.shape), values, equal_nan=True):
                    raise ValueError(
                        f"state.{name} differs along axis {axis}, but these fits share X and y: give the data that it was made from"
                    )
                values = one
        found[name] = values
    return replace(state, **found)


def algorithm_of(state: State) -> str:
    """The option `algorithm` that continues a state; "auto" where its backend has only one."""
    codes, _ = codes_of(state)
    if not np.isin(codes, (MOMENTS, STREAM)).all():
        return "auto"
    return "moments" if (codes == MOMENTS).any() else "stream"
