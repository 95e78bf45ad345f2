"""verify(): every kind of candidate, every kind of bad input, batches; the numbers are those of the
bound."""

from __future__ import annotations

import functools
import json
import math

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.testing import problems, rates
from fastgd.verification.bound import check_history
from tests.support.rule_options import rules_of
from tests.support.torch_histories import torch_history

X4 = np.array([1.0, 2.0, 3.0, 4.0])


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


@pytest.mark.parametrize("name", ["tutorial", "noisy", "offset_1e6_intercept", "mixed_rows", "n_1_d_3", "nist_longley"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_shares_are_those_of_the_bound(name, reduction):
    problem = next(p for p in problems() if p.name == name).astype("float32")
    for multiple in (1.0, 2.2, 40.0):  # the last one overflows
        lr = multiple * rates(problem, reduction)[1.0]
        history = torch_history(problem, lr, 40, reduction)
        report = fastgd.verify(
            (history.w, history.loss), problem.X, problem.y, lr=lr, reduction=reduction, intercept=problem.intercept, w0=problem.w0
        )
        (verdict,) = report.verdicts
        bound = check_history(
            problem.X, problem.y, history.w, history.loss, lr=float(np.float32(lr)), reduction=reduction, dtype="float32",
            intercept=problem.intercept,
        )  # fmt: skip
        assert report.ok
        # w′ − w beside the step here, w′ beside ŵ there, float64, v = 2⁻²⁹ u: v(|w′ − w| + |ŵ| +
        # 4|lr g|) apart (a sum is n · mean here); ℓ ≥ u(2|lr g| + |ŵ|), so 5/2 · 2⁻²⁹ of it; the
        # rest of 3 is for what is rounded relative to the share itself
        assert np.allclose(verdict.w_share, bound.w_share, rtol=0, atol=3 * 2.0**-29, equal_nan=True)
        assert np.array_equal(verdict.loss_share, bound.loss_share, equal_nan=True)
        assert verdict.tau_loss_epoch == bound.tau_loss_epoch
        assert verdict.epochs_judged == bound.steps_compared


def test_our_backends_agree_with_options_of_rules(full):
    X, y = data(fits=(3,))
    rules = [fastgd.SGD(momentum=0.9), fastgd.SGD(momentum=0.9, nesterov=True, weight_decay=0.1), "adam", fastgd.AdamW(amsgrad=True)]
    rules += [fastgd.RMSprop(centered=True, momentum=0.5), fastgd.SGD(momentum=0.5, dampening=0.3, maximize=True)]
    for rule in rules if full else rules[:4]:
        for dtype in ("float32", "float64"):
            report = fastgd.verify(["cpu", "numpy", "torch"], X, y, lr=0.02, epochs=25, optimizer=rule, dtype=dtype, intercept=True)
            assert report.ok, f"{rule} {dtype}\n{report}"
            assert len(report.verdicts) == 9
            assert max(verdict.tau_w for verdict in report.verdicts if verdict.candidate == "cpu") <= 2


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_our_backends_agree_with_every_rule(rule, dtype, torch):
    X, y = data(fits=(3,))
    backends = [name for name in ("cpu", "numpy", "torch") if rule in rules_of(name)]
    report = fastgd.verify(backends, X, y, lr=0.02, epochs=25, optimizer=rule, dtype=dtype, intercept=True)
    assert report.ok, str(report)
    assert len(report.verdicts) == 3 * len(backends) > 0
    assert max((verdict.tau_w for verdict in report.verdicts if verdict.candidate == "cpu"), default=0) <= 2


def test_the_safe_rate_is_judged_as_what_was_used():
    X, y = data()
    assert fastgd.verify("cpu", X, y, epochs=30).ok
    with pytest.raises(ValueError, match="lr is needed"):
        fastgd.verify(train, X, y, epochs=30)


def test_a_batch_is_judged_fit_by_fit():
    X, y = data(fits=(2, 3))
    lr = np.array([0.05, 0.1, 0.02])
    result = fastgd.fit(X, y, lr=lr, epochs=12, history=True)
    w = result.history.w.copy()
    w[1, 2, 5:] *= 1 + 1e-9
    report = fastgd.verify((w, result.history.loss), X, y, lr=lr)
    assert [verdict.fit for verdict in report.failed] == [(1, 2)]
    assert report.first.epoch == 5
    assert report.question["n_fits"] == 6
    assert "history, fit (1, 2): DISAGREES from epoch 5 on" in str(report)
    assert fastgd.verify(train, X, y, lr=lr, epochs=12).ok
    with pytest.raises(ValueError, match=r"w_history must have shape \(2, 3\) \+ \(epochs \+ 1, D\)"):
        fastgd.verify(w[0], X, y, lr=lr)


def test_histories_of_the_wrong_length():
    X, y = data()
    w, loss = train(X, y, 0.1, 10, np.zeros(3))
    with pytest.raises(ValueError, match="w_history has 11 rows; 9 epochs need 10, the start first, or 9 without it"):
        fastgd.verify((w, loss), X, y, lr=0.1, epochs=9)
    with pytest.raises(ValueError, match="loss_history has 8 values, but w_history has 11 rows"):
        fastgd.verify((w, loss[:8]), X, y, lr=0.1)
    with pytest.raises(ValueError, match=r"w_history must have shape \(epochs \+ 1, 3\), for 3 features; it has shape \(11, 2\)"):
        fastgd.verify(w[:, :2], X, y, lr=0.1)
    deep = functools.reduce(lambda inner, _: [inner], range(500), 0.0)
    for judge in (lambda: fastgd.verify(deep, X, y, lr=0.1), lambda: fastgd.diagnose(X, y, deep, lr=0.1)):
        with pytest.raises(TypeError, match="w_history must be an array of real numbers; it is a list with lists in each other"):
            judge()
    with pytest.raises(ValueError, match="loss_history must have one value per row"):
        fastgd.diagnose(X, y, w, np.stack([loss, loss], axis=1), lr=0.1)
    with pytest.raises(ValueError, match="has too few digits"):
        fastgd.diagnose(X, y, w.astype(np.float16), lr=0.1)


def test_w_without_its_start():
    X, y = data()
    w, loss = train(X, y, 0.1, 10, np.zeros(3))
    for losses, noted in ((loss[:-1], "loss[t] at w[t]"), (loss[1:], "each loss is that of the w recorded with it")):
        report = fastgd.verify((w[1:], losses), X, y, lr=0.1, epochs=10)
        assert report.ok, str(report)
        notes = " ".join(report.verdicts[0].notes)
        assert "10 rows for 10 epochs: read as w after each update; the start was put before it" in notes
        assert noted in notes
    assert not fastgd.verify((w[1:], loss[1:] * 2), X, y, lr=0.1, epochs=10).ok


def test_losses_off_by_one():
    X, y = data()
    w, loss = train(X, y, 0.1, 10, np.zeros(3))
    report = fastgd.verify((w, loss[:-1]), X, y, lr=0.1)
    assert report.ok
    assert "loss has 10 values for 11 rows of w: read as the loss before each update, loss[t] at w[t]" in report.verdicts[0].notes
    after = fastgd.verify((w, loss[1:]), X, y, lr=0.1)
    assert after.ok
    assert after.verdicts[0].notes == ("each loss is that of the w after its update",)
    assert fastgd.diagnose(X, y, w, loss[1:], lr=0.1).notes == ("each loss is that of the w after its update",)
    assert fastgd.verify((w, np.append(loss, 3.0)), X, y, lr=0.1).ok
    late = fastgd.verify((w[:-1], loss[1:]), X, y, lr=0.1)  # beside the w before it
    assert late.diagnosis.codes == ("loss_after_update",)
    assert (late.first.epoch, late.first.quantity) == (0, "loss")


def test_nan_from_some_epoch_on():
    X, y = data()
    w, loss = train(X, y, 0.1, 10, np.zeros(3))
    w[7:], loss[7:] = np.nan, np.nan
    report = fastgd.verify((w, loss), X, y, lr=0.1)
    assert (report.first.epoch, report.first.share) == (7, math.inf)
    assert report.diagnosis.code == "not_finite"
    assert "w is not finite from epoch 7 on" in report.diagnosis.sentence
    assert any("judged up to epoch 6" in note for note in report.diagnosis.notes)
    json.loads(report.to_json())


def test_a_loss_that_is_nan_while_w_is_right():
    X, y = data()
    w, loss = train(X, y, 0.1, 10, np.zeros(3))
    loss[4:] = np.nan
    report = fastgd.verify((w, loss), X, y, lr=0.1)
    assert report.diagnosis.codes == ("loss_not_finite",)
    assert (report.first.epoch, report.first.quantity) == (4, "loss")
    assert fastgd.diagnose(X, y, w, loss / 2, lr=0.1).codes == ("loss_half", "loss_not_finite")
    assert fastgd.diagnose(X, y, w, np.full(11, np.inf), lr=0.1).codes == ("loss_not_finite",)


def test_overflow_is_no_disagreement():
    X, y = data()
    with np.errstate(all="ignore"):
        report = fastgd.verify(train, X, y, lr=1e6, epochs=200)
    assert report.ok
    assert 0 < report.verdicts[0].epochs_judged < 200
    assert any("too near overflow" in note for note in report.verdicts[0].notes)
    assert report.outcome == "agrees in part"
    assert f"of 200 epochs judged, not judged from epoch {report.verdicts[0].epochs_judged + 1} on" in str(report)
    half = fastgd.verify(lambda w, X, y, lr: w - lr / 2 * (2 / len(y) * X.T @ (X @ w - y)), X, y, lr=1e6, epochs=30)
    assert half.diagnosis.code == "gradient_missing_two"


def test_nothing_that_can_be_judged_is_neither_agreement_nor_disagreement():
    """weight_decay · w overflows in the first step of float32 arithmetic, whatever w is then."""
    w = np.array([[1.0], [np.inf], [np.nan]], np.float32)
    report = fastgd.verify(w, np.float32(X4), np.float32(2 * X4), lr=0.1, optimizer=fastgd.AdamW(weight_decay=1e300))
    assert (report.outcome, report.ok, report.diagnosis) == ("not judged", False, None)
    assert str(report).startswith("history: NOT JUDGED: none of the 2 epochs could be judged")
    assert "an intermediate of the update rule may overflow" in str(report)
    assert not fastgd.verify(w, np.float32(X4), np.float32(2 * X4), lr=0.1, optimizer="adamw").ok


def test_a_diagnosis_without_a_judged_step_is_not_ok():
    overflows = {"lr": 0.1, "optimizer": fastgd.AdamW(weight_decay=1e300), "dtype": "float32"}
    for w, asked, why in (
        ([1.0, np.inf, np.nan], overflows, "an intermediate of the update rule may overflow"),
        ([np.nan, 2.0], {"lr": 0.1}, "values are too near overflow"),
        ([1.0], {"lr": 0.1}, "w_history has one row"),
    ):
        diagnosis = fastgd.diagnose(X4, 2 * X4, w, **asked)
        assert (diagnosis.ok, diagnosis.codes) == (False, ("not_judged",))
        assert str(diagnosis).startswith("not_judged: no step could be judged\n  note: ")
        assert why in str(diagnosis)
        assert np.isnan(diagnosis.evidence["tau"])
    with np.errstate(all="ignore"):
        w, _ = train(X4[:, None], 2 * X4, 1e6, 200, np.zeros(1))
    part = fastgd.diagnose(X4, 2 * X4, w, lr=1e6)
    assert part.ok
    assert part.sentence.endswith(f"within rounding, up to epoch {part.evidence['epochs_used']}; later ones are not judged")


def test_the_title_of_a_report_says_what_was_judged():
    with np.errstate(all="ignore"):
        part = fastgd.verify("numpy", X4, 2 * X4, lr=1e6, epochs=200)
    judged = part.verdicts[0].epochs_judged
    assert f">numpy agrees at the first {judged} epochs<" in part._repr_html_()
    assert repr(part) == "Report(1 verdict, ok in part)"
    some = fastgd.verify("numpy", X4, 2 * X4, lr=[0.01, 1e6], epochs=200)
    assert ">1 of 2 agree as far as they could be judged<" in some._repr_html_()


def test_one_epoch_and_none():
    report = fastgd.verify(tutorial_step, X4, 2 * X4, lr=0.01, epochs=1)
    assert report.diagnosis.code == "gradient_sum"
    assert "lr_scaled" in report.diagnosis.also_possible
    none = fastgd.verify(step, X4, 2 * X4, lr=0.01, epochs=0)
    assert (none.outcome, none.ok, str(none)) == ("not judged", False, "step: NOT JUDGED: there is no epoch")
    one = fastgd.diagnose(X4, 2 * X4, [1.0, 1.2345], lr=0.01)  # any factor explains one step of one parameter
    assert one.code == "unknown"
    assert {"lr_scaled", "weight_decay_coupled", "l1"} <= set(one.also_possible)
    assert "these epochs tell too little to name one cause" in one.sentence


def test_another_start():
    X, y = data()
    w, loss = train(X, y, 0.1, 10, np.ones(3))
    assert fastgd.verify((w, loss), X, y, lr=0.1).ok  # where no start is given, the record's own counts
    report = fastgd.verify((w, loss), X, y, lr=0.1, w0=np.zeros(3))
    assert report.diagnosis.codes == ("initial_w",)
    assert "[1, 1, 1] instead of [0, 0, 0]" in report.diagnosis.sentence
    assert (report.first.epoch, report.first.quantity) == (0, "w[0]")
    late = fastgd.verify((w[1:], loss[1:]), X, y, lr=0.1, w0=np.ones(3))
    assert late.diagnosis.codes == ("recorded_after_update",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'"),
        ({"w0": np.zeros(5)}, r"w0 must have shape \(\.\.\., 3\)"),
        ({"reduction": "total"}, "reduction must be 'mean', 'sum', 'half_mean' or 'half_sum'"),
        ({"epochs": None}, "epochs is needed"),
        ({"epochs": -1}, "epochs must be"),
        ({"optimizer": "magic"}, "magic"),
        ({"X": np.full((30, 3), np.nan)}, "nan"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    X, y = data()
    given = {"X": X, "y": y, "lr": 0.1, "epochs": 5} | change
    with pytest.raises((ValueError, TypeError), match=message):
        fastgd.verify(train, **given)


@pytest.mark.parametrize("name", ["X", "y", "lr", "w0"])
def test_lists_in_lists_without_end_are_refused_in_words(name):
    deep: list = [1.0]
    for _ in range(100):
        deep = [deep]
    given = {"X": np.ones((3, 2)), "y": np.ones(3), "lr": 0.1} | {name: deep}
    with pytest.raises(TypeError, match=rf"^{name} must be an array of real numbers; it is a list with lists in each other"):
        fastgd.verify(np.zeros((4, 2)), **given)
