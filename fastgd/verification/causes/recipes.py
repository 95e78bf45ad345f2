"""What the user asked for, as a prediction of every step from the observed rows and a gradient.

1. SGD's buffer is not recorded, but the previous step shows it: v = (w_{t−1} − w_t)/lr. So momentum
   needs no replay, and its bound does not grow with the epochs.
2. Other rules are replayed with `step` of the table of update rules. Their slots are computed from
   observed gradients, and the error of each slot is carried along: each input is moved by its
   error, as in bound/lockstep.py, and the changes of the outputs are added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .observation import Observation, Term

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["Momentum", "Recipe", "replay"]

_U64 = float(np.finfo(np.float64).eps) / 2
# torch.optim.NAdam keeps mu_product in float32, whatever the data are.
_PRODUCT_U = {"mu_product": float(np.finfo(np.float32).eps) / 2}


@dataclass(frozen=True)
class Momentum:
    """SGD's options, as torch.optim names them, and three that torch does not have."""

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    maximize: bool = False
    decoupled: bool = False  # the decay changes w directly, not through the buffer
    first_damped: bool = False  # an exponential average: the buffer starts at 0
    first_plain: bool = False  # Sutskever's Nesterov: the first step has no momentum yet

    def step(self, seen: Observation, gradient: Term) -> Term:
        """Return the step from each observed row, with this gradient."""
        u, lr = seen.u, seen.lr
        pull = gradient.times(-1 if self.maximize else 1, 0)
        decay = seen.here().times(self.weight_decay, u) if self.weight_decay else None
        if decay is not None and not self.decoupled:
            pull = pull.plus(decay, u)
        pull = pull.times(lr, u)
        memory = seen.memory
        beside = None
        if decay is not None and self.decoupled:
            beside = decay.times(lr, u)
            memory = memory.plus(beside.one_later().times(-1, 0), u)
        step = self._with_momentum(pull, memory, u) if self.momentum or self.first_damped else pull
        if beside is None:
            return step
        step = step.plus(beside, u)
        # w is rounded once more, after the decay.
        return Term(step.value, step.error + u * np.abs(seen.w[:-1]))

    def _with_momentum(self, pull: Term, memory: Term, u: Any) -> Term:
        """Return the step with momentum; `pull` is lr times the gradient."""
        kept = memory.times(self.momentum, u)
        if self.nesterov:
            ahead = pull.times(1 + self.momentum, u)
            first = pull if self.first_plain else ahead
            return kept.plus(ahead, u).plus(pull.one_later().times(-self.momentum, u), u).but_first(first)
        damped = pull.times(1 - self.dampening, u)
        return kept.plus(damped, u).but_first(damped if self.first_damped else pull)


@dataclass(frozen=True)
class Recipe:
    """What the user asked for: update rule, hyperparameters, factor on the mean gradient."""

    rule: UpdateRule
    values: Mapping[str, Any]  # hyperparameters by name
    factor: float = 1.0  # n for reduction="sum"

    @property
    def plain(self) -> bool:
        """Whether this is SGD without options."""
        return self.rule.name == "sgd" and not any(self.values[name] for name in ("momentum", "weight_decay", "maximize"))

    @property
    def options(self) -> Momentum | None:
        """SGD's options; None for another rule."""
        return Momentum(**{name: self.values[name] for name in self.rule.hyperparameters}) if self.rule.name == "sgd" else None

    def gradient(self, seen: Observation) -> Term:
        """Return the gradient of the reduction that was asked for."""
        return seen.at if self.factor == 1 else seen.at.times(self.factor, 0)

    def step(self, seen: Observation, gradient: Term | None = None) -> Term:
        """Return the step from each observed row, with this gradient or the one asked for."""
        gradient = self.gradient(seen) if gradient is None else gradient
        options = self.options
        with np.errstate(all="ignore"):
            if options is not None:
                return options.step(seen, gradient)
            return replay(seen, self.rule.step, gradient, self.rule, self.values)

    def with_values(self, **values: Any) -> Recipe:
        """Return the same recipe with other hyperparameters."""
        return replace(self, values={**self.values, **values})


