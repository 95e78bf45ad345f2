"""Hypotheses about the penalty that was asked for, ridge · ‖w‖² without the intercept.

Its gradient is 2 · ridge · w. People leave it out, penalise the intercept too, forget the factor 2,
or divide it by the number of samples as in λ/(2m) ‖w‖². A named factor on the gradient of the data
may be beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..bound.yardstick import Array
from .hypotheses import Hypothesis, Scene
from .recipes import Recipe
from .sizes import named_factors

__all__ = ["about_ridge", "wrong_penalties"]


def about_ridge(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about the gradient of the penalty."""
    seen, asked = scene.seen, scene.asked
    sizes: list[tuple[tuple[str, ...], float]] = [((), asked.factor)]
    sizes += named_factors(seen.size, asked.factor) if asked.options is not None else []
    for codes, decay in wrong_penalties(asked, float(seen.size), seen.n_parameters, seen.intercept):
        other = asked.with_values(weight_decay=decay)
        for of_data, size in sizes:
            step = other.step(seen, seen.at.times(size, seen.u))
            words = {"value": size / asked.factor, "penalty": asked.penalty}
            yield Hypothesis((*codes, *of_data), 0.25 + 0.5 * len((*codes, *of_data)), step, words)


def wrong_penalties(asked: Recipe, n: float, n_parameters: int, intercept: bool) -> Iterator[tuple[tuple[str, ...], Array]]:
    """Yield (codes, the decay of each parameter, (D,)) of the mistakes about a penalty."""
    if not asked.ridge:
        return
    own = np.broadcast_to(asked.values["weight_decay"], (n_parameters,))
    factors: list[tuple[tuple[str, ...], float]] = [
        ((), 1.0),
        (("ridge_forgotten",), 0.0),
        (("ridge_missing_two",), 0.5),
        (("ridge_divided_by_n",), 1 / n),
        (("ridge_missing_two", "ridge_divided_by_n"), 0.5 / n),
    ]
    for on_intercept in (False, True) if intercept else (False,):
        decay = np.full_like(own, own.max()) if on_intercept else own
        for codes, factor in factors:
            codes = (*(("ridge_on_intercept",) if on_intercept else ()), *codes)
            if codes and "ridge_forgotten" not in codes[1:]:
                yield codes, factor * decay
