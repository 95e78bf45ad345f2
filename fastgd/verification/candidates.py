"""What can be verified: each kind of candidate is run, or read, as the rows of w and the losses of every fit.

1. A candidate gets copies of the data, in the precision that is judged, and of its own w. What it changes in them is noticed and named,
   and changes nothing that is judged.
2. What a candidate raises is a finding: the rows recorded so far are judged. A function is run twice, because a descent that is not
   the same twice cannot be relied on.
3. Kernels are reached through `fit`, like everybody's.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..arguments import read_array, shown
from ..fitting import fit
from ..result import FitResult, History, State
from .observation import LIMIT
from .yardstick import Array

__all__ = ["Candidate", "Task", "Trial", "read_candidates"]

OURS = 2.0  # the share of the bound that our own kernels stay below (DESIGN.md, section 6)
_OWN_BACKENDS = ("cpu", "cuda", "auto")
_MOMENTS = State.algorithm_names.index("moments")


@dataclass(frozen=True)
class Task:
    """What a candidate is asked to do; "…" are the leading axes `shape`."""

    X: Array  # (…, n, d) in the dtype that is judged
    y: Array  # (…, n)
    lr: Array | None  # (…); None: the safe rate of fit
    epochs: int | None
    optimizer: Any
    reduction: str
    intercept: bool
    w0: Array | None  # (…, D)
    shape: tuple[int, ...]
    one_feature: bool  # X was given 1-D: functions get it so

    @property
    def n_parameters(self) -> int:
        """Parameters, the intercept counted."""
        return self.X.shape[-1] + self.intercept

    def start(self, index: tuple[int, ...]) -> Array:
        """Return the start of one fit: w0, or zeros, in the data's dtype."""
        start = np.zeros(self.n_parameters) if self.w0 is None else self.w0[index]
        return start.astype(self.X.dtype)

    def counted_epochs(self) -> int:
        """Return how many epochs to run."""
        if self.epochs is None:
            raise ValueError("epochs is needed: how many updates the candidate is to make")
        return self.epochs

    def rate(self, index: tuple[int, ...]) -> float:
        """Return the learning rate of one fit."""
        if self.lr is None:
            raise ValueError("lr is needed: the learning rate that the candidate is to use")
        return float(self.lr[index])


@dataclass
class Trial:
    """What a candidate made of one fit."""

    w: Any
    loss: Any = None
    notes: list[str] = field(default_factory=list)
    failure: str | None = None  # why it stopped, with its traceback
    altered: bool = False  # it changed X or y
    held_higher: bool = False
    dtype: Any = None  # of the arithmetic; None: as the record says
    lr: float | None = None  # what was used, where the task left it open
    start_known: bool = True  # row 0 is to be w0


class Candidate(Protocol):
    """Something that descends."""

    name: str
    limit: float

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, what came of it)."""


def read_candidates(candidate: Any) -> list[Candidate]:
    """Find out what was given."""
    if isinstance(candidate, str):
        return [_Backend(candidate)]
    if isinstance(candidate, list | tuple) and candidate and all(isinstance(part, str) for part in candidate):
        return [_Backend(name) for name in candidate]
    if isinstance(candidate, FitResult | History):
        return [_of_result(candidate)]
    if isinstance(candidate, tuple) and len(candidate) == 2 and hasattr(candidate[0], "named_parameters") and hasattr(candidate[1], "zero_grad"):
        return [_Torch(*candidate)]
    if isinstance(candidate, tuple) and len(candidate) == 2:
        return [_Recorded(candidate[0], candidate[1])]
    if hasattr(candidate, "partial_fit"):
        return [_PartialFit(candidate)]
    if callable(candidate) and not isinstance(candidate, type):
        return [_Function(candidate)]
    if isinstance(candidate, list | np.ndarray) or hasattr(candidate, "__array__"):
        return [_Recorded(candidate, None)]
    raise TypeError(
        "candidate must be a backend's name or a list of names, a FitResult with history, arrays w or (w, loss), a function "
        f"step(w, X, y, lr) or train(X, y, lr, epochs, w0), or a pair (torch module, torch optimizer); it is {shown(candidate)}"
    )


@dataclass
class _Backend:
    """One of fastgd's backends, through `fit`."""

    name: str

    @property
    def limit(self) -> float:
        return OURS if self.name in _OWN_BACKENDS else LIMIT

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        options: dict[str, Any] = {"intercept": True} if task.intercept else {}
        if task.w0 is not None:
            options["w0"] = task.w0[..., : task.X.shape[-1]]
            options |= {"intercept0": task.w0[..., -1]} if task.intercept else {}
        result = fit(
            task.X, task.y, lr=task.lr, epochs=task.counted_epochs(), optimizer=task.optimizer, reduction=task.reduction, history=True,
            backend=self.name, **options,
        )  # fmt: skip
        assert result.history is not None
        w, loss = _joined(result.history), np.asarray(result.history.loss)
        for index in np.ndindex(task.shape):
            moments = int(result.state.algorithm[index]) == _MOMENTS
            yield index, Trial(
                w[index], loss[index], held_higher=moments and w.dtype == np.float32, dtype=task.X.dtype, lr=float(np.asarray(result.lr)[index])
            )


