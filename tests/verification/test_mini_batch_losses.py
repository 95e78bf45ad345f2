"""The losses beside rows of mini-batches: of all samples, of the batches, or none of these."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.verification.causes.test_batches import EPOCHS, LR, N, X, Y, steps

ROWS, OF_BATCHES, ENDS = steps()
AT_ENDS = ROWS[ENDS]
OF_ALL = np.array([np.mean((X @ w - Y) ** 2) for w in AT_ENDS])
EACH = np.split(OF_BATCHES, ENDS[1:-1])  # of the batches of each epoch
SIZES = np.array([8, 8, 6])


def verify(losses, rows=AT_ENDS, **options):
    return fastgd.verify((rows, losses), X, Y, **{"lr": LR, "batch_size": 8, "epochs": EPOCHS, **options})


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (OF_ALL, ""),
        (OF_ALL[:-1], "that of all samples before its epoch"),
        (OF_ALL[1:], "that of all samples after its epoch"),
        ([part.mean() for part in EACH], "the mean of those of the batches of its epoch, each before its step"),
        ([(part * SIZES).sum() / N for part in EACH], "weighted by their sizes"),
        ([part.sum() for part in EACH], "the sum of those of the batches"),
        ([part[-1] for part in EACH], "that of the last batch of its epoch"),
        (OF_BATCHES, "that of the batch of its step"),
    ],
)
def test_what_the_losses_are_is_found(losses, words):
    report = verify(losses)
    assert report.outcome == "agrees", str(report)
    assert report.tau_loss < 8
    assert words in str(report)
    for wrong, code in ((N, "loss_sum"), (0.5, "loss_half")) if words.endswith("all samples after its epoch") or not words else ():
        assert verify(wrong * np.asarray(losses)).diagnosis.code == code
    if len(losses) > 5:
        other = np.array(losses)
        other[2] *= 1.01
        assert verify(other).first.quantity == "loss"


def test_what_is_none_of_these_is_told_first():
    report = verify(np.arange(EPOCHS + 1.0))
    assert report.ok
    assert report.verdicts[0].headline.startswith("history: w agrees")
    assert report.verdicts[0].headline.endswith("the losses are not judged")
    assert "the losses are not judged" in verify(np.arange(3.0)).verdicts[0].headline


def test_rows_of_steps():
    asked = {"rows": ROWS}
    assert verify(OF_BATCHES, **asked).outcome == "agrees"
    assert verify([np.mean((X @ w - Y) ** 2) for w in ROWS], **asked).tau_loss < 8
    assert verify([np.sum((X @ w - Y) ** 2) for w in ROWS], **asked).diagnosis.code == "loss_sum"
    assert verify(OF_BATCHES / 2, **asked).diagnosis.code == "loss_half"
    assert verify(OF_BATCHES / 2, reduction="half_mean", lr=2 * LR, **asked).outcome == "agrees"
    assert verify(np.arange(len(ROWS)), **asked).verdicts[0].headline.endswith("the losses are not judged")


def test_a_wrong_update_and_a_wrong_loss():
    rows, _, ends = steps(divide=True)
    losses = [np.sum((X @ w - Y) ** 2) for w in rows[ends]]
    assert verify(losses, rows[ends]).diagnosis.codes == ("last_batch_divisor", "loss_sum")


def test_losses_that_overflow_in_float32_are_right_ones():
    """The float32 sum of the squares overflows before their float64 mean leaves float32."""
    X, Y, w = globals()["X"].astype(np.float32), globals()["Y"].astype(np.float32), np.zeros(3, np.float32)
    rows, losses = [w], [np.mean((X @ w - Y) ** 2)]
    with np.errstate(all="ignore"):
        for _ in range(14):
            for k in range(0, N, 8):
                w = w - np.float32(4) * 2 * X[k : k + 8].T @ (X[k : k + 8] @ w - Y[k : k + 8]) / np.float32(len(X[k : k + 8]))
            rows.append(w)
            losses.append(np.mean((X @ w - Y) ** 2))
    assert np.isinf(losses).sum() > 2
    report = fastgd.verify((np.array(rows), np.array(losses)), X, Y, lr=4.0, batch_size=8)
    assert report.ok, str(report)
    assert report.tau_loss < 8
    losses[2] *= np.float32(1.01)
    assert fastgd.verify((np.array(rows), np.array(losses)), X, Y, lr=4.0, batch_size=8).first.quantity == "loss"
