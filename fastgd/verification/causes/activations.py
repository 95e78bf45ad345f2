"""Hypotheses about a function of X @ w that was left in the model, as the last layer of a network.

1. The predictions are p = f(z) with z = X w, and the gradient is 2/n Xᵀ(f′(z) ∘ (p − y)). That of
   the cross-entropy, which people write for the sigmoid, leaves f′ out.
2. z is off by δz, as in Yardstick.measure. f and f′ have the Lipschitz constants L and L′, so p is
   off by L δz + 4u|p|, and f′ by L′ δz + 8u. The relu's f′ jumps: where |z| ≤ δz it may be either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastgd.kernels.forks import lapack

from ..bound.yardstick import Array, growth
from .hypotheses import Hypothesis, Scene
from .observation import Observation, Term
from .other_data import design_of
from .sizes import Variant, at_named_sizes

__all__ = ["about_activations"]


class _Activation(NamedTuple):
    """A function f, its derivative, and their Lipschitz constants."""

    words: str
    of: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    steep: float  # of f
    bend: float  # of f′; inf: it jumps at 0


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


_ACTIVATIONS = (
    _Activation("relu(X @ w)", lambda z: np.maximum(z, 0), lambda z: (z > 0) * np.ones_like(z), 1, np.inf),
    _Activation("leaky_relu(X @ w)", lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01 + 0 * z), 1, np.inf),
    _Activation("sigmoid(X @ w)", _sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z)), 0.25, 0.1),
    _Activation("tanh(X @ w)", np.tanh, lambda z: 1 - np.tanh(z) ** 2, 1, 0.77),
    _Activation("sigmoid(X @ w), with the gradient of the cross-entropy", _sigmoid, np.ones_like, 0.25, 0),
)


def about_activations(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about predictions that are a function of X @ w."""
    if scene.shown is not None and scene.telling_step is not None:
        yield from at_named_sizes(scene, (_variant(scene.seen, one) for one in _ACTIVATIONS))


def _variant(seen: Observation, one: _Activation) -> Variant:
    def loss(seen: Observation) -> tuple[Array, Array]:
        found = [_measured(seen, one, w)[1:] for w in _blocks(seen, seen.w[: len(seen.true_loss)])]
        value, error = (np.concatenate(part) for part in zip(*found, strict=True))
        return value, error

    def gradient(rows: slice) -> Term:
        parts = [_measured(seen, one, w)[0] for w in _blocks(seen, seen.w[:-1][rows])]
        return Term(*(np.concatenate(part) for part in zip(*parts, strict=True))) if parts else seen.nothing()

    return Variant(("activation",), gradient, 1, {"variant": one.words}, loss=loss)


def _blocks(seen: Observation, w: Array) -> list[Array]:
    return [w[begin : begin + seen.yardstick.block] for begin in range(0, len(w), seen.yardstick.block)]


@lapack
def _measured(seen: Observation, one: _Activation, w: Array) -> tuple[Term, Array, Array]:
    """Return the gradient at the rows w (b, D), the loss, and the error of the loss (note 2)."""
    X, y, u, D = design_of(seen), seen.yardstick.y, seen.u, seen.n_parameters
    z, off = w @ X.T, u * growth(D) * (np.abs(w) @ np.abs(X).T)
    p, slope = one.of(z), one.slope(z)
    r = p - y
    r_off = one.steep * off + 4 * u * np.abs(p) + u * np.abs(r) + (D + 2) * seen.eta
    jumps = np.isinf(one.bend)
    slope_off = np.where(np.abs(z) <= off, off > 0, 0) if jumps else (one.bend > 0) * (one.bend * off + 8 * u)
    v, two = slope * r, seen.yardstick.extended(2)[()] / seen.n
    v_off = np.abs(slope) * r_off + np.abs(r) * slope_off + 2 * u * np.abs(v)
    value = two * (v @ X)
    error = two * ((v_off + growth(seen.n) * u * np.abs(v)) @ np.abs(X)) + 3 * u * np.abs(value)
    error = error + max(1, two) * (np.abs(X).sum(0) + seen.n) * seen.eta + 2 * seen.eta
    loss = (r * r).mean(1)
    loss_off = (2 * np.abs(r) * r_off + r_off * r_off).mean(1) + (growth(seen.n) + 4) * u * loss + 2 * seen.eta
    return Term(value, error), loss, loss_off
