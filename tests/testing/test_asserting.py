"""`assert_agrees`: its message is the verdict with its cause."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd import testing
from fastgd.testing import Disagreement, assert_agrees


def step(w, X, y, lr):
    return w - lr * (X.T @ (X @ w - y)) / len(y)  # without the factor 2


def test_the_message_is_the_verdict_with_its_cause():
    X = np.random.default_rng(0).standard_normal((20, 2))
    with pytest.raises(Disagreement, match="gradient_missing_two: the factor 2 of the derivative of a square is missing") as caught:
        assert_agrees(step, X, X @ [1.0, 2.0], lr=0.1, epochs=10)
    assert isinstance(caught.value, AssertionError)
    assert caught.value.report.diagnosis.code == "gradient_missing_two"
    assert str(caught.value).strip() == str(caught.value.report)
    assert assert_agrees("numpy", X, X @ [1.0, 2.0], lr=0.1, epochs=10).ok
    with pytest.raises(AttributeError, match="nonsense"):
        testing.nonsense  # noqa: B018
