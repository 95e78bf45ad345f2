"""The bound for every update rule: one step, from the state that the judged implementation itself had (DESIGN.md, section 6).

1. Every rounding inside a rule is a relative change of at most u of a product of the rule's inputs, so
   k roundings are a change of no input by more than k·u. ℓ adds what the outputs move by when g moves by δg + k(u|g| + η) and each slot
   by k(u|slot| + η). (|w| + |Δw| alone says nothing about the slots, nor about w where the terms of Δw cancel.)
2. The running products of a rule are one more input, with 4 roundings in their own precision: of the power or the multiplication that
   made them. 1 − βᵗ multiplies such an error by up to 1/(1 − β), in any arithmetic, so this cannot be left to the k of the rule.
3. A quotient such as g/√g² hardly moves when g does, and has its roundings all the same: hence k u|Δw| and k u|Δslot| (RMSprop's buffer).
4. Where an input that is moved by its roundings makes the rule NaN (the root of v − a² in a centered rule, near 0), the output may be
   anything: it is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .yardstick import Array, Yardstick, of_shape, share_of

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["LockstepCheck", "check_lockstep"]


@dataclass(frozen=True)
class LockstepCheck:
    """Shares of the bound that one step of an update rule used. NaN: not judged, values near overflow."""

    tau_w: float
    tau_slots: float  # the worst over all slots; 0 for a rule without slots
    tau_loss: float
    tau_products: float = 0.0  # the worst over all running products; 0 where there are none or none were given


def check_lockstep(
    X: ArrayLike,
    y: ArrayLike,
    state_before: tuple[ArrayLike, ArrayLike, int] | tuple[ArrayLike, ArrayLike, int, ArrayLike],
    state_after: tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike],
    loss: float,
    *,
    rule: UpdateRule,
    lr: float,
    hyper: Mapping[str, float | bool] | None = None,
    reduction: str = "mean",
    sample_weight: ArrayLike | None = None,
    dtype: DTypeLike,
    intercept: bool = False,
    held_higher: bool = False,
    products_dtype: DTypeLike = "float64",
) -> LockstepCheck:
    """Judge one step of any update rule, from the state that its own implementation had.

    The rule is applied in extended precision to the exact gradient g, giving (ŵ, slots^), and again with one input moved at a time:
    D_g is what an output moves by when g moves by ±(δg + k(u|g| + η)), D_slot when a slot moves by ±k(u|slot| + η), D_w when w moves by
    ±k u|w|, D_p when a running product p moves by ±4u′p, u′ that of `products_dtype`; k = `rule.roundings`, δg as in `check_step`. Then,
    per component::

        ℓ_w    = D_g + Σ D_slot + Σ D_p + max(D_w, k u|w|) + k u|Δw| + u|ŵ| + 2η     (+ u|w| if held_higher, and k + 1 for k)
        ℓ_slot = D_g + Σ D_slot + Σ D_p + D_w + k u|Δslot| + u|slot^| + 2η
        ℓ_p    = 4u′p

    D_g is the half spread of the rule over g − δg and g + δg; the other terms are the rule's own roundings (each is a relative change of
    at most u of a product of the inputs, and there are k of them).

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The data as the arithmetic saw them: they are rounded to `dtype` first. No column of ones.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    state_before : tuple of w (D,), slots (n_slots, D), steps (int) and, optionally, products (n_products,)
        The state before the step; `steps` is the number of updates made since the slots were empty. Products that are not given are
        those of so many steps.
    state_after : tuple of w (D,), slots (n_slots, D) and, optionally, products (n_products,)
        The state after it. Products that are NaN or not given are not judged.
    loss : float
        The observed loss at the state before: the (weighted) mean of the squared residuals.
    rule : UpdateRule
        A row of `fastgd.kernels.update_rules.UPDATE_RULES`.
    lr : float
        The learning rate of this step, at its value in the arithmetic's precision.
    hyper : mapping of str to float or bool, optional
        The rule's hyperparameters by name; those not given have the table's defaults. A derived value that is given is not derived.
    reduction : {"mean", "sum"}, default "mean"
        What the gradient is of.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0 is not there, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic that is judged.
    intercept : bool, default False
        Whether the last entry of `w` and of every slot belongs to an intercept.
    held_higher : bool, default False
        Whether the state was held in a higher precision than the one given here.
    products_dtype : {"float64", "float32"}, default "float64"
        The precision of the running products. torch.optim.NAdam has its mu_product in float32 whatever the dtype of the data.

    Returns
    -------
    LockstepCheck
        `tau_w`, `tau_slots`, `tau_loss` and `tau_products`; NaN where a value may overflow in `dtype`.

    Raises
    ------
    ValueError
        Shapes that do not fit, a hyperparameter that the rule does not have, another dtype, another reduction, a negative weight, no
        weight above 0.
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
    LockstepCheck(tau_w=0.0, tau_slots=0.0, tau_loss=0.0, tau_products=0.0)
    """
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight)
    unknown = set(hyper or {}) - set(rule.hyperparameters) - set(rule.derived)
    if unknown:
        raise ValueError(f"the update rule {rule.name!r} has no {sorted(unknown)}: it has {sorted(rule.hyperparameters)}")
    values = rule.all_values(hyper)
    values = {name: value if isinstance(value, bool | np.bool_) else np.longdouble(value) for name, value in values.items()}
    w, w_next = yardstick.parameters(state_before[0], "w before")[0], yardstick.parameters(state_after[0], "w after")[0]
    shape = (len(rule.slots), yardstick.n_parameters)
    slots = yardstick.extended(of_shape(state_before[1], shape, "slots before"))
    slots_next = yardstick.extended(of_shape(state_after[1], shape, "slots after"))
    rate, steps = yardstick.extended(lr)[()], state_before[2]

    products = _products_before(rule, values, state_before)
    products = dict(zip(rule.products, rule.advance(**values, **products), strict=True))
    products_u = np.finfo(products_dtype).eps / 2

    def apply(w: Array, slots: Array, gradient: Array, products: Mapping[str, Any] = products) -> Array:
        """(1 + n_slots, D): the new w, then the new slots."""
        new_w, new_slots = rule.step(w, tuple(slots), gradient, rate, steps, **values, **products)
        return np.stack([new_w, *(np.broadcast_to(slot, new_w.shape) for slot in new_slots)]).astype(yardstick.type)

    with np.errstate(all="ignore"):
        rows = yardstick.measure(w[None])
        gradient, gradient_error = rows.gradient[0], rows.gradient_error[0]
        k, u, eta = rule.roundings + held_higher, yardstick.u, yardstick.eta
        expected = apply(w, slots, gradient)

        def moved(*inputs: tuple[Any, ...]) -> Array:
            return np.max([np.abs(apply(*moved_inputs) - expected) for moved_inputs in inputs], axis=0)

        reach = gradient_error + k * (u * np.abs(gradient) + eta)
        by_gradient = moved((w, slots, gradient - reach), (w, slots, gradient + reach))
        by_w = moved((w * (1 - k * u), slots, gradient), (w * (1 + k * u), slots, gradient))
        by_slots = np.zeros_like(expected)
        for i in range(len(slots)):
            less, more = slots.copy(), slots.copy()
            less[i] = np.sign(slots[i]) * np.maximum(np.abs(slots[i]) * (1 - k * u) - k * eta, 0)  # a second moment stays non-negative
            more[i] += np.where(slots[i] < 0, -k, k) * (u * np.abs(slots[i]) + eta)
            by_slots += moved((w, less, gradient), (w, more, gradient))
        by_products = np.zeros_like(expected)
        for name, value in products.items():
            factors = (1 - 4 * products_u, 1 + 4 * products_u)
            by_products += moved(*((w, slots, gradient, {**products, name: value * factor}) for factor in factors))

        bound = by_gradient + by_slots + by_products + by_w + u * np.abs(expected) + 2 * eta
        bound += k * u * np.abs(expected - np.stack([w, *slots]))
        bound[0] += np.maximum(0, k * u * np.abs(w) - by_w[0]) + held_higher * u * np.abs(w)
        bound = np.where(np.isnan(bound), np.inf, bound)
        share = share_of(np.stack([w_next, *slots_next]) - expected, bound)
        inside = rows.inside[0] and bool((np.abs([*expected, rate * gradient]) <= yardstick.limit).all())
        tau_loss = share_of(yardstick.extended(loss) - rows.loss, rows.loss_error)
    return LockstepCheck(
        tau_w=float(share[0].max()) if inside else np.nan,
        tau_slots=float(share[1:].max(initial=0)) if inside else np.nan,
        tau_loss=float(tau_loss[0]) if rows.inside[0] else np.nan,
        tau_products=_products_share(products, state_after, products_u),
    )


def _products_before(rule: UpdateRule, values: Mapping[str, Any], state: tuple[Any, ...]) -> dict[str, Any]:
    """The products of a state, NaN and missing ones made from its step count."""
    given = np.asarray(state[3] if len(state) > 3 else np.full(len(rule.products), np.nan), np.longdouble)
    if given.shape != (len(rule.products),):
        raise ValueError(f"products before must have shape {(len(rule.products),)}, not {given.shape}")
    if not np.isnan(given).any():
        return dict(zip(rule.products, given, strict=True))
    products = dict.fromkeys(rule.products, np.longdouble(1))
    for _ in range(int(state[2])):
        products = dict(zip(products, rule.advance(**values, **products), strict=True))
    return {name: made if np.isnan(value) else value for (name, made), value in zip(products.items(), given, strict=True)}


def _products_share(products: Mapping[str, Any], state: tuple[Any, ...], u: float) -> float:
    """The worst τ of the products that a state has."""
    if len(state) < 3 or not products:
        return 0.0
    expected = np.array(list(products.values()))
    observed = np.asarray(state[2], np.longdouble)
    judged = ~np.isnan(observed)
    return float(share_of(observed - expected, 4 * u * np.abs(expected) + np.finfo(np.float64).smallest_subnormal)[judged].max(initial=0))
