"""What "agree" means: how far one epoch of correct arithmetic may be from the truth (DESIGN.md, section 6).

1. No reference trajectory. From the OBSERVED parameters of an epoch one step is taken in extended precision; the observed
   next parameters may differ from it by ℓ, which first-order rounding-error analysis gives. τ = difference / ℓ. So τ does not
   depend on conditioning, holds for unstable rates, and a defect shows in the epoch in which it acts.
2. Extended precision has at least 11 bits more than the arithmetic that is judged: float64 for float32 (29 bits more), and
   `numpy.longdouble` for float64, which must be the 64-bit significand of x87 or better. The error of the yardstick itself is
   then below 2⁻¹¹ of the bound.
3. Underflow: DESIGN.md's term s·n·η stands for products that are formed first and scaled by s afterwards. torch and our own kernels
   scale the residual first, (s r_i) x_ij: that is η per scaled residual, which x_ij multiplies, and η per product, n of them, *not* scaled
   by s. Measured on 4,097 subnormal targets (`subnormal_…_long` of fastgd.testing): with s·n·η torch had τ_w = 117 in float32 and 99 in
   float64; with the term used here, max(1, s)·(Σ|x_ij| + n)·η, which covers both orders, 0.17 and 0.15.
4. Overflow: the limits of docs/arithmetic.md, section 6. Every intermediate of a step that stays below them is below Ω in any
   order of summation, hence 2⁸ (float32) or 2²⁴ (float64) away from overflow, so that torch itself is judged until there, and a
   non-finite value that appears earlier is an error: τ = inf.
5. Other update rules, in lockstep. Every rounding inside a rule is a relative change of at most u of a product of the rule's inputs, so
   k roundings are a change of no input by more than k·u. ℓ adds what the outputs move by when g moves by δg + k(u|g| + η) and each slot
   by k(u|slot| + η). (|w| + |Δw| alone says nothing about the slots, nor about w where the terms of Δw cancel.)
6. The file is long because four public functions describe the same data in full; the arithmetic is `_Judge.measure` and `_Rows.step`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["Agreement", "LockstepCheck", "NonFinite", "StepCheck", "check_history", "check_lockstep", "check_step", "propagated_bound"]

Array = NDArray[Any]

_OVERFLOW_LIMIT = {"float32": 2.0**120, "float64": 2.0**1000}  # Ω of docs/arithmetic.md, section 6
_BLOCK = 2**20  # residuals held at once; the epochs of a history are judged in blocks


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
class LockstepCheck:
    """Shares of the bound that one step of an update rule used. NaN: not judged, values near overflow."""

    tau_w: float
    tau_slots: float  # the worst over all slots; 0 for a rule without slots
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

    everything on the right evaluated in extended precision at the observed w.

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
        The observed loss at `w`: the mean of the squared residuals.
    lr : float
        The learning rate, at its value in the arithmetic's precision (``float(np.float32(lr))`` for float32 torch).
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of.
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
        Shapes that do not fit, another dtype, another reduction.
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
    judge = _Judge(X, y, reduction, dtype, intercept)
    before, after = judge.parameters(w, "w"), judge.parameters(w_next, "w_next")
    share_w, share_loss = judge.shares(before, after, np.asarray([loss]), np.asarray([lr]), held_higher)
    return StepCheck(float(share_w[0]), float(share_loss[0]))


def check_history(
    X: ArrayLike,
    y: ArrayLike,
    w_history: ArrayLike,
    loss_history: ArrayLike,
    *,
    lr: ArrayLike,
    reduction: str = "mean",
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
    an intercept), and loss(w_t) is the true one. Below these limits no sum, product or partial sum of a step exceeds Ω
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
        The observed loss *at* each row's parameters: the mean of the squared residuals.
    lr : array_like, shape () or (m − 1,)
        The learning rate, or that of each step, at its value in the arithmetic's precision.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of.
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
        Shapes that do not fit, another dtype, another reduction.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has fewer than 64 bits of significand.

    Examples
    --------
    y = x with n = 1 and lr = 1/4 halves the error in every epoch, exactly:

    >>> check_history([1.0], [1.0], [[0.0], [0.5], [0.75]], [1.0, 0.25, 0.0625], lr=0.25, dtype="float64").steps_compared
    2
    """
    judge = _Judge(X, y, reduction, dtype, intercept)
    w = judge.parameters(w_history, "w_history", rows=True)
    m = len(w)
    loss = _of_shape(loss_history, (m,), "loss_history")
    rates = np.broadcast_to(np.asarray(lr), (max(m - 1, 0),))
    numbers = np.arange(m) if epochs is None else _of_shape(epochs, (m,), "epochs")
    adjacent = np.diff(numbers) == 1

    w_share, loss_share = np.full(m, np.nan), np.full(m, np.nan)
    excluded = None
    for start in range(0, m, judge.block):
        rows = slice(start, min(start + judge.block, m))
        after = np.concatenate([w[rows.start + 1 : rows.stop + 1], w[-1:]])[: rows.stop - rows.start]
        rate = np.concatenate([rates[rows], rates[-1:], np.zeros(1)])[: rows.stop - rows.start]
        of_step, of_loss = judge.shares(w[rows], after, loss[rows], rate, held_higher)
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


