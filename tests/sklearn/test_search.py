"""`SweepSearchCV`: the scores and the winner of GridSearchCV; training data are sums of the other
folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit, TimeSeriesSplit

import fastgd
from fastgd.sklearn import GradientDescentRegressor, SweepSearchCV
from fastgd.sklearn.folds import Samples

X, Y = load_diabetes(return_X_y=True)
MODEL = GradientDescentRegressor(tol=None, epochs=40)
GRIDS = {
    "rates": {"lr": np.geomspace(1e-3, 1.2, 8).tolist()},
    "rules and intercepts": {"lr": [0.01, 0.3], "optimizer": [fastgd.SGD(momentum=0.9), "adam"], "fit_intercept": [True, False]},
    "a safe rate beside others": {"lr": [None, 0.1], "epochs": [10, 20]},
    "penalties": {"alpha": [0.0, 1.0, 50.0], "lr": [0.1, 0.3]},
    "nothing that is swept": {"epochs": [5, 50], "standardize": [True, False]},
    "a list of grids": [{"lr": [0.1, 0.2]}, {"schedule": [None, fastgd.schedules.ExponentialLR(0.9)], "epochs": [7]}],
}
SCORES = ("mean_test_score", "std_test_score", "mean_train_score", "split0_test_score", "split2_train_score")
# The losses have a relative rounding error of some dozens of 2^-53 (docs/error-bound.md) in each of
# up to 50 epochs; R² and its spread add a digit.
CLOSE = 2.0**-53 * 50 * 2 * 100


def both(grid, **options):
    options = {"cv": 3, "return_train_score": True} | options
    return [search(MODEL, grid, **options).fit(X, Y) for search in (GridSearchCV, SweepSearchCV)]


@pytest.mark.parametrize("scoring", [None, "neg_mean_squared_error", "neg_root_mean_squared_error"])
@pytest.mark.parametrize("grid", GRIDS)
def test_scores_are_those_of_grid_search(grid, scoring):
    theirs, ours = both(GRIDS[grid], scoring=scoring)
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    size = np.abs(theirs.cv_results_["mean_test_score"]).max()
    for name in SCORES:
        np.testing.assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], rtol=CLOSE, atol=CLOSE * size)
    assert (ours.cv_results_["rank_test_score"] == theirs.cv_results_["rank_test_score"]).all()
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    assert (ours.best_index_, ours.best_params_, ours.n_splits_) == (theirs.best_index_, theirs.best_params_, theirs.n_splits_)
    assert (ours.predict(X) == theirs.predict(X)).all()
    assert ours.score(X, Y) == theirs.score(X, Y)


SPLITTERS = {
    "shuffled": KFold(4, shuffle=True, random_state=0),
    "drawn": ShuffleSplit(3, random_state=0),
    "growing": TimeSeriesSplit(3),
}


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_any_splitter(splitter):
    theirs, ours = both(GRIDS["rates"], cv=SPLITTERS[splitter])
    np.testing.assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=CLOSE, atol=CLOSE)
    assert ours.best_index_ == theirs.best_index_


def test_groups_reach_the_splitter():
    groups = np.arange(len(Y)) % 7
    theirs, ours = (search(MODEL, {"lr": [0.1]}, cv=GroupKFold(3)).fit(X, Y, groups=groups) for search in (GridSearchCV, SweepSearchCV))
    np.testing.assert_allclose(ours.best_score_, theirs.best_score_, rtol=CLOSE)


@pytest.mark.parametrize("several", [False, True])
def test_weights_and_several_targets(several):
    weights = np.random.default_rng(0).uniform(size=len(Y))
    fitted = np.stack([Y, X[:, 2] * 1000], axis=1) if several else Y
    theirs, ours = (search(MODEL, GRIDS["rates"], cv=3).fit(X, fitted, sample_weight=weights) for search in (GridSearchCV, SweepSearchCV))
    np.testing.assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=CLOSE, atol=CLOSE)
    assert (ours.best_estimator_.coef_ == theirs.best_estimator_.coef_).all()


def test_training_moments_hold_no_sample_of_the_validation_fold():
    """A fold of enormous values leaves no trace in its own training moments."""
    spoiled = X.copy()
    splits = list(KFold(3).split(X))
    spoiled[splits[1][1]] *= 1e12
    folds = list(Samples.of(spoiled, Y, None).folds(splits, True, None, None))
    clean = fastgd.compress(X[splits[1][0]], Y[splits[1][0]], intercept=True)
    assert folds[1].train.n_used == clean.n_used == len(splits[1][0])
    # sums of some 300 numbers in twice the precision; w has 2^-53 times the condition, below 2^13
    np.testing.assert_allclose(fastgd.solve(folds[1].train).w, fastgd.solve(clean).w, rtol=2.0**-40)
    assert np.abs(folds[0].train.gram).max() > 1e20 or folds[0].train.gram_exponents.max() > 20


def test_what_diverges_has_the_error_score():
    grid = {"lr": [0.1, 1e20]}
    found = SweepSearchCV(MODEL, grid, cv=3).fit(X, Y)  # a warning would be an error
    assert np.isnan(found.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert found.best_params_ == {"lr": 0.1}
    assert SweepSearchCV(MODEL, grid, cv=3, error_score=-7.0).fit(X, Y).cv_results_["mean_test_score"][1] == -7
    with pytest.raises(ValueError, match="1 of 2 fits diverged"):
        SweepSearchCV(MODEL, grid, cv=3, error_score="raise").fit(X, Y)


@pytest.mark.parametrize("scoring", [None, "neg_root_mean_squared_error"])
def test_what_has_not_quite_diverged_is_a_result_without_a_warning(scoring):
    """Losses of 1e200 are finite; their squares are not."""
    grid = {"lr": [0.1, 1e3, 1e4, 1e5]}
    found = SweepSearchCV(GradientDescentRegressor(tol=None, epochs=30), grid, cv=3, scoring=scoring, return_train_score=True).fit(X, Y)
    scores = found.cv_results_["mean_test_score"]
    assert scores[1] < -1e90
    assert not np.isfinite(found.cv_results_["std_test_score"]).all()
    assert found.best_params_ == {"lr": 0.1}
    assert found.cv_results_["rank_test_score"].tolist()[:2] == [1, 2]


def test_frames_keep_their_names_and_refit_can_be_left_out():
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(X.shape[1])])
    assert SweepSearchCV(MODEL, {"lr": [0.1]}).fit(frame, Y).feature_names_in_.tolist() == list(frame.columns)
    assert not hasattr(SweepSearchCV(MODEL, {"lr": [0.1]}, refit=False).fit(frame, Y), "best_estimator_")


@pytest.mark.parametrize(("options", "words"), [
    ({"estimator": LinearRegression()}, "estimator must be a fastgd.sklearn.GradientDescentRegressor, not LinearRegression"),
    ({"scoring": "max_error"}, "scoring must be None, 'r2', .* not 'max_error'"),
    ({"refit": "r2"}, "refit must be True or False"),
    ({"error_score": "ignore"}, "error_score must be 'raise' or a number"),
], ids=["estimator", "scoring", "refit", "error_score"])  # fmt: skip
def test_what_only_grid_search_can_do_is_refused(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        SweepSearchCV(**{"estimator": MODEL, "param_grid": {"lr": [0.1]}} | options).fit(X, Y)


def test_the_last_fit_warns_as_the_estimator_does():
    with pytest.warns(ConvergenceWarning, match="more than tol"):
        SweepSearchCV(GradientDescentRegressor(epochs=3), {"lr": [1e-3]}).fit(X, Y)
