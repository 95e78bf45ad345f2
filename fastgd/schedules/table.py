"""Learning rates that follow a schedule: which one each fit has, and the table of its rates.

1. A schedule is walked once before any work, with functions of the caller called there: what cannot
   be computed is refused, and tasks then only repeat arithmetic.
2. The table of all fits would be epochs × fits numbers. Each task makes that of its own fits, from
   the columns of the rates that differ among them. Where a schedule moves momentum, or beta1, it
   has a second table.
3. Epochs are counted by the updates in the state of a fit, so a descent goes on in mid-schedule.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from ..input.annotations import NumberOrArray
from ..input.hyperparameters import read_rates
from ..input.messages import kind_of, shown, what_was_raised
from ..input.reading import SEQUENCES, check_all, read_numbers
from ..input.room import OF_AN_ENTRY, check_room
from ..input.shapes import without_repeats
from ..input.sharing import device_of, fetch
from ..kernels.update_rules import UpdateRule
from .decays import Constant, LambdaLR, Listed
from .several import refuse_plateau
from .walks import Schedule, follow, spelled_out, with_functions

# the option `schedule`: one, or one for each fit, or the rates of all epochs
ScheduleLike: TypeAlias = Schedule | Callable[[int], float] | Sequence[Schedule | Callable[[int], float] | None] | NumberOrArray
MOST_REMEMBERED = 2**17  # numbers of columns that the next task may ask for again
TABLE_NUMBERS = 2**20  # of the table of one task


@dataclass
class Scheduled:
    """The schedules of a call."""

    schedules: tuple[Schedule, ...]  # those that differ
    which: np.ndarray  # (…) int64: which of them each fit has, to be broadcast
    _remembered: dict[tuple[int, bytes], np.ndarray] = field(default_factory=dict, repr=False)

    def table(self, which: np.ndarray, lr: np.ndarray, first: np.ndarray, epochs: int) -> np.ndarray:
        """(epochs, m): the rates of m fits, from the epoch `first` (m,) of each on.

        which (m,): the schedule of each fit; lr (m,): the rate with which it begins.
        """
        keys = np.stack([np.broadcast_to(which, lr.shape), first, lr.view(np.int64)], axis=1)  # bits: −0.0 is not 0.0
        if len(keys) and (keys == keys[0]).all():
            return np.broadcast_to(self._columns(keys[:1], epochs), (epochs, len(lr)))
        different, column = np.unique(keys, axis=0, return_inverse=True)
        if len(different) == len(keys):
            return self._columns(keys, epochs)
        return np.take(self._columns(different, epochs), column.reshape(-1), axis=1)

    def _columns(self, keys: np.ndarray, epochs: int) -> np.ndarray:
        """(epochs, k): the rates of k different (schedule, first epoch, bits of lr)."""
        name = epochs, keys.tobytes()
        known = self._remembered.get(name)
        if known is not None:
            return known
        which, first, lr = (np.ascontiguousarray(column) for column in keys.T)
        columns = np.empty((epochs, len(keys)))
        with np.errstate(all="ignore"):  # rates may overflow, as torch's do
            for k in np.unique(which):
                own = np.flatnonzero(which == k)
                for begin in np.unique(first[own]):
                    here = own[first[own] == begin]
                    rates = lr[here].view(np.float64)
                    walk = follow(self.schedules[k], rates if len(here) > 1 else float(rates[0]))
                    for row, (rate, _) in enumerate(islice(walk, int(begin), int(begin) + epochs)):
                        columns[row, here] = rate
        if columns.size <= MOST_REMEMBERED:
            self._remembered.clear()
            self._remembered[name] = columns
        return columns

    @property
    def moves_momentum(self) -> bool:
        """Whether one of the schedules moves momentum, or beta1, too."""
        return any(schedule.moves_momentum for schedule in self.schedules)

    def momenta(self, which: np.ndarray, first: np.ndarray, epochs: int) -> np.ndarray:
        """(epochs, m): momentum, or beta1, of m fits, from the epoch `first` (m,) of each on.

        NaN of a fit whose schedule does not move it; (0, 0) where none does. which: as in `table`.
        """
        if not self.moves_momentum:
            return np.empty((0, 0))
        keys = np.stack([np.broadcast_to(which, first.shape), first], axis=1)
        different, column = np.unique(keys, axis=0, return_inverse=True)
        columns = np.full((epochs, len(different)), np.nan)
        for own, (schedule, begin) in zip(columns.T, different.tolist(), strict=True):
            if self.schedules[schedule].moves_momentum:
                own[:] = [momentum for _, momentum in islice(follow(self.schedules[schedule], 1.0), begin, begin + epochs)]
        return np.take(columns, column.reshape(-1), axis=1)

    def first_rates(self, given: Any) -> np.ndarray | None:
        """The rates with which fits begin: `given` (…) but where a schedule sets them itself.

        None where they are the safe rates.
        """
        own = np.array([schedule.sets_rates for schedule in self.schedules])
        if not own.any():
            return given
        firsts = np.array([_first_rate(schedule) if schedule.sets_rates else 0.0 for schedule in self.schedules])
        if own.all():
            return firsts[self.which]
        if given is None:
            raise ValueError("lr is needed: some of the schedules set the rates themselves, and beside them there is no safe rate")
        return np.where(own[self.which], firsts[self.which], given)

    @property
    def words(self) -> str:
        """The schedules in words."""
        return ", ".join("rates of each epoch" if isinstance(one, Listed) else shown(one) for one in self.schedules)

    @property
    def sets_rates(self) -> bool:
        """Whether every schedule sets the rates itself."""
        return all(schedule.sets_rates for schedule in self.schedules)

    def spelled_out(self, which: int) -> tuple[str, dict[str, Any]] | None:
        """A schedule as `schedules.spelled_out`; None where torch has none like it."""
        schedule = self.schedules[which]
        return None if isinstance(schedule, Constant | Listed) else spelled_out(schedule)


def walk(schedule: Scheduled | None, done: Any, epochs: int, rule: UpdateRule) -> Scheduled | None:
    """The schedules, whose functions were called for every epoch; None where the rates stay.

    done: the epochs that were run before, an array or None; epochs: that are to be run now.
    """
    if schedule is not None and schedule.moves_momentum and rule.moving is None:
        one = next(one for one in schedule.schedules if one.moves_momentum)
        raise ValueError(
            f"{kind_of(one)} moves momentum, or beta1, and {rule.class_name} has neither: give cycle_momentum=False, or another optimizer"
        )
    if schedule is None or epochs == 0:
        return None
    before = 0 if done is None else int((done if device_of(done) is None else fetch(done, "state.epoch")).max(initial=0))
    return Scheduled(tuple(_walked(one, before + epochs, rule) for one in schedule.schedules), schedule.which)


def read_schedule(value: Any) -> Scheduled | None:
    """The option `schedule`; None where it is None. One that was read before stays as it is."""
    if value is None or isinstance(value, Scheduled):
        return value
    if isinstance(value, Schedule) or (callable(value) and not isinstance(value, type) and not _is_of_torch(value)):
        return Scheduled((_schedule_of(value),), np.zeros((), np.int64))
    entries = _entries(value)
    if entries is not None:
        check_room("schedule", entries.size, OF_AN_ENTRY)
        different, which = _different([_schedule_of(entry) for entry in entries.flat])
        return Scheduled(different, np.array(which, np.int64).reshape(entries.shape))
    if isinstance(value, str | bytes | type) or _is_of_torch(value):
        _refuse(value)
    rates = read_numbers(value, "schedule", "a schedule of fastgd.schedules, a list of them, a function of the epoch, or learning rates")
    if rates.ndim != 1:
        raise ValueError(
            f"learning rates in schedule must be one for each epoch, shape (epochs,), for all fits; they have shape {rates.shape}: "
            "give a list of schedules for fits that differ"
        )
    check_room("schedule", rates.size, OF_AN_ENTRY)
    check_all(rates, rates >= 0, "schedule", "at least 0")
    return Scheduled((Listed(tuple(rates.tolist())),), np.zeros((), np.int64))


def read_one_schedule(value: Any) -> Scheduled | None:
    """A schedule that all fits share; None where it is None."""
    found = read_schedule(value)
    if found is not None and found.which.ndim:
        raise ValueError("schedule must be one for all fits here, not a list of several")
    return found


def _entries(value: Any) -> np.ndarray | None:
    """(…) objects, where the value is a list or an array of schedules, else None."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value if value.size and any(isinstance(one, Schedule) for one in without_repeats(value, 0).flat) else None
    if not isinstance(value, SEQUENCES) or not any(isinstance(one, Schedule) or callable(one) or _is_of_torch(one) for one in value):
        return None
    entries = np.empty(len(value), object)
    entries[:] = value
    return entries


