"""How far a whole history may be from exact gradient descent: the bounds of its epochs, propagated.

The derivation is in docs/error-bound.md, "Propagated bound".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ...input.float_mode import computes
from ...kernels.forks import lapack, lapack_lock
from .yardstick import Array, Yardstick

__all__ = ["propagated_bound"]


@computes
def propagated_bound(
    X: ArrayLike,
    y: ArrayLike,
    w_history: ArrayLike,
    *,
    lr: ArrayLike,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
    dtype: DTypeLike,
    intercept: bool = False,
    held_higher: bool = False,
    weight_decay: ArrayLike = 0.0,
) -> tuple[Array, Array]:
    """Bound how far a history may be from exact gradient descent from the same start.

    Let c be the weight decay, H = s·G + diag(c) with G = XᵀX, V the eigenvectors of H, and
    w − exact w = V e. One step maps e by I − lr·VᵀHV,
    which is diagonal but for the rounding of V; the remainder is computed in extended precision and
    used::

        e_0 = 0        e_{t+1} = |VᵀV − lr·VᵀHV| e_t + |V|ᵀ ℓ_t
        |w_t − exact|    ≤ |V| e_t
        |loss_t − exact| ≤ |Vᵀ∇loss| e_t + e_tᵀ|VᵀGV|e_t / n + Λ_t

    ℓ_t and Λ_t are those of `check_step` at the observed rows; what they change along the
    difference is of second order. With weights G = Σωxxᵀ, and W = Σω takes the place of n. The
    bound holds for unstable learning rates as well. Two histories may differ by the sum of their
    two bounds.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The features, without a column of ones. They are rounded to `dtype` first, as the judged
        arithmetic saw them.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    w_history : array_like, shape (m, D)
        The observed parameters at epochs 0, 1, …, m − 1, the intercept last.
    lr : array_like, shape () or (m − 1,)
        The learning rate, or one per step, as the arithmetic has it.
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient is that of the mean of the squared residuals, or of their sum.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0
        is left out, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic.
    intercept : bool, default False
        Whether the last entry of each row is an intercept.
    held_higher : bool, default False
        Whether the program kept its state in a higher precision than the
        observed rows.
    weight_decay : array_like, shape () or (D,), default 0
        Times w it is added to the gradient, as SGD and the gradient of a ridge have it. The loss is
        without it.

    Returns
    -------
    w_bound : ndarray, shape (m, D), float64
        The bound of each parameter. Row 0, the start, is 0. Rows from the first epoch on that may
        overflow (see `check_history`) are inf.
    loss_bound : ndarray, shape (m,), float64
        The bound of the loss at each row.

    Raises
    ------
    ValueError
        A shape does not fit, `dtype` or `reduction` is none of the above, a weight is negative, or
        all weights are 0.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has a significand of fewer than 64
        bits.

    Examples
    --------
    >>> w = [[0.0], [0.5], [0.75]]
    >>> w_bound, loss_bound = propagated_bound([1.0], [1.0], w, lr=0.25, dtype="float64")
    >>> w_bound.shape, loss_bound.shape, bool(w_bound[-1, 0] < 1e-14)
    ((3, 1), (3,), True)
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight, held_higher=held_higher)
    w = yardstick.parameters(w_history, "w_history", rows=True)
    m, D = w.shape
    rates = yardstick.extended(np.broadcast_to(np.asarray(lr), (max(m - 1, 0),)))
    w_bound, loss_bound = np.full((m, D), np.inf), np.full(m, np.inf)
    with np.errstate(all="ignore"):
        G = yardstick.second_moments()
        decay = yardstick.extended(np.broadcast_to(weight_decay, (D,)))
        hessian = yardstick.scale * G + np.diag(decay)
        if not np.isfinite(hessian).all():
            return w_bound, loss_bound
        V = yardstick.extended(_eigenvectors(hessian))
        # One Newton step makes V orthogonal in extended precision.
        with lapack_lock():
            V = V @ (3 * np.eye(D, dtype=V.dtype) - V.T @ V) / 2
            identity, curvature, turn, size = V.T @ V, V.T @ G @ V, V.T @ hessian @ V, np.abs(V)
        e = np.zeros(D, V.dtype)
        for t, rows in yardstick.walk(w):
            if not rows.inside[0]:
                break
            with lapack_lock():
                w_bound[t] = size @ e
                slope = np.abs(V.T @ rows.gradient[0]) * (2 / (yardstick.total * yardstick.scale))
                loss_bound[t] = slope @ e + e @ np.abs(curvature) @ e / yardstick.total + rows.loss_error[0]
                if t < m - 1:
                    rows = rows.with_decay(decay, yardstick) if decay.any() else rows
                    expected, bound = rows.step(rates[t : t + 1], yardstick)
                    if not rows.step_inside(rates[t : t + 1], expected, yardstick)[0]:
                        break
                    e = np.abs(identity - rates[t] * turn) @ e + size.T @ bound[0]
    return w_bound, loss_bound


@lapack
def _eigenvectors(G: Array) -> Array:
    """Return the eigenvectors (D, D) of a symmetric matrix, in float64.

    The matrix is scaled by a power of two, so that it does not overflow in float64.
    """
    largest = np.abs(G).max(initial=0)
    exponent = int(np.frexp(largest)[1]) if largest > 0 else 0
    return np.linalg.eigh(np.ldexp(G, -exponent).astype(np.float64))[1]
