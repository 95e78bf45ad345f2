"""Hypotheses about the difference of X @ w, shape (n,), and y, shape (n, 1): it is n × n.

1. The loss is the mean over all pairs of a prediction p_j and a target y_i; with ȳ the mean of y::

       1/n² Σ_ij (p_j − y_i)² = 1/n Σ_j (p_j − ȳ)² + var(y) = loss + w · s,    s = 2/n Xᵀ(y − ȳ)

   Its gradient is that of y replaced by ȳ: 2/n Xᵀ(p − ȳ) = g + s. Where X is multiplied with the
   other axis, X @ w is replaced by its mean: 2/n Xᵀ(p̄ − y) = g − 2/n (XᵀX − n x̄x̄ᵀ) w.
2. The bound is that of Yardstick.measure with pairs for samples. A difference is off by at most
   δ_ij = u (a_D |x_j||w| + |y_i| + |p_j − y_i|) + (D + 2)η. A sum over both axes gathers at most
   A = a_n + a_n or a_{n²} roundings, one axis after the other or all pairs at once. Sums of
   |p_j − y_i|, times |x_j| or δ_ij, are bounded by the roots of the sums of the squares (Cauchy and
   Schwarz), and that of δ by those of its terms (Minkowski).
3. A residual (n,) times a column (n, 1) is n × n too: its sum is Σr Σx, and the gradient
   2/n Σr Σx_j, or 2/n² where it is a mean. It gathers A roundings of Σ|r| Σ|x_j|, and Σδ Σ|x_j|.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastgd.kernels.forks import lapack

from ..bound.yardstick import Array, growth
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .other_data import design_of
from .sizes import Variant, at_named_sizes, named_factors, of_term

__all__ = ["about_broadcasting", "loss_of_pairs"]

_MOST_PARAMETERS = 256


def about_broadcasting(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about a gradient that is averaged over all pairs."""
    seen, asked = scene.seen, scene.asked
    n = seen.n
    if not _may_show(seen):
        return
    for words, gradient in _gradients_of_pairs(seen):
        for codes, factor, summed in _sums(n, asked.factor, asked.options is not None):
            step = asked.step(seen, gradient.times(factor, scene.u))
            more = {"variant": words + summed, "value": factor / asked.factor}
            yield Hypothesis(("broadcast", *codes), 1 + 0.5 * len(codes), step, more)
    yield from at_named_sizes(scene, _products_of_pairs(seen))


def _sums(n: int, asked: float, all_sizes: bool) -> Iterator[tuple[tuple[str, ...], float, str]]:
    """Yield (further codes, factor on the mean over all pairs, its words).

    There is no further code where the right difference makes the gradient right.
    """
    half = 0.5 if asked in (0.5, n / 2) and asked != 1 else 1.0
    every, one = half * n * n, half * n
    if asked == half:
        yield from (((), half, ""), ((), one, ", summed over one axis"), (("gradient_sum",), every, ", summed over all of them"))
    else:
        yield from (((), every, ", summed over all of them"), ((), one, ", averaged over one axis"))
    if all_sizes:  # rules other than SGD divide by the size of the gradient
        yield from ((codes, factor, "") for codes, factor in named_factors(n, asked))


def _may_show(seen: Observation) -> bool:
    """Return whether pairs differ from samples, and their moments are small."""
    return seen.n > 1 and seen.n_parameters <= _MOST_PARAMETERS


def _roundings(seen: Observation) -> float:
    """Return A, the number of roundings that a sum over all pairs gathers (note 2)."""
    return max(2 * growth(seen.n), growth(seen.n * seen.n))


@lapack
def _shift(seen: Observation, X: Array) -> Array:
    """Return s (D,)."""
    y, n = seen.yardstick.y, seen.yardstick.extended(seen.n)[()]
    return 2 / n * ((y - y.sum() / n) @ X)


