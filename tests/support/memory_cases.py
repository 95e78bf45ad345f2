"""Fits of every kind whose memory is limited: their data and options, by name."""

from __future__ import annotations

import numpy as np

CASES = {
    "own data": ((300, 20, 3), (300, 20), {}),
    "shared X": ((20, 3), (300, 20), {}),
    "shared y": ((300, 20, 3), (20,), {}),
    "a grid": ((20, 3), (2, 1, 20), {"lr": np.linspace(0, 0.1, 200)}),
    "stream": ((300, 20, 3), (300, 20), {"algorithm": "stream"}),
    "weights": ((300, 20, 3), (300, 20), {"sample_weight": np.linspace(0, 1, 20)}),
    "omit": ((20, 3), (300, 20), {"nan_policy": "omit"}),
    "standardize": ((300, 20, 3), (300, 20), {"standardize": True, "intercept": True}),
    "standardize, shared X": ((20, 3), (300, 20), {"standardize": True, "intercept": True}),
    "standardize, stream": ((300, 20, 3), (300, 20), {"standardize": True, "algorithm": "stream"}),
    "whole numbers": ((300, 20, 3), (20,), {"whole": True}),
}


def data_of(case):
    x_shape, y_shape, options = CASES[case]
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    options = {"lr": 0.01, "epochs": 5, "history": True} | options
    if options.pop("whole", False):
        X = (10 * X).astype(np.int16)
    if "nan_policy" in options:
        y[::3, 4] = np.nan
    return X, y, options
