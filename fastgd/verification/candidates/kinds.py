"""The kinds of candidates: each yields, for every fit, the rows of w and the losses.

fastgd's own backends are run through `fit`, as users run them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...fitting import fit
from ...input.messages import shown
from ...input.options import MOST, name_among
from ...input.reading import read_array
from ...input.room import check_room
from ...planning.backends import BACKENDS
from ...results.result import FitResult, History, State
from ..bound.yardstick import LIMIT, Array
from .answers import has_parts, kept, read_training
from .file_candidate import FileCandidate
from .fitted import candidate_of_code, fit_of
from .functions import after_updates
from .models import PartialFitCandidate, TorchCandidate
from .named_answers import has_w, is_table
from .one_place import times_one_array
from .recorder import Recorder
from .tasks import Candidate, Task, Trial, Unreadable, is_column, shape_of

__all__ = ["ask_for_torchs", "joined", "read_candidates"]

_MOMENTS = State.algorithm_names.index("moments")


def read_candidates(candidate: Any) -> list[Candidate]:
    """Return the candidates that the argument `candidate` of `verify` stands for."""
    if isinstance(candidate, str):
        return [_Backend(candidate)]
    if isinstance(candidate, list | tuple) and candidate and all(isinstance(part, str) for part in candidate):
        return [_Backend(name) for name in candidate]
    if isinstance(candidate, FileCandidate):
        return [candidate]
    if isinstance(candidate, FitResult | History):
        return [_of_result(candidate)]
    if isinstance(candidate, Recorder):
        return [_Recorded(candidate.rows, None, "recorder", recorder=candidate)]
    if isinstance(candidate, tuple) and len(candidate) == 3 and hasattr(candidate[2], "get_last_lr"):
        return [TorchCandidate(*candidate)]
    if isinstance(candidate, tuple) and 2 <= len(candidate) <= 5:
        first, second, *others = candidate
        is_torch = hasattr(first, "named_parameters") and hasattr(second, "zero_grad")
        if is_torch and others:
            raise TypeError(
                f"beside a torch module and its optimizer a scheduler may be given, not {shown(others[0])}: the loss is mse_loss here; "
                "leave it out, or record your own loop with fastgd.Recorder().watch(optimizer)"
            )
        return [
            TorchCandidate(first, second)
            if is_torch
            else _Recorded(first, second, "losses" if first is None else "history", others=tuple(others))
        ]
    if hasattr(candidate, "partial_fit"):
        return [PartialFitCandidate(candidate)]
    if fit_of(candidate) is not None or (callable(candidate) and not isinstance(candidate, type)):
        return [candidate_of_code(candidate)]
    if hasattr(candidate, "__next__"):  # a generator that was called
        return [_Recorded(list(map(kept, itertools.islice(candidate, _MOST_ROWS))), None)]
    if isinstance(candidate, list | np.ndarray) or _holds_rows(candidate) or hasattr(candidate, "__array__"):
        return [_Recorded(candidate, None)]
    raise TypeError(
        "candidate must be a backend's name or a list of names, a FitResult with history, arrays w or (w, loss), a function "
        f"step(w, X, y, lr) or train(X, y, lr, epochs, w0), or a pair (torch module, torch optimizer); it is {shown(candidate)}"
    )


_MOST_ROWS = 10**6  # that a generator is asked for


def ask_for_torchs(asked_for: dict[str, Any], kinds: tuple[type, ...], candidates: list[Candidate]) -> dict[str, Any]:
    """Return what a torch optimizer asks for; one that was watched, by what it had in each step."""
    watched = [one for one in candidates if isinstance(one, _Recorded) and one.watched(asked_for["optimizer"])]
    for one in watched:
        one.of_optimizer, one.takes_rates = True, asked_for["lr"] is None and asked_for["schedule"] is None
    torchs = TorchCandidate(None, asked_for["optimizer"], tells_decays=len(watched) == len(candidates))
    return torchs.completed(asked_for | {"optimizer": "sgd"}, kinds)


@dataclass
class _Backend:
    """A backend of fastgd, run through `fit`."""

    name: str
    limit: float = LIMIT  # that of the backend which `fit` chose, as soon as it has run

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, the history that `fit` recorded)."""
        if task.reduction.startswith("half_"):
            whole = task.reduction.removeprefix("half_")
            raise ValueError(
                f"a backend is run by fit, which takes no reduction={task.reduction!r}: ask for reduction={whole!r} with half of lr, and "
                "twice the weight_decay if there is one"
            )
        options: dict[str, Any] = {"backend": self.name, "reduction": task.reduction} | ({"intercept": True} if task.intercept else {})
        if task.w0 is not None:
            options["w0"] = task.w0[..., : task.X.shape[-1]]
            options |= {"intercept0": task.w0[..., -1]} if task.intercept else {}
        options |= {} if task.schedule is None else {"schedule": task.schedule}
        options |= {} if task.ridge is None else {"ridge": task.ridge}
        lr = None if task.schedule_sets_rates else task.lr
        if task.batches is not None:
            options |= {} if task.batches.weights is None else {"sample_weight": task.batches.weights}
            if not task.batches.in_order:
                raise ValueError("a backend takes its batches in the order of the data here: leave order out")
            options |= {} if task.batches.size is None else {"batch_size": task.batches.size, "shuffle": False}
        result = fit(task.X, task.y, lr=lr, epochs=task.counted_epochs(), optimizer=task.optimizer, history=True, **options)
        assert result.history is not None
        self.limit = _limit_of(result)
        w, loss = joined(result.history), np.asarray(result.history.loss)
        for index in np.ndindex(task.shape):
            held, rate = _held_higher(result, w, index), float(np.asarray(result.lr)[index])
            yield index, Trial(w[index], loss[index], held_higher=held, dtype=task.X.dtype, lr=rate)


