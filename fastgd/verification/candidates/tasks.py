"""What a candidate is asked to do, and the history that it made."""

from __future__ import annotations

import copy
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from ...input.arrays import NUMPY, Library
from ...input.float_mode import CallersMode
from ...input.reading import read_array
from ...input.room import check_room
from ..bound.yardstick import Array

__all__ = ["Candidate", "Own", "Task", "TheirCode", "Trial", "Unreadable", "copied", "exception_in_words", "is_column", "threads_running"]

MOST_STEPPED = 10**5  # epochs whose steps are counted
_PACKAGE = str(Path(__file__).parents[2])  # the folder of fastgd


def copied(values: Any, name: str) -> Array:
    """Return a copy of an array that a candidate returned, and may change later."""
    array = read_array(values, name)
    check_room(name, array.size)
    return np.array(array)


@dataclass(frozen=True)
class Own:
    """The data as their user has them: dtype, library and shape."""

    X: Array  # (…, n, d), in the dtype that they have
    y: Array  # (…, n)
    given: tuple[Any, Any] | None = None  # the objects themselves; None: arrays like X and y are handed over
    library: Library = NUMPY  # of the arrays that are handed over
    column: bool = False  # y is (n, 1)


@dataclass(frozen=True)
class Task:
    """What a candidate is asked to do. "…" stands for the leading axes, `shape`."""

    X: Array  # (…, n, d), in the dtype that is judged
    y: Array  # (…, n)
    lr: Array | None  # (…); None: the default of `fit`
    epochs: int | None
    optimizer: Any
    reduction: str
    intercept: bool
    w0: Array | None  # (…, D)
    shape: tuple[int, ...]
    one_feature: bool  # X was given 1-D, and functions get it 1-D
    own: Own | None = None  # None: X and y are the user's own
    schedule: Any = None  # as `fit` takes it
    schedule_sets_rates: bool = False  # then none is given
    table: Array | None = None  # (…, epochs): the rates of a schedule
    batches: Any = None  # what of the samples each step uses, and their weights (verification/judging_batches.py); None: all alike
    ridge: float | None = None  # the penalty that is asked for
    columns: bool = False  # y or w0 was given as a column: functions get w as (D, 1)
    callers: CallersMode = field(default_factory=CallersMode)  # runs what is judged as its own process does

    @property
    def n_parameters(self) -> int:
        """Parameters, the intercept counted."""
        return self.X.shape[-1] + self.intercept

    def start(self, index: tuple[int, ...]) -> Array:
        """Return the start of one fit: w0, or zeros, in the data's dtype."""
        start = np.zeros(self.n_parameters) if self.w0 is None else self.w0[index]
        return start.astype(self.X.dtype)

    def data(self, index: tuple[int, ...]) -> tuple[Any, Any]:
        """Return copies of the data of one fit for the user's code, as the user has them."""
        own = self.own or Own(self.X, self.y)
        if own.given is not None:
            return _copied(own.given[0]), _copied(own.given[1])
        X = own.X[index]
        X, y = (np.array(part) for part in (X[:, 0] if self.one_feature else X, own.y[index]))
        y = y[:, None] if own.column else y
        return own.library.wrap(X), own.library.wrap(y)

    def parameters(self, w: Array) -> Any:
        """Return a copy of w, or of a part of it, for the user's code, in the library of X.

        It is a number where X has one axis, and a column where y is one.
        """
        if self.one_feature and len(w) == 1:
            w = w[0]
        elif self.columns:
            w = w[:, None]
        own = self.own or Own(self.X, self.y)
        if own.library is NUMPY:
            return w.copy()
        wrapped = own.library.wrap(np.array(w))
        X = None if own.given is None else own.given[0]
        return wrapped.to(X.dtype) if own.library.name == "torch" and X is not None and X.is_floating_point() else wrapped

    def counted_epochs(self) -> int:
        """Return the number of epochs; it is an error that none was given."""
        if self.epochs is None:
            raise ValueError("epochs is needed: how many updates the candidate is to make")
        return self.epochs

    def most_updates(self, epochs: int) -> int:
        """Return how many rows after the start a history may have: one for each step."""
        return epochs if self.batches is None or epochs > MOST_STEPPED else sum(len(self.batches.of_epoch(k)) for k in range(epochs))

    def rate(self, index: tuple[int, ...], epoch: int | None = None) -> float:
        """Return the learning rate of one fit: the one that was given, or that of an epoch."""
        if epoch is not None and self.table is not None:
            return float(self.table[(*index, epoch)])
        if self.lr is None:
            raise ValueError("lr is needed: the learning rate that the candidate is to use")
        return float(self.lr[index])


