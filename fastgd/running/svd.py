"""Least squares on the samples, by the singular value decomposition of X (LAPACK).

Where the rank is deficient, the solution is the one of minimum norm.

1. All is computed in float64. Columns are scaled by powers of two, exactly, so neither the rank nor
   the accuracy depends on their units.
2. The solution of minimum norm depends on the units of the columns. So where the rank is deficient,
   the rank is that of the scaled columns, but the solution is computed from the singular values of
   the unscaled ones (all divided by one power of two).
3. A penalty λ is √λ·I appended as rows where n ≥ D; where n < D (many features) it enters as σ/(σ²
   + λ), at no cost.
4. Right-hand sides are solved one by one: in a matrix product the bits of one solution would depend
   on the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Factored:
    """A factored design matrix (n, D) of rank r: w = 2^(−exponents) · right · (left · y)."""

    left: np.ndarray  # (r, n)
    right: np.ndarray  # (D, r): right singular vectors, divided by the singular values
    exponents: np.ndarray  # (D,) int
    rank: int
    condition: float

    def solve(self, y: np.ndarray) -> np.ndarray:
        """Solve for y (n,) float64; returns w (D,) float64."""
        exponent = _exponents(y)
        with np.errstate(all="ignore"):
            return np.ldexp(self.right @ (self.left @ np.ldexp(y, -exponent)), exponent - self.exponents)


def factor(X: np.ndarray, root: float) -> Factored:
    """Factor X (n, D) float64 with the penalty root²·|w|².

    The condition is Stewart's largest collinearity index, max_j ‖x_j‖·‖row j of the
    pseudo-inverse‖; where the columns are dependent (or n < D) it is σ_1/σ_rank of X as it is.
    """
    n, size = X.shape
    own = _exponents(X)
    if n < size and root > 0.0:
        return _factor_wide(X, root, max(int(own.max()), math.frexp(root)[1]))
    if root > 0.0:
        X = np.concatenate([X, np.diag(np.full(size, root))])
        own = np.maximum(own, math.frexp(root)[1])
    left, values, right = np.linalg.svd(np.ldexp(X, -own), full_matrices=False)
    rank = int((values > _negligible(X, values)).sum())
    if rank == size:
        inverse = right.T / values
        lengths = np.sqrt(((right.T * values) ** 2).sum(axis=1) * (inverse**2).sum(axis=1))
        return Factored(np.ascontiguousarray(left[:n].T), inverse, own, rank, max(1.0, float(lengths.max())))
    common = np.full(size, own.max())
    if (own != own.max()).any():
        left, values, right = np.linalg.svd(np.ldexp(X, -common), full_matrices=False)
    largest = values[:rank]
    with np.errstate(all="ignore"):
        inverse = np.where(largest > 0.0, right[:rank].T / largest, 0.0)
        condition = float(largest[0] / largest[-1]) if rank else 1.0
    return Factored(np.ascontiguousarray(left[:n, :rank].T), inverse, common, rank, condition)


def _factor_wide(X: np.ndarray, root: float, exponent: int) -> Factored:
    """Factor X (n, D), n < D, with a penalty root² > 0; all columns are scaled by 2^−exponent."""
    size = X.shape[1]
    left, values, right = np.linalg.svd(np.ldexp(X, -exponent), full_matrices=False)
    root = math.ldexp(root, -exponent)
    damped = np.hypot(values, root)
    counted = damped > _negligible(X, damped)
    with np.errstate(all="ignore"):
        inverse = np.where(counted, right.T * (values / damped) / damped, 0.0)
    rank = size if counted.all() else int(counted.sum())
    condition = float(damped[0] / damped[counted].min())
    return Factored(np.ascontiguousarray(left.T), inverse, np.full(size, exponent), rank, condition)


def _negligible(X: np.ndarray, values: np.ndarray) -> float:
    """Singular values up to this count as zero: max(n, D) · 2^-52 · the largest, as in NumPy."""
    return max(X.shape) * 2.0**-52 * float(values[0])


def _exponents(columns: np.ndarray) -> np.ndarray:
    """The k with 2^(k−1) ≤ max|column| < 2^k, for each column; 0 for columns of zeros."""
    return np.frexp(np.abs(columns).max(axis=0))[1].astype(np.int64)
