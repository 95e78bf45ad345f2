"""Candidates that are models: a torch module with its optimizer, an object with `partial_fit`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastgd


def data(n=30, d=3, fits=(), seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((*fits, n, d))
    return X, X @ np.arange(1.0, d + 1) + rng.standard_normal((*fits, n))


def test_a_torch_module_and_its_optimizer():
    X, y = data()
    module = torch.nn.Linear(3, 1).double()
    momentum = {"optimizer": fastgd.SGD(momentum=0.9), "intercept": True}
    report = fastgd.verify((module, torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)), X, y, lr=0.05, epochs=15, **momentum)
    assert report.ok, str(report)
    assert report.tau_loss < 1
    report = fastgd.verify((module, torch.optim.SGD(module.parameters(), lr=0.05)), X, y, lr=0.05, epochs=15, w0=[0, 0, 0, 1.0], **momentum)
    assert report.diagnosis.code == "plain_descent"
    with pytest.raises(ValueError, match=r"must be linear, like torch\.nn\.Linear\(3, 1, bias=False\)"):
        fastgd.verify((module, torch.optim.SGD(module.parameters(), lr=0.05)), X, y, lr=0.05, epochs=5)
    with pytest.raises(ValueError, match="the torch module is float64, the data are float32"):
        fastgd.verify((module, torch.optim.SGD(module.parameters(), lr=0.1)), X, y, lr=0.1, epochs=5, intercept=True, dtype="float32")


def test_an_object_with_partial_fit():
    class Model:
        def __init__(self, factor):
            self.coef_, self.factor = np.zeros(3), factor

        def partial_fit(self, X, y):
            self.coef_ = self.coef_ - 0.1 * self.factor * (2 / len(y) * X.T @ (X @ self.coef_ - y))

    X, y = data()
    assert fastgd.verify(Model(1.0), X, y, lr=0.1, epochs=9).ok
    assert fastgd.verify(Model(0.5), X, y, lr=0.1, epochs=9).diagnosis.code == "gradient_missing_two"
