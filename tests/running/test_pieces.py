"""Fits that have their X in common, whose products with y are summed together, against the same
fits alone, by `==`."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.kernels import cpu
from fastgd.kernels.cpu import compile_ahead
from fastgd.running import pieces
from tests.support.fit_results import same

DTYPES = ("float32", "float64")
COUNT = 3 * pieces.TARGETS + 5


@pytest.fixture
def together(monkeypatch) -> list[int]:
    """However few pairs: how many each call of the kernel sums."""
    compile_ahead.compile_parts(np.dtype("float32"), {"targets"})  # which calls it, too
    compile_ahead.compile_parts(np.dtype("float64"), {"targets"})
    calls: list[int] = []
    compress_targets = cpu.compress_targets
    monkeypatch.setattr(pieces, "ENOUGH", 0)
    monkeypatch.setattr(cpu, "compress_targets", lambda samples, *given: calls.append(len(given[0])) or compress_targets(samples, *given))
    return calls


def data(n: int, d: int, dtype: str, seed: int = 0, count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 2.0 ** rng.integers(-6, 7, d)
    return X.astype(dtype), (rng.standard_normal((count, n)) + X.sum(axis=1) + 3).astype(dtype)


def assert_alone(X: np.ndarray, y: np.ndarray, **options) -> None:
    """Every fit is the fit alone."""
    settings = {"lr": 1e-4, "epochs": 7, "intercept": True} | options
    fits, minima = fastgd.fit(X, y, **settings), fastgd.solve(X, y, **({"intercept": True} | options))
    for i in range(len(y)):
        weights = options.get("sample_weight")
        own = {} if weights is None or weights.ndim == 1 else {"sample_weight": weights[i]}
        fit, minimum = fastgd.fit(X, y[i], **settings | own), fastgd.solve(X, y[i], **({"intercept": True} | options | own))
        for name in ("w", "intercept", "loss"):
            assert same(getattr(fits, name)[i], getattr(fit, name)), (i, name)
            assert same(getattr(minima, name)[i], getattr(minimum, name)), (i, name)
        assert minima.rank[i] == minimum.rank
        assert minima.ill_conditioned[i] == minimum.ill_conditioned


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [2, 9])
def test_fits_on_one_x_are_the_fits_alone(dtype, d, together):
    for n in (30, 700, 4_500):
        X, y = data(n, d, dtype)
        assert_alone(X, y)
        assert_alone(X, y, sample_weight=np.random.default_rng(1).uniform(0, 2, n).astype(dtype).round(1))
        assert_alone(X, np.ascontiguousarray(y.T).T)
    assert sum(together) >= 2 * 9 * COUNT


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_that_are_missing(dtype, together):
    X, y = data(600, 3, dtype)
    y[4, 17], y[13, 300:310], y[20] = np.nan, np.inf, np.nan
    X[5, 1] = np.nan
    assert_alone(X, y, nan_policy="omit")
    X[5, 1] = 1.0
    assert_alone(X, y, nan_policy="omit")
    with np.errstate(all="ignore"):
        assert_alone(X, y, nan_policy="propagate")
    with pytest.raises(ValueError, match="y is not finite"):
        fastgd.fit(X, y)
    assert together


@pytest.mark.parametrize("dtype", DTYPES)
def test_fits_that_need_more_than_moments(dtype, together):
    """Wide ones, few samples, columns that depend on each other, and fits that diverge."""
    X, y = data(300, 260, dtype, count=9)
    for one, options in ((X, {}), (X[:20, :3], {}), (np.concatenate([X[:, :3], X[:, :1]], axis=1), {}), (X[:, :3] + 1000, {})):
        assert_alone(one, y[:, : len(one)], **options)
    large = fastgd.fit(X[:, :3], y, lr=1e3, epochs=400)
    for i in range(len(y)):
        assert same(large.w[i], fastgd.fit(X[:, :3], y[i], lr=1e3, epochs=400).w)


def test_other_ways_to_give_the_same_data(together, tmp_path):
    X, y = data(500, 4, "float32")
    want = fastgd.fit(X, y, lr=1e-4, epochs=9, history=True)
    for threads in (1, 3):
        assert same(fastgd.fit(X, y, lr=1e-4, epochs=9, threads=threads, checkpoint=tmp_path / str(threads)).w, want.w)
        assert same(fastgd.fit(X, y, lr=1e-4, epochs=9, threads=threads, checkpoint=tmp_path / str(threads)).w, want.w)
    half = fastgd.fit(X, y, lr=1e-4, epochs=4)
    assert same(fastgd.fit(X, y, lr=1e-4, epochs=5, state=half.state).w, want.w)
    assert same(fastgd.fit(fastgd.compress(X, y), lr=1e-4, epochs=9, algorithm="moments").w, want.w)
    assert len(together) >= 4
    three = np.stack([X, X[::-1], X * 2])[:, None]
    many = fastgd.solve(three, y, intercept=True)
    other = fastgd.solve(three[:, 0], y[:, None], intercept=True)  # the pairs of one target lie together
    for i, one in enumerate(three[:, 0]):
        assert same(many.w[i], fastgd.solve(one, y, intercept=True).w)
        assert same(other.w[:, i], many.w[i])


def test_long_fits_of_many_targets(together):
    X, y = data(2 * 65_536 + 300, 2, "float64", count=64)
    many = fastgd.solve(X, y)
    assert together
    for i in (0, 31, 63):
        assert same(many.w[i], fastgd.solve(X, y[i]).w)


def test_who_is_summed_together(together, monkeypatch):
    X, y = data(200, 3, "float32")
    fastgd.solve(X, y)
    assert sum(together) == COUNT
    together.clear()
    fastgd.solve(X[:, :1], y)  # one feature has a path of its own
    fastgd.solve(np.broadcast_to(X, (COUNT, *X.shape)).copy(), y)
    fastgd.solve(X, y[: pieces.FEWEST - 1])
    little = fastgd.fit(X, y, epochs=3, memory_limit="230 KiB", threads=1)  # there is no room for its tiles
    assert together == []
    assert same(fastgd.fit(X, y, epochs=3, memory_limit="600 KiB", threads=1).w, little.w)
    assert sum(together) == COUNT
    together.clear()
    monkeypatch.setattr(pieces, "ENOUGH", COUNT * 200 * 4 + 1)
    fastgd.solve(X, y)
    assert together == []
