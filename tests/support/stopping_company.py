"""Many fits that stop early, for the tests of blocks and of validation data."""

from __future__ import annotations

import numpy as np


def data_of_company():
    """X, y, X_val and y_val of 3 x 40 fits; some samples are missing, fit (2, 5) has too few."""
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(3, 1, 30, 4)), rng.normal(size=(3, 40, 30))
    X[1, 0, 3, 2] = np.nan
    y[2, 5, :26] = np.nan
    return X, y, rng.normal(size=(1, 9, 4)), rng.normal(size=(3, 1, 9))


RATES = np.append(np.geomspace(1e-3, 3, 6), 1e30)
OPTIONS = {"epochs": 400, "patience": 7, "nan_policy": "omit", "intercept": True, "history": 50}
ARRAYS = ("w", "intercept", "loss", "epochs", "status", "val_loss", "best_epoch", "excess_loss")


def assert_equal(one, other):
    for name in ARRAYS:
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    for name in ("w", "loss", "val_loss"):
        assert np.array_equal(getattr(one.history, name), getattr(other.history, name), equal_nan=True), name
