"""The user's functions as candidates: step(w, X, y, lr) and train(X, y, lr, epochs, w0).

1. A function gets copies of the data as the user has them (dtype, library, shape) and of its w, so
   that what goes wrong in integers goes wrong here too. A change that it makes to them is reported
   and does not reach the data that are judged.
2. An exception is a finding: the rows recorded until then are judged.
3. A function is run twice, because gradient descent that differs from run to run cannot be relied
   on.
4. What it returns is read and copied at once, so that a function may use its arrays again, and an
   object whose `__array__` or `__float__` raises is a finding too.
"""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...input.messages import shown
from ...input.reading import read_array
from ..bound.yardstick import LIMIT
from .answers import kept, library_of_float32, read_step, read_training
from .tasks import Task, TheirCode, Trial, threads_running

__all__ = ["FunctionCandidate"]


@dataclass
class FunctionCandidate:
    """A function that makes one step, or the whole training."""

    function: Callable[..., Any]
    name: str = ""
    limit: float = LIMIT

    def __post_init__(self) -> None:
        self.name = getattr(self.function, "__name__", type(self.function).__name__)
        self.is_train = _is_train(self.function)

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, what the function made of it)."""
        run = self._train if self.is_train else self._step
        for index in np.ndindex(task.shape):
            before = set(threading.enumerate())
            trial, again = run(task, index), run(task, index)
            left = threads_running(before)
            if left:
                trial.notes.append(left)
            if trial.failure is None and again.failure is None:
                _note_difference(trial, again)
            own = task.own
            if own is not None and (own.X.dtype, own.y.dtype) != (task.X.dtype, task.y.dtype):
                plain = replace(task, own=replace(own, X=task.X, y=task.y, given=None))
                trial.on_numbers = partial(run, plain, index)
            yield index, trial

    def _step(self, task: Task, index: tuple[int, ...]) -> Trial:
        """Run a function that makes one step, epoch by epoch."""
        X, y = task.data(index)
        w = task.start(index)
        task.rate(index)  # is needed, for no epochs too
        trial = Trial([w.copy()], [], dtype=task.X.dtype)
        for epoch in range(task.counted_epochs()):
            given, w_next, loss, rate = task.parameters(w), w, None, task.rate(index, epoch)
            with TheirCode(trial, f"raised in epoch {epoch + 1}"):
                answer = task.callers.run(self.function, given, X, y, rate)
                w_next, loss, told = read_step(answer, task.n_parameters, task.intercept)
                _note_float32(trial, answer)
                trial.notes += [note for note in told if note not in trial.notes]
            if trial.failure:
                break
            if not _equal(given, w) and "the w" not in "".join(trial.notes):
                trial.notes.append(f"{self.name} changes the w that it is given, in place")
            w = w_next
            trial.w.append(w)
            if loss is not None:
                trial.loss.append(loss)
        _notice_changes(trial, self.name, (X, y), task.data(index))
        trial.w = np.array(trial.w)
        trial.loss = np.array(trial.loss) if trial.loss else None
        return trial

    def _train(self, task: Task, index: tuple[int, ...]) -> Trial:
        """Run a function that makes the whole training."""
        (X, y), w0 = task.data(index), task.start(index)
        rate, epochs = task.rate(index), task.counted_epochs()
        trial = Trial(w0[None], None, dtype=task.X.dtype)
        given = task.parameters(w0)
        with TheirCode(trial, "raised"):
            answer = task.callers.run(self.function, X, y, rate, epochs, given)
            if hasattr(answer, "__next__"):  # a generator of rows
                answer = task.callers.run(list, map(kept, itertools.islice(answer, epochs + 2)))
            trial.w, trial.loss, told = read_training(answer, task.n_parameters, task.intercept, epochs)
            trial.notes += told
            _note_float32(trial, answer)
        _notice_changes(trial, self.name, (X, y), task.data(index))
        if not _equal(given, w0):
            trial.notes.append(f"{self.name} changes the w0 that it is given, in place")
        return trial


def _is_train(function: Callable[..., Any]) -> bool:
    """Return whether the function is train(X, y, lr, epochs, w0), not step(w, X, y, lr).

    The number of arguments that it needs decides; where both are possible, the name of the first.
    """
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


def _equal(first: Any, second: Any) -> bool:
    """Return whether two arrays, frames or numbers, of any library, hold the same."""
    try:
        a, b = read_array(first, "an array"), read_array(second, "an array")
    except (TypeError, ValueError):  # what a change has made of it
        return False
    return a.size == b.size and np.array_equal(a.reshape(b.shape), b, equal_nan=True)


def _notice_changes(trial: Trial, name: str, now: tuple[Any, Any], before: tuple[Any, Any]) -> None:
    """Note which of X and y the function has changed."""
    changed = [what for what, a, b in zip(("X", "y"), now, before, strict=True) if not _equal(a, b)]
    if changed:
        trial.altered = True
        trial.notes.append(f"{name} changes {' and '.join(changed)}, in place: it is judged on the data that it was given first")


def _note_float32(trial: Trial, answer: Any) -> None:
    """Have the history judged as float32 where a library that works in it made w."""
    library = library_of_float32(answer)
    if library is not None and trial.dtype == np.float64:
        trial.dtype = np.dtype(np.float32)
        trial.notes.append(f"w is an array of {library} in float32: judged as float32")


def _note_difference(trial: Trial, again: Trial) -> None:
    """Note the first epoch in which a second run gave another w."""
    first, second = np.asarray(trial.w), np.asarray(again.w)
    if first.shape != second.shape:
        trial.notes.append("a second run gave another number of rows: it is not deterministic")
    elif not np.array_equal(first, second, equal_nan=True):
        rows = (first != second).reshape(len(first), -1).any(1)
        first_row = int(np.argmax(rows))
        trial.notes.append(f"a second run gave another w, from epoch {first_row} on: it is not deterministic; the first run is judged")
