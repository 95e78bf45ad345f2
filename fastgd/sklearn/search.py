"""SweepSearchCV: a grid search whose folds are Moments, so that the data are read once."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils.validation import indexable

from ..input.messages import kind_of, shown
from ..results.status import Status
from ..results.sweep_result import SweepResult
from ..sweeping import sweep
from .estimator import GradientDescentRegressor
from .folds import Fold, Samples

_SWEPT = ("lr", "optimizer", "schedule")  # parameters whose values are fitted in one sweep
_SCORINGS = (None, "r2", "neg_mean_squared_error", "neg_root_mean_squared_error")


class SweepSearchCV(GridSearchCV):
    """Grid search with cross-validation for `GradientDescentRegressor`, at the price of one read.

    Each fold is compressed once to `fastgd.Moments`. The training data of a split are the sum of
    the other folds, never a difference, and all candidates of a split are one `fastgd.sweep`: a
    cell costs its epochs, whatever the number of samples. Attributes are those of
    ``sklearn.model_selection.GridSearchCV``.

    Parameters
    ----------
    estimator : GradientDescentRegressor
        What is fitted; its parameters are those of every candidate where the grid has none.
    param_grid : dict of str to list, or list of such dicts
        Values of parameters of the estimator. Those of "lr", "optimizer" and "schedule" are fitted
        side by side; other parameters make a sweep for each of their values.
    scoring : {"r2", "neg_mean_squared_error", "neg_root_mean_squared_error"}, optional
        What is maximised. None: "r2", the score of the estimator.
    n_jobs : int, optional
        Not used: all threads work on one sweep. See ``threads`` of the estimator.
    refit : bool, default True
        Whether the best candidate is fitted to all data in the end.
    cv : int, splitter or iterable, optional
        The splits, as in GridSearchCV; default 5 folds. Where the test sets of the splits are not a
        partition of the samples, the training data of each are compressed on their own.
    verbose : int, default 0
        Not used.
    pre_dispatch : int or str, default "2*n_jobs"
        Not used.
    error_score : "raise" or float, default NaN
        The score of a candidate that diverges. A candidate on its way there has a huge loss, and
        its scores or their spread may be infinite; neither is a warning.
    return_train_score : bool, default False
        Whether ``cv_results_`` has the scores of the training data too.

    See Also
    --------
    fastgd.sweep : The sweep itself, with histories and plots.

    Notes
    -----
    Candidates have the losses of moments: where GridSearchCV would fit on the samples (at most
    twice as many samples as features), scores differ by rounding. ``mean_fit_time`` is the time of
    a sweep divided by its candidates.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.sklearn import GradientDescentRegressor, SweepSearchCV
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> y = X @ [1.0, -2.0] + 3
    >>> model = GradientDescentRegressor(tol=None, epochs=50)
    >>> search = SweepSearchCV(model, {"lr": np.geomspace(1e-4, 0.5, 32)}).fit(X, y)
    >>> bool(search.best_params_["lr"] > 0.1), len(search.cv_results_["params"])
    (True, 32)
    """

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, sample_weight: Any = None) -> SweepSearchCV:
        """Score all candidates, and fit the best one to all data.

        Parameters
        ----------
        X : array or frame (n_samples, n_features)
            Features.
        y : array (n_samples,) or (n_samples, n_targets)
            Targets.
        groups : array (n_samples,), optional
            For splitters that need them, such as GroupKFold.
        sample_weight : array (n_samples,), optional
            Weights ≥ 0, of the fits and of the scores.

        Returns
        -------
        SweepSearchCV
            This search.
        """
        self._check_what_is_asked()
        X, y, groups, sample_weight = indexable(X, y, groups, sample_weight)
        candidates = list(ParameterGrid(self.param_grid))
        splits = list(check_cv(self.cv, y, classifier=False).split(X, y, groups))
        cells = np.empty((len(candidates), len(splits), 3))  # test score, training score, seconds
        data = Samples.of(X, y, sample_weight)
        for fixed, members in _sweeps_of(clone(self.estimator), candidates):
            for k, fold in enumerate(data.folds(splits, fixed.fit_intercept, fixed.threads, fixed.memory_limit)):
                begun = time.perf_counter()
                found = _sweep(fixed, fold, [candidates[i] for i in members])
                seconds = (time.perf_counter() - begun) / len(members)
                cells[members, k, 0] = self._score(found, found.val_loss, fold.test_spread)
                cells[members, k, 1] = self._score(found, found.loss, fold.train_spread)
                cells[members, k, 2] = seconds
        kept = [
            {"test_scores": test, "train_scores": train, "fit_time": taken, "score_time": 0.0}
            for test, train, taken in cells.reshape(-1, 3)
        ]
        with np.errstate(all="ignore"), warnings.catch_warnings():  # a score that is huge or not a number is a result like others
            warnings.filterwarnings("ignore", "One or more of the (test|train) scores are non-finite", UserWarning)
            self.cv_results_ = self._format_results(candidates, len(splits), kept)
        self.n_splits_, self.multimetric_ = len(splits), False
        self.scorer_ = check_scoring(self.estimator, self.scoring)
        self.best_index_ = int(self.cv_results_["rank_test_score"].argmin())
        self.best_score_, self.best_params_ = self.cv_results_["mean_test_score"][self.best_index_], candidates[self.best_index_]
        if self.refit:
            begun = time.perf_counter()
            self.best_estimator_ = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
            self.best_estimator_.fit(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))
            self.refit_time_ = time.perf_counter() - begun
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self

    def _check_what_is_asked(self) -> None:
        """Raise where only GridSearchCV can do it."""
        if not isinstance(self.estimator, GradientDescentRegressor):
            raise TypeError(
                f"estimator must be a fastgd.sklearn.GradientDescentRegressor, not {kind_of(self.estimator)}: take GridSearchCV"
            )
        if self.scoring not in _SCORINGS:
            listed = ", ".join(map(repr, _SCORINGS[1:]))
            raise ValueError(f"scoring must be None, {listed}, not {shown(self.scoring)}: others need predictions, take GridSearchCV")
        if not isinstance(self.refit, bool):
            raise ValueError(f"refit must be True or False, not {shown(self.refit)}")
        if self.error_score != "raise" and not isinstance(self.error_score, int | float):
            raise ValueError(f"error_score must be 'raise' or a number, not {shown(self.error_score)}")

    def _score(self, found: SweepResult, loss: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """(candidates,) the scores of mean squared residuals, the mean over targets."""
        failed = (np.asarray(found.status) == Status.DIVERGED) | ~np.isfinite(loss)
        if failed.any() and self.error_score == "raise":
            raise ValueError(
                f"{int(failed.sum()):,} of {failed.size:,} fits diverged: give smaller values of lr, or a number as error_score"
            )
        with np.errstate(all="ignore"):
            if self.scoring in (None, "r2"):  # 0 where all test targets are equal, as r2_score has it
                scores = np.where(spread > 0.0, 1.0 - loss / spread, np.where(loss == 0.0, 1.0, 0.0))
            else:
                scores = -loss if self.scoring == "neg_mean_squared_error" else -np.sqrt(loss)
        scores = np.asarray(scores, np.float64).reshape(len(loss), -1).mean(axis=1)
        scores[failed.reshape(len(loss), -1).any(axis=1)] = np.nan if self.error_score == "raise" else self.error_score
        return scores


def _sweeps_of(
    estimator: GradientDescentRegressor, candidates: list[dict[str, Any]]
) -> Iterator[tuple[GradientDescentRegressor, list[int]]]:
    """(estimator with the parameters that a sweep shares, its candidates), for each sweep."""
    groups: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for place, candidate in enumerate(candidates):
        fixed = {name: value for name, value in candidate.items() if name not in _SWEPT or value is None}
        key = repr((sorted(candidate), sorted((name, repr(value)) for name, value in fixed.items())))
        groups.setdefault(key, (fixed, []))[1].append(place)
    for fixed, members in groups.values():
        yield clone(estimator).set_params(**fixed), members


def _sweep(fixed: GradientDescentRegressor, fold: Fold, candidates: list[dict[str, Any]]) -> SweepResult:
    """The fits of some candidates to the training data of one fold."""
    names = [name for name in _SWEPT if candidates[0].get(name) is not None]
    points = [{name: candidate[name] for name in names} | {"standardize": fixed.standardize} for candidate in candidates]
    shared = {name: getattr(fixed, name) for name in _SWEPT if name not in names and getattr(fixed, name) is not None}
    if fixed.alpha:
        shared["ridge"] = fixed._ridge_of(fold.total)
    return sweep(
        fold.train, points=points, epochs=fixed.epochs, tol=fixed.tol, X_val=fold.test,
        threads=fixed.threads, memory_limit=fixed.memory_limit, progress=False, **shared,
    )  # fmt: skip
