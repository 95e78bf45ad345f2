"""Every wrong line of docs/causes.md is named."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastgd
from tests.support.paths import ROOT
from tests.support.wrong_lines import (
    ADAM,
    BATCHES,
    FEATURES,
    LOOP,
    LR,
    OF_ADAM,
    OF_BATCHES,
    OF_WEIGHTS,
    TARGET,
    WEIGHTED,
    WEIGHTS,
    body,
    descend,
)

PAGE = (ROOT / "docs" / "causes.md").read_text("utf-8")
ROWS = [(code, line, wrong) for code, line, wrong in re.findall(r"^\| `(\w+)` \| (\w+) \| `(.+)` \|$", PAGE, re.MULTILINE)]


def asked(line):
    """What the author of a loop with this line would say."""
    of_batches = {"batch_size": 6, "schedule": lambda epoch: 0.9**epoch, "epochs": 12}
    return {"lr": LR, "intercept": True, **(of_batches if line in OF_BATCHES else {"sample_weight": WEIGHTS} if line in OF_WEIGHTS else {})}


def handed_over(w, losses):
    return (w, losses) if len(losses) else w


@pytest.mark.share(4)
@pytest.mark.parametrize(("code", "line", "wrong"), ROWS, ids=[f"{code}-{k}" for k, (code, _, _) in enumerate(ROWS)])
def test_a_wrong_line_is_named(code, line, wrong):
    w, losses = descend(body(line, wrong))
    rule = "adam" if line in OF_ADAM else "sgd"
    diagnosis = fastgd.verify(handed_over(w, losses), FEATURES, TARGET, optimizer=rule, w0=np.zeros(3), **asked(line)).diagnosis
    assert diagnosis.code == code, str(diagnosis)
    if code != "rows_are_one_array" and line not in OF_BATCHES:
        tau = "tau_loss" if code.startswith("loss") else "tau"
        assert code in ("initial_w", "plain_descent") or diagnosis.evidence[tau] <= 8 < diagnosis.evidence[f"{tau}_asked"]


def test_the_loops_of_the_page_are_right():
    assert len(ROWS) > 60
    assert re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) == [LOOP, ADAM, BATCHES, WEIGHTED]
    for line, right, rule in (("step", "w = w - lr * gradient", "sgd"), ("w", ADAM.splitlines()[-1], "adam")):
        w, losses = descend(body(line, right))
        assert fastgd.diagnose(FEATURES, TARGET, w, losses, lr=LR, optimizer=rule, intercept=True).ok
    for line, right in (("of_step", "w = w - lr * 0.9**epoch * gradient"), ("weighted", WEIGHTED.splitlines()[0])):
        assert fastgd.verify(handed_over(*descend(body(line, right))), FEATURES, TARGET, **asked(line)).outcome == "agrees"
