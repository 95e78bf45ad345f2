"""stability: descents do what it says, at its rates and in its number of epochs."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.support.refusals import refused_call


def design(*eigenvalues, dtype="float64"):
    """X of as many samples as features, whose Hessian is diagonal with these eigenvalues."""
    n = len(eigenvalues)
    return np.diag(np.sqrt(np.array(eigenvalues) * n / 2.0)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tol", [0.3, 1e-2, 1e-6])
@pytest.mark.parametrize("eigenvalues", [(4.0, 1.0), (9.0, 5.0, 0.25), (2.0, 2.0), (100.0, 1.0)])
def test_the_worst_start_takes_as_many_epochs_as_it_says(eigenvalues, tol, dtype):
    X, d = design(*eigenvalues, dtype=dtype), len(eigenvalues)
    y = X @ np.ones(d, dtype)
    found = fastgd.stability(X, y)
    starts = np.vstack([np.eye(d), np.ones((1, d)), np.random.default_rng(0).normal(size=(5, d))])
    plain = fastgd.fit(X, y, lr=np.full(len(starts), found.best_lr), w0=1 + starts, tol=tol, epochs=2000, algorithm="moments")
    needed = found.epochs(tol)
    assert (plain.status == fastgd.Status.CONVERGED).all()
    assert (plain.epochs <= needed).all()
    if max(eigenvalues) > min(eigenvalues):
        assert plain.epochs[0] == plain.epochs[d - 1] == needed  # along the eigenvectors of λ_max and λ_min
    ball = fastgd.SGD(lr=np.full(len(starts), found.heavy_ball_lr), momentum=found.heavy_ball_momentum)
    with_ball = fastgd.fit(X, y, optimizer=ball, w0=1 + starts, tol=tol, epochs=2000, algorithm="moments")
    assert (with_ball.status == fastgd.Status.CONVERGED).all()
    assert (with_ball.epochs <= found.heavy_ball_epochs(tol)).all()
    if max(eigenvalues) > min(eigenvalues):
        assert with_ball.epochs[0] == found.heavy_ball_epochs(tol)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("intercept", "weighted", "decay"), [(False, False, 0.0), (True, True, 0.0), (True, False, 0.7), (False, True, 0.7)]
)
def test_descents_are_stable_below_the_limit_alone(momentum, reduction, intercept, weighted, decay):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(4, 50, 3)), rng.normal(size=(4, 50))
    options = {"intercept": intercept, "sample_weight": rng.uniform(0.1, 3, 50) if weighted else None, "reduction": reduction}
    limit = fastgd.stability(X, y, weight_decay=decay, **options).lr_limit_of(momentum)
    for share, stable in ((0.99, True), (1.01, False)):
        ball = fastgd.SGD(lr=share * limit, momentum=momentum, weight_decay=decay)
        found = fastgd.fit(X, y, optimizer=ball, epochs=6000, excess_loss=True, **options)
        assert ((found.excess_loss < 1e-3 * found.state.initial_excess) == stable).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("intercept", [False, True])
def test_eigenvalues_are_those_of_the_hessian(dtype, intercept):
    rng = np.random.default_rng(1)
    X, y = (rng.normal(size=(3, 60, 5)) * [1, 10, 0.1, 1, 1e3]).astype(dtype), rng.normal(size=(3, 60)).astype(dtype)
    weights, decay = rng.uniform(0.1, 3, (3, 60)).astype(dtype), np.array([0.0, 0.5])[:, None]
    found = fastgd.stability(X, y, intercept=intercept, sample_weight=weights, weight_decay=decay)
    Z = np.concatenate([X, np.ones((3, 60, 1))], axis=2).astype(float) if intercept else X.astype(float)
    D, omega = Z.shape[2], weights.astype(float)
    hessians = 2 * np.einsum("fni,fn,fnj->fij", Z, omega, Z) / omega.sum(axis=1)[:, None, None]
    values = np.linalg.eigvalsh(hessians)
    # as the docstring says, and n + D roundings of the Hessian here (and of its eigenvalues)
    error = (D * 2.0**-44 + (60 + 4 * D) * 2.0**-53 * D) * values[:, -1]
    assert found.lambda_max.shape == (2, 3)
    assert (np.abs(found.lambda_max - (values[:, -1] + decay)) <= error).all()
    assert (np.abs(found.lambda_min - (values[:, 0] + decay)) <= error).all()


def test_moments_give_the_same_as_their_samples():
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(4, 30))
    y[1, 3] = np.nan
    y[2] = np.nan
    options = {"intercept": True, "nan_policy": "omit", "sample_weight": rng.uniform(size=30)}
    found, of_moments = fastgd.stability(X, y, **options), fastgd.stability(fastgd.compress(X, y, **options))
    for name in ("lambda_max", "lambda_min"):
        assert np.array_equal(getattr(found, name), getattr(of_moments, name), equal_nan=True)
    assert np.isnan(found.lambda_max).tolist() == [False, False, True, False]
    assert found.lambda_max[0] == found.lambda_max[3] != found.lambda_max[1]
    spoiled = fastgd.stability(X, y, nan_policy="propagate")
    assert np.isnan(spoiled.lambda_max).tolist() == [False, True, True, False]


def test_a_least_eigenvalue_that_rounding_hides_is_zero():
    X = np.random.default_rng(0).normal(size=(40, 2))
    found = fastgd.stability(np.column_stack([X, X[:, 0] + X[:, 1]]), X[:, 0])
    assert (found.lambda_min, found.condition, found.epochs(0.1)) == (0.0, np.inf, np.inf)
    assert fastgd.stability([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]).lr_limit == 2.0 / 15.0  # H = 2 · 30 / 4


def test_what_is_wrong_is_refused():
    X, y = np.ones((3, 8, 2)), np.ones((3, 8))
    moments = fastgd.compress(X, y)
    refused_call(TypeError, "y is missing", lambda: fastgd.stability(X))
    refused_call(ValueError, "so intercept must be given to fastgd.compress", lambda: fastgd.stability(moments, intercept=True))
    refused_call(ValueError, "weight_decay must be", lambda: fastgd.stability(X, y, weight_decay=-1.0))
    refused_call(ValueError, r"weight_decay \(4,\)", lambda: fastgd.stability(X, y, weight_decay=np.ones(4)))
    refused_call(ValueError, "reduction must be", lambda: fastgd.stability(X, y, reduction="max"))
