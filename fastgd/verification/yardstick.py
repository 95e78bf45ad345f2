"""The truth at observed parameters, in extended precision, and how far correct arithmetic may be from it (DESIGN.md, section 6).

1. Extended precision has at least 11 bits more than the arithmetic that is judged: float64 for float32 (29 bits more), and
   `numpy.longdouble` for float64, which must be the 64-bit significand of x87 or better. The error of the yardstick itself is
   then below 2⁻¹¹ of the bound.
2. Underflow: DESIGN.md's term s·n·η stands for products that are formed first and scaled by s afterwards. torch and our own kernels
   scale the residual first, (s r_i) x_ij: that is η per scaled residual, which x_ij multiplies, and η per product, n of them, *not* scaled
   by s. Measured on 4,097 subnormal targets (`subnormal_…_long` of fastgd.testing): with s·n·η torch had τ_w = 117 in float32 and 99 in
   float64; with the term used here, max(1, s)·(Σ|x_ij| + n)·η, which covers both orders, 0.17 and 0.15.
3. Overflow: the limits of docs/arithmetic.md, section 6. Every intermediate of a step that stays below them is below Ω in any
   order of summation, hence 2⁸ (float32) or 2²⁴ (float64) away from overflow, so that torch itself is judged until there, and a
   non-finite value that appears earlier is an error: τ = inf.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Array", "Truth", "Yardstick", "of_shape", "share_of"]

Array = NDArray[Any]

_OVERFLOW_LIMIT = {"float32": 2.0**120, "float64": 2.0**1000}  # Ω of docs/arithmetic.md, section 6
BLOCK = 2**20  # residuals held at once; the epochs of a history are judged in blocks


class Truth(NamedTuple):
    """The truth at b observed parameter vectors, and how far arithmetic in `dtype` may be from it."""

    w: Array  # (b, D), like all of these in extended precision
    gradient: Array  # (b, D): g = s Xᵀr
    gradient_error: Array  # (b, D): |δg|
    loss: Array  # (b,): rᵀr / n
    loss_error: Array  # (b,): Λ
    inside: Array  # (b,) bool: no intermediate of the residual, the loss or the gradient can overflow

    def step(self, lr: Array, yardstick: Yardstick, held_higher: bool) -> tuple[Array, Array]:
        """Return ŵ and ℓ, both (b, D), of a plain step with the rates lr (b,)."""
        move, u = lr[:, None] * self.gradient, yardstick.u
        expected = self.w - move
        bound = np.abs(lr)[:, None] * self.gradient_error + 2 * u * np.abs(move) + u * np.abs(expected) + 2 * yardstick.eta
        return expected, bound + u * np.abs(self.w) if held_higher else bound

    def step_inside(self, lr: Array, expected: Array, yardstick: Yardstick) -> Array:
        """Return (b,) bool: neither does the update overflow."""
        move = lr[:, None] * self.gradient
        return self.inside & (np.abs(move) <= yardstick.limit).all(1) & (np.abs(expected) <= yardstick.limit).all(1)


class Yardstick:
    """The data of one fit in extended precision, and the constants of the arithmetic that is judged."""

    def __init__(self, X: ArrayLike, y: ArrayLike, reduction: str, dtype: DTypeLike, intercept: bool) -> None:
        judged = np.dtype(dtype)
        if judged.name not in _OVERFLOW_LIMIT:
            raise ValueError(f"dtype must be float32 or float64, the precision of the arithmetic, not {judged.name}")
        if reduction not in ("mean", "sum"):
            raise ValueError(f'reduction must be "mean" or "sum", not {reduction!r}')
        with np.errstate(over="ignore"):  # what is too large for the dtype is inf, and is not judged
            data, target = np.asarray(X).astype(judged), np.asarray(y).astype(judged)
        if data.ndim == 1:
            data = data[:, None]
        if data.ndim != 2 or data.shape[0] == 0:
            raise ValueError(f"X must have shape (n_samples, n_features) with at least one sample, not {np.shape(X)}")
        self.n, self.d = data.shape
        target = of_shape(target, (self.n,), "y")
        self.intercept = intercept
        self.n_parameters = self.d + intercept
        self.type = _extended_type(judged)
        self.u = self.extended(np.finfo(judged).eps)[()] / 2
        self.eta = self.extended(np.finfo(judged).smallest_subnormal)[()]
        self.scale = self.extended(2)[()] / (self.n if reduction == "mean" else 1)
        self.limit = self.extended(_OVERFLOW_LIMIT[judged.name])[()]
        self.block = max(1, BLOCK // self.n)

        # every product below runs along contiguous memory: (b, d) @ (n, d)ᵀ and (b, n) @ (d, n)ᵀ
        self.X, self.y = self.extended(data), self.extended(target)
        self.columns = np.ascontiguousarray(self.X.T)
        self.size, self.column_sizes, self.y_size = np.abs(self.X), np.abs(self.columns), np.abs(self.y)
        self.column_sums = self._with_intercept(self.column_sizes.sum(1), self.n)
        with np.errstate(all="ignore"):
            norms = np.sqrt(self._with_intercept((self.columns * self.columns).sum(1), self.n))
            M = norms.max(initial=0) if np.isfinite(norms).all() and np.isfinite(self.y).all() else self.extended(np.nan)
            self.w_limit = self.limit / np.maximum(1, self.n_parameters * M)
            self.loss_limit = np.minimum(self.limit, (self.limit / (2 * M)) ** 2) / self.n

    def extended(self, values: ArrayLike) -> Array:
        """Return the values in extended precision (a copy)."""
        return np.array(values, self.type)

    def parameters(self, values: ArrayLike, name: str, rows: bool = False) -> Array:
        """Return observed parameters (D,), or rows of them (b, D), as (b, D) in extended precision."""
        w = self.extended(values)
        if w.ndim != 1 + rows or w.shape[-1] != self.n_parameters:
            needed = f"(m, {self.n_parameters})" if rows else f"({self.n_parameters},)"
            ones = " and an intercept, which is last" if self.intercept else ""
            raise ValueError(f"{name} must have shape {needed} for {self.d} features{ones}; it has {w.shape}")
        return w.reshape(-1, self.n_parameters)

    def measure(self, w: Array) -> Truth:
        """Evaluate residual, loss and gradient, and their bounds, at w (b, D)."""
        n, u, eta, s = self.n, self.u, self.eta, self.scale
        a_n, a_d = growth(n), growth(self.n_parameters)
        slopes, size = w[:, : self.d], np.abs(w)
        constant = w[:, self.d :] if self.intercept else 0
        r = slopes @ self.X.T + constant - self.y  # (b, n)
        r_size = np.abs(r)
        reach = size[:, : self.d] @ self.size.T + (np.abs(constant) if self.intercept else 0)  # |x_i||w|
        delta = u * (a_d * reach + self.y_size + r_size) + (self.n_parameters + 2) * eta
        gradient = s * self._transposed(r, self.columns)
        gradient_error = (
            s * self._transposed(delta + a_n * u * r_size, self.column_sizes)
            + max(1, s) * (self.column_sums + n) * eta
            + 3 * u * np.abs(gradient)
            + 2 * eta
        )
        rr = _dot(r, r)
        loss = rr / n
        loss_error = (2 * _dot(r_size, delta) + _dot(delta, delta) + (a_n + 2) * u * rr) / n + 2 * u * loss + 2 * eta
        inside = (size <= self.w_limit).all(1) & (loss <= self.loss_limit)
        return Truth(w, gradient, gradient_error, loss, loss_error, inside)

    def shares(self, w: Array, w_next: Array, loss: Array, lr: Array, held_higher: bool) -> tuple[Array, Array]:
        """Return τ_w and τ_loss of b epochs, (b,) float64 each; NaN where the epoch is not judged."""
        rate = self.extended(lr)
        with np.errstate(all="ignore"):
            rows = self.measure(w)
            expected, bound = rows.step(rate, self, held_higher)
            of_step = share_of(w_next - expected, bound).max(1)
            of_loss = share_of(self.extended(loss) - rows.loss, rows.loss_error)
            step_inside = rows.step_inside(rate, expected, self)
        return np.where(step_inside, of_step, np.nan), np.where(rows.inside, of_loss, np.nan)

    def walk(self, w: Array) -> Iterator[tuple[int, Truth]]:
        """Yield (t, the truth at row t) for the rows of a history, evaluated in blocks."""
        for start in range(0, len(w), self.block):
            rows = self.measure(w[start : start + self.block])
            for i in range(len(rows.w)):
                yield start + i, Truth(*(part[i : i + 1] for part in rows))

    def second_moments(self) -> Array:
        """Return G = XᵀX (D, D), the ones of an intercept included."""
        G = np.empty((self.n_parameters,) * 2, self.type)
        G[: self.d, : self.d] = self.columns @ self.columns.T
        if self.intercept:
            G[self.d, : self.d] = G[: self.d, self.d] = self.columns.sum(1)
            G[self.d, self.d] = self.n
        return G

    def _with_intercept(self, of_features: Array, of_ones: float) -> Array:
        return np.append(of_features, self.extended(of_ones)) if self.intercept else of_features

    def _transposed(self, r: Array, columns: Array) -> Array:  # (b, n) times (n, D)
        product = r @ columns.T
        return np.concatenate([product, r.sum(1, keepdims=True)], axis=1) if self.intercept else product


def _extended_type(judged: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return a type with at least 11 bits more than the judged one (note 2)."""
    if judged == np.float32:
        return np.float64
    bits = np.finfo(np.longdouble).nmant
    if bits < 63:
        raise RuntimeError(
            f"judging float64 arithmetic needs a numpy.longdouble with a significand of 64 bits or more (x87); here it has {bits + 1}. "
            "Judge float32 arithmetic, or run the verification on x86-64 Linux"
        )
    return np.longdouble


def growth(n: int) -> float:
    """Return a_n, the roundings that a sum of n terms gathers: at most n + 2, and 6√n + 2 but by rare chance (Higham & Mary 2019)."""
    return min(n + 2.0, 6.0 * np.sqrt(n) + 2.0)


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)


def share_of(difference: Array, bound: Array) -> Array:
    """Return |difference| / bound as float64; inf where the observed value is not a number."""
    share = (np.abs(difference) / bound).astype(np.float64)
    return np.where(np.isnan(share), np.inf, share)


def of_shape(values: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    """Return the values as an array if they have this shape; say which argument has not."""
    array = np.asarray(values)
    if array.size == 0 and 0 in shape:
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    return array