def check_lockstep(
    X: ArrayLike,
    y: ArrayLike,
    state_before: tuple[ArrayLike, ArrayLike, int],
    state_after: tuple[ArrayLike, ArrayLike],
    loss: float,
    *,
    rule: UpdateRule,
    lr: float,
    hyper: Mapping[str, float | bool] | None = None,
    reduction: str = "mean",
    dtype: DTypeLike,
    intercept: bool = False,
    held_higher: bool = False,
) -> LockstepCheck:
    """Judge one step of any update rule, from the state that its own implementation had.

    The rule is applied in extended precision to the exact gradient g, giving (ŵ, slots^), and again with one input moved at a time:
    D_g is what an output moves by when g moves by ±(δg + k(u|g| + η)), D_slot when a slot moves by ±k(u|slot| + η), D_w when w moves by
    ±k u|w|; k = `rule.roundings`, δg as in `check_step`. Then, per component::

        ℓ_w    = D_g + Σ D_slot + max(D_w, k u|w|) + k u|Δw| + u|ŵ| + 2η     (+ u|w| if held_higher, and k + 1 for k)
        ℓ_slot = D_g + Σ D_slot + D_w + u|slot^| + 2η

    D_g is the half spread of the rule over g − δg and g + δg; the other terms are the rule's own roundings (each is a relative change of
    at most u of a product of the inputs, and there are k of them).

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The data as the arithmetic saw them: they are rounded to `dtype` first. No column of ones.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    state_before : tuple of w (D,), slots (n_slots, D), steps (int)
        The state before the step; `steps` is the number of updates made since the slots were empty.
    state_after : tuple of w (D,), slots (n_slots, D)
        The state after it.
    loss : float
        The observed loss at the state before: the mean of the squared residuals.
    rule : UpdateRule
        A row of `fastgd.kernels.update_rules.UPDATE_RULES`.
    lr : float
        The learning rate of this step, at its value in the arithmetic's precision.
    hyper : mapping of str to float or bool, optional
        The rule's hyperparameters by name; those not given have the table's defaults.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of.
    dtype : {float32, float64}
        The precision of the arithmetic that is judged.
    intercept : bool, default False
        Whether the last entry of `w` and of every slot belongs to an intercept.
    held_higher : bool, default False
        Whether the state was held in a higher precision than the one given here.

    Returns
    -------
    LockstepCheck
        `tau_w`, `tau_slots` and `tau_loss`; NaN where a value may overflow in `dtype`.

    Raises
    ------
    ValueError
        Shapes that do not fit, a hyperparameter that the rule does not have, another dtype, another reduction.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has fewer than 64 bits of significand.

    Examples
    --------
    Two steps on y = x, n = 1, with momentum 1/2: the velocity −2 becomes 1/2·(−2) + (−1) = −2.

    >>> from fastgd.kernels.update_rules import UPDATE_RULES
    >>> check_lockstep(
    ...     [1.0], [1.0], ([0.5], [[-2.0]], 1), ([1.0], [[-2.0]]), 0.25,
    ...     rule=UPDATE_RULES["sgd"], lr=0.25, hyper={"momentum": 0.5}, dtype="float32",
    ... )
    LockstepCheck(tau_w=0.0, tau_slots=0.0, tau_loss=0.0)
    """
    judge = _Judge(X, y, reduction, dtype, intercept)
    unknown = set(hyper or {}) - set(rule.hyperparameters)
    if unknown:
        raise ValueError(f"the update rule {rule.name!r} has no {sorted(unknown)}: it has {sorted(rule.hyperparameters)}")
    values = {**rule.hyperparameters, **(hyper or {})}
    w, w_next = judge.parameters(state_before[0], "w before")[0], judge.parameters(state_after[0], "w after")[0]
    shape = (len(rule.slots), judge.n_parameters)
    slots = judge.extended(_of_shape(state_before[1], shape, "slots before"))
    slots_next = judge.extended(_of_shape(state_after[1], shape, "slots after"))
    rate, steps = judge.extended(lr)[()], state_before[2]

    def apply(w: Array, slots: Array, gradient: Array) -> Array:  # (1 + n_slots, D): the new w, then the new slots
        new_w, new_slots = rule.step(w, tuple(slots), gradient, rate, steps, **values)
        return np.stack([new_w, *new_slots])

    with np.errstate(all="ignore"):
        rows = judge.measure(w[None])
        gradient, gradient_error = rows.gradient[0], rows.gradient_error[0]
        k, u, eta = rule.roundings + held_higher, judge.u, judge.eta
        expected = apply(w, slots, gradient)

        def moved(*inputs: tuple[Array, Array, Array]) -> Array:
            return np.max([np.abs(apply(*moved_inputs) - expected) for moved_inputs in inputs], axis=0)

        reach = gradient_error + k * (u * np.abs(gradient) + eta)
        by_gradient = moved((w, slots, gradient - reach), (w, slots, gradient + reach))
        by_w = moved((w * (1 - k * u), slots, gradient), (w * (1 + k * u), slots, gradient))
        by_slots = np.zeros_like(expected)
        for i in range(len(slots)):
            less, more = slots.copy(), slots.copy()
            less[i] *= 1 - k * u  # the sign is kept: a second moment stays non-negative
            more[i] += np.where(slots[i] < 0, -k, k) * (u * np.abs(slots[i]) + eta)
            by_slots += moved((w, less, gradient), (w, more, gradient))

        bound = by_gradient + by_slots + by_w + u * np.abs(expected) + 2 * eta
        bound[0] += np.maximum(0, k * u * np.abs(w) - by_w[0]) + k * u * np.abs(expected[0] - w) + held_higher * u * np.abs(w)
        share = _share(np.stack([w_next, *slots_next]) - expected, bound)
        inside = rows.inside[0] and bool((np.abs(expected) <= judge.limit).all()) and bool(np.abs(rate * gradient).max() <= judge.limit)
        tau_loss = _share(judge.extended(loss) - rows.loss, rows.loss_error)
    return LockstepCheck(
        tau_w=float(share[0].max()) if inside else np.nan,
        tau_slots=float(share[1:].max(initial=0)) if inside else np.nan,
        tau_loss=float(tau_loss[0]) if rows.inside[0] else np.nan,
    )


