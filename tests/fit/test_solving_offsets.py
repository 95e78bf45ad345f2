"""solve: columns far from zero beside an intercept, constant columns, columns of zeros; fits in the
lanes of packs."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from tests.fit.test_solving_company import same
from tests.specification.rationals import exact_minimiser

MOMENTS, LSTSQ = (fastgd.solve([1.0, 2], [1.0, 2]).state.algorithm_names.index(name) for name in ("moments", "lstsq"))
T0 = 1_700_000_000  # seconds since 1970


def ulps(value, exact):
    """|value − exact| in units of the last place of `exact`."""
    near = np.abs(value.dtype.type(float(exact)))
    return float(abs(Fraction(float(value)) - exact) / Fraction(float(np.spacing(near))))


def exact_weighted(X, y, weights):
    """(w, b) by Fractions: the normal equations of the columns as they are."""
    rows = [[*map(lambda v: Fraction(float(v)), row), Fraction(1), Fraction(float(target))] for row, target in zip(X, y, strict=True)]
    size = len(rows[0]) - 1
    weights = [Fraction(float(v)) for v in weights]
    system = [[sum(w * row[i] * row[j] for w, row in zip(weights, rows, strict=True)) for j in range(size + 1)] for i in range(size)]
    for i in range(size):
        pivot = next(k for k in range(i, size) if system[k][i])
        system[i], system[pivot] = system[pivot], system[i]
        for k in set(range(size)) - {i}:
            by = system[k][i] / system[i][i]
            system[k] = [a - by * b for a, b in zip(system[k], system[i], strict=True)]
    return [system[i][size] / system[i][i] for i in range(size)]


# -- columns far from zero -------------------------------------------------------------------------


def test_a_slope_at_1e14():
    result = fastgd.solve(1e14 + np.arange(6.0), 2 * np.arange(6.0) + 1, intercept=True)
    assert (float(result.w), float(result.intercept), float(result.loss)) == (2.0, 1 - 2e14, 0.0)
    assert (int(result.rank), bool(result.ill_conditioned), int(result.state.algorithm)) == (2, True, MOMENTS)
    assert abs(float(result.condition) / 5.855400437691345e13 - 1) < 1e-12  # |x| / |x − mean| = √(Σx² / 17.5)


@pytest.mark.parametrize("first", [1850, 1990, 2**20, 2**40])
def test_any_years(first):
    years = first + np.arange(31.0)
    result = fastgd.solve(years, 0.3 * (years - first) + 15, intercept=True)
    exact = exact_minimiser(years[:, None], 0.3 * (years - first) + 15, True)
    assert [ulps(result.w, exact[0]) <= 0.51, ulps(result.intercept, exact[1]) <= 0.51, float(result.w)] == [True, True, 0.3]


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("step", [1, 3600, 86_400 * 30])
def test_seconds_since_1970(name, step):
    t = (T0 + step * np.arange(40.0)).astype(name)
    if len(set(t.tolist())) < 2:
        assert (name, step) == ("float32", 1)  # float32 holds every 128th second
    y = (0.25 * np.arange(40) + 280).astype(name)
    result = fastgd.solve(t, y, intercept=True)
    if len(set(t.tolist())) > 1:
        exact = exact_minimiser(t[:, None], y, True)
        assert max(ulps(result.w, exact[0]), ulps(result.intercept, exact[1])) <= 0.51
        assert int(result.rank) == 2
    assert int(result.state.algorithm) == MOMENTS


def problems(name, count):
    """(X, y, weights): one to three columns with offsets up to 10^7.2 or 10^14, of which the spread
    is 1 to 10^3; y with an offset or none; every third with weights."""
    rng = np.random.default_rng(11)
    for i in range(count):
        d, n = i % 3 + 1, int(rng.integers(6, 12))
        offset = 10.0 ** rng.uniform(3, 7.2 if name == "float32" else 14, d) * rng.choice([-1, 1], d)
        X = (rng.standard_normal((n, d)) * 10.0 ** rng.uniform(0, 3) + offset).astype(name)
        y = (rng.standard_normal(n) + rng.choice([0, 1]) * 10.0 ** rng.uniform(0, 6)).astype(name)
        yield X, y, rng.integers(1, 9, n).astype(name) if i % 3 == 2 else np.ones(n, name)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_shifted_fits_are_rounded_once(name):
    """With gaps, too: the last two samples are left out, and hold what is far away."""
    shifted = 0
    for X, y, weights in problems(name, 90):
        result = fastgd.solve(
            np.concatenate([X, 3 * X[:2]]), np.append(y, 0 * y[:2] + np.nan), intercept=True, nan_policy="omit",
            sample_weight=np.append(weights, weights[:2]),
        )  # fmt: skip
        if not result.ill_conditioned:
            continue
        exact = exact_weighted(X, y, weights)
        off = [ulps(value, true) for value, true in zip([*result.w, result.intercept], exact, strict=True)]
        assert max(off) <= 0.51, (X, y, weights)  # double rounding in float32
        assert int(result.state.algorithm) == MOMENTS
        shifted += 1
    assert shifted > 25


def test_a_penalty_is_on_the_intercept_of_the_columns_as_they_are():
    x, y = 1e5 + np.arange(8.0), np.arange(8.0)
    for decay in (1e-9, 0.25):
        result = fastgd.solve(x, y, intercept=True, weight_decay=decay)
        exact = exact_minimiser(x[:, None], y, True, penalty=Fraction(decay) * 4)
        assert max(ulps(result.w, exact[0]), ulps(result.intercept, exact[1])) <= 1


def test_the_loss_is_that_of_the_answer():
    """The intercept is rounded, by up to 2^-6 where it is 3e14: that is in the loss."""
    x, y = 1e14 + np.arange(6.0), 3.1 * np.arange(6.0) + np.array([0.0, 1, 0, 1, 0, 1]) / 8
    result = fastgd.solve(x, y, intercept=True)
    w, b = Fraction(float(result.w)), Fraction(float(result.intercept))
    exact = sum((w * Fraction(float(a)) + b - Fraction(float(c))) ** 2 for a, c in zip(x, y, strict=True)) / 6
    assert ulps(result.loss, exact) <= 4


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_offsets_alone_and_in_a_batch(name):
    rng = np.random.default_rng(12)
    X = (rng.standard_normal((40, 30, 2)) + np.where(np.arange(40) % 3, 0, 3e6)[:, None, None]).astype(name)
    X[::5, :, 1] = 7.5
    X[3::5, :, 0] = 0
    y = rng.standard_normal((40, 30)).astype(name)
    batch = fastgd.solve(X, y, intercept=True)
    assert (batch.state.algorithm == MOMENTS).all()
    assert (batch.rank == 3 - (np.arange(40) % 5 == 0) - (np.arange(40) % 5 == 3)).all()
    for i in range(40):
        same(batch, fastgd.solve(X[i], y[i], intercept=True), i)
    shared = fastgd.solve(X[0], y, intercept=True, threads=2)  # one X, and many y
    for i in range(40):
        same(shared, fastgd.solve(X[0], y[i], intercept=True), i)
    interleaved = fastgd.solve(np.moveaxis(np.moveaxis(X, 0, -1).copy(), -1, 0), np.moveaxis(y.T.copy(), -1, 0), intercept=True)
    same(batch, interleaved)


# -- columns of one number -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_a_column_of_zeros_is_left_out(name):
    """The bits are those of the fit without it; its w is 0, and counts in the rank alone."""
    rng = np.random.default_rng(13)
    X, y = rng.standard_normal((40, 30, 4)).astype(name), rng.standard_normal((40, 30)).astype(name)
    X[:, :, 2] = 0
    for settings in ({}, {"intercept": True}):
        result, rest = fastgd.solve(X, y, **settings), fastgd.solve(X[..., [0, 1, 3]], y, **settings)
        assert result.rank.tolist() == rest.rank.tolist()
        assert result.ill_conditioned.all()
        for a, b in ((result.w[:, [0, 1, 3]], rest.w), (result.loss, rest.loss), (result.condition, rest.condition)):
            np.testing.assert_array_equal(a, b)
        assert not result.w[:, 2].any()
        assert (result.state.algorithm == MOMENTS).all()


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_a_constant_column_shares_the_intercept(name):
    """Of c·v + b = β the minimum norm is v = β c/(1 + c²), b = β/(1 + c²)."""
    rng = np.random.default_rng(14)
    X, y = rng.standard_normal((30, 3)).astype(name), rng.standard_normal(30).astype(name)
    X[:, 1] = 7.5
    result = fastgd.solve(X, y, intercept=True)
    w0, w2, beta = exact_minimiser(X[:, [0, 2]], y, True)
    exact = [w0, beta * Fraction(15, 2) / Fraction(229, 4), w2, beta / Fraction(229, 4)]
    assert all(ulps(value, true) <= 4 for value, true in zip([*result.w, result.intercept], exact, strict=True))
    assert (int(result.rank), bool(result.ill_conditioned), int(result.state.algorithm)) == (3, True, MOMENTS)


def test_a_column_that_rounding_makes_vary_is_constant():
    """Neighbouring numbers of float64 say nothing: a slope would be 10^15 of what is there."""
    x = np.where(np.arange(20) % 3, 1.0, np.nextafter(1.0, 2.0))
    result = fastgd.solve(x, np.arange(20.0), intercept=True)
    assert (int(result.rank), int(result.state.algorithm)) == (1, LSTSQ)
    assert abs(float(result.w)) < 10


# -- packs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.3, "reduction": "sum"}, {"intercept": True}])
def test_packs_have_the_bits_of_fits_one_by_one(name, settings):
    """33 features are too many for a pack; where most are zeros, the other numbers are the same."""
    rng = np.random.default_rng(15)
    d = 5
    X, y = rng.standard_normal((45, 60, 33)).astype(name), rng.standard_normal((45, 60)).astype(name)
    X[::4] *= 2.0 ** rng.integers(-20, 20, 33).astype(name)
    X[..., d:] = 0
    weights = rng.random((45, 60)).astype(name)
    one_by_one, packed = (fastgd.solve(a, y, sample_weight=weights, **settings) for a in (X, X[..., :d]))
    np.testing.assert_array_equal(one_by_one.state.w[:, :d], packed.state.w[:, :d])
    np.testing.assert_array_equal(one_by_one.state.w[:, 33:], packed.state.w[:, d:])
    for field in ("loss", "condition"):
        np.testing.assert_array_equal(getattr(one_by_one, field), getattr(packed, field))
    np.testing.assert_array_equal(one_by_one.state.algorithm, packed.state.algorithm)


def test_fits_one_by_one_have_a_factor_for_each_penalty():
    rng = np.random.default_rng(17)
    X, y, decay = rng.standard_normal((80, 33)), rng.standard_normal((2, 80)), np.array([0.1, 0.5, 3.0])
    result = fastgd.solve(X, y, weight_decay=decay[:, None], threads=1)  # one task
    for k, i in np.ndindex(3, 2):
        same(result, fastgd.solve(X, y[i], weight_decay=decay[k]), (k, i))


def test_a_lane_is_accepted_on_its_own():
    """Every other fit needs a Cholesky in double-double, or has equal columns; each has the bits
    that it has alone."""
    rng = np.random.default_rng(16)
    X, y = rng.standard_normal((70, 12, 3)), rng.standard_normal((70, 12))
    X[::2, :, 2] = X[::2, :, 1] + 1e-9 * rng.standard_normal((35, 12))
    X[::6, :, 1] = X[::6, :, 0]
    result = fastgd.solve(X, y)
    assert result.ill_conditioned.tolist() == [i % 2 == 0 for i in range(70)]
    assert (result.state.algorithm == np.where(np.arange(70) % 6, MOMENTS, LSTSQ)).all()
    for i in range(70):
        same(result, fastgd.solve(X[i], y[i]), i)


# -- no cliff --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["time axis", "equal columns"])
def test_the_memory_of_a_long_fit_is_small(kind):
    """It has neither a copy of the samples nor a factor of their length."""
    x = (44_000 + np.arange(10**6) % 12).astype("f4")
    X, settings = (x, {"intercept": True}) if kind == "time axis" else (np.stack([x, x], axis=1), {})
    y = x / 2
    fastgd.solve(X[:100], y[:100], **settings)
    tracemalloc.start()
    try:
        result = fastgd.solve(X, y, memory_limit="4 MiB", **settings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20
    if kind == "time axis":
        assert (float(result.w), int(result.rank), int(result.state.algorithm)) == (0.5, 2, MOMENTS)
    else:
        assert np.abs(result.w - 0.25).max() < 1e-6
        assert (int(result.rank), int(result.state.algorithm)) == (1, LSTSQ)
