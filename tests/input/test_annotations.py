"""The types of arguments: what they let pass is what `fit` takes (tests/house/test_types.py has
type checkers look at whole programs)."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

import fastgd
from fastgd.input import annotations

x = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("optimizer", annotations.OptimizerName),
        ("nan_policy", annotations.NanPolicy),
        ("reduction", annotations.Reduction),
        ("algorithm", annotations.Algorithm),
    ],
)
def test_every_choice_is_taken(option, choices):
    assert get_args(choices)
    for choice in get_args(choices):
        assert np.isfinite(fastgd.fit(x, 2 * x, epochs=2, **{option: choice}).loss)


@pytest.mark.parametrize("dtype", [*get_args(get_args(annotations.DType)[0]), float, np.float32, np.float64, np.dtype("float32")])
def test_every_dtype_is_taken(dtype):
    assert fastgd.fit(x, 2 * x, epochs=2, dtype=dtype).w.dtype == dtype


def test_what_is_no_choice_is_refused():
    for option in ("optimizer", "nan_policy", "reduction", "algorithm", "backend", "dtype"):
        with pytest.raises((TypeError, ValueError), match=option):
            fastgd.fit(x, x, **{option: "none of them"})
