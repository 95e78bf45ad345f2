"""Loss and gradient in extended precision, and how far rounding may move them.

The derivation is in docs/error-bound.md, "One step" and "Weights and intercept".

1. Extended precision has at least 11 bits more than the arithmetic that is judged: float64 for
   float32 (29 bits more), and `numpy.longdouble` for float64, which must have the 64-bit
   significand of x87 or more. The error of the yardstick itself is below 2⁻¹¹ of the bound.
2. Underflow. torch and our kernels scale the residual before they form a product, (s r_i) x_ij.
   That costs η per scaled residual, which x_ij multiplies, and η per product, which s does not
   multiply. Other programs form the products first and scale the sum by s. The term
   max(1, s)·(Σ|x_ij| + n)·η covers both orders. On 4,097 subnormal targets
   (`subnormal_…_long` of fastgd.testing) torch uses 0.17 of the bound in float32 and 0.15 in
   float64; with the term s·n·η of the second order alone it would use 117 and 99.
3. Overflow. The limits are those of docs/arithmetic.md, section 6. Below them every intermediate
   of a step stays below Ω in any order of summation, that is a factor of 2⁸ (float32) or 2²⁴
   (float64) below overflow. A non-finite value that appears there is an error: τ = inf.
4. Weights. v = ω r takes the place of r in Xᵀr and rᵀr. A sample is rounded at most twice more on
   its way into the gradient (torch's autograd adds (ω r)/W and (r/W) ω, we multiply s (ω r)) and
   once more on its way into the loss: hence a_{n+2} for a_n. W = Σω is a rounded sum of n numbers
   of one sign. Its relative error, (a_n − 2)u, goes into the loss and, for the mean, into the
   gradient. Without weights W = n is exact. Each rounded product may underflow by η, scaled as
   the product is scaled afterwards: torch has (η/W + η + ω_i η + η)|x_ij| per sample (ω r, then
   ÷ W; r/W, then · ω), we have (s η + η)|x_ij|, and (s + 2 + ω_i)|x_ij|η covers both. The loss
   has (η|r_i| + η)/W per sample.
5. Overflow with weights. The limits of docs/arithmetic.md bound every residual by √Ω, and every
   ω r and every sum by Ω. They do not bound torch's r/W where W is tiny, so the yardstick also
   asks for s·max(1, |r_i|) ≤ Ω.
6. State in a higher precision than the observed rows, |w̃ − w| ≤ u|w| + η: u|X||w| is in δ as it
   is, since such arithmetic rounds no prediction. Σ_j |x_ij| η is added, for a w̃ that is subnormal
   or 0 in the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastgd.input.options import read_choice, read_dtype, read_switch
from fastgd.input.reading import read_array
from fastgd.kernels.forks import lapack

__all__ = ["LIMIT", "Array", "Truth", "Yardstick", "of_shape", "reals", "share_of", "worst"]

Array = NDArray[Any]

LIMIT = 8.0  # any correct program stays below this share of the bound (docs/error-bound.md)

_OVERFLOW_LIMIT = {"float32": 2.0**120, "float64": 2.0**1000}  # Ω of docs/arithmetic.md, section 6
BLOCK = 2**20  # residuals in memory at once: a history is judged in blocks of epochs


class Truth(NamedTuple):
    """Exact values at b observed parameter vectors, and how far rounding may move them."""

    w: Array  # (b, D); all fields but `inside` are in extended precision
    gradient: Array  # (b, D): g = s Xᵀr
    gradient_error: Array  # (b, D): |δg|
    loss: Array  # (b,): rᵀr / n
    loss_error: Array  # (b,): Λ
    inside: Array  # (b,) bool: no intermediate of residual, loss and gradient can overflow

    def with_decay(self, decay: Array, yardstick: Yardstick) -> Truth:
        """Return the same, with decay · w in the gradient; decay: (D,)."""
        shrunk = decay * self.w
        gradient = self.gradient + shrunk
        more = yardstick.u * (2 * np.abs(shrunk) + np.abs(gradient)) + yardstick.eta
        return self._replace(gradient=gradient, gradient_error=self.gradient_error + more)

    def step(self, lr: Array, yardstick: Yardstick) -> tuple[Array, Array]:
        """Return ŵ and ℓ, both (b, D), of a plain step with the learning rates lr (b,)."""
        move, u = lr[:, None] * self.gradient, yardstick.u
        expected = self.w - move
        bound = np.abs(lr)[:, None] * self.gradient_error + 2 * u * np.abs(move) + u * np.abs(expected) + 2 * yardstick.eta
        return expected, bound + yardstick.hidden(self.w)

    def step_inside(self, lr: Array, expected: Array, yardstick: Yardstick) -> Array:
        """Return (b,) bool: neither loss, gradient nor update can overflow."""
        move = lr[:, None] * self.gradient
        return self.inside & (np.abs(move) <= yardstick.limit).all(1) & (np.abs(expected) <= yardstick.limit).all(1)


class Yardstick:
    """The data of one fit in extended precision, and the constants of the judged arithmetic."""

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        reduction: str,
        dtype: DTypeLike,
        intercept: bool,
        sample_weight: ArrayLike | None = None,
        *,
        held_higher: bool = False,  # the judged state has a higher precision than the rows that show it
    ) -> None:
        judged, intercept = read_dtype(dtype), read_switch(intercept, "intercept")
        self.held_higher = read_switch(held_higher, "held_higher")
        reduction = read_choice(reduction, "reduction", ("mean", "sum"))
        with np.errstate(over="ignore"):  # too large for the dtype: inf, which is not judged
            data, target = reals(X, "X").astype(judged), reals(y, "y").astype(judged)
        if data.ndim == 1:
            data = data[:, None]
        if data.ndim != 2 or data.shape[0] == 0:
            raise ValueError(f"X must have shape (n_samples, n_features) with at least one sample, not {data.shape}")
        target = of_shape(target, data.shape[:1], "y")
        weights = None
        if sample_weight is not None:
            weights = _weights(sample_weight, data.shape[0], judged)
            data, target, weights = data[weights != 0], target[weights != 0], weights[weights != 0]
        self.n, self.d = data.shape
        self.intercept = intercept
        self.n_parameters = self.d + intercept
        self.type = _extended_type(judged)
        self.u = self.extended(np.finfo(judged).eps)[()] / 2
        self.eta = self.extended(np.finfo(judged).smallest_subnormal)[()]
        self.limit = self.extended(_OVERFLOW_LIMIT[judged.name])[()]
        self.block = max(1, BLOCK // self.n)
        self.weights = None if weights is None else self.extended(weights)
        self.total = self.extended(self.n)[()] if self.weights is None else self.weights.sum()  # W
        self.scale = self.extended(2)[()] / (self.total if reduction == "mean" else 1)

        # The products (b, d) @ (n, d)ᵀ and (b, n) @ (d, n)ᵀ read contiguous memory.
        self.X, self.y = self.extended(data), self.extended(target)
        self.columns = np.ascontiguousarray(self.X.T)
        self.size, self.column_sizes, self.y_size = np.abs(self.X), np.abs(self.columns), np.abs(self.y)
        with np.errstate(all="ignore"):
            self._set_underflow()
            self._set_limits()
            # (n,): how often η may be in a prediction (note 6)
            self.prediction_underflow = self.n_parameters + 2 + (self.size.sum(1) + intercept if self.held_higher else np.zeros(self.n))
        self.sum_growth = growth(self.n if self.weights is None else self.n + 2)
        # relative error of W (note 4)
        self.total_error = 0 if self.weights is None else (growth(self.n) - 2) * self.u
        self.scale_error = self.total_error if reduction == "mean" else 0

    @lapack
    def _set_underflow(self) -> None:
        """Set the factor (D,) of η in |δg|, without the 2η of the sum (notes 2 and 4)."""
        if self.weights is None:
            self.underflow = max(1, self.scale) * (self._with_intercept(self.column_sizes.sum(1), self.n) + self.n)
        else:
            per_sample = self.scale + 2 + self.weights
            self.underflow = self._with_intercept(self.column_sizes @ per_sample, per_sample.sum()) + max(1, self.scale) * self.n

    @lapack
    def _set_limits(self) -> None:
        """Set the largest |w| and loss that cannot overflow (docs/arithmetic.md, section 6)."""
        weights = np.ones(1, self.type) if self.weights is None else self.weights
        lowest = np.minimum(1, weights.min())
        squares = self.columns * self.columns
        norms = np.sqrt(self._with_intercept(squares.sum(1) if self.weights is None else squares @ weights, self.total))
        known = np.isfinite(norms).all() and np.isfinite(self.y).all() and self.total <= self.limit
        M = norms.max(initial=0) if known else self.extended(np.nan)
        self.w_limit = self.limit / np.maximum(1, self.n_parameters * M / np.sqrt(lowest))
        self.loss_limit = np.minimum(self.limit * lowest, (self.limit * lowest / (2 * M)) ** 2) / self.total

    def extended(self, values: ArrayLike) -> Array:
        """Return the values in extended precision (a copy)."""
        return np.array(values, self.type)

    def parameters(self, values: ArrayLike, name: str, rows: bool = False) -> Array:
        """Return observed parameters, (D,) or rows (b, D), as (b, D) in extended precision."""
        w = self.extended(reals(values, name))
        if w.ndim != 1 + rows or w.shape[-1] != self.n_parameters:
            needed = f"(m, {self.n_parameters})" if rows else f"({self.n_parameters},)"
            ones = " and an intercept, which is last" if self.intercept else ""
            raise ValueError(f"{name} must have shape {needed} for {self.d} features{ones}; it has {w.shape}")
        return w.reshape(-1, self.n_parameters)

    def hidden(self, observed: Array) -> Array:
        """Return how far a state may be from its observed values (note 6)."""
        return self.u * np.abs(observed) + self.eta if self.held_higher else np.zeros_like(observed)

    @lapack
    def residual(self, w: Array) -> Array:
        """Return X w − y at w (b, D), shape (b, n)."""
        return w[:, : self.d] @ self.X.T + (w[:, self.d :] if self.intercept else 0) - self.y

    @lapack
    def reach(self, w: Array) -> Array:
        """Return |x_i||w| for each sample, without y, at w (b, D), shape (b, n)."""
        size = np.abs(w)
        return size[:, : self.d] @ self.size.T + (size[:, self.d :] if self.intercept else 0)

    @lapack
    def measure(self, w: Array) -> Truth:
        """Evaluate loss and gradient, and the bounds of their rounding errors, at w (b, D)."""
        u, eta, s = self.u, self.eta, self.scale
        a_n, a_d = self.sum_growth, growth(self.n_parameters)
        r = self.residual(w)
        r_size = np.abs(r)
        delta = u * (a_d * self.reach(w) + self.y_size + r_size) + self.prediction_underflow * eta
        v, v_size, v_delta = (part if self.weights is None else self.weights * part for part in (r, r_size, delta))
        gradient = s * self._transposed(v, self.columns)
        gradient_error = (
            s * self._transposed(v_delta + a_n * u * v_size, self.column_sizes)
            + self.underflow * eta
            + (3 * u + self.scale_error) * np.abs(gradient)
            + 2 * eta
        )
        rr = _dot(v, r)
        loss = rr / self.total
        loss_error = (2 * _dot(v_size, delta) + _dot(v_delta, delta) + (a_n + 2) * u * rr) / self.total
        loss_error = loss_error + (2 * u + self.total_error) * loss + 2 * eta
        inside = (np.abs(w) <= self.w_limit).all(1) & (loss <= self.loss_limit)
        if self.weights is not None:
            loss_error += (r_size.sum(1) + self.n) * eta / self.total
            inside &= s * np.maximum(1, r_size.max(1)) <= self.limit
        return Truth(w, gradient, gradient_error, loss, loss_error, inside)

    def measure_all(self, w: Array) -> Truth:
        """Return `measure` of the rows of a history, (m, D), evaluated in blocks."""
        parts = [self.measure(w[i : i + self.block]) for i in range(0, len(w), self.block)]
        return Truth(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def shares(self, w: Array, w_next: Array, loss: Array, lr: Array) -> tuple[Array, Array]:
        """Return τ_w and τ_loss of b epochs, (b,) float64 each; NaN: the epoch is not judged."""
        rate = self.extended(lr)
        with np.errstate(all="ignore"):
            rows = self.measure(w)
            expected, bound = rows.step(rate, self)
            of_step = share_of(w_next - expected, bound).max(1)
            of_loss = share_of(self.extended(loss) - rows.loss, rows.loss_error)
            step_inside = rows.step_inside(rate, expected, self)
        return np.where(step_inside, of_step, np.nan), np.where(rows.inside, of_loss, np.nan)

    def walk(self, w: Array) -> Iterator[tuple[int, Truth]]:
        """Yield (t, `Truth` at row t) for the rows of a history, evaluated in blocks."""
        for start in range(0, len(w), self.block):
            rows = self.measure(w[start : start + self.block])
            for i in range(len(rows.w)):
                yield start + i, Truth(*(part[i : i + 1] for part in rows))

    @lapack
    def second_moments(self) -> Array:
        """Return G = Σ ω_i x_i x_iᵀ (D, D); an intercept is a last column of ones."""
        G = np.empty((self.n_parameters,) * 2, self.type)
        columns = self.columns if self.weights is None else self.columns * self.weights
        G[: self.d, : self.d] = columns @ self.columns.T
        if self.intercept:
            G[self.d, : self.d] = G[: self.d, self.d] = columns.sum(1)
            G[self.d, self.d] = self.total
        return G

    def _with_intercept(self, of_features: Array, of_ones: Any) -> Array:
        return np.append(of_features, self.extended(of_ones)) if self.intercept else of_features

    def _transposed(self, r: Array, columns: Array) -> Array:  # (b, n) times (n, D)
        """Return r (b, n) times X or |X|, given by its columns, (b, D)."""
        product = r @ columns.T
        return np.concatenate([product, r.sum(1, keepdims=True)], axis=1) if self.intercept else product


class NoLongDouble(RuntimeError):
    """The numpy.longdouble of this machine is too short to judge float64 arithmetic."""


def _extended_type(judged: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return a type with at least 11 bits more than the judged one (note 1)."""
    if judged == np.float32:
        return np.float64
    bits = np.finfo(np.longdouble).nmant
    if bits < 63:
        raise NoLongDouble(
            f"judging float64 arithmetic needs a numpy.longdouble with a significand of 64 bits or more (x87); here it has {bits + 1}. "
            "Judge float32 arithmetic, or run the verification on x86-64 Linux"
        )
    return np.longdouble


