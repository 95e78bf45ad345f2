"""Least squares from moments alone, by the eigenvalues of XᵀX, where there are no samples.

1. It serves fits of `solve` whose moments do not determine w (dependent columns, n < D) or lose
   too much of it, and which the singular value decomposition of the samples solves otherwise.
2. The eigenvalues are known to 2^-52 of the largest, so singular values below about 1e-8 of the
   largest count as zero, and the solution is the one of minimum norm. All such fits are
   ill-conditioned, and say so.
3. Columns are scaled by powers of two, so the rank does not depend on their units. The solution of
   minimum norm does: it is computed in the columns as they are.
"""

from __future__ import annotations

import numpy as np

from ..kernels.chunk import W_EXPONENT, W_HIGH, W_LOW
from ..kernels.cpu import Moments
from ..kernels.forks import lapack


@lapack
def solve_from_moments(
    moments: Moments, grams: np.ndarray, targets: np.ndarray, decay: np.ndarray, of_the_sum: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(w, loss, rank, condition) of m fits; grams, targets (m,) int64: their records."""
    size = moments.exponents.shape[1] - 1
    doubled = moments.gram.shape[1] == 2
    powers = moments.exponents[targets] if doubled else np.zeros((len(targets), size + 1), np.int64)
    weighing = moments.weighing[grams]
    with np.errstate(all="ignore"):
        matrix, vector, squares = _unpack(moments, grams, targets, size)
        # one power of two for all columns, so that XᵀX is that of the columns as they are
        common = powers[:, :size].max(axis=1, keepdims=True, initial=0) if doubled else powers[:, :1]
        up = np.ldexp(np.longdouble(1.0), powers[:, :size] - common)
        matrix, vector = matrix * up[:, :, None] * up[:, None, :], vector * up
        of_weights, total = weighing[:, W_EXPONENT].astype(np.int64), weighing[:, W_HIGH] + weighing[:, W_LOW]
        # w solves (XᵀX + decay/s) w = Xᵀy with s = 2 or 2/Σω
        half = 0.5 * decay if of_the_sum else np.ldexp(0.5 * decay * total, of_weights)
        penalty = np.ldexp(half, -(2 * common[:, 0] + of_weights))
        matrix = matrix + penalty[:, None, None] * np.eye(size)
        own = -(np.frexp(np.sqrt(matrix[:, range(size), range(size)]).astype(np.float64))[1])
        unit = np.ldexp(1.0, own)
        values, vectors = np.linalg.eigh((matrix * unit[:, :, None] * unit[:, None, :]).astype(np.float64))
        rank = (values > _negligible(values)).sum(axis=1)
        w, condition = _well(matrix, vector, unit, values, vectors)
        few = rank < size
        if few.any():
            w[few], condition[few] = _of_minimum_norm(matrix[few], vector[few], rank[few])
        fitted = np.matmul(matrix, w[..., None])[..., 0] - penalty[:, None] * w
        square_sum = np.maximum(0.0, squares + (w * (fitted - 2.0 * vector)).sum(axis=1))
        loss = np.ldexp(square_sum / total, 2 * powers[:, size])
        w = np.ldexp(w, powers[:, size:] - common)
    return w.astype(np.float64), loss.astype(np.float64), rank, condition


def _unpack(moments: Moments, grams: np.ndarray, targets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """XᵀX (m, D, D), Xᵀy (m, D) and yᵀy (m,) as they are stored, in long double."""
    gram = moments.gram[grams].astype(np.longdouble).sum(axis=1)
    target = moments.target[targets].astype(np.longdouble).sum(axis=1)
    i, j = np.array([(i, j) for j in range(size) for i in range(j + 1)]).T
    matrix = np.empty((len(grams), size, size), np.longdouble)
    matrix[:, i, j] = matrix[:, j, i] = gram
    return matrix, target[:, :size], target[:, size]


def _negligible(values: np.ndarray) -> np.ndarray:
    """Eigenvalues up to this count as zero: rounding makes as much of nothing."""
    return 4 * values.shape[1] * 2.0**-52 * np.maximum(values[:, -1:], 0.0)


def _well(
    matrix: np.ndarray, vector: np.ndarray, unit: np.ndarray, values: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(w, condition) of fits of full rank: solved in scaled columns, and corrected twice."""

    def apply(right: np.ndarray) -> np.ndarray:
        inner = np.matmul(vectors.transpose(0, 2, 1), (right * unit).astype(np.float64)[..., None])[..., 0] / values
        return np.matmul(vectors, inner[..., None])[..., 0] * unit

    w = apply(vector).astype(np.longdouble)
    for _ in range(2):
        w = w + apply(vector - np.matmul(matrix, w[..., None])[..., 0])
    diagonal = matrix[:, range(len(unit[0])), range(len(unit[0]))].astype(np.float64) * unit**2
    inverse = (vectors**2 / values[:, None, :]).sum(axis=2)
    return w, np.maximum(1.0, np.sqrt(diagonal * inverse).max(axis=1))


def _of_minimum_norm(matrix: np.ndarray, vector: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(w, condition) of fits of these ranks, in the columns as they are."""
    values, vectors = np.linalg.eigh(matrix.astype(np.float64))
    # where the units of the columns differ too much, some of `rank` values are noise too
    counted = (np.arange(values.shape[1]) >= values.shape[1] - rank[:, None]) & (values > _negligible(values))
    inner = np.matmul(vectors.transpose(0, 2, 1), vector.astype(np.float64)[..., None])[..., 0]
    w = np.matmul(vectors, np.where(counted, inner / values, 0.0)[..., None])[..., 0]
    least = np.where(counted, values, np.inf).min(axis=1)
    return w.astype(np.longdouble), np.where(rank > 0, np.sqrt(values[:, -1] / least), 1.0)
