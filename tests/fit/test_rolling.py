"""`fit_rolling`: each window as if it were alone, no drift, gaps and weights, and what is
refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd.data.double_double import DoubleDouble
from fastgd.data.window_sums import CHUNK, LONG, running_sums
from tests.support.refusals import refused_call

RNG = np.random.default_rng(0)
N = 300
X = RNG.normal(size=(N, 3)) + np.array([1e3, 0.0, -5.0])
Y = X.sum(axis=1) + RNG.normal(size=N)
WEIGHTS = RNG.uniform(0.5, 2.0, N)
WINDOWS = [(7, 1, False), (30, 4, False), (N, 1, False), (280, 1, False), (149, 2, False), (5, 3, True), (1, 50, True)]


def assert_windows(result, data, y, window: int, step: int, expanding: bool, weights=None, **options) -> None:
    """Every window is that of `solve` on the moments of its samples, within two units.

    Both moments are within some 2^-100 of the exact ones, and the same kernel solves them: where
    rounding of w falls on either side of a half, one unit.
    """
    stats = options.pop("stats", False)
    starts = range(0, len(y) - window + 1, step)
    assert np.shape(result.loss) == (len(starts),)
    for k, start in enumerate(starts):
        here = slice(0 if expanding else start, start + window)
        moments = fastgd.compress(data[here], y[here], sample_weight=None if weights is None else weights[here], **options)
        alone = fastgd.solve(moments, stats=stats)
        assert (result.n_used[k], result.status[k], result.rank[k]) == (alone.n_used, alone.status, alone.rank)
        pairs = [(result.w[k], alone.w), (result.loss[k], alone.loss)]
        if result.intercept is not None:
            pairs.append((result.intercept[k], alone.intercept))
        if stats:
            pairs.append((result.stats.std_error[k], alone.stats.std_error))
        if result.rank[k] == np.size(alone.state.w):
            for mine, other in pairs:
                np.testing.assert_allclose(mine, other, rtol=2.0**-51, atol=0.0)


@pytest.mark.share(4)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("window", "step", "expanding"), WINDOWS)
def test_every_window_is_solved_as_if_alone(window, step, expanding, weighted):
    weights = WEIGHTS if weighted else None
    result = fastgd.fit_rolling(X, Y, window, step=step, expanding=expanding, intercept=True, sample_weight=weights, stats=True)
    assert_windows(result, X, Y, window, step, expanding, weights, intercept=True, stats=True)


@pytest.mark.parametrize("expanding", [False, True])
def test_gaps_are_left_out_of_their_windows(expanding):
    y = Y.copy()
    y[50:75] = np.nan
    data = X.copy()
    data[200, 1] = np.inf
    result = fastgd.fit_rolling(data, y, 20, intercept=True, nan_policy="omit", expanding=expanding)
    assert_windows(result, data, y, 20, 1, expanding, intercept=True, nan_policy="omit")
    if not expanding:
        assert result.status[55] == fastgd.Status.TOO_FEW_SAMPLES
        assert np.isnan(result.w[55]).all()
    more = fastgd.fit_rolling(data, y, 20, intercept=True, nan_policy="omit", min_samples=20, expanding=expanding)
    assert ((more.status == fastgd.Status.TOO_FEW_SAMPLES) == (result.n_used < 20)).all()
    told = fastgd.fit_rolling(data, y, 20, intercept=True, nan_policy="propagate", expanding=expanding)
    bad = np.array([not (np.isfinite(y[here]).all() and np.isfinite(data[here]).all()) for here in (
        slice(0 if expanding else k, k + 20) for k in range(N - 19))])  # fmt: skip
    assert ((told.status == fastgd.Status.INVALID_DATA) == bad).all()
    refused_call(ValueError, "not finite", lambda: fastgd.fit_rolling(data, Y, 20))
    zero = np.where(np.isfinite(y), 1.0, 0.0)
    by_weight = fastgd.fit_rolling(X, y, 20, sample_weight=zero, expanding=expanding)
    assert_windows(by_weight, X, y, 20, 1, expanding, zero)


def test_many_series_and_shared_features():
    ys = np.stack([Y, 2.0 * Y, Y[::-1]]).reshape(3, 1, N)
    shared = fastgd.fit_rolling(X, ys, 40, step=7)
    own = fastgd.fit_rolling(np.stack([X, X, X]).reshape(3, 1, N, 3), ys, 40, step=7)
    assert shared.w.shape == (3, 1, 38, 3)
    np.testing.assert_array_equal(shared.w, own.w)
    for k in range(3):
        np.testing.assert_array_equal(shared.w[k, 0], fastgd.fit_rolling(X, ys[k, 0], 40, step=7).w)
    line = fastgd.fit_rolling(X[:, 0], Y, 40)
    np.testing.assert_array_equal(line.w, fastgd.fit_rolling(X[:, :1], Y, 40).w[:, 0])


OF_GROUPS = {
    "plain": {"stats": True},
    "expanding": {"expanding": True},
    "weights": {"sample_weight": WEIGHTS * (RNG.random(N) < 0.9), "stats": True},
    "gaps": {"nan_policy": "omit", "expanding": True},
    "a ridge": {"ridge": 0.25},
    "float32": {"dtype": "float32"},
}


@pytest.mark.share(4)
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("name", OF_GROUPS)
def test_windows_of_each_group_are_those_of_its_own_call(name, targets):
    """Of unlike sizes, apart or not, one too short for a window; a label that is missing."""
    options, y = OF_GROUPS[name], np.stack([Y, -2.0 * Y])[:targets] if targets > 1 else Y.copy()
    if name == "gaps":
        y[..., 40:50] = np.nan
    sizes = {"a": 100, "b": 60, None: 60, "d": 75, "e": 5}
    for labels in (np.repeat(np.array(list(sizes), object), list(sizes.values())), RNG.permutation(np.array(["b"] * 280 + [None] * 20))):
        result = fastgd.fit_rolling(X, y, 20, step=3, by=labels, intercept=True, **options)
        assert isinstance(result, fastgd.GroupResult)
        assert "e" not in result.keys["group"].tolist()
        done = 0
        for label in dict.fromkeys(labels.tolist()):
            rows = np.array([one == label for one in labels.tolist()])
            if rows.sum() < 20:
                continue
            own = {key: value[rows] if key == "sample_weight" else value for key, value in options.items()}
            alone = fastgd.fit_rolling(X[rows], y[..., rows], 20, step=3, intercept=True, **own)
            here = slice(done, done := done + alone.loss.shape[-1])
            assert result.keys["group"][here].tolist() == [label] * alone.loss.shape[-1]
            np.testing.assert_array_equal(result.w[..., here, :], alone.w)
            for field in ("intercept", "loss", "n_used", "status", "condition", "rank"):
                np.testing.assert_array_equal(getattr(result, field)[..., here], getattr(alone, field))
            if alone.stats is not None:
                np.testing.assert_array_equal(result.stats.std_error[..., here, :], alone.stats.std_error)
        assert done == result.loss.shape[-1]


def test_labels_of_windows_are_columns():
    result = fastgd.fit_rolling(X, Y, 50, step=25, by={"tail": np.arange(N) % 3, "half": np.arange(N) // 150})
    assert result.keys.keys() == {"tail", "half"}
    frame = result.to_frame("pandas")
    assert frame["tail"].tolist() == result.keys["tail"].tolist()
    assert frame["half"].tolist() == result.keys["half"].tolist()
    refused_call(ValueError, "at most the 100 samples of the longest group", lambda: fastgd.fit_rolling(X, Y, 101, by=np.arange(N) % 3))
    refused_call(ValueError, "by must have a label for each of the 300 rows", lambda: fastgd.fit_rolling(X, Y, 10, by=[1, 2]))


def test_float32_data():
    data, y = X.astype(np.float32), Y.astype(np.float32)
    result = fastgd.fit_rolling(data, y, 25, intercept=True)
    assert result.w.dtype == np.float32
    for k in (0, 100, N - 25):
        alone = fastgd.solve(fastgd.compress(data[k : k + 25], y[k : k + 25], intercept=True))
        # moments in float64, of columns with condition² 1e6
        np.testing.assert_allclose(result.w[k], alone.w, rtol=2.0**-20)


def test_ridge_goes_along():
    result = fastgd.fit_rolling(X, Y, 30, intercept=True, ridge=0.5)
    for k in (0, 17, 200):
        alone = fastgd.solve(X[k : k + 30], Y[k : k + 30], intercept=True, ridge=0.5)
        np.testing.assert_allclose(result.w[k], alone.w, rtol=2.0**-48)


def test_nothing_drifts():
    """After samples 2^40 times as large, windows are as exact as before; sums that are taken off
    again would have lost 80 of 106 bits, and all of float64's."""
    data, y = X[:, 1].copy(), Y - Y.mean()
    data[:100] *= 2.0**40
    result = fastgd.fit_rolling(data, y, 25)
    for k in (0, 90, 100, 101, 150, N - 25):
        a, b = (list(map(Fraction, values[k : k + 25].tolist())) for values in (data, y))
        exact = sum(p * q for p, q in zip(a, b, strict=True)) / sum(p * p for p in a)
        assert abs(Fraction(float(result.w[k])) - exact) <= Fraction(1, 2**53) * abs(exact)


