"""Models as candidates: a torch module with its optimizer, an object with partial_fit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...schedules.table import read_one_schedule
from ..bound.yardstick import LIMIT, Array
from .tasks import Task, TheirCode, Trial, copied

__all__ = ["PartialFitCandidate", "TorchCandidate", "decays_of", "momentum_of"]


def momentum_of(optimizer: Any) -> float:
    """Return the momentum, or beta1, that a torch optimizer has now; 0: it has none."""
    group = optimizer.param_groups[0]
    return float(group["momentum"] if "momentum" in group else group.get("betas", (0.0,))[0])


def decays_of(optimizer: Any, parameters: list[Any]) -> Array | None:
    """Return the weight decay of each number of the parameters, (D,); None: they have one."""
    given = {id(parameter): group.get("weight_decay", 0.0) for group in optimizer.param_groups for parameter in group["params"]}
    found = [float(given.get(id(parameter), 0.0)) for parameter in parameters]
    if len({given[key] for key in given}) < 2:
        return None
    return np.repeat(found, [parameter.numel() for parameter in parameters])


def _needs_more(step: Any) -> bool:
    """Return whether the step of a scheduler needs to be told something."""
    try:
        inspect.signature(step).bind()
    except (TypeError, ValueError) as error:
        return isinstance(error, TypeError)
    return False


@dataclass
class TorchCandidate:
    """A linear torch module and its optimizer, trained here: full batch, mean squared error."""

    module: Any
    optimizer: Any
    scheduler: Any = None
    name: str = ""
    limit: float = LIMIT
    tells_decays: bool = True  # the weight decay of each parameter can be told; of recorded rows, where the optimizer was watched
    has_own_rule: bool = False  # the rule that is asked for is that of the optimizer

    def __post_init__(self) -> None:
        self.name = f"{type(self.module).__name__} + {type(self.optimizer).__name__}"

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield ((), the history), for the one fit that a model can make."""
        import torch

        if task.shape:
            raise ValueError(f"a torch module is one fit, but X and y have leading axes {task.shape}")
        if task.batches is not None:
            raise ValueError(
                "a torch module is trained here on all samples alike: record your own loop, with fastgd.Recorder().watch(optimizer)"
            )
        if self.scheduler is not None and _needs_more(self.scheduler.step):
            raise ValueError(
                f"the rates of {type(self.scheduler).__name__} depend on what its step is told, such as the loss: step it in a loop of "
                "your own, record that with fastgd.Recorder().watch(optimizer), and give optimizer=, whose rates are then judged"
            )
        X, y = torch.tensor(task.X), torch.tensor(task.y)
        lazy = [p for p in self.module.parameters() if isinstance(p, torch.nn.parameter.UninitializedParameter)]
        if lazy:
            self.module(X[:1].to(lazy[0].dtype))  # the first call makes the parameters
        parameters = self._parameters(task, X)
        kind = parameters[0].dtype
        if kind != X.dtype:
            has = str(kind).removeprefix("torch.")
            raise ValueError(f"the torch module is {has}, the data are {task.X.dtype}: module.to({X.dtype}), or dtype={has!r}")

        def row() -> Array:
            return np.concatenate([p.detach().numpy().reshape(-1).copy() for p in parameters])

        with torch.no_grad():
            if task.w0 is not None:
                starts = np.split(task.start(()), [task.X.shape[-1]])
                for parameter, start in zip(parameters, starts, strict=False):
                    parameter.copy_(torch.tensor(start).reshape(parameter.shape))

        added, told = self._penalty(task)

        def step() -> Any:
            loss = torch.nn.functional.mse_loss(self.module(X).reshape(y.shape), y, reduction=task.reduction.removeprefix("half_"))
            loss = loss / 2 if task.reduction.startswith("half_") else loss
            loss = loss + added * parameters[0].square().sum() if added else loss
            self.optimizer.zero_grad()
            if loss.requires_grad:  # not of a module that is frozen
                loss.backward()
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step()
            return loss

        trial = Trial(None, None, told, dtype=task.X.dtype, start_known=task.w0 is not None, copied=True, knows_losses=True)
        trial.own_rate = self._value("lr")
        if any(float(state.get("step", 1)) for state in self.optimizer.state.values()):
            trial.notes.append("the torch optimizer has made steps before, and goes on with the state that it has: give a new one")
        frozen = [name for name, parameter in self.module.named_parameters() if not parameter.requires_grad]
        if frozen:
            trial.notes.append(f"requires_grad is False of {', '.join(frozen)}")
        rows, losses, rates, momenta = [row()], [], [], []
        for epoch in range(task.counted_epochs()):
            rates.append(self._value("lr"))
            momenta.append(momentum_of(self.optimizer))
            with TheirCode(trial, f"raised in epoch {epoch + 1}"):
                loss = task.callers.run(step)
                losses.append(loss.item() / (len(y) if task.reduction.endswith("sum") else 1))
                rows.append(row())
            if trial.failure:
                break
        trial.w, trial.loss = np.array(rows), np.array(losses)
        if task.ridge is None and self.has_own_rule:
            trial.take_decays(decays_of(self.optimizer, parameters))
        name = type(self.scheduler).__name__
        if self.scheduler is not None and task.schedule is None and task.rate(()) == self._value("initial_lr"):
            trial.rates, trial.own_rate = np.array(rates, np.float64), None
            trial.notes.append(f"the learning rates are those of {name}: give schedule= to have them judged")
        if self.scheduler is not None and self.has_own_rule and len(set(momenta)) > 1:
            trial.momenta = np.array(momenta, np.float64)
            trial.notes.append(f"the momentum of each epoch is that of {name}")
        yield (), trial

    def _penalty(self, task: Task) -> tuple[float, list[str]]:
        """Return the penalty that is added to the loss here, and what is said of the training.

        Where the torch optimizer has a weight decay, that is its penalty.
        """
        loss, of_sum = "mse_loss", task.reduction.endswith("sum")
        decays = self._values("weight_decay")
        penalty = 0.0 if task.ridge is None else task.ridge * (task.X.shape[-2] if of_sum else 1)
        notes = []
        if task.ridge is not None and any(decays):
            has = ", ".join(f"{decay:g}" for decay in decays)
            where = " for the weights and 0 for the intercept" if task.intercept else ""
            notes = [
                f"the penalty is the weight_decay of the torch optimizer, {has}; the gradient of ridge={task.ridge:g} is that of "
                f"weight_decay={2 * penalty:g}{where}"
            ]
            penalty = 0.0
        elif penalty:
            loss += f" + {penalty:g} * weight.square().sum()"
        return penalty, [f"trained here: {loss}, zero_grad, backward, step", *notes]

    def _parameters(self, task: Task, X: Any) -> list[Any]:
        """Return the weight, and the bias where there is an intercept, whatever their names are."""
        named, d = dict(self.module.named_parameters()), task.X.shape[-1]
        sizes = [p.numel() for p in named.values()]
        if sorted(sizes) != sorted([d] + [1] * task.intercept):
            told = ", ".join(f"{name} {tuple(p.shape)}" for name, p in named.items())
            mend = ""
            if sorted(sizes) == sorted([d, 1]):
                mend = f"; it has an intercept, {self._bias(X[:1])}: give intercept=True"
            elif sizes == [d]:
                mend = "; it has no intercept: give intercept=False"
            needed = f"torch.nn.Linear({d}, 1, bias={task.intercept})"
            raise ValueError(f"the torch module must be linear, like {needed}; its parameters are {told}{mend}")
        if not task.intercept:
            return list(named.values())
        bias = named.pop(self._bias(X[:1]))
        return [*named.values(), bias]

    def _bias(self, x: Any) -> str:
        """Return the name of the parameter that the output at 0 depends on."""
        import torch

        named = dict(self.module.named_parameters())
        kind = next(iter(named.values())).dtype
        frozen = [parameter for parameter in named.values() if not parameter.requires_grad]
        try:
            for parameter in frozen:
                parameter.requires_grad_(True)
            at_0 = self.module(torch.zeros_like(x, dtype=kind)).sum()
            slopes = torch.autograd.grad(at_0, list(named.values()), allow_unused=True) if at_0.requires_grad else [None] * len(named)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
        found = [name for name, slope in zip(named, slopes, strict=True) if slope is not None and slope.abs().sum() > 0]
        if len(found) != 1:
            raise ValueError(f"the torch module must be linear: its output at 0 depends on {', '.join(found) or 'no parameter'}")
        return found[0]

    def _value(self, name: str) -> Any:
        """Return a hyperparameter of the torch optimizer; None where it has none of this name."""
        values = self._values(name)
        if not values:
            return None
        if any(value != values[0] for value in values):
            if name == "weight_decay" and self.tells_decays:
                return max(values)  # `decays_of` has that of each parameter
            mend = "; fastgd.Recorder().watch(optimizer) knows which parameter each is of" if name == "weight_decay" else ""
            raise ValueError(f"the torch optimizer has groups with different {name}: one value is judged here{mend}")
        return tuple(map(float, values[0])) if isinstance(values[0], tuple) else type(values[0])(values[0])

    def _values(self, name: str) -> list[Any]:
        """Return a hyperparameter of each group of the torch optimizer that has it."""
        return [group[name] for group in self.optimizer.param_groups if name in group]

    def completed(self, asked_for: dict[str, Any], kinds: tuple[type, ...]) -> dict[str, Any]:
        """Return what is asked for, with the rule, the options and the rate of the torch optimizer.

        An optimizer object of ours that was asked for stands. kinds: the classes of ours. Beside a
        ridge the weight decay of the torch optimizer is how the penalty is made.
        """
        given, lr, ridge = asked_for["optimizer"], asked_for["lr"], asked_for["ridge"]
        if given == "sgd":
            self.has_own_rule = True
            given = self._rule(kinds, without=() if ridge is None else ("weight_decay",))
        decays = {decay for decay in self._values("weight_decay") if decay}
        if self.module is None and ridge is not None and decays:  # both are asked for
            meant = 2 * ridge * (np.shape(asked_for["y"])[0] if asked_for["reduction"].endswith("sum") else 1)
            if decays != {meant}:
                has = ", ".join(f"{decay:g}" for decay in sorted(decays))
                raise ValueError(
                    f"ridge={ridge:g} has the gradient of weight_decay={meant:g}, and the torch optimizer has weight_decay={has}: "
                    "give ridge or weight_decay, not both"
                )
        has_rate = lr is not None or getattr(given, "lr", None) is not None
        own, schedule = self._value("lr"), read_one_schedule(asked_for["schedule"])
        if self.scheduler is not None or schedule is not None:  # torch's scheduler may have changed lr when it was constructed
            first = self._value("initial_lr")
            own = None if schedule is not None and schedule.sets_rates else own if first is None else first
        return asked_for | {"optimizer": given, "lr": lr if has_rate or own is None else float(own)}

    def _rule(self, kinds: tuple[type, ...], without: tuple[str, ...]) -> Any:
        """Return the optimizer of ours that is the torch optimizer; `without`: options left out."""
        ours: dict[str, Any] = {kind.__name__: kind for kind in kinds}
        name = next((base.__name__ for base in type(self.optimizer).__mro__ if base.__name__ in ours), None)
        if name is None:
            if type(self.optimizer).__module__.startswith("torch.optim"):
                raise ValueError(f"the torch optimizer {type(self.optimizer).__name__} is not judged: choose one of {', '.join(ours)}")
            return "sgd"  # the user's own optimizer
        name = "AdamW" if name == "Adam" and self._value("decoupled_weight_decay") else name
        values = {field.name: self._value(field.name) for field in fields(ours[name]) if field.name not in ("lr", *without)}
        return ours[name](**{name: value for name, value in values.items() if value is not None})