def _joined(history: History) -> Array:
    """(…, m, D): w with the intercept as its last column."""
    w = np.asarray(history.w)
    if w.ndim == np.ndim(history.loss):  # X was 1-D
        w = w[..., None]
    return w if history.intercept is None else np.concatenate([w, np.asarray(history.intercept)[..., None]], axis=-1)


def _of_result(result: FitResult | History) -> Candidate:
    held = False
    history = result.history if isinstance(result, FitResult) else result
    if history is None:
        raise ValueError("the FitResult kept no history: fit(..., history=True) records every epoch")
    if not np.array_equal(np.diff(history.epoch), np.ones(len(history.epoch) - 1)):
        raise ValueError("the history has not every epoch: fit(..., history=True) records them all")
    w = _joined(history)
    limit, name = LIMIT, "history"
    if isinstance(result, FitResult):
        held = w.dtype == np.float32 and bool((np.asarray(result.state.algorithm) == _MOMENTS).any())
        limit, name = (OURS if result.backend in _OWN_BACKENDS else LIMIT), result.backend
    return _Recorded(w, np.asarray(history.loss), name, limit, held)


@dataclass
class _Recorded:
    """Arrays: somebody's record."""

    w: Any
    loss: Any
    name: str = "history"
    limit: float = LIMIT
    held: bool = False

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        w = read_array(self.w, "w_history")
        loss = None if self.loss is None else read_array(self.loss, "loss_history")
        if task.shape:
            least = len(task.shape) + 1
            if w.ndim < least or w.shape[: len(task.shape)] != task.shape:
                raise ValueError(f"w_history must have the leading axes {task.shape} of X and y, then (epochs + 1, D); it has shape {w.shape}")
            if loss is not None and loss.shape[:-1] != task.shape:
                raise ValueError(f"loss_history must have shape {task.shape} + (epochs + 1,), like the fits; it has shape {loss.shape}")
        for index in np.ndindex(task.shape):
            yield index, Trial(w[index], None if loss is None else loss[index], held_higher=self.held, start_known=task.w0 is not None)


@dataclass
class _Function:
    """A function of the user's: one step, or the whole training."""

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        self.limit = LIMIT
        self.name = getattr(self.function, "__name__", type(self.function).__name__)
        self.is_train = _is_train(self.function)

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        run = self._train if self.is_train else self._step
        for index in np.ndindex(task.shape):
            trial, again = run(task, index), run(task, index)
            if trial.failure is None and again.failure is None:
                _compare(trial, again)
            yield index, trial

    def _data(self, task: Task, index: tuple[int, ...]) -> tuple[Array, Array]:
        X = task.X[index]
        return np.array(X[:, 0] if task.one_feature else X), np.array(task.y[index])

    def _step(self, task: Task, index: tuple[int, ...]) -> Trial:
        X, y = self._data(task, index)
        kept = X.copy(), y.copy()
        w = task.start(index)
        scalar = task.one_feature and not task.intercept
        trial = Trial([w.copy()], [], dtype=task.X.dtype)
        for epoch in range(task.counted_epochs()):
            given = w.copy()
            try:
                answer = self.function(given[0] if scalar else given, X, y, task.rate(index))
                w_next, loss = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
                w_next = np.array(w_next).reshape(w.shape)  # a copy: the function may reuse its array
            except Exception:  # whatever the candidate does wrong is a finding
                trial.failure = f"raised in epoch {epoch + 1}:\n{_traceback()}"
                break
            if not scalar and not np.array_equal(given, w, equal_nan=True) and "the w" not in "".join(trial.notes):
                trial.notes.append(f"{self.name} changes the w that it is given, in place")
            w = w_next
            trial.w.append(w)
            if loss is not None:
                trial.loss.append(float(loss))
        _notice_changes(trial, self.name, (X, y), kept)
        trial.w = np.array(trial.w)
        trial.loss = np.array(trial.loss) if trial.loss else None
        return trial

    def _train(self, task: Task, index: tuple[int, ...]) -> Trial:
        X, y = self._data(task, index)
        kept, w0 = (X.copy(), y.copy()), task.start(index)
        trial = Trial(w0[None], None, dtype=task.X.dtype)
        try:
            given = w0.copy()
            answer = self.function(X, y, task.rate(index), task.counted_epochs(), given)
        except Exception:
            trial.failure = f"raised:\n{_traceback()}"
            _notice_changes(trial, self.name, (X, y), kept)
            return trial
        if not np.array_equal(given, w0):
            trial.notes.append(f"{self.name} changes the w0 that it is given, in place")
        trial.w, trial.loss = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
        _notice_changes(trial, self.name, (X, y), kept)
        return trial


