"""One call of `fit` or `solve` of arrays: targets, predictors and weights in one order of axes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray

from ..input.messages import in_ascii, kind_of, shown
from .predictors import Predictors, text

_FOR_EACH_FIT = ("lr", "weight_decay", "ridge", "intercept0")  # options that may be DataArrays


@dataclass(frozen=True)
class Task:
    """One call of `fit` or `solve` of arrays.

    X (…, n_samples, n_features) or (n_samples,), y (…, n_samples), with the axes `dims` for "…".
    like: an array of these axes, with the coordinates of the result.
    """

    X: np.ndarray
    y: np.ndarray
    options: dict[str, Any]
    dims: tuple[Hashable, ...]
    like: xarray.DataArray
    name: str
    units: str


def make_task(
    y: xarray.DataArray,
    dim: Hashable,
    predictors: Predictors,
    weights: xarray.DataArray | None,
    where: xarray.DataArray | None,
    options: Mapping[str, Any],
) -> Task:
    """Match all arrays by their labels, and bring them to one order of axes."""
    for_fits = _options_of_fits(options)
    for name, array in for_fits.items():
        if dim in array.dims:
            raise ValueError(f"{name} has the dimension {text(dim)}, along which the samples lie: it needs one value for each fit")
    columns = {f"the predictor {name!a}": axis.numbers for name, axis in predictors.axes.items()}
    given = {"the data": y, **columns, **({} if weights is None else {"weights": weights}), **for_fits}
    for name, array in given.items():
        if name not in for_fits and dim not in array.dims:
            theirs = ", ".join(map(text, array.dims)) or "none"
            raise ValueError(f"{name} must have the dimension {text(dim)}, along which the samples lie; the dimensions are {theirs}")
    given = _aligned(given | ({} if where is None else {"where": where}))
    if where is not None:
        given["the data"] = _only_where(given["the data"], given.pop("where"), dim, options)
    dims = tuple(dict.fromkeys(one for array in given.values() for one in array.dims if one != dim))
    laid_out = {name: _laid_out(array, dims, None if name in for_fits else dim) for name, array in given.items()}
    made = {**options, **{name: laid_out[name] for name in for_fits}, **_missing_values(y, options)}
    if weights is not None:
        made["sample_weight"] = laid_out["weights"]
    X = _features([laid_out[name] for name in columns], predictors, made.get("dtype") or laid_out["the data"].dtype)
    like = xarray.broadcast(*(array.isel({dim: 0}, drop=True) if dim in array.dims else array for array in given.values()))[0]
    return Task(X, laid_out["the data"], made, dims, like.transpose(*dims), str(y.name or "the data"), str(y.attrs.get("units", "")))


def _options_of_fits(options: Mapping[str, Any]) -> dict[str, xarray.DataArray]:
    """Options with labels. One with several values and no labels is refused."""
    for name, value in options.items():
        if isinstance(value, xarray.DataArray) and name not in _FOR_EACH_FIT:
            raise TypeError(f"{name} may not be a DataArray: give its values, {name}.values")
        if name in _FOR_EACH_FIT and not isinstance(value, xarray.DataArray) and value is not None and np.ndim(value):
            raise TypeError(f"{name} must be one number, or a DataArray whose dimensions say for which fit each is; it is {shown(value)}")
    return {name: value for name, value in options.items() if isinstance(value, xarray.DataArray)}


def _features(columns: list[np.ndarray], predictors: Predictors, dtype: Any) -> np.ndarray:
    """X of the predictors: (n_samples,) of a single one that all fits share, else (…, n, d).

    Times become of the dtype of the data.
    """
    dtype = np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float64)
    times = [axis.is_time for axis in predictors.axes.values()]
    columns = [column.astype(dtype) if is_time else column for column, is_time in zip(columns, times, strict=True)]
    if predictors.single and columns[0].ndim == 1:
        return columns[0]
    X = np.stack(np.broadcast_arrays(*columns), axis=-1)
    return X.rechunk({-1: -1}) if hasattr(X, "rechunk") else X  # Dask stacks features as chunks


def _only_where(y: xarray.DataArray, where: xarray.DataArray, dim: Hashable, options: Mapping[str, Any]) -> xarray.DataArray:
    """The data, missing where they are not to be fitted."""
    if dim in where.dims:
        raise ValueError(f"where has the dimension {text(dim)}, along which the samples lie: it needs one value for each fit")
    if options.get("nan_policy") != "omit":
        raise ValueError(f"where= needs nan_policy='omit', the default; it is {options.get('nan_policy')!a}")
    if where.dtype != bool:
        raise TypeError(f"where must hold True or False; it has dtype {where.dtype}")
    return y.where(where)


def _aligned(given: dict[str, xarray.DataArray]) -> dict[str, xarray.DataArray]:
    """The arrays, whose labels must be the same along every dimension that they share."""
    for name, array in given.items():
        _refuse_quantities(array, name)
    try:
        return dict(zip(given, xarray.align(*given.values(), join="exact", copy=False), strict=True))
    except ValueError as error:
        raise ValueError(
            f"{', '.join(given)} have other labels along a dimension that they share: select the same ones, for example with "
            f"xarray.align(..., join='inner') ({' '.join(str(error).split())})"
        ) from None


def _laid_out(array: xarray.DataArray, dims: tuple[Hashable, ...], last: Hashable | None) -> Any:
    """A view, of NumPy or Dask, with the axes `dims`, and `last` as its last.

    An axis that the array lacks has the length 1, or is left out where it is a leading one.
    """
    ends = [] if last is None else [last]
    present = [one for one in dims if one in array.dims]
    ordered = array.transpose(*present, *ends)
    values = ordered.values if ordered.chunks is None else ordered.data
    first = dims.index(present[0]) if present else len(dims)
    return values[(*(slice(None) if one in array.dims else None for one in dims[first:]), ...)]


def _refuse_quantities(array: xarray.DataArray, name: str) -> None:
    """Raise where an array holds units, which would be lost."""
    held = array.variable._data if isinstance(array.variable, xarray.Variable) else None
    if hasattr(held, "magnitude") and hasattr(held, "units"):
        raise TypeError(f"{name} holds quantities of {kind_of(held)}: give {in_ascii(name)}.pint.dequantify(), whose attrs keep the units")


def _missing_values(y: xarray.DataArray, options: Mapping[str, Any]) -> dict[str, Any]:
    """`nodata` with what the attributes of undecoded data say is missing."""
    if "scale_factor" in y.attrs or "add_offset" in y.attrs:
        raise ValueError(
            "the data are packed (their attrs have scale_factor or add_offset): decode them first, with xarray.decode_cf(dataset)"
        )
    marks = [mark for name in ("_FillValue", "missing_value") for mark in np.ravel(y.attrs.get(name, [])).tolist()]
    marks = [mark for mark in dict.fromkeys(marks) if mark == mark]  # NaN is missing anyway
    if not marks or options.get("nodata") is not None:
        return {}
    return {"nodata": {"y": marks}}
