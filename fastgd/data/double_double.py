"""Arrays in twice the precision of float64, in NumPy: the unevaluated sums high + low.

Elementwise + − × ÷ alone (docs/arithmetic.md, section 1), so a number has the same bits in any
array. NumPy has no fused multiply-add: the error of a product comes from halves (Dekker, 1971).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(slots=True)
class DoubleDouble:
    """An array of numbers high + low, |low| ≤ half a unit in the last place of high."""

    high: np.ndarray
    low: np.ndarray

    def __getitem__(self, index: Any) -> DoubleDouble:
        return DoubleDouble(self.high[index], self.low[index])

    def __setitem__(self, index: Any, value: DoubleDouble | float) -> None:
        high, low = (value.high, value.low) if isinstance(value, DoubleDouble) else (value, 0.0)
        self.high[index], self.low[index] = high, low

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(-self.high, -self.low)

    def __add__(self, other: DoubleDouble) -> DoubleDouble:
        return DoubleDouble(*add(self.high, self.low, other.high, other.low))

    def __sub__(self, other: DoubleDouble) -> DoubleDouble:
        return self + -other

    def __mul__(self, other: DoubleDouble) -> DoubleDouble:
        product, error = two_product(self.high, other.high)
        return DoubleDouble(*fast_two_sum(product, error + (self.high * other.low + self.low * other.high)))

    def __rtruediv__(self, one: float) -> DoubleDouble:
        """One divided by this, by two steps of Newton from the quotient in float64."""
        quotient = DoubleDouble(one / self.high, np.zeros_like(self.high))
        for _ in range(2):
            product = self * quotient
            rest = (one - product.high) - product.low  # the first difference is exact: they are nearly equal
            quotient = DoubleDouble(*fast_two_sum(quotient.high, quotient.low + rest / self.high))
        return quotient

    def copy(self) -> DoubleDouble:
        """A copy with memory of its own."""
        return DoubleDouble(self.high.copy(), self.low.copy())


def add(a: np.ndarray, a_low: np.ndarray, b: np.ndarray, b_low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of two double-doubles: dd_add of docs/arithmetic.md, section 1."""
    s, e = two_sum(a, b)
    t, f = two_sum(a_low, b_low)
    s, e = fast_two_sum(s, e + t)
    return fast_two_sum(s, e + f)


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and its rounding error."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and its rounding error, where |a| ≥ |b|."""
    s = a + b
    return s, b - (s - a)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a·b and its rounding error; exact below 2^996, where nothing underflows."""
    p = a * b
    a_upper, b_upper = upper_half(a), upper_half(b)
    a_rest, b_rest = a - a_upper, b - b_upper
    return p, ((a_upper * b_upper - p) + a_upper * b_rest + a_rest * b_upper) + a_rest * b_rest


def upper_half(values: Any) -> Any:
    """The upper 26 bits of float64 numbers (Dekker, 1971)."""
    stretched = values * (2.0**27 + 1.0)
    return stretched - (stretched - values)
