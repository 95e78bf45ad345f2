"""THE table of update rules. Appending a row is the only way to add one; every backend, test, help text and page reads it.

1. `step` is the rule on any kind of number (float, NumPy array of any float type, Fraction): the error bounds and the
   exact oracles apply it. The kernels have their own hands, written for bits (docs/arithmetic.md, section 8).
2. `roundings` is k of the bound in fastgd/verification/bound.py: how many roundings the rule itself makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class UpdateRule:
    """One row of the table: how a gradient becomes a step."""

    name: str
    code: int  # what the compiled kernels switch on
    slots: tuple[str, ...]  # what the rule remembers between steps, one value per parameter each
    hyperparameters: Mapping[str, float | bool]  # in the order of the kernels' table, with torch's defaults; lr stands apart
    formula: str
    source: str
    roundings: int
    step: Callable[..., tuple[Any, tuple[Any, ...]]] = field(repr=False)  # (w, slots, gradient, lr, steps, **hyperparameters)


def _sgd(w, slots, gradient, lr, steps, *, momentum, dampening, weight_decay, nesterov, maximize):
    (velocity,) = slots
    if maximize:
        gradient = -gradient
    if weight_decay:
        gradient = gradient + weight_decay * w
    if momentum:
        velocity = gradient if steps == 0 else momentum * velocity + (1 - dampening) * gradient
        gradient = gradient + momentum * velocity if nesterov else velocity
    return w - lr * gradient, (velocity,)


UPDATE_RULES: Mapping[str, UpdateRule] = {
    rule.name: rule
    for rule in (
        UpdateRule(
            name="sgd",
            code=0,
            slots=("momentum_buffer",),
            hyperparameters={"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "maximize": False},
            formula="g ← g + λ w;  v ← μ v + (1−τ) g  (v ← g at first);  w ← w − lr v,  or w − lr (g + μ v) for nesterov",
            source="torch.optim.SGD; Polyak 1964; Sutskever et al. 2013 in torch's form",
            roundings=8,
            step=_sgd,
        ),
    )
}
