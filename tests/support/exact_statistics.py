"""Least squares with statistics in exact rationals, of numbers as float64 holds them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass
class Exact:
    inverse: list[list[Fraction]]  # of XᵀΩX
    w: list[Fraction]  # the intercept last
    squares: Fraction  # Σ ω residual²
    total: Fraction  # Σ ω (y − ȳ)², or Σ ω y² without an intercept


def invert(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """The inverse, by Gauss and Jordan."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for k in range(size):
        swap = next(i for i in range(k, size) if rows[i][k])
        rows[k], rows[swap] = rows[swap], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in range(size):
            if i != k and rows[i][k]:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[size:] for row in rows]


def exact_statistics(X: np.ndarray, y: np.ndarray, intercept: bool, weights: np.ndarray | None = None) -> Exact:
    """Of X (n, d) and y (n,)."""
    rows = [[*map(Fraction, row), *([Fraction(1)] if intercept else [])] for row in X.tolist()]
    target = [Fraction(value) for value in y.tolist()]
    omega = [Fraction(1)] * len(rows) if weights is None else [Fraction(value) for value in weights.tolist()]
    size = len(rows[0])
    gram = [[sum(o * r[i] * r[j] for o, r in zip(omega, rows, strict=True)) for j in range(size)] for i in range(size)]
    right = [sum(o * r[i] * t for o, r, t in zip(omega, rows, target, strict=True)) for i in range(size)]
    inverse = invert(gram)
    w = [sum(a * b for a, b in zip(row, right, strict=True)) for row in inverse]
    residuals = [sum(a * b for a, b in zip(row, w, strict=True)) - t for row, t in zip(rows, target, strict=True)]
    mean = sum(o * t for o, t in zip(omega, target, strict=True)) / sum(omega) if intercept else Fraction(0)
    return Exact(
        inverse,
        w,
        sum(o * r * r for o, r in zip(omega, residuals, strict=True)),
        sum(o * (t - mean) ** 2 for o, t in zip(omega, target, strict=True)),
    )