@dataclass
class Trial:
    """The history that a candidate made of one fit, and what was noticed on the way."""

    w: Any
    loss: Any = None  # of each epoch, or of each row
    notes: list[str] = field(default_factory=list)
    epochs: int | None = None  # that it has, where the task does not say
    at: Array | None = None  # (m,): the epoch of each row of w, where it is known
    failure: str | None = None  # the exception that ended it, with its traceback
    altered: bool = False  # it changed X or y in place
    held_higher: bool = False
    dtype: Any = None  # of the arithmetic; None: read from the dtype of w
    lr: float | None = None  # the learning rate used, where the task has none
    start_known: bool = True  # whether row 0 should be w0
    own_rate: float | None = None  # the learning rate that an optimizer has, whatever was asked for
    rates: Array | None = None  # (epochs,): those of the steps, which stand for a schedule that was not asked for
    momenta: Array | None = None  # (epochs,): momentum, or beta1, in each, that a scheduler of torch moves
    decays: Array | None = None  # (D,): the weight decay of each parameter, where the groups of an optimizer differ
    knows_losses: bool = False  # each loss is known to be that before an update
    has_last: bool = False  # the last row of w is known to be that after the last update
    of_code: bool = False  # what a call returned: losses that fit no row are left out
    rows_for: Callable[[int], int] | None = None  # how many rows of w it makes where this number of epochs is asked for
    one_array: int = 0  # how often the list of rows holds one and the same array; 0: it does not
    copied: bool = False  # each row is a copy, made in its epoch
    otherwise: Callable[[], Trial] | None = None  # what it makes of the data in another shape, or read in another way
    for_cause: bool = False  # a part of what was judged, in which a cause is looked for
    on_numbers: Callable[[], Trial] | None = None  # what it makes of the same numbers in the dtype that is judged

    def take_decays(self, decays: Array | None) -> None:
        """Have the weight decay of each parameter judged, if there are several."""
        if decays is not None:
            told = ", ".join(f"{decay:g}" for decay in decays)
            self.decays = decays
            self.notes.append(f"the weight decay is that of the groups of the torch optimizer, {told}")


class Candidate(Protocol):
    """Something that makes a history for every fit of a task."""

    name: str
    limit: float

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, its history)."""


class Unreadable(Exception):
    """What a function returned cannot be read; the words say what is needed."""


class TheirCode:
    """`with TheirCode(trial, "raised")`: what the candidate raises there is the trial's failure.

    1. SystemExit, GeneratorExit and every other exception counts. KeyboardInterrupt is let through:
       it may be the user's Ctrl-C, and it ends a program with a status that is not 0.
    2. Where the candidate has forked, the copy of the process ends here: the program that asked for
       a verdict goes on once.
    """

    def __init__(self, trial: Trial, what: str) -> None:
        self._trial, self._what = trial, what

    def __enter__(self) -> None:
        self._process = os.getpid()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> bool:
        if os.getpid() != self._process:
            os._exit(1)
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        if isinstance(error, Unreadable):
            self._trial.failure = f"{self._what.replace('raised', 'cannot be judged', 1)}:\n{error}"
        else:
            self._trial.failure = f"{self._what}:\n{_own_traceback(error)}"
        return True


def _copied(value: Any) -> Any:
    """Return a copy of an array or a frame, in its own library; NumPy's array where it has none."""
    try:
        if isinstance(value, np.ndarray):
            return value.copy("K")
        return value.detach().clone().requires_grad_(value.requires_grad) if hasattr(value, "detach") else copy.deepcopy(value)
    except Exception:  # such as a variable in a file
        return np.array(read_array(value, "the data"))


def is_column(y: Any, X: Any) -> bool:
    """Return whether y of one fit is a column, (n, 1), as courses and frames have it."""
    shape = shape_of(y, "y")
    if len(shape) != 2 or shape[1] != 1 or shape[0] <= 1:
        return False
    of_X = shape_of(X, "X")
    return of_X[:1] == shape[:1] and len(of_X) <= 2


def shape_of(value: Any, name: str) -> tuple[int, ...]:
    """Return the shape of what a caller gave; raise in words where it is no array."""
    shape = getattr(value, "shape", None)
    return shape if type(shape) is tuple else read_array(value, name).shape


def exception_in_words(error: BaseException) -> str:
    """Return 'ValueError: what it says'; an exception that cannot be printed has words too."""
    said = traceback.TracebackException.from_exception(error)
    lines = list(said.format_exception_only())
    return " ".join((lines[-1] if isinstance(error, SyntaxError) else lines[0]).split())


def threads_running(before: set[threading.Thread]) -> str | None:
    """Return the words for threads that were not there before and keep a program from ending."""
    names = sorted(thread.name for thread in threading.enumerate() if not thread.daemon and thread not in before)
    return f"it leaves threads running: {', '.join(names)}" if names else None


def _own_traceback(error: BaseException) -> str:
    """Return the traceback without the frames of this package."""
    said = traceback.TracebackException.from_exception(error)
    said.stack = traceback.StackSummary.from_list([frame for frame in said.stack if not frame.filename.startswith(_PACKAGE)])
    return "\n".join(line for text in said.format() for line in text.splitlines() if line.strip(" ^~"))
