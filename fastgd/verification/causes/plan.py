"""What of the samples each step uses; the steps on batches that were asked for, and their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..bound.batches import BatchSteps, Ends, Rule, Step
from ..bound.yardstick import Array

__all__ = ["Parts", "Plan"]


@dataclass(frozen=True)
class Plan:
    """The steps of each epoch."""

    steps: BatchSteps
    epochs: list[list[Step]]
    by_step: bool  # rows are w after each step, not after each epoch
    several: bool  # rows hide steps, or their divisors differ: they are judged by their ends
    rates: Callable[[int], Array] | None = None  # rates(k): those of a schedule for epochs 0 … k − 1

    def rows_of(self, epochs: list[list[Step]]) -> list[list[Step]]:
        """Return the steps from each row to the next."""
        return [[step] for epoch in epochs for step in epoch] if self.by_step else epochs

    def begins(self, epochs: list[list[Step]]) -> list[bool]:
        """Return whether an epoch begins with the steps from each row."""
        return [k == 0 for epoch in epochs for k in range(len(epoch))] if self.by_step else [True] * len(epochs)

    def changed(self, change: Callable[[Step], Step]) -> list[list[Step]]:
        """Return the steps of each epoch, changed."""
        return [[change(step) for step in epoch] for epoch in self.epochs]

    def ends(self, rows: Array, rule: Rule) -> Ends:
        """Return where the steps that were asked for end, from each of the rows but the last."""
        return self.steps.ends(rows, self.rows_of(self.epochs), rule)

    @property
    def sizes(self) -> set[float]:
        """What the means of the batches are divided by."""
        return {self.steps.size(step.batch) for epoch in self.epochs for step in epoch} - {0.0}


class Parts(NamedTuple):
    """What of the samples each step uses."""

    weights: Array | None  # (n,)
    batches: Sequence[Array] | None = None  # the samples of each step; None: all
    epochs: Array | None = None  # the epoch of each step, where an epoch has several
    of_loss: bool = False  # whether the losses are those of the batches too
    plan: Plan | None = None  # of the batches

    def later(self, first: int) -> Parts:
        """Return those of the steps from this one on."""
        batches = None if self.batches is None else self.batches[first:]
        plan = None if first else self.plan
        return self._replace(batches=batches, epochs=None if self.epochs is None else self.epochs[first:], plan=plan)
