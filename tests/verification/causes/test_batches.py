"""The causes on mini-batches and with weights, in rows of epochs or of steps; how rows are read."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.support.planted_batches import BATCHES, correct
from tests.support.planted_cases import make_case
from tests.support.planted_verdicts import ask, draw_named, judge

RNG = np.random.default_rng(27)
N, LR, EPOCHS = 22, 0.05, 5
X = RNG.standard_normal((N, 3))
Y = X @ [1.0, -2.0, 0.5] + RNG.standard_normal(N)


@pytest.mark.parametrize("name", BATCHES)
def test_planted_defects_are_named(name):
    place = list(BATCHES).index(name)
    for k in range(2):
        rng = np.random.default_rng([31, place, k])
        case = make_case(rng, ("float64", "float32")[k], kind="normal", least_d=2)
        planted = BATCHES[name](case, rng)
        diagnosis = ask(case, planted)
        assert judge(name, diagnosis, planted) in ("right", "same"), str(diagnosis)


def test_right_ones_agree():
    for k in range(12):
        rng = np.random.default_rng([32, k])
        case = make_case(rng, ("float64", "float32")[k % 2], kind="normal")
        assert ask(case, correct(case, rng)).code in ("ok", "not_judged")


def steps(size=8, *, mu=0.0, drop=False, divide=False, epochs=EPOCHS, lr=LR, nesterov=False, decay=0.0, anew=False, damped=0.0):
    """Rows of w after each step, a loss of the batch before it, and the rows of the epochs."""
    w, v, rows, losses, ends = np.zeros(3), None, [np.zeros(3)], [], [0]
    for _ in range(epochs):
        v = None if anew else v
        for k in range(0, N - N % size if drop else N, size):
            xb, yb = X[k : k + size], Y[k : k + size]
            residual = xb @ w - yb
            losses.append(np.mean(residual**2))
            g = 2 / (size if divide else len(yb)) * xb.T @ residual + decay * w
            v = g if v is None else mu * v + (1 - damped) * g
            w = w - lr * (g + mu * v if nesterov else v)
            rows.append(w)
        ends.append(len(rows) - 1)
    return np.array(rows), np.array(losses), ends


def test_rows_of_steps_are_found_without_the_number_of_epochs():
    rows, _, ends = steps()
    record = fastgd.Recorder()
    for w in rows:
        record(w)
    for history in (rows, record, rows.tolist()):
        report = fastgd.verify(history, X, Y, lr=LR, batch_size=8)
        assert report.outcome == "agrees"
        assert "read as w after each step of 5 epochs" in str(report)
        assert fastgd.verify(history, X, Y, lr=LR, batch_size=8, epochs=5).outcome == "agrees"
    assert "agrees at all 15 steps judged" in str(report)
    assert "agrees at all 5 epochs judged" in str(fastgd.verify(rows[ends], X, Y, lr=LR, batch_size=8))
    as_steps = fastgd.verify(rows, X, Y, lr=LR, batch_size=8, epochs=15)
    assert "epochs=15 is read as the number of steps" in str(as_steps)
    wrong = fastgd.verify(rows[ends] * 1.001, X, Y, lr=LR, batch_size=8)
    assert wrong.diagnosis.code == "unknown"


def test_an_order_for_each_epoch_says_how_many_there_are():
    order = np.tile(np.arange(N), (EPOCHS, 1))
    rows, _, ends = steps()
    for history in (rows, rows[ends]):
        assert fastgd.verify(history, X, Y, lr=LR, batch_size=8, order=order).outcome == "agrees"
    half = steps(lr=LR / 2)[0][ends]
    assert fastgd.verify(half, X, Y, lr=LR, batch_size=8, order=order).diagnosis.code == "gradient_missing_two"


def test_dropped_batches_are_named_in_either_kind_of_rows():
    rows, _, ends = steps(drop=True)
    for history, options in ((rows, {}), (rows, {"epochs": EPOCHS}), (rows[ends], {})):
        report = fastgd.verify(history, X, Y, lr=LR, batch_size=8, **options)
        assert report.diagnosis.code == "drop_last", str(report)


MOMENTA = {
    "momentum": ({"mu": 0.8}, {"momentum": 0.8}),
    "damped": ({"mu": 0.8, "damped": 0.3}, {"momentum": 0.8, "dampening": 0.3}),
    "nesterov": ({"mu": 0.8, "nesterov": True}, {"momentum": 0.8, "nesterov": True}),
    "decay": ({"mu": 0.8, "decay": 0.1}, {"momentum": 0.8, "weight_decay": 0.1}),
    "decay alone": ({"decay": 0.1}, {"weight_decay": 0.1}),
}


@pytest.mark.parametrize("name", MOMENTA)
def test_momentum_is_judged_on_steps_and_on_epochs(name):
    made, told = MOMENTA[name]
    rows, losses, ends = steps(**made)
    asked = {"lr": LR, "batch_size": 8, "epochs": EPOCHS}
    for history in (rows, rows[ends], (rows[ends], losses)):
        report = fastgd.verify(history, X, Y, optimizer=fastgd.SGD(**told), **asked)
        assert report.outcome == "agrees", str(report)
        assert report.tau_w < 2
    late = rows[ends].copy()
    late[3:] += 1e-9
    assert fastgd.verify(late, X, Y, optimizer=fastgd.SGD(**told), **asked).first.epoch == 3
    with pytest.raises(ValueError, match="record w after every step"):
        fastgd.verify(rows[ends], X, Y, optimizer="adam", **asked)


def test_causes_of_momentum_where_rows_are_epochs():
    rows, _, ends = steps(mu=0.8)
    asked = {"lr": LR, "batch_size": 8, "epochs": EPOCHS}
    for optimizer in ("sgd", fastgd.SGD(momentum=0.9)):
        for history in (rows, rows[ends]):
            diagnosis = fastgd.verify(history, X, Y, optimizer=optimizer, **asked).diagnosis
            assert (diagnosis.code, diagnosis.evidence["value"]) == ("momentum", 0.8), str(diagnosis)
    momentum = {"optimizer": fastgd.SGD(momentum=0.8), **asked}
    for code, made in {
        "plain_descent": {},
        "momentum_begins_anew": {"mu": 0.8, "anew": True},
        "nesterov_torch": {"mu": 0.8, "nesterov": True},
        "drop_last": {"mu": 0.8, "drop": True},
        "last_batch_divisor": {"mu": 0.8, "divide": True},
        "lr_scaled": {"mu": 0.8, "lr": 0.3 * LR},
        "weight_decay_coupled": {"mu": 0.8, "decay": 0.2},
    }.items():
        rows, _, ends = steps(**made)
        diagnosis = fastgd.verify(rows[ends], X, Y, **momentum).diagnosis
        assert diagnosis.code == code, str(diagnosis)
    rows, _, _ = steps(mu=0.8, anew=True)
    assert fastgd.verify(rows, X, Y, **momentum).diagnosis.code == "momentum_begins_anew"


def test_half_of_the_squares_beside_weight_decay():
    rows, _, ends = steps(mu=0.8, decay=0.2, lr=LR / 2)  # lr (g / 2 + 0.1 w)
    asked = {"lr": LR, "batch_size": 8, "epochs": EPOCHS, "reduction": "half_mean"}
    for history in (rows, rows[ends]):
        report = fastgd.verify(history, X, Y, optimizer=fastgd.SGD(momentum=0.8, weight_decay=0.1), **asked)
        assert report.outcome == "agrees", str(report)


def test_words_are_those_of_the_batch():
    def step(w, X, y, lr):
        return w - lr * 2 * X.T @ (X @ w - y)

    report = fastgd.verify(step, X, Y, lr=0.01, epochs=EPOCHS, batch_size=11)
    assert "11 times too large" in report.diagnosis.sentence
    assert "DISAGREES from step 1 on" in str(report)
    assert report.verdicts[0].unit == "step"


def test_a_wrong_start_is_told():
    rows, _, ends = steps()
    report = fastgd.verify(rows[ends], X, Y, lr=LR, batch_size=8, w0=np.ones(3))
    assert report.diagnosis.code == "initial_w"


def test_the_fix_has_the_weights():
    weights = RNG.uniform(0.2, 3.0, N)

    def step(w, X, y, lr):
        return w - lr * 2 / len(y) * X.T @ (X @ w - y)

    report = fastgd.verify(step, X, Y, lr=LR, epochs=EPOCHS, sample_weight=weights)
    assert report.diagnosis.fix == "gradient = 2 / sample_weight.sum() * X.T @ (sample_weight * residual)"


def test_a_factor_that_two_causes_have_in_common_is_possible():
    """A rate of a tenth is also: a batch of 2 divided by all 10 samples, without the factor 2."""
    x, y, w = X[:10], Y[:10], np.zeros(3)
    rows = [w]
    for _ in range(6):
        for k in range(0, 10, 2):
            w = w - 0.1 * LR * x[k : k + 2].T @ (x[k : k + 2] @ w - y[k : k + 2])
        rows.append(w)
    diagnosis = fastgd.verify(np.array(rows), x, y, lr=LR, batch_size=2).diagnosis
    assert "lr_scaled" in (*diagnosis.codes, *diagnosis.also_possible), str(diagnosis)


def test_a_cause_whose_bound_is_wider_than_the_step_explains_nothing():
    """Gradients of sums that add up grow so fast that rounding may move them anywhere."""
    rng = np.random.default_rng([1959291, 95, 5])
    case = draw_named(rng, "", "float32")
    planted = BATCHES["weight_decay_coupled of batches"](case, rng)
    assert ask(case, planted).code == "weight_decay_coupled"
