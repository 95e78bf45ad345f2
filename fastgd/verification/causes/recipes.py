"""What the user asked for, as a prediction of every step from the observed rows and a gradient.

1. SGD's buffer is not recorded, but the previous step shows it: v = (w_{t−1} − w_t)/lr. So momentum
   needs no replay, and its bound does not grow with the epochs. A step at the rate 0 shows nothing:
   where another one follows, the buffer is replayed.
2. Other rules are replayed with `step` of the table of update rules. Their slots are computed from
   observed gradients, and the error of each slot is carried along: each input is moved by its
   error, as in bound/lockstep.py, and the changes of the outputs are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bound.batches import Rule
from ..bound.rule_step import RuleStep, State, step_of_rule, steps_possible
from ..bound.yardstick import LIMIT
from .observation import Observation, Term, until

if TYPE_CHECKING:
    from fastgd.kernels.update_rules import UpdateRule

__all__ = ["Momentum", "OfEach", "Recipe", "replay"]

_U64 = float(np.finfo(np.float64).eps) / 2
# torch.optim.NAdam keeps mu_product in float32, whatever the data are.
_PRODUCT_U = {"mu_product": float(np.finfo(np.float32).eps) / 2}


_WHY_ENDED = "in the step after that an intermediate of the update rule may overflow, or rounding may make it anything"


@dataclass(frozen=True)
class Momentum:
    """SGD's options, as torch.optim names them, and three that torch does not have."""

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: Any = 0.0  # or (D,): of each parameter
    nesterov: bool = False
    maximize: bool = False
    decoupled: bool = False  # the decay changes w directly, not through the buffer
    first_damped: bool = False  # an exponential average: the buffer starts at 0
    first_plain: bool = False  # Sutskever's Nesterov: the first step has no momentum yet

    def step(self, seen: Observation, gradient: Term) -> Term:
        """Return the step from each observed row, with this gradient."""
        u, lr = seen.u, seen.lr
        pull = gradient.times(-1 if self.maximize else 1, 0)
        decay = _scaled(seen.here(), self.weight_decay, seen) if np.any(self.weight_decay) else None
        if decay is not None and not self.decoupled:
            pull = pull.plus(decay, u)
        pull = pull.times(lr, u)
        memory = seen.memory
        beside = None
        if decay is not None and self.decoupled:
            beside = decay.times(lr, u)
            memory = memory.plus(seen.at_present_rates(beside.one_later()).times(-1, 0), u)
        step = self._with_momentum(pull, memory, seen) if self.momentum or self.first_damped else pull
        if beside is None:
            return step
        step = step.plus(beside, u)
        # w is rounded once more, after the decay.
        return Term(step.value, step.error + u * np.abs(seen.w[:-1]))

    def _with_momentum(self, pull: Term, memory: Term, seen: Observation) -> Term:
        """Return the step with momentum; `pull` is lr times the gradient."""
        u, eta, lr = seen.u, seen.eta, seen.lr
        kept = memory.times(self.momentum, u)
        # In units of lr: the products with momentum and 1 − dampening may underflow in the buffer.
        kept = Term(kept.value, kept.error + np.abs(lr) * eta)
        if self.nesterov:
            ahead = pull.times(1 + self.momentum, u)
            first = pull if self.first_plain else ahead
            before = seen.at_present_rates(pull.one_later()).times(-self.momentum, u)
            return kept.plus(ahead, u).plus(before, u).but_first(first)
        damped = pull.times(1 - self.dampening, u)
        return kept.plus(damped, u).but_first(damped if self.first_damped else pull)


class OfEach(np.ndarray):
    """One number for each parameter, where rules take one: a rule asks whether there is any."""

    def __bool__(self) -> bool:
        return bool(np.asarray(self).any())


