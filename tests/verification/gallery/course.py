"""Gradient descent as a course has it, with a column of ones, and what verify says of programs."""

from __future__ import annotations

import numpy as np

import fastgd

RNG = np.random.default_rng(47)
N, LR = 47, 0.1
FEATURES = RNG.standard_normal((N, 2))
X = np.column_stack([np.ones(N), FEATURES])
Y = FEATURES @ [30.0, -12.0] + 200 + RNG.standard_normal(N)
HALF = {"lr": LR, "reduction": "half_mean"}


def cost(X, y, theta):
    return np.sum((X @ theta - y) ** 2) / (2 * len(y))


def step(X, y, theta, alpha):
    return theta - alpha / len(y) * X.T @ (X @ theta - y)


def descent(X, y, theta, alpha, num_iters, *, after=False, tol=None):
    """The rows of theta, and the costs before each update, or after it."""
    J, rows = [], [theta]
    for _ in range(num_iters):
        new = step(X, y, theta, alpha)
        J.append(cost(X, y, new if after else theta))
        theta = new
        rows.append(theta)
        if tol is not None and len(J) > 1 and J[-2] - J[-1] < tol:
            break
    return rows, J


def agrees(program, epochs, **asked):
    report = fastgd.verify(program, X, Y, epochs=epochs, **(HALF | asked))
    assert report.ok, str(report)
    return report.verdicts[0]


def named(program, epochs, *codes, **asked):
    report = fastgd.verify(program, X, Y, epochs=epochs, **(HALF | asked))
    assert not report.ok
    assert report.diagnosis.codes == codes, str(report)
    return report
