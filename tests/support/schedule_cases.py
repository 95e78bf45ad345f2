"""Schedules that tests try, as names and parameters, and how fastgd and torch construct them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastgd

Spec = tuple[str, dict[str, Any]]


def _times(t: int) -> float:
    return 0.9 + 0.01 * (t % 7)


SIMPLE: dict[str, Spec] = {
    "step": ("StepLR", {"step_size": 3}),
    "step 7": ("StepLR", {"step_size": 7, "gamma": 0.3}),
    "milestones": ("MultiStepLR", {"milestones": [5, 3, 3, 50, 0], "gamma": 0.7}),
    "constant": ("ConstantLR", {}),
    "constant 0": ("ConstantLR", {"factor": 0.3, "total_iters": 0}),
    "constant 20": ("ConstantLR", {"factor": 0.7, "total_iters": 20}),
    "linear": ("LinearLR", {}),
    "linear to 0": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.0, "total_iters": 30}),
    "linear 0": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.9, "total_iters": 0}),
    "exponential": ("ExponentialLR", {"gamma": 0.97}),
    "polynomial": ("PolynomialLR", {}),
    "polynomial 100": ("PolynomialLR", {"total_iters": 100, "power": 0.7}),
    "polynomial 250": ("PolynomialLR", {"total_iters": 250, "power": 2.0}),
    "cosine 1": ("CosineAnnealingLR", {"T_max": 1}),
    "cosine 13": ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.001}),
    "cosine 300": ("CosineAnnealingLR", {"T_max": 300}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 7}),
    "restarts doubled": ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.01}),
    "restarts tripled": ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    "lambda": ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + 0.3 * t)}),
    "multiplicative": ("MultiplicativeLR", {"lr_lambda": _times}),
    "cyclic": ("CyclicLR", {"base_lr": 0.001, "max_lr": 0.03, "step_size_up": 13, "cycle_momentum": False}),
    "cyclic halved": (
        "CyclicLR",
        {"base_lr": 0.001, "max_lr": 0.03, "step_size_up": 5, "step_size_down": 7, "mode": "triangular2", "cycle_momentum": False},
    ),
    "cyclic exponential": (
        "CyclicLR", {"base_lr": 0.001, "max_lr": 0.03, "step_size_up": 5, "mode": "exp_range", "gamma": 0.99, "cycle_momentum": False},
    ),
    "cyclic scaled": (
        "CyclicLR",
        {"base_lr": 0.001, "max_lr": 0.03, "step_size_up": 5, "scale_fn": lambda t: 0.98**t, "scale_mode": "iterations",
         "cycle_momentum": False},
    ),
    "one cycle": ("OneCycleLR", {"max_lr": 0.03, "total_steps": 300, "cycle_momentum": False}),
    "one cycle linear": (
        "OneCycleLR",
        {"max_lr": 0.03, "epochs": 30, "steps_per_epoch": 10, "pct_start": 0.2, "anneal_strategy": "linear", "cycle_momentum": False},
    ),
    "one cycle thrice": (
        "OneCycleLR", {"max_lr": 0.03, "total_steps": 301, "three_phase": True, "div_factor": 3.0, "cycle_momentum": False},
    ),
    "one cycle down": ("OneCycleLR", {"max_lr": 0.03, "total_steps": 301, "pct_start": 0.0, "cycle_momentum": False}),
}  # fmt: skip

ONE_CYCLE: Spec = ("OneCycleLR", {"max_lr": 0.03, "total_steps": 40})
CYCLIC: Spec = ("CyclicLR", {"base_lr": 0.001, "max_lr": 0.03, "step_size_up": 3, "base_momentum": 0.0, "max_momentum": 0.7})


def in_turn(*specs: Spec, milestones: list[int]) -> Spec:
    """One after the other."""
    return "SequentialLR", {"schedulers": list(specs), "milestones": milestones}


def together(*specs: Spec) -> Spec:
    """All in every epoch."""
    return "ChainedScheduler", {"schedulers": list(specs)}


FEW: dict[str, Spec] = {  # for tests that take longer
    **{name: SIMPLE[name] for name in ("step", "milestones", "linear", "exponential", "cosine 13", "restarts doubled", "lambda")},
    **{name: SIMPLE[name] for name in ("constant", "polynomial 100", "multiplicative", "cyclic halved", "one cycle")},
    "warm-up, cosine": in_turn(SIMPLE["linear"], SIMPLE["cosine 13"], milestones=[4]),
    "chained": together(SIMPLE["constant"], SIMPLE["exponential"]),
}


MOVING: dict[str, Spec] = {  # those that move momentum, or beta1, too
    "one cycle": ONE_CYCLE,
    "one cycle thrice": ("OneCycleLR", {**ONE_CYCLE[1], "total_steps": 221, "three_phase": True, "anneal_strategy": "linear"}),
    "cyclic": CYCLIC,
    "cyclic halved": ("CyclicLR", {"base_lr": 0.001, "max_lr": 0.03, "step_size_up": 5, "step_size_down": 7, "mode": "triangular2"}),
    "warm-up, one cycle": in_turn(SIMPLE["linear"], ONE_CYCLE, milestones=[3]),
    "one cycle, cyclic": in_turn(ONE_CYCLE, CYCLIC, milestones=[9]),
    "chained": together(CYCLIC, SIMPLE["exponential"]),
}


def ours(spec: Spec) -> Any:
    """The schedule of fastgd."""
    return _construct(spec, lambda name, values: getattr(fastgd.schedules, name)(**values))


def torchs(spec: Spec, optimizer: Any) -> Any:
    """The scheduler of torch."""
    import torch

    return _construct(spec, lambda name, values: getattr(torch.optim.lr_scheduler, name)(optimizer=optimizer, **values))


def _construct(spec: Spec, make: Callable[[str, dict[str, Any]], Any]) -> Any:
    name, values = spec[0], dict(spec[1])
    if "schedulers" in values:
        values["schedulers"] = [_construct(one, make) for one in values["schedulers"]]
    return make(name, values)


def sets_rates(spec: Spec) -> bool:
    """Whether no lr is given beside the schedule."""
    return spec[0] in ("CyclicLR", "OneCycleLR") or ("schedulers" in spec[1] and sets_rates(spec[1]["schedulers"][0]))


def torchs_rates(spec: Spec, lr: float, epochs: int) -> list[float]:
    """The rate of each epoch, of a loop as torch users write it."""
    return torchs_table(spec, lr, epochs)[0]


def torchs_table(spec: Spec, lr: float, epochs: int, optimizer: str = "SGD") -> tuple[list[float], list[float]]:
    """The rate, and momentum or beta1, of each epoch, of a loop as torch users write it."""
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    made = getattr(torch.optim, optimizer)([parameter], lr=lr)
    scheduler, rates, momenta, group = torchs(spec, made), [], [], made.param_groups[0]
    for epoch in range(epochs):
        rates.append(float(group["lr"]))
        momenta.append(float(group["betas"][0] if "betas" in group else group["momentum"]))
        made.step()
        if epoch < epochs - 1:  # a cycle may end there
            scheduler.step()
    return rates, momenta
