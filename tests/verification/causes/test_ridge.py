"""`ridge=` of verify and diagnose: right ones agree, in every form; the planted causes are those of
test_diagnosis.py."""

from __future__ import annotations

import numpy as np
import pytest

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
