"""fit() and solve() of labelled arrays: each variable is one call of `fastgd.fit` or `solve`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray

from ..fitting import fit as fit_arrays
from ..input.annotations import NanPolicy
from ..input.messages import shown
from ..input.options import read_choice, read_count
from ..input.wrong_names import helps_with_keywords
from ..results.result import FitResult
from ..solving import solve as solve_arrays
from .building import dataset_of, variables_of
from .predictors import read_dataset, read_predictors
from .task import Task, make_task
from .times import UNITS, TimeUnit

Predictor: TypeAlias = str | xarray.DataArray | np.ndarray
_NOT_HERE = {
    "history": "a Dataset has the end of each fit; fastgd.fit keeps every epoch",
    "state": "a Dataset holds no state; fastgd.fit continues fits",
    "out": "the result is a Dataset of its own",
    "checkpoint": "each variable is a call of its own; fastgd.fit has one",
    "w0": "all fits begin at zero; fastgd.fit takes a start",
    "sample_weight": "here they are called weights",
}


@helps_with_keywords
def fit(
    data: xarray.DataArray | xarray.Dataset,
    dim: Hashable = "time",
    *,
    x: Predictor | Sequence[Predictor] | Mapping[str, Predictor] | xarray.Dataset | None = None,
    deg: int = 1,
    weights: xarray.DataArray | None = None,
    where: xarray.DataArray | None = None,
    unit: TimeUnit = "year",
    intercept: bool = True,
    standardize: bool = True,
    nan_policy: NanPolicy = "omit",
    **fit_options: Any,
) -> xarray.Dataset:
    """Fit a linear model along one dimension of labelled arrays by gradient descent.

    ::

        data = slope · x + intercept        or        data = coef · [x_1, x_2, …] + intercept

    Each point of the other dimensions is a fit of its own, by `fastgd.fit`; dimensions are matched
    by name and labels. A dataset of the fits comes back, with the coordinates of the data.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Targets. Of a Dataset every variable that has ``dim`` is fitted. Chunks of Dask stay lazy:
        the fits are those of `fastgd.dask`, a task for each block. Values of
        ``attrs["_FillValue"]`` and ``attrs["missing_value"]`` are missing, unless ``nodata`` says
        what is.
    dim : str, default "time"
        The dimension along which the samples lie.
    x : str, DataArray, 1-D array, or several of these, optional
        The predictor. None: the coordinate of ``dim``. A name is one of the coordinates (of a
        Dataset also a variable, which is then no target). A DataArray has ``dim``, and further
        dimensions where the predictor differs from fit to fit. Several: a list of names and
        DataArrays, a mapping or Dataset of predictors by name, or a DataArray with a dimension
        "term". Dates are counted from the earliest, and durations from 0, in ``unit``, in the dtype
        of the data.
    deg : int, default 1
        Degree of a polynomial in one predictor, whose terms are then "x", "x^2", ….
    weights : DataArray, optional
        Weights ≥ 0 with ``dim``, and further dimensions where they differ from fit to fit.
    where : DataArray of bool, optional
        What to fit. Elsewhere the results are NaN, ``n_used`` is 0 and the status TOO_FEW_SAMPLES.
    unit : {"year", "second", "minute", "hour", "day", "decade"}, default "year"
        Unit of predictors that are times. A year has 365.2425 days, and in a calendar of cftime
        whose years are others as many as there.
    intercept : bool, default True
        Whether to fit an intercept: the value where all predictors are 0, for dates at the earliest
        one.
    standardize : bool, default True
        Descend on centred and scaled predictors; results are in the units of x.
    nan_policy : {"omit", "raise", "propagate"}, default "omit"
        What happens with missing samples: by default they are left out of their fit.
    **fit_options
        Further options of `fastgd.fit`, such as ``epochs``, ``optimizer``, ``lr``, ``tol``,
        ``stats``, ``nodata`` or ``memory_limit``. lr, weight_decay and intercept0 may be
        DataArrays; their dimensions are matched by name, too. Without ``history``, ``state``,
        ``out`` and ``w0``.

    Returns
    -------
    xarray.Dataset
        ``slope``, or for several predictors ``coef`` with a dimension "term"; ``intercept``,
        ``loss``, ``excess_loss``, ``status`` (codes of `fastgd.Status`, named by the attribute
        flag_meanings), ``n_used``, ``epochs``; with ``stats=True`` ``r2``, ``std_error``, ``t``,
        ``p`` (needs SciPy) and the last three of the intercept, ``intercept_p`` and so on. Of a
        Dataset the names are ``<variable>_slope`` and so on. Units are in the attributes, where
        those of the data and of x are known; so is from when a time is counted.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong, or labels or chunks do not match.
    ImportError
        When xarray is not installed: ``pip install 'fastgd[xarray]'``.

    Examples
    --------
    >>> import numpy as np, xarray, fastgd.xarray
    >>> time = np.array(["2000-01", "2001-01", "2002-01", "2003-01"], "datetime64[ns]")
    >>> values = [[1.0, 2, 3, 4], [8, 6, np.nan, 2]]
    >>> air = xarray.DataArray(values, {"lat": [50, 60], "time": time}, ["lat", "time"])
    >>> trend = fastgd.xarray.fit(air, "time", epochs=100)
    >>> trend.slope.values.round(2)
    array([ 1., -2.])
    >>> trend.n_used.values
    array([4, 3])
    """
    fitted = {"intercept": intercept, "standardize": standardize, "nan_policy": nan_policy, **fit_options}
    return _along(fit_arrays, data, dim, x, deg, weights, where, unit, fitted)


@helps_with_keywords
def solve(
    data: xarray.DataArray | xarray.Dataset,
    dim: Hashable = "time",
    *,
    x: Predictor | Sequence[Predictor] | Mapping[str, Predictor] | xarray.Dataset | None = None,
    deg: int = 1,
    weights: xarray.DataArray | None = None,
    where: xarray.DataArray | None = None,
    unit: TimeUnit = "year",
    intercept: bool = True,
    nan_policy: NanPolicy = "omit",
    **solve_options: Any,
) -> xarray.Dataset:
    """Fit a linear model along one dimension of labelled arrays by least squares, in closed form.

    ::

        data = slope · x + intercept        or        data = coef · [x_1, x_2, …] + intercept

    Each point of the other dimensions is a fit of its own, by `fastgd.solve`; dimensions are
    matched by name and labels. A dataset of the fits comes back, with the coordinates of the data.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Targets. Of a Dataset every variable that has ``dim`` is fitted. Chunks of Dask stay lazy:
        the fits are those of `fastgd.dask`, a task for each block. Values of
        ``attrs["_FillValue"]`` and ``attrs["missing_value"]`` are missing, unless ``nodata`` says
        what is.
    dim : str, default "time"
        The dimension along which the samples lie.
    x : str, DataArray, 1-D array, or several of these, optional
        The predictor. None: the coordinate of ``dim``. A name is one of the coordinates (of a
        Dataset also a variable, which is then no target). A DataArray has ``dim``, and further
        dimensions where the predictor differs from fit to fit. Several: a list of names and
        DataArrays, a mapping or Dataset of predictors by name, or a DataArray with a dimension
        "term". Dates are counted from the earliest, and durations from 0, in ``unit``, in the dtype
        of the data.
    deg : int, default 1
        Degree of a polynomial in one predictor, whose terms are then "x", "x^2", ….
    weights : DataArray, optional
        Weights ≥ 0 with ``dim``, and further dimensions where they differ from fit to fit.
    where : DataArray of bool, optional
        What to fit. Elsewhere the results are NaN, ``n_used`` is 0 and the status TOO_FEW_SAMPLES.
    unit : {"year", "second", "minute", "hour", "day", "decade"}, default "year"
        Unit of predictors that are times. A year has 365.2425 days, and in a calendar of cftime
        whose years are others as many as there.
    intercept : bool, default True
        Whether to fit an intercept: the value where all predictors are 0, for dates at the earliest
        one.
    nan_policy : {"omit", "raise", "propagate"}, default "omit"
        What happens with missing samples: by default they are left out of their fit.
    **solve_options
        Further options of `fastgd.solve`, such as ``stats``, ``nodata`` or ``memory_limit``.
        weight_decay may be a DataArray; its dimensions are matched by name, too.

    Returns
    -------
    xarray.Dataset
        ``slope``, or for several predictors ``coef`` with a dimension "term"; ``intercept``,
        ``loss``, ``status`` (codes of `fastgd.Status`, named by the attribute flag_meanings),
        ``n_used``, ``ill_conditioned``; with ``stats=True`` ``r2``, ``std_error``, ``t``, ``p``
        (needs SciPy) and the last three of the intercept, ``intercept_p`` and so on. Of a Dataset
        the names are ``<variable>_slope`` and so on. Units are in the attributes, where those of
        the data and of x are known; so is from when a time is counted.

    Raises
    ------
    ValueError, TypeError
        When an argument is wrong, or labels or chunks do not match.
    ImportError
        When xarray is not installed: ``pip install 'fastgd[xarray]'``.

    Examples
    --------
    >>> import numpy as np, xarray, fastgd.xarray
    >>> time = np.array(["2000-01-01", "2000-01-02", "2000-01-04"], "datetime64[ns]")
    >>> level = xarray.DataArray([1.0, 1.5, 2.5], {"time": time}, ["time"], attrs={"units": "m"})
    >>> trend = level.fastgd.solve("time", unit="day")
    >>> float(trend.slope), trend.slope.attrs["units"], trend.slope.attrs["time_origin"][:10]
    (0.5, 'm / day', '2000-01-01')
    """
    return _along(
        solve_arrays, data, dim, x, deg, weights, where, unit, {"intercept": intercept, "nan_policy": nan_policy, **solve_options}
    )


def _along(
    run: Callable[..., FitResult],
    data: xarray.DataArray | xarray.Dataset,
    dim: Hashable,
    x: Any,
    deg: int,
    weights: xarray.DataArray | None,
    where: xarray.DataArray | None,
    unit: TimeUnit,
    options: Mapping[str, Any],
) -> xarray.Dataset:
    """Fit each array along `dim` by `run`, all checked before the first is."""
    for option, why in _NOT_HERE.items():
        if option in options:
            raise TypeError(f"fastgd.xarray has no option {option!r}: {why}")
    read_choice(unit, "unit", UNITS)
    read_count(deg, "deg", 1, 16)
    for given, value in (("weights", weights), ("where", where)):
        if value is not None and not isinstance(value, xarray.DataArray):
            raise TypeError(f"{given} must be an xarray.DataArray, whose dimensions are matched by name; it is {shown(value)}")
    arrays = read_dataset(data, dim, x)
    predictors = read_predictors(data, dim, x, deg, unit)
    tasks = [(name, make_task(array, dim, predictors, weights, where, options)) for name, array in arrays.items()]
    parts = []
    for name, task in tasks:
        result = _run_of(run, task)(task.X, task.y, **task.options)
        parts.append((name, task, variables_of(result, task, predictors)))
    return dataset_of(parts, predictors, dict(data.attrs) if isinstance(data, xarray.Dataset) else {})


def _run_of(run: Callable[..., FitResult], task: Task) -> Callable[..., Any]:
    """`run`, or what does the same for chunks of Dask."""
    if not any(hasattr(array, "dask") for array in (task.X, task.y, *task.options.values())):
        return run
    from .. import dask  # a second to import

    return dask.fit if run is fit_arrays else dask.solve
