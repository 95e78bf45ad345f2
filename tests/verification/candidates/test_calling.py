"""Functions as people write them: the names of their parameters say what each is, in any order."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

import fastgd

EPOCHS, LR = 9, 0.03
RNG = np.random.default_rng(11)
X = RNG.standard_normal((12, 2))
Y = X @ [1.0, -2.0] + 3.0 + RNG.standard_normal(12)
x = X[:, 0]


def descend(X, y, theta, alpha, count, factor=1.0):
    """Return the rows of theta and the losses."""
    rows, losses = [theta], []
    for _ in range(count):
        error = X @ rows[-1] - y
        losses.append(np.mean(error**2))
        rows.append(rows[-1] - alpha * factor * 2 / len(y) * (X.T @ error))
    return rows, losses


def descend_apart(X, y, w, b, lr, count):
    """Return the rows of w, those of b, and the losses; X (n, d) or (n,)."""
    ws, bs, losses = [w], [b], []
    for _ in range(count):
        error = (X * w if X.ndim == 1 else X @ w) + b - y
        losses.append(np.mean(error**2))
        w, b = w - lr * 2 / len(y) * X.T @ error, b - lr * 2 * error.mean()
        ws.append(w)
        bs.append(b)
    return ws, bs, losses


def course(X, y, theta, alpha, num_iters):
    rows, J = descend(X, y, theta, alpha, num_iters)
    return rows[-1], J


def course_with_m(X_b, y, theta, eta, n_iterations, m):
    assert m == len(y)
    return descend(X_b, y, theta, eta, n_iterations)[0]


def keywords_only(*, labels, features, weights, learning_rate=1.0, n_epochs=1, verbose=False):
    return descend(features, labels, weights, learning_rate, n_epochs)


def by_position_only(eta, X, y, w, iters, /):
    return descend(X, y, w, eta, iters)[0]


def without_w(y, X, *, learningRate=0.5, maxIter=3):
    return descend(X, y, np.zeros(X.shape[1]), learningRate, maxIter)


def least_squares(A, b, x0, step, maxiter):
    return descend(A, b, x0, step, maxiter)


def swiss(y, tx, initial_w, max_iters, gamma):
    rows, losses = descend(tx, y, initial_w, gamma, max_iters)
    return losses, rows


def update(weights, features, targets, lr):
    return descend(features, targets, weights, lr, 1)[0][-1]


def own_step(theta, X, y, alpha=0.5, m=None, tol=1e-3):
    assert (m, tol) == (None, 1e-3)
    return descend(X, y, theta, alpha, 1)[0][-1]


def compute_gradient(X, y, w):
    return 2 / len(y) * X.T @ (X @ w - y)


def unknown_name(X, y, p, lr, n_iters):
    return descend(X, y, p, lr, n_iters)


@pytest.mark.parametrize(
    "candidate",
    [course, course_with_m, keywords_only, by_position_only, without_w, least_squares, swiss, update, own_step, compute_gradient,
     unknown_name],
)  # fmt: skip
def test_names_say_what_a_parameter_is(candidate):
    report = fastgd.verify(candidate, X, Y, lr=LR, epochs=EPOCHS)
    assert report.outcome == "agrees", str(report)
    other = fastgd.verify(candidate, X, Y, lr=LR * 2, epochs=EPOCHS)
    assert other.outcome == "agrees", str(other)  # the rate reaches it
    assert report.verdicts[0].epochs == EPOCHS
    assert candidate not in (course, least_squares) or "its parameters were read by their names: " in str(report)


def test_the_course_is_told_what_was_understood():
    told = str(fastgd.verify(course, X, Y, lr=LR, epochs=EPOCHS))
    assert "theta as w, alpha as lr, num_iters as epochs" in told
    assert "read as" in told  # the last w alone


def runner(points, starting_b, starting_m, learning_rate, num_iterations):
    ws, bs, _ = descend_apart(points[:, 0], points[:, 1], starting_m, starting_b, learning_rate, num_iterations)
    return [bs[-1], ws[-1]]


def step_gradient(b_current, m_current, points, learningRate):
    ws, bs, _ = descend_apart(points[:, 0], points[:, 1], m_current, b_current, learningRate, 1)
    return [bs[-1], ws[-1]]


def slope_first(x, y, m, c, L, epochs):
    ws, bs, losses = descend_apart(x, y, m, c, L, epochs)
    return ws, bs, losses


def thetas(x, y, theta0, theta1, alpha, iterations):
    ws, bs, _ = descend_apart(x, y, theta1, theta0, alpha, iterations)
    return list(zip(bs, ws, strict=True))


def with_history(x, y, w_in, b_in, alpha, num_iters):
    ws, bs, J = descend_apart(x, y, w_in, b_in, alpha, num_iters)
    return ws[-1], bs[-1], J, [[w, b] for w, b in zip(ws, bs, strict=True)]


def by_one(x, y, lr, epochs):
    for w, b in zip(*descend_apart(x, y, 0.0, 0.0, lr, epochs)[:2], strict=True):
        yield {"w": w, "b": b}


def slopes(x, y, w, b):
    error = w * x + b - y
    return 2 * np.mean(error * x), 2 * np.mean(error)


@pytest.mark.parametrize("candidate", [runner, step_gradient, slope_first, thetas, with_history, by_one, slopes])
def test_an_intercept_of_its_own(candidate):
    report = fastgd.verify(candidate, x, Y, lr=LR, epochs=EPOCHS, intercept=True)
    assert report.outcome == "agrees", str(report)
    if candidate in (thetas, with_history, step_gradient, slopes):
        assert report.verdicts[0].epochs_judged == EPOCHS
    with pytest.raises(ValueError, match="intercept=True") if candidate is not by_one else pytest.raises(AssertionError):
        assert fastgd.verify(candidate, x, Y, lr=LR, epochs=EPOCHS).ok


def gradient_b_first(X, y, w, b):
    error = X @ w + b - y
    return 2 * np.mean(error), 2 / len(y) * X.T @ error


def step_b_first(X, y, b, w, lr):
    error = X @ w + b - y
    return b - lr * 2 * error.mean(), w - lr * 2 / len(y) * X.T @ error, np.mean(error**2)


def step_with_loss_first(w, X, y, lr):
    error = X @ w - y
    return np.mean(error**2), w - lr * 2 / len(y) * X.T @ error


def test_sizes_tell_b_from_w_and_a_loss_from_w():
    for candidate in (gradient_b_first, step_b_first):
        assert fastgd.verify(candidate, X, Y, lr=LR, epochs=EPOCHS, intercept=True).outcome == "agrees"
    assert fastgd.verify(step_with_loss_first, X, Y, lr=LR, epochs=EPOCHS).tau_loss < 1


Result = namedtuple("Result", ["cost", "theta"])


@dataclass
class Fitted:
    coef_: object
    intercept_: object
    loss_history: object


class Model:
    def __init__(self, ws, bs, losses):
        self.weights, self.bias, self.costs, self.lr = ws[-1], bs[-1], losses, LR
        self.w_history, self.b_history = ws, bs


NAMED = {
    "dict of the last": lambda ws, bs, losses: {"w": ws[-1], "b": bs[-1], "losses": losses},
    "dict of rows": lambda ws, bs, losses: {"J_history": losses, "b_history": bs, "w_history": ws, "seconds": 3.0},
    "dict in a dict": lambda ws, bs, losses: {"final_loss": 1.0, "history": {"w": ws, "b": bs, "loss": losses}},
    "list of dicts": lambda ws, bs, losses: [
        {"epoch": t, "w": w, "b": b} for t, (w, b) in enumerate(zip(ws, bs, strict=True))
    ],
    "dataclass": lambda ws, bs, losses: Fitted(ws[-1], bs[-1], losses),
    "self": Model,
    "namespace": lambda ws, bs, losses: SimpleNamespace(theta_history=ws, bias_history=bs),
}  # fmt: skip


@pytest.mark.parametrize("form", NAMED)
def test_names_in_what_is_returned(form):
    def train(X, y, lr, epochs):
        return NAMED[form](*descend_apart(X, y, np.zeros(2), 0.0, lr, epochs))

    report = fastgd.verify(train, X, Y, lr=LR, epochs=EPOCHS, intercept=True)
    assert report.outcome == "agrees", str(report)
    assert "read by the names in it" in str(report)


def test_a_named_tuple_without_an_intercept():
    def train(X, y, lr, epochs):
        rows, losses = descend(X, y, np.zeros(2), lr, epochs)
        return Result(losses, rows)

    report = fastgd.verify(train, X, Y, lr=LR, epochs=EPOCHS)
    assert report.outcome == "agrees"
    assert report.tau_loss < 1


def test_columns():
    def needs_columns(X, y, theta, alpha, num_iters):
        assert y.shape == (12, 1)
        theta = theta.reshape(-1, 1)  # (D, 1) or (D,)
        rows = [theta]
        for _ in range(num_iters):
            rows.append(rows[-1] - alpha * 2 / len(y) * X.T @ (X @ rows[-1] - y))
        return np.array(rows)

    def flat(w, X, y, lr):
        return w - lr * 2 / len(y) * X.T @ (X @ w - y[:, 0])

    column = Y[:, None]
    for w0 in (None, np.zeros(2), np.zeros((2, 1))):
        report = fastgd.verify(needs_columns, X, column, lr=LR, epochs=EPOCHS, w0=w0)
        assert report.outcome == "agrees", str(report)
    told = str(fastgd.verify(flat, X, column, lr=LR, epochs=EPOCHS))
    assert "flat: agrees" in told
    assert "w was handed over as (D,)" in told
    broadcasts = fastgd.verify(lambda w, X, y, lr: w - lr * 2 / len(y) * X.T @ (X @ w.ravel() - y).mean(1), X, column, lr=LR, epochs=EPOCHS)
    assert not broadcasts.ok
    assert fastgd.verify(needs_columns, X.tolist(), column.tolist(), lr=LR, epochs=EPOCHS).ok


def test_n_is_how_often_in_a_training_and_how_many_in_a_step():
    def gradient_descent(X, y, w, lr, n):
        assert n == EPOCHS
        return descend(X, y, w, lr, n)

    def step(X, y, w, lr, n):
        assert n == len(y)
        return descend(X, y, w, lr, 1)[0][-1]

    for candidate in (gradient_descent, step):
        assert fastgd.verify(candidate, X, Y, lr=LR, epochs=EPOCHS).outcome == "agrees"


def test_what_cannot_be_told_from_names_is_told():
    def andrew(x, y, w_in, b_in, alpha, num_iters, cost_function, gradient_function):
        raise AssertionError

    with pytest.raises(TypeError, match="what cost_function, gradient_function is cannot be told from the name: give it a default"):
        fastgd.verify(andrew, x, Y, lr=LR, epochs=EPOCHS, intercept=True)


def test_a_training_may_have_its_own_number_of_epochs_and_its_own_rate():
    def train(X, y):
        return descend(X, y, np.zeros(2), LR, 7)

    report = fastgd.verify(train, X, Y, lr=LR)
    assert report.outcome == "agrees"
    assert report.verdicts[0].epochs == 7
    assert "it takes no learning rate" in str(report)
    assert fastgd.verify(train, X, Y, lr=LR * 2).diagnosis.code != "ok"


def test_a_function_of_w_alone_uses_the_data_around_it():
    report = fastgd.verify(lambda w: w - LR * compute_gradient(X, Y, w), X, Y, lr=LR, epochs=EPOCHS)
    assert report.outcome == "agrees"
    assert "it takes no X and y" in str(report)


def test_constants_of_a_rule_are_left_alone():
    """A fresh reader's code: beta=0.9 is no w, and gamma=0.9 no rate where there is another."""

    def averaged(X, y, learning_rate=0.01, beta=0.9, n_iter=5, gamma=0.5, betas=(0.9, 0.999)):
        assert (beta, gamma, betas) == (0.9, 0.5, (0.9, 0.999))
        w, v = np.zeros(2), np.zeros(2)
        for _ in range(n_iter):
            v = beta * v + (1 - beta) * 2 / len(y) * X.T @ (X @ w - y)
            w = w - learning_rate * v
        return w

    report = fastgd.verify(averaged, X, Y, lr=LR, epochs=EPOCHS, optimizer=fastgd.SGD(momentum=0.9))
    assert {"lr_scaled", "dampening"} & {report.diagnosis.code, *report.diagnosis.also_possible}
    assert "run anew for each number of epochs" in str(report)
    assert fastgd.verify(averaged, X, Y, lr=LR, epochs=EPOCHS, optimizer=fastgd.SGD(momentum=0.9, dampening=0.9)).ok is False  # v_0
    right = fastgd.verify(lambda X, y, lr, gamma, epochs: descend(X, y, np.zeros(2), lr, epochs)[0][-1], X, Y, lr=LR, epochs=EPOCHS)
    assert right.outcome == "agrees"


