"""Curvatures that a call keeps: their numbers, of which fits, and whatever cuts the work."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastgd
from fastgd.planning import explained, plan
from fastgd.planning.explained import spread_over
from fastgd.results.curvatures import Curvatures
from fastgd.results.distances import distances
from fastgd.results.summary import _ends
from fastgd.running import explaining
from tests.support.saved_files import same

rng = np.random.default_rng(8)
X, WEIGHTS = rng.integers(-9, 10, (6, 12, 3)).astype(float), 2.0 ** rng.integers(0, 3, (6, 12))
Y = X.sum(axis=-1) + rng.normal(size=(6, 12))


def kept(*data, **options) -> Curvatures:
    found = fastgd.fit(*data, **({"lr": 1e-5, "epochs": 2} | options))._curvatures
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("d", [1, 3])
def test_hessians_are_those_of_the_loss(d, intercept, weights, reduction, dtype):
    """Sums of small whole numbers are exact, and W is one, so a Hessian is rounded twice."""
    data = X[..., :d]
    design = np.concatenate([data, np.ones((6, 12, 1))], axis=-1) if intercept else data
    omega = np.ones((6, 12)) if weights is None else weights
    gram = np.einsum("fni,fn,fnj->fij", design, omega, design)
    scale = 2.0 / omega.sum(axis=1) if reduction == "mean" else np.full(6, 2.0)
    found = kept(data, Y, intercept=intercept, sample_weight=weights, reduction=reduction, dtype=dtype)
    assert found.index.tolist() == [0, 1, 2, 3, 4, 5]
    if weights is None or reduction == "mean":
        assert same(found.hessians(), scale[:, None, None] * gram)
    else:
        assert np.array_equal(found.hessians(), 2.0 * gram)


def test_squares_of_a_single_feature_are_not_rounded_to_its_dtype():
    """Of float32 data a square is exact in float64, and sums are off by less than 2^-47."""
    data = np.random.default_rng(11).normal(size=(5, 1000)).astype(np.float32)
    found = kept(data[..., None], 9.0 * data)
    exact = np.array([math.fsum(float(x) ** 2 for x in row) for row in data])
    assert (np.abs(found.gram[:, 0] - exact) <= 2.0**-47 * exact).all()


def test_standardised_fits_have_the_condition_of_scaled_features():
    data = X * [1.0, 1e3, 1e-3] + [0.0, 1e4, 5.0]
    found = kept(data, Y, intercept=True, standardize=True)
    scaled = (data - data.mean(axis=1, keepdims=True)) / data.std(axis=1, keepdims=True)
    condition = np.linalg.cond(np.concatenate([scaled, np.ones((6, 12, 1))], axis=-1)) ** 2
    # a centred column here is off by 2⁻⁵³ · 5/0.001 of its spread, below 2⁻⁴⁰; the eigenvalues
    # there by 4 · 2⁻⁴⁴ λ_max: in all less than 2⁻³⁸ λ_max, in λ_min and in λ_max
    assert (np.abs(found.conditions(found.eigenvalues()) - condition) <= 2.0**-37 * condition**2).all()


def test_samples_that_are_missing_are_in_no_hessian():
    data = X.copy()
    data[2, 5, 1] = data[4, 0, 0] = np.nan
    found = kept(data, Y, nan_policy="omit")
    for fit, missing in ((2, 5), (4, 0), (1, ())):
        rows = np.delete(X[fit], missing, axis=0)
        assert same(found.hessians()[fit], 2.0 / len(rows) * (rows.T @ rows))


def many(**options):
    """3,000 fits, of which some are near, some far, some worse."""
    own = np.random.default_rng(9)
    data = own.normal(size=(300, 10, 1))
    y = 2 * data[..., 0] + own.normal(size=(300, 10))
    rates = np.array([1e-4, 1e-3, 0.01, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0, 9.0])[:, None]
    return fastgd.fit(data, y, **({"lr": rates, "epochs": 20, "intercept": True} | options))


def test_of_those_that_are_looked_at_all_that_need_it_are_kept():
    result = many()
    ended = distances(_ends(result))
    needed = set(np.flatnonzero(ended.far | ended.worse | ended.lost).tolist())
    # in the order of computation the rates of a pair follow each other
    looked_at = {int(number) % 10 * 300 + int(number) // 10 for number in spread_over(3000, 512)}
    found = result._curvatures.index.tolist()
    assert 1000 < len(needed) < 3000
    assert len(found) > 200
    assert found == sorted(found)
    assert needed & looked_at <= set(found) <= looked_at


def test_threads_and_chunks_change_nothing(monkeypatch):
    whole = many(threads=1)
    assert same(many(threads=2)._curvatures, whole._curvatures)
    for nanoseconds in (20_000, 300_000):
        monkeypatch.setattr(plan, "PIECE_NS", nanoseconds)
        monkeypatch.setattr(plan, "INLINE_NS", 0)
        cut = many(threads=2)
        assert same(cut._curvatures, whole._curvatures)
        assert cut.summary() == whole.summary()


@pytest.mark.parametrize("count", [3, 40])
def test_cuts_change_nothing_where_all_are_looked_at(monkeypatch, count):
    own = np.random.default_rng(10)
    data = own.normal(size=(count, 10))
    y = 2 * data + own.normal(size=(count, 10))
    options = {"lr": np.geomspace(1e-4, 9.0, count), "epochs": 20}
    whole = fastgd.fit(data[..., None], y, **options)
    monkeypatch.setattr(plan, "PIECE_NS", 1)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    assert same(fastgd.fit(data[..., None], y, **options)._curvatures, whole._curvatures)


def test_company_changes_nothing():
    whole = kept(X, Y)
    for fit in range(6):
        alone = kept(X[fit], Y[fit])
        assert same(alone.hessians()[0], whole.hessians()[fit])


def test_calls_that_are_remembered_keep_their_own():
    near = fastgd.fit(X[0], Y[0], epochs=3000)
    for fit in (1, 2):
        assert same(kept(X[fit], Y[fit]), kept(X[fit].copy(), Y[fit].copy()))
    again = fastgd.fit(X[0], Y[0], epochs=3000)
    assert near._curvatures is None is again._curvatures


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 3])
def test_a_result_holds_no_data_and_says_the_same_when_they_have_changed(d, dtype):
    """In its copies, too: what is made when it is asked for is made from copies."""
    data, y = X[..., :d].astype(dtype), Y.astype(dtype)
    expected, references = kept(data, y), sys.getrefcount(data)
    result = fastgd.fit(data, y, lr=1e-5, epochs=2)
    assert sys.getrefcount(data) == references
    data[...] = y[...] = 1.0
    for one in (copy.copy(result), pickle.loads(pickle.dumps(result)), result):
        assert same(one._curvatures, expected)


def test_nothing_is_looked_for_before_somebody_asks(monkeypatch):
    """A sweep, which tells nothing of it, never does."""
    asked = []
    monkeypatch.setattr(explaining, "_curvatures", lambda *noted: asked.append(noted))
    options = {"grid": {"lr": [1e-5, 1e-4, 1.0]}, "epochs": 2, "progress": False}
    found, result = fastgd.sweep(X[0], Y[0], **options), fastgd.fit(X[0], Y[0], lr=1e-5, epochs=2)
    assert found.excess_loss.shape == (3,)
    assert (result.excess_loss, asked) == (found.excess_loss[0], [])


def test_threads_ask_one_result_at_a_time():
    result, barrier = many(), threading.Barrier(4)

    def ask(number: int) -> object:
        barrier.wait()
        return result._curvatures

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert all(one is found[0] for one in found)


def test_a_memory_limit_bounds_what_is_kept():
    assert many(memory_limit=explained.LEAST_LIMIT - 1)._curvatures is None
    result = many(memory_limit=explained.LEAST_LIMIT)
    found = result._curvatures
    assert 0 < len(found.index) < 512
    assert sum(array.nbytes for array in vars(found).values()) <= explained.LIMITED_BYTES
    assert set(found.index) <= set(many()._curvatures.index)


def test_nothing_is_kept_of_what_has_no_moments(monkeypatch):
    for options in (
        {"algorithm": "stream", "excess_loss": True},
        {"backend": "numpy", "excess_loss": True},
        {"excess_loss": False},
    ):
        assert fastgd.fit(**({"X": X[0], "y": Y[0], "lr": 1e-5, "epochs": 2} | options))._curvatures is None
    wide = rng.normal(size=(90, 40))
    assert fastgd.fit(wide, wide.sum(axis=1), lr=1e-9)._curvatures is None  # its excess is not known
    assert kept(wide, wide.sum(axis=1), lr=1e-9, excess_loss=True).size == 40
    monkeypatch.setattr(explained, "MOST_NUMBERS", 40 * 41 // 2)
    assert fastgd.fit(wide, wide.sum(axis=1), lr=1e-9, excess_loss=True)._curvatures is None


def test_fits_whose_moments_do_not_hold_the_scaled_features_are_passed_over():
    days = np.stack([2451545 + np.arange(20), np.arange(20)]).astype("float32")
    found = kept(days[..., None], np.arange(20, dtype="float32") + np.sin(days), intercept=True, standardize=True, excess_loss=True)
    assert found.index.tolist() == [1]


def test_moments_that_were_given_say_the_same():
    options = {"lr": [1e-5, 1e-4, 1e-3, 0.1, 1.0, 9.0], "epochs": 3}
    given, made = fastgd.fit(fastgd.compress(X, Y), **options), fastgd.fit(X, Y, **options)
    assert same(given._curvatures, made._curvatures)
    assert "stability limit" in given.summary()


@pytest.mark.parametrize("strided", [False, True])
def test_results_that_lie_in_the_callers_arrays_are_looked_at_there(strided):
    """In the order of computation, or in any other: 300 pairs with ten rates each are not."""
    whole, step = many(), 2 if strided else 1
    out = {
        name: np.zeros((10, 300 * step), dtype)[:, ::step]
        for name, dtype in (("loss", np.float64), ("excess_loss", np.float64), ("status", np.int8))
    }
    assert same(many(out=out)._curvatures, whole._curvatures)
    own = np.random.default_rng(9).normal(size=(30, 10, 1))
    options = {"lr": np.geomspace(1e-3, 3.0, 30), "epochs": 5}
    alone = fastgd.fit(own, own[..., 0] + 1.0, **options)
    there = {"loss": np.zeros(30 * step)[::step], "excess_loss": np.zeros(30 * step)[::step]}
    assert same(fastgd.fit(own, own[..., 0] + 1.0, out=there, **options)._curvatures, alone._curvatures)