def propagated_bound(
    X: ArrayLike,
    y: ArrayLike,
    w_history: ArrayLike,
    *,
    lr: ArrayLike,
    reduction: str = "mean",
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

    with ℓ_t and Λ_t of `check_step` at the observed rows (their change along the difference is of second order). It holds for unstable
    rates. Two free-running trajectories may differ by the sum of their two bounds.

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
        Shapes that do not fit, another dtype, another reduction.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has fewer than 64 bits of significand.

    Examples
    --------
    >>> w_bound, loss_bound = propagated_bound([1.0], [1.0], [[0.0], [0.5], [0.75]], lr=0.25, dtype="float64")
    >>> w_bound.shape, loss_bound.shape, bool(w_bound[-1, 0] < 1e-14)
    ((3, 1), (3,), True)
    """
    judge = _Judge(X, y, reduction, dtype, intercept)
    w = judge.parameters(w_history, "w_history", rows=True)
    m, D = w.shape
    rates = judge.extended(np.broadcast_to(np.asarray(lr), (max(m - 1, 0),)))
    w_bound, loss_bound = np.full((m, D), np.inf), np.full(m, np.inf)
    with np.errstate(all="ignore"):
        G = judge.second_moments()
        if not np.isfinite(G).all():
            return w_bound, loss_bound
        V = judge.extended(_eigenvectors(G))
        V = V @ (3 * np.eye(D, dtype=V.dtype) - V.T @ V) / 2  # one Newton step: orthogonal to extended precision
        identity, curvature, size = V.T @ V, V.T @ G @ V, np.abs(V)
        e = np.zeros(D, V.dtype)
        for t, rows in judge.walk(w):
            if not rows.inside[0]:
                break
            w_bound[t] = size @ e
            slope = np.abs(V.T @ rows.gradient[0]) * (2 / (judge.n * judge.scale))
            loss_bound[t] = slope @ e + e @ np.abs(curvature) @ e / judge.n + rows.loss_error[0]
            if t < m - 1:
                expected, bound = rows.step(rates[t : t + 1], judge, held_higher)
                if not rows.step_inside(rates[t : t + 1], expected, judge)[0]:
                    break
                e = np.abs(identity - judge.scale * rates[t] * curvature) @ e + size.T @ bound[0]
    return w_bound, loss_bound


class _Rows(NamedTuple):
    """The truth at b observed parameter vectors, and how far arithmetic in `dtype` may be from it."""

    w: Array  # (b, D), like all of these in extended precision
    gradient: Array  # (b, D): g = s Xᵀr
    gradient_error: Array  # (b, D): |δg|
    loss: Array  # (b,): rᵀr / n
    loss_error: Array  # (b,): Λ
    inside: Array  # (b,) bool: no intermediate of the residual, the loss or the gradient can overflow

    def step(self, lr: Array, judge: _Judge, held_higher: bool) -> tuple[Array, Array]:
        """Return ŵ and ℓ, both (b, D), of a plain step with the rates lr (b,)."""
        move = lr[:, None] * self.gradient
        expected = self.w - move
        bound = np.abs(lr)[:, None] * self.gradient_error + 2 * judge.u * np.abs(move) + judge.u * np.abs(expected) + 2 * judge.eta
        return expected, bound + judge.u * np.abs(self.w) if held_higher else bound

    def step_inside(self, lr: Array, expected: Array, judge: _Judge) -> Array:
        """Return (b,) bool: neither does the update overflow."""
        move = lr[:, None] * self.gradient
        return self.inside & (np.abs(move) <= judge.limit).all(1) & (np.abs(expected) <= judge.limit).all(1)


class _Judge:
    """The data of one fit in extended precision, and the constants of the arithmetic that is judged."""

    def __init__(self, X: ArrayLike, y: ArrayLike, reduction: str, dtype: DTypeLike, intercept: bool) -> None:
        judged = np.dtype(dtype)
        if judged.name not in _OVERFLOW_LIMIT:
            raise ValueError(f"dtype must be float32 or float64, the precision of the arithmetic, not {judged.name}")
        if reduction not in ("mean", "sum"):
            raise ValueError(f'reduction must be "mean" or "sum", not {reduction!r}')
        data = np.asarray(X, judged)
        if data.ndim == 1:
            data = data[:, None]
        if data.ndim != 2 or data.shape[0] == 0:
            raise ValueError(f"X must have shape (n_samples, n_features) with at least one sample, not {np.shape(X)}")
        self.n, self.d = data.shape
        target = _of_shape(np.asarray(y, judged), (self.n,), "y")
        self.intercept = intercept
        self.n_parameters = self.d + intercept
        self.type = _extended_type(judged)
        self.u = self.extended(np.finfo(judged).eps)[()] / 2
        self.eta = self.extended(np.finfo(judged).smallest_subnormal)[()]
        self.scale = self.extended(2)[()] / (self.n if reduction == "mean" else 1)
        self.limit = self.extended(_OVERFLOW_LIMIT[judged.name])[()]
        self.block = max(1, _BLOCK // self.n)

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

    def measure(self, w: Array) -> _Rows:
        """Evaluate residual, loss and gradient, and their bounds, at w (b, D)."""
        n, u, eta, s = self.n, self.u, self.eta, self.scale
        a_n, a_d = _growth(n), _growth(self.n_parameters)
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
        return _Rows(w, gradient, gradient_error, loss, loss_error, inside)

    def shares(self, w: Array, w_next: Array, loss: Array, lr: Array, held_higher: bool) -> tuple[Array, Array]:
        """Return τ_w and τ_loss of b epochs, (b,) float64 each; NaN where the epoch is not judged."""
        rate = self.extended(lr)
        with np.errstate(all="ignore"):
            rows = self.measure(w)
            expected, bound = rows.step(rate, self, held_higher)
            of_step = _share(w_next - expected, bound).max(1)
            of_loss = _share(self.extended(loss) - rows.loss, rows.loss_error)
            step_inside = rows.step_inside(rate, expected, self)
        return np.where(step_inside, of_step, np.nan), np.where(rows.inside, of_loss, np.nan)

    def walk(self, w: Array) -> Iterator[tuple[int, _Rows]]:
        """Yield (t, the truth at row t) for the rows of a history, evaluated in blocks."""
        for start in range(0, len(w), self.block):
            rows = self.measure(w[start : start + self.block])
            for i in range(len(rows.w)):
                yield start + i, _Rows(*(part[i : i + 1] for part in rows))

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


def _growth(n: int) -> float:
    """Return a_n, the roundings that a sum of n terms gathers: at most n + 2, and 6√n + 2 but by rare chance (Higham & Mary 2019)."""
    return min(n + 2.0, 6.0 * np.sqrt(n) + 2.0)


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->i", a, b)


def _share(difference: Array, bound: Array) -> Array:
    """Return |difference| / bound as float64; inf where the observed value is not a number."""
    share = (np.abs(difference) / bound).astype(np.float64)
    return np.where(np.isnan(share), np.inf, share)


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


def _of_shape(values: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    array = np.asarray(values)
    if array.size == 0 and 0 in shape:
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    return array