def _different(schedules: list[Schedule]) -> tuple[tuple[Schedule, ...], list[int]]:
    """(those that differ, which of them each is)."""
    try:
        found: dict[Schedule, int] = {}
        which = [found.setdefault(schedule, len(found)) for schedule in schedules]
        return tuple(found), which
    except TypeError:  # the hash of a function of the caller's
        different: list[Schedule] = []
        for schedule in schedules:
            if schedule not in different:
                different.append(schedule)
        return tuple(different), [different.index(schedule) for schedule in schedules]


def _schedule_of(value: Any) -> Schedule:
    """A schedule for an entry: a schedule, a function of the epoch, or None."""
    if value is None:
        return Constant()
    if isinstance(value, Schedule):
        return value
    if not callable(value) or isinstance(value, type) or _is_of_torch(value):
        _refuse(value)
    return LambdaLR(value)


def _is_of_torch(value: Any) -> bool:
    return (type(value).__module__ or "").startswith("torch.optim")


def _refuse(value: Any) -> None:
    """Raise for what is no schedule; say what to give instead of one of torch's."""
    name = shown(value) if isinstance(value, str) else kind_of(value) if not isinstance(value, type) else value.__name__
    if "plateau" in name.lower():
        refuse_plateau()
    if _is_of_torch(value):
        raise TypeError(f"schedule is torch's {name}: give fastgd.schedules.{name} with the same parameters, without the optimizer")
    raise TypeError(
        "schedule must be a schedule such as fastgd.schedules.StepLR(30), a list of them for several fits, a function of the epoch, or an "
        f"array of one learning rate per epoch, not {shown(value)}"
    )