def _held_higher(result: FitResult, w: Array, index: Any = ...) -> bool:
    """Return whether float32 rows are of a float64 state, if but until the fit diverged."""
    moments = result.algorithm == "moments" or bool((np.asarray(result.state.algorithm)[index] == _MOMENTS).any())
    return w.dtype == np.float32 and moments


def _limit_of(result: FitResult) -> float:
    """Return the share of the bound that the backend of a result may use."""
    row = BACKENDS.get(name_among(result.backend, BACKENDS) or "")
    return LIMIT if row is None else row.share_of_bound


def joined(history: History) -> Array:
    """Return w of a history, (…, m, D), with the intercept as its last column."""
    w, loss = read_array(history.w, "history.w"), read_array(history.loss, "history.loss")
    if w.ndim == loss.ndim:  # X was 1-D
        w = w[..., None]
    if history.intercept is None:
        return w
    intercept = read_array(history.intercept, "history.intercept")
    if w.ndim != loss.ndim + 1 or w.shape[:-1] != intercept.shape:
        shapes = f"w has {np.shape(history.w)}, loss {loss.shape}, intercept {intercept.shape}"
        raise ValueError(f"the parts of a history have shapes (..., m, n_features), (..., m) and (..., m), but {shapes}")
    check_room("history.w", w.size + intercept.size)
    return np.concatenate([w, intercept[..., None]], axis=-1)


def _of_result(result: FitResult | History) -> Candidate:
    """Return the candidate for a result of `fit` or its history."""
    held = False
    if isinstance(result, FitResult) and result.center is not None:
        raise ValueError(
            "the FitResult is of standardize=True: it descended on scaled features, and its history is in the units of X; to judge such a "
            "descent fit and verify (X - result.center) / result.scale"
        )
    history = result.history if isinstance(result, FitResult) else result
    if history is None:
        raise ValueError("the FitResult has no history: fit(..., history=True) records every epoch")
    if not isinstance(history, History):
        raise TypeError(f"the history of a FitResult must be a fastgd.History or None, not {shown(history)}")
    epoch = read_array(history.epoch, "history.epoch")
    if epoch.ndim != 1 or not epoch.size:
        raise ValueError(f"history.epoch must have one number for each recorded epoch, shape (m,); it has shape {epoch.shape}")
    if not (np.diff(epoch) == 1).all():
        raise ValueError("the history does not have every epoch: fit(..., history=True) records them all")
    w = joined(history)
    limit, name = LIMIT, "history"
    if isinstance(result, FitResult):
        held = _held_higher(result, w)
        limit, name = _limit_of(result), result.backend
    return _Recorded(w, np.asarray(history.loss), name, limit, held, batched=getattr(history, "batch_loss", None) is not None)


def _holds_rows(candidate: Any) -> bool:
    """Return whether this is a dict with rows of w."""
    return isinstance(candidate, Mapping) and has_w(candidate) and max(map(np.size, candidate.values())) > 1


def _either(trial: Trial, task: Task) -> Trial:
    """Return a trial that may lack its start, where neither the epochs nor the start are given."""
    if task.epochs is None and task.w0 is None and np.ndim(trial.w) and len(trial.w) > 1:
        trial.otherwise = partial(replace, trial, epochs=len(trial.w), otherwise=after_updates(trial))
    elif not trial.start_known:
        trial.otherwise = after_updates(trial)
    return trial


def _swapped(trial: Trial) -> Trial:
    """Return a trial with w and the intercept the other way round."""
    notes = [*trial.notes[:-1], trial.notes[-1].replace("the second one, as they are declared", "the first one that is declared")]
    decays = None if trial.decays is None else trial.decays[::-1]
    return replace(trial, w=np.asarray(trial.w)[:, ::-1], decays=decays, notes=notes, otherwise=None)