def test_many_epochs_of_a_function_that_returns_the_last_w():
    def train(X, y, theta, alpha, num_iters):
        return descend(X, y, theta, alpha, num_iters)[0][-1]

    report = fastgd.verify(train, X, Y, lr=LR, epochs=150)
    assert report.outcome == "agrees"
    assert report.verdicts[0].epochs_judged == 150
    half = fastgd.verify(lambda X, y, theta, alpha, num_iters: train(X, y, theta, alpha / 2, num_iters), X, Y, lr=LR, epochs=150)
    assert half.diagnosis.code == "gradient_missing_two"
    odd = fastgd.verify(lambda X, y, theta, alpha, n_iters: descend(X, y, theta, alpha, n_iters, 0.9)[0][-1], X, Y, lr=LR, epochs=150)
    assert "lr_scaled" in (odd.diagnosis.code, *odd.diagnosis.also_possible)
    told = str(fastgd.verify(train, X, Y, lr=LR, epochs=150, optimizer=fastgd.SGD(momentum=0.9)))
    assert "the rule keeps a state between them" in told or "first epochs" in told


def test_a_random_start_shows_in_the_runs():
    def train(X, y, learning_rate, epochs):
        w, losses = np.random.rand(2), []  # noqa: NPY002
        for _ in range(epochs):
            losses.append(np.mean((X @ w - y) ** 2))
            w = w - learning_rate * 2 / len(y) * X.T @ (X @ w - y)
        return w, losses

    report = fastgd.verify(train, X, Y, lr=LR, epochs=EPOCHS)
    assert report.outcome == "agrees", str(report)
    assert "not deterministic" in str(report)

    def other(X, y, learning_rate, epochs):
        w = np.random.default_rng().random(2)
        for _ in range(epochs):
            w = w - learning_rate * 2 / len(y) * X.T @ (X @ w - y)
        return w

    told = str(fastgd.verify(other, X, Y, lr=LR, epochs=EPOCHS))
    assert "cannot be judged (it does not agree from zeros, and where it starts is not known: give w0=" in told
    assert "DISAGREES" not in told


def test_the_losses_before_updates_from_a_start_that_is_not_recorded():
    def train(X, y, lr, epochs):
        w, rows, losses = np.array([1.0, 2.0]), [], []
        for _ in range(epochs):
            losses.append(np.mean((X @ w - y) ** 2))
            w = w - lr * 2 / len(y) * X.T @ (X @ w - y)
            rows.append(w)
        return rows, losses

    report = fastgd.verify(train, X, Y, lr=LR, epochs=EPOCHS)
    assert report.outcome == "agrees", str(report)
    assert "from a start that is not known" in str(report)
    assert fastgd.verify(train(X, Y, LR, EPOCHS), X, Y, lr=LR).outcome == "agrees"
    assert fastgd.verify(train, X, Y, lr=LR, epochs=EPOCHS, w0=[1.0, 2.0]).outcome == "agrees"
