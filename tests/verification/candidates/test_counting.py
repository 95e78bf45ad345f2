"""w at every epoch of code that gives the last one alone."""

from __future__ import annotations

import random

import numpy as np
import pytest

import fastgd
from fastgd.verification.candidates.counting import SameRandom, rows_after


def test_the_same_random_numbers_again(torch):
    same = SameRandom()

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    first = draw()
    assert draw() != first
    same.again()
    assert draw() == first


def test_rows_after_more_and_more_epochs():
    rows, at = rows_after(lambda count: np.full(2, float(count)), range(4), np.zeros(2), [])
    assert rows.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert at.tolist() == [0, 1, 2, 3]


def test_the_start_stands_where_no_epochs_do_not_work():
    notes = []
    rows, _ = rows_after(lambda count: np.full(1, 1 / count), [0, 2, 4], np.array([7.0]), notes)
    assert rows[:, 0].tolist() == [7, 0.5, 0.25]
    assert notes == ["for no epochs it has no w: the start was put there"]
    with pytest.raises(KeyError):
        rows_after(lambda count: {}[count], [1], np.zeros(1), [])


def test_code_that_stops_by_itself():
    notes = []
    rows, at = rows_after(lambda count: np.full(1, float(min(count, 3))), range(9), np.zeros(1), notes)
    assert (rows[:, 0].tolist(), at.tolist()) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert notes == ["it stops by itself: from epoch 3 on its last w is the same"]
    rows, at = rows_after(lambda count: np.full(1, float(min(count, 3))), [0, 2, 4, 6], np.zeros(1), [])
    assert at.tolist() == [0, 2]  # it stopped between 2 and 4
    rows, at = rows_after(lambda count: np.ones(1), range(4), np.zeros(1), [])
    assert len(rows) == 4  # it never moves
    rows, at = rows_after(lambda count: np.full(1, float(count)), range(4), np.zeros(1), [])
    assert len(rows) == 4


def converged(after, dtype):
    """A function and a class that reach a w at which rounding holds them, and go on; losses are
    recorded before or after each update."""

    def descend(X, y, w, lr, epochs):
        losses = []
        for _ in range(epochs):
            new = w - dtype(lr) * (dtype(2) / len(y) * (X.T @ (X @ w - y)))
            losses.append(np.mean((X @ (new if after else w) - y) ** 2))
            w = new
        return w, losses

    class Descent:
        def __init__(self, lr, epochs):
            self.lr, self.epochs = lr, epochs

        def fit(self, X, y):
            self.coef_, self.loss_history = descend(X, y, np.zeros(X.shape[1], X.dtype), self.lr, self.epochs)
            return self

    return descend, Descent


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("after", [False, True])
def test_losses_end_with_the_rows_of_a_descent_that_has_converged(after, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(62, 2)).astype(dtype)
    y = X @ np.array([1, 2], dtype)
    for candidate in converged(after, dtype):
        report = fastgd.verify(candidate, X, y, lr=0.4, epochs=60, w0=None if isinstance(candidate, type) else np.array([5, -5], dtype))
        assert report.outcome == "agrees", str(report)
        assert "it stops by itself" in str(report)
