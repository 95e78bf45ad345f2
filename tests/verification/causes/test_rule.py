"""Update rules as causes: each is named; momentum, decay and Adam may have been asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.kernels.cpu.test_bits import make_data
from tests.support import planted_descents as plants
from tests.support.planted_cases import make_case
from tests.support.rule_options import rules_of


def test_what_was_asked_for_may_be_momentum_decay_or_adam():
    rng = np.random.default_rng(2)
    case = replace(make_case(rng, "float64", kind="normal", least_d=2), epochs=20)
    decayed = plants.run(case, rule=lambda w, g, lr, t, memory: plants.heavy_ball(0.9)(w, g + 0.1 * w, lr, t, memory))
    ball = fastgd.SGD(momentum=0.9, weight_decay=0.1)
    asked = {"lr": case.lr, "intercept": case.intercept, "w0": case.w0}
    assert fastgd.diagnose(case.X, case.y, decayed.w, decayed.loss, optimizer=ball, **asked).ok
    adam = plants.run(case, rule=plants.adam_like())
    assert fastgd.diagnose(case.X, case.y, adam.w, adam.loss, optimizer="adam", **asked).ok
    plain = plants.run(case)
    assert fastgd.diagnose(case.X, case.y, plain.w, plain.loss, optimizer=ball, **asked).code == "plain_descent"
    uncorrected = plants.run(case, rule=plants.adam_like(bias=False))
    assert fastgd.diagnose(case.X, case.y, uncorrected.w, optimizer="adam", **asked).code == "adam_no_bias_correction"
    summed = plants.run(case, gradient=lambda X, y, w, t: 2 * (X.T @ (X @ w - y)), rule=plants.heavy_ball(0.9))
    diagnosis = fastgd.diagnose(case.X, case.y, summed.w, optimizer=fastgd.SGD(momentum=0.9), **asked)
    assert diagnosis.code == "gradient_sum"
    assert fastgd.diagnose(case.X, case.y, plants.run(replace(case, lr=case.lr)).w, reduction="sum", **asked).code == "gradient_mean"


@pytest.mark.share(2)
@pytest.mark.parametrize("rule", [name for name in UPDATE_RULES if name != "sgd"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_rule_is_named(rule, dtype, torch):
    """Where SGD was asked for; where the rule itself was, all is well."""
    X, y = make_data(20, 2, dtype, "normal")
    backend = "torch" if rule in rules_of("torch") else "numpy"
    for lr in (0.02, 0.3):
        history = fastgd.fit(X, y, lr=lr, epochs=20, optimizer=rule, backend=backend, history=True).history
        assert fastgd.diagnose(X, y, history.w, history.loss, lr=lr).code == rule
        assert fastgd.diagnose(X, y, history.w, history.loss, lr=lr, optimizer=rule).ok
