"""Stability: its formulas, against exact rationals and numbers by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fastgd import Stability
from tests.support.refusals import refused_call

TOLS = (0.5, 1e-3, 1e-9, 1e-30)


def of(largest, least) -> Stability:
    return Stability(np.asarray(largest, float), np.asarray(least, float))


def test_the_rates_by_hand():
    found = of([4.0, 9.0], [1.0, 9.0])
    assert found.condition.tolist() == [4.0, 1.0]
    assert found.lr_limit.tolist() == [0.5, 2 / 9]
    assert found.lr_limit_of([[0.0], [0.5]]).tolist() == [[0.5, 2 / 9], [0.75, 3 / 9]]
    assert found.best_lr.tolist() == [0.4, 2 / 18]
    assert found.heavy_ball_lr.tolist() == [4 / 9, 4 / 36]
    assert found.heavy_ball_momentum.tolist() == [(1 / 3) ** 2, 0.0]


@pytest.mark.parametrize("tol", TOLS)
@pytest.mark.parametrize("lr", [None, Fraction(1, 100), Fraction(1, 9), Fraction(1, 13)])
def test_epochs_are_the_least_that_suffice(tol, lr):
    for largest, least in ((16, 1), (16, 9), (9, 4), (25, 25)):
        rate = Fraction(2, largest + least) if lr is None else lr
        rho, epochs = max(abs(1 - rate * largest), abs(1 - rate * least)), 1
        found = of(largest, least).epochs(tol, None if lr is None else float(lr))
        if rho >= 1:
            assert found == np.inf
            continue
        while rho ** (2 * epochs) > Fraction(tol):
            epochs += 1
        assert found == epochs


@pytest.mark.parametrize("tol", TOLS)
def test_epochs_of_the_heavy_ball_are_the_least_that_suffice(tol):
    pairs = [(4, 3), (4, 1), (30, 1), (7, 7), (101, 100)]  # roots of λ_max and λ_min
    found = of([a * a for a, _ in pairs], [b * b for _, b in pairs]).heavy_ball_epochs(tol)
    for (a, b), epochs in zip(pairs, found.tolist(), strict=True):
        r, goal = Fraction(a - b, a + b), Fraction(tol)
        enough = [(r**t * (1 + t * (1 + r))) ** 2 <= goal for t in range(1, 3000)]
        assert enough[-1]
        assert epochs == 3000 - enough[::-1].index(False) if False in enough else epochs == 1


def test_what_never_gets_there_and_what_is_not_known():
    found = of([2.0, np.nan, 0.0], [0.0, np.nan, 0.0])
    assert found.condition[0] == np.inf
    assert np.isnan(found.condition[1:]).all()
    for epochs in (found.epochs(1e-3), found.heavy_ball_epochs(1e-3)):
        assert epochs[0] == np.inf
        assert np.isnan(epochs[1:]).all()
    known = of(4.0, 1.0)
    assert (known.epochs(0.0), known.heavy_ball_epochs(0.0)) == (np.inf, np.inf)
    assert (of(2.0, 2.0).epochs(0.0), of(2.0, 2.0).heavy_ball_epochs(0.0)) == (1, 1)
    assert (known.epochs(1.0), of(2.0, 0.0).epochs(1.0)) == (1, 1)
    assert known.epochs(1e-3, lr=[0.5, 0.6]).tolist() == [np.inf, np.inf]


def test_what_is_wrong_is_refused():
    found = of(4.0, 1.0)
    refused_call(TypeError, "tol must be a number", lambda: found.epochs(None))
    refused_call(ValueError, "tol must be", lambda: found.heavy_ball_epochs(-1.0))
    refused_call(ValueError, "momentum must be at least 0 and below 1; it is 1", lambda: found.lr_limit_of(1.0))
    refused_call(ValueError, "lr must be finite", lambda: found.epochs(0.1, lr=np.inf))


def test_it_prints_itself():
    assert "lambda_max 4; lambda_min 1; condition 4; lr_limit 0.5; best_lr 0.4; heavy ball lr 0.444444" in repr(of(4.0, 1.0))
    many = of([4.0, 9.0, np.nan], [1.0, 9.0, np.nan])
    assert "fits 3; lambda_max 4 to 9; lambda_min 1 to 9" in repr(many)
    assert "1 to 4" in many._repr_html_()
    assert "lambda_max not known" in repr(of(np.nan, np.nan))
