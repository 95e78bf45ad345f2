"""What the tests of `fit` share: small data and the comparison of results."""

from __future__ import annotations

import numpy as np

x = np.array([1.0, 2.0, 3.0, 4.0])
y = 2 * x
X2 = np.array([[1, 0], [2, -1], [0, 1], [-1, 2], [1, 1], [-2, 0], [0, -1], [1, -2]], float)  # 8 samples, 2 features
Y2 = np.array([1, 3, -1, 0, 2, -2, 1, 0], float)


def batch(*shape, n=9, d=2):
    """X (*shape, n, d) and y (*shape, n) of noise."""
    noise = np.random.default_rng(7)
    return noise.standard_normal((*shape, n, d)), noise.standard_normal((*shape, n))


def same(a, b):
    """Equal values (NaN is NaN), shapes and dtypes."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def same_result(a, b):
    names = ("w", "intercept", "loss", "epochs", "status", "lr")
    pairs = [(getattr(a, name), getattr(b, name)) for name in names]
    pairs += [(getattr(a.state, name), getattr(b.state, name)) for name in ("w", "slots", "epoch", "algorithm", "status")]
    if a.history is not None:
        pairs += [(getattr(a.history, name), getattr(b.history, name)) for name in ("epoch", "w", "loss", "intercept")]
    return all((one is None and other is None) or same(one, other) for one, other in pairs)
