"""Gradients at their named sizes: with the factor 2 or without it, of the mean or of the sum.

1. Every hypothesis about a gradient is tried at the named sizes too, because a mistake is made in
   code of every convention: Gauss–Seidel in 1/(2n) is Gauss–Seidel.
2. One step is looked at first, the one that is furthest from what was asked for. Only what explains
   that step, at some size, is computed for all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term

__all__ = ["Variant", "at_named_sizes", "factor_of", "named_factors", "of_term"]

Codes = tuple[str, ...]


def factor_of(reduction: str, n: float) -> float:
    """Return the factor on the gradient of the mean."""
    return {"mean": 1.0, "sum": float(n), "half_mean": 0.5, "half_sum": n / 2}[reduction]


def named_factors(n: float, asked: float) -> list[tuple[Codes, float]]:
    """Return (codes, factor on the mean gradient) of each cause; `asked` is the right factor.

    That is 1 for the mean of the squares, n for their sum, 1/2 and n/2 for half of either.
    """
    named: list[tuple[Codes, float]]
    if asked == 1:
        named = [
            (("gradient_sum",), float(n)),
            (("gradient_sum_missing_two",), n / 2),
            (("gradient_missing_two",), 0.5),
            (("gradient_divided_twice",), 1 / n),
            (("gradient_n_minus_1",), n / (n - 1) if n > 1 else 1.0),
            (("gradient_double_two",), 2.0),
        ]
    elif asked == n:
        named = [(("gradient_mean",), asked / n), (("gradient_missing_two",), asked / 2), (("gradient_double_two",), asked * 2)]
        named += [(("gradient_sum_missing_two",), 0.5)] if n == 1 else []
    elif asked == 0.5:
        named = [
            (("gradient_not_halved",), 1.0),
            (("gradient_sum",), n / 2),
            (("gradient_divided_twice",), 0.5 / n),
            (("gradient_n_minus_1",), 0.5 * n / (n - 1) if n > 1 else 0.5),
            (("gradient_sum", "gradient_not_halved"), float(n)),
        ]
    else:
        named = [(("gradient_not_halved",), float(n)), (("gradient_mean",), 0.5), (("gradient_mean", "gradient_not_halved"), 1.0)]
    found = [(codes, factor) for codes, factor in named if factor != asked]
    return found + [(("gradient_sign",), -asked)] + [(("gradient_sign", *codes), -factor) for codes, factor in found]


@dataclass(frozen=True)
class Variant:
    """Another gradient than the right one, of the mean of the squares.

    `make(rows)` is the gradient of the steps `rows`; `loss(seen)` the mean of the squares that
    belongs to it, and how far rounding may move it; None: that of the data.
    """

    codes: Codes
    make: Callable[[slice], Term] = field(repr=False)
    complexity: float = 1.0
    words: Mapping[str, Any] = field(default_factory=dict)
    constants: int = 0
    loss: Callable[[Observation], tuple[Array, Array]] | None = field(default=None, repr=False)
    telling: Array | None = field(default=None, repr=False)  # as in Hypothesis
    natural: bool = False  # it is of a loss of its own, in which half of the squares is no habit


def of_term(term: Term) -> Callable[[slice], Term]:
    """Return `make` of a gradient that is known for all steps."""
    return lambda rows: Term(term.value[rows], term.error[rows])


def at_named_sizes(scene: Scene, variants: Iterator[Variant]) -> Iterator[Hypothesis]:
    """Yield each variant that explains one step at some named size, at all of them."""
    seen, asked = scene.seen, scene.asked
    everywhere = slice(0, seen.n_steps)
    shown, t = scene.shown, scene.telling_step
    whole = asked.factor * (2 if asked.factor in (0.5, seen.size / 2) and asked.factor != 1 else 1)
    for variant in variants:
        right = whole if variant.natural else asked.factor
        sizes = [((), right), *(named_factors(seen.size, right) if shown is not None else [])]  # other rules divide by the size
        factors = np.array([factor for _, factor in sizes])[:, None]
        near = np.ones(len(sizes), bool)
        if shown is not None and t is not None:
            part = variant.make(slice(t, t + 1))
            pull = shown.rate[t] * factors * part.value
            error = shown.still.error[t] + np.abs(shown.rate[t] * factors) * part.error + 4 * seen.u * np.abs(pull)
            near = seen.tau_of_one(t, shown.still.value[t] + pull, error) <= LIMIT
        if not near.any():
            continue
        gradient = variant.make(everywhere)
        for (codes, factor), fits in zip(sizes, near, strict=True):
            if fits:
                yield Hypothesis(
                    (*variant.codes, *codes), variant.complexity + 0.5 * len(codes),
                    asked.step(seen, gradient if factor == 1 else gradient.times(factor, seen.u)),
                    {"value": factor / asked.factor, **variant.words}, variant.constants, loss=variant.loss, telling=variant.telling,
                )  # fmt: skip