def _weights(sample_weight: ArrayLike, n: int, judged: np.dtype[Any]) -> Array:
    """Return the weights (n,) rounded to the judged dtype."""
    with np.errstate(over="ignore"):
        weights = of_shape(reals(sample_weight, "sample_weight").astype(judged), (n,), "sample_weight")
    if (weights < 0).any():
        raise ValueError(f"sample_weight must not be negative: sample {int(np.argmax(weights < 0))} has {weights.min()}")
    if not (weights != 0).any():
        raise ValueError(f"sample_weight must leave at least one sample: all {n} weights are 0 in {judged.name}")
    return weights


def growth(n: int) -> float:
    """Return a_n, the number of roundings that a sum of n terms gathers.

    It is at most n + 2, and with overwhelming probability at most 6√n + 2 (Higham & Mary 2019).
    """
    return min(n + 2.0, 6.0 * np.sqrt(n) + 2.0)


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)


def share_of(difference: Array, bound: Array) -> Array:
    """Return |difference| / bound as float64; inf where the observed value is NaN."""
    share = (np.abs(difference) / bound).astype(np.float64)
    return np.where(np.isnan(share), np.inf, share)


def worst(share: Array, none: float) -> tuple[float, int | None]:
    """Return the largest share and its row; (`none`, None) where every share is NaN."""
    if np.isnan(share).all():
        return none, None
    row = int(np.nanargmax(share))
    return float(share[row]), row


def reals(values: ArrayLike, name: str) -> Array:
    """Return the values as an array of real numbers, in extended precision where they are."""
    if isinstance(values, np.longdouble) or (type(values) is np.ndarray and values.dtype == np.longdouble):
        return np.asarray(values)
    return read_array(values, name)


def of_shape(values: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    """Return the values as an array of this shape; an error names the argument that has another."""
    array = reals(values, name)
    if array.size == 0 and 0 in shape:
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    return array
