"""Cells of a sweep: selected by their values, the best one, and how many epochs each took."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..input.messages import shown
from ..input.options import read_choice, read_switch, read_tol
from ..kernels.chunk import CONVERGED, DIVERGED, INVALID_DATA, TOO_FEW_SAMPLES
from ..kernels.update_rules import UPDATE_RULES
from .coordinate import Coordinate, rule_of
from .result import History
from .status import Status, named

LOSSES = ("val_loss", "loss", "excess_loss")
_OF_CELLS = ("loss", "val_loss", "excess_loss", "epochs", "best_epoch", "status", "w", "intercept")  # in `best`


def select(result: Any, wanted: Mapping[str, Any], method: Any) -> Any:
    """The cells with these values, for `SweepResult.sel`."""
    if method is not None:
        read_choice(method, "method", ("nearest",))
    chosen: dict[str, Any] = {}  # by axis: a place, or places
    for name, value in wanted.items():
        if name not in result.coordinates:
            raise KeyError(f"the sweep has no {name!r}; it has {', '.join(result.coordinates)}")
        coordinate = result.coordinates[name]
        row = coordinate.values.ndim - 1 if not coordinate.is_text else 0
        try:
            several = not isinstance(value, str) and np.ndim(value) > row
        except Exception:  # whatever an __array__ may raise
            raise KeyError(f"{name} has no value {shown(value)}; it has {coordinate}") from None
        if several and not len(value):
            raise KeyError(f"{name} is an empty list; a value that is there is needed: {coordinate}")
        places = np.concatenate([_places(name, coordinate, one, method) for one in (value if several else [value])])
        if coordinate.dim == "":
            continue
        if coordinate.dim == name and not several:
            places = places[0]
        before = chosen.get(coordinate.dim)
        if before is not None:
            both = np.atleast_1d(before)[np.isin(before, places)]
            if not both.size:
                raise KeyError(f"no cell has {', '.join(f'{key}={shown(one)}' for key, one in wanted.items())}")
            places = both if np.ndim(places) and np.ndim(before) else both[0]
        chosen[coordinate.dim] = places
    return _take(result, chosen)


def _places(name: str, coordinate: Coordinate, value: Any, method: str | None) -> np.ndarray:
    """(m,) places of a value along its axis; raise where it is not there."""
    if method == "nearest" and not coordinate.is_text:
        if coordinate.values.ndim > 1 or coordinate.values.dtype.kind == "b":
            raise ValueError(f"method='nearest' is for numbers; give a value of {name} that is there: {coordinate}")
        return coordinate.nearest(_number(name, value))
    places = coordinate.where(value)
    if not places.size:
        hint = "" if coordinate.is_text or coordinate.values.ndim > 1 or method else "; method='nearest' takes the nearest number"
        raise KeyError(f"{name} has no value {shown(value)}; it has {coordinate}{hint}")
    return places


def _number(name: str, value: Any) -> float:
    """A number whose nearest is looked for."""
    try:
        number = float(value)
    except Exception:  # whatever a __float__ may raise
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"method='nearest' needs a finite number; {name} is {shown(value)}")
    return number


def _take(result: Any, chosen: Mapping[str, Any]) -> Any:
    """The cells at these places of some axes; an axis with one place, a number, goes."""
    dims = result.dims
    coordinates = {}
    for name, coordinate in result.coordinates.items():
        places = chosen.get(coordinate.dim) if coordinate.dim else None
        taken = coordinate if places is None else coordinate.take(np.atleast_1d(places))
        coordinates[name] = replace(taken, dim="") if places is not None and np.ndim(places) == 0 else taken

    def cells(array: Any) -> Any:
        if array is None:
            return None
        for axis in reversed(range(len(dims))):
            if dims[axis] in chosen:
                array = np.take(array, chosen[dims[axis]], axis=axis)
        return array[()]

    history = result.history
    if history is not None:
        history = History(history.epoch, *(cells(getattr(history, name)) for name in ("w", "loss", "intercept", "val_loss", "batch_loss")))
    arrays = ("w", "loss", "epochs", "n_used", "lr", "val_loss", "best_epoch", "excess_loss", "intercept", "stability_limit")
    status = cells(np.asarray(result.status))
    return replace(
        result,
        coordinates=coordinates,
        history=history,
        status=Status(int(status)) if np.ndim(status) == 0 else named(status),
        **{name: cells(getattr(result, name)) for name in arrays},
    )


def read_by(result: Any, by: Any) -> str:
    """The name of the loss that cells are compared by."""
    if by is None:
        return "loss" if result.val_loss is None else "val_loss"
    by = read_choice(by, "by", LOSSES)
    if getattr(result, by) is None:
        why = "give sweep X_val and y_val" if by == "val_loss" else "leave excess_loss=False and maximize out"
        raise ValueError(f"the sweep has no {by}: {why}")
    return by


def losses_that_count(result: Any, by: str) -> np.ndarray:
    """(…) float64: the losses; NaN where a cell has no finite one, diverged or was not fitted."""
    values = np.asarray(getattr(result, by)).astype(np.float64)
    out = np.isin(np.asarray(result.status), (DIVERGED, INVALID_DATA, TOO_FEW_SAMPLES))
    return np.where(out | ~np.isfinite(values), np.nan, values)


def find_best(result: Any, by: Any, per_fit: Any) -> dict[str, Any]:
    """The values of the best cell by name, for `SweepResult.best`."""
    by, per_fit = read_by(result, by), read_switch(per_fit, "per_fit")
    n_data = len(result.data_dims)
    leading = np.shape(result.loss)
    grid, data = leading[: len(leading) - n_data], leading[len(leading) - n_data :]
    losses = losses_that_count(result, by).reshape(math.prod(grid), math.prod(data))
    counts = ~np.isnan(losses)
    if not counts.any():
        raise ValueError(f"no cell has a {by} that counts: all diverged, were not fitted, or are not finite ({result!r})")
    if not (per_fit or not data):
        losses = _means(losses, counts)
        counts, data = ~np.isnan(losses), ()
        if not counts.any():
            raise ValueError(f"no cell has a {by} that counts for all fits: give per_fit=True, or select a fit first, result.sel(fit=0)")
    best = np.argmin(np.where(counts, losses, np.inf), axis=0)
    found = counts.any(axis=0)
    if data:
        return _of_many(result, grid, data, best, found)
    return _of_one(result, grid, int(best[0]))


def _means(losses: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(cells, 1) means over the fits that any cell counts for; NaN where one does not count."""
    return losses[:, counts.any(axis=0)].mean(axis=1, keepdims=True)


