"""Losses without w: what can be said of them, and that nothing else is said."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd

RNG = np.random.default_rng(4)
X = RNG.standard_normal((14, 2))
Y = X @ [1.0, -2.0] + 3 + RNG.standard_normal(14)
LR, EPOCHS = 0.05, 15


def losses_of(factor=1.0, size=1.0, after=False, start=(0.0, 0.0, 0.0), dtype=np.float64):
    data, target = np.column_stack([X, np.ones(14)]).astype(dtype), Y.astype(dtype)
    w, losses = np.array(start, dtype), []
    for _ in range(EPOCHS):
        residual = data @ w - target
        before = np.mean(residual**2)
        w = w - dtype(LR * factor) * (dtype(2 / 14) * (data.T @ residual))
        losses.append(dtype(size) * (np.mean((data @ w - target) ** 2) if after else before))
    return np.array(losses)


def verdict(losses, **asked):
    return fastgd.verify((None, losses), X, Y, lr=LR, intercept=True, **asked)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("after", [False, True])
def test_right_losses_agree(after, dtype):
    report = verdict(losses_of(after=after, dtype=dtype), epochs=EPOCHS, dtype=np.dtype(dtype).name)
    assert report.outcome == "agrees", str(report)
    assert f"that of w {'after' if after else 'before'} its update" in str(report)
    assert "w was not recorded" in str(report)
    assert "begin at zeros" in str(report)
    assert 0 < report.tau_loss < 1
    assert np.isnan(report.tau_w)


def test_the_start_counts():
    assert verdict(losses_of(start=(1.0, 2.0, 3.0)), w0=[1.0, 2.0, 3.0]).ok
    assert not verdict(losses_of(start=(1.0, 2.0, 3.0))).ok


@pytest.mark.parametrize(
    ("factor", "size", "code"),
    [
        (0.5, 1.0, "gradient_missing_two"),
        (14.0, 1.0, "gradient_sum"),
        (-1.0, 1.0, "gradient_sign"),
        (1.0, 14.0, "loss_sum"),
        (1.0, 0.5, "loss_half"),
        (0.5, 0.5, "half_convention"),
        (1.01, 1.0, "unknown"),
        (1.0, 1.01, "unknown"),
    ],
)
def test_named_factors_are_named_and_others_are_not(factor, size, code):
    report = verdict(losses_of(factor, size))
    assert not report.ok
    assert report.diagnosis.code == code
    assert report.first.quantity == "loss"


def test_a_small_defect_is_seen():
    losses = losses_of()
    losses[7] *= 1 + 1e-12
    assert verdict(losses).first.epoch == 7


def test_what_cannot_be_judged_is_told():
    with pytest.raises(ValueError, match="for SGD alone, at one rate and without momentum"):
        verdict(losses_of(), optimizer="adam")
    with pytest.raises(ValueError, match="7 epochs need 7 or 8"):
        verdict(losses_of(), epochs=7)
    with pytest.raises(ValueError, match="losses without w are of one fit"):
        fastgd.verify((None, losses_of()), np.stack([X, X]), np.stack([Y, Y]), lr=LR)


def test_the_last_w_and_all_losses():
    def train(X, y, alpha, num_iters, factor=1.0, size=1.0):
        theta, J = np.zeros(2), []
        for _ in range(num_iters):
            residual = X @ theta - y
            J.append(size * np.mean(residual**2))
            theta = theta - alpha * factor * 2 / len(y) * X.T @ residual
        return theta, J

    report = fastgd.verify(train, X, Y, lr=LR, epochs=EPOCHS)
    assert report.outcome == "agrees", str(report)
    assert np.isfinite(report.verdicts[0].loss_share[:EPOCHS]).all()
    half = fastgd.verify(lambda X, y, alpha, n_iters: train(X, y, alpha, n_iters, size=0.5), X, Y, lr=LR, epochs=EPOCHS)
    assert half.diagnosis.code == "loss_half"
    both = fastgd.verify(lambda X, y, alpha, n_iters: train(X, y, alpha, n_iters, 0.5, 0.5), X, Y, lr=LR, epochs=EPOCHS)
    assert not both.ok


def test_half_of_the_squares():
    for size in (0.5, 1.0):  # either is a habit
        report = verdict(losses_of(0.5, size), reduction="half_mean")
        assert report.outcome == "agrees", str(report)
        assert ("halved" in str(report)) == (size == 0.5)
    assert verdict(losses_of(), reduction="half_mean").diagnosis.code == "gradient_not_halved"
