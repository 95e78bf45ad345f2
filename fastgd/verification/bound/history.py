"""What "agree" means: how far one epoch of correct arithmetic may be from the truth (DESIGN.md, section 6).

1. No reference trajectory. From the OBSERVED parameters of an epoch one step is taken in extended precision; the observed
   next parameters may differ from it by ℓ, which first-order rounding-error analysis gives. τ = difference / ℓ. So τ does not
   depend on conditioning, holds for unstable rates, and a defect shows in the epoch in which it acts.
2. The arithmetic is in yardstick.py, other update rules are in lockstep.py; everything that is asked for is found here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .lockstep import LockstepCheck, check_lockstep
from .yardstick import Array, Yardstick, of_shape

__all__ = ["Agreement", "LockstepCheck", "NonFinite", "StepCheck", "check_history", "check_lockstep", "check_step", "propagated_bound"]


class NonFinite(NamedTuple):
    """The first row of a history with a value that is not finite."""

    epoch: int
    kind: str  # "nan" if the row holds a NaN, else "inf"


@dataclass(frozen=True)
class StepCheck:
    """Shares of the bound that one epoch of plain gradient descent used. NaN: not judged, values near overflow."""

    tau_w: float
    tau_loss: float


@dataclass(frozen=True)
class Agreement:
    """How well a recorded history agrees with exact gradient descent, epoch by epoch."""

    tau_w: float  # worst share of the bound; 0 when no step was judged
    tau_w_epoch: int | None  # the epoch whose w is the worst one
    tau_loss: float
    tau_loss_epoch: int | None  # the epoch whose loss is the worst one
    steps_compared: int  # pairs of neighbouring epochs judged
    losses_compared: int  # rows judged
    first_excluded: int | None  # first epoch near overflow: from there on only epoch and kind of `nonfinite_*` can be compared
    nonfinite_w: NonFinite | None
    nonfinite_loss: NonFinite | None
    w_share: Array = field(repr=False, compare=False)  # (m,) float64: of w in row i, about the step that led to it; NaN: not judged
    loss_share: Array = field(repr=False, compare=False)  # (m,) float64: of the loss in row i; NaN: not judged


def check_step(
    X: ArrayLike,
    y: ArrayLike,
    w: ArrayLike,
    w_next: ArrayLike,
    loss: float,
    *,
    lr: float,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
    dtype: DTypeLike,
    intercept: bool = False,
    held_higher: bool = False,
) -> StepCheck:
    """Judge one epoch of plain gradient descent, from w to w_next.

    With unit roundoff u and smallest subnormal η of `dtype`, s = 2/n (2 for the sum) and a_n = min(n+2, 6√n+2)::

        r = X w − y        δ_i = u(a_d |x_i||w| + |y_i| + |r_i|) + (d+2)η
        |δg|_j = s |X|ᵀ(δ + a_n u|r|) + max(1, s)(Σ_i |x_ij| + n)η + 3u|g_j| + 2η
        ℓ      = |lr||δg| + 2u|lr g| + u|ŵ| + 2η             ŵ = w − lr g
        Λ      = (2|r|ᵀδ + δᵀδ + (a_n+2)u rᵀr)/n + 2u·loss + 2η
        τ_w    = max |w_next − ŵ| / ℓ                          τ_loss = |loss − loss(w)| / Λ

    everything on the right evaluated in extended precision at the observed w. With weights ω and their sum W, s = 2/W (2 for the sum)::

        |δg|_j = s |X|ᵀω(δ + a_{n+2} u|r|) + (Σ_i |x_ij|(s + 2 + ω_i) + max(1, s) n)η + (3 + b)u|g_j| + 2η
        Λ      = (2(ω|r|)ᵀδ + δᵀωδ + (a_{n+2}+2)u Σωr² + (Σ|r| + n)η)/W + (2 + a_n − 2)u·loss + 2η

    where (a_n − 2)u is the relative error of W; b = a_n − 2 for the mean, 0 for the sum. The notes of yardstick.py say why.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The data as the arithmetic saw them: they are rounded to `dtype` first. No column of ones.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    w : array_like, shape (D,)
        The observed parameters before the step; D = n_features, or n_features + 1 with the intercept last.
    w_next : array_like, shape (D,)
        The observed parameters after it.
    loss : float
        The observed loss at `w`: the (weighted) mean of the squared residuals.
    lr : float
        The learning rate, at its value in the arithmetic's precision (``float(np.float32(lr))`` for float32 torch).
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0 is not there, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic that is judged.
    intercept : bool, default False
        Whether the last entry of `w` is an intercept.
    held_higher : bool, default False
        Whether the state was held in a higher precision than the observed `w`; adds u|w| to ℓ.

    Returns
    -------
    StepCheck
        `tau_w` and `tau_loss`. Our kernels stay below 2, anybody's correct implementation below 8. NaN: not judged, because an
        intermediate value may overflow in `dtype` (see `check_history`).

    Raises
    ------
    ValueError
        Shapes that do not fit, another dtype, another reduction, a negative weight, no weight above 0.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has fewer than 64 bits of significand.

    Examples
    --------
    The tutorial's first epoch: X = [1, 2, 3, 4], y = 2X, from 0 with lr = 0.1 the gradient is −30 and the loss 30.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> check_step(x, 2 * x, [0.0], [3.0], 30.0, lr=0.1, dtype=np.float32)
    StepCheck(tau_w=..., tau_loss=0.0)
    >>> check_step(x, 2 * x, [0.0], [1.5], 30.0, lr=0.1, dtype=np.float32).tau_w > 1000  # half the gradient
    True
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight)
    before, after = yardstick.parameters(w, "w"), yardstick.parameters(w_next, "w_next")
    share_w, share_loss = yardstick.shares(before, after, np.asarray([loss]), np.asarray([lr]), held_higher)
    return StepCheck(float(share_w[0]), float(share_loss[0]))


