"""Extreme descents of fastgd's backends, which `verify` never says to be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES, UpdateRule
from tests.campaign.attack import Attack, Trial

PROGRAM = """
import numpy as np
import fastgd
X, y = np.array({X}, {dtype!r}), np.array({y}, {dtype!r})
optimizer = fastgd.{optimizer}
asked = {{"lr": {lr}, "epochs": {epochs}, "intercept": {intercept}, "reduction": {reduction!r}}}
print(fastgd.verify({backend!r}, X, y, optimizer=optimizer, **asked))
"""
MOST = {"float32": 37.0, "float64": 200.0}  # of the exponents of ten


def run(trial: Trial) -> None:
    """Verify a random extreme descent of one backend, and see that it is not said to be wrong."""
    while trial.time_is_left():
        case = draw(trial.rng)
        told = {**case, "X": case["X"].tolist(), "y": case["y"].tolist(), "optimizer": in_words(case["rule"], case["values"])}
        program = PROGRAM.format(**told)
        trial.doing(program)
        report = judge(case)
        if report.outcome == "disagrees":
            trial.failed("called wrong", str(report), program)
        trial.tried()


def judge(case: dict[str, Any]) -> fastgd.verification.report.report.Report:
    """Return the report on a case."""
    optimizer = getattr(fastgd, case["rule"].class_name)(**arguments(case["values"]))
    options = {name: case[name] for name in ("lr", "epochs", "intercept", "reduction")}
    return fastgd.verify(case["backend"], case["X"], case["y"], optimizer=optimizer, **options)


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """Return a random case: a rule, hyperparameters over their whole range, data of any size."""
    rule = UPDATE_RULES[str(rng.choice(list(UPDATE_RULES)))]
    dtype = str(rng.choice(list(MOST)))
    n, d = int(rng.integers(1, 20)), int(rng.integers(1, 4))
    size_x, size_y = (10 ** rng.uniform(-MOST[dtype], MOST[dtype]) if rng.random() < 0.6 else 1.0 for _ in range(2))
    X = (rng.normal(size=(n, d)).clip(-3, 3) * size_x).astype(dtype)
    y = (rng.normal(size=n).clip(-3, 3) * size_y).astype(dtype)
    return {
        "rule": rule, "values": {name: value_of(rng, rule, name) for name in rule.hyperparameters}, "X": X, "y": y, "dtype": dtype,
        "lr": 10 ** rng.uniform(-6, 1) if rng.random() < 0.7 else 10 ** rng.uniform(-300, 300), "epochs": int(rng.integers(1, 25)),
        "intercept": bool(rng.random() < 0.4), "reduction": str(rng.choice(["mean", "sum"])), "backend": str(rng.choice(["cpu", "numpy"])),
    }  # fmt: skip


def value_of(rng: np.random.Generator, rule: UpdateRule, name: str) -> float | bool:
    """Return a value of a hyperparameter, often at an edge of its range."""
    default, allowed = rule.hyperparameters[name], rule.range_of(name)
    if allowed.switch:
        return bool(rng.random() < 0.35)
    if rng.random() < 0.3:
        return default
    if allowed.below == 1 or allowed.at_most == 1 or name in ("alpha", "momentum"):
        return float(rng.choice([0.0, 10 ** rng.uniform(-300, -1), 1 - 10 ** rng.uniform(-15, -1), rng.random(), np.nextafter(1, 0)]))
    return float(rng.choice([0.0, 10 ** rng.uniform(-300, 300), 10 ** rng.uniform(-20, 20)]))


def arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an optimizer's class, changed where SGD refuses them."""
    given = dict(values)
    if "beta1" in given:
        given["betas"] = (given.pop("beta1"), given.pop("beta2"))
    if given.get("nesterov"):
        given |= {"dampening": 0.0, "momentum": given["momentum"] or 0.9}
    return given


def in_words(rule: UpdateRule, values: dict[str, Any]) -> str:
    """Return the optimizer as Python code."""
    return f"{rule.class_name}({', '.join(f'{name}={value!r}' for name, value in arguments(values).items())})"


ATTACK = Attack(
    name="verdicts",
    promise="`verify` never calls a backend of fastgd wrong",
    how="Every update rule, hyperparameters over their whole range, data of 1e-200 to 1e200.",
    unit="verdicts",
    share=1,
    run=run,
)
