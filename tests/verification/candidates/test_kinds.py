"""What can be judged: results, histories, arrays; and what is no candidate."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import fastgd
from fastgd.planning.backends import BACKENDS
from fastgd.verification.bound.yardstick import LIMIT
from tests.support.refusals import message

X4 = np.array([1.0, 2.0, 3.0, 4.0])
ASKED = {"lr": 0.01, "epochs": 20}


def train(X, y, lr, epochs, w0):
    """Any number of features, no intercept."""
    design = X.reshape(len(y), -1)
    rows, losses = [np.array(w0)], []
    for _ in range(epochs):
        residual = design @ rows[-1] - y
        losses.append((residual * residual).mean())
        rows.append(rows[-1] - X.dtype.type(lr) * (X.dtype.type(2 / len(y)) * (design.T @ residual)))
    losses.append(((design @ rows[-1] - y) ** 2).mean())
    return np.array(rows), np.array(losses)


def data(n=30, d=3, fits=(), seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((*fits, n, d))
    return X, X @ np.arange(1.0, d + 1) + rng.standard_normal((*fits, n))


def test_results_histories_and_arrays():
    X, y = data()
    result = fastgd.fit(X, y, lr=0.1, epochs=15, history=True, intercept=True)
    for candidate in (result, result.history):
        assert fastgd.verify(candidate, X, y, lr=0.1, intercept=True).ok
    w, loss = train(X, y, 0.1, 15, np.zeros(3))
    assert fastgd.verify((w, loss), X, y, lr=0.1).ok
    assert fastgd.verify(w, X, y, lr=0.1, epochs=15).ok
    assert math.isnan(fastgd.verify(w, X, y, lr=0.1).tau_loss)
    assert fastgd.verify((torch.tensor(w), torch.tensor(loss)), torch.tensor(X), torch.tensor(y), lr=0.1).ok
    assert not fastgd.verify((w, loss), X, y, lr=0.2).ok
    with pytest.raises(ValueError, match="has no history"):
        fastgd.verify(fastgd.fit(X, y, lr=0.1), X, y, lr=0.1)
    with pytest.raises(ValueError, match="does not have every epoch"):
        fastgd.verify(fastgd.fit(X, y, lr=0.1, epochs=9, history=3), X, y, lr=0.1)


@pytest.mark.parametrize(("name", "chosen"), [("cpu", "cpu"), ("auto", "cpu"), ("numpy", "numpy")])
def test_the_limit_is_that_of_the_backend(monkeypatch, name, chosen):
    assert BACKENDS["cpu"].share_of_bound < BACKENDS["numpy"].share_of_bound == LIMIT
    monkeypatch.setitem(BACKENDS, chosen, replace(BACKENDS[chosen], share_of_bound=1.5))
    result = fastgd.fit(X4, 2 * X4, **ASKED, backend=name, history=True)
    for candidate in (name, result):
        assert fastgd.verify(candidate, X4, 2 * X4, **ASKED).verdicts[0].limit == 1.5
    assert fastgd.verify(result.history, X4, 2 * X4, **ASKED).verdicts[0].limit == LIMIT


@pytest.mark.parametrize("candidate", [3, None, object(), dict, {"w": 1}])
def test_what_is_no_candidate(candidate):
    with pytest.raises(TypeError, match="candidate must be a backend's name"):
        fastgd.verify(candidate, X4, X4, **ASKED)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"epoch": np.int64(3)}, r"history.epoch must have one number for each recorded epoch, shape \(m,\); it has shape \(\)"),
        ({"epoch": []}, "history.epoch must have one number"),
        ({"epoch": ["a"]}, "history.epoch must be an array of real numbers"),
        ({"epoch": None}, "history.epoch must be an array of real numbers"),
        ({"w": "x"}, "history.w must be an array of real numbers"),
        ({"loss": [[1.0], [2.0, 3.0]]}, "history.loss must be an array of real numbers"),
        ({"intercept": np.zeros(3)}, r"the parts of a history have shapes .*intercept \(3,\)"),
    ],
)
def test_a_history_made_by_hand_is_refused_in_words(parts, said):
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    result = fastgd.fit(X, y, epochs=5, history=True)
    history = replace(result.history, **parts)
    for candidate in (history, replace(result, history=history)):
        with pytest.raises((ValueError, TypeError), match=said) as caught:
            fastgd.verify(candidate, X, y)
        message(caught)
    with pytest.raises(TypeError, match=r"the history of a FitResult must be a fastgd\.History or None, not 3"):
        fastgd.verify(replace(result, history=3), X, y)


def test_one_rate_per_epoch_of_one_history():
    rates, rows = 0.02 * 0.5 ** np.arange(6), [0.0]
    for rate in rates:
        rows.append(rows[-1] - rate * np.mean(2 * X4 * (rows[-1] * X4 - 2 * X4)))
    assert fastgd.verify(rows, X4, 2 * X4, lr=rates).outcome == "agrees"
    assert not fastgd.verify(rows, X4, 2 * X4, lr=0.02).ok
    assert len(fastgd.verify(np.zeros((6, 3, 1)), X4, 2 * X4, lr=rates).verdicts) == 6  # many histories: a rate for each
