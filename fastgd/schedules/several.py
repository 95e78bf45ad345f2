"""Schedules made of several, and torch's one that fastgd does not have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..input.messages import kind_of, shown
from .walks import Group, Schedule, WalkInTurn, WalkTogether, read_counts


@dataclass(frozen=True)
class SequentialLR(Schedule):
    """Let one schedule follow another at each milestone.

    Parameters
    ----------
    schedulers : sequence of Schedule
        The schedules, in order; none of them a SequentialLR or a ChainedScheduler, which torch
        cannot begin anew. torch constructs them in this order, before the first begins.
    milestones : sequence of int
        The epoch at which each but the first begins, ≥ 0, in increasing order.

    Raises
    ------
    ValueError, TypeError
        The numbers of schedules and milestones do not fit, or one of them is none.

    Examples
    --------
    >>> import fastgd
    >>> from fastgd.schedules import CosineAnnealingLR, LinearLR, SequentialLR
    >>> schedule = SequentialLR([LinearLR(total_iters=10), CosineAnnealingLR(90)], [10])
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.05, schedule=schedule, epochs=100)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.lr_scheduler.SequentialLR.
    """

    schedulers: Sequence[Schedule]
    milestones: Sequence[int]

    def __post_init__(self) -> None:
        self._tidy(schedulers=_schedules(self.schedulers, "SequentialLR"), milestones=read_counts(self.milestones, "milestones"))
        inside = next((one for one in self.schedulers if isinstance(one, SequentialLR | ChainedScheduler)), None)
        if inside is not None:
            raise ValueError(f"SequentialLR takes no {kind_of(inside)}: torch cannot begin one anew at a milestone")
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(f"SequentialLR of {len(self.schedulers)} schedules needs one milestone fewer, not {len(self.milestones)}")
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"milestones must be in increasing order; they are {shown(list(self.milestones))}")

    @property
    def sets_rates(self) -> bool:  # type: ignore[override]
        """Whether the first schedule sets its rates itself."""
        return self.schedulers[0].sets_rates

    @property
    def moves_momentum(self) -> bool:
        """Whether one of the schedules moves momentum, or beta1, too."""
        return any(schedule.moves_momentum for schedule in self.schedulers)

    def _construct(self, group: Group) -> Any:
        return WalkInTurn(self.schedulers, self.milestones, group)


@dataclass(frozen=True)
class ChainedScheduler(Schedule):
    """Let several schedules act in every epoch, each on the rate that the one before it left.

    Parameters
    ----------
    schedulers : sequence of Schedule
        The schedules; torch constructs them in this order.

    Raises
    ------
    ValueError, TypeError
        There is no schedule, or something else among them.

    Examples
    --------
    >>> import fastgd
    >>> from fastgd.schedules import ChainedScheduler, ConstantLR, ExponentialLR
    >>> schedule = ChainedScheduler([ConstantLR(factor=0.1, total_iters=20), ExponentialLR(0.99)])
    >>> int(fastgd.fit([1.0, 2], [2.0, 4], lr=0.05, schedule=schedule, epochs=100).epochs)
    100

    References
    ----------
    torch.optim.lr_scheduler.ChainedScheduler.
    """

    schedulers: Sequence[Schedule]

    def __post_init__(self) -> None:
        self._tidy(schedulers=_schedules(self.schedulers, "ChainedScheduler"))

    @property
    def sets_rates(self) -> bool:  # type: ignore[override]
        """Whether the first schedule sets its rates itself."""
        return self.schedulers[0].sets_rates

    @property
    def moves_momentum(self) -> bool:
        """Whether one of the schedules moves momentum, or beta1, too."""
        return any(schedule.moves_momentum for schedule in self.schedulers)

    def _construct(self, group: Group) -> Any:
        return WalkTogether(self.schedulers, group)


class ReduceLROnPlateau:
    """Not a schedule of fastgd: it depends on the path of the losses. It raises when constructed.

    Parameters
    ----------
    *arguments, **options
        Whatever torch's takes.

    Raises
    ------
    ValueError
        Always.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        refuse_plateau()


def refuse_plateau() -> NoReturn:
    """Raise the error about torch's schedule that depends on the losses."""
    raise ValueError(
        "ReduceLROnPlateau changes the rate by the losses of the descent, and fastgd's rates are known before it begins: fit some epochs, "
        "look at result.loss, and go on with fit(..., lr=..., state=result.state)"
    )


def _schedules(values: Any, owner: str) -> tuple[Schedule, ...]:
    """Schedules, at least one, as a tuple."""
    if isinstance(values, Schedule) or not isinstance(values, list | tuple):
        raise TypeError(f"schedulers of {owner} must be a list of schedules, not {shown(values)}")
    wrong = next((one for one in values if not isinstance(one, Schedule)), None)
    if not values or wrong is not None:
        raise TypeError(f"schedulers of {owner} must be a list of at least one schedule; {shown(wrong) if values else 'it'} is none")
    return tuple(values)
