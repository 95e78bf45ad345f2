"""The check of every epoch of plain gradient descent against the rounding-error bound.

1. There is no reference trajectory. From the OBSERVED parameters of an epoch one step is taken in
   extended precision; the observed next parameters may differ from it by ℓ, which first-order
   rounding-error analysis gives. τ = difference / ℓ. So τ does not depend on the condition of the
   data, holds for unstable learning rates, and shows a defect in the epoch in which it acts.
2. The bound is evaluated in yardstick.py and derived in docs/error-bound.md, "One step". Other
   update rules are in lockstep.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ...input.float_mode import computes
from ...input.wrong_names import helps_with_keywords
from .yardstick import Array, Yardstick, of_shape, reals, worst

__all__ = ["Agreement", "NonFinite", "StepCheck", "check_history", "check_step"]


class NonFinite(NamedTuple):
    """The first row of a history that has a value that is not finite."""

    epoch: int
    kind: str  # "nan" if the row holds a NaN, else "inf"


@dataclass(frozen=True)
class StepCheck:
    """Shares of the bound that one epoch used; NaN: not judged, values near overflow."""

    tau_w: float
    tau_loss: float


@dataclass(frozen=True)
class Agreement:
    """How well a recorded history agrees with exact gradient descent, epoch by epoch."""

    tau_w: float  # worst share of the bound; 0 when no step was judged
    tau_w_epoch: int | None  # the epoch of the worst w
    tau_loss: float
    tau_loss_epoch: int | None  # the epoch of the worst loss
    steps_compared: int  # pairs of neighbouring epochs judged
    losses_compared: int  # rows judged
    first_excluded: int | None  # first epoch too near overflow; from there on nothing is judged
    nonfinite_w: NonFinite | None
    nonfinite_loss: NonFinite | None
    # (m,) float64 each: the share that the step to row i and the loss in row i used; NaN: not
    # judged
    w_share: Array = field(repr=False, compare=False)
    loss_share: Array = field(repr=False, compare=False)


@helps_with_keywords
@computes
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

    Let u be the unit roundoff and η the smallest subnormal number of `dtype`, s = 2/n (2 for the
    sum) and a_n = min(n + 2, 6√n + 2). Then::

        r = X w − y        δ_i = u(a_d |x_i||w| + |y_i| + |r_i|) + (d+2)η
        |δg|_j = s |X|ᵀ(δ + a_n u|r|) + max(1, s)(Σ_i |x_ij| + n)η + 3u|g_j| + 2η
        ℓ      = |lr||δg| + 2u|lr g| + u|ŵ| + 2η             ŵ = w − lr g
        Λ      = (2|r|ᵀδ + δᵀδ + (a_n+2)u rᵀr)/n + 2u·loss + 2η
        τ_w    = max |w_next − ŵ| / ℓ                          τ_loss = |loss − loss(w)| / Λ

    where everything on the right is evaluated in extended precision at the observed w. With
    weights ω and their sum W, s = 2/W (2 for the sum), and (a_n − 2)u is the relative error of W::

        |δg|_j = s |X|ᵀω(δ + a_{n+2} u|r|) + (Σ_i |x_ij|(s + 2 + ω_i) + max(1, s) n)η
                 + (3 + b)u|g_j| + 2η                     b = a_n − 2 for the mean, 0 for the sum
        Λ      = (2(ω|r|)ᵀδ + δᵀωδ + (a_{n+2}+2)u Σωr² + (Σ|r| + n)η)/W + (2 + a_n − 2)u·loss + 2η

    docs/error-bound.md derives both.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The features, without a column of ones. They are rounded to `dtype` first, as the judged
        arithmetic saw them.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    w : array_like, shape (D,)
        The observed parameters before the step; D = n_features, or n_features + 1 with the
        intercept last.
    w_next : array_like, shape (D,)
        The observed parameters after the step.
    loss : float
        The observed loss at `w`: the (weighted) mean of the squared residuals.
    lr : float
        The learning rate as the judged arithmetic has it (``float(np.float32(lr))`` for float32
        torch).
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient is that of the mean of the squared residuals, or of their sum.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0
        is left out, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic that is judged.
    intercept : bool, default False
        Whether the last entry of `w` is an intercept.
    held_higher : bool, default False
        Whether the program kept its state in a higher precision than the
        observed `w`; this adds u|w| + η to ℓ, and Σ_j |x_ij| η to δ_i (docs/error-bound.md, "State
        in higher precision").

    Returns
    -------
    StepCheck
        `tau_w` and `tau_loss`. fastgd's kernels stay below 2, any correct program below 8. NaN: not
        judged, because an intermediate value may overflow in `dtype` (see `check_history`).

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
    The tutorial's first epoch: y = 2x, x = 1, 2, 3, 4. At w = 0 the gradient is −30, the loss 30.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> check_step(x, 2 * x, [0.0], [3.0], 30.0, lr=0.1, dtype=np.float32)
    StepCheck(tau_w=..., tau_loss=0.0)
    >>> half_a_step = check_step(x, 2 * x, [0.0], [1.5], 30.0, lr=0.1, dtype=np.float32)
    >>> half_a_step.tau_w > 1000
    True
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight, held_higher=held_higher)
    before, after = yardstick.parameters(w, "w"), yardstick.parameters(w_next, "w_next")
    of_loss, rate = (of_shape(value, (), name)[None] for name, value in (("loss", loss), ("lr", lr)))
    share_w, share_loss = yardstick.shares(before, after, of_loss, rate)
    return StepCheck(float(share_w[0]), float(share_loss[0]))


@helps_with_keywords
@computes
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
    """Judge a history of plain gradient descent at every epoch, by the bound of `check_step`.

    Where a step may overflow, two correct programs agree in nothing but the epoch and the kind (inf
    or NaN) of the overflow. So the comparison ends at the first epoch t at which one of

        max|w_t| ≤ Ω / max(1, D·M),    n·loss(w_t) ≤ min(Ω, (Ω / 2M)²),    |lr g| ≤ Ω,    |ŵ| ≤ Ω

    does not hold. That step and everything after it is not judged, nor is the loss of row t if one
    of the first two fails. Ω is 2^120 for float32 and 2^1000 for float64, M is the largest
    Euclidean norm of a column of X (with an intercept also of the column of ones), and loss(w_t) is
    the exact one. With weights, where lo = min(1, smallest ω), W = Σω ≤ Ω, and M is the norm of the
    columns √ω x, the first two become

        max|w_t| ≤ Ω / max(1, D·M/√lo),    W·loss(w_t) ≤ min(Ω·lo, (Ω·lo / 2M)²),    s·max(1,
        max|r_i|) ≤ Ω

    Below these limits no product, sum or partial sum of a step exceeds Ω in any order of
    evaluation, so a non-finite value that appears there counts as τ = inf. Non-finite data are
    never judged.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The features, without a column of ones. They are rounded to `dtype` first, as the judged
        arithmetic saw them.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    w_history : array_like, shape (m, D)
        The observed parameters, the intercept last.
    loss_history : array_like, shape (m,)
        The observed loss at each row's parameters: the (weighted) mean of the squared residuals.
    lr : array_like, shape () or (m − 1,)
        The learning rate, or one per step, as the judged arithmetic has it.
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient is that of the mean of the squared residuals, or of their sum.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0
        is left out, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic that is judged.
    intercept : bool, default False
        Whether the last entry of each row is an intercept.
    held_higher : bool, default False
        Whether the program kept its state in a higher precision than the
        observed rows; this adds u|w_t| + η to ℓ, and Σ_j |x_ij| η to δ_i (docs/error-bound.md,
        "State in higher precision").
    epochs : array_like of int, shape (m,), optional
        The epoch of each row, increasing; default 0, 1, …, m − 1. A step is judged where two rows
        are one epoch apart, the loss in every row.

    Returns
    -------
    Agreement
        The worst shares of the bound and their epochs, the number of epochs compared, and the first
        rows that are not finite.

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
    y = x with n = 1 and lr = 1/4 halves the error in every epoch, exactly:

    >>> w, loss = [[0.0], [0.5], [0.75]], [1.0, 0.25, 0.0625]
    >>> check_history([1.0], [1.0], w, loss, lr=0.25, dtype="float64").steps_compared
    2
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight, held_higher=held_higher)
    w = yardstick.parameters(w_history, "w_history", rows=True)
    m = len(w)
    loss = of_shape(loss_history, (m,), "loss_history")
    rates = reals(lr, "lr")
    if rates.shape not in ((), (max(m - 1, 0),)):
        raise ValueError(f"lr must be one number or one for each of the {max(m - 1, 0)} steps; it has shape {rates.shape}")
    rates = np.broadcast_to(rates, (max(m - 1, 0),))
    numbers = np.arange(m) if epochs is None else of_shape(epochs, (m,), "epochs")
    if not m or numbers.dtype.kind not in "iu" or (np.diff(numbers.astype(np.int64)) <= 0).any():
        wrong = "epochs must be whole numbers that increase" if m else "w_history must have at least one row"
        raise ValueError(wrong)
    adjacent = np.diff(numbers) == 1

    w_share, loss_share = np.full(m, np.nan), np.full(m, np.nan)
    excluded = None
    for start in range(0, m, yardstick.block):
        rows = slice(start, min(start + yardstick.block, m))
        after = np.concatenate([w[rows.start + 1 : rows.stop + 1], w[-1:]])[: rows.stop - rows.start]
        rate = np.concatenate([rates[rows], rates[-1:], np.zeros(1)])[: rows.stop - rows.start]
        of_step, of_loss = yardstick.shares(w[rows], after, loss[rows], rate)
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

    worst_w, worst_w_row = worst(w_share, none=0.0)
    worst_loss, worst_loss_row = worst(loss_share, none=0.0)
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


def _first_nonfinite(rows: Array, epochs: Array) -> NonFinite | None:
    """Return the first row that is not finite; None: all are."""
    bad = ~np.isfinite(rows).all(1)
    if not bad.any():
        return None
    row = int(np.argmax(bad))
    return NonFinite(int(epochs[row]), "nan" if np.isnan(rows[row]).any() else "inf")