@dataclass(frozen=True)
class Recipe:
    """What the user asked for: update rule, hyperparameters, factor on the mean gradient."""

    rule: UpdateRule
    values: Mapping[str, Any]  # hyperparameters by name
    factor: float = 1.0  # n for reduction="sum"
    ridge: float = 0.0  # the penalty whose gradient weight_decay is
    powers: str = ""  # how the powers of beta are made in float32: "of float32", "rounded"; "" is not in it
    momenta: Any = None  # (epochs,): momentum, or beta1, in each, where a schedule moves it; None: it stays

    @property
    def plain(self) -> bool:
        """Whether this is SGD without options."""
        return (
            self.momenta is None
            and self.rule.name == "sgd"
            and not any(np.any(self.values[name]) for name in ("momentum", "weight_decay", "maximize"))
        )

    @property
    def penalty(self) -> float:
        """The penalty whose gradient is asked for, as a factor on the squares of w."""
        return float(np.max(self.values["weight_decay"])) / 2

    @property
    def stateless(self) -> bool:
        """Whether this is SGD without momentum, whose steps keep nothing between them."""
        return self.options is not None and not self.values["momentum"] and not self.values["maximize"]

    @property
    def options(self) -> Momentum | None:
        """SGD's options; None for another rule, and where momentum moves."""
        if self.rule.name != "sgd" or self.momenta is not None:
            return None
        return Momentum(**{name: self.values[name] for name in self.rule.hyperparameters})

    @property
    def linear(self) -> Rule:
        """SGD's options, for steps on batches."""
        return Rule(**{name: self.values[name] for name in Rule._fields})

    def gradient(self, seen: Observation) -> Term:
        """Return the gradient of the reduction that was asked for."""
        return seen.at if self.factor == 1 else seen.at.times(self.factor, 0)

    def step(self, seen: Observation, gradient: Term | None = None) -> Term:
        """Return the step from each observed row, with the gradient that was asked for.

        With another gradient a rule that is replayed is so up to the first step that disagrees.
        """
        other = gradient is not None
        if gradient is None and seen.asked_ends is not None:
            return Term(*(part[: seen.n_steps] for part in seen.asked_ends))
        gradient = self.gradient(seen) if gradient is None else gradient
        options = self.options
        with np.errstate(all="ignore"):
            if options is not None and not (options.momentum and seen.pauses):
                return options.step(seen, gradient)
            gradient, values = self.apart(seen, gradient)
            return replay(seen, self.rule.step, gradient, self.rule, values, give_up=other, powers=self.powers, momenta=self.momenta)

    def apart(self, seen: Observation, gradient: Term) -> tuple[Term, Mapping[str, Any]]:
        """Return the gradient with that of a decay of each parameter, and the values without it."""
        decoupled = self.rule.decoupled
        if not np.ndim(self.values.get("weight_decay", 0.0)) or (decoupled is True or (decoupled and self.values[decoupled])):
            return gradient, self.values
        w = seen.w[: len(gradient.value)]
        return gradient.plus(_scaled(Term(w, 0 * w), self.values["weight_decay"], seen), seen.u), {**self.values, "weight_decay": 0.0}

    def judged(self, seen: Observation) -> Observation:
        """Return the history up to the first step of the rule that cannot be judged."""
        if seen.hides_steps:
            assert seen.plan is not None
            rows = seen.w if seen.too_early is None else np.concatenate([seen.w, seen.w[-1:]])
            ends = seen.plan.ends(rows, self.linear)
            seen.asked_ends = seen.steps_to(ends)
            return seen if ends.judged == len(rows) - 1 else seen.until(ends.judged, seen.why_ended)
        if self.plain:
            return seen
        begun = Term(self.factor * seen.begun.value, self.factor * seen.begun.error)
        with np.errstate(all="ignore"):
            begun, values = self.apart(seen, begun)
            judged = self._options_judged if self.options is not None else self._replay_judged
            n_steps = judged(seen, begun, values)
        return seen if n_steps == len(seen.begun_lr) else seen.until(n_steps, _WHY_ENDED)

    def _options_judged(self, seen: Observation, begun: Term, values: Mapping[str, Any]) -> int:
        """Return how many steps of SGD, of those begun, can be judged."""
        gradient, buffers, slots = begun.value, [], (np.zeros(seen.n_parameters, seen.yardstick.type),)
        for t in range(len(gradient)):
            buffers.append(slots[0])
            _, slots = self.rule.step(seen.w[t], slots, gradient[t], seen.begun_lr[t, 0], t, **values)
        slot = np.stack(buffers) if buffers else gradient
        return until(steps_possible(self.rule.step, values, seen.w[: len(gradient)], slot, gradient, seen.begun_lr, seen.yardstick))

    def _replay_judged(self, seen: Observation, begun: Term, values: Mapping[str, Any]) -> int:
        """Return how many steps of a rule with slots, of those begun, can be judged."""
        possible = (truth.judged for truth in _replayed(seen, self.rule.step, begun, self.rule, values, momenta=self.momenta))
        return next((t for t, judged in enumerate(possible) if not judged), len(seen.begun_lr))

    def with_values(self, **values: Any) -> Recipe:
        """Return the same recipe with other hyperparameters."""
        return replace(self, values={**self.values, **values})


