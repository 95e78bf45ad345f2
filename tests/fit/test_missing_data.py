"""Masked samples, samples with a value of `nodata` and None are missing: such fits have the bits of
fits with NaN in their place, and the number that is hidden is never read."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

import fastgd
from fastgd.planning import plan
from tests.support.fit_results import same
from tests.support.hidden_masks import OfDask
from tests.support.refusals import refused

HIDDEN = 1e30  # what stands under a mask: it would spoil every fit
OPTIONS = {"epochs": 6, "history": True, "intercept": True}


def holed(shape, seed=0, dtype="float64"):
    """(data, the same with NaN in some places, where)."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal(shape).astype(dtype)
    where = rng.random(shape) < 0.15
    return data, np.where(where, np.nan, data).astype(dtype), where


def masked(data, where):
    return np.ma.masked_array(np.where(where, data.dtype.type(HIDDEN), data), mask=where)


def flagged(data, where):
    return np.where(where, data.dtype.type(HIDDEN), data)


WAYS = {
    "masked": lambda data, where: (masked(data, where), {}),
    "masked, behind __array__": lambda data, where: (OfDask(masked(data, where)), {}),
    "masked, in a list": lambda data, where: (list(masked(data, where)), {}),
    "nodata": lambda data, where: (flagged(data, where), {"nodata": HIDDEN}),
    "nodata, several": lambda data, where: (flagged(data, where), {"nodata": [3.5e20, HIDDEN]}),
    "None": lambda data, where: (np.where(where, None, data), {}),
}


def same_result(one, other):
    names = ("w", "intercept", "loss", "epochs", "status", "n_used", "lr")
    ours = [*(getattr(one, name) for name in names), one.history.w, one.history.loss, one.state.w, one.state.algorithm]
    theirs = [*(getattr(other, name) for name in names), other.history.w, other.history.loss, other.state.w, other.state.algorithm]
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.share(3)
@pytest.mark.parametrize("policy", ["omit", "propagate"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_missing_counts_as_nan(way, dtype, policy, backend):
    """The fits with NaN in these places are those of test_omit.py, with the same bits."""
    X, gaps_x, where_x = holed((4, 30, 2), 0, dtype)
    y, gaps_y, where_y = holed((4, 30), 1, dtype)
    weights, gaps_w, where_w = holed((4, 30), 2, dtype)
    weights, gaps_w = abs(weights), abs(gaps_w)
    where_y[3] = where_x[3] = where_w[3] = False  # a whole fit
    gaps_x[3], gaps_y[3], gaps_w[3] = X[3], y[3], weights[3]
    options = {**OPTIONS, "dtype": dtype, "nan_policy": policy, "backend": backend}
    for spoil in ("X", "y", "sample_weight", "all"):
        given, gaps, extra = {"X": X, "y": y, "sample_weight": weights}, {"X": X, "y": y, "sample_weight": weights}, {}
        for name, data, gap, where in (("X", X, gaps_x, where_x), ("y", y, gaps_y, where_y), ("sample_weight", weights, gaps_w, where_w)):
            if spoil in (name, "all"):
                given[name], extra = WAYS[way](data, where)
                gaps[name] = gap
        result = fastgd.fit(**given, **extra, **options)
        assert same_result(result, fastgd.fit(**gaps, **options))
        assert result.status[3] == fastgd.Status.COMPLETED
        if policy == "omit":
            assert (result.n_used[:3] < 30).all()
    if backend == "cpu":
        del options["history"], options["epochs"], options["backend"]
        ours, theirs = fastgd.solve(**given, **extra, **options), fastgd.solve(**gaps, **options)
        assert np.array_equal(ours.w, theirs.w, equal_nan=True)
        assert np.array_equal(ours.n_used, theirs.n_used)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_missing_is_an_error_by_default(way, backend):
    data, _, where = holed((3, 9, 2), 1)
    where[:] = False
    where[2, 4, 1] = True
    X, extra = WAYS[way](data, where)
    advice = "give nan_policy='omit' to leave such samples out, or 'propagate' to get NaN for such fits alone"
    what = r"the nodata value 1e\+30" if extra else r"missing \(masked, None or NA\)"
    end = "$" if extra else r"; or fill it in \(a masked array by X\.filled\(value\)\)$"
    refused(ValueError, rf"^X is {what} in row 4, feature 1 of fit 2 of 3: {advice}{end}", X, np.ones((3, 9)), backend=backend, **extra)
    hidden = np.ones((3, 9))
    hidden[2, 4] = 0  # weight 0: the sample is not there
    assert fastgd.fit(X, np.ones((3, 9)), sample_weight=hidden, backend=backend, epochs=1, **extra).n_used.tolist() == [9, 9, 8]


def test_a_negative_weight_under_a_mask_is_no_weight():
    weights = np.ma.masked_array([1.0, -1.0, 1.0, 1.0], mask=[0, 1, 0, 0])
    result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], sample_weight=weights, nan_policy="omit")
    assert result.n_used == 3
    refused(ValueError, "^sample_weight is missing", [1.0, 2, 3, 4], [2.0, 4, 6, 8], sample_weight=weights)


