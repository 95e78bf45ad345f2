"""Sums of 32 lanes in plain Python, written from docs/arithmetic.md, sections 2 to 4, and the
numbers to add."""

from __future__ import annotations

import numba
import numpy as np

from fastgd.kernels.cpu.simd.compiling import OPTIONS
from tests.specification.arbiter import fma64, two_sum


def jit(function):
    """Compiled as the kernels are."""
    return numba.njit(**OPTIONS)(function)


def columns_that_round(kind: str, count: int, samples: int, seed: int) -> np.ndarray:
    """(count, samples): products and sums that round; of the kind "ends" also infinities, NaN,
    zeros of both signs and subnormals."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, samples)) * 2.0 ** rng.integers(-20, 21, (count, samples))
    if kind == "ends":
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, 2.0**-1074, -(2.0**-1060), 1e200, -1e-200]
        values = np.where(rng.random(values.shape) < 0.02, rng.choice(special, values.shape), values)
        values[:, 0] = -0.0  # a sum begins with +0
    return values


def sum_by_hand(a, b) -> float:
    """One lane of Σ a·b."""
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total = fma64(x, y, total)
    return total


def sum_by_hand_doubled(a, a_low, b) -> tuple[float, float]:
    """The same, compensated; a_low: what is lost of a, or None."""
    s = c = 0.0
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        p = x * y
        e = fma64(x, y, -p)
        if a_low is not None:
            e = fma64(a_low[k], y, e)
        s, q = two_sum(s, p)
        c = c + (q + e)
    return s, c


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -0.1]


def numbers(count: int, name: str, seed: int) -> np.ndarray:
    """Numbers of all sizes, special ones among them."""
    kind = np.finfo(name)
    rng = np.random.default_rng(seed)
    special = [*SPECIAL, kind.smallest_subnormal, -kind.smallest_subnormal, kind.smallest_normal, kind.max, -kind.max]
    return np.where(rng.random(count) < 0.5, rng.choice(special, count), rng.standard_normal(count)).astype(name)
