"""The way between the caller's units and those of the scaled features, by hand."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

import fastgd
from fastgd.kernels.cpu import unscale


@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("float64", "float64"), ("float64", "float32")])
@pytest.mark.parametrize("intercept", [False, True])
def test_rows_are_converted(dtypes, intercept):
    """w / scale, and b − Σ w·center in the order of the features, in float64; rounded once."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 7, 2 + intercept)).astype(dtypes[0])
    center, scale = rng.standard_normal((3, 2)), rng.uniform(1, 2, (3, 2))
    expected = values.astype(np.float64)
    for fit in range(3):
        for row in expected[fit]:
            w = [float(row[j]) / scale[fit, j] for j in range(2)]
            if intercept:
                row[2] = (float(row[2]) - w[0] * center[fit, 0]) - w[1] * center[fit, 1]
            row[:2] = w
    out = values if dtypes[0] == dtypes[1] else np.empty(values.shape, dtypes[1])
    unscale(values, center, scale, intercept, out, np.zeros(1, np.int32))
    assert out.tolist() == expected.astype(dtypes[1]).tolist()


def test_pairs_that_share_x_may_bring_centers_of_their_own():
    """Then each gets a record of its own, and those of the group stay as they are for the next."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((4, 30, 2)) + 9, rng.standard_normal((4, 30))
    state = fastgd.fit(X, y, intercept=True, standardize=True, epochs=2).state
    shared = fastgd.fit(X[0], y, intercept=True, standardize=True, epochs=3, state=state)
    for k in range(4):
        arrays = {field.name: value for field in fields(state) if isinstance(value := getattr(state, field.name), np.ndarray)}
        own = replace(state, **{name: value[k : k + 1] for name, value in arrays.items()})
        alone = fastgd.fit(X[:1], y[k : k + 1], intercept=True, standardize=True, epochs=3, state=own)
        assert (shared.w[k] == alone.w[0]).all()
        assert (shared.center[k] == state.center[k]).all()
