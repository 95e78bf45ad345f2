"""The bound of one step, worked out by hand, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.verification.bound import check_step


def test_the_bound_worked_out_by_hand():
    # n = d = 1, X = y = 1, w = 0, lr = 1/4: r = -1, g = -2, ŵ = 1/2; in units of u: δ = 2, |δg| = 2
    # (2 + 3) + 3·2 = 16, ℓ = 16/4 + 2/2 + 1/2 = 11/2 and Λ = 2·2 + (3+2) + 2 = 11, but for terms of
    # η and u²
    u = 2.0**-53
    step = check_step([1.0], [1.0], [0.0], [0.5 + u], 1 + 2 * u, lr=0.25, dtype="float64")
    assert abs(step.tau_w - 2 / 11) <= 2 * u
    assert abs(step.tau_loss - 2 / 11) <= 2 * u
    higher = check_step([1.0], [1.0], [1.0], [1.0 + 2 * u], 0.0, lr=0.25, dtype="float64", held_higher=True)
    # at w = 1: r = 0, δ = u (3 + 1), |δg| = 2·4u, ℓ = 2 + 1, and 1 more for the state held in
    # higher precision
    assert abs(higher.tau_w - 2 / 4) <= 2 * u


def test_the_terms_for_underflow_by_hand():
    # X = y = w = 0, n = 1, D = 2: δ = 4η. The intercept: |δg| = 2·4 + 2 (1 + 1) + 2 = 14, ℓ = 16;
    # the feature: |δg| = 2 (0 + 1) + 2 = 4, ℓ = 6
    tiny = 2.0**-1074
    for w_next, share in (([0.0, tiny], 1 / 16), ([tiny, 0.0], 1 / 6)):
        step = check_step([[0.0]], [0.0], [0.0, 0.0], w_next, 0.0, lr=1.0, dtype="float64", intercept=True)
        assert abs(step.tau_w - share) <= 2.0**-53


def test_float64_needs_a_long_double_that_is_longer(monkeypatch):
    monkeypatch.setattr(np, "longdouble", np.float64)
    with pytest.raises(RuntimeError, match=r"significand of 64 bits or more.*has 53"):
        check_step([1.0], [1.0], [0.0], [0.5], 1.0, lr=0.25, dtype="float64")
    assert check_step([1.0], [1.0], [0.0], [0.5], 1.0, lr=0.25, dtype="float32").tau_w == 0
