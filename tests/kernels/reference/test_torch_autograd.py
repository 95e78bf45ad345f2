"""The torch reference: the loop that torch users write, its names and defaults, and what to
install."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest
import torch

import fastgd
from fastgd.kernels.reference import torch_autograd
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.support.reference_chunks import REFERENCES, SGD_OPTIONS, X_TUTORIAL, Y_TUTORIAL, chunk_of, noisy, run, same, torch_loop
from tests.support.refusals import message
from tests.support.rule_options import rules_of


@pytest.fixture(params=REFERENCES)
def reference(request):
    return request.param


def printed(chunk, epoch):
    """Row k of the tutorial's tables: w after k updates, the loss before the k-th."""
    return f"epoch {epoch}: w = {chunk.history_w[0, epoch, 0]:.3f}, loss = {chunk.history_loss[0, epoch - 1]:.8f}"


def test_the_tutorials_autograd_table_digit_for_digit(reference):
    chunk = run(reference, chunk_of(X_TUTORIAL, Y_TUTORIAL, dtype=np.float32, lr=0.1, epochs=20))
    closed_form = [  # the error in w is halved and changes its sign
        f"epoch {epoch}: w = {2 - 2 * (-1 / 2) ** epoch:.3f}, loss = {30 / 4 ** (epoch - 1):.8f}" for epoch in range(1, 21)
    ]
    assert [printed(chunk, epoch) for epoch in range(1, 21)] == closed_form
    assert printed(chunk, 1) == "epoch 1: w = 3.000, loss = 30.00000000"
    assert printed(chunk, 2) == "epoch 2: w = 1.500, loss = 7.50000000"
    assert printed(chunk, 17) == "epoch 17: w = 2.000, loss = 0.00000001"
    assert printed(chunk, 20) == "epoch 20: w = 2.000, loss = 0.00000000"


@pytest.mark.parametrize("intercept", [False, True], ids=["", "intercept"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
def test_autograd_is_the_loop_that_torch_users_write(options, dtype, reduction, intercept):
    X, y = noisy(37, 3)
    lr = 0.05 if reduction == "mean" else 0.001
    chunk = run("autograd", chunk_of(X, y, dtype=dtype, epochs=25, lr=lr, reduction=reduction, intercept=intercept, **options))
    torch_dtype = torch.float32 if dtype == np.float32 else torch.float64
    w, loss = torch_loop(X[0], y[0], dtype=torch_dtype, epochs=25, lr=lr, reduction=reduction, intercept=intercept, **options)
    assert same(chunk.history_w[0], w)
    assert same(chunk.history_loss[0], loss)


@pytest.mark.parametrize("rule", [UPDATE_RULES[name] for name in rules_of("torch")], ids=lambda rule: rule.name)
def test_the_tables_names_and_defaults_are_torchs(rule):
    kind = torch_autograd.optimizer_class(rule)
    assert kind.__module__ == f"torch.optim.{rule.name}"
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}
    defaults |= dict(zip(("beta1", "beta2"), defaults.get("betas", ()), strict=False))
    assert {name: defaults[name] for name in rule.hyperparameters} == dict(rule.hyperparameters)
    assert rule.default_lr in (None, defaults["lr"])


def test_unavailable_says_what_to_install(monkeypatch):
    assert torch_autograd.unavailable() is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in torch_autograd.unavailable("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert torch_autograd.unavailable("cuda") is None
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "fastgd[torch]" in torch_autograd.unavailable()
    assert "CPU-only" in torch_autograd.unavailable("cuda")


@pytest.mark.parametrize(
    "optimizer",
    [
        fastgd.SGD(lr=1e39), fastgd.SGD(lr=0.1, weight_decay=1e39), fastgd.SGD(lr=0.1, momentum=0.9, dampening=1e39),
        fastgd.Adagrad(initial_accumulator_value=1e39), fastgd.Adadelta(lr=1e39), fastgd.NAdam(lr=1e39), fastgd.RMSprop(weight_decay=1e39),
    ],
)  # fmt: skip
def test_a_number_that_torch_refuses_is_an_error_in_words(optimizer):
    X, y = np.float32(X_TUTORIAL), np.float32(Y_TUTORIAL)
    with pytest.raises(ValueError, match=rf"torch.optim.{type(optimizer).__name__} cannot make a step: .* is beyond float32") as caught:
        fastgd.fit(X, y, optimizer=optimizer, epochs=3, backend="torch")
    message(caught)
    assert fastgd.fit(X, y, optimizer=optimizer, epochs=3, backend="numpy").status in (0, 2)
    assert fastgd.fit(np.float64(X), np.float64(y), optimizer=optimizer, epochs=3, backend="torch").status == 0


def test_a_division_by_zero_in_torch_is_an_error_in_words():
    X, y = np.float64(X_TUTORIAL), np.float64(Y_TUTORIAL)
    optimizer = fastgd.NAdam(betas=(np.nextafter(1.0, 0.0), 0.999), momentum_decay=1e6)  # the product of the first is 1 in float32
    with pytest.raises(ValueError, match=r"torch\.optim\.NAdam cannot make a step: it divides Python numbers there") as caught:
        fastgd.fit(X, y, optimizer=optimizer, epochs=3, backend="torch")
    message(caught)
    assert fastgd.fit(X, y, optimizer=optimizer, epochs=3, backend="numpy").epochs == 3
