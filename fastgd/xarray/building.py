"""The fits of labelled arrays as a labelled Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from ..results.result import FitResult
from ..results.special import has_scipy
from ..results.status import STATUS_NAMES
from .predictors import TERM, Predictors
from .task import Task

if TYPE_CHECKING:
    from ..dask import Fits

_STATUS = {
    "long_name": "status of the fit",
    "flag_values": np.arange(len(STATUS_NAMES), dtype=np.int8),
    "flag_meanings": " ".join(STATUS_NAMES),
}


def variables_of(result: FitResult | Fits, task: Task, predictors: Predictors) -> dict[str, Any]:
    """{name: variable} of the result of one task."""
    found: dict[str, xarray.Variable] = {}
    of_y = task.units
    origin = {key: text for axis in predictors.axes.values() for key, text in _origin(axis).items()}
    w = result.w
    if predictors.single:
        [(term, axis)] = predictors.axes.items()
        values = w if w.ndim == len(task.dims) else w[..., 0]
        attrs = {"long_name": f"slope of {task.name} against {term}"} | _units(of_y, axis.units) | origin
        found["slope"] = xarray.Variable(task.dims, values, attrs)
    else:
        attrs = {"long_name": f"coefficients of {task.name}"} | origin
        found["coef"] = xarray.Variable((*task.dims, TERM), w, attrs)
    if result.intercept is not None:
        attrs = {"long_name": "value where all predictors are 0"} | ({"units": of_y} if of_y else {}) | origin
        found["intercept"] = xarray.Variable(task.dims, result.intercept, attrs)
    squared = {"units": f"({of_y})^2"} if of_y else {}
    others: dict[str, tuple[Any, dict[str, Any]]] = {
        "loss": (result.loss, {"long_name": "mean squared residual", **squared}),
        "excess_loss": (result.excess_loss, {"long_name": "loss above its least value", **squared}),
        "status": (result.status if hasattr(result.status, "dask") else np.asarray(result.status, np.int8), _STATUS),
        "n_used": (result.n_used, {"long_name": "samples that were used"}),
    }
    if result.rank is None:
        others["epochs"] = (result.epochs, {"long_name": "epochs that were run"})
    else:
        others["ill_conditioned"] = (result.ill_conditioned, {"long_name": "whether the data determine less than half of the digits"})
    found |= _statistics(result, task, predictors, {name: variable.attrs for name, variable in found.items()})
    return found | {name: xarray.Variable(task.dims, values, attrs) for name, (values, attrs) in others.items() if values is not None}


def _statistics(result: FitResult | Fits, task: Task, predictors: Predictors, attrs: dict[str, Any]) -> dict[str, xarray.Variable]:
    """Standard errors and so on, where they were asked for; of the intercept apart."""
    stats: Any = result.stats if isinstance(result, FitResult) else result
    if stats is None or stats.r2 is None:
        return {}
    found = {"r2": xarray.Variable(task.dims, stats.r2, {"long_name": "share of the variance that is explained"})}
    n_terms = len(predictors.axes)
    for name, words in (("std_error", "standard error"), ("t", "estimate / standard error"), ("p", "two-sided p value")):
        values = None if name == "p" and not has_scipy() else getattr(stats, name)
        if values is None:
            continue
        of_terms = values[..., 0] if predictors.single else values[..., :n_terms]
        estimate = "slope" if predictors.single else "coef"
        dims = task.dims if predictors.single else (*task.dims, TERM)
        found[name] = xarray.Variable(dims, of_terms, {"long_name": f"{words} of {estimate}"})
        if result.intercept is not None:
            found[f"intercept_{name}"] = xarray.Variable(task.dims, values[..., n_terms], {"long_name": f"{words} of intercept"})
    for name, of in (("std_error", "slope"), ("intercept_std_error", "intercept")):
        if name in found and "units" in attrs.get(of, {}):
            found[name].attrs["units"] = attrs[of]["units"]
    return found


def _units(of_y: str, of_x: str) -> dict[str, str]:
    """The units of a slope."""
    return {"units": f"{of_y or '1'} / {of_x}"} if of_x else {}


def _origin(axis: Any) -> dict[str, str]:
    """What says from when a time was counted."""
    if not axis.is_time:
        return {}
    return {"time_unit": axis.units, **({"time_origin": axis.origin, "time_calendar": axis.calendar} if axis.origin else {})}


def dataset_of(parts: list[tuple[str | None, Task, dict[str, Any]]], predictors: Predictors, attrs: dict[Any, Any]) -> xarray.Dataset:
    """One Dataset of all variables; those of a Dataset begin with the name of what was fitted."""
    variables: dict[Any, Any] = {}
    coords: dict[Any, Any] = {}
    for name, task, found in parts:
        variables |= {one if name is None else f"{name}_{one}": variable for one, variable in found.items()}
        coords |= {key: value for key, value in task.like.coords.items() if key not in coords}
    made = xarray.Dataset(variables, attrs=attrs)
    if not predictors.single:
        made = made.assign_coords({TERM: list(predictors.axes)})
    return made.assign_coords(xarray.Dataset(coords=coords).coords)
