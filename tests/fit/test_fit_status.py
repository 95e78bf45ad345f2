"""What `fit` promises its users, second part: status, the safe rate, predict, repr, and the explanation of a choice."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Status
from tests.support.fit_results import X2, Y2, batch, same, same_result, x, y

# Status ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_converged(backend, dtype):
    """The error halves, the loss falls by 3/4 of itself: tol = 3/4 stops at once, the next smaller one never does."""
    ones = np.ones(4)  # the Hessian is 2: w = 1/2, 3/4, … exactly, loss = 1, 1/4, 1/16, …
    options = {"lr": 0.25, "epochs": 9, "history": True, "dtype": dtype, "backend": backend}
    result = fastgd.fit(ones, ones, tol=0.75, **options)
    assert result.status == Status.CONVERGED
    assert (result.epochs, result.w, result.loss) == (1, 0.5, 0.25)
    assert result.history.w.tolist() == [0] + 9 * [0.5]
    assert result.history.loss.tolist() == [1] + 9 * [0.25]
    assert result.state.epoch == 1
    result = fastgd.fit(ones, ones, tol=np.nextafter(0.75, 0), **options)
    assert (result.status, result.epochs) == (Status.COMPLETED, 9)
    assert result.history.loss.tolist() == [4.0**-t for t in range(10)]
    assert fastgd.fit(ones, ones, **options).status == Status.COMPLETED


def test_converged_with_tol_0(backend):
    """At the solution the loss stays 0: it stops where nothing changes any more; without a tol it does not."""
    ones = np.ones(4)
    result = fastgd.fit(ones, [ones, 0 * ones], lr=0.5, epochs=9, tol=0, backend=backend)
    assert result.status.tolist() == 2 * [Status.CONVERGED]
    assert result.epochs.tolist() == [2, 1]
    assert result.w.tolist() == [1, 0]
    assert fastgd.fit(ones, ones, lr=0.5, epochs=9, backend=backend).status == Status.COMPLETED
    rises = fastgd.fit(ones, ones, lr=2.0, epochs=3, tol=0.5, backend=backend)  # a loss that rises is no convergence
    assert rises.status == Status.COMPLETED


def test_a_fit_that_converged_stays_there(backend):
    ones = np.ones(4)
    options = {"lr": 0.25, "tol": 0.75, "backend": backend}
    first = fastgd.fit(ones, ones, epochs=9, **options)
    more = fastgd.fit(ones, ones, epochs=4, state=first.state, **options)
    assert (more.status, more.epochs, more.w, more.state.epoch) == (Status.CONVERGED, 0, 0.5, 1)
    free = fastgd.fit(ones, ones, epochs=1, lr=0.25, backend=backend, state=first.state)
    assert (free.status, free.epochs, free.w, free.state.epoch) == (Status.COMPLETED, 1, 0.75, 2)


@pytest.mark.parametrize(("dtype", "first"), [("float32", 4), ("float64", 26)])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_diverged(backend, dtype, first, algorithm):
    """1 − 2·lr = −2^20, so w = (−2^20)^t and loss = 2^(40 t) exactly: the first row beyond 2^128 or 2^1024 is known."""
    if backend != "cpu":
        algorithm = "auto"
    options = {"lr": 2.0**19 + 0.5, "w0": 1.0, "epochs": 60, "history": True, "dtype": dtype, "backend": backend, "algorithm": algorithm}
    result = fastgd.fit(np.ones(4), np.zeros(4), **options)
    assert result.status == Status.DIVERGED
    assert result.epochs == first
    assert result.history.loss[:first].tolist() == [2.0 ** (40 * t) for t in range(first)]
    assert result.history.w[: first + 1].tolist() == [(-(2.0**20)) ** t for t in range(first + 1)]
    assert result.history.loss[first] == np.inf
    assert not np.isfinite(result.history.loss[first:]).any()
    assert np.isnan(result.history.w[-1])


def test_diverged_at_the_start(backend):
    result = fastgd.fit(np.ones(4), np.zeros(4), w0=1e200, lr=0.1, epochs=0, backend=backend)
    assert (result.status, result.epochs, result.loss, result.w) == (Status.DIVERGED, 0, np.inf, 1e200)


def test_invalid_data(backend):
    """NaN in y, inf in X and divergence each harm one fit; the others keep their bits."""
    X, target = batch(6)
    rates = np.full(6, 0.05)
    good = fastgd.fit(X, target, lr=rates, epochs=20, backend=backend, history=True)
    X, target = X.copy(), target.copy()
    target[1, 3], X[2, 0, 1], rates[4] = np.nan, np.inf, 1e30
    mixed = fastgd.fit(X, target, lr=rates, epochs=20, backend=backend, history=True, nan_policy="propagate")
    completed, invalid, diverged = Status.COMPLETED, Status.INVALID_DATA, Status.DIVERGED
    assert mixed.status.tolist() == [completed, invalid, invalid, completed, diverged, completed]
    assert mixed.epochs.tolist()[:4] == [20, 0, 0, 20]
    for k in (0, 3, 5):
        assert same(mixed.w[k], good.w[k])
        assert same(mixed.loss[k], good.loss[k])
        assert same(mixed.history.w[k], good.history.w[k])
    assert np.isnan(mixed.w[1:3]).all()
    assert np.isnan(mixed.loss[1:3]).all()
    assert "3 COMPLETED, 1 DIVERGED, 2 INVALID_DATA" in repr(mixed)
    no_rate = fastgd.fit(X, target, epochs=20, backend=backend, nan_policy="propagate")
    assert np.isfinite(no_rate.lr).tolist() == [True, True, False, True, True, True]  # the Hessian does not look at y


def test_status_compares():
    one, many = fastgd.fit(x, y), fastgd.fit(x, [y, y])
    assert one.status == Status.COMPLETED
    assert one.status is Status.COMPLETED
    assert one.status == 0
    assert (many.status == Status.COMPLETED).all()
    assert not (many.status == Status.DIVERGED).any()
    assert [Status(code).name for code in many.status] == ["COMPLETED", "COMPLETED"]
    assert {status.name: int(status) for status in Status} == {
        "COMPLETED": 0,
        "CONVERGED": 1,
        "DIVERGED": 2,
        "INVALID_DATA": 3,
        "TOO_FEW_SAMPLES": 4,
    }


# The safe rate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight_decay", [0.0, 0.75])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "d", "intercept"), [(1, 1, False), (5, 1, True), (8, 3, False), (30, 5, True), (11, 20, False), (80, 33, True)]
)
def test_safe_rate(backend, n, d, intercept, dtype, reduction, weight_decay):
    """1/(λ_max + weight_decay), λ_max of the Hessian by LAPACK.

    X holds small integers, so XᵀX is exact. LAPACK's symmetric solvers are held to 30·D·u·λ (its own test ratio). A Jacobi rotation is a
    similarity by a matrix that is orthogonal to within 6u (t, a root, two divisions and a product make c and s), applied with 3u from each
    side, so it moves eigenvalues by at most 12u‖B‖_F, ‖B‖_F ≤ √D·λ; there are at most 30 sweeps of D(D−1)/2 rotations. What it stops at,
    elements of at most 2^−56·max B_jj, moves them by D·2^−56·λ. Scaling, weight_decay and the division round 4 times.
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


