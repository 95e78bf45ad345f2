"""NIST's Statistical Reference Datasets (StRD) for linear regression, with certified values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..input.float_mode import computes
from ..input.messages import shown
from ..input.options import name_among

__all__ = ["NistExact", "NistRegression", "nist"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class NistExact:
    """The solution of a NIST regression in exact rational arithmetic, to 30 significant digits.

    Attributes
    ----------
    beta, std_error : tuple of D Decimals
        The least-squares parameters and their standard errors, the intercept last.
    residual_sd, r2 : Decimal
        Residual standard deviation (n − D degrees of freedom) and coefficient of determination.
    rss, mse : Decimal
        Residual sum of squares, and rss / n_samples: the loss at the minimum.
    beta_of_float64, mse_of_float64 : tuple of D Decimals, Decimal
        The solution for X and y rounded to float64, and its mean squared residual: the best that a
        float64 program can reach.
    """

    beta: tuple[Decimal, ...]
    std_error: tuple[Decimal, ...]
    residual_sd: Decimal
    r2: Decimal
    rss: Decimal
    mse: Decimal
    beta_of_float64: tuple[Decimal, ...]
    mse_of_float64: Decimal


@dataclass(frozen=True, eq=False)
class NistRegression:
    """One NIST StRD linear regression with its certified values.

    Attributes
    ----------
    name, level : str
        The name of the set, and its level of difficulty: "lower", "average" or "higher".
    X : ndarray, shape (n_samples, n_features), float64
        The features, without a column of ones.
    y : ndarray, shape (n_samples,), float64
        The targets.
    intercept : bool
        Whether the model has an intercept.
    beta, std_error : ndarray, shape (D,), float64
        The certified parameters and their standard errors; D = n_features, or n_features + 1 with
        the intercept last.
    residual_sd, r2 : float
        The certified residual standard deviation and coefficient of determination.
    exact : NistExact
        The exact solution, to 30 digits.
    """

    name: str
    level: str
    X: Array = field(repr=False)
    y: Array = field(repr=False)
    intercept: bool
    beta: Array = field(repr=False)
    std_error: Array = field(repr=False)
    residual_sd: float
    r2: float
    exact: NistExact = field(repr=False)


@overload
def nist(name: None = None) -> tuple[NistRegression, ...]: ...
@overload
def nist(name: str) -> NistRegression: ...
@computes
def nist(name: str | None = None) -> NistRegression | tuple[NistRegression, ...]:
    """Return the NIST StRD linear regressions with their certified values.

    X has the features without a column of ones. Polynomial sets have x, x², … as features; each is
    the power of the float64 x, rounded once.

    Parameters
    ----------
    name : str, optional
        norris, pontius, noint1, noint2, filip, longley, or wampler1 to wampler5, in any case.
        Default: all of them.

    Returns
    -------
    NistRegression or tuple of NistRegression
        The data and the certified values in float64, and the exact solution to 30 digits. The
        intercept is the last parameter (NIST lists it first).

    Raises
    ------
    ValueError
        `name` is none of the sets.

    Notes
    -----
    Gradient descent on the raw data of most sets needs too many epochs to converge: the condition
    of the Hessian is 7e5 for Norris and 3e30 for Filip. They test the trajectory, not the limit.

    Source: NIST Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/ (public
    domain).

    Examples
    --------
    >>> norris = nist("norris")
    >>> norris.X.shape, norris.intercept, norris.level
    ((36, 1), True, 'lower')
    >>> norris.beta.tolist()
    [1.00211681802045, -0.262323073774029]
    """
    datasets = json.loads(files("fastgd").joinpath("testing", "nist_strd.json").read_text("utf-8"))["datasets"]
    if name is None:
        return tuple(_nist_regression(key, entry) for key, entry in datasets.items())
    key = name_among(str.lower(name) if isinstance(name, str) else name, datasets)
    if key is None:
        raise ValueError(f"there is no NIST set {shown(name)}: choose one of {', '.join(datasets)}")
    return _nist_regression(key, datasets[key])


def _nist_regression(name: str, entry: dict[str, Any]) -> NistRegression:
    """Return one set. The file has the intercept first; here it is last."""
    model, certified, exact, exact64 = entry["model"], entry["certified"], entry["exact30"], entry["exact30_of_float64_design"]
    intercept = bool(model["intercept"])

    def ours(values: list[str]) -> tuple[Decimal, ...]:
        numbers = [Decimal(value) for value in values]
        return tuple(numbers[1:] + numbers[:1] if intercept else numbers)

    if model["kind"] == "poly":
        rationals = [Fraction(float(x)) for x in entry["x"]]
        # Each power is rounded once.
        X = np.array([[float(x**k) for k in range(1, model["degree"] + 1)] for x in rationals])
    else:
        X = np.array([[float(x) for x in row] for row in entry["x"]])
    return NistRegression(
        name=name,
        level=model["level"],
        X=X,
        y=np.array([float(value) for value in entry["y"]]),
        intercept=intercept,
        beta=np.array([float(value) for value in ours(certified["beta"])]),
        std_error=np.array([float(value) for value in ours(certified["std_error"])]),
        residual_sd=float(certified["residual_sd"]),
        r2=float(certified["r2"]),
        exact=NistExact(
            beta=ours(exact["beta"]),
            std_error=ours(exact["std_error"]),
            residual_sd=Decimal(exact["residual_sd"]),
            r2=Decimal(exact["r2"]),
            rss=Decimal(exact["rss"]),
            mse=Decimal(exact["mse"]),
            beta_of_float64=ours(exact64["beta"]),
            mse_of_float64=Decimal(exact64["mse"]),
        ),
    )