def _scaled(term: Term, factor: Any, seen: Observation) -> Term:
    """Return the product with a constant, which may underflow."""
    product = term.times(factor, seen.u)
    return Term(product.value, product.error + seen.eta)


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
    powers: str = "",  # as in Recipe
    momenta: Any = None,  # as in Recipe
) -> Term:
    """Return the steps that a rule with slots takes from the observed rows (note 2)."""
    taken, error = np.zeros_like(seen.moved), np.zeros_like(seen.moved)
    for t, truth in enumerate(_replayed(seen, rule_step, gradient, rule, values, products, powers, momenta)):
        if t == (seen.n_steps if most is None else most):
            break
        taken[t], error[t] = seen.w[t] - truth.expected[0], truth.spread[0]
        if give_up and seen.shares(Term(taken[t : t + 1], error[t : t + 1]), at=t).max(initial=0) > LIMIT:
            break
    return Term(taken, error)


def _replayed(
    seen: Observation,
    rule_step: Callable[..., Any],
    gradient: Term,
    rule: UpdateRule,
    values: Mapping[str, Any],
    products: Mapping[str, float] | None = None,
    powers: str = "",
    momenta: Any = None,
) -> Iterator[RuleStep]:
    """Yield each step that has a gradient, from the observed w and the replayed slots."""
    all_values = {
        name: v if isinstance(v, bool | np.bool_) else np.asanyarray(v, np.longdouble) if np.ndim(v) else np.longdouble(v)
        for name, v in rule.all_values(values).items()
    }
    running: dict[str, Any] = dict.fromkeys(rule.products, np.longdouble(1))
    slots = [np.zeros_like(seen.w[0]) for _ in rule.slots]
    slot_errors = [np.zeros_like(seen.w[0]) for _ in rule.slots]
    for t in range(len(gradient.value)):
        if momenta is not None and rule.moving is not None:
            all_values[rule.moving] = np.longdouble(momenta[t])
            if rule.power is not None:
                running[rule.power] = all_values[rule.moving] ** t
        running = dict(zip(running, rule.advance(**all_values, **running), strict=True))
        given = {**running, **(products or {})}
        errors = {name: 4 * _PRODUCT_U.get(name, _U64) * np.abs(value) for name, value in given.items()}
        if powers:
            _make_in_float32(given, errors, all_values, t, powers)
        state = State(seen.w[t], slots, slot_errors, gradient.value[t], gradient.error[t], given, errors, seen.rule_lr[t, 0], t)
        truth = step_of_rule(rule_step, rule, all_values, state, seen.yardstick)
        yield truth
        slots = list(truth.expected[1:])
        slot_errors = [of_slot + seen.u * np.abs(slot) + 2 * seen.eta for of_slot, slot in zip(truth.spread[1:], slots, strict=True)]


def _make_in_float32(given: dict[str, Any], errors: dict[str, Any], values: Mapping[str, Any], t: int, powers: str) -> None:
    """Replace the powers of beta by those that a library makes in float32, and 1 − βᵗ with them.

    "rounded": the power of beta, rounded once. "of float32": beta is rounded first, and its power
    may be a unit in the last place off (the first power is exact). The share of the bound may be
    LIMIT, so the error is that unit divided by LIMIT.
    """
    for name in given:
        beta = values.get(name.removesuffix("_product"))
        if name.endswith("_product") and beta is not None:
            power = np.float32((np.longdouble(np.float32(beta)) if powers == "of float32" else beta) ** (t + 1))
            off = 2 * _PRODUCT_U["mu_product"] * np.longdouble(power) if powers == "of float32" and t else 0
            given[name] = 1 - np.longdouble(np.float32(1) - power)
            errors[name] = errors[name] + off / LIMIT
