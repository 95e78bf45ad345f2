"""Mini-batches in a given order, and sample weights: right programs agree, others do not."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd

RNG = np.random.default_rng(6)
X = RNG.standard_normal((22, 2))
Y = X @ [1.0, -2.0] + 3 + RNG.standard_normal(22)
WEIGHTS = RNG.random(22) * (RNG.random(22) > 0.2)
LR, EPOCHS = 0.05, 6


def gradient(w, X, y, weights=None):
    weights = np.ones(len(y), X.dtype) if weights is None else weights.astype(X.dtype)
    residual = X @ w[:-1] + w[-1] - y
    weighted = weights * residual
    return X.dtype.type(2) / weights.sum() * np.append(X.T @ weighted, weighted.sum())


def descend(order, size, *, weights=None, factor=1.0, dtype=np.float64, steps=False, epochs=EPOCHS):
    data, target = X.astype(dtype), Y.astype(dtype)
    w, rows = np.zeros(3, dtype), [np.zeros(3, dtype)]
    for epoch in range(epochs):
        for begin in range(0, len(order(epoch)), size):
            batch = order(epoch)[begin : begin + size]
            w = w - dtype(LR) * dtype(factor) * gradient(w, data[batch], target[batch], None if weights is None else weights[batch])
            rows += [w] if steps else []
        rows += [] if steps else [w]
    return np.array(rows)


def in_order(epoch):
    return np.arange(22)


def shuffled(epoch):
    return np.random.default_rng(epoch).permutation(22)


TABLE = np.array([shuffled(epoch) for epoch in range(EPOCHS)])


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("size", [1, 5, 22])
def test_given_orders_agree_and_others_do_not(size, steps, dtype):
    asked = {"lr": LR, "epochs": EPOCHS, "batch_size": size, "intercept": True, "dtype": np.dtype(dtype).name}
    rows = descend(in_order, size, steps=steps, dtype=dtype)
    report = fastgd.verify(rows, X, Y, **asked)
    assert report.outcome == "agrees", str(report)
    assert report.verdicts[0].epochs_judged == len(rows) - 1
    assert fastgd.verify(rows[1:], X, Y, **asked).outcome == "agrees"  # without the start
    mixed = descend(shuffled, size, steps=steps, dtype=dtype)
    for order in (TABLE, shuffled, lambda epoch: [shuffled(epoch)[k : k + size] for k in range(0, 22, size)]):
        assert fastgd.verify(mixed, X, Y, order=order, **asked).outcome == "agrees"
    wrong = fastgd.verify(mixed, X, Y, **asked)
    assert wrong.ok == (size == 22)  # of all samples the order is rounding
    assert size == 22 or wrong.diagnosis.code == "unknown"
    late = rows.copy()
    late[4:] += dtype(1e-3)
    assert fastgd.verify(late, X, Y, **asked).first.epoch == 4


@pytest.mark.parametrize(("factor", "code"), [(0.5, "gradient_missing_two"), (-1.0, "gradient_sign"), (1.01, "lr_scaled")])
def test_named_factors(factor, code):
    rows = descend(in_order, 5, factor=factor)
    report = fastgd.verify(rows, X, Y, lr=LR, epochs=EPOCHS, batch_size=5, intercept=True)
    assert (report.first.epoch, report.diagnosis.code) == (1, code)


def test_a_sum_over_each_batch():
    def step(w, X, y, lr):
        return w - lr * gradient(w, X, y) * len(y)

    report = fastgd.verify(step, X, Y, lr=0.01, epochs=EPOCHS, batch_size=5, intercept=True)
    assert report.diagnosis.code == "gradient_sum"


def test_functions_get_batches_and_weights():
    def step(w, X, y, lr, sample_weight=None):
        return w - lr * gradient(w, X, y, sample_weight)

    def train(X, y, lr, epochs, batch_size):
        w = np.zeros(3)
        for _ in range(epochs):
            for k in range(0, len(y), batch_size):
                w = w - lr * gradient(w, X[k : k + batch_size], y[k : k + batch_size])
            yield w

    asked = {"lr": LR, "epochs": EPOCHS, "intercept": True}
    for more in (
        {"batch_size": 4},
        {"batch_size": 4, "order": shuffled},
        {"sample_weight": WEIGHTS},
        {"batch_size": 9, "sample_weight": WEIGHTS},
    ):
        report = fastgd.verify(step, X, Y, **asked, **more)
        assert report.outcome == "agrees", str(report)
    assert fastgd.verify(train, X, Y, batch_size=4, **asked).outcome == "agrees"
    assert not fastgd.verify(train, X, Y, batch_size=4, order=shuffled, **asked).ok
    assert not fastgd.verify(step, X, Y, **asked | {"sample_weight": WEIGHTS, "lr": LR}, w0=None).verdicts[0].failure


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights(dtype):
    asked = {"lr": LR, "epochs": EPOCHS, "intercept": True, "dtype": np.dtype(dtype).name}
    rows = descend(in_order, 22, weights=WEIGHTS, dtype=dtype)
    assert fastgd.verify(rows, X, Y, sample_weight=WEIGHTS, **asked).outcome == "agrees"
    assert not fastgd.verify(rows, X, Y, **asked).ok
    assert not fastgd.verify(descend(in_order, 22, dtype=dtype), X, Y, sample_weight=WEIGHTS, **asked).ok
    losses = [np.average((X @ w[:-1] + w[-1] - Y) ** 2, weights=WEIGHTS) for w in rows]
    report = fastgd.verify((rows, losses), X, Y, sample_weight=WEIGHTS, **asked)
    assert report.outcome == "agrees"
    assert report.tau_loss < 1
    losses[2] *= 1.01
    assert fastgd.verify((rows, losses), X, Y, sample_weight=WEIGHTS, **asked).first[:2] == (2, "loss")
    ours = fastgd.verify(["cpu", "numpy", "torch"], X, Y, sample_weight=WEIGHTS, **asked)
    assert ours.outcome == "agrees", str(ours)


def test_a_batch_without_a_weight_makes_no_step():
    weights = WEIGHTS + 0.5
    weights[:5] = 0
    rows = descend(lambda epoch: np.arange(5, 22), 5, weights=weights)
    asked = {"lr": LR, "epochs": EPOCHS, "sample_weight": weights, "intercept": True}
    assert fastgd.verify(rows, X, Y, batch_size=5, **asked).outcome == "agrees"  # the first batch has no weight
    assert not fastgd.verify(rows, X, Y, batch_size=4, **asked).ok


def test_losses_of_batches_are_not_judged_and_that_is_told():
    rows = descend(in_order, 5)
    report = fastgd.verify((rows, np.arange(7.0)), X, Y, lr=LR, epochs=EPOCHS, batch_size=5, intercept=True)
    assert report.outcome == "agrees"
    assert "the losses are not judged" in str(report)


def test_a_schedule():
    rates = LR * 0.8 ** np.arange(EPOCHS)
    w, rows = np.zeros(3), [np.zeros(3)]
    for rate in rates:
        for k in range(0, 22, 8):
            w = w - rate * gradient(w, X[k : k + 8], Y[k : k + 8])
        rows.append(w)
    asked = {"batch_size": 8, "epochs": EPOCHS, "intercept": True}
    assert fastgd.verify(rows, X, Y, lr=LR, schedule=fastgd.schedules.ExponentialLR(0.8), **asked).ok
    assert not fastgd.verify(rows, X, Y, lr=LR, **asked).ok


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number, at least 1"),
        ({"order": np.arange(5)}, "order must be a permutation of the 22 samples"),
        ({"batch_size": 5, "order": np.zeros((2, 22), int)}, "order has 2 rows, and there are more epochs"),
        ({"batch_size": 5, "order": lambda epoch: [[99]]}, "order must give the numbers of the samples, 0 to 21"),
        ({"sample_weight": [1.0]}, "sample_weight must have one number for each of the 22 samples"),
        ({"sample_weight": -WEIGHTS}, "sample_weight must be finite and not negative"),
        ({"batch_size": 5, "optimizer": "adam"}, "are judged where there is a row for each step"),
        ({"batch_size": 5, "w0": np.zeros((2, 3))}, "judged for one fit"),
    ],
)
def test_bad_options(more, words):
    with pytest.raises(ValueError, match=words):
        fastgd.verify(descend(in_order, 5), X, Y, **{"lr": LR, "epochs": EPOCHS, "intercept": True, **more})


def test_our_own_mini_batches():
    asked = {"lr": LR, "epochs": EPOCHS, "intercept": True}
    ours = fastgd.verify(["cpu", "numpy", "torch"], X, Y, batch_size=5, **asked)
    assert ours.outcome == "agrees", str(ours)
    result = fastgd.fit(X, Y, batch_size=5, seed=3, history=True, **asked)
    of_seed = {"batch_size": 5, "order": lambda epoch: fastgd.testing.minibatch_order(22, 5, epoch, seed=3)}
    assert fastgd.verify(result, X, Y, **of_seed, **asked).outcome == "agrees"
    with pytest.raises(ValueError, match="the result is of mini-batches: give batch_size="):
        fastgd.verify(result, X, Y, **asked)


def test_half_of_the_squares():
    def step(w, X, y, lr):
        return w - lr * gradient(w, X, y) / 2

    asked = {"epochs": EPOCHS, "batch_size": 5, "intercept": True}
    assert fastgd.verify(step, X, Y, lr=LR, reduction="half_mean", **asked).outcome == "agrees"
    assert fastgd.verify(lambda w, X, y, lr: step(w, X, y, lr * len(y)), X, Y, lr=0.01, reduction="half_sum", **asked).outcome == "agrees"
    whole = fastgd.verify(lambda w, X, y, lr: w - lr * gradient(w, X, y), X, Y, lr=LR, reduction="half_mean", **asked)
    assert whole.diagnosis.code == "gradient_not_halved"
