"""A small error of the gradient is found; half of loss and gradient is one convention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fastgd
from tests.support import planted_descents as plants
from tests.support.planted_cases import Case, make_case
from tests.support.planted_verdicts import ask


@pytest.mark.parametrize(("dtype", "smallest"), [("float64", 1e-13), ("float32", 3e-5)])
def test_a_small_error_of_the_gradient_is_found(dtype, smallest):
    """A relative error of the gradient: found, and not taken for anything but a step of another
    length."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20, 2))
    y = X @ [1.0, -2.0] + rng.standard_normal(20)
    case = Case("power", X, y, np.zeros(2), 0.3, 20, dtype, False)
    wrong = plants.run(case, gradient=lambda X, y, w, t: plants.mean_gradient(X, y, w, t) * X.dtype.type(1 + smallest))
    diagnosis = ask(case, wrong)
    assert diagnosis.code in ("lr_scaled", "unknown"), str(diagnosis)
    assert ask(case, plants.correct(case)).ok


def test_half_of_both_is_one_convention():
    """J = 1/(2n) Σ r², as courses have it: one cause; half of the loss or the gradient alone is a
    defect."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((20, 2))
    y = X @ [1.0, -2.0] + rng.standard_normal(20)
    case = Case("convention", X, y, np.zeros(2), 0.3, 20, "float64", False)
    whole, half = plants.correct(case), plants.PLANTS["half_convention"](case, rng)
    diagnosis = ask(case, half)
    assert diagnosis.codes == ("half_convention",)
    assert "gradient_missing_two + loss_half" in diagnosis.also_possible
    assert "one convention, and no two defects" in diagnosis.sentence
    assert diagnosis.evidence["tau"] <= 8
    assert diagnosis.evidence["tau_loss"] <= 8
    assert ask(case, plants.Planted(half.w, 2 * half.loss, w0=case.w0)).codes == ("gradient_missing_two",)
    assert ask(case, plants.Planted(whole.w, whole.loss / 2, w0=case.w0)).codes == ("loss_half",)
    assert fastgd.diagnose(X, y, half.w, lr=0.3).codes == ("gradient_missing_two",)
    assert fastgd.verify((half.w, half.loss), X, y, lr=0.3).diagnosis.codes == ("half_convention",)
    assert "double lr" in diagnosis.fix
    doubled = plants.PLANTS["half_convention"](replace(case, lr=0.6), rng)
    assert fastgd.diagnose(X, y, doubled.w, 2 * doubled.loss, lr=0.3).ok


def test_the_convention_beside_another_defect():
    rng = np.random.default_rng(7)
    case = replace(make_case(rng, "float64", kind="normal", least_d=2), epochs=20)
    planted = plants.run(
        case,
        gradient=lambda X, y, w, t: plants.mean_gradient(X, y, w, t) / 2,
        rule=plants.heavy_ball(0.9),
        loss=lambda X, y, w: plants.mean_loss(X, y, w) / 2,
    )
    assert ask(case, planted).codes == ("momentum", "half_convention")
