"""Candidates that are functions: a step or a training; what is said of one that raises, changes its
inputs or is not deterministic."""

from __future__ import annotations

import os
import threading
import warnings

import numpy as np
import pytest

import fastgd
import fastgd.testing

X4 = np.array([1.0, 2.0, 3.0, 4.0])
ASKED = {"lr": 0.01, "epochs": 20}


def step(w, X, y, lr):
    return w - lr * (2 * X * (w * X - y)).mean()


def tutorial_step(w, X, y, lr):
    return w - lr * np.dot(2 * X, w * X - y).mean()


def train(X, y, lr, epochs, w0):
    """Any number of features, no intercept."""
    design = X.reshape(len(y), -1)
    rows, losses = [np.array(w0)], []
    for _ in range(epochs):
        residual = design @ rows[-1] - y
        losses.append((residual * residual).mean())
        rows.append(rows[-1] - X.dtype.type(lr) * (X.dtype.type(2 / len(y)) * (design.T @ residual)))
    losses.append(((design @ rows[-1] - y) ** 2).mean())
    return np.array(rows), np.array(losses)


def data(n=30, d=3, fits=(), seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((*fits, n, d))
    return X, X @ np.arange(1.0, d + 1) + rng.standard_normal((*fits, n))


def test_a_step_with_a_plain_number():
    assert fastgd.verify(step, X4, 2 * X4, **ASKED).ok
    report = fastgd.verify(tutorial_step, X4, 2 * X4, **ASKED)
    assert not report.ok
    assert (report.first.epoch, report.first.quantity) == (1, "w[0]")
    assert report.diagnosis.code == "gradient_sum"
    assert str(report).splitlines()[0].startswith("tutorial_step: DISAGREES from epoch 1 on: w[0] is ")


def test_a_step_with_its_loss():
    def with_loss(w, X, y, lr):
        residual = X @ w - y
        return w - lr * (2 / len(y) * X.T @ residual), (residual * residual).mean()

    X, y = data()
    report = fastgd.verify(with_loss, X, y, lr=0.1, epochs=10)
    assert report.ok
    assert report.tau_loss < 1
    assert any("loss has 10 values for 11 rows" in note for note in report.verdicts[0].notes)


def test_a_training_in_both_precisions():
    X, y = data()
    for dtype in ("float64", "float32"):
        report = fastgd.verify(train, X, y, lr=0.1, epochs=30, dtype=dtype)
        assert report.ok, str(report)
        assert report.question["dtype"] == dtype


def test_functions_with_other_arguments():
    for function in (lambda q: q, lambda a, b, c, d, e, f: a):
        with pytest.raises(TypeError, match=r"it must be step\(w, X, y, lr\) or train\(X, y, lr, epochs, w0\)"):
            fastgd.verify(function, X4, X4, **ASKED)
    with pytest.raises(fastgd.BackendUnavailable):
        fastgd.verify("cuda", X4, X4, **ASKED)
    with pytest.raises(ValueError, match="backend"):
        fastgd.verify("nonsense", X4, X4, **ASKED)


def test_a_candidate_that_raises():
    X, y = data()

    def breaks(w, X, y, lr):
        if np.abs(w).sum() > 0:
            raise ZeroDivisionError("in my code")
        return w - lr * (2 / len(y) * X.T @ (X @ w - y))

    report = fastgd.verify(breaks, X, y, lr=0.1, epochs=10)
    (verdict,) = report.verdicts
    assert not report.ok
    assert verdict.epochs == verdict.epochs_judged == 1  # what was recorded is right
    assert verdict.first is None
    assert "raised in epoch 2" in str(report)
    assert "ZeroDivisionError: in my code" in verdict.failure
    assert "in breaks" in verdict.failure
    assert "/functions.py" not in verdict.failure

    def train_breaks(X, y, lr, epochs, w0):
        raise KeyError("no")

    report = fastgd.verify(train_breaks, X, y, lr=0.1, epochs=10)
    assert not report.ok
    assert "KeyError" in str(report)
    report = fastgd.verify(lambda w, X, y, lr: np.zeros(7), X, y, lr=0.1, epochs=10)
    assert "cannot reshape" in str(report)


def test_a_candidate_that_modifies_its_inputs():
    X, y = data()
    kept = X.copy(), y.copy()

    def centres(w, X, y, lr):
        y -= y.mean()
        return w - lr * (2 / len(y) * X.T @ (X @ w - y))

    report = fastgd.verify(centres, X, y, lr=0.1, epochs=5)
    assert not report.ok
    assert "centres changes y, in place" in str(report)
    assert np.array_equal(X, kept[0])
    assert np.array_equal(y, kept[1])

    def scales(w, X, y, lr):
        w_next = w - lr * (2 / len(y) * X.T @ (X @ w - y))
        X *= 1.0
        X[0, 0] = 7.0 if np.all(w == 0) and lr == 0 else X[0, 0]
        return w_next

    assert fastgd.verify(scales, X, y, lr=0.1, epochs=5).ok  # the same values are no change
    report = fastgd.verify(scales, X, y, lr=0.0, epochs=1)
    assert report.diagnosis.code == "inputs_modified"

    def in_place(w, X, y, lr):
        w -= lr * (2 / len(y) * X.T @ (X @ w - y))
        return w

    report = fastgd.verify(in_place, X, y, lr=0.1, epochs=5)
    assert report.ok
    assert "in_place changes the w that it is given, in place" in report.verdicts[0].notes


def test_a_candidate_that_is_not_deterministic():
    X, y = data()
    calls = []

    def wanders(w, X, y, lr):
        calls.append(0)
        return w - lr * (2 / len(y) * X.T @ (X @ w - y)) + (1e-9 if len(calls) > 7 else 0)

    report = fastgd.verify(wanders, X, y, lr=0.1, epochs=5)
    assert report.ok  # the first run is
    assert any(
        "a second run gave another w, from epoch 3 on: it keeps something from run to run, or is not deterministic" in note
        for note in report.verdicts[0].notes
    )


class Abandon(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), Abandon("no"), RecursionError(), MemoryError(), StopIteration()])
def test_whatever_a_candidate_raises_is_a_finding(error):
    def raises(*given):
        raise error

    X, y = data()

    class Hostile:
        __array__ = __float__ = __iter__ = __len__ = __getitem__ = raises

        def __eq__(self, other):
            raise error

        __bool__ = __hash__ = __eq__

    def step(w, X, y, lr):
        raises()

    def step_with_hostile_w(w, X, y, lr):
        return Hostile()

    def step_with_hostile_loss(w, X, y, lr):
        return w, Hostile()

    def training(X, y, lr, epochs, w0):
        raises()

    def training_with_hostile_w(X, y, lr, epochs, w0):
        return Hostile()

    def training_with_hostile_loss(X, y, lr, epochs, w0):
        return np.zeros((epochs + 1, len(w0))), Hostile()

    class Model:
        def partial_fit(self, X, y):
            raises()

    class ModelWithHostileW:
        coef_ = Hostile()

        def partial_fit(self, X, y):
            pass

    for candidate in (step, training, step_with_hostile_w, step_with_hostile_loss, training_with_hostile_w, training_with_hostile_loss):
        report = fastgd.verify(candidate, X, y, lr=0.1, epochs=3)
        assert not report.ok
        assert report.verdicts[0].failure.startswith(("raised", "cannot be judged"))
        with pytest.raises(fastgd.testing.Disagreement):
            fastgd.testing.assert_agrees(candidate, X, y, lr=0.1, epochs=3)
    for model in (Model(), ModelWithHostileW()):
        assert "raised in epoch 1" in str(fastgd.verify(model, X, y, lr=0.1, epochs=3))


