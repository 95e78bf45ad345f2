"""Validation data: Moments of them, and bad numbers, which are named.

Their losses are compared with loops in tests/fit/test_stopping.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from tests.support.stopping_company import RATES, assert_equal, data_of_company

x = np.array([1.0, 2, 3, 4])


def test_moments_in_place_of_samples():
    X, y, X_val, y_val = data_of_company()
    X, y = np.nan_to_num(X), np.nan_to_num(y)
    options = {"lr": RATES[:5, None, None], "epochs": 200, "patience": 5, "restore_best": True, "history": 20}
    samples = fastgd.fit(X, y, X_val=X_val, y_val=y_val, intercept=True, algorithm="moments", **options)
    moments = fastgd.compress(X, y, intercept=True)
    assert_equal(fastgd.fit(moments, X_val=X_val, y_val=y_val, **options), samples)
    of_val = fastgd.compress(X_val, y_val, intercept=True)
    assert_equal(fastgd.fit(moments, X_val=of_val, **options), samples)


@pytest.mark.parametrize(("number", "words"), [(np.nan, "of the validation data: X is not finite: nan in row 2"), (-1.0, "")])
def test_bad_numbers_of_validation_data_are_named(backend, number, words):
    X_val, weight = x.copy(), x.copy()
    (weight if number < 0 else X_val)[2] = number
    words = words or "of the validation data: sample_weight must be at least 0; it is -1 in row 2"
    with pytest.raises(ValueError, match=words):
        fastgd.fit(x, 2 * x, lr=0.1, X_val=X_val, y_val=x, sample_weight_val=weight, patience=3, backend=backend)