def _is_train(function: Callable[..., Any]) -> bool:
    """Tell train(X, y, lr, epochs, w0) from step(w, X, y, lr) by the number of arguments that it needs."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise TypeError(f"cannot read the arguments of {shown(function)}: wrap it in a function step(w, X, y, lr)") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    if len(needed) <= 4 <= len(positional) and not (len(positional) >= 5 and positional[0].name in ("X", "x")):
        return False
    if len(needed) <= 5 <= len(positional):
        return True
    names = ", ".join(p.name for p in positional)
    raise TypeError(f"the candidate takes ({names}); it must be step(w, X, y, lr) or train(X, y, lr, epochs, w0)")


def _traceback() -> str:
    """The candidate's own part of the traceback."""
    lines = traceback.format_exc().splitlines()
    ours = next((k for k, line in enumerate(lines) if "candidates.py" in line), None)
    return "\n".join(lines if ours is None else [lines[0], *_without_frame(lines, ours)])


def _without_frame(lines: list[str], at: int) -> list[str]:
    """The lines but for the frame at `at`, whose source lines are indented deeper."""
    after = at + 1
    while after < len(lines) and lines[after].startswith("    "):
        after += 1
    return [*lines[1:at], *lines[after:]]


def _notice_changes(trial: Trial, name: str, now: tuple[Array, Array], before: tuple[Array, Array]) -> None:
    changed = [what for what, a, b in zip(("X", "y"), now, before, strict=True) if not np.array_equal(a, b, equal_nan=True)]
    if changed:
        trial.altered = True
        trial.notes.append(f"{name} changes {' and '.join(changed)}, in place: it is judged on the data that it was given first")


def _compare(trial: Trial, again: Trial) -> None:
    """Note where a second run gave something else."""
    first, second = np.asarray(trial.w), np.asarray(again.w)
    if first.shape != second.shape:
        trial.notes.append("a second run gave another number of rows: it is not deterministic")
    elif not np.array_equal(first, second, equal_nan=True):
        rows = (first != second).reshape(len(first), -1).any(1)
        trial.notes.append(f"a second run gave another w, from epoch {int(np.argmax(rows))} on: it is not deterministic; the first run is judged")


@dataclass
class _Torch:
    """A torch module, linear in its input, and its optimizer: trained here, full batch, mean squared error."""

    module: Any
    optimizer: Any
    limit: float = LIMIT

    def __post_init__(self) -> None:
        self.name = f"{type(self.module).__name__} + {type(self.optimizer).__name__}"

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
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
            raise ValueError(f"the torch module is {str(kind).removeprefix('torch.')}, the data are {task.X.dtype}: module.to({X.dtype}), or dtype=")

        def row() -> Array:
            return np.concatenate([p.detach().numpy().reshape(-1).copy() for p in parameters.values()])

        with torch.no_grad():
            if task.w0 is not None:
                self.module.weight.copy_(torch.tensor(task.start(())[: task.X.shape[-1]]).reshape(self.module.weight.shape))
                if task.intercept:
                    self.module.bias.copy_(torch.tensor(task.start(())[-1:]))
        rows, losses = [row()], []
        for _ in range(task.counted_epochs()):
            loss = torch.nn.functional.mse_loss(self.module(X).squeeze(-1), y, reduction=task.reduction)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item() / (len(y) if task.reduction == "sum" else 1))
            rows.append(row())
        notes = ["trained here: mse_loss, zero_grad, backward, step"]
        yield (), Trial(np.array(rows), np.array(losses), notes, dtype=task.X.dtype, start_known=task.w0 is not None)


@dataclass
class _PartialFit:
    """An object whose partial_fit(X, y) is to be one full-batch step."""

    model: Any
    limit: float = LIMIT

    def __post_init__(self) -> None:
        self.name = type(self.model).__name__

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        if task.shape:
            raise ValueError(f"a model is one fit, but X and y have leading axes {task.shape}")
        rows = [task.start(())]
        trial = Trial(None, None, ["each partial_fit(X, y) is read as one epoch, from zeros"], dtype=task.X.dtype)
        for epoch in range(task.counted_epochs()):
            try:
                self.model.partial_fit(task.X.copy(), task.y.copy())
                slopes = np.ravel(self.model.coef_)
                rows.append(np.append(slopes, np.ravel(self.model.intercept_)) if task.intercept else slopes.copy())
            except Exception:
                trial.failure = f"raised in epoch {epoch + 1}:\n{_traceback()}"
                break
        trial.w = np.array(rows)
        yield (), trial
