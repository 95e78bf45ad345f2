"""How far rounding may move one step of an update rule that has slots.

The derivation is in docs/error-bound.md, "Other update rules". `check_lockstep` asks for one step
from a known state, the replay of a recorded history for one step after the other, from a state that
has errors of its own.

1. Every rounding inside a rule is a relative change of at most u of a product of the rule's inputs,
   so k roundings change no input by more than k·u. ℓ adds what the outputs move by when g moves by
   δg + k(u|g| + η) and each slot by k(u|slot| + η). (|w| + |Δw| alone would say nothing about the
   slots, nor about w where the terms of Δw cancel.)
2. A running product of a rule is one more input, with 4 roundings in its own precision: those of
   the power or the multiplication that made it. 1 − βᵗ multiplies such an error by up to
   1/(1 − β) in any arithmetic, so the k of the rule does not cover it.
3. A quotient such as g/√g² hardly moves when g does, but is rounded all the same: hence the terms
   k u|Δw| and k u|Δslot|. RMSprop needs them.
4. Where an intermediate cancels or underflows, k roundings of the inputs do not reproduce it. So
   the rule is also evaluated on enclosures (enclosure.py), and ℓ is the larger of the two.
5. A state that is held in a higher precision than the one given is one more rounding of w and of
   each slot, and w may be subnormal or 0 where the state is not: it is moved by η, too.
6. Where an intermediate may overflow, or may be anything, the step is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .enclosure import Arithmetic, Enclosure
from .yardstick import Array, Yardstick

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["RuleStep", "State", "step_of_rule", "steps_possible"]


class State(NamedTuple):
    """What one step of a rule starts from, and how far each of it may be off."""

    w: Array  # (D,)
    slots: Sequence[Array]  # of (D,)
    slot_errors: Sequence[Array]  # of (D,)
    gradient: Array  # (D,)
    gradient_error: Array  # (D,)
    products: Mapping[str, Any]  # after the multiplication of this step
    product_errors: Mapping[str, Any]
    lr: Any
    steps: int


class RuleStep(NamedTuple):
    """The exact outcome of a step, and how far rounding may move it."""

    expected: Array  # (1 + n_slots, D): the new w, then the new slots
    spread: Array  # (1 + n_slots, D): ℓ, without the last rounding, that of the outcome itself
    judged: bool  # no intermediate may overflow or be anything


class _Rows(NamedTuple):
    """Inputs of a rule, one row for each time that it is evaluated; row 0 has them as they are."""

    w: Array  # (R, D)
    slots: list[Array]  # of (R, D)
    gradient: Array  # (R, D)
    products: dict[str, Array]  # of (R, 1)


def step_of_rule(step: Callable[..., Any], rule: UpdateRule, values: Mapping[str, Any], state: State, yardstick: Yardstick) -> RuleStep:
    """Return one step and its bound; `values`: hyperparameters and derived values."""
    with np.errstate(all="ignore"):
        expected, by_roundings = _by_roundings(step, values, state, yardstick, rule.roundings + yardstick.held_higher)
        by_intermediates, possible = _by_intermediates(step, values, expected, state, yardstick)
        spread = np.maximum(by_roundings, by_intermediates)
        judged = possible and bool(np.isfinite(spread).all() and (np.abs(expected) <= yardstick.limit).all())
    return RuleStep(expected, np.where(np.isnan(spread), np.inf, spread), judged)


def _rows(state: State, by_w: Array | float, by_slots: Sequence[Array], by_gradient: Array) -> _Rows:
    """Return two rows for each input: moved down and up by its error.

    The order: gradient, slots, products, w. A second moment must not become negative.
    """
    pairs = 2 + len(state.slots) + len(state.products)
    w, gradient = (np.repeat(part[None], 1 + 2 * pairs, axis=0) for part in (state.w, state.gradient))
    slots = [np.repeat(slot[None], 1 + 2 * pairs, axis=0) for slot in state.slots]
    products = {name: np.full((1 + 2 * pairs, 1), value) for name, value in state.products.items()}
    gradient[1], gradient[2] = state.gradient - by_gradient, state.gradient + by_gradient
    for row, slot, value, size in zip(range(3, 2 * pairs, 2), slots, state.slots, by_slots, strict=False):
        slot[row] = np.where(value >= 0, np.maximum(value - size, 0), value - size)
        slot[row + 1] = value + size
    for row, (name, product) in zip(range(3 + 2 * len(slots), 2 * pairs, 2), products.items(), strict=False):
        product[row : row + 2] += [[-state.product_errors[name]], [state.product_errors[name]]]
    w[-2], w[-1] = state.w - by_w, state.w + by_w
    return _Rows(w, slots, gradient, products)


def _by_roundings(step: Callable[..., Any], values: Mapping[str, Any], state: State, yardstick: Yardstick, k: int) -> tuple[Array, Array]:
    """Return the outcome, and what it moves by with the errors and k roundings of each input."""
    u, eta = yardstick.u, yardstick.eta
    of_slots = [error + k * (u * np.abs(slot) + eta) for slot, error in zip(state.slots, state.slot_errors, strict=True)]
    of_w = k * u * np.abs(state.w) + yardstick.held_higher * eta
    rows = _rows(state, of_w, of_slots, state.gradient_error + k * (u * np.abs(state.gradient) + eta))
    new_w, new_slots = step(rows.w, tuple(rows.slots), rows.gradient, state.lr, state.steps, **values, **rows.products)
    made = np.stack([new_w, *(np.broadcast_to(slot, new_w.shape) for slot in new_slots)]).astype(yardstick.type)
    expected, away = made[:, 0], np.abs(made - made[:, :1])
    moved = np.maximum(away[:, 1::2], away[:, 2::2])  # (1 + n_slots, inputs, D), w last
    bound = moved.sum(1) + k * u * np.abs(expected - np.stack([state.w, *state.slots]))
    bound[0] += np.maximum(0, k * u * np.abs(state.w) - moved[0, -1])
    return expected, bound


def _by_intermediates(
    step: Callable[..., Any], values: Mapping[str, Any], expected: Array, state: State, yardstick: Yardstick
) -> tuple[Array, bool]:
    """Return what the outcome moves by when every operation is rounded; and whether all can be."""
    of_slots = [np.maximum(error, yardstick.hidden(slot)) for slot, error in zip(state.slots, state.slot_errors, strict=True)]
    rows = _rows(state, yardstick.hidden(state.w), of_slots, state.gradient_error)
    outputs, possible = _enclosed(step, values, rows, state.lr, state.steps, yardstick)
    away = np.stack([out.farthest_from(exact) for out, exact in zip(outputs, expected, strict=True)])
    by_inputs = np.maximum(away[:, 1::2], away[:, 2::2]) - away[:, :1]
    return away[:, 0] + np.maximum(0, by_inputs).sum(1), bool(possible.all())


def steps_possible(
    step: Callable[..., Any], values: Mapping[str, Any], w: Array, slot: Array, gradient: Array, lr: Array, yardstick: Yardstick
) -> Array:
    """Return (T,) bool: in which of T steps of a rule with one slot no intermediate may overflow.

    All are (T, D), lr is (T, 1). The slot is that before each step.
    """
    with np.errstate(all="ignore"):
        _, possible = _enclosed(step, values, _Rows(w, [slot], gradient, {}), lr, 1, yardstick)
        return np.asarray(possible.all(1))


def _enclosed(
    step: Callable[..., Any], values: Mapping[str, Any], rows: _Rows, lr: Any, steps: int, yardstick: Yardstick
) -> tuple[list[Enclosure], Array]:
    """Return enclosures of the new w and slots, and where every intermediate is possible (R, D)."""
    arithmetic = Arithmetic(yardstick, rows.w.shape)
    numbers = {name: value if isinstance(value, bool | np.bool_) else arithmetic.number(value) for name, value in values.items()}
    numbers |= {name: arithmetic.number(product) for name, product in rows.products.items()}
    w, gradient, slots = arithmetic.array(rows.w), arithmetic.array(rows.gradient), tuple(map(arithmetic.array, rows.slots))
    new_w, new_slots = step(w, slots, gradient, arithmetic.rate(lr), steps, **numbers)
    return [new_w, *new_slots], ~(arithmetic.overflows | arithmetic.undefined)
