"""Correct gradient descents as people write them and hand them over: none may be called wrong.

1. `NUMPY`, and the tables of correct_library_programs.py, map a name to a function of (case, rng),
   which returns what is handed to `fastgd.verify`, and the options beside it.
2. Nothing of fastgd is in the arithmetic. Data and start are in the case's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastgd
from tests.support.planted_cases import Case, Rng
from tests.support.planted_descents import correct


class Handed(NamedTuple):
    """What is handed over."""

    candidate: Any
    asked: dict[str, Any] = {}  # noqa: RUF012  of verify, beside the case's own
    X: Any = None  # in place of the case's
    y: Any = None


Program = Callable[[Case, Rng], Handed]


def numbers(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y and the start, in the case's dtype."""
    return case.X.astype(case.dtype), case.y.astype(case.dtype), case.w0.astype(case.dtype)


def gradient(w, X, y, b=0.0):
    """The gradient of w, or of w and of the intercept where w has one entry more than X."""
    d, two = X.shape[1], X.dtype.type(2) / len(y)
    residual = X @ w[:d] + (w[d] if len(w) > d else X.dtype.type(b)) - y
    slope = two * (X.T @ residual)
    return slope if len(w) == d else np.append(slope, two * residual.sum())


def loss(w, X, y, b=0.0):
    d = X.shape[1]
    residual = X @ w[:d] + (w[d] if len(w) > d else X.dtype.type(b)) - y
    return np.mean(residual * residual)


# -- arrays and what loops record ------------------------------------------------------------------


def rows_and_losses(case: Case, rng: Rng) -> Handed:
    planted = correct(case)
    return Handed((planted.w, planted.loss))


def before_each_update(case: Case, rng: Rng) -> Handed:
    planted = correct(case)
    return Handed((list(planted.w[:-1]), list(planted.loss[:-1])), {"epochs": case.epochs} if rng.random() < 0.5 else {})


def after_each_update(case: Case, rng: Rng) -> Handed:
    planted = correct(case)
    losses = planted.loss[:-1] if rng.random() < 0.5 else planted.loss[1:]  # before or after its update
    return Handed((planted.w[1:], losses), {"epochs": case.epochs})


