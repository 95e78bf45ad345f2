"""Schedules whose rate goes up and down between two ends, which they set themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..input.options import read_choice, read_switch
from .walks import FRACTION, Formula, Group, check_callable, read_positive, read_real, read_whole


@dataclass(frozen=True)
class CyclicLR(Formula):
    """Let the rate go up from `base_lr` to `max_lr` and down again, cycle after cycle.

    It sets the rates itself: no lr is given beside it.

    Parameters
    ----------
    base_lr, max_lr : float
        The least and the largest rate, ≥ 0.
    step_size_up : int, default 2000
        Epochs of a rise, ≥ 1.
    step_size_down : int, optional
        Epochs of a fall, ≥ 1. None: as many as of a rise.
    mode : {"triangular", "triangular2", "exp_range"}, default "triangular"
        The height of the cycles: the same, halved in each, or times gamma^epoch.
    gamma : float, default 1
        Of "exp_range", ≥ 0.
    scale_fn : callable, optional
        The height as a function of the cycle 1, 2, … or the epoch 0, 1, …; it replaces `mode`.
    scale_mode : {"cycle", "iterations"}, default "cycle"
        What `scale_fn` is a function of.
    cycle_momentum : bool, default True
        Whether the momentum of SGD and RMSprop, or beta1 of the rules that have betas, goes the
        other way: from `max_momentum` down and up again, whatever the optimizer was given. Rules
        that have neither need False.
    base_momentum, max_momentum : float, default 0.8 and 0.9
        The least and the largest momentum, ≥ 0, `max_momentum` above 0; beta1 is below 1.

    Raises
    ------
    ValueError, TypeError
        A value is out of range. By `fit`: the optimizer has neither momentum nor betas.

    Examples
    --------
    >>> import fastgd
    >>> schedule = fastgd.schedules.CyclicLR(0.01, 0.1, step_size_up=20)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], schedule=schedule, epochs=100)
    >>> float(result.lr)
    0.01

    References
    ----------
    torch.optim.lr_scheduler.CyclicLR; Smith 2017.
    """

    sets_rates: ClassVar[bool] = True

    base_lr: float
    max_lr: float
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = 1.0
    scale_fn: Callable[[float], float] | None = None
    scale_mode: Literal["cycle", "iterations"] = "cycle"
    cycle_momentum: bool = True
    base_momentum: float = 0.8
    max_momentum: float = 0.9

    def __post_init__(self) -> None:
        down = self.step_size_down
        self._tidy(
            base_lr=read_real(self.base_lr, "base_lr"),
            max_lr=read_real(self.max_lr, "max_lr"),
            step_size_up=read_whole(self.step_size_up, "step_size_up", 1),
            step_size_down=None if down is None else read_whole(down, "step_size_down", 1),
            mode=read_choice(self.mode, "mode", ("triangular", "triangular2", "exp_range")),
            gamma=read_real(self.gamma, "gamma"),
            scale_mode=read_choice(self.scale_mode, "scale_mode", ("cycle", "iterations")),
            **_momentum(self),
        )
        if self.scale_fn is not None:
            check_callable(self.scale_fn, "scale_fn")

    @property
    def moves_momentum(self) -> bool:
        """Whether it moves momentum, or beta1, too."""
        return self.cycle_momentum

    def _enter(self, group: Group) -> None:
        group.lr = self.base_lr
        _enter_momentum(self, group)

    def _base_afterwards(self, base: Any) -> Any:
        return self.base_lr  # torch sets it after the first rate: beside other schedules that is another

    def _scale(self, cycle: int, t: int) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else t)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (cycle - 1)
        return self.gamma**t if self.mode == "exp_range" else 1.0

    def _next(self, t: int, group: Group, base: Any) -> Any:
        up = float(self.step_size_up)
        total = up + (up if self.step_size_down is None else float(self.step_size_down))
        ratio = up / total
        cycle = math.floor(1 + t / total)
        x = 1.0 + t / total - cycle
        share = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
        if self.cycle_momentum:
            group.momentum = self.max_momentum - (self.max_momentum - self.base_momentum) * share * self._scale(cycle, t)
        return base + (self.max_lr - base) * share * self._scale(cycle, t)


@dataclass(frozen=True)
class OneCycleLR(Formula):
    """Let the rate go up to `max_lr`, then down to almost nothing, once.

    It sets the rates itself: no lr is given beside it.

    Parameters
    ----------
    max_lr : float
        The largest rate, ≥ 0.
    total_steps : int, optional
        The epochs of the cycle, ≥ 1; a descent may have no more. None: epochs · steps_per_epoch.
    epochs, steps_per_epoch : int, optional
        Their product replaces `total_steps`. A step is an epoch of `fit`.
    pct_start : float, default 0.3
        The share of the rise in the cycle, between 0 and 1.
    anneal_strategy : {"cos", "linear"}, default "cos"
        The form of rise and fall.
    cycle_momentum : bool, default True
        Whether the momentum of SGD and RMSprop, or beta1 of the rules that have betas, goes the
        other way: from `max_momentum` down and up again, whatever the optimizer was given. Rules
        that have neither need False.
    base_momentum, max_momentum : float, default 0.85 and 0.95
        The least and the largest momentum, ≥ 0, `max_momentum` above 0; beta1 is below 1.
    div_factor : float, default 25
        The first rate is max_lr / div_factor; > 0.
    final_div_factor : float, default 10000
        The last rate is the first / final_div_factor; > 0.
    three_phase : bool, default False
        Whether the fall ends at the first rate, and a third phase leads from there to the last.

    Raises
    ------
    ValueError, TypeError
        A value is out of range, or the number of steps is missing. By `fit`: the optimizer has
        neither momentum nor betas.

    Examples
    --------
    >>> import fastgd
    >>> schedule = fastgd.schedules.OneCycleLR(0.1, total_steps=100)
    >>> result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], schedule=schedule, epochs=100)
    >>> round(float(result.lr), 6)
    0.004

    References
    ----------
    torch.optim.lr_scheduler.OneCycleLR; Smith & Topin 2019.
    """

    sets_rates: ClassVar[bool] = True

    max_lr: float
    total_steps: int | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = None
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool = True
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("total_steps", "epochs", "steps_per_epoch")}
        self._tidy(
            **{name: None if value is None else read_whole(value, name, 1) for name, value in counts.items()},
            max_lr=read_real(self.max_lr, "max_lr"),
            pct_start=read_real(self.pct_start, "pct_start", FRACTION),
            anneal_strategy=read_choice(self.anneal_strategy, "anneal_strategy", ("cos", "linear")),
            **_momentum(self),
            div_factor=read_positive(self.div_factor, "div_factor"),
            final_div_factor=read_positive(self.final_div_factor, "final_div_factor"),
            three_phase=read_switch(self.three_phase, "three_phase"),
        )
        if self.total_steps is None and None in (self.epochs, self.steps_per_epoch):
            raise ValueError("OneCycleLR needs total_steps, the number of epochs of its cycle, or both epochs and steps_per_epoch")

    @property
    def moves_momentum(self) -> bool:
        """Whether it moves momentum, or beta1, too."""
        return self.cycle_momentum

    @property
    def _steps(self) -> int:
        if self.total_steps is not None:
            return self.total_steps
        return (self.epochs or 0) * (self.steps_per_epoch or 0)

    def _enter(self, group: Group) -> None:
        group.initial_lr = self.max_lr / self.div_factor
        group.max_lr = self.max_lr
        group.min_lr = group.initial_lr / self.final_div_factor
        _enter_momentum(self, group)

    def _phases(self, group: Group) -> list[tuple[float, tuple[float, float], tuple[float, float]]]:
        """[(last epoch, first and last rate, first and last momentum)] of each phase."""
        rise, first, last, most = float(self.pct_start * self._steps) - 1, group.initial_lr, group.min_lr, group.max_lr
        low, high = group.base_momentum, group.max_momentum
        if not self.three_phase:
            return [(rise, (first, most), (high, low)), (self._steps - 1, (most, last), (low, high))]
        fall = float(2 * self.pct_start * self._steps) - 2
        return [(rise, (first, most), (high, low)), (fall, (most, first), (low, high)), (self._steps - 1, (first, last), (high, high))]

    def _between(self, first: float, last: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (last - first) * share + first
        return last + (first - last) / 2.0 * (math.cos(math.pi * share) + 1)

    def _next(self, t: int, group: Group, base: Any) -> Any:
        if t >= self._steps:
            raise ValueError(f"OneCycleLR has rates for {self._steps:,} epochs, and a further one is asked for: give more total_steps")
        begin, phases = 0.0, self._phases(group)
        for end, _, _ in phases[:-1]:
            if t <= end:
                break
            begin = end
        end, rates, momenta = next((phase for phase in phases if t <= phase[0]), phases[-1])
        share = (t - begin) / (end - begin)
        if self.cycle_momentum:
            group.momentum = self._between(*momenta, share)
        return self._between(*rates, share)


def _momentum(schedule: CyclicLR | OneCycleLR) -> dict[str, Any]:
    """The parameters about momentum, checked. A descent begins with the largest."""
    cycles = read_switch(schedule.cycle_momentum, "cycle_momentum")
    most = (read_positive if cycles else read_real)(schedule.max_momentum, "max_momentum")
    return {"cycle_momentum": cycles, "base_momentum": read_real(schedule.base_momentum, "base_momentum"), "max_momentum": most}


def _enter_momentum(schedule: CyclicLR | OneCycleLR, group: Group) -> None:
    """Change what torch's constructors change of the momentum."""
    if schedule.cycle_momentum:
        group.momentum = group.max_momentum = schedule.max_momentum
        group.base_momentum = schedule.base_momentum
