"""Results to save: they are computed when this is imported."""

from __future__ import annotations

import numpy as np

import fastgd
from fastgd import FitResult

SAMPLES = np.random.default_rng(5)
X, Y = SAMPLES.normal(size=(6, 20, 3)), SAMPLES.normal(size=(6, 20))
LINE = np.array([1.0, 2, 3, 4])


def cases() -> dict[str, FitResult]:
    x32, y32 = X.astype(np.float32), Y.astype(np.float32)
    with_nan = Y.copy()
    with_nan[2, 3] = np.nan
    momentum = fastgd.SGD(momentum=[0.5, 0.9, 0.0, 0.1, 0.2, 0.3])
    return {
        "one number": fastgd.fit(LINE, 2 * LINE, lr=0.1, epochs=20),
        "one fit": fastgd.fit(X[0], Y[0], lr=0.1, epochs=20, history=True, intercept=True),
        "1-D X, many": fastgd.fit(LINE, 2 * LINE, lr=[0.01, 0.1, 5.0], epochs=2000, history=100),
        "grid": fastgd.fit(X, Y, lr=np.array([0.01, 0.1])[:, None], epochs=7, history=3, intercept=True, optimizer=momentum),
        "float32": fastgd.fit(x32, y32, lr=0.1, epochs=9, history=True),
        "NaN": fastgd.fit(X, with_nan, lr=0.1, epochs=9, nan_policy="propagate", history=True),
        "converged": fastgd.fit(X, Y, epochs=500, tol=1e-3),
        "manual": fastgd.fit(LINE, 2 * LINE, lr=0.1, epochs=3, backend="numpy"),
    }


CASES = cases()
