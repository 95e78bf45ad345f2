"""Calls of `fit` as they are prepared, before anything runs: what the tests of planning, running
and results start from."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

import fastgd
from fastgd.planning.job import FitJob, prepare_anew

DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(fastgd.fit).parameters.items()}


def job_of(X: Any, y: Any, **options: Any) -> FitJob:
    """The job of `fit(X, y, **options)`."""
    assert options.keys() <= DEFAULTS.keys()
    return prepare_anew({**DEFAULTS, "X": X, "y": y, **options})


def numbers(*shape: int, dtype: str = "float64") -> np.ndarray:
    """Noise of this shape, always the same."""
    return np.random.default_rng(shape).standard_normal(shape).astype(dtype)