def _of_one(result: Any, grid: tuple[int, ...], cell: int) -> dict[str, Any]:
    """The values of one cell; of several fits its losses are arrays over them."""
    places = np.unravel_index(cell, grid) if grid else ()
    at = dict(zip(result.dims, (int(place) for place in places), strict=False))
    values = {}
    for name, coordinate in swept(result).items():
        values[name] = coordinate.value(at.get(coordinate.dim, 0))
    rule = str(values["optimizer"])
    values = {name: value for name, value in values.items() if applies(rule, name)}
    chosen = _take(result, at)
    return values | {name: getattr(chosen, name) for name in _OF_CELLS if getattr(chosen, name) is not None}


def _of_many(result: Any, grid: tuple[int, ...], data: tuple[int, ...], best: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Arrays over the fits of the values of the best cell of each."""
    at = dict(zip(result.dims, np.unravel_index(best, grid) if grid else (), strict=False))
    values: dict[str, Any] = {}
    for name, coordinate in swept(result).items():
        labels = coordinate.labels[at.get(coordinate.dim, np.zeros(len(best), int))]
        values[name] = labels
    optimizers = at.get(result.coordinates["optimizer"].dim, np.zeros(len(best), int))
    for name, labels in values.items():
        out = ~found | ~applies_at(result, name)[optimizers]
        if out.any():
            labels = np.where(out, "", labels) if labels.dtype.kind == "U" else labels.astype(np.float64)
            labels[out] = "" if labels.dtype.kind == "U" else np.nan
        values[name] = labels.reshape(*data, *labels.shape[1:])
    for name in _OF_CELLS:
        array = getattr(result, name)
        if array is None:
            continue
        last = np.shape(array)[len(grid) + len(data) :]
        cells = np.asarray(array).reshape(math.prod(grid), math.prod(data), *last)[best, np.arange(len(best))]
        if cells.dtype.kind == "f":
            cells[~found] = np.nan
        cells = cells.reshape(*data, *last)
        values[name] = named(cells) if name == "status" else cells
    return values


def swept(result: Any) -> dict[str, Coordinate]:
    """The coordinates of hyperparameters: without those of the data."""
    return {name: coordinate for name, coordinate in result.coordinates.items() if not (name == "fit" or name.startswith("axis_"))}


@functools.lru_cache(maxsize=1024)
def applies(optimizer: str, name: str) -> bool:
    """Whether a hyperparameter says something of the cells of an optimizer, by its label."""
    rule = UPDATE_RULES[rule_of(optimizer)]
    asked = "beta1" if name == "betas" else name
    return asked in rule.hyperparameters or not any(asked in other.hyperparameters for other in UPDATE_RULES.values())


def applies_at(result: Any, name: str) -> np.ndarray:
    """(k,) bool: the same along the axis of the optimizer."""
    optimizers = result.coordinates["optimizer"]
    return np.array([applies(label, name) for label in optimizers.texts.values()])[optimizers.values]


def epochs_to(result: Any, tol: Any) -> np.ndarray:
    """Epochs until at most `tol` of the start's excess was left, for `SweepResult.epochs_to`."""
    if tol is None:
        raise TypeError("tol must be a number, not None")
    share = read_tol(tol)
    if result.tol is not None and share == result.tol:
        return np.where(np.asarray(result.status) == CONVERGED, np.asarray(result.epochs, np.float64), np.nan)
    if result.history is None:
        made = "" if result.tol is None else f" (it was made with tol={result.tol:g})"
        raise ValueError(f"the sweep does not know when {share:g} was reached{made}: give sweep(..., tol={share:g}), or history=True")
    if result._penalised or result.excess_loss is None:
        why = "the objective has a penalty" if result._penalised else "excess_loss is not known"
        raise ValueError(f"{why}, so the recorded losses do not tell when {share:g} was reached: give sweep(..., tol={share:g})")
    recorded = np.asarray(result.history.loss)
    loss, end, excess = (np.asarray(values, np.float64) for values in (recorded, result.loss, result.excess_loss))
    with np.errstate(all="ignore"):
        least = (end - excess)[..., None]
        # each recorded number was rounded to the dtype: half a unit in its last place; what is
        # computed here in float64 is rounded four times
        unit = float(np.finfo(recorded.dtype).eps) / 2 + 4 * float(np.finfo(np.float64).eps)
        error = unit * (loss + (np.abs(end) + np.abs(excess))[..., None])
        left = loss - least
        reached = left + error <= share * (left - error)[..., :1]
        reached &= np.arange(loss.shape[-1]) > 0
    first = result.history.epoch[np.argmax(reached, axis=-1)]
    return np.where(reached.any(axis=-1), first.astype(np.float64), np.nan)
