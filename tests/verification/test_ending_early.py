"""A descent that makes fewer epochs than were asked for: a stop that is met, or a defect."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.verification.gallery.course import HALF, LR, X, Y, agrees, cost, descent, named, step


def test_a_stop_that_is_met_is_no_defect():
    for of_last in (False, True):

        def gradientDescent(X, y, theta, alpha, num_iters, of_last=of_last):
            rows, J = descent(X, y, theta, alpha, num_iters, tol=1e-6)
            return (rows[-1] if of_last else rows), J

        found = agrees(gradientDescent, 1000)
        assert f"at all {found.epochs} epochs judged, of 1,000 asked" in found.headline


class ReturnsInside:
    def __init__(self, alpha=0.1, num_iters=100):
        self.alpha, self.num_iters = alpha, num_iters

    def fit(self, X, y):
        self.theta = np.zeros(X.shape[1])
        for _ in range(self.num_iters):
            self.theta = step(X, y, self.theta, self.alpha)
            return self


def returns_inside(X, y, theta, alpha, num_iters):
    J = []
    for _ in range(num_iters):
        J.append(cost(X, y, theta))
        theta = step(X, y, theta, alpha)
        return theta, J


def returns_the_last_inside(X, y, theta, alpha, num_iters):
    for _ in range(num_iters):
        return step(X, y, theta, alpha)


def stops_at_once(X, y, theta, alpha, num_iters):
    return descent(X, y, theta, alpha, num_iters, tol=np.inf)


@pytest.mark.parametrize("epochs", [4, 100, 300])
@pytest.mark.parametrize("program", [returns_inside, returns_the_last_inside, ReturnsInside, stops_at_once])
def test_a_return_inside_the_loop(program, epochs):
    report = named(program, epochs, "ends_early")
    assert report.outcome == "disagrees"
    assert f"of {epochs} epochs" in str(report)
    assert "a return inside the loop" in str(report) or "a stop that is met too early" in str(report)


def test_an_array_that_ends_early():
    rows = descent(X, Y, np.zeros(3), LR, 100)[0]
    named(rows[:4], 100, "ends_early")
    agrees(rows[:4], 3)
    agrees(rows[:4], None)


def one_less(X, y, theta, alpha, num_iters):
    J, rows = [], [theta]
    for _ in range(1, num_iters):
        J.append(cost(X, y, theta))
        theta = step(X, y, theta, alpha)
        rows.append(theta)
    return rows, J


def test_a_loop_that_counts_too_few():
    assert "it makes 49 of 50 epochs" in str(named(one_less, 50, "ends_early"))
    found = named(lambda X, y, theta, alpha, num_iters: descent(X, y, theta, alpha, num_iters // 2)[0], 400, "ends_early")
    assert "it makes 200 of 400 epochs, and more where 800 are asked for" in str(found)
    found = named(lambda X, y, theta, alpha, num_iters: one_less(X, y, theta, alpha, num_iters)[0][-1], 60, "epochs_without_step")
    assert "the first epoch has no step" in str(found)


class OneLess:
    def __init__(self, alpha=0.1, num_iters=100):
        self.alpha, self.num_iters = alpha, num_iters

    def fit(self, X, y):
        self.theta_history, _ = one_less(X, y, np.zeros(X.shape[1]), self.alpha, self.num_iters)
        self.theta = self.theta_history[-1]
        return self


def test_a_last_theta_that_is_known_shows_that_an_update_is_missing():
    def with_the_last(X, y, theta, alpha, num_iters):
        rows, _ = one_less(X, y, theta, alpha, num_iters)
        return rows[-1], rows

    named(with_the_last, 30, "ends_early")
    named(OneLess, 30, "ends_early")
    rows_alone = agrees(lambda X, y, theta, alpha, num_iters: one_less(X, y, theta, alpha, num_iters)[0], 30)
    assert "w after the last update is not recorded, or was not made" in str(rows_alone)


def test_code_that_cannot_run_for_more_epochs():
    def stops(X, y, theta, alpha, num_iters):
        if num_iters > 1000:
            raise IndexError("rates for 1,000 epochs")
        return descent(X, y, theta, alpha, num_iters, tol=1e-6)

    agrees(stops, 1000)


def test_rows_before_each_update_do_not_end_early():
    agrees(lambda X, y, theta, alpha, num_iters: descent(X, y, theta, alpha, num_iters)[0][:-1], 50)

    def both(X, y, theta, alpha, num_iters):
        rows, J = descent(X, y, theta, alpha, num_iters)
        return rows[:-1], J

    agrees(both, 50)


def begins_anew(X, y, theta, alpha, num_iters):
    J, rows = [], [theta]
    for _ in range(num_iters):
        theta = np.zeros(X.shape[1])
        J.append(cost(X, y, theta))
        theta = step(X, y, theta, alpha)
        rows.append(theta)
    return rows, J


def test_theta_is_set_inside_the_loop():
    assert "loss_includes_penalty" not in str(named(begins_anew, 50, "begins_anew"))
    named(lambda X, y, theta, alpha, num_iters: begins_anew(X, y, theta, alpha, num_iters)[0], 50, "begins_anew")
    last = named(lambda X, y, theta, alpha, num_iters: begins_anew(X, y, theta, alpha, num_iters)[0][-1], 30, "ends_early")
    assert "w that begins anew in every epoch" in str(last)


def test_one_penalty_shows_a_weight_of_anything():
    """A loss that stays the same beside a w that does is no penalty."""
    rows = [np.zeros(3)] + [np.array([20.0, 3.0, 1.0])] * 9
    found = fastgd.diagnose(X, Y, rows, [cost(X, Y, rows[0])] * 10, **HALF)
    assert "loss_includes_penalty" not in found.codes


def test_a_step_that_ends_at_the_minimum_is_no_early_end():
    """One feature, no noise, and the rate that goes there at once: w moves no more."""
    x = np.array([2.0, 2.0])

    def gradient_descent(X, y, w, lr, epochs):
        for _ in range(epochs):
            w = w - lr * 2 / len(y) * X @ (X * w - y)
        return w

    report = fastgd.verify(gradient_descent, x, 4 * x, lr=0.125, epochs=14)
    assert report.ok, str(report)
    for lr in (0.124, 0.11, 0.13):  # in so many epochs that the last one moves nothing
        for epochs in range(2, 60):
            report = fastgd.verify(gradient_descent, x, 4 * x, lr=lr, epochs=epochs)
            assert report.ok, str(report)
