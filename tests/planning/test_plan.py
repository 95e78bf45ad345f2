"""Which backend and algorithm `auto` takes, and the explanation of the choice."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.support.fit_results import x, y


@pytest.mark.parametrize(
    ("n", "d", "intercept", "algorithm"),
    [
        (4, 2, False, "stream"),
        (5, 2, False, "moments"),
        (4, 2, True, "stream"),
        (5, 2, True, "moments"),
        (1, 1, False, "stream"),
        (2, 1, False, "stream"),
        (3, 1, False, "moments"),
        (513, 256, False, "moments"),
        (515, 257, False, "stream"),
    ],
)
def test_auto_and_its_explanation(n, d, intercept, algorithm):
    X = np.ones((n, d), np.float32)
    for options in ({}, {"lr": [1e-9, 1e-8]}, {"epochs": 0, "lr": 0.0}, {"history": True, "epochs": 2, "threads": 1}):
        result = fastgd.fit(X, X[:, 0], **({"epochs": 1, "intercept": intercept} | options))
        assert (result.backend, result.algorithm) == ("cpu", algorithm)
        assert result.explanation.startswith("cpu: the data are in the computer's memory; " + algorithm + ": n_")
        assert {result.state.algorithm_names[code] for code in np.ravel(result.state.algorithm)} == {algorithm}
        assert f" {d}" in result.explanation


def test_explanations_of_what_was_asked_for():
    assert fastgd.fit(x, y, backend="cpu", algorithm="stream").explanation == "cpu: asked for; stream: asked for"
    assert fastgd.fit(x, y, backend="numpy").explanation == "numpy: asked for; manual: the hand-written NumPy descent"


def test_the_explanation_of_torch(torch):
    assert fastgd.fit(x, y, backend="torch").explanation == "torch: asked for; autograd: torch.autograd and torch.optim"
