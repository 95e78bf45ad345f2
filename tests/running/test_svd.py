"""Least squares by the singular value decomposition: rank, condition, minimum norm, and columns of
any size."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.running.svd import factor
from tests.support.jobs import numbers

ULPS = 32 * 2.0**-52  # LAPACK's test ratio, 30, for well-conditioned numbers near 1


def test_powers_of_two_are_solved_exactly():
    X, y = np.array([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]]), np.array([6.0, 8.0, 5.0])
    found = factor(X, 0.0)
    assert (found.rank, found.condition) == (2, 1.0)
    assert found.solve(y).tolist() == [3.0, 2.0]


def test_the_scale_of_a_column_changes_nothing_but_its_weight():
    """Scaled by powers of two the columns give the digits of the unscaled ones."""
    X, y = numbers(20, 3), numbers(20)
    scales = np.array([2.0**40, 1.0, 2.0**-60])
    plain, scaled = factor(X, 0.0), factor(X * scales, 0.0)
    assert (plain.rank, plain.condition) == (scaled.rank, scaled.condition)
    assert (scaled.solve(y) * scales).tolist() == plain.solve(y).tolist()
    assert factor(X, 0.0).solve(y * 2.0**30).tolist() == (plain.solve(y) * 2.0**30).tolist()


def test_equal_columns_share_the_weight():
    column = numbers(9)
    found = factor(np.stack([column, column], axis=1), 0.0)
    assert found.rank == 1
    w = found.solve(3.0 * column)
    assert np.abs(w - 1.5).max() < ULPS


def test_a_penalty_makes_every_column_count():
    """One sample, one feature: w = x·y/(x² + λ)."""
    found = factor(np.array([[2.0]]), 2.0)  # λ = 4
    assert found.rank == 1
    assert abs(found.solve(np.array([8.0]))[0] - 2.0) < ULPS
    wide = factor(np.array([[1.0, 1.0]]), 1.0)  # w = y/(1 + 1 + λ) each
    assert wide.rank == 2
    assert np.abs(wide.solve(np.array([6.0])) - 2.0).max() < ULPS


def test_fewer_samples_than_features_have_the_minimum_norm():
    found = factor(np.array([[3.0, 4.0]]), 0.0)
    assert found.rank == 1
    w = found.solve(np.array([25.0]))
    assert np.abs(w - [3.0, 4.0]).max() < 4 * ULPS


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_zeros_have_rank_zero(shape):
    found = factor(np.zeros(shape), 0.0)
    assert (found.rank, found.condition) == (0, 1.0)
    assert found.solve(np.ones(shape[0])).tolist() == [0.0] * shape[1]
