"""Schedules that multiply the rate by a factor: at some epochs, in every one, or by a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .walks import FRACTION, Formula, Group, Schedule, check_callable, read_counts, read_positive, read_real, read_whole


@dataclass(frozen=True)
class StepLR(Schedule):
    """Multiply the rate by gamma every `step_size` epochs.

    Parameters
    ----------
    step_size : int
        Epochs between two changes, ≥ 1.
    gamma : float, default 0.1
        The factor, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> schedule = fastgd.schedules.StepLR(step_size=30, gamma=0.5)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.05, schedule=schedule, epochs=100)
    >>> round(float(result.w), 6)
    2.0

    References
    ----------
    torch.optim.lr_scheduler.StepLR.
    """

    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self._tidy(step_size=read_whole(self.step_size, "step_size", 1), gamma=read_real(self.gamma, "gamma"))

    def _next(self, t: int, group: Group, base: Any) -> Any:
        return group.lr if t % self.step_size else group.lr * self.gamma

    def _again(self, group: Group, base: Any) -> Any:
        return base * self.gamma**0


@dataclass(frozen=True)
class MultiStepLR(Schedule):
    """Multiply the rate by gamma at each milestone.

    Parameters
    ----------
    milestones : sequence of int
        Epochs, ≥ 0; one that stands there k times counts k times.
    gamma : float, default 0.1
        The factor, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.schedules.MultiStepLR([30, 80], gamma=0.1)
    MultiStepLR(milestones=(30, 80), gamma=0.1)

    References
    ----------
    torch.optim.lr_scheduler.MultiStepLR.
    """

    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self._tidy(milestones=read_counts(self.milestones, "milestones"), gamma=read_real(self.gamma, "gamma"))

    def _first(self, group: Group, base: Any) -> Any:
        return self._next(0, group, base)

    def _next(self, t: int, group: Group, base: Any) -> Any:
        times = self.milestones.count(t)
        return group.lr * self.gamma**times if times else group.lr

    def _again(self, group: Group, base: Any) -> Any:
        return base * self.gamma ** self.milestones.count(0)


@dataclass(frozen=True)
class ConstantLR(Schedule):
    """Multiply the rate by a factor until epoch `total_iters`.

    Parameters
    ----------
    factor : float, default 1/3
        The factor, > 0 and ≤ 1.
    total_iters : int, default 5
        The first epoch with the whole rate, ≥ 0; where it is 0 there is none, as in torch.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.schedules.ConstantLR(factor=0.5)
    ConstantLR(factor=0.5, total_iters=5)

    References
    ----------
    torch.optim.lr_scheduler.ConstantLR.
    """

    factor: float = 1.0 / 3
    total_iters: int = 5

    def __post_init__(self) -> None:
        self._tidy(factor=read_positive(self.factor, "factor", FRACTION), total_iters=read_whole(self.total_iters, "total_iters", 0))

    def _first(self, group: Group, base: Any) -> Any:
        return group.lr * self.factor

    def _next(self, t: int, group: Group, base: Any) -> Any:
        return group.lr * (1.0 / self.factor) if t == self.total_iters else group.lr

    def _again(self, group: Group, base: Any) -> Any:
        return base * (self.factor + (self.total_iters <= 0) * (1 - self.factor))


@dataclass(frozen=True)
class LinearLR(Schedule):
    """Move the rate's factor from `start_factor` to `end_factor` in `total_iters` equal steps.

    Parameters
    ----------
    start_factor : float, default 1/3
        The factor of epoch 0, > 0 and ≤ 1.
    end_factor : float, default 1
        The factor from epoch `total_iters` on, between 0 and 1.
    total_iters : int, default 5
        The number of steps, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    A warm-up:

    >>> import fastgd
    >>> schedule = fastgd.schedules.LinearLR(start_factor=0.1, total_iters=10)
    >>> int(fastgd.fit([1.0, 2], [2.0, 4], lr=0.05, schedule=schedule, epochs=100).epochs)
    100

    References
    ----------
    torch.optim.lr_scheduler.LinearLR.
    """

    start_factor: float = 1.0 / 3
    end_factor: float = 1.0
    total_iters: int = 5

    def __post_init__(self) -> None:
        self._tidy(
            start_factor=read_positive(self.start_factor, "start_factor", FRACTION),
            end_factor=read_real(self.end_factor, "end_factor", FRACTION),
            total_iters=read_whole(self.total_iters, "total_iters", 0),
        )

    def _first(self, group: Group, base: Any) -> Any:
        return group.lr * self.start_factor

    def _next(self, t: int, group: Group, base: Any) -> Any:
        if t > self.total_iters:
            return group.lr
        span = self.end_factor - self.start_factor
        return group.lr * (1.0 + span / (self.total_iters * self.start_factor + (t - 1) * span))

    def _again(self, group: Group, base: Any) -> Any:
        span = self.end_factor - self.start_factor
        return base * (self.start_factor + span * min(self.total_iters, 0) / self.total_iters)


@dataclass(frozen=True)
class ExponentialLR(Schedule):
    """Multiply the rate by gamma in every epoch.

    Parameters
    ----------
    gamma : float
        The factor, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.schedules.ExponentialLR(0.95)
    ExponentialLR(gamma=0.95)

    References
    ----------
    torch.optim.lr_scheduler.ExponentialLR.
    """

    gamma: float

    def __post_init__(self) -> None:
        self._tidy(gamma=read_real(self.gamma, "gamma"))

    def _next(self, t: int, group: Group, base: Any) -> Any:
        return group.lr * self.gamma

    def _again(self, group: Group, base: Any) -> Any:
        return base * self.gamma**0


@dataclass(frozen=True)
class PolynomialLR(Schedule):
    """Let the rate fall to 0 in `total_iters` epochs, as lr · (1 − t/total_iters)^power.

    Parameters
    ----------
    total_iters : int, default 5
        The first epoch of rate 0, ≥ 0.
    power : float, default 1
        The power, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.schedules.PolynomialLR(total_iters=100, power=2)
    PolynomialLR(total_iters=100, power=2.0)

    References
    ----------
    torch.optim.lr_scheduler.PolynomialLR.
    """

    total_iters: int = 5
    power: float = 1.0

    def __post_init__(self) -> None:
        self._tidy(total_iters=read_whole(self.total_iters, "total_iters", 0), power=read_real(self.power, "power"))

    def _next(self, t: int, group: Group, base: Any) -> Any:
        if t > self.total_iters:
            return group.lr
        return group.lr * ((1.0 - t / self.total_iters) / (1.0 - (t - 1) / self.total_iters)) ** self.power

    def _again(self, group: Group, base: Any) -> Any:
        return base * (1.0 - min(self.total_iters, 0) / self.total_iters) ** self.power


@dataclass(frozen=True)
class LambdaLR(Formula):
    """Multiply the first rate by a function of the epoch.

    Parameters
    ----------
    lr_lambda : callable
        The factor as a function of the epoch 0, 1, 2, …; finite and ≥ 0. `fit` calls it before the
        descent, once for each epoch.

    Raises
    ------
    TypeError
        `lr_lambda` is no function.

    Examples
    --------
    >>> import fastgd
    >>> schedule = fastgd.schedules.LambdaLR(lambda epoch: 1 / (1 + epoch))
    >>> int(fastgd.fit([1.0, 2], [2.0, 4], lr=0.05, schedule=schedule, epochs=100).epochs)
    100

    References
    ----------
    torch.optim.lr_scheduler.LambdaLR.
    """

    lr_lambda: Callable[[int], float]

    def __post_init__(self) -> None:
        check_callable(self.lr_lambda, "lr_lambda")

    def _next(self, t: int, group: Group, base: Any) -> Any:
        return base * self.lr_lambda(t)


@dataclass(frozen=True)
class MultiplicativeLR(Schedule):
    """Multiply the rate by a function of the epoch, in every epoch after the first.

    Parameters
    ----------
    lr_lambda : callable
        The factor as a function of the epoch 1, 2, …; finite and ≥ 0. `fit` calls it before the
        descent, once for each epoch.

    Raises
    ------
    TypeError
        `lr_lambda` is no function.

    Examples
    --------
    >>> import fastgd
    >>> schedule = fastgd.schedules.MultiplicativeLR(lambda epoch: 0.95)
    >>> int(fastgd.fit([1.0, 2], [2.0, 4], lr=0.05, schedule=schedule, epochs=100).epochs)
    100

    References
    ----------
    torch.optim.lr_scheduler.MultiplicativeLR.
    """

    lr_lambda: Callable[[int], float]

    def __post_init__(self) -> None:
        check_callable(self.lr_lambda, "lr_lambda")

    def _next(self, t: int, group: Group, base: Any) -> Any:
        return group.lr * self.lr_lambda(t)


@dataclass(frozen=True)
class Constant(Schedule):
    """No schedule, beside schedules of other fits."""

    def _next(self, t: int, group: Group, base: Any) -> Any:
        return group.lr


@dataclass(frozen=True)
class Listed(Formula):
    """The learning rates of an array, one per epoch."""

    sets_rates: ClassVar[bool] = True

    rates: tuple[float, ...]

    def _enter(self, group: Group) -> None:
        group.lr = self.rates[0]

    def _next(self, t: int, group: Group, base: Any) -> Any:
        if t >= len(self.rates):
            raise ValueError(f"schedule has {len(self.rates):,} learning rates, and a further epoch asks for one: give one for each epoch")
        return self.rates[t]
