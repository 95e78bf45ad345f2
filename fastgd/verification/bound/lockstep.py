"""The check of one step of any update rule, from the state that the judged program itself had.

The derivation is in docs/error-bound.md, "Other update rules"; the bound is made in rule_step.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ...input.float_mode import computes
from ...input.hyperparameters import check_names
from ...input.messages import shown
from ...input.options import read_count, read_dtype
from ...input.wrong_names import helps_with_keywords
from ...kernels.update_rules import UpdateRule
from .rule_step import State, step_of_rule
from .yardstick import Yardstick, of_shape, share_of

__all__ = ["LockstepCheck", "check_lockstep"]


@dataclass(frozen=True)
class LockstepCheck:
    """Shares of the bound that one step used; NaN: not judged, values near overflow."""

    tau_w: float
    tau_slots: float  # the worst over all slots; 0 for a rule without slots
    tau_loss: float
    tau_products: float = 0.0  # the worst over all running products; 0 where none are given


@helps_with_keywords
@computes
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
    """Judge one step of any update rule, from the state that the judged program itself had.

    The rule is applied in extended precision to the exact gradient g; that gives ŵ and ŝ, the new w
    and slots. It is applied again with one input moved at a time. D is how far an output moves::

        D_g     when g moves by ±(δg + k(u|g| + η))       δg as in `check_step`, k = rule.roundings
        D_slot  when a slot moves by ±k(u|slot| + η)
        D_w     when w moves by ±k u|w|
        D_p     when a running product p moves by ±4u′p   u′ of `products_dtype`

        ℓ_w    = D_g + Σ D_slot + Σ D_p + max(D_w, k u|w|) + k u|Δw| + u|ŵ| + 2η
        ℓ_slot = D_g + Σ D_slot + Σ D_p + D_w + k u|Δslot| + u|ŝ| + 2η
        ℓ_p    = 4u′p

    With `held_higher` k + 1 takes the place of k, w moves by η more, and ℓ_w has u|w| + η more.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The features, without a column of ones. They are rounded to `dtype` first, as the judged
        arithmetic saw them.
    y : array_like, shape (n_samples,)
        The targets, rounded to `dtype` first.
    state_before : tuple (w, slots, steps) or (w, slots, steps, products)
        The state before the step: w (D,), slots (n_slots, D), the number of updates made since the
        slots were empty, and the running products (n_products,). Products that are NaN or not given
        are computed from the number of updates.
    state_after : tuple (w, slots) or (w, slots, products)
        The state after the step. Products that are NaN or not given are not judged.
    loss : float
        The observed loss at the state before: the (weighted) mean of the squared residuals.
    rule : UpdateRule
        A row of `fastgd.kernels.update_rules.UPDATE_RULES`.
    lr : float
        The learning rate of this step, as the judged arithmetic has it.
    hyper : mapping of str to float or bool, optional
        The rule's hyperparameters by name; those not given have the table's defaults. A derived
        value may be given as well.
    reduction : {"mean", "sum"}, default "mean"
        Whether the gradient is that of the mean of the squared residuals, or of their sum.
    sample_weight : array_like, shape (n_samples,), optional
        The weights ω of the samples, not negative, rounded to `dtype` first. A sample of weight 0
        is left out, whatever its numbers are.
    dtype : {float32, float64}
        The precision of the arithmetic that is judged.
    intercept : bool, default False
        Whether the last entry of `w` and of every slot belongs to an intercept.
    held_higher : bool, default False
        Whether the program kept its state in a higher precision than the one given here.
    products_dtype : {"float64", "float32"}, default "float64"
        The precision of the running products. torch.optim.NAdam keeps mu_product in float32
        whatever the dtype of the data.

    Returns
    -------
    LockstepCheck
        `tau_w`, `tau_slots`, `tau_loss` and `tau_products`; NaN where a value may overflow in
        `dtype`.

    Raises
    ------
    ValueError
        A shape does not fit, the rule does not have a hyperparameter, `dtype` or `reduction` is
        none of the above, a weight is negative, or all weights are 0.
    RuntimeError
        `dtype` is float64 and this machine's `numpy.longdouble` has fewer than 64 bits of
        significand.

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
    yardstick = Yardstick(X, y, reduction, dtype, intercept, sample_weight, held_higher=held_higher)
    values = _hyperparameters(rule, hyper)
    _read_states(state_before, state_after)
    w = yardstick.parameters(state_before[0], "w before")[0]
    w_next = yardstick.parameters(state_after[0], "w after")[0]
    shape = (len(rule.slots), yardstick.n_parameters)
    slots = yardstick.extended(of_shape(state_before[1], shape, "slots before"))
    slots_next = yardstick.extended(of_shape(state_after[1], shape, "slots after"))
    rate, steps = yardstick.extended(of_shape(lr, (), "lr"))[()], state_before[2]
    products = _products_before(rule, values, state_before)
    products = dict(zip(rule.products, rule.advance(**values, **products), strict=True))
    products_u = np.finfo(read_dtype(products_dtype)).eps / 2

    with np.errstate(all="ignore"):
        rows = yardstick.measure(w[None])
        state = State(
            w, list(slots), list(np.zeros_like(slots)), rows.gradient[0], rows.gradient_error[0], products,
            {name: 4 * products_u * np.abs(value) for name, value in products.items()}, rate, steps,
        )  # fmt: skip
        truth = step_of_rule(rule.step, rule, values, state, yardstick)
        bound = truth.spread + yardstick.u * np.abs(truth.expected) + 2 * yardstick.eta
        bound[0] += yardstick.hidden(w)
        share = share_of(np.stack([w_next, *slots_next]) - truth.expected, bound)
        inside = rows.inside[0] and truth.judged and bool((np.abs(rate * state.gradient) <= yardstick.limit).all())
        tau_loss = share_of(yardstick.extended(of_shape(loss, (), "loss")) - rows.loss, rows.loss_error)
    return LockstepCheck(
        tau_w=float(share[0].max()) if inside else np.nan,
        tau_slots=float(share[1:].max(initial=0)) if inside else np.nan,
        tau_loss=float(tau_loss[0]) if rows.inside[0] else np.nan,
        tau_products=_products_share(products, state_after, products_u),
    )


