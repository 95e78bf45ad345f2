"""Axes of time as numbers: datetime64, timedelta64 and the datetimes of cftime."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import xarray

TimeUnit: TypeAlias = Literal["second", "minute", "hour", "day", "year", "decade"]
UNITS: tuple[TimeUnit, ...] = ("second", "minute", "hour", "day", "year", "decade")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_DAYS_OF_A_YEAR = {  # of the calendars of the CF conventions whose years are others than Gregory's
    "noleap": 365.0, "365_day": 365.0, "all_leap": 366.0, "366_day": 366.0, "360_day": 360.0, "julian": 365.25,
}  # fmt: skip
_GREGORIAN = 365.2425


class Axis(NamedTuple):
    """A predictor as numbers.

    units: of the numbers, "" where not known. origin: the time that is 0, as text; "" where there
    is none. calendar: of the dates; "" where they were none.
    """

    numbers: xarray.DataArray
    is_time: bool = False
    units: str = ""
    origin: str = ""
    calendar: str = ""


def axis_of(values: xarray.DataArray, unit: TimeUnit, name: str) -> Axis:
    """A predictor as numbers: times in float64, dates from the earliest of them, durations from 0.

    A time that is missing is NaN.
    """
    kind = values.dtype.kind
    if kind in "fiub":
        return Axis(values, units=str(values.attrs.get("units", "")))
    if kind == "m":
        return Axis(_in_unit(values, values.values, unit, _GREGORIAN), True, unit)
    if kind == "M":
        times = values.values
        known = times[~np.isnat(times)]
        first = known.min() if known.size else times.dtype.type("NaT")
        return Axis(_in_unit(values, times - first, unit, _GREGORIAN), True, unit, str(first), "proleptic_gregorian")
    dates = [one for one in values.values.ravel() if not _is_missing(one)] if kind == "O" else []
    if dates and all(hasattr(one, "calendar") and hasattr(one, "timetuple") for one in dates):
        first, calendar = min(dates), dates[0].calendar
        elapsed = [np.timedelta64("NaT") if _is_missing(one) else np.timedelta64(one - first) for one in values.values.ravel()]
        durations = np.array(elapsed, "timedelta64[us]").reshape(values.shape)
        numbers = _in_unit(values, durations, unit, _DAYS_OF_A_YEAR.get(calendar, _GREGORIAN))
        return Axis(numbers, True, unit, first.isoformat(), calendar)
    raise TypeError(
        f"{name} has dtype {values.dtype}: it must hold numbers, numpy.datetime64, numpy.timedelta64 or datetimes of cftime; "
        "give other predictors with x="
    )


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN and NaT differ from themselves


def _in_unit(like: xarray.DataArray, durations: np.ndarray, unit: TimeUnit, days: float) -> xarray.DataArray:
    """Durations as float64 in a unit; a year has the days given."""
    seconds = _SECONDS[unit] if unit in _SECONDS else round(days * 86_400) * (10 if unit == "decade" else 1)
    return like.copy(data=durations / np.timedelta64(seconds, "s"))
