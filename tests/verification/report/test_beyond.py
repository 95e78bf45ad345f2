"""What is said of the first wrong value: digits enough to see it, percent of a step, and "not a
number" only of a NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastgd
from fastgd.verification.report.beyond import Beyond

X4 = np.array([1.0, 2.0, 3.0, 4.0])


def first_line(w, loss=None, **asked):
    return str(fastgd.verify((w, loss) if loss is not None else w, X4, 2 * X4, lr=0.01, **asked)).splitlines()[0]


def right(epochs=4, factor=1.0):
    rows = [0.0]
    for _ in range(epochs):
        rows.append(rows[-1] - 0.01 * factor * np.mean(2 * X4 * (rows[-1] * X4 - 2 * X4)))
    return rows


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_a_number_is_said_of_nan_alone(value):
    rows = right()
    rows[2] = value
    told = first_line(rows)
    assert ("is not a number" in told) == math.isnan(value)
    assert ("is infinite" in told) == math.isinf(value)
    assert "from epoch 2 on" in told


def test_the_start_and_the_loss():
    rows = right()
    assert "w[0] is 0 instead of 5 at the start" in first_line(rows, w0=5.0)
    losses = [np.mean((w * X4 - 2 * X4) ** 2) for w in rows]
    losses[1] *= 1 + 1e-9
    told = first_line(rows, losses)
    assert "from epoch 1 on: loss is 21.67500002 instead of 21.675, off by 1e-07 %" in told  # 30 * 0.85**2


def test_digits_enough_to_see_the_difference():
    rows = right(factor=1 + 1e-11)
    told = first_line(rows)
    assert "w[0] is 0.300000000003 instead of 0.3, off by 1e-09 % of its step" in told


def test_a_step_of_zero_has_no_percent():
    told = first_line([2.0, 2.5])
    assert "w[0] is 2.5 instead of 2 (" in told
    assert "%" not in told


def test_words_of_what_is_known():
    assert Beyond(3, "w[1]", 1e6).in_words(8.0) == "w[1] is 1e+06 times its rounding-error bound (8 are allowed)"
    # twice the bound's 8: rounding explains a half of what it is off
    told = Beyond(3, "w[1]", 16.0, 1.5, 1.0, 0.5, 1.0).in_words(8.0)
    assert told.startswith("w[1] is 1.5 instead of 1, off by 50 % of its step; rounding explains at most 25 % (16 times the ")
    assert "off by 12 times its step" in Beyond(1, "w[0]", 1e9, 13.0, 1.0, 12.0, 1.0).in_words(8.0)
