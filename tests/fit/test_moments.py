"""Moments in place of X and y: fit and solve give the bits that they give with the samples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from tests import grids
from tests.specification import arbiter
from tests.support.against_arbiter import same_bits
from tests.support.fit_results import same, same_result
from tests.support.refusals import refused, refused_call

OPTIONS = {
    "safe rate": {},
    "rates": {"lr": np.array([0.1, 0.01])[:, None], "history": 3},
    "momentum": {"lr": 0.1, "optimizer": fastgd.SGD(momentum=0.9, weight_decay=0.1), "history": True},
    "adam": {"lr": 0.01, "optimizer": "adam", "w0": 0.5},
    "tol": {"tol": 1e-3},
    "standardize": {"standardize": True, "excess_loss": True},
    "sum": {"lr": 1e-3, "reduction": "sum"},
}
SIZES = ((50, 1), (60, 3), (9000, 2), (200, 40))
CASES = grids.thin("moments", list(product(OPTIONS, SIZES, ("float32", "float64"), (False, True), (False, True))), 4)


def problem(n, d, dtype, weighted):
    rng = np.random.default_rng(n * d)
    X, y = rng.normal(size=(5, n, d)).astype(dtype), rng.normal(size=(5, n)).astype(dtype)
    weights = rng.uniform(0.5, 2, size=n) * (np.arange(n) != 3) if weighted else None
    return X, y, weights


@pytest.mark.parametrize(("options", "size", "dtype", "intercept", "weighted"), CASES)
def test_it_has_the_bits_of_the_samples(options, size, dtype, intercept, weighted):
    X, y, weights = problem(*size, dtype, weighted)
    moments = fastgd.compress(X, y, intercept=intercept, sample_weight=weights)
    options = {"epochs": 12, **OPTIONS[options]}
    if "w0" in options:
        options["w0"] = np.full(size[1], options["w0"])
    found = fastgd.fit(moments, **options)
    expected = fastgd.fit(X, y, intercept=intercept, sample_weight=weights, algorithm="moments", **options)
    assert same_result(found, expected)
    assert same(found.excess_loss, expected.excess_loss)
    assert same(found.n_used, expected.n_used)


@pytest.mark.parametrize("size", [3, 40])
def test_a_penalty_of_a_weighted_sum_has_the_bits_of_the_samples(size):
    X, y, weights = problem(200, size, "float64", True)
    options = {"reduction": "sum", "optimizer": fastgd.SGD(weight_decay=20.0), "excess_loss": True, "epochs": 5, "tol": 0.0}
    found = fastgd.fit(fastgd.compress(X, y, sample_weight=weights), **options)
    expected = fastgd.fit(X, y, sample_weight=weights, algorithm="moments", **options)
    assert same(found.excess_loss, expected.excess_loss)
    assert same(found.state.initial_excess, expected.state.initial_excess)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("intercept", "decay"), [(False, 0.0), (True, 0.0), (True, 0.3)])
def test_solve_has_the_bits_of_the_samples(dtype, intercept, decay):
    X, y, weights = problem(60, 3, dtype, True)
    moments = fastgd.compress(X, y, intercept=intercept, sample_weight=weights)
    found = fastgd.solve(moments, weight_decay=decay)
    expected = fastgd.solve(X, y, intercept=intercept, sample_weight=weights, weight_decay=decay)
    assert same_result(found, expected)
    for name in ("rank", "condition", "ill_conditioned"):
        assert same(getattr(found, name), getattr(expected, name))


def test_shapes_are_those_of_the_samples():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3, 1, 30, 2)), np.broadcast_to(rng.normal(size=(4, 30)), (3, 4, 30))
    lr = np.geomspace(0.001, 0.1, 5)[:, None, None]
    for repeated in (X, np.broadcast_to(X[:1], (3, 1, 30, 2))):
        found = fastgd.fit(fastgd.compress(repeated, y), lr=lr, history=True)
        assert found.w.shape == (5, 3, 4, 2)
        assert same_result(found, fastgd.fit(repeated, y, lr=lr, history=True, algorithm="moments"))
    one = fastgd.fit(fastgd.compress([1.0, 2, 3, 4], [2.0, 4, 6, 8]), lr=0.1, epochs=20)
    assert float(one.w) == float(fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.1, epochs=20).w)


def test_a_state_goes_on():
    X, y, _ = problem(60, 3, "float64", False)
    moments, options = fastgd.compress(X, y), {"lr": 0.05, "optimizer": fastgd.SGD(momentum=0.5)}
    first = fastgd.fit(moments, epochs=4, **options)
    found, expected = fastgd.fit(moments, epochs=6, state=first.state, **options), fastgd.fit(moments, epochs=10, **options)
    for name in ("w", "slots", "epoch", "algorithm"):
        assert same(getattr(found.state, name), getattr(expected.state, name))
    assert same(found.loss, expected.loss)


def test_a_state_that_was_made_with_samples():
    X, y, _ = problem(60, 3, "float64", False)
    moments, rates = fastgd.compress(X, y), {"lr": np.array([0.1, 0.1, 1e3, 0.1, 0.1])}
    first = fastgd.fit(X, y, epochs=200, algorithm="moments", **rates)
    assert len(np.unique(first.state.algorithm)) == 2  # the third fit overflowed, and ended on its samples
    further = fastgd.fit(moments, epochs=3, state=first.state, **rates)
    assert same(further.w[[0, 1, 3, 4]], fastgd.fit(X, y, epochs=203, algorithm="moments", **rates).w[[0, 1, 3, 4]])
    assert further.status[2] == fastgd.Status.DIVERGED
    only = fastgd.fit(moments, epochs=3, state=fastgd.fit(X, y, epochs=200, algorithm="moments", lr=1e3).state, lr=1e3)
    assert (only.status == fastgd.Status.DIVERGED).all()
    on_samples = fastgd.fit(X, y, epochs=2, algorithm="stream", lr=0.1).state
    refused(ValueError, "fits of state go on by algorithm 'stream': give X and y", moments, lr=0.1, state=on_samples)


@pytest.mark.parametrize("name", ["omit", "propagate"])
def test_missing_samples_are_told(name):
    X, y, _ = problem(60, 3, "float64", False)
    y[1, 5], X[2, 7, 1] = np.nan, np.inf
    y[3, :58] = np.nan
    moments = fastgd.compress(X, y, nan_policy=name)
    found, expected = fastgd.fit(moments, lr=0.1), fastgd.fit(X, y, lr=0.1, nan_policy=name, algorithm="moments")
    assert same(found.n_used, expected.n_used)
    assert found.status.tolist() == expected.status.tolist()
    assert same(found.w, expected.w)
    if name == "omit":
        assert found.status[3] == fastgd.Status.TOO_FEW_SAMPLES
        assert fastgd.fit(moments, lr=0.1, min_samples=2).status[3] == fastgd.Status.COMPLETED


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_fit_that_overflows_goes_on_by_its_moments(dtype, optimizer):
    X, y, _ = problem(60, 2, dtype, False)
    lr, epochs = (np.array([1e3, 0.1])[:, None], 300) if optimizer == "sgd" else (np.array([1e300, 0.1])[:, None], 4)
    found = fastgd.fit(fastgd.compress(X, y), lr=lr, epochs=epochs, optimizer=optimizer, history=True)
    assert (found.status[0] == fastgd.Status.DIVERGED).all()
    assert (found.status[1] == fastgd.Status.COMPLETED).all()
    finite = np.isfinite(found.history.w).all(axis=-1) & np.isfinite(found.history.loss)
    for fit in range(5):
        first = int(found.epochs[0, fit])
        assert finite[0, fit, :first].all()
        assert not finite[0, fit, first]  # `epochs` names the first row that is not finite
    assert not np.isfinite(found.w[0]).any(axis=-1).all()
    expected = fastgd.fit(X, y, lr=lr[1:], epochs=epochs, optimizer=optimizer, history=True)
    assert same(found.history.w[1], expected.history.w[0])  # it does not harm its neighbours
    again = fastgd.fit(fastgd.compress(X, y), lr=lr, epochs=epochs, optimizer=optimizer)
    assert same(again.w, found.w)
    assert same(again.epochs, found.epochs)
    for fit in (0, 3):  # alone, it has the same bits
        alone = fastgd.fit(fastgd.compress(X[fit], y[fit]), lr=float(lr[0, 0]), epochs=epochs, optimizer=optimizer, history=True)
        assert same(alone.history.w, found.history.w[0, fit])
        assert int(alone.epochs) == int(found.epochs[0, fit])


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_beyond_the_limits_it_has_the_rows_of_the_arbiters_moments(name, rule):
    X, y, _ = problem(60, 2, name, False)
    T, row, epochs = arbiter.FORMATS[name], UPDATE_RULES[rule], 110
    beyond = 0
    for fit, lr in product(range(2), (3.0, 1e3, 1e30, T.omega, 2.0 * T.omega)):
        moments, w, rows, losses = arbiter.compress(X[fit], y[fit]), [0.0, 0.0], [], []
        slots, products = [[0.0, 0.0] for _ in row.slots], [1.0] * len(row.products)
        for epoch in range(epochs + 1):  # without any limit
            loss, gradient = arbiter.moments_epoch(moments, w, "mean")
            rows.append([T.round(value) for value in w])
            losses.append(T.round(loss))
            if epoch < epochs:
                w, slots, products, _ = arbiter.RULES[rule](
                    arbiter.FLOAT64, w, slots, products, gradient, epoch, lr, row.all_values(row.hyperparameters)
                )
        found = fastgd.fit(fastgd.compress(X[fit], y[fit]), lr=lr, epochs=epochs, optimizer=rule, history=True)
        assert same_bits(found.history.w, np.array(rows, name))
        assert same_bits(found.history.loss, np.array(losses, name))
        assert same_bits(found.state.w, np.array(w))
        assert same_bits(found.state.slots, np.array(slots))
        assert same_bits(found.state.products, np.full(len(products), np.nan) if np.isnan(w).all() else np.array(products))
        bad = [t for t in range(epochs + 1) if not np.isfinite([*rows[t], losses[t]]).all()]
        assert int(found.epochs) == (bad[0] if bad else epochs)
        assert found.status == (fastgd.Status.DIVERGED if bad else fastgd.Status.COMPLETED)
        sizes = np.abs(rows).max(axis=1)
        beyond += int((np.isfinite(sizes) & (sizes > T.omega)).sum())
    assert beyond > 0


def test_a_w_that_float32_cannot_hold_has_diverged():
    X, y = np.full((20, 1), 1e-30, "float32"), np.full(20, 1e10, "float32")  # the minimum is at 1e40
    found = fastgd.fit(fastgd.compress(X, y), lr=1e59, epochs=10, history=True)
    assert (int(found.epochs), found.status) == (1, fastgd.Status.DIVERGED)
    assert np.isinf(found.history.w[1:]).all()
    assert np.isfinite(found.history.loss).all()
    assert 2e39 <= float(found.state.w[0]) < 1e40  # it goes on all the same


def test_what_the_moments_do_not_hold_is_said():
    days = 2_459_580 + np.arange(365)  # Julian days
    X = np.stack([days, np.arange(365)]).astype("float32")[..., None]
    y = np.stack([np.arange(365.0)] * 2)
    found = fastgd.fit(fastgd.compress(X, y, intercept=True, dtype="float32"), standardize=True)
    assert found.status.tolist() == [fastgd.Status.INVALID_DATA, fastgd.Status.COMPLETED]
    assert np.isnan(found.w[0]).all()
    assert found.w[1] == 1
    rng = np.random.default_rng(0)
    wide = fastgd.compress(rng.normal(size=(20, 40)), rng.normal(size=20))  # more parameters than samples
    unknown = fastgd.fit(wide, lr=1e-3, tol=0.5, epochs=50, excess_loss=True)
    assert np.isnan(unknown.excess_loss)
    assert unknown.status == fastgd.Status.COMPLETED


def test_options_that_compress_was_told_are_refused():
    moments = fastgd.compress(np.ones((3, 8, 2)), np.ones((3, 8)))
    for name, value in {
        "y": np.ones(8),
        "sample_weight": np.ones(8),
        "nodata": "none",
        "dtype": "float32",
        "nan_policy": "omit",
        "intercept": True,
    }.items():
        refused(ValueError, f"X is Moments, so {name} must be given to fastgd.compress", moments, **{name: value})
        refused_call(ValueError, f"so {name} must be", lambda name=name, value=value: fastgd.solve(moments, **{name: value}))
    fastgd.fit(moments, dtype="float64", epochs=1)  # it agrees with what they are
    refused(ValueError, "samples are gone", moments, algorithm="stream")
    for backend in ("torch", "numpy"):
        refused(ValueError, f"backend '{backend}' descends on samples: give backend='cpu'", moments, backend=backend)
    refused(TypeError, "y is missing", np.ones((8, 2)))
