"""Where the least value of the objective comes from, fit by fit: elimination, minimiser, or
nobody asked."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import Status
from tests.support.convergence import Exact
from tests.support.fit_results import same

rng = np.random.default_rng(5)


def make(m, n, d, dtype="float64"):
    X, y = rng.standard_normal((m, n, d)), rng.standard_normal((m, n))
    return X.astype(dtype), y.astype(dtype)


def exact_excess(X, y, result, f, intercept=False, decay=0.0, reduction="mean", weights=None):
    """F(w) − F*, from the state, in rationals."""
    exact = Exact(X[f], y[f], weights, intercept, decay, reduction)
    return float(exact.at(result.state.w[f]) - exact.least())


def assert_excess(X, y, result, **options):
    """excess_loss is right to rounding of the data's dtype, or of the loss where that is larger."""
    u = np.finfo(X.dtype).eps / 2
    for f in range(len(X)):
        told, exact = float(result.excess_loss[f]), exact_excess(X, y, result, f, **options)
        assert abs(told - exact) <= 4 * u * exact + 64 * u * float(result.loss[f])


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "d", "options"),
    [
        (20, 3, {}),
        (20, 3, {"optimizer": "adam"}),
        (6, 3, {}),  # stream: n ≤ 2d
        (3, 5, {}),  # n < D
        (20, 3, {"algorithm": "stream"}),
        (80, 33, {}),  # more than 32 parameters
        (20, 3, {"backend": "numpy"}),
    ],
    ids=str,
)  # fmt: skip
def test_every_way_finds_it(dtype, n, d, options):
    X, y = make(3, n, d, dtype)
    result = fastgd.fit(X, y, epochs=7, excess_loss=True, **options)
    assert_excess(X, y, result)
    cheap = options.get("algorithm", "moments") == "moments" and n > 2 * d and d <= 32 and "backend" not in options
    without = fastgd.fit(X, y, epochs=7, **options)
    assert np.isfinite(without.excess_loss).tolist() == [cheap] * 3
    assert same(without.w, result.w)
    assert not cheap or same(without.excess_loss, result.excess_loss)
    none = fastgd.fit(X, y, epochs=7, excess_loss=False, **options)
    assert none.excess_loss is None
    assert same(none.w, result.w)
    assert np.isnan(none.state.initial_excess).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_the_penalty_is_part_of_the_objective(reduction, algorithm, weighted, intercept):
    X, y = make(2, 20, 3)
    weights = rng.choice([0.5, 1.0, 4.0], (2, 20)) if weighted else None
    options = {"epochs": 5, "reduction": reduction, "algorithm": algorithm, "sample_weight": weights, "intercept": intercept}
    coupled = fastgd.fit(X, y, optimizer=fastgd.SGD(weight_decay=0.7), excess_loss=True, **options)
    for f in range(2):
        own = None if weights is None else weights[f]
        exact = exact_excess(X, y, coupled, f, intercept, 0.7, reduction, own)
        assert abs(coupled.excess_loss[f] - exact) <= 1e-13 * float(coupled.loss[f])
    decoupled = fastgd.fit(X, y, optimizer=fastgd.AdamW(weight_decay=0.7), excess_loss=True, **options)
    for f in range(2):
        own = None if weights is None else weights[f]
        exact = exact_excess(X, y, decoupled, f, intercept, 0.0, reduction, own)
        assert abs(decoupled.excess_loss[f] - exact) <= 1e-13 * float(decoupled.loss[f])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_elimination_leaves_open_is_left_to_the_minimiser(dtype):
    """A column that the other explains but for the square root of what rounding leaves."""
    X, y = make(5, 30, 2, dtype)
    distance = {"float32": 3e-7, "float64": 1e-14}[dtype]
    X[..., 1] = X[..., 0] * (1 + distance * rng.choice([-1, 1], (5, 30)))
    open_ones = fastgd.fit(X, y, epochs=3).excess_loss
    assert np.isnan(open_ones).any()
    whole = fastgd.fit(X, y, epochs=3, excess_loss=True)
    assert np.isfinite(whole.excess_loss).all()
    result = fastgd.fit(X, y, epochs=2_000, tol=0.5)
    assert (result.status == Status.CONVERGED).any()
    assert np.isfinite(result.excess_loss).all()


def test_a_single_feature_with_doubtful_fits_is_run_again():
    """float32 time axes far from 0 among others, in the kernel that makes its moments itself."""
    x = np.arange(12, dtype=np.float32) + np.array([[0], [5e6]], np.float32)
    y = (rng.standard_normal((2, 12)) + np.arange(12)).astype(np.float32)
    rate = np.array([1e-2, 1e-14])
    cheap = fastgd.fit(x[..., None], y, lr=rate, intercept=True)
    assert np.isnan(cheap.excess_loss).tolist() == [False, True]
    for options in ({"excess_loss": True}, {"tol": 1e-9}):
        result = fastgd.fit(x[..., None], y, lr=rate, intercept=True, **options)
        assert np.isfinite(result.excess_loss).all()
        assert same(result.w, cheap.w)
        assert same(result.excess_loss[0], cheap.excess_loss[0])


def test_duplicate_and_empty_columns_are_passed_over():
    X, y = make(3, 30, 4)
    X[..., 1], X[0, :, 3] = 2 * X[..., 0], 0
    result = fastgd.fit(X, y, epochs=4000, tol=1e-9)
    assert (result.status == Status.CONVERGED).all()
    assert_excess(X, y, result)


