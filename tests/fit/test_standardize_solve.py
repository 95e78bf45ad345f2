"""solve(standardize=True): the minimiser for scaled features, in the units of X; what `fit` with
the same options converges to."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import LSTSQ, MOMENTS
from tests.fit.test_standardize import HALF_ULP, NAMES
from tests.support.fit_results import batch, same


def exact_line(x, y, weights=None):
    """(slope, intercept) of least squares in fractions."""
    x, y = [Fraction(float(v)) for v in x], [Fraction(float(v)) for v in y]
    weights = [Fraction(1)] * len(x) if weights is None else [Fraction(float(v)) for v in weights]
    total = sum(weights)
    mean_x, mean_y = (sum(o * v for o, v in zip(weights, values, strict=True)) / total for values in (x, y))
    products = sum(o * (a - mean_x) * b for o, a, b in zip(weights, x, y, strict=True))
    slope = products / sum(o * (a - mean_x) ** 2 for o, a in zip(weights, x, strict=True))
    return slope, mean_y - slope * mean_x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("start", [0.0, 2000.0, 44000.0, 2451545.0])
def test_without_a_penalty_it_is_least_squares(start, weighted, name):
    """A few roundings of the exact line, whatever the offset; by the samples where moments fail."""
    x = (start + np.arange(12)).astype(name)
    y = (np.sin(np.arange(12)) + 0.1 * np.arange(12)).astype(name)
    weights = np.linspace(0.5, 2, 12).astype(name) if weighted else None
    result = fastgd.solve(x, y, intercept=True, standardize=True, sample_weight=weights)
    slope, intercept = exact_line(x, y, weights)
    u = HALF_ULP[name]
    # w is scaled back and rounded; the moments, or the scaled samples in float64, hold 2 u of y
    assert abs(Fraction(float(result.w)) - slope) <= Fraction(4 * u) * abs(slope)
    assert abs(Fraction(float(result.intercept)) - intercept) <= Fraction(6 * u) * (abs(intercept) + abs(slope) * Fraction(float(x[-1])))
    by_samples = name == "float32" and start > 1e6
    assert int(result.state.algorithm) == (LSTSQ if by_samples else MOMENTS)
    assert result.condition < 1.001
    assert not result.ill_conditioned


def test_the_penalty_is_on_scaled_features():
    """Features that were scaled by hand, exactly: the same bits."""
    x = np.repeat([20.0, 28.0], 4)
    y = np.arange(8.0)
    for options in ({"weight_decay": 0.5}, {"weight_decay": 0.5, "reduction": "sum"}, {}):
        by_hand = fastgd.solve((x - 24) / 4, y, intercept=True, **options)
        result = fastgd.solve(x, y, intercept=True, standardize=True, **options)
        assert result.state.w.tolist() == by_hand.state.w.tolist()
        assert (result.center, result.scale) == (24, 4)
        assert result.w == by_hand.w / 4
        assert result.intercept == by_hand.intercept - by_hand.w / 4 * 24
        assert result.loss == by_hand.loss


def most_distance(X, y, state, fit, intercept, decay, epochs):
    """How far from the minimiser a descent from 0 at the safe rate may end.

    An epoch leaves q = 1 - least / largest eigenvalue of the error, zero ones left out. What an
    epoch rounds is at most γ of Σ_j |x_j|ᵀ(|X||w| + |y|) / n, times the rate, and of w itself, with
    γ = (n + D + 4) u of sums in any order; it adds up to 1/(1 - q) of that.
    """
    own = (X - state.center[fit]) / state.scale[fit]
    own = np.c_[own, np.ones(len(own))] if intercept else own
    hessian = 2 / len(own) * own.T @ own
    values = np.linalg.eigvalsh(hessian)
    values = values[values > 1e-10 * values[-1]] + decay
    w, rate = state.w[fit], 1 / values[-1]
    q, gamma = 1 - values[0] / values[-1], (sum(own.shape) + 4) * 2.0**-53
    rounded = gamma * (np.linalg.norm(rate * 2 / len(own) * np.abs(own).T @ (np.abs(own) @ np.abs(w) + np.abs(y))) + np.linalg.norm(w))
    return q**epochs * 2 * np.linalg.norm(w) + rounded / (1 - q)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("shape", [(40, 3), (5, 8), (12, 270)])
def test_it_is_what_fit_converges_to(shape, intercept):
    """Also where samples are fewer than parameters: the w that is shortest for scaled features."""
    X, y = batch(2, n=shape[0], d=shape[1])
    X = X * np.geomspace(1, 100, shape[1]) + 50
    for decay in (0.0, 0.3):
        options = {"intercept": intercept, "standardize": True}
        solved = fastgd.solve(X, y, weight_decay=decay, **options)
        epochs = 300_000 if shape[1] < 10 else 20_000
        fitted = fastgd.fit(X, y, optimizer=fastgd.SGD(weight_decay=decay), epochs=epochs, **options)
        assert same(solved.center, fitted.center)
        assert same(solved.scale, fitted.scale)
        for fit in range(2):
            distance = np.abs(solved.state.w[fit] - fitted.state.w[fit]).max()
            assert distance <= most_distance(X[fit], y[fit], fitted.state, fit, intercept, decay, epochs)


def test_constant_columns_are_left_out():
    """Their w is 0, since y has an intercept: the shortest of all solutions."""
    X, y = batch(n=30, d=3)
    X[:, 1] = 0.1
    result = fastgd.solve(X, y, intercept=True, standardize=True)
    without = fastgd.solve(X[:, [0, 2]], y, intercept=True, standardize=True)
    assert result.w[1] == 0
    assert result.scale[1] == 1
    assert result.rank == 3
    assert result.w[[0, 2]].tolist() == without.w.tolist()


@pytest.mark.parametrize("shape", [(20, 2), (3, 4), (70_000, 1)])
def test_a_fit_has_the_same_bits_in_any_company(shape):
    X, y = batch(6, n=shape[0], d=shape[1])
    X = X * 3 + 1000
    for options in ({}, {"weight_decay": np.array([0.0, 0.1])[:, None]}):
        own, shared = (fastgd.solve(data, y, intercept=True, standardize=True, **options) for data in (X, X[2]))
        for k in (0, 2, 5):
            for many, data in ((own, X[k]), (shared, X[2])):
                alone = fastgd.solve(data, y[k], intercept=True, standardize=True, **({"weight_decay": [0.0, 0.1]} if options else {}))
                for field in ("w", "intercept", "loss", "center", "scale", "rank"):
                    assert same(getattr(alone, field), getattr(many, field)[..., k, :] if field in ("w", "center", "scale") else
                                getattr(many, field)[..., k])  # fmt: skip
        assert same(fastgd.solve(X, y, intercept=True, standardize=True, threads=1, **options).w, own.w)


def test_gaps_weights_and_bad_fits():
    X, y = batch(4, n=15)
    X = X + 20
    y[1, :4] = np.nan
    y[2, 1:] = np.nan
    weights = np.linspace(0, 1, 15)
    options = {"intercept": True, "standardize": True, "sample_weight": weights, "nan_policy": "omit", "min_samples": 2}
    result = fastgd.solve(X, y, **options)
    assert result.status.tolist() == [0, 0, fastgd.Status.TOO_FEW_SAMPLES, 0]
    assert np.isnan(result.w[2]).all()
    assert np.isnan(result.center[2]).all()
    there = np.isfinite(y[1]) & (weights > 0)
    alone = fastgd.solve(X[1][there], y[1][there], intercept=True, standardize=True, sample_weight=weights[there])
    for field in ("w", "intercept", "loss", "center", "scale"):
        assert same(getattr(alone, field), getattr(result, field)[1])
    bad = fastgd.solve(X, y, intercept=True, standardize=True, nan_policy="propagate")
    assert bad.status.tolist() == [0, fastgd.Status.INVALID_DATA, fastgd.Status.INVALID_DATA, 0]
    assert same(bad.w[3], fastgd.solve(X[3], y[3], intercept=True, standardize=True).w)


def test_words_that_are_not_true_or_false(no_work):
    with pytest.raises(TypeError, match="standardize must be True or False, not 1"):
        fastgd.solve([1.0, 2], [1.0, 2], standardize=1)