def test_a_keyboard_interrupt_may_be_the_users():
    def interrupts(w, X, y, lr):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastgd.verify(interrupts, X4, X4, **ASKED)


def test_what_a_function_returns_is_copied():
    X, y = data()
    kept = np.empty((31, 3))

    def train_in_one_buffer(X, y, lr, epochs, w0):
        kept[0] = w0
        for t in range(epochs):
            kept[t + 1] = kept[t] - lr * (2 / len(y) * X.T @ (X @ kept[t] - y)) * (1 if wrong is None else 1.01)
        return kept

    wrong = None
    assert fastgd.verify(train_in_one_buffer, X, y, lr=0.1, epochs=30).ok

    def right_then_wrong(X, y, lr, epochs, w0):
        nonlocal wrong
        answer = train_in_one_buffer(X, y, lr, epochs, w0)
        wrong = True
        return answer

    report = fastgd.verify(right_then_wrong, X, y, lr=0.1, epochs=30)
    assert report.ok  # the first run is
    assert any("a second run gave another w, from epoch 1 on" in note for note in report.verdicts[0].notes)


def test_a_copy_of_the_process_that_a_candidate_forks_ends_there(tmp_path):
    here, forked = os.getpid(), []

    def forks_once(w, X, y, lr):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads that a copy does not have, Python >= 3.12
            if not forked:
                forked.append(os.fork())
        return step(w, X, y, lr)

    report = fastgd.verify(forks_once, X4, 2 * X4, **ASKED)
    with open(tmp_path / "log", "a", encoding="utf-8") as file:
        file.write("once")
    if os.getpid() != here:
        os._exit(0)
    os.waitpid(forked[0], 0)
    assert report.ok
    assert (tmp_path / "log").read_text("utf-8") == "once"


