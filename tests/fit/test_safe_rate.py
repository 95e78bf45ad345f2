"""The learning rate that `fit` takes where none is given: 1/(λ_max + weight_decay)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Status
from tests.support.fit_results import same_result, x, y


@pytest.mark.parametrize("weight_decay", [0.0, 0.75])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "d", "intercept"), [(1, 1, False), (5, 1, True), (8, 3, False), (30, 5, True), (11, 20, False), (80, 33, True)]
)
def test_safe_rate(backend, n, d, intercept, dtype, reduction, weight_decay):
    """1/(λ_max + weight_decay), λ_max of the Hessian by LAPACK.

    X holds small integers, so XᵀX is exact. LAPACK's symmetric solvers are held to 30·D·u·λ (its
    own test ratio). A Jacobi rotation is a similarity by a matrix that is orthogonal to within 6u
    (t, a root, two divisions and a product make c and s), applied with 3u from each side, so it
    moves eigenvalues by at most 12u‖B‖_F, ‖B‖_F ≤ √D·λ; there are at most 30 sweeps of D(D−1)/2
    rotations. What it stops at, elements of at most 2^−56·max B_jj, moves them by D·2^−56·λ.
    Scaling, weight_decay and the division round 4 times.
    """
    X = np.random.default_rng(n).integers(1, 10, (3, n, d)).astype(dtype)
    result = fastgd.fit(
        X, X.sum(-1), epochs=1, intercept=intercept, reduction=reduction, optimizer=SGD(weight_decay=weight_decay), backend=backend
    )
    X = np.concatenate([X, np.ones((3, n, 1))], axis=-1) if intercept else X.astype(float)
    D, u = X.shape[-1], 2.0**-53
    hessian = (2 / n if reduction == "mean" else 2) * (X.transpose(0, 2, 1) @ X)
    expected = 1 / (np.linalg.eigvalsh(hessian)[:, -1] + weight_decay)
    allowed = (30 * D + 12 * math.sqrt(D) * 30 * D * (D - 1) / 2 + 4) * u + D * 2.0**-56
    assert (abs(result.lr / expected - 1) <= allowed).all()
    assert result.lr.dtype == np.float64


def test_safe_rate_where_it_is_exact(backend):
    assert fastgd.fit(x, y, backend=backend).lr == 1 / 15
    assert fastgd.fit(x, y, backend=backend, reduction="sum").lr == 1 / 60
    assert fastgd.fit(x, y, backend=backend, optimizer=SGD(weight_decay=[1.0, 5.0])).lr.tolist() == [1 / 16, 1 / 20]
    diagonal = np.repeat(np.diag([3.0, 7.0, 5.0]), 2, axis=0)  # n = 6: λ = 2/6 · 2 · 49
    assert fastgd.fit(diagonal, np.ones(6), backend=backend, reduction="sum").lr == 1 / 196
    each = fastgd.fit(np.stack([x, 2 * x])[..., None], np.stack([y, y]), backend=backend).lr
    assert each.tolist() == [1 / 15, 1 / 60]


def test_safe_rate_of_many_features_is_safe():
    """Above 64 features λ_max is bounded by the largest row sum of |XᵀX|."""
    X = np.random.default_rng(1).integers(-3, 4, (200, 65)).astype(float)
    result = fastgd.fit(X, X[:, 0], epochs=0, reduction="sum")
    assert result.lr == 1 / (2 * abs(X.T @ X).sum(1).max())
    assert result.lr < 1 / np.linalg.eigvalsh(2 * X.T @ X)[-1]


def test_safe_rate_of_a_zero_hessian(backend):
    result = fastgd.fit(np.zeros((9, 2)), np.ones(9), epochs=5, w0=[1.0, 2.0], backend=backend)
    assert (result.lr, result.loss, result.status) == (0, 1, Status.COMPLETED)
    assert result.w.tolist() == [1, 2]
    decayed = fastgd.fit(np.zeros((9, 2)), np.ones(9), epochs=1, w0=[1.0, 2.0], optimizer=SGD(weight_decay=0.25), backend=backend)
    assert decayed.lr == 4
    assert decayed.w.tolist() == [0, 0]


def test_lr_may_be_in_the_optimizer(backend):
    here = fastgd.fit(x, y, lr=0.01, epochs=3, backend=backend)
    assert same_result(here, fastgd.fit(x, y, optimizer=SGD(lr=0.01), epochs=3, backend=backend))
    assert same_result(here, fastgd.fit(x, y, lr=0.01, optimizer=SGD, epochs=3, backend=backend))
    assert same_result(here, fastgd.fit(x, y, lr=0.01, optimizer="SGD", epochs=3, backend=backend))
