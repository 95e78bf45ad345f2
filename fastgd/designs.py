"""Designs: distributions of hyperparameters, and points that are drawn from them.

A design is a mapping from the names of hyperparameters to distributions: those here, scipy's frozen
ones, or anything else with a method ``rvs(size, random_state)``. The points go to `fastgd.sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .input.float_mode import computes
from .input.messages import shown
from .input.options import read_count
from .input.reading import read_numbers
from .input.wrong_names import helps_with_keywords

__all__ = ["choice", "log_uniform", "sample", "uniform"]


class Distribution(Protocol):
    """What can be drawn from, as scipy.stats names it."""

    def rvs(self, size: int, random_state: Any) -> Any: ...


@dataclass(frozen=True)
class _Between:
    """Uniform between two ends, of the value or of its logarithm."""

    low: float
    high: float
    log: bool

    def rvs(self, size: int, random_state: np.random.Generator) -> np.ndarray:
        shares = random_state.random(size)
        if not self.log:
            return self.low + (self.high - self.low) * shares
        low, high = np.log(self.low), np.log(self.high)
        return np.clip(np.exp(low + (high - low) * shares), self.low, self.high)  # exp may round past an end


@dataclass(frozen=True)
class _OneOf:
    """Each of some values with the same probability."""

    values: Sequence[Any]

    def rvs(self, size: int, random_state: np.random.Generator) -> list[Any]:
        return [self.values[k] for k in random_state.integers(len(self.values), size=size).tolist()]


def _ends(low: Any, high: Any) -> tuple[float, float]:
    ends = []
    for name, value in (("low", low), ("high", high)):
        number = read_numbers(value, name, "a real number")
        if number.ndim:
            raise ValueError(f"{name} must be one number, not {shown(value)}")
        ends.append(float(number))
    if not ends[0] < ends[1]:
        raise ValueError(f"low must be below high; they are {ends[0]:g} and {ends[1]:g}")
    return ends[0], ends[1]


@helps_with_keywords
@computes
def uniform(low: float, high: float) -> Distribution:
    """Make the uniform distribution between two ends.

    Parameters
    ----------
    low, high : float
        The ends, low < high.

    Returns
    -------
    Distribution
        To be drawn from by `sample`.

    Raises
    ------
    ValueError, TypeError
        When an end is no finite number, or low is not below high.

    Examples
    --------
    >>> from fastgd import designs
    >>> points = designs.sample({"momentum": designs.uniform(0, 0.99)}, 100)
    >>> bool((points["momentum"] < 0.99).all())
    True
    """
    return _Between(*_ends(low, high), log=False)


@helps_with_keywords
@computes
def log_uniform(low: float, high: float) -> Distribution:
    """Make the distribution whose logarithm is uniform: for learning rates and decays.

    Parameters
    ----------
    low, high : float
        The ends, 0 < low < high.

    Returns
    -------
    Distribution
        To be drawn from by `sample`. ``scipy.stats.loguniform(low, high)`` is the same one.

    Raises
    ------
    ValueError, TypeError
        When an end is no finite number, low is not above 0, or not below high.

    Examples
    --------
    >>> from fastgd import designs
    >>> points = designs.sample({"lr": designs.log_uniform(1e-4, 1)}, 100)
    >>> bool((points["lr"] < 1e-2).sum() > 25)
    True
    """
    ends = _ends(low, high)
    if ends[0] <= 0:
        raise ValueError(f"low must be above 0, since its logarithm is taken; it is {ends[0]:g}")
    return _Between(*ends, log=True)


@helps_with_keywords
def choice(values: Sequence[Any]) -> Distribution:
    """Make the distribution that takes each of some values with the same probability.

    Parameters
    ----------
    values : sequence
        Numbers, pairs of betas, names of optimizers, …, at least one.

    Returns
    -------
    Distribution
        To be drawn from by `sample`.

    Raises
    ------
    TypeError, ValueError
        When ``values`` is no sequence, or empty.

    Examples
    --------
    >>> from fastgd import designs
    >>> points = designs.sample({"optimizer": designs.choice(["sgd", "adam"])}, 4)
    >>> set(points["optimizer"]) <= {"sgd", "adam"}
    True
    """
    if isinstance(values, str | bytes) or not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
        raise TypeError(f"values must be a list of values, not {shown(values)}")
    if not len(values):
        raise ValueError("values is empty; at least one value is needed")
    return _OneOf(values)


@helps_with_keywords
@computes
def sample(design: Mapping[str, Distribution], n: int, seed: int = 0) -> dict[str, Any]:
    """Draw points of hyperparameters, as ``fastgd.sweep(..., points=...)`` takes them.

    Parameters
    ----------
    design : mapping of str to distribution
        By the name of each hyperparameter: a distribution of this module, a frozen one of
        scipy.stats, or an object with a method ``rvs(size, random_state)``.
    n : int
        Number of points, ≥ 1.
    seed : int, default 0
        Seed of NumPy's PCG64. Each name is drawn from its own stream, so one more name leaves the
        values of those before it as they are.

    Returns
    -------
    dict of str to array or list
        n values of each name.

    Raises
    ------
    TypeError, ValueError
        When the design has something that cannot be drawn from, or gives another number of values.

    Examples
    --------
    >>> import fastgd
    >>> from fastgd import designs
    >>> design = {"lr": designs.log_uniform(1e-3, 0.1), "momentum": designs.choice([0.0, 0.9])}
    >>> points = designs.sample(design, 50, seed=1)
    >>> fastgd.sweep([1.0, 2, 3, 4], [2.0, 4, 6, 8], points=points, epochs=50).loss.shape
    (50,)
    """
    if not isinstance(design, Mapping):
        raise TypeError(f"design must be a mapping of names to distributions, not {shown(design)}")
    if not design:
        raise ValueError("design is empty; at least one name with its distribution is needed")
    count, seed = read_count(n, "n", 1), read_count(seed, "seed", 0)
    points = {}
    for name, stream in zip(design, np.random.SeedSequence(seed).spawn(len(design)), strict=True):
        draw = getattr(design[name], "rvs", None)
        if not callable(draw):
            raise TypeError(
                f"design[{shown(name)}] must be a distribution, such as fastgd.designs.log_uniform(1e-4, 1), not {shown(design[name])}"
            )
        points[name] = drawn = draw(size=count, random_state=np.random.default_rng(stream))
        if np.shape(drawn)[:1] != (count,):
            raise ValueError(f"design[{shown(name)}] gave values of shape {np.shape(drawn)}; {count} of them are needed")
    return points


def __dir__() -> list[str]:
    return __all__
