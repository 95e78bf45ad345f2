"""`ridge=` of verify and diagnose: right ones agree, in every form; the planted causes are those of
test_diagnosis.py. Rows several epochs apart, losses alone and torch modules have theirs here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastgd
from tests.support.planted_cases import KINDS, make_case
from tests.support.planted_rule_defects import with_ridge
from tests.support.planted_verdicts import ask

RNG = np.random.default_rng(44)
X = RNG.standard_normal((30, 3))
Y = X @ [1.0, -2.0, 0.5] + 3 + RNG.standard_normal(30)
ASKED = {"lr": 0.05, "intercept": True}


def test_right_ones_agree():
    for k in range(16):
        rng = np.random.default_rng([45, k])
        case = make_case(rng, ("float64", "float32")[k % 2], kind=str(rng.choice(KINDS)))
        found = ask(case, with_ridge("")(case, rng))
        assert found.ok, str(found)
        assert found.evidence["tau_asked"] < 2


def step(w, X, y, lr, lam):
    d = X.shape[1]
    residual = X @ w[:d] + w[d] - y
    penalty = 2 * lam * np.append(w[:d], 0)
    return w - lr * (2 / len(y) * np.append(X.T @ residual, residual.sum()) + penalty)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", fastgd.SGD(momentum=0.5)])
def test_our_own_kernels_and_references(reduction, optimizer):
    lr = 0.05 if reduction == "mean" else 0.05 / len(Y)
    report = fastgd.verify(["cpu", "numpy", "torch"], X, Y, epochs=10, ridge=0.3, reduction=reduction, optimizer=optimizer,
                           **ASKED | {"lr": lr})  # fmt: skip
    assert report.outcome == "agrees", str(report)
    assert report.question["recipe"].endswith(f"{reduction}, ridge 0.3")


def test_hand_over_forms(tmp_path):
    assert fastgd.verify(step, X, Y, epochs=8, ridge=0.3, **ASKED).outcome == "agrees"
    assert fastgd.verify(step, X, Y, epochs=8, **ASKED).outcome == "agrees"  # no penalty was asked for: 0
    assert fastgd.verify(step, X, Y, epochs=8, ridge=0.3, batch_size=7, **ASKED).outcome == "agrees"

    class Ridge:
        def __init__(self, lr, epochs, lam=0.0):
            self.lr, self.epochs, self.lam = lr, epochs, lam

        def fit(self, X, y):
            w = np.zeros(4)
            for _ in range(self.epochs):
                w = step(w, X, y, self.lr, self.lam)
            self.coef_, self.intercept_ = w[:3], w[3]

    assert fastgd.verify(Ridge, X, Y, epochs=8, ridge=0.3, **ASKED).outcome == "agrees"
    assert fastgd.verify(Ridge, X, Y, epochs=8, **ASKED).outcome == "agrees"
    forgotten = fastgd.verify(lambda w, X, y, lr: step(w, X, y, lr, 0), X, Y, epochs=8, ridge=0.3, **ASKED)
    assert forgotten.diagnosis.code == "ridge_forgotten"
    forgotten.to_html(tmp_path / "page.html")  # with a fit of ours beside theirs
    assert "ridge 0.3" in (tmp_path / "page.html").read_text("utf-8")


def rows_of(lam=0.3, on_intercept=0.0, half=False, momentum=0.0):
    """The rows of w of 16 epochs."""
    w = buffer = np.zeros(4)
    rows = [w]
    for _ in range(16):
        residual = X @ w[:3] + w[3] - Y
        gradient = (1 if half else 2) / len(Y) * np.append(X.T @ residual, residual.sum())
        buffer = momentum * buffer + gradient + 2 * lam * np.append(w[:3], on_intercept * w[3])
        w = w - 0.05 * buffer
        rows.append(w)
    return np.array(rows)


def losses_of(rows, lam=0.3, half=False):
    return np.array([(0.5 if half else 1) * np.mean((X @ w[:3] + w[3] - Y) ** 2) + lam * np.sum(w[:3] ** 2) for w in rows])


PLANTED = {
    "ridge_forgotten": {"lam": 0.0},
    "ridge_missing_two": {"lam": 0.15},
    "ridge_divided_by_n": {"lam": 0.01},
    "ridge_on_intercept": {"on_intercept": 1.0},
}


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_rows_several_epochs_apart(momentum):
    asked = ASKED | {"ridge": 0.3, "optimizer": fastgd.SGD(momentum=momentum)}
    rows = rows_of(momentum=momentum)
    for lam in (0.0, 0.3):  # in the losses: both are habits
        report = fastgd.verify((rows[::4], losses_of(rows[::4], lam)), X, Y, epochs=16, **asked)
        assert report.outcome == "agrees", str(report)
        assert "every 4th row" in str(report)
    for code, planted in PLANTED.items():
        report = fastgd.verify(rows_of(momentum=momentum, **planted)[::4], X, Y, epochs=16, **asked)
        assert report.diagnosis.codes == (code,), str(report)
        assert report.first.epoch == 4
        assert "instead of" in str(report)
    rates = 0.05 * 0.5 ** (np.arange(16) // 5)
    w = [np.zeros(4)]
    for rate in rates:
        w.append(step(w[-1], X, Y, rate, 0.3))
    report = fastgd.verify(np.array(w)[::4], X, Y, epochs=16, **ASKED, ridge=0.3, schedule=fastgd.schedules.StepLR(5, 0.5))
    assert report.outcome == "agrees", str(report)
    if momentum:
        report = fastgd.verify(rows_of(lam=0.0)[::4], X, Y, epochs=16, **asked | {"ridge": None})
        assert report.diagnosis.code == "plain_descent"


def test_losses_alone():
    asked = ASKED | {"ridge": 0.3}
    for lam in (0.0, 0.3):
        report = fastgd.verify((None, losses_of(rows_of(), lam)), X, Y, **asked)
        assert report.outcome == "agrees", str(report)
        assert ("with the penalty" in str(report)) == bool(lam)
    for code, planted in PLANTED.items():
        assert fastgd.verify((None, losses_of(rows_of(**planted))), X, Y, w0=np.zeros(4), **asked).diagnosis.codes == (code,)
    assert not fastgd.verify((None, losses_of(rows_of(), 0.3 + 1e-9)), X, Y, **asked).ok


def test_half_of_the_squares_with_a_penalty_beside_them():
    """J = 1/(2m) (sum(r²) + λ sum(θ²)) of courses: ridge is λ/(2m), and J is half of the whole."""
    asked = ASKED | {"ridge": 0.3, "reduction": "half_mean"}
    rows = rows_of(half=True)
    J = losses_of(rows, half=True)
    for given in ((rows, J), (None, J), (rows, 2 * J), (rows, losses_of(rows, 0.0, half=True)), (rows[::4], J[::4])):
        report = fastgd.verify(given, X, Y, epochs=16, **asked)
        assert report.outcome == "agrees", str(report)
    assert "loss_includes_penalty" in fastgd.verify((rows, losses_of(rows, 0.7, half=True)), X, Y, **asked).diagnosis.codes


def model(**options):
    module = torch.nn.Linear(3, 1).double()
    return module, torch.optim.SGD(module.parameters(), lr=0.01, **options)


def test_torch_modules_and_optimizers():
    asked = {"intercept": True, "ridge": 0.3, "epochs": 12}
    for reduction in ("mean", "sum", "half_mean"):
        report = fastgd.verify(model(momentum=0.5), X, Y, **asked, reduction=reduction)
        assert report.outcome == "agrees", str(report)
        assert "each loss is read as that with the penalty" in str(report)
    report = fastgd.verify(model(weight_decay=0.6), X, Y, **asked)
    assert report.diagnosis.code == "ridge_on_intercept"
    assert "the penalty is the weight_decay of the torch optimizer, 0.6" in str(report)
    module, _ = model()
    groups = [{"params": [module.weight], "weight_decay": 0.6}, {"params": [module.bias], "weight_decay": 0.0}]
    assert fastgd.verify((module, torch.optim.SGD(groups, lr=0.01)), X, Y, **asked).outcome == "agrees"
    assert fastgd.verify((module, torch.optim.SGD(groups, lr=0.01)), X, Y, intercept=True, epochs=3).outcome == "agrees"
    without = torch.nn.Linear(3, 1, bias=False).double()
    optimizer = torch.optim.SGD(without.parameters(), lr=0.01, weight_decay=0.3)
    assert fastgd.verify((without, optimizer), X, Y, ridge=0.3, epochs=12).diagnosis.code == "ridge_missing_two"


def test_a_torch_optimizer_that_is_asked_for():
    for decay in (0.0, 0.6):
        asked = torch.optim.SGD([torch.zeros(1)], lr=0.05, weight_decay=decay)
        assert fastgd.verify(rows_of(), X, Y, ridge=0.3, intercept=True, optimizer=asked).outcome == "agrees"
    asked = torch.optim.SGD([torch.zeros(1)], lr=0.05, weight_decay=0.3)
    with pytest.raises(ValueError, match=r"gradient of weight_decay=0\.6, and the torch optimizer has weight_decay=0\.3: give ridge or"):
        fastgd.verify(rows_of(), X, Y, ridge=0.3, intercept=True, optimizer=asked)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("ridge must be at least 0; it is -1", {"ridge": -1.0}),
        ("give ridge, which leaves the intercept alone, or weight_decay", {"ridge": 1.0, "optimizer": fastgd.SGD(weight_decay=0.1)}),
        ("the weight decay of AdamW is not", {"ridge": 1.0, "optimizer": "adamw"}),
        ("ridge must be a number here", {"ridge": [1.0, 2.0]}),
        ("ridge goes with a mean", {"ridge": 1.0, "batch_size": 5, "reduction": "sum"}),
    ],
)
def test_bad_options(words, asked):
    with pytest.raises(ValueError, match=words):
        fastgd.verify(step, X, Y, epochs=3, **ASKED, **asked)
