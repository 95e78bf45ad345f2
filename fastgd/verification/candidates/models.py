"""Models as candidates: a torch module with its optimizer, an object with partial_fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bound.yardstick import LIMIT, Array
from .tasks import Task, TheirCode, Trial, copied

__all__ = ["PartialFitCandidate", "TorchCandidate"]


@dataclass
class TorchCandidate:
    """A linear torch module and its optimizer, trained here: full batch, mean squared error."""

    module: Any
    optimizer: Any
    name: str = ""
    limit: float = LIMIT

    def __post_init__(self) -> None:
        self.name = f"{type(self.module).__name__} + {type(self.optimizer).__name__}"

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield ((), the history), for the one fit that a model can make."""
        import torch

        if task.shape:
            raise ValueError(f"a torch module is one fit, but X and y have leading axes {task.shape}")
        parameters = dict(self.module.named_parameters())
        if {name: p.numel() for name, p in parameters.items()} != {"weight": task.X.shape[-1]} | ({"bias": 1} if task.intercept else {}):
            sizes = ", ".join(f"{name} {tuple(p.shape)}" for name, p in parameters.items())
            needed = f"torch.nn.Linear({task.X.shape[-1]}, 1, bias={task.intercept})"
            raise ValueError(f"the torch module must be linear, like {needed}; its parameters are {sizes}")
        X, y = torch.tensor(task.X), torch.tensor(task.y)
        kind = next(iter(parameters.values())).dtype
        if kind != X.dtype:
            has = str(kind).removeprefix("torch.")
            raise ValueError(f"the torch module is {has}, the data are {task.X.dtype}: module.to({X.dtype}), or dtype={has!r}")

        def row() -> Array:
            return np.concatenate([p.detach().numpy().reshape(-1).copy() for p in parameters.values()])

        with torch.no_grad():
            if task.w0 is not None:
                self.module.weight.copy_(torch.tensor(task.start(())[: task.X.shape[-1]]).reshape(self.module.weight.shape))
                if task.intercept:
                    self.module.bias.copy_(torch.tensor(task.start(())[-1:]))

        def step() -> Any:
            loss = torch.nn.functional.mse_loss(self.module(X).squeeze(-1), y, reduction=task.reduction)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return loss

        trial = Trial(
            None, None, ["trained here: mse_loss, zero_grad, backward, step"], dtype=task.X.dtype, start_known=task.w0 is not None
        )
        rows, losses = [row()], []
        for epoch in range(task.counted_epochs()):
            with TheirCode(trial, f"raised in epoch {epoch + 1}"):
                loss = task.callers.run(step)
                losses.append(loss.item() / (len(y) if task.reduction == "sum" else 1))
                rows.append(row())
            if trial.failure:
                break
        trial.w, trial.loss = np.array(rows), np.array(losses)
        yield (), trial


@dataclass
class PartialFitCandidate:
    """An object whose partial_fit(X, y) makes one full-batch step."""

    model: Any
    name: str = ""
    limit: float = LIMIT

    def __post_init__(self) -> None:
        self.name = type(self.model).__name__

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield ((), the history), for the one fit that a model can make."""
        if task.shape:
            raise ValueError(f"a model is one fit, but X and y have leading axes {task.shape}")
        rows = [task.start(())]
        trial = Trial(None, None, ["each partial_fit(X, y) is read as one epoch, from zeros"], dtype=task.X.dtype)
        for epoch in range(task.counted_epochs()):
            with TheirCode(trial, f"raised in epoch {epoch + 1}"):
                task.callers.run(self.model.partial_fit, *task.data(()))
                parts = [self.model.coef_, self.model.intercept_] if task.intercept else [self.model.coef_]
                rows.append(np.concatenate([copied(part, "coef_").ravel() for part in parts]).reshape(rows[0].shape))
            if trial.failure:
                break
        trial.w = np.array(rows)
        yield (), trial