# predict, repr, explanation -------------------------------------------------------------------------------------------


def test_predict():
    one = fastgd.fit(x, y, lr=1 / 16, w0=2.0, epochs=3)  # y = 2 x holds from the start
    assert one.predict([5.0, 0.5]).tolist() == [10, 1]
    assert one.predict([[5], [6], [7]]).tolist() == [[10], [12], [14]]
    sweep = fastgd.fit(x, y, w0=[0.0, 2.0, 3.0], epochs=0)
    assert sweep.predict([1.0, 2.0]).tolist() == [[0, 0], [2, 4], [3, 6]]
    X = np.arange(30.0).reshape(5, 3, 2)
    many = fastgd.fit(np.tile(X2, (5, 1, 1)), np.tile(Y2, (5, 1)), w0=[1.0, 2.0], intercept=True, intercept0=np.arange(5.0), epochs=0)
    assert many.predict(X).tolist() == [[a + 2 * b + k for a, b in X[k].tolist()] for k in range(5)]
    assert many.predict(X[0]).shape == (5, 3)
    assert many.predict(X[:, None]).shape == (5, 5, 3)
    assert fastgd.fit(x.astype("f"), y.astype("f")).predict(x.astype("f")).dtype == np.float32


def test_predict_of_fits_that_diverged_does_not_warn():
    X, target = batch(2)
    result = fastgd.fit(X, target, lr=[0.01, 1e300], epochs=20, intercept=True)
    assert np.isfinite(result.predict(X)).all(axis=1).tolist() == [True, False]
    assert not np.isfinite(fastgd.fit(x, y, lr=1e300, epochs=20).predict([0.0, 1e300])).any()


def test_repr():
    assert repr(fastgd.fit(x, y, w0=1.0, epochs=0)) == "FitResult(COMPLETED: w = 1, loss 7.5, 0 epochs; cpu, moments)"
    many = fastgd.fit(x, y, w0=[1.0, 2.0, 4.0], epochs=0, algorithm="stream")
    assert repr(many) == "FitResult(3 fits: 3 COMPLETED; median loss 7.5; cpu, stream)"
    lost = fastgd.fit(x, y, lr=1e300, epochs=9, backend="numpy")
    assert repr(lost) == "FitResult(DIVERGED: w = nan, loss nan, 1 epoch; numpy, manual)"


@pytest.mark.parametrize(
    ("n", "d", "intercept", "algorithm"),
    [
        (4, 2, False, "stream"),
        (5, 2, False, "moments"),
        (4, 2, True, "stream"),
        (5, 2, True, "moments"),
        (1, 1, False, "stream"),
        (2, 1, False, "stream"),
        (3, 1, False, "moments"),
        (513, 256, False, "moments"),
        (515, 257, False, "stream"),
    ],
)
def test_auto_and_its_explanation(n, d, intercept, algorithm):
    X = np.ones((n, d), np.float32)
    for options in ({}, {"lr": [1e-9, 1e-8]}, {"epochs": 0, "lr": 0.0}, {"history": True, "epochs": 2, "threads": 1}):
        result = fastgd.fit(X, X[:, 0], **({"epochs": 1, "intercept": intercept} | options))
        assert (result.backend, result.algorithm) == ("cpu", algorithm)
        assert result.explanation.startswith("cpu: the data are in the computer's memory; " + algorithm + ": n_")
        assert {result.state.algorithm_names[code] for code in np.ravel(result.state.algorithm)} == {algorithm}
        assert f" {d}" in result.explanation


def test_explanations_of_what_was_asked_for():
    assert fastgd.fit(x, y, backend="cpu", algorithm="stream").explanation == "cpu: asked for; stream: asked for"
    assert fastgd.fit(x, y, backend="numpy").explanation == "numpy: asked for; manual: the hand-written NumPy descent"


def test_the_explanation_of_torch(torch):
    assert fastgd.fit(x, y, backend="torch").explanation == "torch: asked for; autograd: torch.autograd and torch.optim"