def _walked(schedule: Schedule, epochs: int, rule: UpdateRule) -> Schedule:
    """The schedule with what its functions return, after a walk of some epochs."""
    known = with_functions(schedule, _Answers)
    walk = _in_words(schedule, follow(known, 1.0), epochs)
    if not schedule.moves_momentum or rule.moving is None:
        deque(walk, maxlen=0)
        return known
    allowed = rule.range_of(rule.moving)
    for epoch, (_, momentum) in enumerate(walk):
        for words, wrong in allowed.faults(momentum).items():
            if wrong:
                raise ValueError(f"{kind_of(schedule)} makes {rule.moving} {momentum:g} in epoch {epoch}; it must be {words}")
    return known


def _first_rate(schedule: Schedule) -> float:
    """The rate of epoch 0 of a schedule that sets its rates itself."""
    ((rate, _),) = _in_words(schedule, follow(schedule, 0.0), 1)
    return float(rate)


def _in_words(schedule: Schedule, rates: Iterator[Any], epochs: int) -> Iterator[Any]:
    """Yield the first rates; a division by zero of torch's formula becomes an error in words."""
    epoch = 0
    try:
        for rate in islice(rates, epochs):
            yield rate
            epoch += 1
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{kind_of(schedule)} has no rate in epoch {epoch} (counted from 0), nor has torch's: {error}") from None


class _Answers:
    """A function of the caller, called once for each argument."""

    def __init__(self, function: Callable[[Any], Any], name: str) -> None:
        self.function, self.name = function, name
        self.known: dict[int, float] = {}

    def __call__(self, argument: int) -> float:
        found = self.known.get(argument)
        if found is None:
            found = self.known[argument] = self._checked(self.function(argument), argument)
        return found

    def _checked(self, answer: Any, argument: int) -> float:
        try:
            number = float(answer)
        except Exception as error:  # whatever a __float__ may raise
            why = what_was_raised(error)
            raise TypeError(f"{self.name}({argument}) must be a number; it is {shown(answer)}: {why}") from None
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{self.name}({argument}) must be finite and at least 0; it is {number:g}")
        return number


def read_first_rates(lr: Any, optimizer: Any, schedule: Scheduled | None) -> np.ndarray | None:
    """The learning rates with which fits begin; None: the safe rates."""
    given = read_rates(lr, optimizer)
    if schedule is None:
        return given
    if schedule.sets_rates and not (lr is None and optimizer.lr is None):
        name = "an array of rates" if isinstance(schedule.schedules[0], Listed) else kind_of(schedule.schedules[0])
        raise ValueError(f"schedule ({name}) sets the learning rates itself: leave lr out, here and in the optimizer")
    return schedule.first_rates(given)
