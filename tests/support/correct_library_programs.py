"""As correct_programs.py, in torch, JAX with optax, and scikit-learn."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

import fastgd
from tests.support.correct_programs import Handed, Program, gradient, numbers
from tests.support.planted_cases import Case, Rng

# -- torch -----------------------------------------------------------------------------------------

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "Nesterov": ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    "Adam": ("Adam", {}),
    "AdamW": ("AdamW", {"weight_decay": 0.1}),
    "RMSprop": ("RMSprop", {"momentum": 0.5}),
    "Adagrad": ("Adagrad", {}),
    "NAdam": ("NAdam", {}),
    "Adamax": ("Adamax", {}),
    "Adadelta": ("Adadelta", {}),
}
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")


def _linear(case: Case):
    """torch.nn.Linear at the case's start."""
    import torch

    _, _, w = numbers(case)
    d = case.X.shape[1]
    module = torch.nn.Linear(d, 1, bias=case.intercept, dtype=getattr(torch, case.dtype))
    with torch.no_grad():
        module.weight[0] = torch.tensor(w[:d])
        if case.intercept:
            module.bias[0] = torch.tensor(w[d])
    return module


def _kind(rng: Rng, names=tuple(RULES)) -> tuple[str, dict[str, Any]]:
    return RULES[str(rng.choice(names))]


def _lr(case: Case, name: str) -> float:
    return case.lr if name == "SGD" else 1.0 if name == "Adadelta" else 0.05


def torch_linear(case: Case, rng: Rng) -> Handed:
    """nn.Linear and an optimizer, trained by verify: for each tensor, foreach or fused."""
    import torch

    name, options = _kind(rng)
    ways: list[dict[str, Any]] = [{"foreach": False}, {"foreach": True}, *([{"fused": True}] if name in FUSED else [])]
    module = _linear(case)
    optimizer = getattr(torch.optim, name)(module.parameters(), lr=_lr(case, name), **options, **ways[rng.integers(len(ways))])
    return Handed((module, optimizer), {"epochs": case.epochs, "w0": None, "lr": None})


def torch_groups(case: Case, rng: Rng) -> Handed:
    """A group of parameters for the weight and one for the bias, with the same values."""
    import torch

    name, options = _kind(rng)
    module = _linear(case)
    groups = [{"params": [p]} for p in module.parameters()]
    optimizer = getattr(torch.optim, name)(groups, lr=_lr(case, name), **options)
    return Handed((module, optimizer), {"epochs": case.epochs, "w0": None, "lr": None})


def torch_scheduler(case: Case, rng: Rng) -> Handed:
    import torch

    schedulers = torch.optim.lr_scheduler
    name, options = _kind(rng, ("SGD", "momentum", "Adam", "AdamW"))
    module = _linear(case)
    optimizer = getattr(torch.optim, name)(module.parameters(), lr=_lr(case, name), **options)
    scheduler = [
        lambda: schedulers.StepLR(optimizer, 5, 0.5),
        lambda: schedulers.ExponentialLR(optimizer, 0.9),
        lambda: schedulers.CosineAnnealingLR(optimizer, 10),
        lambda: schedulers.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
        lambda: schedulers.LinearLR(optimizer, 0.2, total_iters=5),
    ][rng.integers(5)]()
    return Handed((module, optimizer, scheduler), {"epochs": case.epochs, "w0": None, "lr": None})


def torch_loop(case: Case, rng: Rng, compiled: bool = False) -> Handed:
    """A loop with autograd, its rows recorded by Recorder.watch or by hand; perhaps compiled."""
    import torch

    X, y, w = numbers(case)
    name, options = _kind(rng)
    inputs, targets = torch.tensor(X), torch.tensor(y)
    weights = torch.tensor(w, requires_grad=True)
    optimizer = getattr(torch.optim, name)([weights], lr=_lr(case, name), **options)
    d = X.shape[1]

    def forward(weights, inputs, targets):
        prediction = inputs @ weights[:d] + (weights[d] if len(weights) > d else 0)
        return torch.nn.functional.mse_loss(prediction, targets)

    run = torch.compile(forward, dynamic=True) if compiled else forward
    rows, losses = [], []
    for _ in range(case.epochs):
        value = run(weights, inputs, targets)
        rows.append(weights.detach().numpy().copy())
        losses.append(value.item())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    told = getattr(fastgd, name)(**options)
    return Handed((np.array(rows), np.array(losses)), {"optimizer": told, "lr": _lr(case, name)})


def torch_compiled(case: Case, rng: Rng) -> Handed:
    return torch_loop(case, rng, compiled=True)


