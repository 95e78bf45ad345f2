"""Fits of one feature go a way of their own (moments/single_feature.py): the same bits as by the
tiles, in every layout."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

import fastgd
from fastgd.kernels import cpu
from fastgd.kernels.chunk import Samples
from fastgd.kernels.cpu.moments.stack import W_EXPONENT
from fastgd.running.pool import Progress
from tests.support.against_arbiter import same_bits

LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 48, 63, 64, 100, 511, 512, 513, 1_000, 4_095, 4_096)


def spread_out(array):
    """The same numbers with gaps between them."""
    wide = np.full((*array.shape, 2), np.nan, array.dtype)
    wide[..., 0] = array
    return wide[..., 0]


def backwards(array):
    return np.ascontiguousarray(array[:, ::-1])[:, ::-1]


def samples_first(array):
    """As in a raster whose first axis is the time."""
    return np.ascontiguousarray(np.moveaxis(array, 0, -1)).transpose(array.ndim - 1, *range(array.ndim - 1))


LAYOUTS = {"lines": np.ascontiguousarray, "spread out": spread_out, "backwards": backwards, "samples first": samples_first}


@contextmanager
def by_the_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "is_single_feature", lambda samples: False)
        yield


def moments_of(X, y, intercept, of_targets=False, kept=()):
    """(whether all are finite, the records). One X may be that of all.

    of_targets: without Gram records; kept: the samples that every second fit uses.
    """
    m, n = y.shape
    numbers, nothing = np.arange(m), np.empty((0, n), X.dtype)
    samples = Samples(
        *map(cpu.read_only, (X, y)), numbers % len(X), numbers, cpu.read_only(nothing), numbers, np.empty((0, n), np.int32),
        numbers * 0 - 1, np.full(m, n),
    )  # fmt: skip
    if len(kept):
        samples.kept, samples.kept_index = np.zeros((m, n), np.int32), np.where(numbers % 2, -1, numbers)
        for f in range(0, m, 2):
            samples.kept[f, : len(kept[f])] = kept[f]
            samples.n_used[f] = len(kept[f])
    moments = cpu.Moments.empty(0 if of_targets else m, m, 1 + intercept, X.dtype)
    moments.weighing = np.ones((m, 4))
    moments.weighing[:, W_EXPONENT] = 0
    for array in (moments.gram, moments.target, moments.exponents):
        array.fill(77)
    given = moments.gram, moments.target, moments.exponents, moments.weighing
    return cpu.compress_items(samples, numbers * 0, samples.n_used, intercept, *given, np.zeros(1, np.int32)), moments


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("odd", [False, True])
def test_moments_are_those_of_the_tiles(dtype, intercept, odd):
    for n in LENGTHS:
        rng, m = np.random.default_rng(n), 19
        X = rng.normal(size=(m, n, 1)) * 10.0 ** rng.integers(-3, 4, (m, 1, 1))
        y = rng.normal(size=(m, n)) * 10.0 ** rng.integers(-3, 4, (m, 1))
        X[3], y[4], X[5] = 0, 0, 1e-30
        if odd:
            X[7, 0], y[8, -1], X[9], X[10, n // 2], y[11] = np.nan, np.inf, np.nan, -np.inf, np.nan
        X, y = X.astype(dtype), y.astype(dtype)
        for some_X, of_targets in ((X, False), (X, True), (X[:1], False), (X[:1], True)):
            with by_the_tiles():
                want, tiles = moments_of(some_X, y, intercept, of_targets)
            for layout in LAYOUTS:
                of_x = "lines" if len(some_X) == 1 else "samples first" if layout == "spread out" else layout
                finite, found = moments_of(LAYOUTS[of_x](some_X), LAYOUTS[layout](y), intercept, of_targets)
                assert finite == want
                for name in ("gram", "target", "exponents", "weighing"):
                    assert getattr(found, name).tobytes() == getattr(tiles, name).tobytes(), (n, layout, name)
        assert want == (not odd)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("intercept", [False, True])
def test_moments_without_the_missing_samples(dtype, intercept):
    """Lists of no sample, of one, of all; fits beside them that use all samples."""
    for n in (1, 7, 33, 100, 4_096):
        rng, m = np.random.default_rng(n), 19
        X, y = rng.normal(size=(m, n, 1)).astype(dtype), rng.normal(size=(m, n)).astype(dtype)
        kept = [np.flatnonzero(rng.random(n) < share) for share in np.linspace(0, 1.05, m)]
        for some_X, of_targets in ((X, False), (X[:1], True)):
            with by_the_tiles():
                want, tiles = moments_of(some_X, y, intercept, of_targets, kept)
            for layout in LAYOUTS:
                of_x = "lines" if len(some_X) == 1 else "samples first" if layout == "spread out" else layout
                finite, found = moments_of(LAYOUTS[of_x](some_X), LAYOUTS[layout](y), intercept, of_targets, kept)
                assert finite == want
                for name in ("gram", "target", "exponents", "weighing"):
                    assert getattr(found, name).tobytes() == getattr(tiles, name).tobytes(), (n, layout, name)
    assert not len(kept[0])
    assert len(kept[-1]) == n


@pytest.fixture
def seen(monkeypatch):
    """Whether `descend_single_feature` ran the fits, call by call."""
    run, found = cpu.descend_single_feature, []

    def spy(*arguments):
        grams = run(*arguments)
        found.append(grams is not None)
        return grams

    monkeypatch.setattr(cpu, "descend_single_feature", spy)
    return found


def assert_same(X, y, **options):
    """Both ways, with everything that a result holds."""
    one = fastgd.fit(X, y, **options)
    with by_the_tiles():
        other = fastgd.fit(X, y, **options)
    for name in ("w", "loss", "epochs", "status", "lr", "n_used"):
        assert same_bits(np.asarray(getattr(one, name)), np.asarray(getattr(other, name))), name
    assert (one.intercept is None) == (other.intercept is None)
    assert one.intercept is None or same_bits(one.intercept, other.intercept)
    for name in ("w", "slots", "products", "epoch", "algorithm", "status"):
        assert same_bits(getattr(one.state, name), getattr(other.state, name)), name
    if options.get("history"):
        assert same_bits(one.history.w, other.history.w)
        assert same_bits(one.history.loss, other.history.loss)
    return one


def data(m, n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n, 1))
    y = 2 * X[..., 0] + rng.normal(size=(m, n))
    return X.astype(np.float32), y.astype(np.float32)


OPTIONS = {
    "plain": {},
    "history": {"history": True},
    "some rows": {"history": 7},
    "tol": {"tol": 1e-3, "history": True},
    "sum": {"reduction": "sum"},
    "start": {"w0": np.array([3.0]), "history": True},
    "momentum": {"optimizer": fastgd.SGD(momentum=0.9, nesterov=True, weight_decay=0.01), "history": True},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("intercept", [False, True])
def test_fits_are_those_of_the_moments(name, intercept, seen):
    for m, n, epochs in ((1, 40, 9), (7, 100, 70), (32, 33, 130), (33, 20, 64), (101, 100, 5), (40, 1, 3), (40, 50, 0), (3, 5_000, 4)):
        X, y = data(m, n, m)
        rate = 1e-4 if name == "sum" else 0.03
        assert_same(X, y, lr=rate, epochs=epochs, intercept=intercept, **OPTIONS[name])
        assert_same(X, y, lr=np.linspace(0, 2 * rate, m), epochs=epochs, intercept=intercept, threads=1, **OPTIONS[name])
        assert bool(seen) == (2 < n <= 4_096)
        assert all(seen)
        seen.clear()


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("history", [False, True])
def test_fits_that_overflow_leave_their_batch(intercept, history, seen):
    """One here and there, all of a batch, at the first epoch and much later; and numbers that are
    not ordinary."""
    X, y = data(96, 50, 3)
    rates = np.full(96, 0.1)
    rates[[3, 40, 41, 64]] = 5.0, 2.5, 1e30, 3.0
    rates[70:96] = 4.0
    result = assert_same(X, y, lr=rates, epochs=400, intercept=intercept, history=history)
    assert (result.status == fastgd.Status.DIVERGED).sum() == 30
    for scale in (2.0**-60, 2.0**25, 2.0**50, 2.0**59):
        assert_same(X * np.float32(scale), y, lr=0.1 / scale / scale, epochs=100, intercept=intercept, history=history)
        assert_same(X, y * np.float32(scale), lr=0.1, epochs=100, intercept=intercept, history=history)
    for start in (2.0**29, 2.0**31, 2.0**100):
        assert_same(X, y, w0=np.array([start]), lr=0.01, epochs=40, intercept=intercept, history=history)
    assert all(seen)


@pytest.mark.parametrize("where", [(0, 0), (40, 99), (95, 50)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_ends_the_short_way(where, value, seen):
    X, y = data(96, 100, 4)
    of_x, of_y = X.copy(), y.copy()
    of_x[where[0], where[1], 0], of_y[where] = value, value
    for some_X, some_y in ((of_x, y), (X, of_y)):
        with pytest.raises(ValueError, match=rf"fit {where[0]} of 96"):
            fastgd.fit(some_X, some_y, lr=0.1, epochs=20)
        for policy in ("propagate", "omit"):
            told = []
            result = assert_same(some_X, some_y, lr=0.1, epochs=20, nan_policy=policy, history=True)
            fastgd.fit(
                some_X, some_y, lr=0.1, epochs=20, nan_policy=policy, progress=lambda done, total, told=told: told.append((done, total))
            )
            assert told[-1] == (96 * 20, 96 * 20)
            assert result.n_used[where[0]] == (99 if policy == "omit" else 100)
    assert not all(seen)


def test_too_few_samples(seen):
    X, y = data(40, 30)
    result = assert_same(X, y, lr=0.1, epochs=20, min_samples=31)
    assert (result.status == fastgd.Status.TOO_FEW_SAMPLES).all()
    assert not seen


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "lines"])
@pytest.mark.parametrize("n_fits", [40, 37])
def test_fits_of_every_layout(layout, n_fits, seen):
    """X and y, y alone, and one X for all; some overflow, and read their samples again."""
    X, y = data(n_fits, 61)
    rates = np.where(np.arange(n_fits) % 9 == 4, 30.0, 0.1)
    for some_X in (X, X[0]):
        for intercept in (False, True):
            options = {"lr": rates, "epochs": 60, "intercept": intercept, "history": 7}
            want = fastgd.fit(some_X, y, **options)
            assert (want.status == fastgd.Status.DIVERGED).sum() == (rates > 1).sum()
            for of_x in (np.asarray, *[LAYOUTS[layout]] * (some_X is X)):
                found = fastgd.fit(of_x(some_X), LAYOUTS[layout](y), **options)
                assert same_bits(found.w, want.w)
                assert same_bits(found.loss, want.loss)
                assert same_bits(found.history.w, want.history.w)
            solved = fastgd.solve(some_X, y, intercept=intercept)
            again = fastgd.solve(some_X, LAYOUTS[layout](y), intercept=intercept)
            assert same_bits(solved.w, again.w)
            assert same_bits(solved.loss, again.loss)
    assert all(seen)
    assert len(seen) == 10


def test_other_layouts(seen):
    """Every second fit, fits backwards; float64 data have no such kernel."""
    X, y = data(40, 60)
    want = fastgd.fit(X, y, lr=0.1, epochs=20)
    assert seen == [True]
    assert same_bits(fastgd.fit(X[::2], y[::2], lr=0.1, epochs=20).w, want.w[::2])
    assert seen == [True, True]
    back = fastgd.fit(X[::-1], y[::-1], lr=0.1, epochs=20)
    assert same_bits(back.w, want.w[::-1])
    seen.clear()
    fastgd.fit(X.astype(float), y.astype(float), lr=0.1, epochs=20)
    assert not seen


def test_a_state_goes_on(seen):
    X, y = data(40, 60)
    half = fastgd.fit(X, y, lr=0.1, epochs=10)
    whole = fastgd.fit(X, y, lr=0.1, epochs=25)
    assert seen == [True, True]
    assert same_bits(fastgd.fit(X, y, lr=0.1, epochs=15, state=half.state).w, whole.w)
    assert len(seen) == 2


def test_stopping_counts_no_epoch_twice():
    """Fits that overflow, beside others that converge: the callback is told before the end is, and
    sees every epoch once."""
    X, y = data(2_000, 40, 5)
    told = []
    control = []
    close = Progress.close
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "close", lambda self, complete: (control.append(self._control.done()), close(self, complete))[1])
        result = fastgd.fit(
            X,
            y,
            lr=np.where(np.arange(2_000) % 3 == 0, 0.3, 3.0),
            epochs=300,
            tol=1e-4,
            threads=1,
            progress=lambda *done: told.append(done),
        )
    assert {0, 1, 2} >= set(result.status.tolist()) > {1}
    assert control == [2_000 * 300]
    assert told == sorted(told)
