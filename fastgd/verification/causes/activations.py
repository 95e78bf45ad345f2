"""Hypotheses about a function of X @ w that was left in the model, or of the residual.

1. The predictions are p = f(z) with z = X w, as in the last layer of a network, and the gradient is
   2/n Xᵀ(f′(z) ∘ (p − y)). People leave f′ out; that of the cross-entropy has none.
2. z is off by δz, as in Yardstick.measure. f and f′ have the Lipschitz constants L and L′, so p is
   off by L δz + 4u|p|, and f′ by L′ δz + 8u. The relu's f′ jumps: where |z| ≤ δz it may be either.
3. Or X meets f(r) of the residual r: its square, or the derivative of another loss such as Huber's.
   r is off by δr, so f(r) is off by L δr + 8u|f(r)|, with L at the larger |r|.
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


class _Of(NamedTuple):
    """What X meets in place of the residual, and the loss of each sample, with their errors."""

    value: Array  # (b, n)
    error: Array
    loss: Array
    loss_error: Array


class _Activation(NamedTuple):
    """A function f, its derivative, and their Lipschitz constants."""

    words: str
    of: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    steep: float  # of f
    bend: float  # of f′; inf: it jumps at 0
    code: str = "activation"
    size: float = 2.0  # times the mean it is the gradient
    natural: bool = False

    def residuals(self, z: Array, off: Array, y: Array, u: Any, eta: Any) -> _Of:
        """Return f′(z)(f(z) − y), and its square without f′ (note 2)."""
        p, slope = self.of(z), self.slope(z)
        r = p - y
        r_off = self.steep * off + 4 * u * np.abs(p) + u * np.abs(r) + eta
        slope_off = np.where(np.abs(z) <= off, off > 0, 0) if np.isinf(self.bend) else (self.bend > 0) * (self.bend * off + 8 * u)
        v = slope * r
        v_off = np.abs(slope) * r_off + np.abs(r) * slope_off + 2 * u * np.abs(v)
        return _Of(v, v_off, r * r, 2 * np.abs(r) * r_off + r_off * r_off)


class _OfResidual(NamedTuple):
    """A function f of the residual; the loss of which it is the derivative."""

    words: str
    of: Callable[[Any], Any]
    steep: Callable[[Any], Any]  # the Lipschitz constant of f up to |r|
    loss: Callable[[Any], Any] | None = None
    code: str = "residual_function"
    size: float = 2.0

    @property
    def natural(self) -> bool:
        """Whether the gradient is that of a loss of its own, to which no factor 2 belongs."""
        return self.loss is not None

    def residuals(self, z: Array, off: Array, y: Array, u: Any, eta: Any) -> _Of:
        """Return f(r), and the loss of r (note 3)."""
        r = z - y
        r_off = off + u * (np.abs(y) + np.abs(r)) + eta
        v = self.of(r)
        v_off = self.steep(np.abs(r) + r_off) * r_off + 8 * u * np.abs(v)
        loss = r * r if self.loss is None else self.loss(r)
        return _Of(v, v_off, loss, (np.abs(v) + v_off) * r_off + 8 * u * (np.abs(loss) + np.abs(r)))


def _clipped_to(size: float) -> dict[str, Any]:
    """Return f and the loss of Huber's, which is quadratic up to this size of a residual."""

    def loss(r: Any) -> Any:
        bent = np.clip(r, -size, size)
        return bent * (r - bent / 2)

    return {"of": lambda r: np.clip(r, -size, size), "steep": np.ones_like, "loss": loss, "size": 1.0}


def _log_cosh(r: Any) -> Any:
    return np.abs(r) + np.log1p(np.exp(-2 * np.abs(r))) - np.log(np.ones((), r.dtype) * 2)


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