def check_history(
    X: ArrayLike,
    y: ArrayLike,
    w_history: ArrayLike,
    loss_history: ArrayLike,
    *,
    lr: ArrayLike,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
    dtype: DTypeLike,
    intercept: bool = False,
    held_higher: bool = False,
    epochs: ArrayLike | None = None,
) -> Agreement:
    """Judge a history of plain gradient descent at every epoch; the bound is that of `check_step`.

    Where a step may overflow, a correct implementation may differ in everything but the epoch and the kind (inf, NaN). So the
    first epoch t at which one of

        max|w_t| ≤ Ω / max(1, D·M),    n·loss(w_t) ≤ min(Ω, (Ω / 2M)²),    |lr g| ≤ Ω,    |ŵ| ≤ Ω

    does not hold ends the comparison: that step and everything after it is not judged (nor the loss of row t, if one of the first two
    fails). Ω = 2^120 for float32 and 2^1000 for float64, M is the largest Euclidean norm of a column of X (and of the ones, with
    an intercept), and loss(w_t) is the true one. With weights the first two are, with lo = min(1, smallest ω),
    W = Σω ≤ Ω and M that of the columns √ω x,

        max|w_t| ≤ Ω / max(1, D·M/√lo),    W·loss(w_t) ≤ min(Ω·lo, (Ω·lo / 2M)²),    s·max(1, max|r_i|) ≤ Ω

    Below these limits no sum, product or partial sum of a step exceeds Ω
    in any order of evaluation; a non-finite value that appears there counts as τ = inf. Non-finite data are never judged.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The data as the arithmetic saw them: they are rounded to `dtype` first. No column of ones.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    w_history : array_like, shape (m, D)
        The observed parameters, the intercept last.
    loss_history : array_like, shape (m,)
        The observed loss *at* each row's parameters: the (weighted) mean of the squared residuals.
    lr : array_like, shape () or (m − 1,)
        The learning rate, or that of each step, at its value in the arithmetic's precision.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0 is not there, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic that is judged.
    intercept : bool, default False
        Whether the last entry of each row is an intercept.
    held_higher : bool, default False
        Whether the state was held in a higher precision than the observed rows; adds u|w_t| to ℓ.
    epochs : array_like of int, shape (m,), optional
        The epoch of each row, increasing; default 0, 1, …, m − 1. A step is judged where two rows are one epoch apart, the loss in
        every row.

    Returns
    -------
    Agreement
        The worst shares of the bound and where they are; how many epochs were compared; the first non-finite rows.

    Raises
    ------
    ValueError
        Shapes that do not fit, another dtype, another reduction, a negative weight, no weight above 0.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has fewer than 64 bits of significand.

    Examples
    --------
    y = x with n = 1 and lr = 1/4 halves the error in every epoch, exactly:

    >>> check_history([1.0], [1.0], [[0.0], [0.5], [0.75]], [1.0, 0.25, 0.0625], lr=0.25, dtype="float64").steps_compared
    2
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight)
    w = yardstick.parameters(w_history, "w_history", rows=True)
    m = len(w)
    loss = of_shape(loss_history, (m,), "loss_history")
    rates = np.broadcast_to(np.asarray(lr), (max(m - 1, 0),))
    numbers = np.arange(m) if epochs is None else of_shape(epochs, (m,), "epochs")
    adjacent = np.diff(numbers) == 1

    w_share, loss_share = np.full(m, np.nan), np.full(m, np.nan)
    excluded = None
    for start in range(0, m, yardstick.block):
        rows = slice(start, min(start + yardstick.block, m))
        after = np.concatenate([w[rows.start + 1 : rows.stop + 1], w[-1:]])[: rows.stop - rows.start]
        rate = np.concatenate([rates[rows], rates[-1:], np.zeros(1)])[: rows.stop - rows.start]
        of_step, of_loss = yardstick.shares(w[rows], after, loss[rows], rate, held_higher)
        has_step = np.concatenate([adjacent[rows], [False]])[: rows.stop - rows.start]
        outside = np.isnan(of_loss) | (np.isnan(of_step) & has_step)
        n_inside = int(np.argmax(outside)) if outside.any() else len(outside)
        to = np.flatnonzero(has_step[:n_inside]) + start + 1
        w_share[to] = of_step[to - 1 - start]
        n_losses = n_inside + bool(outside.any() and not np.isnan(of_loss[n_inside]))
        loss_share[start : start + n_losses] = of_loss[:n_losses]
        if outside.any():
            excluded = int(numbers[start + n_inside])
            break

    worst_w, worst_w_row = _worst(w_share)
    worst_loss, worst_loss_row = _worst(loss_share)
    return Agreement(
        tau_w=worst_w,
        tau_w_epoch=None if worst_w_row is None else int(numbers[worst_w_row]),
        tau_loss=worst_loss,
        tau_loss_epoch=None if worst_loss_row is None else int(numbers[worst_loss_row]),
        steps_compared=int(np.count_nonzero(~np.isnan(w_share))),
        losses_compared=int(np.count_nonzero(~np.isnan(loss_share))),
        first_excluded=excluded,
        nonfinite_w=_first_nonfinite(w, numbers),
        nonfinite_loss=_first_nonfinite(loss[:, None], numbers),
        w_share=w_share,
        loss_share=loss_share,
    )


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
) -> tuple[Array, Array]:
    """Bound how far a free-running history may be from exact gradient descent with the same start.

    In the eigenbasis V of G = XᵀX (w − exact w = V e) a step maps e by I − s·lr·VᵀGV, which is diagonal but for the rounding of V; that
    remainder is computed in extended precision and used, not neglected::

        e_0 = 0        e_{t+1} = |VᵀV − s·lr·VᵀGV| e_t + |V|ᵀ ℓ_t
        |w_t − exact|    ≤ |V| e_t
        |loss_t − exact| ≤ |Vᵀ∇loss| e_t + e_tᵀ|VᵀGV|e_t / n + Λ_t

    with ℓ_t and Λ_t of `check_step` at the observed rows (their change along the difference is of second order). With weights G = Σωxxᵀ,
    and W = Σω stands for n. It holds for unstable rates. Two free-running trajectories may differ by the sum of their two bounds.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The data as the arithmetic saw them: they are rounded to `dtype` first. No column of ones.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    w_history : array_like, shape (m, D)
        The observed parameters at epochs 0, 1, …, m − 1, the intercept last.
    lr : array_like, shape () or (m − 1,)
        The learning rate, or that of each step, at its value in the arithmetic's precision.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0 is not there, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic.
    intercept : bool, default False
        Whether the last entry of each row is an intercept.
    held_higher : bool, default False
        Whether the state was held in a higher precision than the observed rows.

    Returns
    -------
    w_bound : ndarray, shape (m, D), float64
        Per component. The start's error is 0. Rows from the first overflow regime on (see `check_history`) are inf.
    loss_bound : ndarray, shape (m,), float64
        For the loss at each row.

    Raises
    ------
    ValueError
        Shapes that do not fit, another dtype, another reduction, a negative weight, no weight above 0.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has fewer than 64 bits of significand.

    Examples
    --------
    >>> w_bound, loss_bound = propagated_bound([1.0], [1.0], [[0.0], [0.5], [0.75]], lr=0.25, dtype="float64")
    >>> w_bound.shape, loss_bound.shape, bool(w_bound[-1, 0] < 1e-14)
    ((3, 1), (3,), True)
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight)
    w = yardstick.parameters(w_history, "w_history", rows=True)
    m, D = w.shape
    rates = yardstick.extended(np.broadcast_to(np.asarray(lr), (max(m - 1, 0),)))
    w_bound, loss_bound = np.full((m, D), np.inf), np.full(m, np.inf)
    with np.errstate(all="ignore"):
        G = yardstick.second_moments()
        if not np.isfinite(G).all():
            return w_bound, loss_bound
        V = yardstick.extended(_eigenvectors(G))
        V = V @ (3 * np.eye(D, dtype=V.dtype) - V.T @ V) / 2  # one Newton step: orthogonal to extended precision
        identity, curvature, size = V.T @ V, V.T @ G @ V, np.abs(V)
        e = np.zeros(D, V.dtype)
        for t, rows in yardstick.walk(w):
            if not rows.inside[0]:
                break
            w_bound[t] = size @ e
            slope = np.abs(V.T @ rows.gradient[0]) * (2 / (yardstick.total * yardstick.scale))
            loss_bound[t] = slope @ e + e @ np.abs(curvature) @ e / yardstick.total + rows.loss_error[0]
            if t < m - 1:
                expected, bound = rows.step(rates[t : t + 1], yardstick, held_higher)
                if not rows.step_inside(rates[t : t + 1], expected, yardstick)[0]:
                    break
                e = np.abs(identity - yardstick.scale * rates[t] * curvature) @ e + size.T @ bound[0]
    return w_bound, loss_bound


def _eigenvectors(G: Array) -> Array:
    """Return eigenvectors (D, D) of a symmetric matrix in float64, scaled by a power of two against overflow."""
    largest = np.abs(G).max(initial=0)
    exponent = int(np.frexp(largest)[1]) if largest > 0 else 0
    return np.linalg.eigh(np.ldexp(G, -exponent).astype(np.float64))[1]


def _worst(share: Array) -> tuple[float, int | None]:
    """Return the largest share and its row; NaN entries were not judged."""
    if np.isnan(share).all():
        return 0.0, None
    row = int(np.nanargmax(share))
    return float(share[row]), row


def _first_nonfinite(rows: Array, epochs: Array) -> NonFinite | None:
    bad = ~np.isfinite(rows).all(1)
    if not bad.any():
        return None
    row = int(np.argmax(bad))
    return NonFinite(int(epochs[row]), "nan" if np.isnan(rows[row]).any() else "inf")