def test_fits_that_were_not_made_have_none():
    X, y = make(3, 20, 2)
    X[1] = np.nan
    result = fastgd.fit(X, y, nan_policy="omit", excess_loss=True)
    assert np.isnan(result.excess_loss).tolist() == [False, True, False]
    result = fastgd.fit(X, y, nan_policy="propagate", excess_loss=True, tol=0.1)
    assert np.isnan(result.excess_loss).tolist() == [False, True, False]
    assert result.status.tolist() == [Status.CONVERGED, Status.INVALID_DATA, Status.CONVERGED]


def test_a_fit_that_overflows():
    X, y = make(2, 20, 2)
    result = fastgd.fit(X, y, lr=[0.1, 1e9], epochs=18, excess_loss=True)
    assert result.excess_loss[1] > 1e100
    assert np.isfinite(result.excess_loss[1]) == np.isfinite(result.loss[1])
    result = fastgd.fit(X, y, lr=[0.1, 1e9], epochs=300, tol=1e-6)
    assert result.status.tolist() == [Status.CONVERGED, Status.DIVERGED]
    assert np.isnan(result.excess_loss[1])


@pytest.mark.parametrize("option", [{"tol": 0.1}, {"excess_loss": True}], ids=str)
def test_maximize_has_no_least_value(option, no_work):
    (name,) = option
    with pytest.raises(ValueError, match=rf"{name}.* asks how near the loss is to its least value, but maximize=True"):
        fastgd.fit([1.0, 2], [1.0, 2], optimizer=fastgd.SGD(maximize=True), **option)


def test_maximize_beside_descents():
    x = np.arange(1.0, 5)
    assert fastgd.fit(x, x, lr=0.01, optimizer=fastgd.SGD(maximize=True)).excess_loss is None
    both = fastgd.fit(x, x, lr=0.01, optimizer=fastgd.SGD(maximize=[False, True]))
    assert np.isnan(both.excess_loss).tolist() == [False, True]
    assert same(both.excess_loss[0], fastgd.fit(x, x, lr=0.01).excess_loss)


def test_what_excess_loss_may_be(no_work):
    with pytest.raises(TypeError, match="excess_loss must be True, False or None, not 1"):
        fastgd.fit([1.0, 2], [1.0, 2], excess_loss=1)


# What a plateau, a crest or a penalty used to hide ------------------------------------------------


def test_a_crest_of_an_oscillation_is_not_the_minimum():
    optimizer = fastgd.SGD(lr=0.0175, momentum=0.95)
    result = fastgd.fit([1.0, 2, 3, 4], [2.1, 3.9, 6.2, 7.8], optimizer=optimizer, epochs=1000, tol=1e-6)
    assert result.status == Status.CONVERGED
    assert abs(result.w - 1.99) < 0.005


def test_with_a_penalty_it_goes_to_ridge():
    x = np.random.default_rng(0).standard_normal(100)
    y = x + np.random.default_rng(1).standard_normal(100)
    result = fastgd.fit(x, y, optimizer=fastgd.SGD(lr=0.001, weight_decay=1.0), w0=5.0, epochs=20_000, tol=1e-9)
    assert result.status == Status.CONVERGED
    assert abs(result.w - fastgd.solve(x, y, weight_decay=1.0).w) < 1e-3


def test_raw_years_do_not_converge_in_a_thousand_epochs():
    years = np.arange(1990, 2021.0)
    result = fastgd.fit(years, 0.02 * (years - 1990) + 15, intercept=True, epochs=1000, tol=1e-6)
    assert result.status == Status.COMPLETED
    assert abs(result.excess_loss - result.loss) <= 1e-12  # the least loss is 0


def test_a_tiny_rate_is_no_convergence():
    x, y = np.random.default_rng(2).standard_normal((2, 100))
    assert fastgd.fit(x, y, lr=1e-6, tol=1e-3).status == Status.COMPLETED


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_weights_near_the_largest_number_lose_no_batch(algorithm):
    X, y = make(2, 8, 3)
    weights = np.stack([np.full(8, 1e308), np.ones(8)])
    options = {"reduction": "sum", "optimizer": fastgd.SGD(weight_decay=0.1), "lr": 0.01, "algorithm": algorithm, "excess_loss": True}
    result = fastgd.fit(X, y, sample_weight=weights, **options)
    alone = fastgd.fit(X[1], y[1], sample_weight=weights[1], **options)
    assert same(result.excess_loss[1], alone.excess_loss)
    assert np.isfinite(alone.excess_loss)


@pytest.mark.share(4)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{"algorithm": "stream"}, {"algorithm": "moments"}, {"backend": "numpy"}], ids=str)
@pytest.mark.parametrize("intercept", [False, True])
def test_long_standardised_fits_are_measured_on_the_features_they_descend_on(dtype, options, intercept, monkeypatch):
    """In blocks, with an X that many y share: to rounding of the loss the same as in one block."""
    X, y = (part[0] for part in make(1, 3000, 33, dtype))  # more than is eliminated
    X[:, 2] += X[:, 1] + 50
    given = {"standardize": True, "intercept": intercept, "epochs": 40, "excess_loss": True, **options}
    several = np.stack([y, y[::-1], X[:, 0] - y])
    at_once = fastgd.fit(X, several, **given)
    for module in ("samples", "minimisers"):
        monkeypatch.setattr(f"fastgd.running.{module}.STACK_NUMBERS", 2_000)
    found = fastgd.fit(X, several, **given)
    room = 64 * np.finfo(dtype).eps * found.loss
    assert (np.abs(found.excess_loss - at_once.excess_loss) <= room).all()
    unscaled = (X.astype(float) - found.center[0]) / found.scale[0]
    design = np.concatenate([unscaled, np.ones((3000, 1))], axis=1) if intercept else unscaled
    for f, target in enumerate(several.astype(float)):
        residual = design @ np.linalg.lstsq(design, target, rcond=None)[0] - target
        assert abs(found.loss[f] - found.excess_loss[f] - np.mean(residual**2)) <= room[f]