_ACTIVATIONS = (
    _Activation("relu(X @ w)", lambda z: np.maximum(z, 0), lambda z: (z > 0) * np.ones_like(z), 1, np.inf),
    _Activation("leaky_relu(X @ w)", lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01 + 0 * z), 1, np.inf),
    _Activation("sigmoid(X @ w)", _sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z)), 0.25, 0.1),
    _Activation("tanh(X @ w)", np.tanh, lambda z: 1 - np.tanh(z) ** 2, 1, 0.77),
    _Activation("sigmoid(X @ w), with the gradient of the cross-entropy", _sigmoid, np.ones_like, 0.25, 0),
    _Activation("relu(X @ w), without its derivative", lambda z: np.maximum(z, 0), np.ones_like, 1, 0),
    _Activation("softplus(X @ w)", lambda z: np.logaddexp(0 * z, z), _sigmoid, 1, 0.25),
    _Activation("elu(X @ w)", lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda z: np.exp(np.minimum(z, 0)), 1, 1),
)
_OF_RESIDUALS = (
    _OfResidual("residual**2", np.square, lambda size: 2 * size),
    _OfResidual("residual**3", lambda r: r**3, lambda size: 3 * size**2),
    _OfResidual("abs(residual)", np.abs, np.ones_like),
    _OfResidual("the residual clipped to -1 ... 1, as in Huber's loss and torch's SmoothL1Loss", **_clipped_to(1.0)),
    _OfResidual("the residual clipped to -1.35 ... 1.35, as in Huber's loss", **_clipped_to(1.35)),
    _OfResidual("tanh(residual), as in the log-cosh loss", np.tanh, np.ones_like, _log_cosh, size=1.0),
)


def about_activations(scene: Scene) -> Iterator[Hypothesis]:
    """Yield hypotheses about a function of X @ w, or of the residual."""
    if scene.shown is not None and scene.telling_step is not None:
        yield from at_named_sizes(scene, (_variant(scene.seen, one) for one in (*_ACTIVATIONS, *_OF_RESIDUALS)))


def _variant(seen: Observation, one: _Activation | _OfResidual) -> Variant:
    def loss(seen: Observation) -> tuple[Array, Array]:
        found = [_measured(seen, one, w)[1:] for w in _blocks(seen, seen.w[: len(seen.true_loss)])]
        value, error = (np.concatenate(part) for part in zip(*found, strict=True))
        return value, error

    def gradient(rows: slice) -> Term:
        parts = [_measured(seen, one, w)[0] for w in _blocks(seen, seen.w[:-1][rows])]
        return Term(*(np.concatenate(part) for part in zip(*parts, strict=True))) if parts else seen.nothing()

    of_loss = one.natural or isinstance(one, _Activation)
    return Variant((one.code,), gradient, 1, {"variant": one.words}, loss=loss if of_loss else None, natural=one.natural)


def _blocks(seen: Observation, w: Array) -> list[Array]:
    return [w[begin : begin + seen.yardstick.block] for begin in range(0, len(w), seen.yardstick.block)]


@lapack
def _measured(seen: Observation, one: _Activation | _OfResidual, w: Array) -> tuple[Term, Array, Array]:
    """Return the gradient at the rows w (b, D), the loss, and the error of the loss."""
    X, y, u, D = design_of(seen), seen.yardstick.y, seen.u, seen.n_parameters
    z, off = w @ X.T, u * growth(D) * (np.abs(w) @ np.abs(X).T)
    v, v_off, losses, losses_off = one.residuals(z, off, y, u, (D + 2) * seen.eta)
    scale = seen.yardstick.extended(one.size)[()] / seen.n
    value = scale * (v @ X)
    error = scale * ((v_off + growth(seen.n) * u * np.abs(v)) @ np.abs(X)) + 3 * u * np.abs(value)
    error = error + max(1, scale) * (np.abs(X).sum(0) + seen.n) * seen.eta + 2 * seen.eta
    loss = losses.mean(1)
    loss_off = losses_off.mean(1) + (growth(seen.n) + 4) * u * loss + 2 * seen.eta
    return Term(value, error), loss, loss_off
