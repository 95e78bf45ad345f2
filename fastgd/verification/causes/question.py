"""What is asked of a diagnosis: the data of one fit, and the descent that was meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, get_args

import numpy as np

from ...data.faults import where_not_finite
from ...data.problem import Problem
from ...input.annotations import JudgedReduction
from ...input.arrays import arrive_on_host
from ...input.hyperparameters import read_hyperparameters, read_ridge
from ...input.messages import shown
from ...input.options import read_choice
from ...input.reading import read_array, read_numbers
from ...input.room import OF_A_JUDGED, check_room
from ...optimizers import find_optimizer
from ...schedules.table import Scheduled, read_first_rates, read_one_schedule, walk
from ..bound.batches import Rule
from ..bound.strided import strided_shares
from ..bound.yardstick import Array
from .observation import Observation
from .plan import Parts
from .recipes import OfEach, Recipe
from .recorded import Recorded
from .sizes import factor_of

__all__ = ["Question", "read_question", "start_of"]


class Question(NamedTuple):
    """The data of one fit, and what was asked for."""

    X: Array  # (n, d)
    y: Array  # (n,)
    lr: Any  # () or (epochs,)
    asked: Recipe
    intercept: bool
    w0: Array | None  # (D,)
    words: str  # what was asked for, in words
    data_dtype: np.dtype[Any]  # the precision in which `fit` would fit them
    schedule: Scheduled | None = None  # lr is then the rate that it begins with, until `on_schedule`
    reduction: str = "mean"
    parts: Parts | None = None  # of the samples, that each step uses; None: all alike
    first_rate: float | None = None  # the rate that a schedule of factors begins with
    one_array: bool = False  # it is known that the rows of w are one array
    copied: bool = False  # it is known that each row of w is a copy, made in its epoch

    @property
    def n_parameters(self) -> int:
        """Number of parameters, the intercept counted."""
        return self.X.shape[1] + self.intercept

    def with_rate(self, lr: float) -> Question:
        """Return this question with another learning rate."""
        return self._replace(lr=np.asarray(lr), words=self.words.replace(f"lr {float(self.lr.flat[0]):g}", f"lr {lr:g}"))

    def with_options(self, momenta: Array | None, decays: Array | None) -> Question:
        """Return this question with the momentum of each epoch, or the decay of each parameter."""
        asked, words = self.asked, self.words
        if decays is not None:
            told = "/".join(f"{decay:g}" for decay in dict.fromkeys(decays.tolist()))
            words = words.replace(f"weight_decay={float(np.max(asked.values['weight_decay'])):g}", f"weight_decay={told}")
            asked = asked.with_values(weight_decay=decays.view(OfEach))
        return self._replace(asked=replace(asked, momenta=asked.momenta if momenta is None else momenta), words=words)

    def with_schedule(self, schedule: Scheduled | None) -> Question:
        """Return this question with a schedule, whose rates are not known yet."""
        moves = schedule is not None and schedule.moves_momentum
        return self._replace(schedule=schedule, asked=replace(self.asked, momenta=np.empty(0) if moves else None))

    def on_schedule(self, epochs: int) -> Question:
        """Return this question with the rate of each epoch, where there is a schedule."""
        walked = walk(self.schedule, None, epochs, self.asked.rule)
        if walked is None:
            return self
        lr = np.asarray(self.lr, np.float64).reshape(1)
        first, none = None if walked.sets_rates else float(lr[0]), np.zeros(1, np.int64)
        momenta = walked.momenta(none, none, epochs)
        asked = replace(self.asked, momenta=momenta[:, 0]) if len(momenta) else self.asked
        return self._replace(lr=walked.table(none, lr, none, epochs)[:, 0], first_rate=first, asked=asked)

    @property
    def strides(self) -> bool:
        """Whether rows several epochs apart can be judged: the steps between are linear."""
        return self.asked.options is not None

    @property
    def stateless(self) -> bool:
        """Whether every step is the same function of the row before it."""
        return self.asked.stateless and self.schedule is None and np.size(self.lr) == 1

    def shares_apart(
        self, rows: Array, at: Array, *, dtype: Any, held_higher: bool, limit: float, rule: Rule | None = None, factor: float = 1.0
    ) -> tuple[Array, Array]:
        """Return `strided_shares` of rows, with what was asked for, or another rule or factor."""
        return strided_shares(
            self.X, self.y, rows, at, lr=self.lr, reduction=self.reduction, dtype=dtype, intercept=self.intercept,
            held_higher=held_higher, limit=limit, rule=self.asked.linear if rule is None else rule, factor=factor,
        )  # fmt: skip

    def start_is_wrong(self, recorded: Recorded) -> bool:
        """Return whether row 0 is another start than the one asked for."""
        return start_of(self, recorded) is not None

    def observe(self, recorded: Recorded, loss: Array | None = None, held_higher: bool = False, first: int = 0) -> Observation:
        """Return the recorded rows that can be judged, with the exact gradient and loss there.

        first: the epoch of the first row. Where there is a rate for each epoch, rows end with them.
        """
        lr, w = self.lr, recorded.w
        if lr.ndim and len(lr) > 1:
            lr = lr[first : first + max(len(w) - 1, 0)]
            w = w[: len(lr) + 1]
        seen = Observation(
            self.X, self.y, w, recorded.loss if loss is None else loss, lr=lr, dtype=recorded.dtype,
            intercept=self.intercept, factor=self.asked.factor, held_higher=held_higher,
            parts=None if self.parts is None else self.parts.later(first),
        )  # fmt: skip
        seen.first_rate = self.first_rate
        return self.asked.judged(self._with_losses_read(seen))

    @property
    def penalties(self) -> tuple[float, ...]:
        """The penalties that a loss may have, as factors on the squares of w; 0: none.

        Where half of the squares was asked for, the penalty is halved with them.
        """
        ridge = self.asked.ridge * (2 if self.reduction.startswith("half") else 1)
        return (0.0, ridge) if ridge else (0.0,)

    def _with_losses_read(self, seen: Observation) -> Observation:
        """Return the history with its losses read as those of what was asked for."""
        other = self.reduction not in ("mean", "")  # half of the squares, or their sum
        if seen.loss is not None and self.asked.ridge:
            for one in (seen.with_loss_of(self.asked.factor), seen) if other else (seen,):
                before = one.notes
                one.read_loss_with(self.penalties[1])
                if one.notes is not before:
                    one.notes = (*before, *one.notes)
                    return one
        if other:
            seen.read_loss_of(self.asked.factor)
        return seen


def read_question(
    X: Any, y: Any, *, lr: Any, optimizer: Any, reduction: str, intercept: bool, w0: Any, schedule: Any = None, ridge: Any = None
) -> Question:
    """Check the data of one fit and what was asked for."""
    problem = Problem.read(arrive_on_host(X=X, y=y), intercept=intercept, dtype=None)
    if problem.leading:
        raise ValueError(f"diagnose takes one fit, X of shape (n_samples, n_features); X and y have leading axes {problem.leading}")
    data, target = read_array(X, "X"), read_array(y, "y")
    data = data[:, None] if data.ndim == 1 else data
    check_room("X", data.size, OF_A_JUDGED)
    if not (np.isfinite(data).all() and np.isfinite(target).all()):
        raise ValueError(where_not_finite(problem))
    optimizer = find_optimizer(optimizer)
    scheduled = read_one_schedule(schedule)
    given = optimizer.lr if lr is None else lr
    given = optimizer.rule.default_lr if given is None else given
    given = given if scheduled is None else read_first_rates(lr, optimizer, scheduled)
    if given is None:
        raise ValueError("lr is needed: the learning rate that was meant")
    rate = read_numbers(given, "lr")
    if rate.ndim and scheduled is not None:
        raise ValueError(f"lr must be a number beside a schedule; it has shape {rate.shape}")
    if rate.ndim > 1:
        raise ValueError(f"lr must be a number, or one per epoch; it has shape {rate.shape}")
    values = read_hyperparameters(optimizer)
    of_sum = read_choice(reduction, "reduction", get_args(JudgedReduction)).endswith("sum")
    values, penalty = read_ridge(ridge, optimizer.rule, values, float(problem.n_samples) if of_sum else 1.0)
    if penalty is not None and penalty.ndim:
        raise ValueError(f"ridge must be a number here, not an array of shape {penalty.shape}")
    for name, number in values.items():
        if number.ndim:
            raise ValueError(f"{name} must be a number here, not an array of shape {number.shape}")
    names = dict(zip(values, optimizer.rule.hyperparameters, strict=True))  # beta1 for betas[0]
    defaults = optimizer.rule.hyperparameters
    plain: dict[str, Any] = {names[name]: _like(defaults[names[name]], number) for name, number in values.items()}
    factor = factor_of(reduction, problem.n_samples)
    start = None if w0 is None else _read_start(w0, data.shape[1] + intercept, intercept)
    told = {name: value for name, value in plain.items() if penalty is None or name != "weight_decay"}
    changed = ", ".join(f"{name}={value:g}" for name, value in told.items() if value != defaults[name])
    words = f"{optimizer.rule.name}{f'({changed})' if changed else ''}, lr {float(rate.flat[0]):g}, {reduction}"
    words += "" if scheduled is None else f", {scheduled.words}"
    weight = 0.0 if penalty is None else float(penalty)
    if penalty is not None:
        words += f", ridge {weight:g}"
        plain["weight_decay"] = float(plain["weight_decay"]) * np.append(np.ones(data.shape[1]), np.zeros(int(intercept)))
    recipe = Recipe(optimizer.rule, plain, factor, ridge=weight)
    return Question(data, target, rate, recipe, bool(intercept), start, words, problem.dtype, None, reduction).with_schedule(scheduled)


def _like(default: float | bool, number: Array) -> float | bool:
    return bool(number) if isinstance(default, bool) else float(number)


def _read_start(w0: Any, D: int, intercept: bool) -> Array:
    """Return w0 (D,) as an array."""
    start = np.atleast_1d(read_numbers(w0, "w0"))
    if start.shape != (D,):
        last = ", the intercept last" if intercept else ""
        raise ValueError(f"w0 must have shape ({D},){last}; it has shape {np.shape(w0)}: {shown(w0)}")
    return start


def start_of(question: Question, recorded: Recorded) -> tuple[str, dict[str, Any]] | None:
    """Return ("initial_w", words) where row 0 is another start than the one asked for."""
    if question.w0 is None or recorded.start_added:
        return None
    with np.errstate(over="ignore"):
        meant = question.w0.astype(recorded.dtype).astype(np.float64)
    found = recorded.w[0].astype(np.float64)
    either = (found == question.w0) | (found == meant) | (found == question.w0.astype(np.float32))
    return None if either.all() else ("initial_w", {"found": _told(found), "expected": _told(question.w0)})


def _told(w: Array) -> str:
    return f"[{', '.join(f'{float(value):.6g}' for value in w[:4])}{', ...' if len(w) > 4 else ''}]"
