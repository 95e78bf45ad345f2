"""What schedules share: the class Schedule, and the walks that give the rate of epoch after epoch.

1. torch makes the rate of an epoch from that of the epoch before. Closed forms differ from that in
   the last bits, so the same operations stand in the modules beside this one, in the same order.
   A rate is a Python float or a float64 array of one rate per fit. Powers and cosines are Python's,
   of Python's numbers: NumPy's may differ in the last bit.
2. `_first`, `_next` and `_again` are what torch's `get_lr` gives at construction, in later epochs,
   and where SequentialLR begins with a schedule anew. Schedules are values; what changes from epoch
   to epoch is in `Group` and in the walks.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..input.hyperparameters import read_hyperparameter
from ..input.messages import kind_of, shown, what_was_raised
from ..input.options import read_count
from ..kernels.update_rules import NOT_NEGATIVE, Range

FRACTION = Range(at_least=0, at_most=1)


@dataclass(slots=True)
class Group:
    """The numbers that torch's schedulers share: a parameter group of the optimizer."""

    lr: Any
    initial_lr: Any = None  # that of the first schedule that was constructed
    max_lr: float = math.nan  # of OneCycleLR
    min_lr: float = math.nan
    momentum: float = math.nan  # momentum or beta1; NaN: no schedule moves it
    max_momentum: float = math.nan  # those of the last schedule that was constructed
    base_momentum: float = math.nan


class Schedule:
    """A schedule of the learning rate; the classes of this module are the kinds there are."""

    sets_rates: ClassVar[bool] = False  # it does not begin with an lr that is given

    @property
    def moves_momentum(self) -> bool:
        """Whether it moves momentum, or beta1, too."""
        return False

    def _construct(self, group: Group) -> Any:
        """The walk of this schedule, at epoch 0."""
        return Walk(self, group)

    def _enter(self, group: Group) -> None:
        """Change what torch's constructor changes in the group before the first rate."""

    def _base_afterwards(self, base: Any) -> Any:
        """The rate that `_next` is given as base, once the first rate is made."""
        return base

    def _first(self, group: Group, base: Any) -> Any:
        return group.lr

    def _next(self, t: int, group: Group, base: Any) -> Any:
        raise NotImplementedError(f"{kind_of(self)} has no `_next`")

    def _again(self, group: Group, base: Any) -> Any:
        return self._next(0, group, base)

    def _tidy(self, **values: Any) -> None:
        """Replace what was given by checked numbers of Python."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


class Formula(Schedule):
    """A schedule whose rate does not depend on the rate before."""

    def _first(self, group: Group, base: Any) -> Any:
        return self._next(0, group, base)


class Walk:
    """A schedule at an epoch."""

    def __init__(self, schedule: Schedule, group: Group) -> None:
        self.schedule = schedule
        schedule._enter(group)
        if group.initial_lr is None:
            group.initial_lr = group.lr
        self.base = group.initial_lr
        self.begin(group)
        self.base = schedule._base_afterwards(self.base)

    def begin(self, group: Group) -> None:
        """Go to epoch 0, from the rate of the group."""
        self.epoch = 0
        group.lr = self.schedule._first(group, self.base)

    def begin_again(self, group: Group) -> None:
        """Go to epoch 0, whatever the rate of the group is."""
        self.epoch = 0
        group.lr = self.schedule._again(group, self.base)

    def step(self, group: Group) -> None:
        """Go to the next epoch."""
        self.epoch += 1
        group.lr = self.schedule._next(self.epoch, group, self.base)


class WalkInTurn:
    """Schedules of which one after the other walks."""

    def __init__(self, schedules: Sequence[Schedule], milestones: Sequence[int], group: Group) -> None:
        self.walks = [schedule._construct(group) for schedule in schedules]
        self.milestones, self.epoch = milestones, 0
        group.lr = group.initial_lr
        self.walks[bisect_right(milestones, 0)].begin(group)

    def step(self, group: Group) -> None:
        """Go to the next epoch."""
        self.epoch += 1
        place = bisect_right(self.milestones, self.epoch)
        if place and self.milestones[place - 1] == self.epoch:
            self.walks[place].begin_again(group)
        else:
            self.walks[place].step(group)


class WalkTogether:
    """Schedules that all walk, each from the rate that the one before it left."""

    def __init__(self, schedules: Sequence[Schedule], group: Group) -> None:
        self.walks = [schedule._construct(group) for schedule in schedules]

    def step(self, group: Group) -> None:
        """Go to the next epoch."""
        for walk in self.walks:
            walk.step(group)


def follow(schedule: Schedule, lr: Any) -> Iterator[tuple[Any, float]]:
    """Yield (rate, momentum or beta1) of epoch 0, 1, 2, …; lr: a float, or an array of one per fit.

    The second is NaN where the schedule does not move it.
    """
    group = Group(lr)
    walk = schedule._construct(group)
    while True:
        yield group.lr, group.momentum
        walk.step(group)


def spelled_out(schedule: Schedule) -> tuple[str, dict[str, Any]]:
    """(name of torch's class, its parameters by name); schedules among them are such pairs."""
    values = {field.name: getattr(schedule, field.name) for field in fields(schedule)}  # type: ignore[arg-type]
    if "schedulers" in values:
        values["schedulers"] = [spelled_out(one) for one in values["schedulers"]]
    return kind_of(schedule), values


def with_functions(schedule: Schedule, wrap: Callable[[Any, str], Any]) -> Schedule:
    """The schedule with other functions: wrap(function, its name) for each that it has."""
    changed = object.__new__(type(schedule))
    for field in fields(schedule):  # type: ignore[arg-type]
        value = getattr(schedule, field.name)
        if field.name == "schedulers":
            value = tuple(with_functions(one, wrap) for one in value)
        elif field.name in ("lr_lambda", "scale_fn") and value is not None:
            value = wrap(value, field.name)
        object.__setattr__(changed, field.name, value)
    return changed


def read_real(value: Any, name: str, allowed: Range = NOT_NEGATIVE) -> float:
    """One finite number in a range, as a float."""
    array = read_hyperparameter(value, name, allowed)
    if array.ndim:
        raise TypeError(f"{name} of a schedule must be one number, not {shown(value)}: give a list of schedules, one for each fit")
    return float(array)


def read_whole(value: Any, name: str, least: int) -> int:
    """One whole number, at least `least`."""
    if isinstance(value, list | tuple) or np.ndim(value):
        raise TypeError(f"{name} of a schedule must be one number, not {shown(value)}: give a list of schedules, one for each fit")
    return read_count(value, name, least)


def read_positive(value: Any, name: str, allowed: Range = NOT_NEGATIVE) -> float:
    """One finite number in a range that begins at 0, but not 0."""
    number = read_real(value, name, allowed)
    if number == 0.0:
        raise ValueError(f"{name} must be above 0; it is 0")
    return number


def read_counts(values: Any, name: str) -> tuple[int, ...]:
    """Whole numbers ≥ 0, as a tuple."""
    try:
        entries = tuple(values)
    except Exception as error:  # whatever an __iter__ may raise
        raise TypeError(f"{name} must be a list of whole numbers, not {shown(values)}: {what_was_raised(error)}") from None
    return tuple(read_count(entry, f"{name}[{k}]", 0) for k, entry in enumerate(entries))


def check_callable(value: Any, name: str) -> None:
    """Raise unless a value can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function of the epoch, not {shown(value)}")