@dataclass
class _Recorded:
    """A recorded history: arrays."""

    w: Any
    loss: Any
    name: str = "history"
    limit: float = LIMIT
    held_higher: bool = False
    others: tuple[Any, ...] = ()  # what came beside w and the losses
    recorder: Recorder | None = None  # that recorded the rows
    of_optimizer: bool = False  # what is asked for is a torch optimizer, with its options
    takes_rates: bool = False  # and its rates: neither lr nor a schedule is asked for
    batched: bool = False  # a result of mini-batches

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, its recorded history)."""
        if self.batched and task.batches is None:
            order = "order=lambda epoch: fastgd.testing.minibatch_order(n_samples, batch_size, epoch, seed)"
            raise ValueError(f"the result is of mini-batches: give batch_size= and, where they were shuffled, {order}")
        if self.recorder is not None:
            self.recorder.check(task.intercept, task.X.shape[-1])
            if task.shape:
                raise ValueError(f"a Recorder holds one fit, but X and y have leading axes {task.shape}")
        if self.w is None:
            if task.shape:
                raise ValueError(f"losses without w are of one fit, but X and y have leading axes {task.shape}")
            yield (), Trial(None, self.loss, start_known=task.w0 is not None)
            return
        if not task.shape and self._has_parts(task):
            try:
                parts = (self.w, self.loss, *self.others)
                read = read_training(
                    parts, task.n_parameters, task.intercept, MOST if task.epochs is None else task.most_updates(task.epochs)
                )
            except Unreadable as error:
                raise ValueError(f"the history cannot be judged: {error}".replace("it returned", "it has")) from None
            notes = [note.replace("what it returned", "what was recorded") for note in read.notes]
            trial = Trial(read.w, read.loss, notes, start_known=task.w0 is not None, copied=self.recorder is not None)
            trial.one_array = 0 if trial.copied else times_one_array(self.w)
            yield (), _either(trial, task) if self.recorder is None else self._recorded(self.recorder, trial, task)
            return
        w = read_array(self.w, "w_history")
        loss = None if self.loss is None else read_array(self.loss, "loss_history")
        if task.shape:
            least = len(task.shape) + 1
            if w.ndim < least or w.shape[: len(task.shape)] != task.shape:
                raise ValueError(f"w_history must have shape {task.shape} + (epochs + 1, D), like the fits; it has shape {w.shape}")
            if loss is not None and loss.shape[:-1] != task.shape:
                raise ValueError(f"loss_history must have shape {task.shape} + (epochs + 1,), like the fits; it has shape {loss.shape}")
        for index in np.ndindex(task.shape):
            of_fit = None if loss is None else loss[index]
            trial = Trial(
                w[index], of_fit, held_higher=self.held_higher, start_known=task.w0 is not None, one_array=times_one_array(self.w),
                copied=self.recorder is not None,
            )  # fmt: skip
            yield index, _either(trial, task) if self.recorder is None else self._recorded(self.recorder, trial, task)

    def watched(self, optimizer: Any) -> bool:
        """Return whether all rows are of this torch optimizer, which a Recorder watched last."""
        return self.recorder is not None and self.recorder.of_an_optimizer and self.recorder.optimizer is optimizer

    def _recorded(self, recorder: Recorder, trial: Trial, task: Task) -> Trial:
        """Return a trial with what a Recorder knows of the rows of an optimizer that it watched."""
        if not recorder.of_an_optimizer:
            return _either(trial, task)
        trial.knows_losses = True
        moves = len(set(recorder.momenta)) > 1
        if self.of_optimizer and moves and task.batches is not None:
            raise ValueError("with batch_size and sample_weight a scheduler that moves momentum is not judged: give cycle_momentum=False")
        if self.of_optimizer and task.ridge is None:
            trial.take_decays(recorder.decays)
        if self.of_optimizer and task.batches is None:
            if moves:
                trial.momenta = np.array(recorder.momenta)
                trial.notes.append("the momentum of each epoch is that which the torch optimizer had")
            if self.takes_rates and len(set(recorder.rates)) > 1 and None not in recorder.rates:
                trial.rates = np.array(recorder.rates)
                trial.notes.append("the learning rates are those which the torch optimizer had: give schedule= to have them judged")
        if recorder.order_is_unknown and task.intercept:
            trial.otherwise = lambda: _swapped(trial)
            told = "read as the second one, as they are declared"
            trial.notes.append(f"the names and the shapes of the two parameters do not say which is the intercept: {told}")
        return trial

    def completed(self, asked_for: dict[str, Any], kinds: tuple[type, ...]) -> dict[str, Any]:
        """Return what is asked for; of one history, rates lr (epochs,) are those of its epochs."""
        lr = asked_for["lr"]
        if lr is None or asked_for["schedule"] is not None or len(shape_of(lr, "lr")) != 1:
            return asked_for
        X, y = asked_for["X"], asked_for["y"]
        one_fit = len(shape_of(X, "X")) <= 2 and (len(shape_of(y, "y")) == 1 or is_column(y, X))
        if not one_fit or (isinstance(self.w, np.ndarray) and self.w.ndim > 2):
            return asked_for
        return asked_for | {"lr": None, "schedule": lr}

    def _has_parts(self, task: Task) -> bool:
        """Return whether w and the intercept are apart, or there are three parts or more."""
        if self.others or has_parts(self.w):
            return True
        if is_table(self.w) and np.shape(self.w)[1:] != (task.n_parameters,):
            return True
        width = np.shape(self.w)[1] if isinstance(self.w, np.ndarray) and self.w.ndim == 2 else None
        return task.intercept and self.loss is not None and width == task.n_parameters - 1
