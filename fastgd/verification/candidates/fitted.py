"""Objects and classes with `fit`, as courses and scikit-learn have them.

1. The learning rate and the number of epochs are those of the object, found by their names. A class
   is constructed with those that are asked for.
2. Where the object keeps the rows of w, one fit is enough. Else it is fitted for 0, 1, 2, ...
   epochs, a fresh copy each time; of more than 100 epochs every k-th number is taken, and where
   that is wrong the first 50 for the cause.
3. Each fit begins with the same state of the global random generators, so that a random start is
   the same one. A start that still differs cannot be judged.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...input.reading import read_array
from ..bound.yardstick import LIMIT, Array
from .answers import Training, library_of_float32, read_training
from .counting import FEW, MANY, SameRandom, losses_until, rows_after
from .functions import FunctionCandidate, equal, with_intercept_first
from .named_answers import has_w
from .names import is_history, role_of_answer, roles_of
from .tasks import Task, TheirCode, Trial, Unreadable

__all__ = ["ModelCandidate", "candidate_of_code", "fit_of"]

_MOST_EPOCHS = 10**6  # of all fits together
_FITS = ("fit", "train")  # what the method is called
_NO_RESULT = {"m", "n", "a", "c"}  # sizes, more often than results, as attributes


def candidate_of_code(code: Any) -> FunctionCandidate | ModelCandidate:
    """Return the candidate for a function, a class or an object of the user's."""
    owner = getattr(code, "__self__", None)
    if getattr(code, "__name__", "") in _FITS and owner is not None and not inspect.ismodule(owner):
        return ModelCandidate.of(owner)  # a bound method
    return FunctionCandidate.of(code) if fit_of(code) is None else ModelCandidate.of(code)


def fit_of(code: Any) -> Callable[..., Any] | None:
    """Return the method of a class or an object that makes the whole training; None: it has none.

    A torch module has `train`, which is a switch.
    """
    names = _FITS[:1] if hasattr(code, "named_parameters") else _FITS
    found = (getattr(code, name, None) for name in names)
    return next((method for method in found if callable(method)), None)


