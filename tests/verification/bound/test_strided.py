"""Rows that are several epochs apart: the share of the bound of their steps, which is sharp."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.testing import problems, rates
from fastgd.verification.bound.strided import strided_shares
from tests.support.torch_histories import torch_history

NAMED = {problem.name: problem for problem in problems()}


def shares(data, w, at, lr, dtype, **others):
    asked = {"lr": lr, "reduction": "mean", "dtype": dtype, "intercept": data.intercept, "held_higher": False, "limit": 8.0}
    return strided_shares(data.X, data.y, w[at], np.asarray(at), **asked | others)[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["tutorial", "noise_free", "n_2_d_1_intercept", "n_5_d_9", "condition_1e7", "nist_longley"])
def test_correct_histories_are_within_the_bound(name, dtype):
    data = NAMED[name].astype(dtype)
    for lr in rates(data).values():  # the last is unstable
        w = torch_history(data, lr, 40).w
        for at in (range(0, 41, 5), [0, 40], [0, 1, 4, 25, 40]):
            found = shares(data, w, list(at), lr, dtype)
            assert np.isnan(found[0]).all()
            assert found[1:].max() < 1  # 8 are allowed


def test_a_relative_error_of_1e_12_of_one_row_is_seen():
    data = NAMED["noisy"].astype("float64")
    lr = rates(data)[1.0]
    w = np.array(torch_history(data, lr, 40).w)
    w[20] *= 1 + 1e-12
    found = shares(data, w, list(range(0, 41, 10)), lr, "float64")
    assert found[1].max() < 1
    assert found[2].max() > 8
    assert np.isnan(found[3:]).all()  # what follows is not judged


def test_a_rate_for_every_epoch():
    data = NAMED["noisy"].astype("float64")
    lr = rates(data)[1.0] / np.arange(1, 13)
    w = [np.zeros(data.X.shape[1])]
    for rate in lr:
        w.append(w[-1] - rate * (2 / len(data.y) * data.X.T @ (data.X @ w[-1] - data.y)))
    assert shares(data, np.array(w), [0, 4, 8, 12], lr, "float64")[1:].max() < 1
    assert shares(data, np.array(w), [0, 4, 8, 12], lr[0], "float64")[1].max() > 8


def test_rows_that_may_overflow_are_not_judged():
    data = NAMED["noisy"].astype("float32")
    with np.errstate(all="ignore"):
        w = torch_history(data, 1e30, 12).w
    assert np.isnan(shares(data, w, [0, 6, 12], 1e30, "float32")).all()
