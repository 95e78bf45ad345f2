"""Programs of questions that people asked in public, with what was wrong in them, or was not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastgd
from tests.verification.gallery.showing import LR, ONES, X, Y, agrees, judged, named, x


# stackoverflow.com/questions/7783243: one step for each point
def test_a_step_for_each_point():
    def train(x, y, alpha, epochs):
        theta, rows = np.zeros(2), [np.zeros(2)]
        for _ in range(epochs):
            for one_x, one_y in zip(x, y, strict=True):
                delta = one_y - (theta[0] * one_x + theta[1])
                theta = theta + alpha * 2 * delta * np.array([one_x, 1.0])
            rows.append(theta)
        return rows

    named(judged(train, x, intercept=True), "steps_per_sample")


# datascience.stackexchange.com/questions/40666: diverges at this rate, and is right but for a
# factor 2
def test_a_frame_that_diverges():
    pandas = pytest.importorskip("pandas")

    def train(X, y, alpha, epochs):
        theta = pandas.DataFrame(np.zeros((X.shape[1], 1)), columns=["target"], index=X.columns.values)
        rows = [theta["target"].to_numpy()]
        for _ in range(epochs):
            error = X.dot(theta) - y
            theta = theta - alpha * 2 / len(X) * X.T.dot(error)
            rows.append(theta["target"].to_numpy())
        return rows

    frame = pandas.DataFrame(100 * X, columns=["a", "b"]).assign(theta0=1.0)
    agrees(judged(train, frame, pandas.DataFrame({"target": Y}), lr=0.01))
    half = judged(lambda X, y, alpha, epochs: train(X, y, alpha / 2, epochs), frame, pandas.DataFrame({"target": Y}), lr=0.01)
    named(half, "gradient_missing_two")


# stats.stackexchange.com/questions/432707: slope and intercept change their signs; the rate is too
# large
def test_signs_that_alternate_are_a_rate_that_is_too_large():
    def train(x, y, learning_rate, iterations):
        m_curr = b_curr = 0
        for _ in range(iterations):
            y_predicted = m_curr * x + b_curr
            md, bd = -(2 / len(x)) * sum(x * (y - y_predicted)), -(2 / len(x)) * sum(y - y_predicted)
            m_curr, b_curr = m_curr - learning_rate * md, b_curr - learning_rate * bd
            yield m_curr, b_curr

    points = np.array([20, 43, 63, 26, 53, 31, 58, 46])
    agrees(judged(train, points, 2 * points + 7, lr=0.001, intercept=True))


# the shape of github.com/llSourcell/linear_regression_live: points, b before m, one function for a
# step
def test_a_step_on_points():
    def step_gradient(b_current, m_current, points, learningRate):
        b_gradient = m_gradient = 0.0
        n = float(len(points))
        for px, py in points:
            b_gradient += -(2 / n) * (py - ((m_current * px) + b_current))
            m_gradient += -(2 / n) * px * (py - ((m_current * px) + b_current))
        return [b_current - learningRate * b_gradient, m_current - learningRate * m_gradient]

    agrees(judged(step_gradient, x, intercept=True))


# github.com/pytorch/pytorch/issues/16045: predictions (n, 1), targets (n,)
def test_a_loss_that_broadcasts(torch):
    def train(X, y, lr, epochs):
        w = torch.zeros((X.shape[1], 1), dtype=X.dtype, requires_grad=True)
        rows, losses = [w.detach().clone()], []
        for _ in range(epochs):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of it
                loss = torch.nn.functional.mse_loss(X @ w, y)
            loss.backward()
            losses.append(loss.item())
            with torch.no_grad():
                w -= lr * w.grad
                w.grad.zero_()
            rows.append(w.detach().clone())
        return rows, losses

    report = judged(train, torch.tensor(ONES), torch.tensor(Y))
    named(report, "broadcast")
    assert "loss_broadcast" in report.diagnosis.codes


# stackoverflow.com/questions/48001598: zero_grad() is not called
def test_gradients_that_add_up(torch):
    model = torch.nn.Linear(2, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    data, target = torch.tensor(X), torch.tensor(Y)
    with fastgd.Recorder().watch(optimizer) as record:
        for _ in range(9):
            torch.nn.functional.mse_loss(model(data)[:, 0], target).backward()
            optimizer.step()
    named(fastgd.verify(record, data, target, lr=LR, intercept=True), "zero_grad_missing")


# github.com/pytorch/pytorch/issues/22107 and pull/1083 of its tutorials: the scheduler steps first
def test_a_scheduler_that_steps_first(torch):
    model = torch.nn.Linear(2, 1, bias=False).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    data, target = torch.tensor(X), torch.tensor(Y)
    with fastgd.Recorder().watch(optimizer) as record, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of it
        for _ in range(9):
            scheduler.step()
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(data)[:, 0], target).backward()
            optimizer.step()
    named(fastgd.verify(record, data, target, lr=LR, schedule=fastgd.schedules.ExponentialLR(0.8)), "schedule_early")


# github.com/fastai/fastbook/issues/174: an exponential average, or not
def test_a_momentum_that_averages():
    def train(X, y, w, lr, epochs):
        average, rows = np.zeros(3), [w]
        for _ in range(epochs):
            average = 0.9 * average + (1 - 0.9) * 2 / len(y) * X.T @ (X @ rows[-1] - y)
            rows.append(rows[-1] - lr * average)
        return rows

    named(judged(train), "dampening", "momentum")
    named(judged(train, optimizer=fastgd.SGD(momentum=0.9)), "dampening", "lr_scaled")  # the same thing


# github.com/fchollet/deep-learning-with-python-notebooks/issues/19, 289: the velocity grows up the
# gradient
def test_a_velocity_with_the_wrong_sign():
    def train(X, y, w, learning_rate, epochs):
        velocity, rows = np.zeros(3), [w]
        for _ in range(epochs):
            gradient = 2 / len(y) * X.T @ (X @ rows[-1] - y)
            velocity = velocity * 0.5 + learning_rate * gradient
            rows.append(rows[-1] + 0.5 * velocity - learning_rate * gradient)
        return rows

    named(judged(train, optimizer=fastgd.SGD(momentum=0.5)))


# github.com/pytorch/pytorch/pull/22628: eps is added before the correction
@pytest.mark.parametrize("right", [True, False])
def test_an_adam_whose_eps_is_scaled(right):
    def train(X, y, w, lr, epochs):
        m, v, rows = np.zeros(3), np.zeros(3), [w]
        for t in range(1, epochs + 1):
            g = 2 / len(y) * X.T @ (X @ rows[-1] - y)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            if right:
                step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-3)
            else:
                step = m / (1 - 0.9**t) * np.sqrt(1 - 0.999**t) / (np.sqrt(v) + 1e-3)
            rows.append(rows[-1] - lr * step)
        return rows

    report = judged(train, optimizer=fastgd.Adam(eps=1e-3))
    if right:
        agrees(report)
    else:
        named(report, "adam_eps_before_correction")


# github.com/eriklindernoren/ML-From-Scratch/issues/35: the correction is 1 - beta, not 1 - beta**t
def test_an_adam_whose_correction_does_not_change():
    def train(X, y, w, lr, epochs):
        m, v, rows = np.zeros(3), np.zeros(3), [w]
        for _ in range(epochs):
            g = 2 / len(y) * X.T @ (X @ rows[-1] - y)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            rows.append(rows[-1] - lr * (m / (1 - 0.9)) / (np.sqrt(v / (1 - 0.999)) + 1e-8))
        return rows

    named(judged(train, optimizer="adam"), "adam_count", "unknown")


# no report of its own: w is made like a row of integers
def test_a_w_of_whole_numbers():
    whole = np.array([[1, 3], [1, 5], [1, 8], [1, 9]])

    def train(X, y, lr, epochs):
        w = np.zeros_like(X[0])
        rows = [w.copy()]
        for _ in range(epochs):
            w[:] = w - lr * 2 / len(y) * X.T @ (X @ w - y)
            rows.append(w.copy())
        return rows

    named(judged(train, whole, np.array([7, 11, 17, 19]), lr=0.01), "data_dtype")


# no report of its own: X is standardised inside of fit
def test_features_that_are_standardised_inside():
    class Model:
        def __init__(self, lr=LR, epochs=9):
            self.lr, self.epochs = lr, epochs

        def fit(self, X, y):
            X = (X - X.mean(0)) / X.std(0)
            self.w, self.b = np.zeros(X.shape[1]), 0.0
            for _ in range(self.epochs):
                error = X @ self.w + self.b - y
                self.w = self.w - self.lr * 2 / len(y) * X.T @ error
                self.b = self.b - self.lr * 2 * error.mean()

    named(judged(Model(), X * [1.0, 4.0] + 2, intercept=True, lr=None, epochs=None), "features_scaled")


# no report of its own: a slice that loses a row: X[:-1] beside y[:-1]
def test_a_row_that_is_lost():
    def step(w, X, y, lr):
        return w - lr * 2 / len(y[:-1]) * X[:-1].T @ (X[:-1] @ w - y[:-1])

    named(judged(step), "rows_dropped")


# no report of its own: the data are shuffled in place, X alone
def test_data_that_are_shuffled_in_place():
    def train(X, y, w, lr, epochs):
        rows = [w]
        rng = np.random.default_rng(1)
        for _ in range(epochs):
            rng.shuffle(X)
            rows.append(rows[-1] - lr * 2 / len(y) * X.T @ (X @ rows[-1] - y))
        return rows

    named(judged(train), "inputs_modified")
