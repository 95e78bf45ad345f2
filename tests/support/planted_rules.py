"""A plugin of pytest, `-p tests.support.planted_rules`: two update rules of the references alone.

1. Lion, which torch.optim does not have; Adamax, which it has, without its kernels. All that the
   first part of docs/contributing/add-a-rule.md asks for is here. The parts in docs/ are added to
   what `parts_of_a_rule.read` reads.
2. pytest imports this before it collects the tests, which take their rules from the table.
3. Lion's sign jumps, so a Lion of fastgd would need a bound of its own (docs/error-bound.md, "Rules
   that jump"). In the data of these tests no two errors change the sign together.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np

import fastgd
from fastgd import optimizers
from fastgd.input import annotations
from fastgd.kernels.update_rules import DECAY_RATE, NOT_NEGATIVE, UPDATE_RULES, UpdateRule


def _lion(w, slots, gradient, lr, steps, *, beta1, beta2, weight_decay, maximize):
    (average,) = slots
    if maximize:
        gradient = -gradient
    direction = np.sign(beta1 * average + (1 - beta1) * gradient)
    w = w * (1 - lr * weight_decay)
    return w - lr * direction, (beta2 * average + (1 - beta2) * gradient,)


UPDATE_RULES["adamax"] = dataclasses.replace(UPDATE_RULES["adamax"], hands=frozenset({"reference"}))  # type: ignore[index]
optimizers.Adamax.rule = UPDATE_RULES["adamax"]
UPDATE_RULES["lion"] = UpdateRule(  # type: ignore[index]
    class_name="Lion",
    code=1001,
    slots=("exp_avg",),
    hyperparameters={"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "maximize": False},
    ranges={"beta1": DECAY_RATE, "beta2": DECAY_RATE, "weight_decay": NOT_NEGATIVE},
    formula="w ← w − lr λ w;  w ← w − lr sign(β₁ m + (1−β₁) g);  m ← β₂ m + (1−β₂) g",
    source="Chen et al. 2023",
    roundings=8,  # decay 4, m 4
    step=_lion,
    default_lr=1e-4,
    hands=frozenset({"reference"}),
)


@dataclasses.dataclass(frozen=True)
class Lion:
    """The sign of an average of gradients.

    Parameters
    ----------
    lr : float or array, optional
        Learning rate.
    betas : pair of float or array, default (0.9, 0.99)
        Decay rates.
    weight_decay : float or array, default 0
        Decoupled weight decay.
    maximize : bool or array, default False
        Ascend instead of descend.
    """

    rule: ClassVar[UpdateRule] = UPDATE_RULES["lion"]
    lr: Any = None
    betas: Any = (0.9, 0.99)
    weight_decay: Any = 0.0
    maximize: Any = False


annotations.OptimizerName = Literal[annotations.OptimizerName, "lion"]  # type: ignore[misc]
optimizers._CLASSES["lion"] = fastgd.Lion = Lion  # type: ignore[attr-defined]
fastgd.__all__.append("Lion")

from tests.support import parts_of_a_rule, rule_options  # noqa: E402  when the rules are in the table

rule_options.OPTIONS["lion"] = {
    "default": {},
    "betas": {"beta1": 0.3, "beta2": 0.7},
    "all": {"beta1": 0.5, "beta2": 0.9, "weight_decay": 0.05, "maximize": True},
}
rule_options.BY_HAND["lion"] = (
    # m: 0, 0.01, 0; 0.9 m + 0.1 g: 0.1, −0.0901, 0.2
    rule_options.Steps({}, 0.125, (1.0, -0.991, 2.0), ("1", "0.875", "1.000", "0.875")),
    # w: 1 · (1 − 0.5 · 0.5) + 0.5, then 1.25 · 0.75 + 0.5
    rule_options.Steps({"weight_decay": 0.5, "maximize": True}, 0.5, (1.0, 1.0), ("1", "1.25", "1.4375")),
)
_PARTS = {
    parts_of_a_rule.OPTIONS_PAGE: f"\n{parts_of_a_rule.row_of_the_docs(UPDATE_RULES['lion'])}\n",
    parts_of_a_rule.ARITHMETIC: "\n**lion**\n",
}


def _read(path, read=parts_of_a_rule.read):
    return read(path) + _PARTS.get(path, "")


parts_of_a_rule.read = _read
