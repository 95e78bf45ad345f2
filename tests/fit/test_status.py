"""What became of each fit: CONVERGED, DIVERGED, INVALID_DATA, and that a bad fit harms no other."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import Status
from tests.support.fit_results import batch, same


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_converged(backend, dtype):
    """The error halves, so 1/4 of the loss is left after an epoch: tol = 1/4 stops there, the next
    smaller one an epoch later."""
    ones = np.ones(4)  # the Hessian is 2: w = 1/2, 3/4, … exactly, loss = 1, 1/4, 1/16, …
    options = {"lr": 0.25, "epochs": 9, "history": True, "dtype": dtype, "backend": backend}
    result = fastgd.fit(ones, ones, tol=0.25, **options)
    assert result.status == Status.CONVERGED
    assert (result.epochs, result.w, result.loss, result.excess_loss) == (1, 0.5, 0.25, 0.25)
    assert result.history.w.tolist() == [0] + 9 * [0.5]
    assert result.history.loss.tolist() == [1] + 9 * [0.25]
    assert (result.state.epoch, result.state.initial_excess) == (1, 1.0)
    result = fastgd.fit(ones, ones, tol=np.nextafter(0.25, 0), **options)
    assert (result.status, result.epochs, result.w) == (Status.CONVERGED, 2, 0.75)
    assert fastgd.fit(ones, ones, **options).status == Status.COMPLETED


def test_a_start_at_the_minimum_has_converged_at_epoch_1(backend):
    ones = np.ones(4)
    result = fastgd.fit(ones, [ones, 0 * ones, ones], w0=[0, 0, 1], lr=0.5, epochs=9, tol=0, backend=backend)
    assert result.status.tolist() == 3 * [Status.CONVERGED]
    assert result.epochs.tolist() == [1, 1, 1]
    assert result.w.tolist() == [1, 0, 1]
    assert result.excess_loss.tolist() == [0, 0, 0]
    assert fastgd.fit(ones, ones, lr=0.5, epochs=9, backend=backend).status == Status.COMPLETED


def test_a_target_that_is_met_at_the_last_epoch_counts(backend):
    ones = np.ones(4)
    options = {"lr": 0.25, "tol": 2.0**-10, "backend": backend}
    assert fastgd.fit(ones, ones, epochs=5, **options).status == Status.CONVERGED
    assert fastgd.fit(ones, ones, epochs=4, **options).status == Status.COMPLETED


def test_a_loss_that_rises_is_no_convergence(backend):
    ones = np.ones(4)
    rises = fastgd.fit(ones, ones, lr=2.0, epochs=3, tol=0.5, backend=backend)
    assert rises.status == Status.COMPLETED
    assert rises.excess_loss == 3.0**6


def test_a_fit_that_converged_stays_there(backend):
    ones = np.ones(4)
    options = {"lr": 0.25, "tol": 0.25, "backend": backend}
    first = fastgd.fit(ones, ones, epochs=9, **options)
    more = fastgd.fit(ones, ones, epochs=4, state=first.state, **options)
    assert (more.status, more.epochs, more.w, more.state.epoch) == (Status.CONVERGED, 0, 0.5, 1)
    assert (more.excess_loss, more.state.initial_excess) == (0.25, 1.0)
    free = fastgd.fit(ones, ones, epochs=1, lr=0.25, backend=backend, state=first.state)
    assert (free.status, free.epochs, free.w, free.state.epoch) == (Status.COMPLETED, 1, 0.75, 2)


@pytest.mark.parametrize(("dtype", "first"), [("float32", 4), ("float64", 26)])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_diverged(backend, dtype, first, algorithm):
    """1 − 2·lr = −2^20, so w = (−2^20)^t and loss = 2^(40 t) exactly: the first row beyond 2^128 or
    2^1024 is known."""
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
