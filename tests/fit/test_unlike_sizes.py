"""Groups of unlike sizes are read as they lie in the table: each has the bits of its fit alone.

Moments of groups stand for their rows."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

import fastgd
from tests.fit.test_groups import GAPS, MIXED, SORTED, W, X, Y, same_as_alone
from tests.support.fit_results import same
from tests.support.guarded_memory import guarded
from tests.support.refusals import refused_call

RNG = np.random.default_rng(5)
SIZES = np.array([1, 2, 3, 5, 8, 9, 31, 32, 33, 64, 100, 513, 600, 4097, 4200, 2, 40_000, 66_000, 7])  # across all kinds of batches
OFFSETS = np.cumsum([0, *SIZES])
ROWS = int(SIZES.sum())


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("solved", [False, True])
def test_sizes_of_every_kind(d, solved):
    x, y = RNG.normal(size=(ROWS, d)), RNG.normal(size=ROWS)
    options = {"intercept": True} if solved else {"intercept": True, "epochs": 3}
    of_groups, alone = (fastgd.solve_groups, fastgd.solve) if solved else (fastgd.fit_groups, fastgd.fit)
    result = of_groups(x, y, offsets=OFFSETS, **options)
    for g in range(len(SIZES)):
        rows = slice(OFFSETS[g], OFFSETS[g + 1])
        one = alone(x[rows], y[rows], **options)
        assert all(same(getattr(result, name)[g], getattr(one, name)) for name in ("w", "intercept", "loss", "status", "n_used")), g
        assert result.state.algorithm[g] == one.state.algorithm


def layouts(x):
    """The same numbers, laid out in other ways."""
    wide = np.full((len(x), 2 * x.shape[1] + 1), 7.0)
    wide[:, 1::2] = x
    yield x
    yield np.asfortranarray(x)
    yield wide[:, 1::2]
    yield x[::-1].copy()[::-1]
    yield np.stack([guarded(column) for column in x.T]).T
    yield guarded(x.ravel()).reshape(x.shape)  # nothing is read behind the last group
    yield guarded(x.ravel(), at_end=False).reshape(x.shape)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("d", [1, 3, 9])
def test_layouts(d, dtype):
    n = int(OFFSETS[11])
    x, y = RNG.normal(size=(n, d)).astype(dtype), RNG.normal(size=n).astype(dtype)
    expected = [fastgd.fit(x[a:b], y[a:b], lr=0.1, epochs=2) for a, b in pairwise(OFFSETS[:12])]
    for given in layouts(x):
        found = fastgd.fit_groups(given.astype(dtype, copy=False), guarded(y), offsets=OFFSETS[:12], lr=0.1, epochs=2)
        assert all(same(found.w[g], one.w) and same(found.loss[g], one.loss) for g, one in enumerate(expected))


def test_numbers_that_are_converted():
    n = int(OFFSETS[11])
    x, y = RNG.integers(-9, 9, (n, 2)), np.ma.array(RNG.normal(size=n), mask=RNG.random(n) < 0.2)
    found = fastgd.solve_groups(x, y, offsets=OFFSETS[:12], nan_policy="omit", min_samples=1, intercept=True)
    for g, (a, b) in enumerate(pairwise(OFFSETS[:12])):
        one = fastgd.solve(x[a:b], y[a:b], nan_policy="omit", min_samples=1, intercept=True)
        assert same(found.w[g], one.w)
        assert found.n_used[g] == one.n_used


def test_a_grid_of_rates():
    rates = np.array([0.05, 0.1])[:, None]
    result = fastgd.fit_groups(X, Y, MIXED, lr=rates, epochs=4, history=True)
    same_as_alone(result, MIXED, lambda rows, g: fastgd.fit(X[rows], Y[rows], lr=rates[:, 0], epochs=4, history=True), n_leading=1)


# -- moments of groups -----------------------------------------------------------------------------

OF_MOMENTS = {
    "plain": {},
    "an intercept": {"intercept": True},
    "weights": {"sample_weight": W, "intercept": True},
    "gaps": {"nan_policy": "omit", "intercept": True},
    "float32": {"dtype": "float32"},
}


@pytest.mark.parametrize("labels", [SORTED, MIXED], ids=["sorted", "apart"])
@pytest.mark.parametrize("options", OF_MOMENTS.values(), ids=OF_MOMENTS)
def test_moments_stand_for_the_rows(options, labels):
    x = GAPS if "nan_policy" in options else X
    moments = fastgd.compress_groups(x, Y, labels, **options)
    made = fastgd.fit(moments, lr=0.1, epochs=6, stats=True), fastgd.solve(moments, stats=True)
    direct = fastgd.fit_groups(x, Y, labels, lr=0.1, epochs=6, algorithm="moments", stats=True, **options)
    solved = fastgd.solve_groups(x, Y, labels, stats=True, **options)
    enough = direct.n_used > 2 * 3  # others of `solve` need their samples
    for found, expected, some in ((made[0], direct, slice(None)), (made[1], solved, enough)):
        assert isinstance(found, fastgd.GroupResult)
        assert found.keys["group"].tolist() == expected.keys["group"].tolist()
        for name in ("w", "intercept", "loss", "status", "n_used", "excess_loss"):
            ours, theirs = getattr(found, name), getattr(expected, name)
            assert (ours is None) == (theirs is None)
            assert ours is None or same(ours[some], theirs[some]), name
        assert same(found.stats.std_error[some], expected.stats.std_error[some])
    for g, key in enumerate(moments.keys["group"].tolist()):
        rows = labels == key
        own = {name: value[rows] if name == "sample_weight" else value for name, value in options.items()}
        alone = fastgd.compress(x[rows], Y[rows], **own)
        record = moments.gram_index[g]
        assert same(moments.gram[record], alone.gram[0])
        assert same(moments.weighing[record], alone.weighing[0])
        assert same(moments.target[g], alone.target)
        assert moments.n_used[g] == alone.n_used


def test_sweeps_and_stability_of_groups():
    moments, grid = fastgd.compress_groups(X, Y, MIXED, intercept=True), {"lr": [0.01, 0.1], "momentum": [0.0, 0.9]}
    cells, stable = fastgd.sweep(moments, grid=grid, epochs=5), fastgd.stability(moments)
    assert cells.loss.shape == (2, 2, len(moments.keys["group"]))
    for g, key in enumerate(moments.keys["group"].tolist()):
        rows = key == MIXED
        alone = fastgd.compress(X[rows], Y[rows], intercept=True)
        assert same(cells.w[..., g, :], fastgd.sweep(alone, grid=grid, epochs=5).w)
        assert same(stable.lr_limit[g], fastgd.stability(alone).lr_limit)


def test_moments_of_every_kind_of_batch(tmp_path):
    x, y = RNG.normal(size=(ROWS, 2)), RNG.normal(size=(2, ROWS))
    one = fastgd.compress_groups(x, y[0], offsets=OFFSETS)
    two = fastgd.compress_groups(x, y, offsets=OFFSETS)
    assert one.leading == (len(SIZES),)
    assert two.leading == (2, len(SIZES))
    for g, (a, b) in enumerate(pairwise(OFFSETS)):
        alone = fastgd.compress(x[None, a:b], y[:, a:b])
        assert same(one.target[g], alone.target[0])
        assert same(two.target[:, g], alone.target)
        assert same(one.gram[one.gram_index[g]], alone.gram[0])
        assert same(two.gram[two.gram_index[1, g] if two.gram_index.shape[0] == 2 else two.gram_index[0, g]], alone.gram[0])
    one.save(tmp_path / "groups")
    read = fastgd.load(tmp_path / "groups")
    assert read.keys["group"].tolist() == list(range(len(SIZES)))
    assert same(fastgd.fit(read, epochs=2, lr=0.1).w, fastgd.fit(one, epochs=2, lr=0.1).w)


def test_more_rows_of_the_same_groups():
    half = np.arange(len(X)) % 2 == 0
    parts = [fastgd.compress_groups(X[some], Y[some], np.arange(len(X))[some] // 2 % 3) for some in (half, ~half)]
    assert (parts[0] + parts[1]).n_used.tolist() == np.bincount(np.arange(len(X)) // 2 % 3).tolist()
    other = fastgd.compress_groups(X[half], Y[half], np.arange(int(half.sum())) % 3 + 1)
    refused_call(ValueError, "moments of different groups cannot be added: their keys differ", lambda: parts[0] + other)


def test_refusals():
    refused_call(TypeError, re.escape("compress_groups() has no option 'epochs'"), lambda: fastgd.compress_groups(X, Y, SORTED, epochs=3))
    refused_call(TypeError, "neither was given", lambda: fastgd.compress_groups(X, Y))
    bad = np.where(np.arange(len(X)) == 17, np.nan, Y)
    refused_call(ValueError, "y is not finite: nan in row 17", lambda: fastgd.compress_groups(X, bad, MIXED))
    refused_call(MemoryError, "memory_limit is", lambda: fastgd.compress_groups(X, Y, MIXED, memory_limit=2000))
