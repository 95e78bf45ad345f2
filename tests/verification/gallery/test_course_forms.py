"""What students of a course handed over, in its own forms: X with the ones, theta, alpha, J.

Correct programs that were called wrong, and defects that were said to agree.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.verification.gallery.course import FEATURES, HALF, LR, N, X, Y, agrees, cost, descent, named, step


@pytest.mark.parametrize("epochs", [40, 101, 400])
@pytest.mark.parametrize("after", [False, True])
def test_the_last_theta_and_all_costs(epochs, after):
    """Costs before each update, or after it: also where there are too many epochs to run each."""

    def gradientDescent(X, y, theta, alpha, num_iters):
        rows, J = descent(X, y, theta, alpha, num_iters, after=after)
        return rows[-1], J

    def with_a_factor(X, y, theta, alpha, num_iters):
        last, J = gradientDescent(X, y, theta, alpha, num_iters)
        return last, 1.001 * np.array(J)

    found = agrees(gradientDescent, epochs)
    assert np.isfinite(found.loss_share[1:-1]).all()
    assert not fastgd.verify(with_a_factor, X, Y, epochs=epochs, **HALF).ok


@pytest.mark.parametrize("epochs", [2, 3, 4, 10, 300])
def test_costs_before_theta(epochs):
    """As many costs as parameters at some number of epochs are no theta."""

    def gradientDescent(X, y, theta, alpha, num_iters):
        rows, J = descent(X, y, theta, alpha, num_iters)
        return J, rows[-1]

    agrees(gradientDescent, epochs)


def test_a_cost_now_and_then():
    """The costs are of no rows: w is judged, and that they are not is told."""

    def every_row(X, y, theta, alpha, num_iters):
        rows, J = descent(X, y, theta, alpha, num_iters)
        return rows, J[::100]

    def last_row(X, y, theta, alpha, num_iters):
        rows, J = descent(X, y, theta, alpha, num_iters)
        return rows[-1], J[::100]

    for program in (every_row, last_row):
        assert "the losses are not judged" in agrees(program, 500).headline
    rows, J = descent(X, Y, np.zeros(3), LR, 500)
    with pytest.raises(ValueError, match="leave the losses out to have w judged alone"):
        fastgd.verify((rows, J[::100]), X, Y, **HALF)


def test_rows_some_epochs_apart_without_a_number_of_epochs():
    rows = descent(X, Y, np.zeros(3), LR, 500)[0]
    found = agrees(np.array(rows)[::100], None)
    assert (found.epochs, found.epochs_judged) == (500, 500)
    assert "rows of w are read as 100 epochs apart" in str(found)
    assert not fastgd.verify(np.array(rows)[::100] * (1 + 1e-9), X, Y, **HALF).ok


def test_columns_for_epochs_and_costs_in_a_column():
    rows, J = descent(X, Y, np.zeros(3), LR, 20)
    agrees((np.array(rows).T, np.array(J)[:, None]), None)


# -- the penalty of a course


def with_penalty(X, y, theta, alpha, num_iters, lambda_=10.0):
    """lambda / (2m) on all but theta[0]."""
    m, rows, J = len(y), [theta], []
    for _ in range(num_iters):
        J.append(cost(X, y, theta) + lambda_ / (2 * m) * np.sum(theta[1:] ** 2))
        gradient = X.T @ (X @ theta - y) / m
        gradient[1:] += lambda_ / m * theta[1:]
        theta = theta - alpha * gradient
        rows.append(theta)
    return rows, J


def test_the_column_of_ones_has_no_penalty():
    fixed = lambda X, y, theta, alpha, num_iters: with_penalty(X, y, theta, alpha, num_iters)  # noqa: E731
    found = agrees(fixed, 60, ridge=10 / (2 * N))
    assert "w[0] belongs to the column of ones" in str(found)

    def on_all(X, y, theta, alpha, num_iters):
        rows = [theta]
        for _ in range(num_iters):
            theta = step(X, y, theta, alpha) - alpha * 10 / len(y) * theta
            rows.append(theta)
        return rows

    agrees(on_all, 60, ridge=10 / (2 * N))  # as it stands, all of w has the penalty
    named(fixed, 60, "ridge_divided_by_n", "loss_includes_penalty", ridge=10 / 2)


def test_lambda_of_the_course_and_its_default():
    assert "lambda_ kept the value that it has by default" in str(agrees(with_penalty, 60, ridge=10 / (2 * N)))
    found = agrees(with_penalty, 60, ridge=0.25)
    assert f"lambda_ was given {0.5 * N:g}: lambda_ / (2 * n) is the ridge" in str(found)
    needed = lambda X, y, theta, alpha, num_iters, lam: with_penalty(X, y, theta, alpha, num_iters, lam)  # noqa: E731
    assert f"lam was given {0.5 * N:g}" in str(agrees(needed, 60, ridge=0.25))
    assert not fastgd.verify(with_penalty, X, Y, epochs=60, lr=LR, ridge=0.25).ok  # without half_mean it is another loss


# -- words


def test_a_parameter_that_is_never_updated_comes_before_other_data():
    def all_but_the_first(X, y, theta, alpha, num_iters):
        rows = [theta]
        for _ in range(num_iters):
            new = step(X, y, theta, alpha)
            theta = np.append(theta[0], new[1:])
            rows.append(theta)
        return rows

    centred = FEATURES - FEATURES.mean(0)
    data = np.column_stack([np.ones(N), centred])
    found = fastgd.verify(all_but_the_first, data, Y, epochs=30, **HALF).diagnosis
    assert found.code == "parameter_not_updated", str(found)


def test_losses_are_told_as_they_were_recorded():
    """Half of the squares: neither number is doubled."""
    rows, J = descent(X, Y, np.zeros(3), LR, 20)
    J[5] *= 1.01
    report = fastgd.verify((rows, J), X, Y, **HALF)
    assert report.first.found == pytest.approx(J[5])
    assert report.first.expected == pytest.approx(J[5] / 1.01)
    assert "evidence: tau_loss = " in str(report)


# -- what a record shows


def test_a_record_with_few_digits():
    """A file with "%.6f": w was not cut off, and each row is rounded to the nearest."""
    rows = np.array(descent(X, Y, np.zeros(3), LR, 40)[0])
    found = fastgd.verify(np.round(rows, 6), X, Y, **HALF).diagnosis
    assert found.code == "w_rounded"
    assert "cut off" not in found.sentence
    cut = [np.zeros(3)]
    for _ in range(40):
        cut.append(np.trunc(step(X, Y, cut[-1], LR) * 1e6) / 1e6)
    assert "cut off to 6 decimals" in fastgd.verify(cut, X, Y, **HALF).diagnosis.sentence


def test_a_factor_next_to_one_has_its_digits():
    rate = float(np.float32(0.05))
    found = fastgd.verify(lambda w, X, y, lr: step(X, y, w, rate), X, Y, lr=0.05, epochs=10, reduction="half_mean").diagnosis
    assert found.code == "lr_scaled"
    assert "every step is 1.00000001" in found.sentence
    assert "were 0.0500000007" in found.sentence


def test_two_constants_do_not_explain_float16():
    x = np.linspace(0.5, 3, 30)[:6]
    y = np.array([0.19250921214191552, 0.47146591905841295, 0.6457054745774323, 0.865043441695466, 1.0280842365752334, 1.4251107870315503])
    found = fastgd.verify([0.0, 0.06097412109375, 0.11871337890625, 0.17333984375, 0.22509765625], x, y, lr=0.05).diagnosis
    assert found.code == "unknown"
    assert "every w is a number of float16" in found.sentence


def test_rows_that_are_one_dict():
    p, rows = {"w": np.zeros(2), "b": 0.0}, []
    for _ in range(10):
        rows.append(p)
        residual = FEATURES @ p["w"] + p["b"] - Y
        p["w"] = p["w"] - LR * FEATURES.T @ residual / N
        p["b"] -= LR * residual.mean()
    assert fastgd.verify(rows, FEATURES, Y, intercept=True, **HALF).diagnosis.code == "rows_are_one_array"


def rows_of(epochs):
    return np.array(descent(X, Y, np.zeros(3), LR, epochs)[0])


def test_a_generator_that_was_called_and_numbered_columns():
    agrees((row for row in rows_of(20)), None)
    pandas = pytest.importorskip("pandas")
    rows = rows_of(20)
    table = pandas.DataFrame({"epoch": range(21), "w0": rows[:, 0], "w1": rows[:, 1], "w2": rows[:, 2]})
    agrees(table, None)
    agrees(np.column_stack([np.arange(21), rows]), None)  # as read from a file with an index


class RowsOfThetaAlone:
    """Its history leaves the intercept out, so that it is fitted for each number of epochs."""

    def __init__(self, lr=0.1, n_iter=30):
        self.lr, self.n_iter = lr, n_iter

    def fit(self, X, y):
        w, b, rows = np.zeros(X.shape[1]), 0.0, [np.zeros(X.shape[1])]
        for _ in range(self.n_iter):
            residual = X @ w + b - y
            w, b = w - self.lr * X.T @ residual / len(y), b - self.lr * residual.mean()
            rows.append(w)
        self.coef_history_, self.coef_, self.intercept_ = np.array(rows), w, b
        return self


def test_a_history_of_a_part_of_w():
    report = fastgd.verify(RowsOfThetaAlone, FEATURES, Y, epochs=30, intercept=True, **HALF)
    assert report.ok, str(report)


def test_losses_alone_with_few_digits():
    losses = [cost(X, Y, row) for row in rows_of(20)]
    assert fastgd.verify((None, np.round(losses, 4)), X, Y, **HALF).diagnosis.code == "loss_rounded"
    twice = [cost(X, Y, row) for row in descent(X, Y, np.zeros(3), 2 * LR, 20)[0]]
    assert "lr_scaled" in fastgd.verify((None, np.array(twice)), X, Y, **HALF).diagnosis.also_possible


def test_a_w_that_never_moves():
    """Not rounded to whole numbers, nor an activation: but where w is an array of int."""
    for rows, x, y in ((np.zeros(11), [1.0, 2, 3, 4], [2.0, 4, 6, 8]), (np.zeros((9, 3)), X, Y)):
        found = fastgd.verify(rows, x, y, lr=0.01).diagnosis
        assert found.code == "parameter_not_updated", str(found)
        assert not [one for one in found.also_possible if " + " in one]

    def whole(X, y, theta, alpha, num_iters):
        theta, rows = theta.astype(int), [theta.astype(int)]
        for _ in range(num_iters):
            theta = step(X, y, theta, 1e-4 * alpha).astype(int)
            rows.append(theta)
        return rows

    assert fastgd.verify(whole, X, Y, epochs=10, lr=1e-5, reduction="half_mean").diagnosis.code == "w_rounded"


@pytest.mark.parametrize("epochs", [2, 3, 4])
def test_as_many_losses_as_parameters_beside_rows_of_w_and_b(epochs):
    def fit(X, y, w, b, alpha, num_iters):
        rows, biases, losses = [w], [b], []
        for _ in range(num_iters):
            residual = X @ w + b - y
            losses.append(np.mean(residual**2) / 2)
            w, b = w - alpha * X.T @ residual / len(y), b - alpha * residual.mean()
            rows.append(w)
            biases.append(b)
        return rows, biases, losses

    report = fastgd.verify(fit, FEATURES, Y, epochs=epochs, intercept=True, **HALF)
    assert report.ok, str(report)
