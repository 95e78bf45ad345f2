"""What was asked for, as a prediction: from the observed rows and any gradient to the step that a correct implementation takes.

1. SGD's buffer is not recorded, but the step before shows it: v = (w_{t−1} − w_t)/lr. So momentum needs no replay, its bound does not
   grow with the epochs, and one step is all that it looks back.
2. The other rules are replayed by the table's own `step`. Slots are made of observed gradients, and how far rounding may have moved
   them is carried along: each input is moved by its error, as in lockstep.py, and the outputs' changes are added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bound.yardstick import LIMIT
from .observation import Observation, Term

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["Momentum", "Recipe", "replay"]

_U64 = float(np.finfo(np.float64).eps) / 2
_PRODUCT_U = {"mu_product": float(np.finfo(np.float32).eps) / 2}  # torch.optim.NAdam keeps it in float32 whatever the data are


@dataclass(frozen=True)
class Momentum:
    """SGD's options, as torch.optim names them. `first_damped` and `first_plain` are not torch's."""

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    maximize: bool = False
    decoupled: bool = False  # the decay acts on w beside the step, not through the buffer
    first_damped: bool = False  # the buffer starts at 0 and is damped at once: an exponential average
    first_plain: bool = False  # Sutskever's Nesterov: the first step has no momentum to look ahead with

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
        return Term(step.value, step.error + u * np.abs(seen.w[:-1]))  # w is rounded once more, after the decay

    def _with_momentum(self, pull: Term, memory: Term, u: Any) -> Term:
        """Return the step of the buffer; pull is lr times the gradient."""
        kept = memory.times(self.momentum, u)
        if self.nesterov:
            ahead = pull.times(1 + self.momentum, u)
            first = pull if self.first_plain else ahead
            return kept.plus(ahead, u).plus(pull.one_later().times(-self.momentum, u), u).but_first(first)
        damped = pull.times(1 - self.dampening, u)
        return kept.plus(damped, u).but_first(damped if self.first_damped else pull)


@dataclass(frozen=True)
class Recipe:
    """Update rule, its values and the factor on the mean gradient: what the user says was done."""

    rule: UpdateRule
    values: Mapping[str, Any]  # hyperparameters by name
    factor: float = 1.0  # n for reduction="sum"

    @property
    def plain(self) -> bool:
        """Whether this is SGD without any option."""
        return self.rule.name == "sgd" and not any(self.values[name] for name in ("momentum", "weight_decay", "maximize"))

    @property
    def options(self) -> Momentum | None:
        """SGD's options; None for another rule."""
        return Momentum(**{name: self.values[name] for name in self.rule.hyperparameters}) if self.rule.name == "sgd" else None

    def gradient(self, seen: Observation) -> Term:
        """Return the gradient that was asked for."""
        return seen.at if self.factor == 1 else seen.at.times(self.factor, 0)

    def step(self, seen: Observation, gradient: Term | None = None) -> Term:
        """Return the step from each observed row; with another gradient, if one is given."""
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
    products: Mapping[str, float] | None = None,  # instead of the rule's own
    give_up: bool = False,  # stop where the bound is passed: the rest is left at no step at all
    most: int | None = None,  # steps
) -> Term:
    """Return the steps that a rule with slots takes from the observed rows (note 2)."""
    u, eta, k = seen.u, seen.eta, rule.roundings + seen.held
    all_values: dict[str, Any] = {
        name: v if isinstance(v, bool | np.bool_) else np.longdouble(v) for name, v in rule.all_values(values).items()
    }
    running: dict[str, Any] = dict.fromkeys(rule.products, np.longdouble(1))
    slots = [np.zeros_like(seen.w[0]) for _ in rule.slots]
    radius = [np.zeros_like(seen.w[0]) for _ in rule.slots]
    taken, error = np.zeros_like(seen.moved), np.zeros_like(seen.moved)

    for t in range(seen.n_steps if most is None else min(most, seen.n_steps)):
        running = dict(zip(running, rule.advance(**all_values, **running), strict=True))
        given = {**running, **(products or {})}
        w, g = seen.w[t], gradient.value[t]

        def apply(*inputs: Any, t: int = t, given: Mapping[str, Any] = given) -> Any:
            w_next, slots_next = rule_step(inputs[0], tuple(inputs[1:-1]), inputs[-1], seen.lr[t, 0], t, **all_values, **given)
            return np.stack([w_next, *(np.broadcast_to(slot, w_next.shape) for slot in slots_next)])

        inputs = [w, *slots, g]
        expected = apply(*inputs)
        sizes = [k * u * np.abs(w), *(r + k * (u * np.abs(s) + eta) for r, s in zip(radius, slots, strict=True))]
        spread = np.zeros_like(expected)
        for place, size in enumerate([*sizes, gradient.error[t] + k * (u * np.abs(g) + eta)]):
            less, more = list(inputs), list(inputs)
            less[place], more[place] = inputs[place] - size, inputs[place] + size
            if 0 < place < len(inputs) - 1:  # a second moment stays non-negative
                less[place] = np.where(inputs[place] >= 0, np.maximum(less[place], 0), less[place])
            spread += np.maximum(np.abs(apply(*less) - expected), np.abs(apply(*more) - expected))
        for name, value in given.items():  # lockstep.py, note 2
            u_product = _PRODUCT_U.get(name, _U64)
            moved = [np.abs(apply(*inputs, given={**given, name: value * (1 + s * 4 * u_product)}) - expected) for s in (-1, 1)]
            spread += np.maximum(*moved)
        spread += k * u * np.abs(expected - np.stack(inputs[:-1])) + 2 * eta
        spread = np.where(np.isnan(spread), np.inf, spread)
        taken[t], error[t] = w - expected[0], spread[0] + k * u * np.abs(w)
        slots, radius = list(expected[1:]), [r + u * np.abs(s) for r, s in zip(spread[1:], expected[1:], strict=True)]
        if give_up and seen.shares(Term(taken[t : t + 1], error[t : t + 1]), at=t).max(initial=0) > LIMIT:
            break
    return Term(taken, error)
