"""fastgd.Recorder: what loops and torch optimizers leave in it is judged."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd

RNG = np.random.default_rng(8)
X = RNG.standard_normal((15, 2))
Y = X @ [1.0, -1.0] + 2 + RNG.standard_normal(15)


def loop(record, when, epochs=10, factor=2.0):
    """Plain descent in place, recorded before or after each update."""
    w, b = np.zeros(2), 0.0
    for _ in range(epochs):
        residual = X @ w + b - Y
        if when == "before":
            record(w, b, np.mean(residual**2))
        w -= 0.05 * factor / len(Y) * X.T @ residual
        b -= 0.05 * factor * residual.mean()
        if when == "after":
            record(w, intercept=b)
    if when == "before":
        record(w, intercept=b)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_loop(when):
    record = fastgd.Recorder()
    loop(record, when)
    report = fastgd.verify(record, X, Y, lr=0.05, epochs=10, intercept=True)
    assert report.outcome == "agrees", str(report)
    assert report.verdicts[0].epochs_judged == 10
    assert (report.tau_loss < 1) == (when == "before")
    assert repr(record) == f"Recorder({10 + (when == 'before')} rows)"
    wrong = fastgd.Recorder()
    loop(wrong, when, factor=1.0)
    assert fastgd.verify(wrong, X, Y, lr=0.05, epochs=10, intercept=True).diagnosis.code == "gradient_missing_two"


def test_its_arrays_are_what_diagnose_takes():
    record = fastgd.Recorder()
    loop(record, "before", factor=1.0)
    w, loss = record.arrays(intercept=True)
    assert (w.shape, loss.shape) == ((11, 3), (10,))
    assert fastgd.diagnose(X, Y, w, loss, lr=0.05, intercept=True).code == "gradient_missing_two"


def test_without_an_intercept_a_second_number_is_the_loss():
    record = fastgd.Recorder()
    w = np.zeros((2, 1))
    for _ in range(6):
        residual = X @ w - Y[:, None]
        record(w, np.mean(residual**2))
        w -= 0.05 * 2 / len(Y) * X.T @ residual
    report = fastgd.verify(record, X, Y, lr=0.05)
    assert report.outcome == "agrees", str(report)
    assert report.tau_loss < 1


@pytest.mark.parametrize("bias", [True, False])
def test_a_torch_optimizer(torch, bias):
    model = torch.nn.Linear(2, 1, bias=bias)
    data, target = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with fastgd.Recorder().watch(optimizer) as record:
        for _ in range(8):
            loss = torch.nn.functional.mse_loss(model(data)[:, 0], target)
            optimizer.zero_grad()
            loss.backward()
            record(loss=loss)
            optimizer.step()
    optimizer.step()  # is not recorded
    report = fastgd.verify(record, data, target, lr=0.05, intercept=bias, optimizer=fastgd.SGD(momentum=0.9))
    assert report.outcome == "agrees", str(report)
    assert (report.verdicts[0].epochs_judged, report.question["dtype"]) == (8, "float32")
    assert report.tau_loss < 1
    assert fastgd.verify(record, data, target, lr=0.05, intercept=bias).diagnosis.code == "momentum"


def test_a_torch_loop_by_hand(torch):
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])
    w = torch.zeros((), requires_grad=True)
    record = fastgd.Recorder()
    for _ in range(5):
        loss = ((w * x - y) ** 2).mean()
        record(w, loss)
        loss.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
        w.grad.zero_()
    assert fastgd.verify(record, x, y, lr=0.1).outcome == "agrees"


def test_what_cannot_be_recorded_is_told(torch):
    record = fastgd.Recorder()
    with pytest.raises(ValueError, match="a Recorder needs w"):
        record(loss=1.0)
    with pytest.raises(ValueError, match="the Recorder has no rows"):
        fastgd.verify(record, X, Y, lr=0.1)
    with pytest.raises(TypeError, match="w must be an array of real numbers"):
        record("w")
    with pytest.raises(ValueError, match="must be one number"):
        record(np.zeros(2), loss=[1.0, 2.0])
    record(np.zeros(2), 1.0, 2.0)
    with pytest.raises(ValueError, match="give intercept=True"):
        fastgd.verify(record, X, Y, lr=0.1)
    with pytest.raises(ValueError, match="a Recorder holds one fit"):
        fastgd.verify(record, np.stack([X, X]), np.stack([Y, Y]), lr=0.1, intercept=True)
    with pytest.raises(ValueError, match="w has 3 numbers, and in the rows before 2"):
        record(np.zeros(3), 1.0, 2.0)
    with pytest.raises(ValueError, match="has 2 weights and an intercept, X has 1 feature"):
        fastgd.verify(record, X[:, :1], Y, lr=0.1, intercept=True)
    with pytest.raises(TypeError, match="watches an optimizer of torch, not None"), record.watch(None):
        pass
    deep = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    with pytest.raises(ValueError, match="watches a weight"), record.watch(torch.optim.SGD(deep.parameters(), lr=0.1)):
        pass
