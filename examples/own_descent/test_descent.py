"""The project's tests: its gradient descent is right at every epoch.

`pytest --fastgd-report=reports` leaves a page about each failure.
"""

import numpy as np
import pytest
from descent import train

from fastgd.testing import problems, rates

PLAIN = [
    problem for problem in problems() if not problem.intercept and problem.n_samples <= 200 and problem.dtypes == ("float32", "float64")
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", PLAIN, ids=lambda problem: problem.name)
def test_every_epoch(assert_agrees, problem, dtype):
    data = problem.astype(dtype)
    assert_agrees(train, data.X, data.y, lr=rates(data)[1.0], epochs=30, w0=data.w0)


def test_a_recorded_history(assert_agrees):
    """Nothing is run here: the arrays are enough."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    assert_agrees(train(X, y, 0.1, 25, np.zeros(3)), X, y, lr=0.1)
