"""SweepSearchCV beside scikit-learn's GridSearchCV: the same grid, the same folds, the same model.

`python -P benchmarks/search.py [--samples 1000000] [--features 16] [--repeats 5]`. First
scikit-learn's diabetes data, then made ones. Candidates are 4 rates x 2 momenta of 100 epochs;
folds are 5.

1. Nothing is timed in vain: the best candidate must be the same, with the same bits of its fit to
   all data, and the scores of all folds as near as rounding allows. GridSearchCV fits every fold
   from its samples, by moments as well, so losses differ by some dozens of units in the last place
   in each of 100 epochs, and by R² once more: that is counted, not derived.
2. Both use all threads: ours in a sweep, GridSearchCV in each fit (n_jobs=None).
3. Medians of some turns, in which one runs after the other; of 10^4 candidates a single one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV

import fastgd
from fastgd.sklearn import GradientDescentRegressor, SweepSearchCV

GRID = {"lr": [1e-3, 1e-2, 0.1, 0.3], "optimizer": [fastgd.SGD(), fastgd.SGD(momentum=0.9)]}
LARGE = {"lr": np.geomspace(1e-4, 0.3, 5000).tolist(), "optimizer": GRID["optimizer"]}  # 10^4 candidates, ours alone
CLOSE = 2.0**-53 * 50 * 100 * 2


def compare(name: str, X: np.ndarray, y: np.ndarray, repeats: int) -> bool:
    """Time both, and ours with 10^4 candidates; whether they agree."""
    model = GradientDescentRegressor(tol=None, epochs=100)
    found: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {}
    for search, grid in [(SweepSearchCV, GRID), (GridSearchCV, GRID)] * repeats + [(SweepSearchCV, LARGE)]:
        key = f"{search.__name__}, {len(grid['lr']) * 2:,} candidates"
        began = time.perf_counter()
        found[key] = search(model, grid, cv=5).fit(X, y)
        seconds.setdefault(key, []).append(time.perf_counter() - began)
    ours, theirs, _ = found.values()
    scores = ([search.cv_results_[f"split{k}_test_score"] for k in range(5)] for search in (ours, theirs))
    our_scores, their_scores = map(np.array, scores)
    apart = (np.abs(our_scores - their_scores) / np.maximum(1.0, np.abs(their_scores))).max()  # of one on its way to inf: relative
    agree = ours.best_index_ == theirs.best_index_ and apart <= CLOSE and (ours.best_estimator_.coef_ == theirs.best_estimator_.coef_).all()
    print(f"{name}: {'they agree' if agree else 'THEY DO NOT AGREE'}; best candidate {ours.best_params_}")
    print(f"   scores differ by {apart:.1e} at most, {CLOSE:.1e} are allowed")
    for key, value in seconds.items():
        print(f"   {key:40} {statistics.median(value):8.3f} s", flush=True)
    return bool(agree)


def main() -> int:
    """Compare on both data sets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("error")
    X, y = load_diabetes(return_X_y=True)
    for search in (SweepSearchCV, GridSearchCV):  # compile the kernels, or load them
        search(GradientDescentRegressor(tol=None, epochs=2), GRID, cv=5).fit(X, y)
    agree = compare("diabetes", X, y, given.repeats)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((given.samples, given.features))
    y = X @ rng.standard_normal(given.features) + rng.standard_normal(given.samples)
    return 0 if compare(f"{given.samples:,} x {given.features}", X, y, given.repeats) and agree else 1


if __name__ == "__main__":
    sys.exit(main())
