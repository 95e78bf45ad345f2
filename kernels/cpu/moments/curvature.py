"""λ_max of a Gram matrix: Jacobi rotations in a fixed order (docs/arithmetic.md, section 5)."""

from __future__ import annotations

import math

import numpy as np

from ..simd.compiling import kernel, part
from ..simd.double_double import pow2
from ..simd.scalars import raised

MOST_FEATURES = 64  # of the Jacobi method; above, the largest row sum bounds λ_max
MOST_SWEEPS = 30
NEGLIGIBLE = 2.0**-56  # of the largest diagonal entry


@part
def _rotate(matrix, p, q):
    """Annihilate entry (p, q) of a symmetric matrix."""
    theta = (matrix[q, q] - matrix[p, p]) / (2.0 * matrix[p, q])
    t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
    if theta < 0.0:
        t = -t
    c = 1.0 / math.sqrt(t * t + 1.0)
    s = t * c
    h = t * matrix[p, q]
    matrix[p, p] = matrix[p, p] - h
    matrix[q, q] = matrix[q, q] + h
    matrix[p, q] = 0.0
    matrix[q, p] = 0.0
    for r in range(matrix.shape[0]):
        if r != p and r != q:
            a, b = matrix[r, p], matrix[r, q]
            matrix[r, p] = c * a - s * b
            matrix[p, r] = matrix[r, p]
            matrix[r, q] = s * a + c * b
            matrix[q, r] = matrix[r, q]


@part
def _largest_eigenvalue(matrix):
    """The largest eigenvalue of a symmetric positive semidefinite matrix, which is overwritten."""
    size = matrix.shape[0]
    largest = matrix[0, 0]
    for j in range(size):
        if not math.isfinite(matrix[j, j]):
            return math.nan
        largest = max(largest, matrix[j, j])
    if size > MOST_FEATURES:
        largest = 0.0
        for j in range(size):
            row = 0.0
            for k in range(size):
                row = row + abs(matrix[j, k])
            largest = max(largest, row)
        return largest
    limit = NEGLIGIBLE * largest
    for _ in range(MOST_SWEEPS):
        rotated = False
        for p in range(size - 1):
            for q in range(p + 1, size):
                if abs(matrix[p, q]) > limit:
                    _rotate(matrix, p, q)
                    rotated = True
        if not rotated:
            break
    largest = 0.0
    for j in range(size):
        largest = max(largest, matrix[j, j])
    return largest


@kernel
def largest_eigenvalues(gram, exponents, n_parameters, result, cancel):
    """Write λ_max of every XᵀX to result (items,).

    gram (items, planes, D(D+1)/2) and exponents (items, ≥ D) as `compress` writes them.
    """
    matrix = np.empty((n_parameters, n_parameters))
    for item in range(gram.shape[0]):
        if raised(cancel):
            return
        common = exponents[item, 0]
        for j in range(n_parameters):
            common = max(common, exponents[item, j])
        for j in range(n_parameters):
            if raised(cancel):
                return
            for i in range(j + 1):
                entry = gram[item, 0, j * (j + 1) // 2 + i] * pow2(exponents[item, i] - common) * pow2(exponents[item, j] - common)
                matrix[i, j] = entry
                matrix[j, i] = entry
        result[item] = (_largest_eigenvalue(matrix) * pow2(common)) * pow2(common)
