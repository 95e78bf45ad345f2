"""Least squares on the samples, by the singular value decomposition of X (LAPACK).

Where the rank is deficient, the solution is the one of minimum norm.

1. Fits of as many samples are computed in stacks, by the same calls as one fit, so the bits of a
   fit do not depend on the others. In a stack either each fit has its own X, or all have one.
2. All is computed in float64. Columns are scaled by powers of two, exactly, so neither the rank nor
   the accuracy depends on their units.
3. The solution of minimum norm depends on the units of the columns. So where the rank is deficient,
   the rank is that of the scaled columns, but the solution is computed from the singular values of
   the unscaled ones (all divided by one power of two). Where n < D these come first, and nearly
   always tell the rank, too: singular values grow at least by the least scale of a column.
4. A penalty λ is √λ·I appended as rows where n ≥ D; where n < D (many features) it enters as σ/(σ²
   + λ), at no cost.
5. Right-hand sides are solved one by one: in a matrix product the bits of one solution would depend
   on the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.forks import lapack
from ..kernels.telling import LISTENER


@dataclass(frozen=True)
class Factored:
    """A stack of factored design matrices (k, n, D): w = 2^(−exponents) · right · (left · y)."""

    left: np.ndarray  # (k, r, n), r = min(n, D)
    right: np.ndarray  # (k, D, r): right singular vectors, divided by the singular values; 0 beyond the rank
    exponents: np.ndarray  # (k, D) int
    rank: np.ndarray  # (k,) int
    condition: np.ndarray  # (k,)

    @lapack
    def solve(self, y: np.ndarray) -> np.ndarray:
        """Solve for y (m, n) float64, m = k or k = 1; returns w (m, D) float64."""
        exponent = _exponents(y)[:, None]
        with np.errstate(all="ignore"):
            inner = np.matmul(self.left, np.ldexp(y, -exponent)[..., None])
            return np.ldexp(np.matmul(self.right, inner)[..., 0], exponent - self.exponents)


@lapack
def factor(X: np.ndarray, root: np.ndarray, n_samples: int | None = None) -> Factored:
    """Factor X (k, n, D) float64 with the penalties root²·|w|², root (k,): all 0, or none.

    The condition is Stewart's largest collinearity index, max_j ‖x_j‖·‖row j of the
    pseudo-inverse‖; where the columns are dependent (or n < D) it is σ_1/σ_rank of X as it is.
    n_samples: of the data that X stands for, where it is a triangular factor of them.
    """
    n, size = X.shape[1:]
    length = max(n if n_samples is None else n_samples, size)
    own, penalised = _exponents(X), bool(root.any())
    if penalised:
        own = np.maximum(own, np.frexp(root)[1][:, None])
        if n < size:
            return _factor_wide(X, root, own.max(axis=1), length)
        X = np.concatenate([X, root[:, None, None] * np.eye(size)], axis=1)
        length += size
    common = np.repeat(own.max(axis=1, keepdims=True), size, axis=1)
    exponents, other = (common, own) if n < size else (own.copy(), common)
    left, values, right = _decompose(X, exponents)
    rank = _count(length, values)
    again, few = (own != common).any(axis=1), rank < size
    if n < size:
        again &= np.ldexp(values[:, -1], (own - common).min(axis=1)) <= 16 * _negligible(length, values)[:, 0]
    else:
        again, exponents[few] = again & few, common[few]
    if again.any():
        LISTENER.get().check()
        found = _decompose(X[again], other[again])
        if n < size:
            rank[again] = _count(length, found[1])
        else:
            left[again], values[again], right[again] = found
    counted, right = np.arange(values.shape[1]) < rank[:, None], right.transpose(0, 2, 1)
    with np.errstate(all="ignore"):
        inverse = np.where((counted & (values > 0.0))[:, None, :], right / values[:, None, :], 0.0)
        lengths = np.sqrt(((right * values[:, None, :]) ** 2).sum(axis=2) * (inverse**2).sum(axis=2)).max(axis=1)
        spread = values[:, 0] / np.take_along_axis(values, np.maximum(rank - 1, 0)[:, None], axis=1)[:, 0]
    condition = np.where(few, np.where(rank > 0, spread, 1.0), np.maximum(1.0, lengths))
    return Factored(np.ascontiguousarray(left[:, :n].transpose(0, 2, 1)), inverse, exponents, rank, condition)


def _factor_wide(X: np.ndarray, root: np.ndarray, exponent: np.ndarray, length: int) -> Factored:
    """Factor X (k, n, D), n < D, with penalties root² > 0; columns are scaled by 2^−exponent."""
    size = X.shape[2]
    left, values, right = np.linalg.svd(np.ldexp(X, -exponent[:, None, None]), full_matrices=False)
    damped = np.hypot(values, np.ldexp(root, -exponent)[:, None])
    counted = damped > _negligible(length, damped)
    with np.errstate(all="ignore"):
        inverse = np.where(counted[:, None, :], right.transpose(0, 2, 1) * (values / damped / damped)[:, None, :], 0.0)
        condition = damped[:, 0] / np.where(counted, damped, np.inf).min(axis=1)
    rank = np.where(counted.all(axis=1), size, counted.sum(axis=1))
    exponents = np.repeat(exponent[:, None], size, axis=1)
    return Factored(np.ascontiguousarray(left.transpose(0, 2, 1)), inverse, exponents, rank, condition)


def _decompose(X: np.ndarray, exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular vectors and values of X (k, n, D), columns scaled by 2^−exponents (k, D)."""
    left, values, right = np.linalg.svd(np.ldexp(X, -exponents[:, None, :]), full_matrices=False)
    return left, values, right


def _count(length: int, values: np.ndarray) -> np.ndarray:
    """The rank (k,)."""
    return np.asarray((values > _negligible(length, values)).sum(axis=1))


def _negligible(length: int, values: np.ndarray) -> np.ndarray:
    """Singular values up to this count as zero: max(n, D) · 2^-52 · the largest, as in NumPy."""
    return length * 2.0**-52 * values[:, :1]


def _exponents(columns: np.ndarray) -> np.ndarray:
    """The k with 2^(k−1) ≤ max|column| < 2^k, of each column (k, n, D) or y (k, n); 0 of zeros."""
    return np.frexp(np.abs(columns).max(axis=1))[1].astype(np.int64)
