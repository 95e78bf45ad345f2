"""solve on Moments that do not determine w: minimum norm, the rank, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.kernels.forks import lapack_lock

RNG = np.random.default_rng(0)


def allowed(kappa, size):
    """How far w may be off, relative to it; kappa: the largest / the least counted eigenvalue.

    Eigenvalues and eigenvectors are those of a matrix that is off by 4 · size · 2^-52 of its
    largest eigenvalue, and so is the right side (Higham 2002, theorem 7.2, to first order): twice
    each, for the change of the space that they span.
    """
    return 16 * size * kappa * 2.0**-52


def cases(dtype):
    X, y = RNG.normal(size=(6, 40, 3)), RNG.normal(size=(6, 40))
    X[0, :, 1] = 0  # a dead column
    X[1, :, 1] = X[1, :, 0]  # equal columns
    X[2, :, 2] = 1000 * X[2, :, 0] - X[2, :, 1]  # dependent columns of other sizes
    X[3] *= 2.0**-8
    X[3, :, 0] = X[3, :, 2]
    y[4] = X[4] @ [1, 2, 3]
    X[4, :, 1] = 2 * X[4, :, 0]
    return X.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_solution_of_minimum_norm(dtype, intercept, weighted):
    X, y = cases(dtype)
    weights = RNG.uniform(0.5, 2.0, 40) if weighted else None
    found = fastgd.solve(fastgd.compress(X, y, intercept=intercept, sample_weight=weights))
    expected = fastgd.solve(X, y, intercept=intercept, sample_weight=weights)
    # fit 2 is dependent in float64 alone: rounding to float32 makes its columns independent
    fits = [0, 1, 3, 4, 5] if dtype == "float32" else range(6)
    eps = np.finfo(dtype).eps
    for fit in fits:
        columns = np.column_stack([X[fit], np.ones((40, int(intercept)))]).astype(float)
        total = 40 if weights is None else weights.sum()
        rows = columns if weights is None else columns * np.sqrt(weights / total * 40)[:, None]
        singular, size = np.linalg.svd(rows, compute_uv=False), columns.shape[1]
        kappa = (singular[0] / singular[expected.rank[fit] - 1]) ** 2
        assert found.rank[fit] == expected.rank[fit]
        assert found.ill_conditioned[fit] == expected.ill_conditioned[fit] == (fit != 5)
        parameters = [np.append(each.w[fit], each.intercept[fit] if intercept else []).astype(float) for each in (expected, found)]
        length, error = np.linalg.norm(parameters[0]), np.linalg.norm(parameters[0] - parameters[1])
        off = allowed(kappa, size) * length
        assert error <= off + eps * length  # both are rounded
        # the loss at a w that is off, and the rounding of moments (docs/arithmetic.md, section 10)
        terms = (y[fit].astype(float) ** 2).max() + (parameters[0] ** 2 * (columns**2).max(axis=0)).sum()
        slack = singular[0] ** 2 * off**2 / 40 + (size + 1) ** 2 * 2.0**-51 * terms
        assert found.loss[fit] <= expected.loss[fit] * (1 + 2 * eps) + slack


def test_fewer_samples_than_parameters():
    X, y = RNG.normal(size=(3, 4, 6)), RNG.normal(size=(3, 4))
    found, expected = fastgd.solve(fastgd.compress(X, y)), fastgd.solve(X, y)
    assert found.rank.tolist() == [4, 4, 4]
    assert found.ill_conditioned.all()
    for fit in range(3):
        error, size = np.linalg.norm(found.w[fit] - expected.w[fit]), np.linalg.norm(expected.w[fit])
        singular = np.linalg.svd(X[fit], compute_uv=False)
        assert error <= allowed((singular[0] / singular[3]) ** 2, 6) * size


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_penalty_is_in_the_units_of_solve(reduction):
    X, y = cases("float64")
    weights = RNG.uniform(0.5, 2.0, 40)
    moments = fastgd.compress(X[:2], y[:2], sample_weight=weights)
    found = fastgd.solve(moments, weight_decay=0.25, reduction=reduction)
    expected = fastgd.solve(X[:2], y[:2], sample_weight=weights, weight_decay=0.25, reduction=reduction)
    total = 1.0 if reduction == "sum" else weights.sum()
    for fit in range(2):
        error, size = np.linalg.norm(found.w[fit] - expected.w[fit]), np.linalg.norm(expected.w[fit])
        matrix = X[fit].T @ (weights[:, None] * X[fit]) + 0.125 * total * np.eye(3)
        assert error <= allowed(np.linalg.cond(matrix), 3) * size


def test_no_child_is_forked_while_eigenvalues_are_computed(monkeypatch):
    """OpenBLAS hangs in the parent otherwise: kernels/forks.py."""
    held = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: held.append(lapack_lock()._is_owned()) or eigh(matrix))
    X = np.ones((9, 2))
    fastgd.solve(fastgd.compress(X, X[:, 0]))
    assert held
    assert all(held)
