"""The certified linear regressions of NIST's Statistical Reference Datasets (StRD), read from nist_strd.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["NistExact", "NistRegression", "nist"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class NistExact:
    """A NIST regression solved in exact rational arithmetic, to 30 significant digits.

    Attributes
    ----------
    beta, std_error : tuple of D Decimals
        The least-squares parameters and their standard errors, the intercept last.
    residual_sd, r2 : Decimal
        Residual standard deviation (n − D degrees of freedom) and coefficient of determination.
    rss, mse : Decimal
        Residual sum of squares, and rss / n_samples: the loss at the minimum.
    beta_of_float64, mse_of_float64 : tuple of D Decimals, Decimal
        The solution for X and y as they are in float64: the best that a float64 program can be asked for.
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
        The set's name, and its difficulty: "lower", "average" or "higher".
    X : ndarray, shape (n_samples, n_features), float64
        The features, without a column of ones.
    y : ndarray, shape (n_samples,), float64
        The targets.
    intercept : bool
        Whether the model has an intercept.
    beta, std_error : ndarray, shape (D,), float64
        The certified parameters and standard errors; D = n_features, or n_features + 1 with the intercept last.
    residual_sd, r2 : float
        The certified residual standard deviation and coefficient of determination.
    exact : NistExact
        The same to 30 digits.
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
def nist(name: str | None = None) -> NistRegression | tuple[NistRegression, ...]:
    """Return the NIST StRD linear regressions with their certified values.

    X holds the features without the column of ones. Polynomial sets have x, x², … as features; each power is that of the float64 x,
    rounded once.

    Parameters
    ----------
    name : str, optional
        One of norris, pontius, noint1, noint2, filip, longley, wampler1, …, wampler5; in capitals or not. Default: all of them.

    Returns
    -------
    NistRegression or tuple of NistRegression
        The data in float64, the certified values in float64, and the exact solution with 30 digits. Parameters are in our order,
        the intercept last (NIST lists it first).

    Raises
    ------
    ValueError
        There is no set of this name.

    Notes
    -----
    Gradient descent on the raw data of the higher-level sets cannot converge in any number of epochs that one would wait for: the
    condition of the Hessian is 7e5 for Norris and 3e30 for Filip. There the trajectory is tested, not the limit.

    Source: NIST Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/ (public domain).

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
    if name.lower() not in datasets:
        raise ValueError(f"there is no NIST set {name!r}: choose one of {', '.join(datasets)}")
    return _nist_regression(name.lower(), datasets[name.lower()])


def _nist_regression(name: str, entry: dict[str, Any]) -> NistRegression:
    """Read one set; the file has the intercept first, we have it last."""
    model, certified, exact, exact64 = entry["model"], entry["certified"], entry["exact30"], entry["exact30_of_float64_design"]
    intercept = bool(model["intercept"])

    def ours(values: list[str]) -> tuple[Decimal, ...]:
        numbers = [Decimal(value) for value in values]
        return tuple(numbers[1:] + numbers[:1] if intercept else numbers)

    if model["kind"] == "poly":
        rationals = [Fraction(float(x)) for x in entry["x"]]
        X = np.array([[float(x**k) for k in range(1, model["degree"] + 1)] for x in rationals])  # each rounded once
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