def _hyperparameters(rule: UpdateRule, hyper: Mapping[str, float | bool] | None) -> dict[str, Any]:
    """Return all values of the rule, numbers in `numpy.longdouble`."""
    if not isinstance(rule, UpdateRule):
        raise TypeError(f"rule must be a row of UPDATE_RULES of fastgd.kernels.update_rules, not {shown(rule)}")
    check_names(rule, hyper)
    values = rule.all_values(hyper)
    return {
        name: value if isinstance(value, bool | np.bool_) else np.longdouble(of_shape(value, (), name)) for name, value in values.items()
    }


def _read_states(before: Any, after: Any) -> None:
    """Raise where a state is no tuple of as many parts as it must have."""
    for name, state, parts in (
        ("state_before", before, "(w, slots, steps) or (w, slots, steps, products)"),
        ("state_after", after, "(w, slots) or (w, slots, products)"),
    ):
        least = parts.count(",", 0, parts.index(")")) + 1
        if not isinstance(state, tuple | list) or len(state) not in (least, least + 1):
            raise TypeError(f"{name} must be {parts}, not {shown(state)}")
    read_count(before[2], "steps before", 0)


def _products_before(rule: UpdateRule, values: Mapping[str, Any], state: tuple[Any, ...]) -> dict[str, Any]:
    """Return the running products of a state; those missing are computed from its step count."""
    shape = (len(rule.products),)
    given = of_shape(state[3] if len(state) > 3 else np.full(shape, np.nan), shape, "products before").astype(np.longdouble)
    if not np.isnan(given).any():
        return dict(zip(rule.products, given, strict=True))
    products = dict.fromkeys(rule.products, np.longdouble(1))
    for _ in range(int(state[2])):
        products = dict(zip(products, rule.advance(**values, **products), strict=True))
    return {name: made if np.isnan(value) else value for (name, made), value in zip(products.items(), given, strict=True)}


def _products_share(products: Mapping[str, Any], state: tuple[Any, ...], u: float) -> float:
    """Return the worst τ of the running products that a state has."""
    if len(state) < 3 or not products:
        return 0.0
    expected = np.array(list(products.values()))
    observed = of_shape(state[2], (len(products),), "products after").astype(np.longdouble)
    judged = ~np.isnan(observed)
    return float(share_of(observed - expected, 4 * u * np.abs(expected) + np.finfo(np.float64).smallest_subnormal)[judged].max(initial=0))
