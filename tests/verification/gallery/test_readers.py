"""Defects that readers planted in programs of their own form, without the documentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastgd
from tests.verification.gallery.showing import EPOCHS, LR, ONES, X, Y, judged, named

HALF = {"reduction": "half_mean"}


def course(gradient, loss=None):
    """A function of a course: X has the ones, theta and y are columns, J is 1/(2m)."""

    def gradientDescent(X, y, theta, alpha, num_iters):
        rows, J = [theta], []
        for _ in range(num_iters):
            residual = X @ theta - y
            J.append(np.mean(residual**2) / 2 if loss is None else loss(residual))
            theta = theta - alpha * gradient(X, residual, theta)
            rows.append(theta)
        return rows, J

    return judged(gradientDescent, ONES, Y[:, None], **HALF)


def right(X, residual, theta):
    return X.T @ residual / len(X)


COURSE = {
    "np.sum without axis": (lambda X, r, theta: np.sum(r * X) / len(X) + 0 * theta, "gradient_without_axis"),
    "the size of the error": (lambda X, r, theta: X.T @ np.abs(r) / len(X), "residual_function"),
    "the sign of the error": (lambda X, r, theta: X.T @ np.sign(r) / len(X), "gradient_absolute_loss"),
    "the root of the loss": (lambda X, r, theta: right(X, r, theta) / np.sqrt(np.mean(r**2)), "gradient_rmse"),
    "theta[0] left out": (lambda X, r, theta: right(X, r - X[:, :1] * theta[0], theta), "residual_without_intercept"),
    "lambda on all but theta[0]": (lambda X, r, theta: right(X, r, theta) + 0.5 / 14 * theta * [[0], [1], [1]], "weight_decay_coupled"),
}


@pytest.mark.parametrize("defect", COURSE)
def test_gradients_of_a_course(defect):
    gradient, code = COURSE[defect]
    found = course(gradient).diagnosis
    assert found.codes == (code,), str(found)


LOSSES = {
    "1/m twice": (lambda r: np.mean(r**2) / len(r), "loss_scaled", f"is {1 / 14:.6g} times the mean of the squares, which is 1 / n"),
    "of the n - 2": (lambda r: np.sum(r**2) / (len(r) - 2), "loss_scaled", "which is n / (n - 2)"),
    "1 - R squared": (lambda r: np.mean(r**2) / np.var(Y), "loss_scaled", "which is 1 / y.var()"),
    "the square of the sum": (lambda r: np.sum(r) ** 2 / (2 * len(r)), "loss_of_residuals", "n / 2 times the square of the mean"),
    "not squared": (lambda r: np.mean(r), "loss_of_residuals", "the loss is the mean of the residuals"),
    "the median": (lambda r: np.median(r**2), "loss_of_residuals", "the median of the squares"),
}


@pytest.mark.parametrize("defect", LOSSES)
def test_losses_of_a_course(defect):
    loss, code, told = LOSSES[defect]
    report = course(right, loss)
    assert report.diagnosis.codes == (code,), str(report)
    assert told in report.diagnosis.sentence
    assert "read as half" not in str(report)


def trained(loss_fn=torch.nn.functional.mse_loss, every=1, change=None, activation=None, epochs=EPOCHS):
    """Rows and losses of a torch loop."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    data, target = torch.tensor(X), torch.tensor(Y)[:, None]
    rows, losses = [], []
    for epoch in range(epochs + 1):
        rows.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        output = model(data)
        loss = loss_fn(output if activation is None else activation(output), target)
        losses.append(loss.item())
        loss.backward()
        if change is not None:
            change(model.parameters())
        if epoch % every == every - 1:
            optimizer.step()
            optimizer.zero_grad()
    return judged((rows, losses), X, Y, intercept=True, epochs=None)


def test_a_torch_loop():
    assert trained().ok
    assert trained(torch.nn.functional.smooth_l1_loss).diagnosis.codes == ("residual_function",)
    assert trained(torch.nn.functional.huber_loss).diagnosis.codes == ("residual_function",)
    clipped = trained(change=lambda parameters: torch.nn.utils.clip_grad_norm_(list(parameters), 1.0))
    assert clipped.diagnosis.codes == ("gradient_clipped",), str(clipped)
    assert clipped.diagnosis.evidence["value"] == 1
    added = trained(every=3)
    assert added.diagnosis.codes == ("epochs_without_step",), str(added)
    assert "every 3rd epoch has the gradients of 3 epochs" in added.diagnosis.sentence
    for activation in (torch.nn.functional.softplus, torch.nn.functional.elu):
        report = trained(activation=activation)
        assert report.diagnosis.codes == ("activation",), str(report)


def test_rows_that_stay_as_they_are():
    w, rows = np.zeros(3), [np.zeros(3)]
    for epoch in range(20):
        w = w - LR * 2 * right(ONES, ONES @ w - Y, w) * (epoch < 12)
        rows.append(w)
    report = judged(rows, epochs=None)
    assert report.diagnosis.codes == ("epochs_without_step",), str(report)
    assert "it stays as it is from epoch 13 on" in report.diagnosis.sentence


def test_a_relu_that_was_forgotten_beside_an_intercept():
    def step(w, b, X, y, lr, derivative=True):
        prediction = np.maximum(X @ w + b, 0)
        residual = (prediction - y) * ((prediction > 0) if derivative else 1)
        return w - lr * 2 / len(y) * X.T @ residual, b - lr * 2 * residual.mean()

    for derivative in (True, False):
        start = {"w0": [0.5, -0.5, 0.2], "intercept": True}
        named(judged(lambda w, b, X, y, lr, on=derivative: step(w, b, X, y, lr, on), X, **start), "activation")


def test_learning_rates_of_parameters():
    report = judged(lambda w, X, y, lr: w - lr * 2 * right(X, X @ w - y, w) * [1, 0.5, 0.1])
    assert report.diagnosis.codes == ("rates_of_parameters",)
    assert "0.5 for w[1], 0.1 for w[2]" in report.diagnosis.sentence
    assert fastgd.verify(lambda w, X, y, lr: w - lr * 2 * right(X, X @ w - y, w), ONES, Y, lr=LR, epochs=EPOCHS).ok
