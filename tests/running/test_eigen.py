"""solve on Moments that do not determine w: minimum norm, the rank, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd

RNG = np.random.default_rng(0)


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
    for fit in fits:
        assert found.rank[fit] == expected.rank[fit]
        assert found.ill_conditioned[fit] == expected.ill_conditioned[fit] == (fit != 5)
        size, error = (np.linalg.norm(w.astype(float)) for w in (expected.w[fit], expected.w[fit] - found.w[fit]))
        # eigenvalues of X'X are off by some 2^-52 of the largest; float32 results are rounded
        assert error <= (64 * max(1e6, found.condition[fit] ** 2) * 2.0**-52 + np.finfo(dtype).eps) * size
        assert found.loss[fit] <= expected.loss[fit] * (1 + 2.0**-20) + np.finfo(dtype).eps ** 2 * (y[fit] ** 2).mean()


def test_fewer_samples_than_parameters():
    X, y = RNG.normal(size=(3, 4, 6)), RNG.normal(size=(3, 4))
    found, expected = fastgd.solve(fastgd.compress(X, y)), fastgd.solve(X, y)
    assert found.rank.tolist() == [4, 4, 4]
    assert found.ill_conditioned.all()
    for fit in range(3):
        error, size = np.linalg.norm(found.w[fit] - expected.w[fit]), np.linalg.norm(expected.w[fit])
        assert error <= found.condition[fit] ** 2 * 64 * 2.0**-52 * size


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_penalty_is_in_the_units_of_solve(reduction):
    X, y = cases("float64")
    weights = RNG.uniform(0.5, 2.0, 40)
    moments = fastgd.compress(X[:2], y[:2], sample_weight=weights)
    found = fastgd.solve(moments, weight_decay=0.25, reduction=reduction)
    expected = fastgd.solve(X[:2], y[:2], sample_weight=weights, weight_decay=0.25, reduction=reduction)
    error = np.linalg.norm(found.w - expected.w, axis=-1)
    assert (error <= 1e6 * 2.0**-52 * np.linalg.norm(expected.w, axis=-1)).all()