@dataclass
class PartialFitCandidate:
    """An object whose partial_fit(X, y) makes one epoch: one full-batch step, or scikit-learn's."""

    model: Any
    name: str = ""
    limit: float = LIMIT
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.name = type(self.model).__name__

    def completed(self, asked_for: dict[str, Any], kinds: tuple[type, ...]) -> dict[str, Any]:
        """Return what is asked for; of scikit-learn's SGDRegressor as what it does.

        It makes a step for each sample, in order where shuffle=False, on half of the square.
        """
        if type(self.model).__name__ != "SGDRegressor" or type(self.model).__module__.partition(".")[0] != "sklearn":
            return asked_for
        needed = {"loss": "squared_error", "penalty": None, "learning_rate": "constant", "shuffle": False, "average": False}
        other = {name: value for name, value in needed.items() if getattr(self.model, name) != value}
        if other:
            told = ", ".join(f"{name}={value!r}" for name, value in other.items())
            raise ValueError(f"an SGDRegressor is judged with {told}: it makes a step for each sample, which nothing else may change")
        lr = self.model.eta0 if asked_for["lr"] is None else asked_for["lr"]
        self.notes = ("SGDRegressor makes a step for each sample, on half of the square: judged so, with half of eta0",)
        return asked_for | {"lr": float(lr) / 2, "batch_size": asked_for["batch_size"] or 1, "intercept": bool(self.model.fit_intercept)}

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield ((), the history), for the one fit that a model can make."""
        if task.shape:
            raise ValueError(f"a model is one fit, but X and y have leading axes {task.shape}")
        rows = [task.start(())]
        trial = Trial(None, None, ["each partial_fit(X, y) is read as one epoch, from zeros", *self.notes], dtype=task.X.dtype)
        for epoch in range(task.counted_epochs()):
            with TheirCode(trial, f"raised in epoch {epoch + 1}"):
                task.callers.run(self.model.partial_fit, *task.data(()))
                parts = [self.model.coef_, self.model.intercept_] if task.intercept else [self.model.coef_]
                rows.append(np.concatenate([copied(part, "coef_").ravel() for part in parts]).reshape(rows[0].shape))
            if trial.failure:
                break
        trial.w = np.array(rows)
        yield (), trial
