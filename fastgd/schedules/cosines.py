"""Schedules along a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .walks import Formula, Group, Schedule, read_real, read_whole


@dataclass(frozen=True)
class CosineAnnealingLR(Schedule):
    """Let the rate fall to `eta_min` in `T_max` epochs along half a cosine, and rise again.

    Parameters
    ----------
    T_max : int
        Half the period [epochs], ≥ 1.
    eta_min : float, default 0
        The least rate, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> schedule = fastgd.schedules.CosineAnnealingLR(T_max=100)
    >>> optimizer = fastgd.Adam(lr=0.2)
    >>> x, y = [1.0, 2, 3, 4], [2.0, 4, 6, 8]
    >>> result = fastgd.fit(x, y, optimizer=optimizer, schedule=schedule, epochs=100)
    >>> round(float(result.w), 1)
    2.0

    References
    ----------
    torch.optim.lr_scheduler.CosineAnnealingLR; Loshchilov & Hutter 2017.
    """

    T_max: int
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        self._tidy(T_max=read_whole(self.T_max, "T_max", 1), eta_min=read_real(self.eta_min, "eta_min"))

    def _next(self, t: int, group: Group, base: Any) -> Any:
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:
            return group.lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        ratio = (1 + math.cos(math.pi * t / self.T_max)) / (1 + math.cos(math.pi * (t - 1) / self.T_max))
        return ratio * (group.lr - self.eta_min) + self.eta_min

    def _again(self, group: Group, base: Any) -> Any:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(0.0)) / 2


@dataclass(frozen=True)
class CosineAnnealingWarmRestarts(Formula):
    """Let the rate fall to `eta_min` along half a cosine, then begin anew with a longer one.

    Parameters
    ----------
    T_0 : int
        Epochs until the first restart, ≥ 1.
    T_mult : int, default 1
        How many times as long as the one before each further period is, ≥ 1.
    eta_min : float, default 0
        The least rate, ≥ 0.

    Raises
    ------
    ValueError, TypeError
        A value is out of range.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.schedules.CosineAnnealingWarmRestarts(T_0=10, T_mult=2)
    CosineAnnealingWarmRestarts(T_0=10, T_mult=2, eta_min=0.0)

    References
    ----------
    torch.optim.lr_scheduler.CosineAnnealingWarmRestarts; Loshchilov & Hutter 2017.
    """

    T_0: int
    T_mult: int = 1
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        self._tidy(
            T_0=read_whole(self.T_0, "T_0", 1), T_mult=read_whole(self.T_mult, "T_mult", 1), eta_min=read_real(self.eta_min, "eta_min")
        )

    def _next(self, t: int, group: Group, base: Any) -> Any:
        period = self.T_0
        if self.T_mult == 1:
            t %= period
        while t >= period:
            t, period = t - period, period * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / period)) / 2
