"""Habits of recording are no defects: before or after the update, every k-th row, the last one
alone, an early end. A defect is one whatever the habit."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd

EPOCHS = 60


def data(dtype=np.float64, intercept=False):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((30, 3)) * [1.0, 3.0, 0.5]
    return X.astype(dtype), (X @ [1.0, -2.0, 3.0] + 5.0 * intercept + rng.standard_normal(30)).astype(dtype)


def run(X, y, *, lr=0.05, factor=1.0, intercept=False, w0=None, seen=EPOCHS):
    """Rows and losses of every epoch, the start first; `factor` is that of a wrong gradient."""
    kind = X.dtype.type
    A = np.column_stack([X, np.ones_like(y)]) if intercept else X
    rows, losses = [np.zeros(A.shape[1], kind) if w0 is None else np.asarray(w0, kind)], []
    for _ in range(seen + 1):
        residual = A @ rows[-1] - y
        losses.append(np.mean(residual**2))
        rows.append(rows[-1] - kind(lr * factor) * (kind(2 / len(y)) * (A.T @ residual)))
    return np.array(rows[:-1]), np.array(losses)


HABITS = {  # what is recorded of all rows: (rows, losses), and a part of the note
    "before each update": (lambda w, loss: (w[:-1], loss[:-1]), "w before each update"),
    "after each update": (lambda w, loss: (w[1:], loss[:-1]), "w after each update"),
    "after, with its loss": (lambda w, loss: (w[1:], loss[1:]), "each loss is that of the w recorded with it"),
    "loss after the update": (lambda w, loss: (w, loss[1:]), "each loss is that of the w after its update"),
    "every 10th": (lambda w, loss: (w[::10], loss[::10]), "every 10th row"),
    "every 10th before": (lambda w, loss: (w[:-1:10], loss[:-1:10]), "every 10th row"),
    "every 10th after": (lambda w, loss: (w[10::10], loss[10::10]), "the start was put before it"),
    "every 7th and the last": (lambda w, loss: (w[[*range(0, 60, 7), 60]], None), "every 7th row and the last one"),
    "every 5th, all losses": (lambda w, loss: (w[::5], loss), "those of the rows of w are judged"),
    "every 5th, losses before": (lambda w, loss: (w[::5], loss[:-1]), "those of the rows of w are judged"),
    "after the 1st, 11th, ...": (lambda w, loss: (w[1::10], loss[1::10]), "w in epochs 1, 11, 21"),
    "the end": (lambda w, loss: (w[-1:], loss[-1:]), "judged 60 steps at once"),
    "an early end": (lambda w, loss: (w[:23], loss[:23]), "epochs 0 to 22, where it ended"),
    "an early end, before": (lambda w, loss: (w[:23], loss[:22]), "epochs 0 to 22, where it ended"),
    "an early end, after": (lambda w, loss: (w[1:23], loss[1:23]), "until epoch 22, where it ended"),
}


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_is_no_defect(habit, dtype, intercept):
    X, y = data(dtype, intercept)
    taken, told = HABITS[habit]
    start = np.arange(3.0 + intercept)
    w, loss = taken(*run(X, y, intercept=intercept, w0=start))
    for candidate in ((w, loss), lambda X, y, lr, epochs, w0: (w, loss)):
        report = fastgd.verify(candidate, X, y, lr=0.05, epochs=EPOCHS, intercept=intercept, w0=start)
        assert report.outcome == "agrees", str(report)
        assert told in " ".join(report.verdicts[0].notes)


@pytest.mark.share(3)
@pytest.mark.parametrize("habit", HABITS)
def test_a_defect_is_one_whatever_the_habit(habit):
    X, y = data()
    taken, _ = HABITS[habit]
    w, loss = taken(*run(X, y, factor=0.5))
    report = fastgd.verify((w, loss), X, y, lr=0.05, epochs=EPOCHS, w0=np.zeros(3))
    assert report.diagnosis.code == "gradient_missing_two", str(report)
    w, loss = taken(*run(X, y, factor=1 + 1e-9))
    report = fastgd.verify((w, loss), X, y, lr=0.05, epochs=EPOCHS, w0=np.zeros(3))
    assert report.diagnosis.code in ("lr_scaled", "unknown"), str(report)
    w, loss = taken(*run(X, y))
    if loss is not None:
        report = fastgd.verify((w, loss * (1 + 1e-9)), X, y, lr=0.05, epochs=EPOCHS, w0=np.zeros(3))
        assert report.first.quantity == "loss"


def test_without_a_start_the_record_begins_where_it_begins():
    X, y = data()
    w, _ = run(X, y, w0=[3.0, 1.0, 2.0])
    for rows in (w[::10], w[:23], w[:-1]):
        assert fastgd.verify(rows, X, y, lr=0.05, epochs=EPOCHS).ok


def test_a_constant_is_no_cause_where_the_rows_have_several_readings():
    """With one parameter two steps of the right map are one step of another rate."""
    x, y = np.arange(1.0, 5.0), 2 * np.arange(1.0, 5.0)
    w, _ = run(x[:, None], y, lr=0.01, factor=1.01)
    report = fastgd.verify(w[::2], x, y, lr=0.01, epochs=EPOCHS)
    assert report.diagnosis.code == "unknown"
    assert "lr_scaled" in report.diagnosis.also_possible


def test_rules_with_a_state_need_every_row():
    X, y = data()
    w, _ = run(X, y)
    report = fastgd.verify(w[::10], X, y, lr=0.05, epochs=EPOCHS, optimizer="adam")
    assert not report.ok
    assert "where it ended" in " ".join(report.verdicts[0].notes)


def adam(powers, factor=1.0, beta2=0.9999, kind=np.float64):
    """Adam, whose 1 - beta**t is made in float64, or in float32 in two ways."""
    one = np.float32(1)
    makes = {
        "float64": lambda beta, t: 1 - beta**t,
        "of float32": lambda beta, t: one - np.float32(beta) ** np.float32(t),  # optax, TensorFlow
        "rounded": lambda beta, t: one - np.float32(beta**t),
    }

    def train(X, y, lr, epochs, w0):
        w, m, v, rows = w0.astype(kind), np.zeros_like(w0), np.zeros_like(w0), [w0]
        for t in range(1, epochs + 1):
            gradient = kind(2 / len(y)) * (X.T @ (X @ w - y))
            m = kind(0.9) * m + kind(1 - 0.9) * gradient
            v = kind(beta2) * v + kind(1 - beta2) * gradient * gradient
            first, second = (kind(makes[powers](beta, t)) for beta in (0.9, beta2))
            w = w - kind(lr * factor) * (m / first) / (np.sqrt(v / second) + kind(1e-8))
            rows.append(w)
        return rows

    return train


@pytest.mark.share(4)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("powers", ["of float32", "rounded"])
def test_powers_of_beta_in_float32_are_rounding(powers, kind):
    X, y = data(kind)
    asked = {"lr": 0.01, "epochs": 12, "optimizer": fastgd.Adam(betas=(0.9, 0.9999))}
    report = fastgd.verify(adam(powers, kind=kind), X, y, **asked)
    assert report.ok, str(report)
    assert "1 - beta**t is made in float32" in str(report)
    assert not fastgd.verify(adam(powers, factor=1.001, kind=kind), X, y, **asked).ok
    exact = fastgd.verify(adam("float64", kind=kind), X, y, **asked)
    assert exact.ok
    assert "beta" not in " ".join(exact.verdicts[0].notes)
    if kind is np.float64:
        for powers in ("float64", "of float32", "rounded"):
            assert not fastgd.verify(adam(powers, factor=1 + 1e-6), X, y, **asked).ok


def test_an_expanded_square_is_cancellation():
    X, _ = data()
    y = X @ np.array([1.0, -2.0, 3.0])  # no noise: the loss goes to 0

    def step(w, X, y, lr):
        return w - lr * 2 / len(y) * X.T @ (X @ w - y), (w @ X.T @ X @ w - 2 * w @ X.T @ y + y @ y) / len(y)

    report = fastgd.verify(step, X, y, lr=0.05, epochs=150)
    assert report.diagnosis.code == "loss_cancellation"
    assert "the digits of the loss cancel" in report.diagnosis.sentence
    wrong = fastgd.verify(lambda w, X, y, lr: (step(w, X, y, lr)[0], np.mean((X @ w - y) ** 2) * (1 + 1e-10)), X, y, lr=0.05, epochs=5)
    assert wrong.diagnosis.code == "unknown"
    told = wrong.diagnosis.sentence.partition("the loss of epoch")[2]
    assert told.partition(" is ")[2].partition(";")[0] != told.rpartition(" is ")[2]  # enough digits