def test_the_example_of_masks():
    values = np.ma.masked_array([1.0, 1e36, 5, 7, 9], mask=[0, 1, 0, 0, 0])
    assert fastgd.solve(np.arange(5.0), [values, values], intercept=True, nan_policy="omit").w.tolist() == [2, 2]


LAYOUTS = {
    "time first": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, -1, 0)), 0, -1),
    "Fortran order": np.asfortranarray,
    "backwards": lambda a: a[::-1].copy()[::-1],
    "every second": lambda a: np.repeat(a, 2, axis=0)[::2],
    "no single stride": lambda a: np.stack([a, a], axis=1)[:, 0],
}


@pytest.mark.parametrize("kind", ["masked", "nodata"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, kind, monkeypatch):
    y, gaps, where = holed((5, 6, 40), 3)
    lay, x = LAYOUTS[layout], np.linspace(-1, 1, 40)
    given = np.ma.masked_array(lay(flagged(y, where)), mask=lay(where)) if kind == "masked" else lay(flagged(y, where))
    options = {**OPTIONS, "nan_policy": "omit", "nodata": HIDDEN if kind == "nodata" else None}
    want = fastgd.fit(x, gaps, **options | {"nodata": None})
    assert same_result(fastgd.fit(x, given, **options), want)
    assert same_result(fastgd.fit(x, given, **options, memory_limit="150 KiB"), want)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    for threads in (1, 3):
        assert same_result(fastgd.fit(x, given, **options, threads=threads), want)
    own = fastgd.fit(np.broadcast_to(x[:, None], (5, 6, 40, 1)).copy(), given, **options)
    assert np.array_equal(own.w[..., 0], want.w, equal_nan=True)


def test_data_that_repeat_with_a_mask_of_each_fit():
    """A time axis that only repeats is shared; with a mask of its own for each fit it is not."""
    x, y = np.linspace(-1, 1, 20), np.random.default_rng(0).standard_normal((3, 20))
    where = np.random.default_rng(1).random((3, 20)) < 0.2
    X = np.ma.array(np.broadcast_to(x, (3, 20)), mask=where, copy=False)[..., None]
    assert X.data.strides[0] == 0
    want = fastgd.fit(np.where(where, np.nan, x)[..., None], y, nan_policy="omit", **OPTIONS)
    assert same_result(fastgd.fit(X, y, nan_policy="omit", **OPTIONS), want)
    shared = np.ma.array(np.broadcast_to(x, (3, 20)), mask=np.broadcast_to(where[0], (3, 20)), copy=False)[..., None]
    want = fastgd.fit(np.where(where[0], np.nan, x)[:, None], y, nan_policy="omit", **OPTIONS)
    assert same_result(fastgd.fit(shared, y, nan_policy="omit", **OPTIONS), want)


STORED = {  # (y with a value that means missing, what the caller names)
    "uint8": (np.array([1, 255, 5, 7, 9], np.uint8), 255),
    "int16": (np.array([1, -9999, 5, 7, 9], np.int16), -9999),
    "int64": (np.array([1, 2**53 + 1, 5, 7, 9]), 2**53 + 1),
    "float32": (np.array([1, 1e36, 5, 7, 9], np.float32), 1e36),
    "float32 of 0.1": (np.array([1, 0.1, 5, 7, 9], np.float32), 0.1),
    "float16": (np.array([1, -9999, 5, 7, 9], np.float16), -9999),
    "bfloat16": (np.array([1, -9999, 5, 7, 9], ml_dtypes.bfloat16), -9999),
    "frame": (pd.Series([1, -9999, 5, 7, 9], dtype="int16"), -9999.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", None])
@pytest.mark.parametrize(("y", "value"), STORED.values(), ids=STORED)
def test_nodata_is_compared_before_any_conversion(y, value, dtype):
    x = np.arange(5.0)
    for nodata in (value, {"y": value}, {"y": (value, 77)}):
        result = fastgd.solve(x, y, intercept=True, nan_policy="omit", nodata=nodata, dtype=dtype)
        assert (float(result.w), float(result.intercept), int(result.n_used)) == (2, 1, 4)
    assert fastgd.fit(x, np.asarray(y).astype("f8"), nodata={"X": 1e9}, nan_policy="omit").n_used == 5  # of y nothing is missing


@pytest.mark.parametrize("y", [np.array([2**53, 2**53 + 1, 3, 4, 5]), np.array([1 + 2.0**-40, 1, 3, 4, 5])], ids=["int64", "float64"])
def test_a_neighbour_that_conversion_makes_equal_is_not_missing(y):
    """float64(2^53 + 1) is 2^53, float32(1 + 2^-40) is 1."""
    dtype = "float64" if y.dtype.kind == "i" else "float32"
    for call in (fastgd.fit, fastgd.solve):
        result = call(np.arange(5.0), y[::-1], nodata={"y": y[1].item()}, nan_policy="omit", dtype=dtype)
        assert result.n_used == 4
        assert call(np.arange(5.0), y[[0, 2, 3, 4, 0]], nodata={"y": y[1].item()}, nan_policy="omit", dtype=dtype).n_used == 5


def test_nodata_of_torch(torch):
    x, y = torch.arange(5.0), torch.tensor([1, -9999, 5, 7, 9], dtype=torch.bfloat16)
    result = fastgd.solve(x, y, intercept=True, nan_policy="omit", nodata={"y": -9999})
    assert (float(result.w), int(result.n_used)) == (2, 4)


def test_a_value_that_means_missing_for_one_array_is_a_number_in_another():
    x, y = [0.0, 1, 2, 3, 4], [1, 0, 5, 7, 9]
    assert fastgd.solve(x, y, intercept=True, nan_policy="omit", nodata={"y": 0}).n_used == 4
    assert fastgd.solve(x, y, intercept=True, nan_policy="omit", nodata=0).n_used == 3


def test_a_remembered_call_with_objects_or_nodata():
    """The call cache knows a call by shapes and dtypes; a later one may have other numbers."""
    x = np.arange(5.0)
    for y in ([1, 3, 5, 7, 9], [1, None, 5, 7, 9]):
        result = fastgd.fit(x, np.array(y, object), intercept=True, nan_policy="omit", epochs=3)
        assert result.n_used == 5 - (None in y)
    for nodata in (None, -1, -1, -2):
        result = fastgd.fit(x, np.array([1.0, -1, 5, 7, 9]), nodata=nodata, nan_policy="omit", epochs=3)
        assert result.n_used == 5 - (nodata == -1)


# -- the fewest samples ----------------------------------------------------------------------------


@pytest.mark.parametrize("intercept", [False, True])
def test_one_sample_is_no_line(intercept, backend):
    """Under "omit" a fit needs as many samples as it has parameters, else 1; fewer may be asked
    for."""
    X, y = np.random.default_rng(0).standard_normal((5, 6, 2)), np.ones((5, 6))
    for fit, count in enumerate((1, 2, 3, 4, 6)):
        y[fit, count:] = np.nan
    few = np.array([1, 2, 3, 4, 6]) < 2 + intercept
    for call in (fastgd.fit, fastgd.solve) if backend == "cpu" else (fastgd.fit,):
        options = {"intercept": intercept, "nan_policy": "omit"} | ({"backend": backend, "epochs": 2} if call is fastgd.fit else {})
        result = call(X, y, **options)
        assert result.n_used.tolist() == [1, 2, 3, 4, 6]
        assert ((result.status == fastgd.Status.TOO_FEW_SAMPLES) == few).all()
        assert (np.isnan(result.w).all(1) == few).all()
        asked = call(X, y, min_samples=1, **options)
        assert (asked.status == fastgd.Status.COMPLETED).all()
        assert same(asked.w[~few], result.w[~few])
        if call is fastgd.solve:
            assert (asked.ill_conditioned == few).all()
            assert (result.ill_conditioned == few).all()
    with_weights = fastgd.fit(X[4], y[4], sample_weight=[1.0, 0, 0, 0, 0, 0], intercept=intercept, epochs=2, backend=backend)
    assert with_weights.status == fastgd.Status.COMPLETED


def test_ridge_of_few_samples_is_not_ill_conditioned():
    """The penalty determines w: the rank is that of X with the rows of the penalty."""
    X, y = np.random.default_rng(0).standard_normal((3, 5)), np.ones(3)
    assert not fastgd.solve(X, y, weight_decay=0.1).ill_conditioned
    assert fastgd.solve(X, y).ill_conditioned
