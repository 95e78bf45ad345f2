"""Intervals that hold every value which rounding in the judged arithmetic may give a number.

The derivation is in docs/error-bound.md, "Every intermediate of a rule".

1. `step` of a row of the table of update rules takes any numbers. Given enclosures, it returns
   enclosures of the new w and slots, and the `Arithmetic` knows where an intermediate may overflow
   or may be anything (the root of a negative number, a quotient by 0).
2. A product knows its factors. The factors of a product may be multiplied in any order, so the
   largest product of some of them must not overflow, and each rounding may underflow by η times
   what the other factors make of it. A factor that stands twice is a square, which is not negative.
3. Numbers that are one per fit (hyperparameters, running products, what is made of them) are
   float64 until they meet an array: then they are rounded to the judged precision.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from .yardstick import Array, Yardstick

__all__ = ["Arithmetic", "Enclosure"]

_DOUBLE_LIMIT = 2.0**1000  # Ω of float64
_DOUBLE_U = 2.0**-53
_DOUBLE_ETA = np.finfo(np.float64).smallest_subnormal


class Arithmetic:
    """The roundings of one precision, and what they may have come to in one step of a rule.

    Attributes
    ----------
    overflows, undefined : ndarray, (rows, D) bool
        Where an intermediate may be beyond Ω; where it may be the root of a negative number or a
        quotient by 0.
    """

    def __init__(self, yardstick: Yardstick, shape: tuple[int, int]) -> None:
        self.type = yardstick.type
        self.u, self.eta, self.limit = yardstick.u, yardstick.eta, yardstick.limit
        self.overflows, self.undefined = np.zeros(shape, bool), np.zeros(shape, bool)

    def array(self, values: Array) -> Enclosure:
        """Return exact numbers (rows, D) of the judged precision."""
        return Enclosure(self, values, values, False)

    def number(self, value: Any) -> Enclosure:
        """Return an exact float64: one per fit, or one per row (rows, 1)."""
        exact = np.asarray(value, np.longdouble)
        return Enclosure(self, exact, exact, True)

    def rate(self, value: Any) -> Enclosure:
        """Return a learning rate, which a program may round to the judged precision at first."""
        exact = np.asarray(value, np.longdouble)
        subnormal = (exact > 0) & (exact < self.eta / (2 * self.u))  # else one of the k roundings
        off = np.where(subnormal, self.eta / 2, 0)
        return Enclosure(self, np.maximum(exact - off, 0), exact + off, True)


class Enclosure:
    """An interval that holds every value that a number may have."""

    def __init__(self, of: Arithmetic, low: Array, high: Array, double: bool, parts: tuple[tuple[Enclosure, int], ...] = ()) -> None:
        self.of, self.low, self.high, self.double = of, low, high, double
        self.parts = parts or ((self, 1),)  # factors, each with the exponent 1 or −1
        self.source = self  # the float64 that this is, rounded to the judged precision
        self.complement: Enclosure | None = None  # x where this is 1 − x

    @property
    def size(self) -> Array:
        """The largest absolute value."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def farthest_from(self, exact: Array) -> Array:
        """Return how far any value in here is from these, (rows, D)."""
        return np.broadcast_to(np.maximum(np.abs(self.low - exact), np.abs(self.high - exact)), self.of.overflows.shape)

    @property
    def u(self) -> Any:
        """The unit roundoff."""
        return _DOUBLE_U if self.double else self.of.u

    def _checked(self, size: Array) -> None:
        """Take note where a value of this size may overflow; NaN may be anything."""
        limit = _DOUBLE_LIMIT if self.double else self.of.limit
        self.of.overflows |= ~(size <= limit)

    def _made(self, low: Array, high: Array, error: Array, parts: tuple[tuple[Enclosure, int], ...] = ()) -> Enclosure:
        """Return the enclosure [low, high] after an error; a rounding does not change the sign."""
        low = np.where(low >= 0, np.maximum(low - error, 0), low - error)
        high = np.where(high <= 0, np.minimum(high + error, 0), high + error)
        made = Enclosure(self.of, low, high, self.double, parts)
        made._checked(made.size)
        return made

    def _in_judged_precision(self) -> Enclosure:
        """Return this number rounded from float64 to the judged precision."""
        if not self.double:
            return self
        low, high = self.low.astype(self.of.type), self.high.astype(self.of.type)
        narrow = Enclosure(self.of, low, high, False)
        rounded = narrow._made(low, high, self.of.u * narrow.size + np.where(narrow.size > 0, self.of.eta, 0))
        rounded.source, rounded.complement = self, self.complement
        return rounded

    def _with(self, other: Any) -> tuple[Enclosure, Enclosure]:
        """Return both numbers in one precision."""
        other = other if isinstance(other, Enclosure) else self.of.number(other)
        if self.double == other.double:
            return self, other
        return self._in_judged_precision(), other._in_judged_precision()

    def __neg__(self) -> Enclosure:
        return Enclosure(self.of, -self.high, -self.low, self.double)

    def __abs__(self) -> Enclosure:
        crosses = (self.low < 0) & (self.high > 0)
        low = np.where(crosses, 0, np.minimum(np.abs(self.low), np.abs(self.high)))
        return Enclosure(self.of, low, self.size, self.double)

    def __add__(self, other: Any) -> Enclosure:
        a, b = self._with(other)
        low, high = a.low + b.low, a.high + b.high
        size = np.maximum(np.abs(low), np.abs(high))
        return a._made(low, high, a.u * size + a._lerp_error(b) + b._lerp_error(a))

    def _lerp_error(self, other: Enclosure) -> Array | float:
        """Return how far b − (1 − x)(b − a) may be off from (1 − x) a + x b, where x ≥ 1/2."""
        if len(self.parts) != 2 or len(other.parts) != 2:
            return 0.0
        (keep, _), (old, _) = self.parts
        (share, _), (new, _) = other.parts
        if share.complement is not keep.source:
            return 0.0
        return np.where(share.high >= 0.5, 2 * self.u * (old.size + new.size), 0)

    def __sub__(self, other: Any) -> Enclosure:
        return self + -(other if isinstance(other, Enclosure) else self.of.number(other))

    def __rsub__(self, other: Any) -> Enclosure:
        difference = self.of.number(other) + -self
        difference.complement = self
        return difference

    def __mul__(self, other: Any) -> Enclosure:
        a, b = self._with(other)
        return a._product((*a.parts, *b.parts))

    def __truediv__(self, other: Any) -> Enclosure:
        a, b = self._with(other)
        return a._product((*a.parts, (b, -1)))

    __radd__, __rmul__ = __add__, __mul__

    def _product(self, parts: tuple[tuple[Enclosure, int], ...]) -> Enclosure:
        """Return the product of factors and reciprocals, multiplied in any order."""
        one: Any = np.longdouble(1) if self.double else self.of.type(1)
        low = high = peak = one
        for (factor, exponent), times in Counter(parts).items():
            f_low, f_high = factor.low, factor.high
            if exponent < 0:
                through_0 = (f_low <= 0) & (f_high >= 0)
                self.of.undefined |= through_0
                f_low, f_high = 1 / np.where(through_0, np.nan, f_high), 1 / np.where(through_0, np.nan, f_low)
            if times == 2:
                crosses = (f_low < 0) & (f_high > 0)
                squares = f_low * f_low, f_high * f_high
                f_low, f_high = np.where(crosses, 0, np.minimum(*squares)), np.maximum(*squares)
            for _ in range(1 if times == 2 else times):
                corners = low * f_low, low * f_high, high * f_low, high * f_high
                low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
                peak = peak * np.maximum(1, np.maximum(np.abs(f_low), np.abs(f_high)))
        self._checked(peak)
        n_roundings = len(parts) - 1 + sum(exponent < 0 for _, exponent in parts)
        size, eta = np.maximum(np.abs(low), np.abs(high)), _DOUBLE_ETA if self.double else self.of.eta
        return self._made(low, high, n_roundings * (self.u * size + np.where(size == 0, 0, eta * peak)), parts)

    def __rtruediv__(self, other: Any) -> Enclosure:
        return self.of.number(other) / self

    def __gt__(self, other: float) -> bool:
        return bool((self.low > other).all())

    def __bool__(self) -> bool:
        return bool((self.low != 0).any() or (self.high != 0).any())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Enclosure:
        """Return √ or the sign of an enclosure, or the larger of two; rules use no other ufunc."""
        if ufunc is np.sign:
            (number,) = inputs
            return Enclosure(number.of, np.sign(number.low), np.sign(number.high), number.double)
        if ufunc is np.sqrt:
            (number,) = inputs
            number.of.undefined |= ~(number.low >= 0)
            low, high = np.sqrt(np.maximum(number.low, 0)), np.sqrt(np.maximum(number.high, 0))
            return number._made(low, high, 2 * number.u * high)
        if ufunc is np.maximum:
            first, second = inputs
            a, b = first._with(second) if isinstance(first, Enclosure) else second._with(first)
            return Enclosure(a.of, np.maximum(a.low, b.low), np.maximum(a.high, b.high), a.double)
        return NotImplemented
