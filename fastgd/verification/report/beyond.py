"""The first value that is beyond the bound, in words: first what a beginner can check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Beyond", "number", "plain"]


class Beyond(NamedTuple):
    """The first value that is beyond the bound; what is not known of it is NaN."""

    epoch: int
    quantity: str  # "w[j]", "intercept" or "loss"
    share: float  # of the bound; inf: a value that is not finite, or a wrong start
    found: float = math.nan
    expected: float = math.nan  # from the row before; of a loss, that of its w
    off: float = math.nan  # |found − expected|, in extended precision
    size: float = math.nan  # of the step, or of the loss

    def in_words(self, limit: float) -> str:
        """Return what is wrong, and how much of it rounding explains; limit: the share allowed."""
        if math.isnan(self.found) and math.isinf(self.share):
            return f"{self.quantity} is not a number"
        found, expected = self._values()
        if math.isinf(self.found) and math.isinf(self.share):
            return f"{self.quantity} is infinite"
        bound = f"{number(self.share)} times the rounding-error bound, {limit:g} are allowed"
        if math.isnan(self.expected):
            return f"{self.quantity} is {number(self.share)} times its rounding-error bound ({limit:g} are allowed)"
        if math.isinf(self.share):
            return f"{self.quantity} is {found} instead of {expected}{' at the start' if self.epoch == 0 else ''}"
        if not self.size > 0:
            return f"{self.quantity} is {found} instead of {expected} ({bound})"
        what = "" if self.quantity == "loss" else "its step"
        off = _relative(self.off / self.size, what)
        explained = _relative(limit * self.off / self.share / self.size)
        return f"{self.quantity} is {found} instead of {expected}, off by {off}; rounding explains at most {explained} ({bound})"

    def _values(self) -> tuple[str, str]:
        """Return the two values with digits enough to see that they differ."""
        for digits in range(6, 18):
            found, expected = (f"{value:.{digits}g}" for value in (self.found, self.expected))
            if found != expected:
                return found, expected
        return found, expected


def _relative(ratio: float, what: str = "") -> str:
    """Return a ratio in percent, or as a multiple where it is large; what: of what, in words."""
    if ratio >= 10:
        return f"{ratio:.3g} times {what or 'its size'}"
    percent = f"{100 * ratio:.2g} %" if ratio < 0.0995 else f"{100 * ratio:.3g} %"
    return f"{percent} of {what}" if what else percent


def number(value: float) -> str:
    """Return a share of the bound in words."""
    return "not a number" if math.isnan(value) else "inf" if math.isinf(value) else f"{value:.2g}"


def plain(value: Any) -> Any:
    """Return the value with the types of JSON only."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    return None if math.isnan(number) else number if math.isfinite(number) else str(number)
