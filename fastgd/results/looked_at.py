"""What curvatures say, in words: the condition, and rates above the stability limit."""

from __future__ import annotations

from typing import Any

import numpy as np

_SCALED = 3.0  # the condition: at most this, and the right rate takes a fit near its least loss in some five epochs


class LookedAt:
    """The fits of a result whose curvatures are known."""

    def __init__(self, result: Any) -> None:
        self._result, found = result, result._curvatures
        self.which, self.judged = np.zeros((2, np.size(result.loss)), bool)  # eigenvalues are known; a limit of the rate, too
        self._found, self._penalised = found, result._penalised
        if found is None:
            return
        eigenvalues, index = found.eigenvalues(), found.index
        self.which[index] = ~np.isnan(eigenvalues[:, -1])
        self.judged[index] = self.which[index] & ~np.isnan(found.bounds(result.state.optimizer))
        self._conditions = found.conditions(eigenvalues)
        eps = float(np.finfo(np.asarray(result.loss).dtype).eps)
        self._above = found.above_limit(result.state.optimizer, eigenvalues, np.ravel(result.lr)[index], eps)

    def way_out(self, far: np.ndarray) -> str:
        """What helps fits far from the least loss whose rates are too large; '' where none is."""
        if not self.above_the_limit(far):
            return ""
        return "lower the rate" if np.ndim(self._result.loss) == 0 else "lower these rates"

    def why_far(self, far: np.ndarray) -> str:
        """What is known of fits far from the least loss, (n_fits,) bool; '' where nothing is."""
        if not (self.which & far).any():
            return ""
        parts = []
        if self._found.size > 1:
            told = self.which[self._found.index] & far[self._found.index]
            parts.append(f"condition {_range(self._conditions[told], self._found.most_condition)}{self._in_some(far)}")
        if above := self.above_the_limit(far):
            parts.append(above)
        return "; ".join(parts)

    def scaled(self, fits: np.ndarray) -> bool:
        """Whether scaling cannot help these fits: the condition of all that are known is near 1."""
        if self._found is None or self._found.size < 2 or not (self.which & fits).any():
            return False
        told = self.which[self._found.index] & fits[self._found.index]
        return bool((self._conditions[told] < _SCALED).all())

    def above_the_limit(self, fits: np.ndarray) -> str:
        """How many rates of these fits, (n_fits,) bool, are above the limit; '' where none is."""
        if not (self.which & fits).any():
            return ""
        told = self.which[self._found.index] & fits[self._found.index]
        count, n_told, n_fits = (int(np.count_nonzero(each)) for each in (self._above[told], told, fits))
        if not count:
            return ""
        momentum = bool((self._found.bounds(self._result.state.optimizer)[told] > 2.0).any())
        limit = f"above the stability limit {limit_in_words(self._penalised, momentum)}"
        if count == n_fits:
            return f"{rates_in_words(self._result, count)} {limit}"
        of_how_many = f"these {n_fits:,} rates" if n_told == n_fits else f"{n_told:,} rates looked at"
        return f"{'all' if count == n_told > 1 else f'{count:,}'} of {of_how_many} {'is' if count == 1 else 'are'} {limit}"

    def _in_some(self, fits: np.ndarray) -> str:
        count = np.count_nonzero(self.which & fits)
        return "" if count == np.count_nonzero(fits) else f" in {count:,} of them"


def rates_in_words(result: Any, count: int) -> str:
    """The rates of `count` fits, with the verb."""
    return "the rate is" if np.ndim(result.loss) == 0 else "its rate is" if count == 1 else "these rates are"


def limit_in_words(penalised: bool, momentum: bool = False) -> str:
    """The largest stable rate, as a formula."""
    curvature = "(lambda_max + weight_decay)" if penalised else "lambda_max"
    return f"2 (1 + momentum)/{curvature}" if momentum else f"2/{curvature}"


def _range(conditions: np.ndarray, most: float) -> str:
    """'4e6 to 2e11'; one number where both ends read the same."""
    low, high = (f"over {_short(most)}" if np.isinf(end) else _short(end) for end in (conditions.min(), conditions.max()))
    return low if low == high else f"{low} to {high}"


def _short(value: float) -> str:
    """One digit of a large number, in the form 4e6; a small one to the nearest whole."""
    return f"{value:.0f}" if value < 999.5 else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
