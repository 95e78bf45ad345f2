"""Least squares by the singular value decomposition: rank, condition, minimum norm, and columns of
any size; in stacks."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.running.svd import factor
from tests.support.jobs import numbers

ULPS = 32 * 2.0**-52  # LAPACK's test ratio, 30, for well-conditioned numbers near 1


def factor_one(X, root=0.0):
    return factor(X[None], np.array([root]))


def solve_one(found, y):
    return found.solve(y[None])[0]


def test_powers_of_two_are_solved_exactly():
    X, y = np.array([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]]), np.array([6.0, 8.0, 5.0])
    found = factor_one(X)
    assert (found.rank.tolist(), found.condition.tolist()) == ([2], [1.0])
    assert solve_one(found, y).tolist() == [3.0, 2.0]


def test_the_scale_of_a_column_changes_nothing_but_its_weight():
    """Scaled by powers of two the columns give the digits of the unscaled ones."""
    X, y = numbers(20, 3), numbers(20)
    scales = np.array([2.0**40, 1.0, 2.0**-60])
    plain, scaled = factor_one(X), factor_one(X * scales)
    assert (plain.rank, plain.condition) == (scaled.rank, scaled.condition)
    assert (solve_one(scaled, y) * scales).tolist() == solve_one(plain, y).tolist()
    assert solve_one(plain, y * 2.0**30).tolist() == (solve_one(plain, y) * 2.0**30).tolist()


def test_equal_columns_share_the_weight():
    column = numbers(9)
    found = factor_one(np.stack([column, column], axis=1))
    assert found.rank.tolist() == [1]
    assert np.abs(solve_one(found, 3.0 * column) - 1.5).max() < ULPS


def test_a_penalty_makes_every_column_count():
    """One sample, one feature: w = x·y/(x² + λ)."""
    found = factor_one(np.array([[2.0]]), 2.0)  # λ = 4
    assert found.rank.tolist() == [1]
    assert abs(solve_one(found, np.array([8.0]))[0] - 2.0) < ULPS
    wide = factor_one(np.array([[1.0, 1.0]]), 1.0)  # w = y/(1 + 1 + λ) each
    assert wide.rank.tolist() == [2]
    assert np.abs(solve_one(wide, np.array([6.0])) - 2.0).max() < ULPS


def test_fewer_samples_than_features_have_the_minimum_norm():
    found = factor_one(np.array([[3.0, 4.0]]))
    assert found.rank.tolist() == [1]
    assert np.abs(solve_one(found, np.array([25.0])) - [3.0, 4.0]).max() < 4 * ULPS


def test_the_rank_of_few_samples_does_not_depend_on_units(monkeypatch):
    """Tiny columns count; where all are alike, one decomposition tells the rank, too."""
    X = np.array([[1.0, 2.0**-60, 0.0], [1.0, -(2.0**-60), 0.0]])
    found = factor_one(X)
    assert found.rank.tolist() == [2]
    assert np.abs(solve_one(found, np.array([5.0, 3.0])) / [4.0, 2.0**60, 1.0] - [1.0, 1.0, 0.0]).max() < ULPS
    assert factor_one(X[:, :1] * [1.0, 2.0**-60, 0.0]).rank.tolist() == [1]
    many = np.full((2, 1_000), 0.99 * 2.0**-100)  # all alike but for digits that count only where these columns are tiny
    many[:, 0], many[:, 1] = [0.5, 0.5 + 50_000 * 2.0**-52], 0.25
    assert (np.linalg.matrix_rank(many), factor_one(many).rank.tolist()) == (2, [1])
    calls, svd = [], np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda X, **options: calls.append(X.shape) or svd(X, **options))
    assert factor(numbers(9, 4, 6) * np.ldexp(1.0, range(6)), np.zeros(9)).rank.tolist() == [4] * 9
    assert calls == [(9, 4, 6)]


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_zeros_have_rank_zero(shape):
    found = factor_one(np.zeros(shape))
    assert (found.rank.tolist(), found.condition.tolist()) == ([0], [1.0])
    assert solve_one(found, np.ones(shape[0])).tolist() == [0.0] * shape[1]


@pytest.mark.parametrize("root", [0.0, 0.5])
@pytest.mark.parametrize("shape", [(7, 3), (2, 3)])
def test_a_stack_has_the_bits_of_its_matrices_alone(shape, root):
    """Of full rank, with equal columns, with equal columns of another size, of zeros."""
    X, y = numbers(5, *shape), numbers(5, shape[0])
    X[1, :, 1], X[2, :, 2], X[3, :, 0] = X[1, :, 0], 1024.0 * X[2, :, 1], 0.0
    stack = factor(X, np.full(5, root))
    w = stack.solve(y)
    for i in range(5):
        alone = factor(X[i : i + 1], np.array([root]))
        assert (alone.rank[0], alone.condition[0]) == (stack.rank[i], stack.condition[i])
        assert alone.solve(y[i : i + 1]).tolist() == [w[i].tolist()]
        shared = alone.solve(y)  # one matrix, many right-hand sides
        assert all(alone.solve(y[k : k + 1])[0].tolist() == shared[k].tolist() for k in range(5))


def test_a_triangular_factor_stands_for_its_samples():
    """As many samples as they are decide which singular values count as zero."""
    X = np.ones((4, 2))
    X[0, 1] += 2.0**-45  # σ_2/σ_1 is about 2^-47, and zero is 4 or 64 times 2^-52
    assert factor_one(X).rank.tolist() == [2]
    assert factor(X[None], np.zeros(1), 64).rank.tolist() == [1]
