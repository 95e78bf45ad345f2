"""Schedules of the learning rate, as causes."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.verification.causes.schedule import _geometric
from tests.support import planted_descents as plants
from tests.support.planted_cases import make_case


@pytest.mark.parametrize("ratio", [0.9, -2.0])
def test_a_geometric_row_is_told_from_its_errors(ratio):
    """Moved by all of the errors, one way or the other, there still is one ratio; beyond them there
    is none."""
    rng = np.random.default_rng(4)
    true = 3 * ratio ** np.arange(7.0)
    errors = 1e-3 * rng.uniform(0.1, 1, 7) * abs(true)
    for signs in rng.choice([-1, 1], (100, 7)):
        assert _geometric(true + 0.999 * signs * errors, errors)
    for i in range(1, 6):
        for side in (-1, 1):  # 3 e_i: beyond its own error by more than what those of its neighbours allow
            moved = true.copy()
            moved[i] += side * 3 * abs(true[i]) * (errors / abs(true)).max()
            assert not _geometric(moved, errors)
    assert _geometric(true, 0 * errors) == (ratio == -2.0)  # without errors only what is exact
    assert not _geometric(abs(true) * [1, 1, 1, 1, 1, 1, -1], errors)
    assert _geometric([1.0, 5.0, 30.0], [2.0, 1.0, 1.0])  # hardly anything is known of the first


def test_a_schedule_that_was_meant():
    rng = np.random.default_rng(3)
    case = make_case(rng, "float64", kind="normal", least_d=2)
    planted = plants.run(case, rate=lambda t: 0.9**t)
    schedule = case.lr * 0.9 ** np.arange(case.epochs)
    given = {"intercept": case.intercept}
    assert fastgd.diagnose(case.X, case.y, planted.w, planted.loss, lr=schedule, **given).ok
    diagnosis = fastgd.diagnose(case.X, case.y, planted.w, planted.loss, lr=case.lr, **given)
    assert diagnosis.code == "lr_schedule"
    assert "times 0.9 per epoch" in diagnosis.sentence


@pytest.mark.parametrize("count", [2, 4])
def test_rates_of_other_epochs_are_refused(count):
    """One rate is needed, or one for each epoch."""
    w = np.zeros((4, 1))
    fastgd.diagnose([1.0, 2.0], [1.0, 2.0], w, lr=[0.1] * 3)
    with pytest.raises(ValueError, match="lr must be a number, or one per epoch"):
        fastgd.diagnose([1.0, 2.0], [1.0, 2.0], w, lr=np.full(count, 0.1))