@lapack
def _mean_square(seen: Observation, w: Array, s: Array) -> Array:
    """Return the mean of the squares over all pairs at the rows w (m, D), the first ones: (m,)."""
    return np.maximum(seen.true_loss[: len(w)] + w @ s, 0)


@lapack
def _gradients_of_pairs(seen: Observation) -> list[tuple[str, Term]]:
    """Return (words, gradient) where y is replaced by its mean, and where X @ w is."""
    yardstick, u, eta, D = seen.yardstick, seen.u, seen.eta, seen.n_parameters
    X, w, n = design_of(seen), seen.w[:-1], yardstick.extended(seen.n)[()]
    s, size, total = _shift(seen, X), np.abs(X), X.sum(0)
    column = size.sum(0)  # Σ|x_j|
    root = np.sqrt(n * _mean_square(seen, w, s))[:, None] * np.sqrt((X * X).sum(0))  # at least Σ|x_j||p_j − y_i| / n
    underflow = 2 / n * column * (D + 2) * eta + n * yardstick.underflow * eta + 2 * eta

    def term(value: Array, reach: Array, y_size: Array) -> Term:
        off = u * (growth(D) * reach + y_size + (_roundings(seen) + 1) * root)
        return Term(value, 2 / n * off + underflow + 3 * u * np.abs(value))

    of_y = term(seen.at.value + s, np.abs(w) @ (size.T @ size), column * (yardstick.y_size.sum() / n))
    spread = yardstick.second_moments() - np.outer(total, total) / n
    reach = (np.abs(w) @ column)[:, None] * (column / n)
    of_p = term(seen.at.value - 2 / n * (w @ spread), reach, yardstick.y_size @ size)
    mean = float(yardstick.y.sum() / n)
    return [
        (f"the gradient is that of y replaced by its mean, {mean:.6g}", of_y),
        ("the gradient is that of X @ w replaced by its mean", of_p),
    ]


@lapack
def _products_of_pairs(seen: Observation) -> Iterator[Variant]:
    """Yield the gradients of every residual times every sample (note 3)."""
    yardstick, u, n = seen.yardstick, seen.u, seen.yardstick.extended(seen.n)[()]
    X, w = yardstick.X, seen.w[:-1]
    r = yardstick.residual(w)
    delta = u * (growth(seen.n_parameters) * yardstick.reach(w) + yardstick.y_size + np.abs(r)) + yardstick.prediction_underflow * seen.eta
    total, column = r.sum(1, keepdims=True), np.abs(X).sum(0)
    off = (delta.sum(1, keepdims=True) + (_roundings(seen) + 4) * u * np.abs(r).sum(1, keepdims=True)) * column
    for words, by in (("their sum is divided by n", 2 / n), ("their mean is taken", 2 / (n * n))):
        value, error = np.array(seen.at.value), np.array(seen.at.error)
        value[:, : yardstick.d], error[:, : yardstick.d] = by * total * X.sum(0), by * off + (seen.n + column) * 2 * seen.eta + 2 * seen.eta
        yield Variant(("product_broadcast",), of_term(Term(value, error)), 1, {"variant": words})


@lapack
def loss_of_pairs(seen: Observation) -> tuple[Any, Any] | None:
    """Return the mean of the squares over all pairs, (m,), and how far rounding may move it."""
    if not _may_show(seen):
        return None
    yardstick, u, n, D = seen.yardstick, seen.u, seen.n, seen.n_parameters
    X = design_of(seen)
    w = seen.w[: len(seen.true_loss)]
    size = np.abs(w)
    loss = _mean_square(seen, w, _shift(seen, X))
    root = np.sqrt(loss)
    reach = np.sqrt(((size @ (np.abs(X).T @ np.abs(X))) * size).sum(1) / n)
    off = u * (growth(D) * reach + np.sqrt((yardstick.y * yardstick.y).sum() / n) + root) + (D + 2) * seen.eta
    return loss, 2 * root * off + off * off + (_roundings(seen) + 4) * u * loss + 2 * seen.eta