TORCH: dict[str, Program] = {
    "nn.Linear, foreach and fused": torch_linear,
    "groups of parameters": torch_groups,
    "schedulers": torch_scheduler,
    "a loop with autograd": torch_loop,
}


# -- JAX + optax -----------------------------------------------------------------------------------


def jax_loop(case: Case, rng: Rng) -> Handed:
    """jax.grad and optax, jitted or not; in float32 unless jax_enable_x64 is set."""
    import jax
    import jax.numpy as jnp
    import optax

    made: dict[str, Any] = {
        "SGD": lambda lr: optax.sgd(lr),
        "momentum": lambda lr: optax.sgd(lr, momentum=0.9),
        "Adam": lambda lr: optax.adam(lr),
        "AdamW": lambda lr: optax.adamw(lr, weight_decay=0.1),
    }
    key = str(rng.choice(list(made)))
    name, options = RULES[key]
    lr, (X, y, w) = _lr(case, name), numbers(case)
    d, rule = X.shape[1], made[key](lr)
    inputs, targets, weights = jnp.asarray(X), jnp.asarray(y), jnp.asarray(w)

    def mean_square(weights):
        residual = inputs @ weights[:d] + (weights[d] if case.intercept else 0) - targets
        return jnp.mean(residual**2)

    value_and_grad = jax.jit(jax.value_and_grad(mean_square)) if rng.random() < 0.5 else jax.value_and_grad(mean_square)
    state, rows, losses = rule.init(weights), [], []
    for _ in range(min(case.epochs, 20)):
        value, slope = value_and_grad(weights)
        rows.append(np.asarray(weights))
        losses.append(float(value))
        updates, state = rule.update(slope, state, weights)
        weights = optax.apply_updates(weights, updates)
    rows.append(np.asarray(weights))
    dtype = str(rows[0].dtype)
    told = getattr(fastgd, name)(**options)
    return Handed((np.array(rows), np.array(losses)), {"optimizer": told, "lr": lr, "dtype": dtype})


def jax_step(case: Case, rng: Rng) -> Handed:
    """A function of JAX's arrays, which verify calls with the user's own."""
    import jax
    import jax.numpy as jnp

    X, y, w = numbers(case)
    d = X.shape[1]

    def mean_square(w, X, y):
        residual = X @ w[:d] + (w[d] if case.intercept else 0) - y
        return jnp.mean(residual**2)

    def step(w, X, y, lr):
        return w - lr * jax.grad(mean_square)(w, X, y)

    return Handed(step, {"epochs": min(case.epochs, 10), "w0": w}, jnp.asarray(X), jnp.asarray(y))


JAX: dict[str, Program] = {"jax.grad and optax": jax_loop, "a step of JAX": jax_step}


# -- scikit-learn ----------------------------------------------------------------------------------


def sgd_regressor(case: Case, rng: Rng) -> Handed:
    from sklearn.linear_model import SGDRegressor

    X, y, _ = numbers(case)
    lr = float(f"{0.3 / np.abs(np.column_stack([X, np.ones(len(y))])).max() ** 2 / (X.shape[1] + 1):.2g}")
    model = SGDRegressor(penalty=None, learning_rate="constant", eta0=lr, shuffle=False, fit_intercept=case.intercept)
    return Handed(
        model, {"epochs": min(case.epochs, 10), "w0": None, "lr": None, "dtype": None}, X.astype(np.float64), y.astype(np.float64)
    )


def estimator(case: Case, rng: Rng) -> Handed:
    """A class of scikit-learn's kind, with its mix-ins, whose fit descends."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class Regressor(RegressorMixin, BaseEstimator):
        def __init__(self, learning_rate=0.01, max_iter=10, fit_intercept=True):
            self.learning_rate, self.max_iter, self.fit_intercept = learning_rate, max_iter, fit_intercept

        def fit(self, X, y):
            w = np.zeros(X.shape[1] + self.fit_intercept, X.dtype)
            for _ in range(self.max_iter):
                w = w - X.dtype.type(self.learning_rate) * gradient(w, X, y)
            self.coef_, self.intercept_ = w[: X.shape[1]], w[-1] if self.fit_intercept else 0.0
            return self

    return Handed(Regressor(case.lr, min(case.epochs, 20), case.intercept), {"w0": None})


SKLEARN: dict[str, Program] = {"SGDRegressor": sgd_regressor, "an estimator with coef_": estimator}


def missing(name: str) -> bool:
    """Whether a library is not installed."""
    return importlib.util.find_spec(name) is None
