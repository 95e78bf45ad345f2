"""`GradientDescentRegressor`: all of scikit-learn's own checks, and the fits of `fastgd.fit`."""

from __future__ import annotations

import pickle
import unittest
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import fastgd
from fastgd.sklearn import GradientDescentRegressor

rng = np.random.default_rng(4)
X = rng.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 3 + 0.1 * rng.normal(size=60)
TARGETS = np.stack([Y, -2 * Y + X[:, 0]], axis=1)
SKIPPED = {"check_array_api_input": "SCIPY_ARRAY_API is not set"}  # by scikit-learn itself


def name_of(check):
    return getattr(check, "func", check).__name__


CHECKS = {
    f"{number}-{name_of(check)}": (estimator, check)
    for number, (estimator, check) in enumerate(estimator_checks_generator(GradientDescentRegressor()))
}


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learns_own_checks(name):
    estimator, check = CHECKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if name_of(check) in SKIPPED:
            with pytest.raises(unittest.SkipTest, match=SKIPPED[name_of(check)]):
                check(estimator)
        else:
            check(estimator)


def test_so_many_checks_are_run():
    assert len(CHECKS) >= 55


@pytest.mark.parametrize("y", [Y, TARGETS], ids=["one target", "two targets"])
@pytest.mark.parametrize("weights", [None, rng.uniform(size=60)], ids=["", "weights"])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_fit_is_that_of_fastgd(y, weights, intercept):
    model = GradientDescentRegressor(epochs=20, tol=None, fit_intercept=intercept, optimizer="adam", lr=0.1)
    model.fit(X, y, sample_weight=weights)
    options = {"intercept": intercept, "standardize": True, "epochs": 20, "optimizer": "adam", "lr": 0.1, "history": True}
    expected = fastgd.fit(X, y.T, sample_weight=weights, **options)
    np.testing.assert_array_equal(model.coef_, expected.w)
    np.testing.assert_array_equal(model.intercept_, expected.intercept if intercept else 0.0)
    np.testing.assert_array_equal(model.loss_curve_, expected.history.loss)
    assert model.n_iter_ == 20
    assert model.predict(X).shape == y.shape


def test_at_the_minimum_it_is_linear_regression():
    model, exact = GradientDescentRegressor(tol=1e-20).fit(X, TARGETS), LinearRegression().fit(X, TARGETS)
    # 1e-20 of the distance in the loss is 1e-10 in w, times the root of the condition, below 2
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=2e-10 * np.abs(TARGETS).max())
    np.testing.assert_allclose(model.intercept_, exact.intercept_, rtol=0, atol=2e-10 * np.abs(TARGETS).max())
    assert model.n_iter_ < 1000
    assert model.loss_curve_.shape == (2, model.n_iter_ + 1)


def test_what_is_not_at_the_minimum_warns():
    with pytest.warns(ConvergenceWarning, match=r"more than tol=1e-06 .* after 2 epochs: give more epochs"):
        GradientDescentRegressor(epochs=2, lr=0.01).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"diverged: give a smaller lr than 1e\+30"):
        GradientDescentRegressor(epochs=200, lr=1e30).fit(X, Y)
    GradientDescentRegressor(epochs=2, lr=0.01, tol=None).fit(X, Y)  # a warning would be an error


def test_a_warm_start_goes_on():
    options = {"tol": None, "lr": 0.1, "standardize": False}
    whole = GradientDescentRegressor(epochs=8, **options).fit(X, TARGETS)
    model = GradientDescentRegressor(epochs=4, warm_start=True, **options).fit(X, TARGETS).fit(X, TARGETS)
    assert (model.coef_ == whole.coef_).all()
    assert (model.intercept_ == whole.intercept_).all()
    with pytest.raises(ValueError, match=r"coef_ of shape \(2, 3\); y has now one target"):
        model.fit(X, Y)


def test_partial_fit_is_a_fit_of_all_samples_so_far():
    model = GradientDescentRegressor(tol=1e-20)
    for first in range(0, 60, 13):
        part = slice(first, first + 13)
        model.partial_fit(X[part], TARGETS[part], sample_weight=np.full(len(X[part]), 2.0))
    exact = LinearRegression().fit(X, TARGETS)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=0, atol=2e-10 * np.abs(TARGETS).max())
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :2], TARGETS)
    model.fit(X[:20], Y[:20]).partial_fit(X, Y)  # begins anew
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, Y).coef_, rtol=0, atol=2e-10 * np.abs(Y).max())


def test_frames_pipelines_clones_and_pickles():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = GradientDescentRegressor(optimizer=fastgd.SGD(momentum=0.5), schedule=fastgd.schedules.StepLR(30)).fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    again = pickle.loads(pickle.dumps(clone(model).fit(frame, Y)))
    assert (again.predict(frame) == model.predict(frame)).all()
    scores = cross_val_score(make_pipeline(PolynomialFeatures(2, include_bias=False), GradientDescentRegressor(tol=1e-12)), X, Y, cv=3)
    assert scores.min() > 0.95


def test_weights_that_are_negative_are_refused():
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        GradientDescentRegressor().fit(X, Y, sample_weight=-np.ones(60))


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2.0, 60)])
@pytest.mark.parametrize("alpha", [0.5, 40.0])
def test_alpha_is_that_of_ridge(alpha, weights, intercept):
    """At the minimum; with weights and several targets, and after partial_fit."""
    wanted = Ridge(alpha, fit_intercept=intercept).fit(X, TARGETS, sample_weight=weights)
    options = {"alpha": alpha, "fit_intercept": intercept, "standardize": False, "tol": None, "epochs": 3000}
    whole = GradientDescentRegressor(**options).fit(X, TARGETS, sample_weight=weights)
    parts = GradientDescentRegressor(**options)
    for rows in (slice(0, 25), slice(25, 60)):
        parts.partial_fit(X[rows], TARGETS[rows], sample_weight=None if weights is None else weights[rows])
    for model in (whole, parts):
        assert np.allclose(model.coef_, wanted.coef_, rtol=1e-9)
        assert np.allclose(model.intercept_, wanted.intercept_, rtol=1e-9)


def test_alpha_acts_on_the_scaled_features():
    scaled = make_pipeline(StandardScaler(), Ridge(7.0)).fit(X * [1.0, 10.0, 100.0], Y)
    model = GradientDescentRegressor(alpha=7.0, tol=None, epochs=3000).fit(X * [1.0, 10.0, 100.0], Y)
    assert np.allclose(model.predict(X * [1.0, 10.0, 100.0]), scaled.predict(X * [1.0, 10.0, 100.0]), rtol=1e-9)
    with pytest.raises(ValueError, match="alpha must be finite and at least 0; it is -1"):
        GradientDescentRegressor(alpha=-1.0).fit(X, Y)


def test_metadata_are_routed_and_frames_pass_through_a_pipeline():
    """Weights reach `fit` through a search only where they were requested."""
    weights = np.arange(1.0, 61.0)
    with config_context(enable_metadata_routing=True):
        model = GradientDescentRegressor(lr=0.1).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        found = GridSearchCV(model, {"epochs": [50]}).fit(X, Y, sample_weight=weights).best_estimator_
    alone = [GradientDescentRegressor(lr=0.1, epochs=50).fit(X, Y, **given).coef_ for given in ({"sample_weight": weights}, {})]
    assert (found.coef_ == alone[0]).all()
    assert (found.coef_ != alone[1]).any()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    fitted = make_pipeline(StandardScaler(), GradientDescentRegressor()).set_output(transform="pandas").fit(frame, Y)
    assert fitted[-1].feature_names_in_.tolist() == ["a", "b", "c"]
