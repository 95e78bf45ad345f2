"""Small regressions of many kinds, of numbers that every machine makes alike: sixteenths from a
linear congruence. tests/fit/statsmodels_values.py computes their statistics by statsmodels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Regression:
    """Arguments of `solve`, and the `stats` that are asked for."""

    X: np.ndarray
    y: np.ndarray
    intercept: bool = True
    weights: np.ndarray | None = None
    stats: Any = True
    options: dict[str, Any] = field(default_factory=dict)


def numbers(count: int, seed: int, most: int = 256) -> np.ndarray:
    """(count,): sixteenths between 0 and most/16."""
    state, found = seed, np.empty(count)
    for place in range(count):
        state = (1_103_515_245 * state + 12_345) % 2**31
        found[place] = (state >> 12) % most / 16.0
    return found


def features(n: int, d: int, seed: int) -> np.ndarray:
    return numbers(n * d, seed).reshape(n, d) - 8.0


def target(X: np.ndarray, seed: int, noise: float = 1.0) -> np.ndarray:
    """A linear function of X, in eighths, and noise whose size grows along the samples."""
    weights = np.array([1.5, -0.75, 2.0, 0.5, -1.25, 3.0])[: X.shape[1]]
    return X @ weights + 4.0 + noise * (numbers(len(X), seed) - 8.0) * (1.0 + np.arange(len(X)) / 16.0)


def regressions() -> dict[str, Regression]:
    X, line, wide = features(40, 3, 1), features(25, 1, 3)[:, 0], features(60, 5, 5)
    y, of_line, of_wide = target(X, 2), target(line[:, None], 4), target(wide, 6)
    weights = numbers(40, 7, 64) + 0.25
    counts = np.floor(numbers(40, 8, 80)) + 1.0
    labels = np.floor(numbers(40, 9, 112))
    gaps = y.copy()
    gaps[[0, 7, 20, 39]] = np.nan
    alike = np.column_stack([X, X[:, 0] + X[:, 1]])
    near = np.column_stack([X, X[:, 0] + X[:, 1] + features(40, 1, 10)[:, 0] / 2.0**16])
    years = np.column_stack([np.arange(1961.0, 2001.0), X[:, 0]])
    zero = weights.copy()
    zero[[3, 11]] = 0.0
    plain = {
        "plain": Regression(X, y),
        "without an intercept": Regression(X, y, intercept=False),
        "a line": Regression(line, of_line),
        "a line through zero": Regression(line, of_line, intercept=False),
        "five features": Regression(wide, of_wide),
        "weights": Regression(X, y, weights=weights),
        "weights, without an intercept": Regression(X, y, intercept=False, weights=weights),
        "weights, some of them zero": Regression(X, y, weights=zero),
        "frequencies": Regression(X, y, weights=counts, stats={"weights_are": "frequency"}),
        "gaps": Regression(X, gaps, options={"nan_policy": "omit"}),
        "a combination": Regression(alike, y),
        "nearly a combination": Regression(near, y),
        "years": Regression(years, y),
        "one sample more than parameters": Regression(X[:5], y[:5]),
        "all but exact": Regression(X, target(X, 2, noise=2.0**-20)),
        "float32": Regression(X.astype(np.float32), y.astype(np.float32)),
    }
    for kind in ("HC0", "HC1", "HC2", "HC3"):
        plain[kind] = Regression(X, y, stats=kind)
        plain[f"{kind}, weights"] = Regression(X, y, weights=weights, stats=kind)
        plain[f"{kind}, without an intercept"] = Regression(X, y, intercept=False, stats=kind)
    plain["HC3, years"] = Regression(years, y, stats="HC3")
    plain["HC1, frequencies"] = Regression(X, y, weights=counts, stats={"covariance": "HC1", "weights_are": "frequency"})
    plain["HC3, gaps"] = Regression(X, gaps, stats="HC3", options={"nan_policy": "omit"})
    plain["clusters"] = Regression(X, y, stats={"clusters": labels.astype(int)})
    plain["clusters, weights"] = Regression(X, y, weights=weights, stats={"clusters": labels.astype(int)})
    plain["clusters, gaps"] = Regression(X, gaps, stats={"clusters": labels.astype(int)}, options={"nan_policy": "omit"})
    return plain
