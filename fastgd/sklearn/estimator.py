"""GradientDescentRegressor: `fastgd.fit` as an estimator of scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..compressing import compress
from ..fitting import fit
from ..input.options import read_tol
from ..kernels.forks import lapack_lock
from ..results.moments import Moments
from ..results.result import FitResult
from ..results.status import Status


class GradientDescentRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Linear regression by full-batch gradient descent.

    ::

        loss = mean((X w + intercept − y)²)        w ← update_rule(w, gradient)

    With `alpha` it minimises Σ ω (X w + intercept − y)² + alpha · ‖w‖², the objective of
    scikit-learn's Ridge: the intercept is not penalised.

    Parameters
    ----------
    optimizer : str or optimizer object, default "sgd"
        The update rule: a name such as "adam", or an object such as ``fastgd.SGD(momentum=0.9)``.
    lr : float, optional
        Learning rate. None: for SGD the safe rate 1/λ_max, for the other rules torch's default.
    epochs : int, default 1000
        Passes over the data, at most.
    tol : float or None, default 1e-6
        Stop where at most this share of the start's distance from the least loss is left; a fit
        that does not come so far raises a ConvergenceWarning. None: run all epochs.
    fit_intercept : bool, default True
        Whether to fit an intercept.
    standardize : bool, default True
        Descend on centred and scaled features; ``coef_`` is in the units of X.
    alpha : float, default 0
        L2 penalty, ≥ 0, as Ridge has it. With ``standardize=True`` it acts on the scaled features:
        then it is the alpha of a Ridge after a StandardScaler.
    schedule : schedule, callable or array, optional
        How the learning rate goes on from epoch to epoch: one of `fastgd.schedules`.
    warm_start : bool, default False
        Whether `fit` begins at the ``coef_`` and ``intercept_`` of the last call. ``tol`` counts
        from there.
    threads : int, optional
        Number of threads. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that a fit may take beside the data.

    Attributes
    ----------
    coef_ : ndarray (n_features,) or (n_targets, n_features)
        Weights.
    intercept_ : float or ndarray (n_targets,)
        Intercept, 0.0 without one.
    n_iter_ : int
        Epochs that were run; of several targets the most.
    loss_curve_ : ndarray (n_rows,) or (n_targets, n_rows)
        Loss before the first epoch and after each of ``n_iter_`` epochs; later values of a target
        that converged repeat.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray (n_features,) of str
        Names of the features, where X had names that are all strings.

    See Also
    --------
    fastgd.fit : The function, with all options and many fits at once.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.sklearn import GradientDescentRegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> model = GradientDescentRegressor(tol=1e-12).fit(X, X @ [1.0, -2.0] + 3)
    >>> model.coef_.round(4).tolist(), round(float(model.intercept_), 4)
    ([1.0, -2.0], 3.0)
    >>> round(model.score(X, X @ [1.0, -2.0] + 3), 6)
    1.0
    """

    def __init__(
        self,
        *,
        optimizer: Any = "sgd",
        lr: float | None = None,
        epochs: int = 1000,
        tol: float | None = 1e-6,
        fit_intercept: bool = True,
        standardize: bool = True,
        alpha: float = 0.0,
        schedule: Any = None,
        warm_start: bool = False,
        threads: int | None = None,
        memory_limit: int | str | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.alpha = alpha
        self.schedule = schedule
        self.warm_start = warm_start
        self.threads = threads
        self.memory_limit = memory_limit

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GradientDescentRegressor:
        """Fit the model.

        Parameters
        ----------
        X : array or frame (n_samples, n_features)
            Features.
        y : array (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array (n_samples,), optional
            Weights ≥ 0.

        Returns
        -------
        GradientDescentRegressor
            This estimator.
        """
        X, y, weights = self._validated(X, y, sample_weight, reset=True)
        start = self._start(y) if self.warm_start and hasattr(self, "coef_") else {}
        total = X.shape[0] if weights is None else float(weights.sum(dtype=np.float64))
        self._descend(X, y, start, total, sample_weight=weights, intercept=self.fit_intercept)
        self._moments: Moments | None = None
        self._total = 0.0  # of the weights that the moments hold
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> GradientDescentRegressor:
        """Add samples, and go on for up to ``epochs`` epochs on all that were given so far.

        What counts of the samples is kept as `fastgd.Moments`, so an epoch costs as much after many
        calls as after one. The first call after `fit` begins anew. Each call begins at the last w,
        and ``tol`` counts from there: it is a share of what that w still has above the least loss
        of all samples, so later calls come nearer to it than one `fit` would.

        Parameters
        ----------
        X : array or frame (n_samples, n_features)
            Features of the new samples.
        y : array (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array (n_samples,), optional
            Weights ≥ 0.

        Returns
        -------
        GradientDescentRegressor
            This estimator.
        """
        kept: Moments | None = getattr(self, "_moments", None)
        X, y, weights = self._validated(X, y, sample_weight, reset=kept is None)
        new = compress(
            X, y, sample_weight=weights, intercept=self.fit_intercept, dtype="float64", threads=self.threads, memory_limit=self.memory_limit
        )
        moments = new if kept is None else kept + new
        own = float(X.shape[0] if weights is None else weights.sum(dtype=np.float64))
        total = own + (0.0 if kept is None else self._total)
        self._descend(moments, None, {} if kept is None else self._start(y), total)
        self._total = total
        self._moments = moments
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the targets of new samples.

        Parameters
        ----------
        X : array or frame (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray (n_samples,) or (n_samples, n_targets)
            X w + intercept.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        with lapack_lock():
            return np.asarray(X @ self.coef_.T + self.intercept_)

    def _validated(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """X (n, d), y (n,) or (n_targets, n), and the weights."""
        X, y = validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        return X, y.astype(X.dtype, copy=False).T, weights

    def _start(self, y: np.ndarray) -> dict[str, Any]:
        """Where the last call ended, for as many targets as there are now."""
        if self.coef_.ndim != y.ndim or (len(self.coef_) != len(y) and y.ndim == 2):
            raise ValueError(f"the last call had coef_ of shape {self.coef_.shape}; y has now {len(y) if y.ndim == 2 else 'one'} target(s)")
        return {"w0": self.coef_} | ({"intercept0": self.intercept_} if self.fit_intercept else {})

    def _descend(self, X: Any, y: Any, start: dict[str, Any], total: float, **data_options: Any) -> None:
        """Fit, and take over the results. total: the sum of the weights of all samples."""
        if self.alpha != 0.0:
            data_options["ridge"] = self._ridge_of(total)
        result = fit(
            X, y, optimizer=self.optimizer, lr=self.lr, epochs=self.epochs, tol=self.tol, standardize=self.standardize,
            schedule=self.schedule, threads=self.threads, memory_limit=self.memory_limit, history=True, progress=False,
            **start, **data_options,
        )  # fmt: skip
        self.coef_ = result.w
        self.intercept_ = result.intercept[()] if self.fit_intercept else 0.0
        self.n_iter_ = int(np.max(result.epochs))
        assert result.history is not None
        self.loss_curve_ = result.history.loss[..., : self.n_iter_ + 1]
        self._warn(result)

    def _ridge_of(self, total: float) -> float:
        """The `ridge` of `fit`. total: the number of samples, or the sum of their weights."""
        return max(read_tol(self.alpha, "alpha"), 0.0) / total

    def _warn(self, result: FitResult) -> None:
        """Say so where the descent did not come as near to the least loss as it was asked to."""
        if np.any(np.asarray(result.status) == Status.DIVERGED):
            warnings.warn(
                f"the descent diverged: give a smaller lr than {self.lr!r}, or None (docs/how-to/rate-and-epochs.md)",
                ConvergenceWarning,
                stacklevel=4,
            )
        elif self.tol is not None and np.any(np.asarray(result.status) != Status.CONVERGED):
            warnings.warn(
                f"more than tol={self.tol!r} of the start's distance from the least loss is left after {self.n_iter_:,} epochs: give more "
                "epochs, standardize=True, or a larger tol (docs/how-to/rate-and-epochs.md)",
                ConvergenceWarning,
                stacklevel=4,
            )
