"""The folds of a search as Moments: those of the training data are sums of the other folds'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import _check_sample_weight, check_X_y

from ..compressing import compress
from ..results.moments import Moments


class Fold(NamedTuple):
    """One split. The spreads are the (weighted) means of (y − mean(y))² of each target.

    total: the number of samples of the training data, or the sum of their weights.
    """

    train: Moments
    test: Moments
    train_spread: np.ndarray
    test_spread: np.ndarray
    total: float


@dataclass(frozen=True)
class Samples:
    """X (n, d), y (n,) or (n_targets, n), and the weights (n,)."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(cls, X: Any, y: Any, weights: Any) -> Samples:
        """Check the data as the estimator does."""
        X, y = check_X_y(X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        checked = None if weights is None else _check_sample_weight(weights, X, dtype=X.dtype, ensure_non_negative=True)
        return cls(X, y.astype(X.dtype, copy=False).T, checked)

    def folds(
        self, splits: Sequence[tuple[np.ndarray, np.ndarray]], intercept: bool, threads: int | None, memory_limit: int | str | None
    ) -> Iterator[Fold]:
        """The splits one after another."""

        def compressed(places: np.ndarray) -> Moments:
            weights = None if self.weights is None else self.weights[places]
            return compress(
                self.X[places], self.y[..., places], sample_weight=weights, intercept=intercept, threads=threads, memory_limit=memory_limit
            )

        tests = [compressed(test) for _, test in splits]
        for k, (train, test) in enumerate(splits):
            others = [part for i, part in enumerate(tests) if i != k]
            moments = Moments.merge(others) if _are_the_others(splits, k) else compressed(train)
            yield Fold(moments, tests[k], self._spread(train), self._spread(test), self._total(train))

    def _total(self, places: np.ndarray) -> float:
        return float(len(places) if self.weights is None else self.weights[places].sum(dtype=np.float64))

    def _spread(self, places: np.ndarray) -> np.ndarray:
        y, weights = self.y[..., places].astype(np.float64), None if self.weights is None else self.weights[places]
        mean = np.average(y, axis=-1, weights=weights)
        return np.asarray(np.average((y - mean[..., None]) ** 2, axis=-1, weights=weights))


def _are_the_others(splits: Sequence[tuple[np.ndarray, np.ndarray]], k: int) -> bool:
    """Whether the training samples of split k are the test samples of all others, each once."""
    others = [test for i, (_, test) in enumerate(splits) if i != k]
    return bool(others) and np.array_equal(np.sort(np.concatenate(others)), np.sort(splits[k][0]))
