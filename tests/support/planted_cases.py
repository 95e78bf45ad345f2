"""Problems to plant defects in: drawn from a seed, of several kinds of difficulty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """One problem and how it is descended."""

    name: str
    X: np.ndarray  # (n, d), no column of ones
    y: np.ndarray
    w0: np.ndarray  # (D,)
    lr: float
    epochs: int
    dtype: str
    intercept: bool

    @property
    def design(self) -> np.ndarray:
        X = self.X.astype(self.dtype)
        return np.column_stack([X, np.ones(len(X), self.dtype)]) if self.intercept else X


def make_case(rng: Rng, dtype: str, *, kind: str, need_intercept: bool = False, least_d: int = 1) -> Case:
    """Draw a problem: `kind` says what is hard about it."""
    n = int(rng.integers(3, 80))
    d = int(rng.integers(least_d, 7))
    intercept = bool(need_intercept or rng.random() < 0.4)
    if kind == "tutorial":
        n, d = int(rng.integers(3, 9)), 1
        X = np.arange(1.0, n + 1)[:, None] * float(rng.choice([1.0, 0.5, 2.0]))
        y = X @ np.array([2.0]) + (1.0 if intercept else 0.0)
    else:
        X = rng.standard_normal((n, d))
        if kind == "scaled":
            X = X * 10.0 ** rng.uniform(-1, 1, d)
        elif kind == "offset":
            X = X + rng.uniform(2, 5)
        elif kind == "integers":
            X = rng.integers(-5, 6, (n, d)).astype(float) + (rng.random((n, d)) < 0.1)
        elif kind == "wide":
            X = rng.standard_normal((n, n + int(rng.integers(1, 4))))[:, : min(n + 3, 12)]
            d = X.shape[1]
        y = X @ rng.uniform(-3, 3, d) + (0.0 if kind == "noise_free" else rng.uniform(0.1, 2)) * rng.standard_normal(n)
        y = y + (rng.uniform(-2, 2) if intercept else 0.0)
    D = X.shape[1] + intercept
    w0 = np.zeros(D) if rng.random() < 0.4 else np.round(rng.uniform(-2, 2, D), 3)
    design = np.column_stack([X, np.ones(n)]) if intercept else X
    largest = np.linalg.norm(design, 2) ** 2 * 2 / n
    lr = float(f"{rng.choice([0.3, 0.7, 1.0, 1.7]) / largest:.{rng.integers(1, 4)}g}")
    return Case(f"{kind} n={n} d={d}", X, y, w0, lr, int(rng.integers(8, 60)), dtype, intercept)


KINDS = ("normal", "noise_free", "scaled", "offset", "integers", "wide", "tutorial")