def test_threads_that_a_candidate_leaves_are_told():
    end = threading.Event()

    def leaves_one(X, y, lr, epochs, w0):
        threading.Thread(target=end.wait, name="mine").start()
        return train(X, y, lr, epochs, w0)

    try:
        (verdict,) = fastgd.verify(leaves_one, *data(), lr=0.1, epochs=3).verdicts
        assert "it leaves threads running: mine, mine" in verdict.notes
    finally:
        end.set()


def normal_equations(w, X, y, lr):
    return w - lr * 2 / len(y) * (X.T @ X @ w - X.T @ y)


BYTES = np.array([[200, 30], [100, 20], [250, 90], [10, 5]], np.uint8)


@pytest.mark.parametrize("kind", [np.uint8, np.float16])
def test_the_arithmetic_of_the_users_dtype_is_seen(kind):
    """In uint8 X.T @ X is [[216, 86], [86, 209]]; in float16 it has 11 bits."""
    scale = 1 if kind is np.uint8 else 1 / 16
    X, y = (BYTES * scale).astype(kind), (np.array([200, 100, 250, 11]) * scale).astype(kind)
    report = fastgd.verify(normal_equations, X, y, lr=1e-5, epochs=5)
    assert (report.first.epoch, report.diagnosis.code) == (1, "data_dtype")
    assert f"X and y in {X.dtype}" in report.diagnosis.sentence
    judged = report.question["dtype"]
    assert report.diagnosis.fix == f'X, y = X.astype("{judged}"), y.astype("{judged}")'
    assert fastgd.verify(normal_equations, X.astype(judged), y.astype(judged), lr=1e-5, epochs=5).ok
    half = fastgd.verify(lambda w, X, y, lr: w - lr / len(y) * (X.T @ (X @ w - y)), BYTES, [1.0, 2.0, 3.0, 5.0], lr=1e-5, epochs=5)
    assert half.diagnosis.code == "gradient_missing_two"  # wrong whatever the dtype is


def test_a_w_made_like_the_data_is_seen():
    def like_a_row(X, y, lr, epochs, w0):
        w = np.zeros_like(X[0])
        rows = [w.copy()]
        for _ in range(epochs):
            w[:] = (w - lr * 2 / len(y) * X.T @ (X @ w - y)).astype(w.dtype)
            rows.append(w.copy())
        return rows

    def like_targets(w, X, y, lr):
        predicted = np.empty_like(y)
        predicted[:] = (X @ w).astype(y.dtype)
        return w - lr * 2 / len(y) * X.T.astype(float) @ (predicted - y)

    X, y = np.arange(12).reshape(6, 2) % 5, np.arange(6) * 3
    for candidate in (like_a_row, like_targets):
        assert fastgd.verify(candidate, X, y, lr=0.03, epochs=8).diagnosis.code == "data_dtype"
        assert fastgd.verify(candidate, X * 1.0, y * 1.0, lr=0.03, epochs=8).ok
        fits = np.stack([X, X + 1]), np.stack([y, y])
        assert len(fastgd.verify(candidate, *fits, lr=0.01, epochs=8).failed) == 2


def test_functions_of_other_libraries_get_their_own_arrays(torch):
    def step(w, X, y, lr):
        w = w.detach().clone().requires_grad_()
        loss = torch.nn.functional.mse_loss(X @ w, y)
        loss.backward()
        return w - lr * w.grad, loss

    def one_feature(w, x, y, lr):
        assert isinstance(w, torch.Tensor)
        assert w.shape == ()
        return w - lr * 2 * ((w * x - y) * x).mean()

    X, y = map(torch.tensor, data())
    for asked in ({}, {"dtype": "float32"}):
        report = fastgd.verify(step, X, y, lr=0.1, epochs=10, **asked)
        assert report.ok, str(report)
        assert fastgd.verify(one_feature, X[:, 0], y, lr=0.1, epochs=10, **asked).ok
    half = fastgd.verify(step, X.half(), y.half(), lr=0.1, epochs=10)
    assert half.diagnosis.code == "data_dtype"


def test_functions_get_copies_of_frames():
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame, series = pandas.DataFrame(X, columns=["a", "b", "c"]), pandas.Series(y)

    def by_name(w, X, y, lr):
        return w - lr * 2 / len(y) * X[["a", "b", "c"]].T @ (X @ w - y)

    def doubles(w, X, y, lr):
        X["a"] *= 2
        return by_name(w, X, y, lr)

    assert fastgd.verify(by_name, frame, series, lr=0.1, epochs=5).ok
    assert "doubles changes X, in place" in str(fastgd.verify(doubles, frame, series, lr=0.1, epochs=5))
    assert np.array_equal(frame, X)
