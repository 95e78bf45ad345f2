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
