"""The user's functions as candidates: a step, a training, or a gradient (calling.py).

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

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...input.messages import counted
from ...input.reading import read_array
from ..bound.yardstick import LIMIT, Array
from .answers import kept, library_of_float32, places_of_w, read_step, read_training
from .calling import Call, read_call
from .counting import FEW, MANY, SameRandom, losses_until, rows_after
from .one_place import times_one_array
from .tasks import Task, TheirCode, Trial, threads_running

__all__ = ["FunctionCandidate", "after_updates", "equal", "with_intercept_first"]

_MOST_EPOCHS = 10**6  # rows that are waited for where no number of epochs was given


@dataclass
class FunctionCandidate:
    """A function that makes one step, or the whole training."""

    function: Callable[..., Any]
    call: Call
    name: str
    limit: float = LIMIT
    ones_first: bool = False  # its w begins with the intercept
    ridge: tuple[float | None] | None = None  # the penalty that it is given; None: the one that is asked for

    @classmethod
    def of(cls, function: Callable[..., Any]) -> FunctionCandidate:
        """Return the candidate for a function; what its parameters are is read from their names."""
        return cls(function, read_call(function), getattr(function, "__name__", type(function).__name__))

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, what the function made of it)."""
        if self.call.has("b") and not task.intercept:
            raise ValueError(f"{self.name} takes w and an intercept: give intercept=True")
        run = self._run
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
            if task.columns and self.call.has("w"):
                trial.otherwise = partial(self._with_flat_w, task, index)
            other = self.call.otherwise
            if other is not None:
                trial.otherwise = partial(replace(self, call=other)._run, task, index)
            if self.call.kind == "train" and not self.call.has("w") and task.intercept:
                trial.otherwise = partial(with_intercept_first, trial, trial.otherwise)
            if self.call.has("w") and not self.call.has("b") and task.intercept:
                trial.otherwise = partial(self._with_ones_first, task, index, trial.otherwise)
            if not trial.start_known:
                trial.otherwise = after_updates(trial)
            if task.ridge is not None:
                trial.otherwise = self._with_other_ridge(task, index, trial.otherwise)
            if trial.failure and task.intercept and not self.call.has("b") and re.search("shape|size|dimension|broadcast", trial.failure):
                D = task.n_parameters
                trial.notes.append(
                    f"with intercept=True X has {counted(D - 1, 'column')}, none of them of ones, and w has {counted(D, 'number')}: "
                    "if the function wants the ones in X, hand them over and leave intercept out"
                )
            yield index, trial

    def _run(self, task: Task, index: tuple[int, ...]) -> Trial:
        """Run the function on one fit."""
        return (self._train if self.call.kind == "train" else self._step)(task, index)

    def _with_flat_w(self, task: Task, index: tuple[int, ...]) -> Trial:
        """Run with w (D,) beside y (n, 1)."""
        trial = self._run(replace(task, columns=False), index)
        trial.notes.append(f"w was handed over as (D,): with w as (D, 1), like y, {self.name} does not agree")
        return trial

    def _with_other_ridge(self, task: Task, index: tuple[int, ...], otherwise: Callable[[], Trial] | None) -> Callable[[], Trial] | None:
        """Return what runs it with the penalty of its own default, or as 1/(2n) loss goes with."""
        assert task.ridge is not None
        name, half = self.call.name_of("ridge"), 2 * task.X.shape[-2] * task.ridge
        ways: list[tuple[float | None, str]] = []
        if self.call.has_optional("ridge"):
            ways.append((None, f"{name} kept the value that it has by default"))
        if name is not None and task.reduction == "half_mean":
            ways.append((half, f"{name} was given {half:g}: {name} / (2 * n) is the ridge that was asked for"))

        def run(given: float | None, told: str, then: Callable[[], Trial] | None) -> Trial:
            trial = replace(self, ridge=(given,))._run(task, index)
            trial.notes.append(told)
            trial.otherwise = then
            return trial

        for given, told in reversed(ways):
            otherwise = partial(run, given, told, otherwise)
        return otherwise

    def _with_ones_first(self, task: Task, index: tuple[int, ...], otherwise: Callable[[], Trial] | None) -> Trial:
        """Run with the intercept first in w, as where a column of ones is put before X."""
        trial = replace(self, ones_first=True)._run(task, index)
        trial.notes.append("w was handed over and read with the intercept first")
        trial.otherwise = otherwise
        return trial

    @property
    def _b_first(self) -> bool:
        return self.ones_first or self.call.b_first

    def _w(self, task: Task, w: Array) -> Array:
        """Return the w that the function is given, of w with the intercept last."""
        return w[: task.X.shape[-1]] if self.call.has("b") else np.roll(w, 1) if self.ones_first else w

    def _given(self, task: Task, data: tuple[Any, Any], w: Array, rate: float, epochs: int | None) -> dict[str, Any]:
        """Return what a function is given, by role."""
        d = task.X.shape[-1]
        given = {"X": data[0], "y": data[1], "lr": rate, "epochs": epochs, "count": len(data[1]), "tol": 0.0}
        given["ridge"] = 0.0 if task.ridge is None and self.call.has("ridge") else task.ridge if self.ridge is None else self.ridge[0]
        given |= self._of_batches(task, len(data[1]))
        if self.call.has("points"):
            given["points"] = np.column_stack([read_array(part, "the data") for part in data])
        if self.call.has("b"):
            b = task.parameters(w[d:])
            given["b"] = b.reshape(-1)[0] if np.ndim(b) else b
        return given | {"w": task.parameters(self._w(task, w))}

    def _step(self, task: Task, index: tuple[int, ...]) -> Trial:
        """Run a function that makes one step, epoch by epoch."""
        data, w = task.data(index), task.start(index)
        task.rate(index)  # is needed, for no epochs too
        trial = Trial([w.copy()], [], list(self.call.notes), dtype=task.X.dtype)
        for epoch, batch in self._steps(task):
            w_next, loss, rate = w, None, task.rate(index, epoch)
            given = self._given(task, data if batch is None else _taken(data, batch), w, rate, None)
            if batch is not None and task.batches.weights is not None:
                given["weights"] = task.batches.weights[batch]
            with TheirCode(trial, f"raised in epoch {epoch + 1}"):
                answer = task.callers.run(self.call.on, self.function, given)
                w_next, loss, told = read_step(answer, task.n_parameters, task.intercept, self._b_first)
                if self.call.kind == "gradient":
                    w_next = (w - task.X.dtype.type(rate) * w_next).astype(task.X.dtype)
                _note_float32(trial, answer)
                trial.notes += [note for note in told if note not in trial.notes]
            if trial.failure:
                break
            if not self._same_w(given, task, w) and "the w" not in "".join(trial.notes):
                trial.notes.append(f"{self.name} changes the w that it is given, in place")
            w = w_next
            trial.w.append(w)
            if loss is not None:
                trial.loss.append(loss)
        _notice_changes(trial, self.name, data, task.data(index))
        trial.w = np.array(trial.w)
        trial.loss = np.array(trial.loss) if trial.loss else None
        return trial

    def _steps(self, task: Task) -> Iterator[tuple[int, Array | None]]:
        """Yield (epoch, the samples) of each step; None stands for all of them."""
        for epoch in range(task.counted_epochs()):
            for batch in [None] if task.batches is None else task.batches.of_epoch(epoch):
                yield epoch, batch

    def _of_batches(self, task: Task, n: int) -> dict[str, Any]:
        """Return the sample weights and the size of a batch; None where none was told."""
        needed = {role for _, role in self.call.roles}
        weights = None if task.batches is None else task.batches.weights
        size = None if task.batches is None else task.batches.size
        return {
            "weights": np.ones(n) if weights is None and "weights" in needed else weights,
            "batch_size": n if size is None and "batch_size" in needed else size,
        }

    def _same_w(self, given: dict[str, Any], task: Task, w: Array) -> bool:
        """Return whether a function has left its w as it was."""
        return equal(given["w"], self._w(task, w))

    def _train(self, task: Task, index: tuple[int, ...]) -> Trial:
        """Run a function that makes the whole training."""
        data, w0 = task.data(index), task.start(index)
        counts = self.call.has("epochs") or task.epochs is not None
        epochs = task.counted_epochs() if counts else _MOST_EPOCHS
        given = self._given(task, data, w0, task.rate(index), epochs)
        trial = Trial(w0[None], None, list(self.call.notes), dtype=task.X.dtype)
        trial.start_known = self.call.has("w") or task.w0 is not None
        trial.of_code = True

        def run(count: int) -> Any:
            return task.callers.run(self.call.on, self.function, self._given(task, task.data(index), w0, task.rate(index), count))

        def rows_for(count: int) -> int:
            return len(read_training(run(count), task.n_parameters, task.intercept, task.most_updates(count), self._b_first, place=place).w)

        same = SameRandom()
        with TheirCode(trial, "raised"):
            answer = task.callers.run(self.call.on, self.function, given)
            if hasattr(answer, "__next__"):  # a generator of rows
                answer = task.callers.run(list, map(kept, itertools.islice(answer, epochs + 2)))
            place = self._place_of_w(answer, run, epochs, task)
            trial.w, trial.loss, told, trial.has_last = read_training(
                answer, task.n_parameters, task.intercept, task.most_updates(epochs), self._b_first, place=place
            )
            trial.notes += told
            trial.one_array = times_one_array(answer)
            _note_float32(trial, answer)
            trial.rows_for = rows_for if self.call.has("epochs") and len(trial.w) > 1 else None
            if len(trial.w) == 1 < epochs and self.call.has("epochs"):
                self._run_for_each(trial, task, index, same, place)
        _notice_changes(trial, self.name, data, task.data(index))
        if not self._same_w(given, task, w0):
            trial.notes.append(f"{self.name} changes the w0 that it is given, in place")
        return trial

    def _place_of_w(self, answer: Any, again: Callable[[int], Any], epochs: int, task: Task) -> int:
        """Return where w stands in what a training returned.

        Where several parts have as many numbers as w, losses of as many epochs are told from it by
        a run of one epoch more.
        """
        places = places_of_w(answer, task.n_parameters, task.intercept)
        if len(places) > 1 and self.call.has("epochs"):
            longer = places_of_w(again(epochs + 1), task.n_parameters, task.intercept)
            places = [place for place in places if place in longer] or places
        return places[0] if places else 0

    def _run_for_each(self, trial: Trial, task: Task, index: tuple[int, ...], same: SameRandom, place: int) -> None:
        """Set the rows of a training that returns the last w alone, by runs for each number."""
        epochs, ends = task.counted_epochs(), {}

        def last(count: int) -> Array:
            same.again()
            given = self._given(task, task.data(index), task.start(index), task.rate(index), count)
            answer = task.callers.run(self.call.on, self.function, given)
            read = read_training(answer, task.n_parameters, task.intercept, count, self._b_first, of_last=True, place=place)
            if read.loss is not None and len(read.loss) == 1:
                ends[count] = read.loss[0]
            row: Array = read.w[-1]
            return row

        def rows_until(count: int, one: Trial) -> Trial:
            with TheirCode(one, "raised"):
                rows, at = rows_after(last, range(count + 1), task.start(index), one.notes)
                if (rows == rows[-1]).all():
                    return one  # whatever number is asked for
                one.w, one.at = rows, at
                one.loss = losses_until(int(at[-1]), one.loss, epochs)
                if one.loss is not None and len(one.loss) == 1:  # that of the last w: each run has its own
                    one.loss = np.array([ends[k] for k in range(count + 1)]) if ends.keys() >= set(range(count + 1)) else None
            return one

        if not np.array_equal(last(epochs), trial.w[0], equal_nan=True):
            return  # not the same again: the last w of the first run is judged
        if epochs <= MANY:
            rows_until(epochs, trial)
            if trial.at is not None:
                trial.notes.append("it returned the last w alone: it was run anew for each number of epochs")
        else:
            told = "it returned the last w alone: the cause is that of its first epochs, for which it was run anew"
            first = replace(trial, for_cause=True, notes=[*trial.notes, told])
            trial.otherwise = partial(rows_until, FEW, first)


