"""What the tests of the update rules try: for each rule, hyperparameters by the names of the table.

1. A new rule needs an entry in OPTIONS that gives each of its hyperparameters at least once. The
   tests of bits, of lockstep, of the state and of arrays of hyperparameters read OPTIONS.
2. A rule with kernels needs an entry in GOLDEN: the options of its golden values.
3. A rule that torch.optim does not have needs an entry in BY_HAND. Its tests compare with these
   numbers where those of the other rules compare with torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES, UpdateRule
from fastgd.planning.backends import BACKENDS, FOR_TESTS

OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "sgd": {
        "default": {}, "damped": {"momentum": 0.9, "dampening": 0.3}, "maximize": {"maximize": True},
        "nesterov": {"momentum": 0.7, "nesterov": True, "weight_decay": 0.1},
    },
    "adam": {
        "default": {}, "amsgrad": {"amsgrad": True}, "decay": {"weight_decay": 0.1}, "maximize": {"maximize": True},
        "betas": {"beta1": 0.3, "beta2": 0.7}, "no betas": {"beta1": 0.0, "beta2": 0.0}, "eps": {"eps": 0.1},
        "all": {"amsgrad": True, "weight_decay": 0.05, "maximize": True, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
    },
    "adamw": {
        "default": {}, "amsgrad": {"amsgrad": True}, "decay": {"weight_decay": 0.3}, "no decay": {"weight_decay": 0.0},
        "all": {"amsgrad": True, "weight_decay": 0.2, "maximize": True, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
    },
    "rmsprop": {
        "default": {}, "centered": {"centered": True}, "momentum": {"momentum": 0.9}, "decay": {"weight_decay": 0.1},
        "maximize": {"maximize": True}, "alpha": {"alpha": 0.4, "centered": True}, "eps": {"eps": 0.1, "centered": True},
        "all": {"centered": True, "momentum": 0.5, "weight_decay": 0.05, "maximize": True, "alpha": 0.9, "eps": 1e-3},
    },
    "adagrad": {
        "default": {}, "lr_decay": {"lr_decay": 0.1}, "start": {"initial_accumulator_value": 0.5}, "decay": {"weight_decay": 0.1},
        "maximize": {"maximize": True}, "eps": {"eps": 0.1},
        "all": {"lr_decay": 0.05, "initial_accumulator_value": 0.1, "weight_decay": 0.05, "maximize": True, "eps": 1e-3},
    },
    "nadam": {
        "default": {}, "decay": {"weight_decay": 0.1}, "decoupled": {"weight_decay": 0.1, "decoupled_weight_decay": True},
        "momentum_decay": {"momentum_decay": 0.5}, "no momentum_decay": {"momentum_decay": 0.0}, "maximize": {"maximize": True},
        "betas": {"beta1": 0.3, "beta2": 0.7}, "eps": {"eps": 0.1},
        "all": {"weight_decay": 0.05, "decoupled_weight_decay": True, "momentum_decay": 0.1, "maximize": True, "beta1": 0.5, "eps": 1e-3},
    },
    "adadelta": {
        "default": {}, "rho": {"rho": 0.3}, "no rho": {"rho": 0.0}, "rho 1": {"rho": 1.0}, "decay": {"weight_decay": 0.1},
        "maximize": {"maximize": True}, "eps": {"eps": 0.1},
        "all": {"rho": 0.7, "eps": 1e-3, "weight_decay": 0.05, "maximize": True},
    },
    "adamax": {
        "default": {}, "betas": {"beta1": 0.3, "beta2": 0.7}, "no betas": {"beta1": 0.0, "beta2": 0.0}, "eps": {"eps": 0.1},
        "decay": {"weight_decay": 0.1}, "maximize": {"maximize": True},
        "all": {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.05, "maximize": True},
    },
}  # fmt: skip
GOLDEN: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "adam": {"amsgrad": True},
    "adamw": {},
    "rmsprop": {"centered": True, "momentum": 0.5},
    "adagrad": {"lr_decay": 0.01},
    "nadam": {"decoupled_weight_decay": True, "weight_decay": 0.01},
    "adadelta": {"rho": 0.95, "weight_decay": 0.01},
    "adamax": {"beta2": 0.99, "weight_decay": 0.01},
}


class Steps(NamedTuple):
    """Steps of one parameter from empty slots, worked out by hand: no program of ours made them."""

    hyper: dict[str, Any]
    lr: float
    gradients: tuple[float, ...]
    w: tuple[str, ...]  # the start, then w after each step, in decimals


BY_HAND: dict[str, tuple[Steps, ...]] = {}  # of the rules that torch.optim does not have


def wrong_steps(rule: UpdateRule, worked: Steps) -> list[str]:
    """The steps where the row gives other decimals than those worked out by hand."""
    values, w, slots = rule.all_values(worked.hyper), float(worked.w[0]), (0.0,) * len(rule.slots)
    products, wrong = dict.fromkeys(rule.products, 1.0), []
    for steps, (gradient, expected) in enumerate(zip(worked.gradients, worked.w[1:], strict=True)):
        products = dict(zip(rule.products, rule.advance(**values, **products), strict=True))
        w, slots = rule.step(w, slots, gradient, worked.lr, steps, **values, **products)
        shown = f"{w:.{len(expected.partition('.')[2])}f}"
        if shown != expected:
            wrong.append(f"{rule.name}, {worked.hyper}, step {steps + 1}: w is {shown}, by hand {expected}")
    return wrong


def rules_with(hand: str) -> list[str]:
    """The names of the rules that a hand has: "reference", "cpu" or "cuda"."""
    return [name for name, rule in UPDATE_RULES.items() if hand in rule.hands]


def rules_of(backend: str) -> list[str]:
    """The names of the rules that a backend can run."""
    row = (BACKENDS | FOR_TESTS)[backend]
    lacking = BY_HAND if "autograd" in row.algorithms else ()
    return [name for name in rules_with(row.runner) if name not in lacking]


def ways_of(rule: str) -> list[dict[str, str]]:
    """The options of `fit` that choose, one after another, each way to run a rule on the CPU."""
    kernels = [{"algorithm": "moments"}, {"algorithm": "stream"}] if rule in rules_of("cpu") else []
    return kernels + [{"backend": name} for name in ("numpy", "torch") if rule in rules_of(name)]


def assert_refused(rule: str, backend: str) -> None:
    """A backend that lacks the rule says so: a test of every backend ends with this, not with a
    skip."""
    with pytest.raises(ValueError, match=f"not have the update rule '{rule}'|torch.optim has no class {UPDATE_RULES[rule].class_name}"):
        fastgd.fit([1.0, 2, 3], [1.0, 2, 4], optimizer=rule, backend=backend)


def optimizer(rule: str, hyper: dict[str, Any]) -> Any:
    """The optimizer object for hyperparameters, numbers or arrays, by the table's names."""
    row, given = UPDATE_RULES[rule], dict(hyper)
    if {"beta1", "beta2"} & given.keys():
        given["betas"] = tuple(given.pop(name, row.hyperparameters[name]) for name in ("beta1", "beta2"))
    return getattr(fastgd, row.class_name)(**given)
