"""A small error of the gradient is found."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import planted_descents as plants
from tests.support.planted_cases import Case
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
