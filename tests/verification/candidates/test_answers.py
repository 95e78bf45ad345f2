"""What functions return: every form that can be read is read, and a note says how; everything else
is told in words, not by a traceback of ours."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import fastgd

EPOCHS = 12


def data(intercept=False):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20, 3))
    return X, X @ [1.0, 2.0, 3.0] + 4.0 * intercept + rng.standard_normal(20)


def gradient(w, X, y):
    return 2 / len(y) * X.T @ (X @ w - y)


def run(X, y, lr, epochs, w0):
    rows, losses = [w0], []
    for _ in range(epochs):
        losses.append(np.mean((X @ rows[-1] - y) ** 2))
        rows.append(rows[-1] - lr * gradient(rows[-1], X, y))
    return rows, losses


def generator(X, y, lr, epochs, w0):
    w = w0.copy()
    yield w
    for _ in range(epochs):
        w -= lr * gradient(w, X, y)
        yield w  # one array, changed in place


def pairs(X, y, lr, epochs, w0):
    for w in run(X, y, lr, epochs, w0)[0]:
        yield w, np.mean((X @ w - y) ** 2)


TRAININGS = {
    "rows": lambda *a: run(*a)[0],
    "rows and losses": lambda *a: run(*a),
    "a list of both": lambda *a: list(run(*a)),
    "rows and None": lambda *a: (run(*a)[0], None),
    "a generator": generator,
    "a generator of pairs": pairs,
    "a list of pairs": lambda *a: list(pairs(*a)),
    "the last w": lambda *a: run(*a)[0][-1],
    "the last w and the losses": lambda *a: (run(*a)[0][-1], run(*a)[1]),
    "w, history, losses": lambda *a: (run(*a)[0][-1], *run(*a)),
    "history, losses, w": lambda *a: (*run(*a), run(*a)[0][-1]),
    "columns of w": lambda *a: np.array([w[:, None] for w in run(*a)[0]]),
    "w in columns": lambda *a: np.array(run(*a)[0]).T,
    "losses as a column": lambda *a: (run(*a)[0], np.array(run(*a)[1])[:, None]),
}
STEPS = {
    "w": lambda w, X, y, lr: w - lr * gradient(w, X, y),
    "a list": lambda w, X, y, lr: list(w - lr * gradient(w, X, y)),
    "a column": lambda w, X, y, lr: (w - lr * gradient(w, X, y))[:, None],
    "numbers": lambda w, X, y, lr: tuple(w - lr * gradient(w, X, y)),
    "w, loss": lambda w, X, y, lr: (w - lr * gradient(w, X, y), np.mean((X @ w - y) ** 2)),
    "w, new loss": lambda w, X, y, lr: (w - lr * gradient(w, X, y), np.mean((X @ (w - lr * gradient(w, X, y)) - y) ** 2)),
    "w, gradient": lambda w, X, y, lr: (w - lr * gradient(w, X, y), gradient(w, X, y)),
    "w, gradient, loss": lambda w, X, y, lr: (w - lr * gradient(w, X, y), gradient(w, X, y), np.mean((X @ w - y) ** 2)),
    "w, None": lambda w, X, y, lr: (w - lr * gradient(w, X, y), None),
}


@pytest.mark.parametrize("form", [*TRAININGS, *STEPS])
def test_a_form_is_taken(form):
    X, y = data()
    candidate = {**TRAININGS, **STEPS}[form]
    if form in TRAININGS:
        answer = candidate

        def candidate(X, y, lr, epochs, w0):
            return answer(X, y, lr, epochs, w0)

    report = fastgd.verify(candidate, X, y, lr=0.05, epochs=EPOCHS)
    assert report.outcome == "agrees", str(report)
    assert ("loss" in form or "both" in form or "pairs" in form) == (not np.isnan(report.tau_loss))


def with_intercept(X, y, lr, epochs, w0):
    w, b, ws, bs, losses = w0[:-1], w0[-1], [w0[:-1]], [w0[-1]], []
    for _ in range(epochs):
        residual = X @ w + b - y
        losses.append(np.mean(residual**2))
        w, b = w - lr * 2 / len(y) * X.T @ residual, b - lr * 2 * residual.mean()
        ws.append(w)
        bs.append(b)
    return ws, bs, losses


@pytest.mark.parametrize(
    "form",
    [
        lambda ws, bs, losses: (ws, bs),
        lambda ws, bs, losses: (ws, bs, losses),
        lambda ws, bs, losses: list(zip(ws, bs, strict=True)),
        lambda ws, bs, losses: (ws[-1], bs[-1]),
        lambda ws, bs, losses: (ws[-1], bs[-1], losses),
    ],
)
def test_w_and_b_apart(form):
    X, y = data(intercept=True)

    def train(X, y, lr, epochs, w0):
        return form(*with_intercept(X, y, lr, epochs, w0))

    report = fastgd.verify(train, X, y, lr=0.05, epochs=EPOCHS, intercept=True)
    assert report.outcome == "agrees", str(report)
    parts = form(*with_intercept(X, y, 0.05, EPOCHS, np.zeros(4)))
    arrays = tuple(map(np.array, parts)) if isinstance(parts, tuple) else parts
    if isinstance(arrays, list) or arrays[0].ndim > 1:
        assert fastgd.verify(arrays, X, y, lr=0.05, epochs=EPOCHS, intercept=True).ok

    def step(w, X, y, lr):
        residual = X @ w[:-1] + w[-1] - y
        return w[:-1] - lr * 2 / len(y) * X.T @ residual, w[-1] - lr * 2 * residual.mean()

    assert fastgd.verify(step, X, y, lr=0.05, epochs=EPOCHS, intercept=True).ok


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "it returned None"),
        ("hello", "w must be an array of real numbers"),
        (np.ones(7), "it returned a w of shape (7,)"),
        ((), "an empty tuple"),
        ((None, None), "it returned None"),
        (1j * np.ones(3), "it is complex"),
        ({"new": 1}, "cannot be read"),
        ({"w": 1}, "a w of shape ()"),
        (object(), "cannot be read"),
    ],
)
def test_what_a_step_returns_is_told_in_words(answer, words):
    report = fastgd.verify(lambda w, X, y, lr: answer, *data(), lr=0.05, epochs=EPOCHS)
    assert not report.ok
    assert "cannot be judged in epoch 1" in str(report)
    assert words in str(report)
    assert "Traceback" not in str(report)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "it returned None"),
        ((None, None), "it returned None alone"),
        ({"steps": 1, "seconds": 2}, "it returned a dict with 'steps', 'seconds'"),
        (np.ones((4, 4, 4)), "it returned an array of shape (4, 4, 4)"),
        (np.ones((13, 2)), "it returned an array of shape (13, 2)"),
        (np.ones((99, 3)), "it returned 99 rows of w for 12 epochs; 13 are needed, the start first, or 12 without it"),
        ([], "it returned an array of shape (0,)"),
        ("w", "cannot be read"),
        ([np.ones(3), np.ones(2)], "cannot be read"),
    ],
)
def test_what_a_training_returns_is_told_in_words(answer, words):
    def train(X, y, lr, epochs, w0):
        return answer

    report = fastgd.verify(train, *data(), lr=0.05, epochs=EPOCHS)
    assert not report.ok
    assert words in str(report)
    assert "Traceback" not in str(report)


def test_a_generator_without_an_end_is_not_waited_for():
    def train(X, y, lr, epochs, w0):
        while True:
            yield w0

    assert "14 rows of w for 12 epochs" in str(fastgd.verify(train, *data(), lr=0.05, epochs=EPOCHS))


class ArrayOfJax(np.ndarray):
    """Stands in for an array of JAX, which computes in float32 unless jax_enable_x64 is set."""

    __module__ = "jaxlib"

    def devices(self):
        return [types.SimpleNamespace(platform="cpu")]


def test_a_library_that_works_in_float32_is_judged_so(monkeypatch):
    jax = types.ModuleType("jax")
    jax.core, jax.config = types.SimpleNamespace(Tracer=type("Tracer", (), {})), types.SimpleNamespace(jax_enable_x64=False)
    monkeypatch.setitem(sys.modules, "jax", jax)
    X, y = data()

    def step(w, X, y, lr):
        w, X, y = (np.asarray(part).astype(np.float32) for part in (w, X, y))
        return (w - np.float32(lr) * (np.float32(2 / len(y)) * (X.T @ (X @ w - y)))).view(ArrayOfJax)

    def train(X, y, lr, epochs, w0):
        rows = [w0.astype(np.float32)]
        for _ in range(epochs):
            rows.append(np.asarray(step(rows[-1], X, y, lr)))
        return np.array(rows)  # of NumPy, in float32

    for candidate in (step, train):
        report = fastgd.verify(candidate, X, y, lr=0.05, epochs=EPOCHS)
        assert report.ok, str(report)
        assert "w is an array of jax in float32: judged as float32" in str(report).replace("jaxlib", "jax")
        assert report.question["dtype"] == "float32"
    monkeypatch.delitem(sys.modules, "jax")
    own_choice = fastgd.verify(train, X, y, lr=0.05, epochs=EPOCHS)
    assert "float32_arithmetic" in (own_choice.diagnosis.code, *own_choice.diagnosis.also_possible)
    assert "X.astype" not in own_choice.diagnosis.fix  # X is float64 already
    assert fastgd.verify(train, X, y, lr=0.05, epochs=EPOCHS, dtype="float32").ok


def test_of_one_parameter_rows_and_losses_are_told_apart():
    """Found by 3,230 random programs: losses look like the rows of one parameter."""
    X, y = data()
    x = X[:, :1]
    forms = {
        "last, rows before, losses": lambda rows, losses: (rows[-1], rows[:-1], losses),
        "last, rows, losses": lambda rows, losses: (rows[-1], rows, losses),
        "losses, rows": lambda rows, losses: (losses, rows),
        "rows, losses": lambda rows, losses: (rows, losses),
        "last, losses": lambda rows, losses: (rows[-1], losses),
        "numbers": lambda rows, losses: (rows[-1][0], [row[0] for row in rows[:-1]], losses),
    }
    for name, form in forms.items():
        report = fastgd.verify(lambda X, y, w0, lr, epochs, form=form: form(*run(X, y, lr, epochs, w0)), x, y, lr=0.05, epochs=EPOCHS)
        assert report.outcome == "agrees", f"{name}\n{report}"
        assert report.tau_loss < 1
        assert report.verdicts[0].epochs_judged >= EPOCHS - 1
