"""The difference of X @ w, shape (n,), and y, shape (n, 1), in the forms that people write."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.verification.causes.table import CAUSES

N, LR = 12, 0.05
RNG = np.random.default_rng(20)
X = RNG.standard_normal((N, 3)) + 0.5
TARGET = X @ [1.0, 2.0, -1.0] + RNG.standard_normal(N) + 2.0
COLUMN = TARGET[:, None]  # what a table of one column is: (n, 1)


def averaged_over_targets(X, differences):
    return 2 / N * (differences @ X).mean(axis=0)


def averaged_over_predictions(X, differences):
    return 2 / N * (X.T @ differences).mean(axis=1)


def summed_over_one_axis(X, differences):
    return 2 / N * (differences @ X).sum(axis=0)


def summed(X, differences):
    return 2 * (differences @ X).sum(axis=0)


def descent(gradient, y=COLUMN, lr=LR, loss=lambda differences: (differences**2).mean(), epochs=15):
    w = np.zeros(3)
    rows, losses = [w], []
    for _ in range(epochs):
        residual = X @ w - y  # (n,) - (n, 1) is (n, n)
        assert residual.shape == (N, N)
        losses.append(loss(residual))
        w = w - lr * gradient(X, residual)
        rows.append(w)
    return np.array(rows), np.array(losses)


@pytest.mark.parametrize(
    ("gradient", "lr", "codes", "told"),
    [
        (averaged_over_targets, LR, (), f"the gradient is that of y replaced by its mean, {TARGET.mean():.6g};"),
        (averaged_over_predictions, LR, (), "the gradient is that of X @ w replaced by its mean;"),
        (summed_over_one_axis, LR / N, (), f"by its mean, {TARGET.mean():.6g}, summed over one axis;"),
        (summed, LR / N**2, ("gradient_sum",), f"by its mean, {TARGET.mean():.6g}, summed over all of them;"),
    ],
)
def test_a_column_of_targets_is_named(gradient, lr, codes, told):
    w, losses = descent(gradient, lr=lr)
    diagnosis = fastgd.diagnose(X, TARGET, w, losses, lr=lr)
    assert diagnosis.codes == ("broadcast", *codes, "loss_broadcast")
    assert f"X @ w minus y is {N} x {N}" in diagnosis.sentence
    assert told in diagnosis.sentence
    assert diagnosis.evidence["tau"] <= 8 < diagnosis.evidence["tau_asked"]
    assert fastgd.verify((w, losses), X, TARGET, lr=lr).diagnosis.codes == diagnosis.codes


def test_of_the_sum_of_squares():
    w, _ = descent(summed, lr=LR / N**2)
    diagnosis = fastgd.diagnose(X, TARGET, w, lr=LR / N**2, reduction="sum")
    assert diagnosis.codes == ("broadcast",)


@pytest.mark.parametrize(
    ("loss", "codes", "told"),
    [
        (lambda d: (d**2).mean(), (), "+ y.var()"),
        (lambda d: (d**2).sum() / N, (), f"+ y.var(), times {N}: summed over one axis"),
        (lambda d: (d**2).sum(), ("loss_sum",), f"+ y.var(), times {N} * {N};"),
        (lambda d: (d**2).mean() / 2, ("loss_half",), "+ y.var();"),
    ],
)
def test_the_loss_alone(loss, codes, told):
    """The gradient is right, as of a column of targets made flat."""
    w, losses = [np.zeros(3)], []
    for _ in range(15):
        losses.append(loss(X @ w[-1] - COLUMN))
        w.append(w[-1] - LR * 2 / N * X.T @ (X @ w[-1] - COLUMN.ravel()))
    diagnosis = fastgd.diagnose(X, TARGET, w, losses, lr=LR)
    assert diagnosis.codes == ("loss_broadcast", *codes)
    assert told in diagnosis.sentence


def test_the_line_of_code_mends_it():
    fix = CAUSES["broadcast"].fix
    assert fix == CAUSES["loss_broadcast"].fix
    for y in (COLUMN, TARGET):
        for shape in ((3,), (3, 1)):
            w = np.zeros(shape)
            rows, losses = [w.ravel()], []
            for _ in range(15):
                names = {"X": X, "w": w, "y": y}
                exec(fix, {}, names)
                losses.append(np.mean(names["residual"] ** 2))
                w = w - LR * (2 / N * X.T @ names["residual"]).reshape(shape)
                rows.append(w.ravel())
            assert fastgd.diagnose(X, TARGET, rows, losses, lr=LR).ok


def test_one_feature_as_tutorials_have_it():
    x = np.arange(1.0, 7)
    y = (3 * x + 2)[:, None]
    w, b, rows, losses = 0.0, 0.0, [(0.0, 0.0)], []
    for _ in range(20):
        error = w * x + b - y
        losses.append((error**2).mean())
        w, b = w - 0.02 * 2 * (error * x).mean(), b - 0.02 * 2 * error.mean()
        rows.append((w, b))
    diagnosis = fastgd.diagnose(x, y.ravel(), rows, losses, lr=0.02, intercept=True)
    assert diagnosis.codes == ("broadcast", "loss_broadcast")
    assert diagnosis.fix == CAUSES["broadcast"].fix


def test_equal_targets_show_nothing():
    """With all y equal the mean over the pairs is that over the samples."""
    w, losses = descent(averaged_over_targets, y=np.full((N, 1), 1.5))
    assert fastgd.diagnose(X, np.full(N, 1.5), w, losses, lr=LR).ok


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_standardised_features_do_not_move(intercept, centred):
    """The commonest course program: what is left of their gradient is rounding alone."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(50, 2))
    X = (X - X.mean(0)) / X.std(0)
    y = X @ [1.0, 2.0] + 4 + rng.normal(size=50)
    y = y - y.mean() if centred else y
    A = np.column_stack([X, np.ones(50)]) if intercept else X
    w, rows = np.zeros(A.shape[1]), []
    for _ in range(20):
        rows.append(w)
        residuals = (A @ w)[:, None] - y
        w = w - 0.1 * 2 / 50 * (A.T @ residuals).mean(1)
    found = fastgd.diagnose(X, y, np.array(rows), lr=0.1, w0=np.zeros(A.shape[1]), intercept=intercept)
    assert found.code == "broadcast", str(found)