def every_kth_row(case: Case, rng: Rng) -> Handed:
    k = int(rng.choice([2, 3, 5]))
    planted = correct(case)
    return Handed(planted.w[: case.epochs // k * k + 1 : k], {"epochs": case.epochs // k * k})


def recorder(case: Case, rng: Rng) -> Handed:
    planted, record = correct(case), fastgd.Recorder()
    w = planted.w[0].copy()
    for row, value in zip(planted.w, planted.loss, strict=True):
        w[:] = row
        if case.intercept:
            record(w[:-1], w[-1], value)
        else:
            record(w, loss=value)
    return Handed(record)


def list_of_tuples(case: Case, rng: Rng) -> Handed:
    planted = correct(case)
    if case.intercept:
        return Handed([(w[:-1], w[-1], value) for w, value in zip(planted.w, planted.loss, strict=True)])
    return Handed([(w, value) for w, value in zip(planted.w, planted.loss, strict=True)])


def dict_of_lists(case: Case, rng: Rng) -> Handed:
    planted = correct(case)
    found = {"w_history": list(planted.w), "losses": list(planted.loss)}
    if case.intercept:
        found = {"w": [w[:-1] for w in planted.w], "b": [w[-1] for w in planted.w], "loss": list(planted.loss)}
    return Handed(found)


def half_declared(case: Case, rng: Rng) -> Handed:
    """J = 1/(2m) sum of squares, its gradient and its loss."""
    X, y, w = numbers(case)
    rows, losses = [w], []
    for _ in range(case.epochs):
        losses.append(loss(rows[-1], X, y) / 2)
        rows.append(rows[-1] - X.dtype.type(case.lr) * (gradient(rows[-1], X, y) / 2))
    return Handed((rows, losses), {"reduction": "half_mean"})


def sum_declared(case: Case, rng: Rng) -> Handed:
    X, y, w = numbers(case)
    lr = float(f"{case.lr / len(y):.3g}")
    rows = [w]
    for _ in range(case.epochs):
        rows.append(rows[-1] - X.dtype.type(lr) * (gradient(rows[-1], X, y) * len(y)))
    return Handed(rows, {"reduction": "sum", "lr": lr})


# -- functions -------------------------------------------------------------------------------------


def step(case: Case, rng: Rng) -> Handed:
    with_loss = rng.random() < 0.5

    def step(w, X, y, lr):
        after = w - X.dtype.type(lr) * gradient(w, X, y)
        return (after, loss(w, X, y)) if with_loss else after

    return Handed(step, {"epochs": case.epochs})


def gradient_alone(case: Case, rng: Rng) -> Handed:
    def grad(w, X, y):
        return gradient(w, X, y)

    return Handed(grad, {"epochs": case.epochs})


def train(case: Case, rng: Rng) -> Handed:
    late = rng.random() < 0.5

    def train(X, y, lr, epochs, w0):
        w, rows, losses = w0, [] if late else [w0], []
        for _ in range(epochs):
            losses.append(loss(w, X, y))
            w = w - X.dtype.type(lr) * gradient(w, X, y)
            rows.append(w)
        return np.array(rows), np.array(losses)

    return Handed(train, {"epochs": case.epochs})


def course(case: Case, rng: Rng) -> Handed:
    """gradient_descent(X, y, theta, alpha, num_iters), the last theta and J."""

    def gradient_descent(X, y, theta, alpha, num_iters):
        J = []
        for _ in range(num_iters):
            theta = theta - X.dtype.type(alpha) * gradient(theta, X, y)
            J.append(loss(theta, X, y))
        return theta, J

    return Handed(gradient_descent, {"epochs": case.epochs})


def generator(case: Case, rng: Rng) -> Handed:
    def descent(X, y, lr, n_iter, w):
        yield w
        for _ in range(n_iter):
            w = w - X.dtype.type(lr) * gradient(w, X, y)
            yield w

    return Handed(descent, {"epochs": case.epochs})


def last_alone(case: Case, rng: Rng) -> Handed:
    def fit(X, y, weights, learning_rate, iterations):
        for _ in range(iterations):
            weights = weights - X.dtype.type(learning_rate) * gradient(weights, X, y)
        return weights

    return Handed(fit, {"epochs": min(case.epochs, 20)})


def columns(case: Case, rng: Rng) -> Handed:
    """theta (D, 1) beside y (n, 1)."""

    def descend(X, y, theta, alpha, num_iters):
        rows = [theta]
        for _ in range(num_iters):
            theta = theta - X.dtype.type(alpha) * (X.dtype.type(2) / len(y) * (X.T @ (X @ theta - y)))
            rows.append(theta)
        return rows

    X, y, w = numbers(case)
    if case.intercept:  # the ones are handed over
        X = np.column_stack([X, np.ones(len(X), X.dtype)])
    return Handed(descend, {"epochs": case.epochs, "intercept": False, "w0": w[:, None]}, X, y[:, None])


def ones_inside(case: Case, rng: Rng) -> Handed:
    """The function puts the column of ones before X, so theta[0] is the intercept."""
    if not case.intercept:
        return train(case, rng)

    def gradient_descent(X, y, theta, alpha, num_iters):
        X = np.c_[np.ones(len(X), X.dtype), X]
        rows = [theta]
        for _ in range(num_iters):
            theta = theta - X.dtype.type(alpha) * gradient(theta, X, y)
            rows.append(theta)
        return rows

    return Handed(gradient_descent, {"epochs": case.epochs})


def w_and_b(case: Case, rng: Rng) -> Handed:
    if not case.intercept:
        return course(case, rng)

    def fit(X, y, w, b, alpha, epochs):
        rows, biases, losses = [w], [b], []
        for _ in range(epochs):
            residual = X @ w + b - y
            losses.append(np.mean(residual * residual))
            w = w - X.dtype.type(alpha) * (X.dtype.type(2) / len(y) * (X.T @ residual))
            b = b - X.dtype.type(alpha) * (X.dtype.type(2) / len(y) * residual.sum())
            rows.append(w)
            biases.append(b)
        return rows, biases, losses

    return Handed(fit, {"epochs": case.epochs})


class _Descent:
    """A class of a course: fit, coef_ and intercept_, from zeros."""

    def __init__(self, lr=0.01, n_iter=10, intercept=False):
        self.lr, self.n_iter, self.intercept = lr, n_iter, intercept

    def fit(self, X, y):
        w = np.zeros(X.shape[1] + self.intercept, X.dtype)
        for _ in range(self.n_iter):
            w = w - X.dtype.type(self.lr) * gradient(w, X, y)
        self.coef_ = w[: X.shape[1]]
        if self.intercept:
            self.intercept_ = w[-1]
        return self


def class_with_fit(case: Case, rng: Rng) -> Handed:
    return Handed(_Descent(case.lr, min(case.epochs, 20), case.intercept), {"w0": None})


NUMPY: dict[str, Program] = {
    "rows and losses": rows_and_losses,
    "recorded before each update": before_each_update,
    "recorded after each update": after_each_update,
    "every k-th row": every_kth_row,
    "Recorder": recorder,
    "a list of tuples": list_of_tuples,
    "a dict of lists": dict_of_lists,
    "1/m declared": half_declared,
    "the sum declared": sum_declared,
    "step(w, X, y, lr)": step,
    "the gradient": gradient_alone,
    "train(X, y, lr, epochs, w0)": train,
    "gradient_descent(X, y, theta, alpha, num_iters)": course,
    "a generator": generator,
    "the last w": last_alone,
    "columns (n, 1)": columns,
    "ones inside": ones_inside,
    "w and b": w_and_b,
    "a class with fit": class_with_fit,
}


def unusual_cases(rng: Rng) -> tuple[Case, Case]:
    """Shapes that are not drawn otherwise: one sample, and 200,000 in float32."""
    one = Case("n=1", rng.standard_normal((1, 2)), rng.standard_normal(1), np.zeros(2), 0.1, 12, "float64", False)
    X = rng.standard_normal((200_000, 3)) + 2
    y = X @ [1.0, -2.0, 0.5] + rng.standard_normal(200_000)
    return one, Case("n=200,000", X, y, np.zeros(4), 0.02, 8, "float32", True)


def verdict(case: Case, handed: Handed) -> fastgd.Report:
    """What `verify` says, told what the author would say."""
    X, y, w = numbers(case)
    X, y = X if handed.X is None else handed.X, y if handed.y is None else handed.y
    asked = {"lr": case.lr, "intercept": case.intercept, "w0": w, **handed.asked}
    return fastgd.verify(handed.candidate, X, y, **asked)
