"""The predictors of labelled arrays by name, and the arrays that are fitted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray

from ..input.messages import kind_of, shown
from .times import Axis, TimeUnit, axis_of

TERM = "term"  # the dimension of several predictors


@dataclass(frozen=True)
class Predictors:
    """The predictors by name, each as numbers with the dimension of the samples."""

    axes: dict[str, Axis]
    single: bool  # one that was not given in a list: its coefficient is called slope


def read_predictors(data: xarray.DataArray | xarray.Dataset, dim: Hashable, x: Any, deg: int, unit: TimeUnit) -> Predictors:
    """The predictors that were asked for: the coordinate of `dim`, or one or several others."""
    if x is None:
        if dim not in data.coords:
            raise ValueError(
                f"the dimension {text(dim)} has no coordinate to fit against: give x=numpy.arange({data.sizes[dim]}), or another x"
            )
        x = data.coords[dim]
    single = not isinstance(x, Mapping | list | tuple) and not (isinstance(x, xarray.DataArray) and TERM in x.dims)
    named = {name: _array_of(value, name, data, dim) for name, value in _by_name(x, dim).items()}
    if not named:
        raise ValueError("x names no predictor: give at least one, or leave it out")
    for name, array in named.items():
        if dim not in array.dims:
            raise ValueError(
                f"the predictor {name!a} has the dimensions {texts(array.dims)}; it needs {text(dim)}, along which the samples lie"
            )
    axes = {name: axis_of(array, unit, f"the predictor {name!a}") for name, array in named.items()}
    if deg == 1:
        return Predictors(axes, single)
    if not single:
        raise ValueError(f"deg={deg} is for one predictor; x names {len(axes)}: give their powers as predictors of their own")
    [(name, axis)] = axes.items()
    numbers = axis.numbers.astype(np.result_type(axis.numbers.dtype, np.float32))
    return Predictors({name if k == 1 else f"{name}^{k}": axis._replace(numbers=numbers**k) for k in range(1, deg + 1)}, False)


def _by_name(x: Any, dim: Hashable) -> dict[str, Any]:
    """{name of the predictor: what was given for it}."""
    if isinstance(x, xarray.Dataset):
        return {str(name): array for name, array in x.data_vars.items()}
    if isinstance(x, Mapping):
        return {str(name): array for name, array in x.items()}
    if isinstance(x, xarray.DataArray):
        if TERM not in x.dims:
            return {str(x.name or dim): x}
        labels = x[TERM].values.tolist() if TERM in x.coords else [f"x_{k}" for k in range(x.sizes[TERM])]
        return {str(label): x.isel({TERM: k}, drop=True) for k, label in enumerate(labels)}
    if isinstance(x, list | tuple) and all(isinstance(one, str | xarray.DataArray) for one in x):
        names = [one if isinstance(one, str) else str(one.name or f"x_{k}") for k, one in enumerate(x)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"x names the predictor {twice!a} twice: give a mapping of names to predictors")
        return dict(zip(names, x, strict=True))
    return {x if isinstance(x, str) else str(dim): x}


def _array_of(value: Any, name: str, data: xarray.DataArray | xarray.Dataset, dim: Hashable) -> xarray.DataArray:
    """A predictor as a DataArray."""
    if isinstance(value, str):
        known = data.variables if isinstance(data, xarray.Dataset) else data.coords
        if value not in known:
            raise ValueError(f"x names {value!a}, which the data do not have; they have {texts(known)}")
        return data[value]
    if isinstance(value, xarray.DataArray):
        return value
    array = np.asarray(value)
    if array.ndim != 1 or len(array) != data.sizes[dim]:
        raise ValueError(
            f"the predictor {name!a} must be a DataArray, a name, or one number for each of the {data.sizes[dim]} samples; "
            f"it is {shown(value)}, of shape {array.shape}"
        )
    return xarray.DataArray(array, dims=[dim])


def read_dataset(data: Any, dim: Hashable, x: Any) -> dict[str | None, xarray.DataArray]:
    """{name: array to be fitted}: of a DataArray itself, without a name."""
    if isinstance(data, xarray.DataArray):
        if dim not in data.dims:
            raise ValueError(
                f"the data have the dimensions {texts(data.dims)}, not {text(dim)}: name with dim= the one along which the samples lie"
            )
        return {None: data}
    if not isinstance(data, xarray.Dataset):
        raise TypeError(f"the data must be an xarray.DataArray or an xarray.Dataset, not {kind_of(data)}; fastgd.fit takes arrays")
    names = [x] if isinstance(x, str) else [*x.values()] if isinstance(x, Mapping) else x if isinstance(x, list | tuple) else []
    predictors = [name for name in names if isinstance(name, str)]
    found: dict[str | None, xarray.DataArray] = {}
    found |= {str(name): array for name, array in data.data_vars.items() if dim in array.dims and name not in predictors}
    if not found:
        raise ValueError(
            f"no variable of the dataset has the dimension {text(dim)}; it has {texts(data.data_vars)}, with dimensions {texts(data.dims)}"
        )
    return found


def text(name: Hashable) -> str:
    """The name of a dimension, for errors."""
    return ascii(name)


def texts(names: Any) -> str:
    """Names of dimensions, for errors."""
    return ", ".join(text(name) for name in names) if names else "none"