@pytest.mark.parametrize("n", [1, 2, LONG, LONG + 1, 1000, 1024, 4099])
def test_running_sums_are_exact_to_their_bits(n):
    values = RNG.integers(-(2**30), 2**30, (n, 2)).astype(float)
    high = values * 2.0**-30
    sums = DoubleDouble(high.copy(), np.zeros_like(high))
    running_sums(sums)
    np.testing.assert_array_equal(sums.high + sums.low, np.cumsum(values, axis=0) * 2.0**-30)  # integers: exact


def test_chunks_change_nothing(monkeypatch):
    ys = np.stack([Y, Y[::-1]])
    for expanding in (False, True):
        whole = fastgd.fit_rolling(X, ys, 20, intercept=True, expanding=expanding)
        assert ys.size < CHUNK
        with monkeypatch.context() as patch:
            patch.setattr("fastgd.data.window_sums.CHUNK", 50)
            pieces = fastgd.fit_rolling(X, ys, 20, intercept=True, expanding=expanding)
        np.testing.assert_allclose(pieces.w, whole.w, rtol=2.0**-51)
        np.testing.assert_array_equal(pieces.n_used, whole.n_used)


def test_bad_options_are_refused():
    for error, words, call in (
        (TypeError, "window must be a whole number", lambda: fastgd.fit_rolling(X, Y, 2.5)),
        (ValueError, "window must be at most the 300 samples", lambda: fastgd.fit_rolling(X, Y, 301)),
        (ValueError, "step must be", lambda: fastgd.fit_rolling(X, Y, 5, step=0)),
        (TypeError, "expanding must be", lambda: fastgd.fit_rolling(X, Y, 5, expanding=1)),
        (ValueError, "stats of fit_rolling", lambda: fastgd.fit_rolling(X, Y, 5, stats="HC3")),
        (ValueError, "299", lambda: fastgd.fit_rolling(X, Y[:299], 5)),
        (MemoryError, "give a larger step", lambda: fastgd.fit_rolling(X, Y, 5, memory_limit="400 kB")),
    ):
        refused_call(error, words, call)