def _taken(data: tuple[Any, Any], batch: Array) -> tuple[Any, Any]:
    """Return these samples of X and y."""
    X, y = (part.iloc[batch] if hasattr(part, "iloc") else part[batch] for part in data)
    return X, y


def after_updates(trial: Trial) -> Callable[[], Trial] | None:
    """Return the reading of w after each update from an unknown start, the losses before each.

    Losses of the row before are a habit there, and a defect where row 0 is the start.
    """
    w, loss = np.asarray(trial.w), trial.loss
    if loss is None or w.ndim != 2 or len(w) != len(loss) or len(w) < 3 or not np.any(w[0]):
        return trial.otherwise
    note = "each row is read as w after an update, from a start that is not known, and each loss as that of w before it"
    return partial(replace, trial, loss=loss[1:], epochs=len(w) - 1, notes=[*trial.notes, note], otherwise=trial.otherwise)


def with_intercept_first(trial: Trial, otherwise: Callable[[], Trial] | None) -> Trial:
    """Return a trial whose rows of w, which its code made itself, begin with the intercept."""
    rows = np.asarray(trial.w)
    turned = np.roll(rows, -1, axis=-1) if rows.ndim == 2 else rows
    return replace(trial, w=turned, otherwise=otherwise, notes=[*trial.notes, "the first number in w was read as the intercept"])


def equal(first: Any, second: Any) -> bool:
    """Return whether two arrays, frames or numbers, of any library, hold the same."""
    try:
        a, b = read_array(first, "an array"), read_array(second, "an array")
    except (TypeError, ValueError):  # what a change has made of it
        return False
    return a.size == b.size and np.array_equal(a.reshape(b.shape), b, equal_nan=True)


def _notice_changes(trial: Trial, name: str, now: tuple[Any, Any], before: tuple[Any, Any]) -> None:
    """Note which of X and y the function has changed."""
    changed = [what for what, a, b in zip(("X", "y"), now, before, strict=True) if not equal(a, b)]
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
        trial.notes.append("a second run gave another number of rows: it keeps something from run to run, or is not deterministic")
    elif not np.array_equal(first, second, equal_nan=True):
        rows = (first != second).reshape(len(first), -1).any(1)
        first_row = int(np.argmax(rows))
        why = "it keeps something from run to run, or is not deterministic"
        trial.notes.append(f"a second run gave another w, from epoch {first_row} on: {why}; the first run is judged")
