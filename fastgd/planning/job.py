"""Job: a fit, checked and planned."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..data.fit_order import FitOrder
from ..data.problem import Problem
from ..input.arrays import broadcast
from ..input.messages import counted
from ..input.options import MOST
from ..kernels.update_rules import UpdateRule
from ..results.buffers import Outputs
from ..results.result import State
from .plan import Plan


@dataclass
class Job:
    """A fit, checked: what every task needs to know."""

    problem: Problem
    order: FitOrder
    plan: Plan
    rule: UpdateRule
    rates: np.ndarray | None  # learning rates, leading axes broadcast; None: the safe rate of each fit
    hyper: tuple[np.ndarray, ...]  # and derived values, in the order of the kernels' table
    epochs: int
    reduction: str
    tol: float
    every: int
    start: np.ndarray  # (…, D) float64: w0 and intercept0, leading axes broadcast
    state: State | None
    outputs: Outputs
    memory_limit: int | None = None  # bytes

    rooms: list[Any] = field(default_factory=list)  # moments of a task's fits that no task has at the moment

    def take_moments(self, count: int) -> Any:
        """Room for so many moments, used again and again: its first touch would take as long as the smaller ones of them."""
        from ..kernels import cpu

        try:
            return self.rooms.pop()
        except IndexError:
            return cpu.Moments.empty(count, count, self.problem.n_parameters, self.problem.dtype)

    @cached_property
    def numbers(self) -> np.ndarray:
        """0, 1, …: as many as a task has fits."""
        return np.arange(self.plan.fits_per_task)


def order_fits(problem: Problem, shapes: dict[str, tuple[int, ...]], starts: dict[str, np.ndarray], state: State | None) -> FitOrder:
    """The shape of the results and the order of computation."""
    shapes = {"X and y": problem.leading} | shapes
    shapes |= {name: values.shape[:-1] if name == "w0" else values.shape for name, values in starts.items()}
    if state is not None:
        shapes["state"] = state.epoch.shape
    shape = broadcast(shapes)
    if math.prod(shape) * problem.n_parameters * 8 > MOST:
        fits = " × ".join(map(str, shape))
        raise ValueError(f"too many fits: {fits}, with {counted(problem.n_parameters, 'parameter')} each, is more than 2^63 bytes")
    return FitOrder.of(shape, problem.gram_leading, problem.y.leading)