def replay(
    seen: Observation,
    rule_step: Callable[..., Any],
    gradient: Term,
    rule: UpdateRule,
    values: Mapping[str, Any],
    *,
    products: Mapping[str, float] | None = None,  # in place of the rule's own
    give_up: bool = False,  # stop at the first step beyond the bound; later steps are 0
    most: int | None = None,  # replay no more steps than this
) -> Term:
    """Return the steps that a rule with slots takes from the observed rows (note 2)."""
    u, eta, k = seen.u, seen.eta, rule.roundings + seen.held_higher
    all_values = {name: v if isinstance(v, bool | np.bool_) else np.longdouble(v) for name, v in rule.all_values(values).items()}
    running: dict[str, Any] = dict.fromkeys(rule.products, np.longdouble(1))
    slots = [np.zeros_like(seen.w[0]) for _ in rule.slots]
    slot_errors = [np.zeros_like(seen.w[0]) for _ in rule.slots]
    taken, error = np.zeros_like(seen.moved), np.zeros_like(seen.moved)

    for t in range(seen.n_steps if most is None else min(most, seen.n_steps)):
        running = dict(zip(running, rule.advance(**all_values, **running), strict=True))
        w, g = seen.w[t], gradient.value[t]

        def apply(inputs: Sequence[Any], running: Mapping[str, Any], t: int = t) -> Any:
            """Return the new w, then the new slots, (1 + n_slots, D)."""
            w_next, slots_next = rule_step(inputs[0], tuple(inputs[1:-1]), inputs[-1], seen.lr[t, 0], t, **all_values, **running)
            return np.stack([w_next, *(np.broadcast_to(slot, w_next.shape) for slot in slots_next)])

        inputs, given = [w, *slots, g], {**running, **(products or {})}
        expected = apply(inputs, given)
        sizes = [k * u * np.abs(w), *(r + k * (u * np.abs(s) + eta) for r, s in zip(slot_errors, slots, strict=True))]
        sizes.append(gradient.error[t] + k * (u * np.abs(g) + eta))
        spread = _spread(apply, inputs, sizes, expected, given) + (k * u * np.abs(expected - np.stack(inputs[:-1])) + 2 * eta)
        spread = np.where(np.isnan(spread), np.inf, spread)
        taken[t], error[t] = w - expected[0], spread[0] + k * u * np.abs(w)
        slots, slot_errors = list(expected[1:]), [r + u * np.abs(s) for r, s in zip(spread[1:], expected[1:], strict=True)]
        if give_up and seen.shares(Term(taken[t : t + 1], error[t : t + 1]), at=t).max(initial=0) > LIMIT:
            break
    return Term(taken, error)


def _spread(
    apply: Callable[[Sequence[Any], Mapping[str, Any]], Array],
    inputs: Sequence[Array],
    sizes: Sequence[Array],
    expected: Array,
    running: Mapping[str, Any],
) -> Array:
    """Return how far the outputs move when each input moves by its size and each product by 4u."""
    spread = np.zeros_like(expected)
    for place, size in enumerate(sizes):
        less, more = list(inputs), list(inputs)
        less[place], more[place] = inputs[place] - size, inputs[place] + size
        if 0 < place < len(inputs) - 1:  # a second moment must not become negative
            less[place] = np.where(inputs[place] >= 0, np.maximum(less[place], 0), less[place])
        spread += np.maximum(*(np.abs(apply(moved, running) - expected) for moved in (less, more)))
    for name, value in running.items():
        u = _PRODUCT_U.get(name, _U64)
        moved = ({**running, name: value * (1 + sign * 4 * u)} for sign in (-1, 1))
        spread += np.maximum(*(np.abs(apply(inputs, products) - expected) for products in moved))
    return spread
