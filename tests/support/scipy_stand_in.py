"""A stand-in for scipy.special, by mpmath: SciPy is an extra, and the tests do without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest.mock import patch

import mpmath
import numpy as np


def _of_t(dof: float, t: float) -> float:
    """P(T ≤ t)."""
    if not (np.isfinite(dof) and dof > 0.0) or np.isnan(t):
        return float("nan")
    tail = 0.5 * float(mpmath.betainc(dof / 2, 0.5, 0, 0.0 if np.isinf(t) else dof / (dof + t * t), regularized=True))
    return tail if t < 0.0 else 1.0 - tail


def _quantile_of_t(dof: float, p: float) -> float:
    """The t with P(T ≤ t) = p, p > 1/2, by halving."""
    if not dof > 0.0:
        return float("nan")
    low, high = 0.0, 1.0
    while _of_t(dof, -high) > 1.0 - p:
        high *= 2.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _of_t(dof, -middle) > 1.0 - p else (low, middle)
    return 0.5 * (low + high)


def _of_f(model_dof: float, dof: float, f: float) -> float:
    """P(F > f)."""
    if np.isnan([model_dof, dof, f]).any() or min(model_dof, dof) <= 0.0:
        return float("nan")
    return float(mpmath.betainc(dof / 2, model_dof / 2, 0, dof / (dof + model_dof * f), regularized=True))


@contextmanager
def scipy() -> Iterator[None]:
    """A context in which `import scipy.special` gives the stand-in."""
    package, special = ModuleType("scipy"), ModuleType("scipy.special")
    special.stdtr, special.stdtrit, special.fdtrc = (np.vectorize(one, otypes=[float]) for one in (_of_t, _quantile_of_t, _of_f))  # type: ignore[attr-defined]
    package.special = special  # type: ignore[attr-defined]
    with patch.dict(sys.modules, {"scipy": package, "scipy.special": special}):
        yield
