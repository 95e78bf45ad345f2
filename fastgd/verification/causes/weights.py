"""Hypotheses about the weights of the samples.

The gradient of a step is Σ ω r x / W. Other weights ω′ are those that people write in place of ω:
none, the root, the square. W may be their own sum, that of ω, or the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..bound.yardstick import Array, Yardstick
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .sizes import Variant, at_named_sizes, of_term

__all__ = ["OTHER_WEIGHTS", "about_weights"]

# (code, ω′ of ω): what people write in place of the weights
OTHER_WEIGHTS: tuple[tuple[str, Callable[[Array], Array]], ...] = (
    ("weights_ignored", np.ones_like),
    ("weights_root", np.sqrt),
    ("weights_squared", np.square),
)


def about_weights(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about the weights of the samples."""
    seen = scene.seen
    assert seen.parts is not None
    if seen.parts.weights is not None and not seen.of_batches and scene.shown is not None:
        yield from at_named_sizes(scene, _of_other_weights(seen, seen.parts.weights))


def _of_other_weights(seen: Observation, weights: Array) -> Iterator[Variant]:
    """Yield the gradients with other weights, and with another divisor."""
    n, total = len(weights), float(seen.yardstick.total)
    if total != n:
        yield Variant(("weights_not_normalized",), of_term(seen.at.times(seen.yardstick.total / n, seen.u)), 1)
    for code, change in OTHER_WEIGHTS:
        other = change(np.asarray(weights, np.float64))
        if (other == weights).all():
            continue
        part = seen.weighted(other)
        truth = part.measure_all(seen.w[:-1])
        own = Term(truth.gradient, truth.gradient_error)

        def loss(seen: Observation, part: Yardstick = part) -> tuple[Array, Array]:
            found = part.measure_all(seen.w[: len(seen.true_loss)])
            return found.loss, found.loss_error

        sums = {float(part.total): ""}
        for divisor, told in ((seen.yardstick.total, ", divided by the sum of the weights"), (part.extended(n)[()], f", divided by {n}")):
            if float(divisor) not in sums:
                sums[float(divisor)] = told
                yield Variant((code,), of_term(own.times(part.total / divisor, 2 * seen.u)), 1.25, {"variant": told}, loss=loss)
        yield Variant((code,), of_term(own), 1, loss=loss)
