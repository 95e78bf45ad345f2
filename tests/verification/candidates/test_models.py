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


class Own(torch.nn.Module):
    """w and b as people declare them: the order, the names and the shape of b vary."""

    def __init__(self, bias_first=False, shape=(1,), names=("weight", "bias"), d=3):
        super().__init__()
        self.names = names
        parts = [(names[0], torch.zeros(d)), (names[1], torch.zeros(shape))]
        for name, values in reversed(parts) if bias_first else parts:
            setattr(self, name, torch.nn.Parameter(values.double()))

    def forward(self, X):
        return X @ getattr(self, self.names[0]) + getattr(self, self.names[1])


class Wrapped(torch.nn.Module):
    def __init__(self, d=3, bias=True):
        super().__init__()
        self.linear = torch.nn.Linear(d, 1, bias=bias).double()

    def forward(self, X):
        return self.linear(X)


MODULES = {
    "the bias first": lambda d: Own(bias_first=True, d=d),
    "a bias of shape ()": lambda d: Own(shape=(), d=d),
    "other names": lambda d: Own(bias_first=True, shape=(), names=("theta", "a0"), d=d),
    "self.linear": Wrapped,
    "Sequential": lambda d: torch.nn.Sequential(torch.nn.Linear(d, 1)).double(),
}


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("name", MODULES)
def test_modules_of_every_make(name, d):
    X, y = data(d=d)
    for w0 in (None, np.arange(1.0, d + 2)):
        module = MODULES[name](d)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
        report = fastgd.verify((module, optimizer), X, y + 3, lr=0.05, epochs=15, intercept=True, w0=w0)
        assert report.ok, str(report)
        assert report.tau_loss < 1


def test_an_intercept_that_is_not_declared():
    X, y = data()
    module = Wrapped()
    with pytest.raises(ValueError, match=r"it has an intercept, linear\.bias: give intercept=True"):
        fastgd.verify((module, torch.optim.SGD(module.parameters(), lr=0.05)), X, y, epochs=5)
    module = Wrapped(bias=False)
    with pytest.raises(ValueError, match="it has no intercept: give intercept=False"):
        fastgd.verify((module, torch.optim.SGD(module.parameters(), lr=0.05)), X, y, epochs=5, intercept=True)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("SGD", {"momentum": 0.5, "dampening": 0.2}),
        ("Adam", {"betas": (0.8, 0.99), "eps": 1e-6}),
        ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
        ("RMSprop", {"alpha": 0.9}),
    ],
)
def test_the_rule_and_the_rate_are_those_of_the_torch_optimizer(kind, options):
    X, y = data()
    module = Wrapped()
    report = fastgd.verify((module, getattr(torch.optim, kind)(module.parameters(), lr=0.02, **options)), X, y, epochs=15, intercept=True)
    assert report.ok, str(report)
    module = Wrapped()
    optimizer = getattr(torch.optim, kind)(module.parameters(), lr=0.02, **options)
    report = fastgd.verify((module, optimizer), X, y, lr=0.04, epochs=15, intercept=True)
    assert report.diagnosis.code == "lr_scaled"
    assert report.diagnosis.sentence == "the optimizer has lr 0.02, 0.04 was asked"


def test_torch_optimizers_that_are_told_in_words():
    X, y = data()
    module = Wrapped()
    with pytest.raises(ValueError, match="the torch optimizer LBFGS is not judged: choose one of SGD, Adam"):
        fastgd.verify((module, torch.optim.LBFGS(module.parameters())), X, y, epochs=5, intercept=True)
    groups = [{"params": [module.linear.weight], "lr": 0.1}, {"params": [module.linear.bias], "lr": 0.2}]
    with pytest.raises(ValueError, match="groups with different lr"):
        fastgd.verify((module, torch.optim.SGD(groups)), X, y, epochs=5, intercept=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    assert fastgd.verify((module, optimizer), X, y, epochs=5, intercept=True).ok
    again = fastgd.verify((module, optimizer), X, y, epochs=5, intercept=True)
    assert "has made steps before" in str(again)

    class Mine(torch.optim.Optimizer):
        def __init__(self, parameters, lr):
            super().__init__(parameters, {"lr": lr})

        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data -= group["lr"] * p.grad

    assert fastgd.verify((module, Mine(module.parameters(), 0.05)), X, y, epochs=5, intercept=True).ok


def test_an_object_with_partial_fit():
    class Model:
        def __init__(self, factor):
            self.coef_, self.factor = np.zeros(3), factor

        def partial_fit(self, X, y):
            self.coef_ = self.coef_ - 0.1 * self.factor * (2 / len(y) * X.T @ (X @ self.coef_ - y))

    X, y = data()
    assert fastgd.verify(Model(1.0), X, y, lr=0.1, epochs=9).ok
    assert fastgd.verify(Model(0.5), X, y, lr=0.1, epochs=9).diagnosis.code == "gradient_missing_two"


class SGDRegressor:
    """Stands in for scikit-learn's: a step for each sample, in order, on half of the square."""

    __module__ = "sklearn.linear_model._stochastic_gradient"

    def __init__(self, eta0, penalty=None, fit_intercept=True, factor=1.0):
        self.eta0, self.penalty, self.fit_intercept, self.factor = eta0, penalty, fit_intercept, factor
        self.loss, self.learning_rate, self.shuffle, self.average = "squared_error", "constant", False, False
        self.coef_, self.intercept_ = np.zeros(2), np.zeros(1)

    def partial_fit(self, X, y):
        for row, target in zip(X, y, strict=True):
            error = self.coef_ @ row + self.intercept_[0] - target
            self.coef_ = self.coef_ - self.factor * self.eta0 * error * row
            self.intercept_ = self.intercept_ - self.factor * self.eta0 * error * self.fit_intercept


def test_scikits_steps_per_sample_are_judged_as_such():
    rng = np.random.default_rng(12)
    X = rng.standard_normal((15, 2))
    y = X @ [1.0, 2.0] + 1 + rng.standard_normal(15)
    for fit_intercept in (True, False):
        report = fastgd.verify(SGDRegressor(0.01, fit_intercept=fit_intercept), X, y, epochs=6)
        assert report.outcome == "agrees", str(report)
        assert "a step for each sample, on half of the square" in str(report)
    assert fastgd.verify(SGDRegressor(0.01, factor=2.0), X, y, epochs=6).diagnosis.code == "gradient_double_two"
    with pytest.raises(ValueError, match="an SGDRegressor is judged with penalty=None: it makes a step for each sample"):
        fastgd.verify(SGDRegressor(0.01, penalty="l2"), X, y, epochs=6)