@dataclass
class ModelCandidate:
    """An object, or a class, whose fit(X, y) makes the whole training."""

    model: Any
    name: str
    limit: float = LIMIT

    @classmethod
    def of(cls, model: Any) -> ModelCandidate:
        """Return the candidate for an object or a class with `fit`."""
        return cls(model, (model if isinstance(model, type) else type(model)).__name__)

    def completed(self, asked_for: dict[str, Any], kinds: tuple[type, ...]) -> dict[str, Any]:
        """Return what is asked for, with the rate and epochs of the object where none are."""
        lr, epochs = self._value("lr"), self._value("epochs")
        has_rate = asked_for["lr"] is not None or getattr(asked_for["optimizer"], "lr", None) is not None
        lr = asked_for["lr"] if has_rate or lr is None else float(lr)
        return asked_for | {"lr": lr, "epochs": int(epochs) if asked_for["epochs"] is None and epochs is not None else asked_for["epochs"]}

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, what the object made of it)."""
        for index in np.ndindex(task.shape):
            trial = self._trial(task, index)
            if task.intercept and trial.failure is None:
                trial.otherwise = partial(with_intercept_first, trial, trial.otherwise)
            yield index, trial

    def _trial(self, task: Task, index: tuple[int, ...]) -> Trial:
        """Fit as often as it takes to have rows of w."""
        epochs, lr = task.counted_epochs(), self._value("lr")
        trial = Trial(task.start(index)[None], dtype=task.X.dtype, start_known=task.w0 is not None, of_code=True)
        trial.own_rate = None if lr is None else float(lr)
        with TheirCode(trial, "raised"):
            fits = _Fits(self.model, task, index)
            whole = fits.after(epochs)
            trial.w, trial.loss, trial.notes, trial.has_last = whole.w, whole.loss, list(whole.notes), whole.has_last
            if fits.counts and len(whole.w) > 1:
                trial.rows_for = lambda count: len(fits.after(count).w)
            if len(whole.w) == 1 and not fits.counts:
                trial.notes.append("it does not take the number of epochs: its last w alone is judged")
            elif len(whole.w) == 1:
                if not np.array_equal(whole.w, fits.after(epochs).w, equal_nan=True):
                    raise Unreadable("two fits of it end at different w: seed its random numbers, or keep the rows of w in w_history")
                self._fill(trial, fits, epochs)
            trial.altered = fits.altered
            trial.dtype = np.dtype(np.float32) if fits.of_float32 else trial.dtype
        return trial

    def _fill(self, trial: Trial, fits: _Fits, epochs: int) -> None:
        """Set the rows of a trial by fits of more and more epochs."""
        every = max(1, -(-epochs // max(4, min(MANY, 2 * _MOST_EPOCHS // max(epochs, 1)))))
        every = every if fits.task.batches is None else 1
        trial.w, trial.at = fits.rows([*range(0, epochs, every), epochs], trial.notes)
        trial.loss = losses_until(int(trial.at[-1]), trial.loss, epochs)
        trial.notes.append(f"it was fitted anew for {'each number of epochs' if every == 1 else f'{every} epochs more each time'}")
        if every > 1:
            trial.otherwise = partial(self._first_epochs, trial, fits)

    def _first_epochs(self, trial: Trial, fits: _Fits) -> Trial:
        """Return the first epochs alone, which tell a cause better than rows that are far apart."""
        first = replace(trial, otherwise=None, for_cause=True, notes=[*trial.notes, "the cause is that of its first epochs"])
        with TheirCode(first, "raised"):
            first.w, first.at = fits.rows(range(FEW + 1), [])
        return first

    def _value(self, role: str) -> Any:
        """Return a number that an object was constructed with, by its role; None: it has none."""
        name = None if isinstance(self.model, type) else _attribute(self.model, role)
        value = None if name is None else getattr(self.model, name)
        return value if isinstance(value, int | float | np.number) and not isinstance(value, bool) else None


class _Fits:
    """Fits of one object to the data of one fit, each from the beginning."""

    def __init__(self, model: Any, task: Task, index: tuple[int, ...]) -> None:
        self.model, self.task, self.index = model, task, index
        self.altered = self.of_float32 = self._of_last = False
        self._random = SameRandom()
        is_class = isinstance(model, type)
        fit = fit_of(model)
        assert fit is not None
        self._of_fit = roles_of(name for name in _parameters(fit) if name != "self")
        self._of_class = roles_of(_parameters(model)) if is_class else {}
        self._attribute = None if is_class else _attribute(model, "epochs")
        self.counts = self._attribute is not None or "epochs" in {*self._of_fit.values(), *self._of_class.values()}

    def rows(self, counts: Iterable[int], notes: list[str]) -> tuple[Array, Array]:
        """Return the last w after these numbers of epochs, the first of which is 0, and them."""
        return rows_after(lambda count: self.after(count).w[-1], counts, self.task.start(self.index), notes)

    def after(self, epochs: int) -> Training:
        """Return what a fit of this number of epochs leaves."""
        self._random.again()
        values: dict[str, Any] = {"lr": self.task.rate(self.index), "epochs": epochs}
        if self.task.batches is not None:
            asked = {"weights": self.task.batches.weights, "batch_size": self.task.batches.size}
            values |= {role: value for role, value in asked.items() if value is not None}
        if self.task.ridge is not None:
            values["ridge"] = self.task.ridge
        if self.task.w0 is not None:
            values["w"] = self.task.parameters(self.task.start(self.index))
        data = self.task.data(self.index)
        model, answer = self.task.callers.run(self._fitted, data, values)
        self.altered |= not all(map(equal, data, self.task.data(self.index)))
        found = results_of(model)
        self.of_float32 |= any(library_of_float32(value) is not None for value in found.values())
        if has_w(found):
            self._refuse_an_intercept(found)
            D, intercept = self.task.n_parameters, self.task.intercept
            last = {name: value for name, value in found.items() if not is_history(name)}
            if self._of_last:
                return read_training(last, D, intercept, epochs)
            try:
                return read_training(found, D, intercept, epochs)
            except Unreadable as error:
                if len(last) < len(found) and has_w(last) and self.counts:  # rows of a part of w are left out, in later fits too
                    self._of_last = True
                    return read_training(last, D, intercept, epochs)
                raise Unreadable(f"of {', '.join(sorted(found))} that its fit left: {error}".replace("it returned", "there is")) from None
        if answer is None or answer is model:
            told = ", ".join(sorted(found)) or "nothing that may be one"
            raise Unreadable(f"its fit has left no w: coef_, w, weights, theta or w_history is needed; it has {told}")
        return read_training(answer, self.task.n_parameters, self.task.intercept, epochs)

    def _refuse_an_intercept(self, found: dict[str, Any]) -> None:
        """Raise where a fit leaves an intercept that is not 0, and none was told of."""
        for name, value in {} if self.task.intercept else found.items():
            number = role_of_answer(name) == "b" and np.size(value) == 1
            if number and read_array(value, name).dtype.kind in "iuf" and np.any(value):
                raise Unreadable(f"it has an intercept, {name}: give intercept=True")

    def _fitted(self, data: tuple[Any, Any], values: dict[str, Any]) -> tuple[Any, Any]:
        """Return a fitted object, and what its fit returned."""
        if isinstance(self.model, type):
            model = self.model(**{name: values[role] for name, role in self._of_class.items() if role in values})
        else:
            model = copy.deepcopy(self.model)
            if self._attribute is not None:
                setattr(model, self._attribute, values["epochs"])
        fit = fit_of(model)
        assert fit is not None
        return model, fit(*data, **{name: values[role] for name, role in self._of_fit.items() if role in values})


def results_of(model: Any) -> dict[str, Any]:
    """Return {name: value} of what may be results in an object, its properties too."""
    found = {}
    for name in dir(model):
        if name.startswith("__") or name.lower().strip("_") in _NO_RESULT:
            continue
        role = role_of_answer(name)
        value = None if role is None and not is_history(name) else getattr(model, name, None)
        if value is not None and not callable(value) and not isinstance(value, bool | np.bool_):  # intercept=True is an option
            found[name] = value
    return found


def _attribute(model: Any, role: str) -> str | None:
    """Return the name of the attribute of an object that has this role."""
    names = [name for name in vars(model) if not name.endswith("_")]
    return next((name for name, one in roles_of(names).items() if one == role), None)


def _parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters of a function, or of the constructor of a class."""
    kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind not in kinds]
