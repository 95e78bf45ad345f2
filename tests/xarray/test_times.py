"""Times as numbers: how long a unit is in each calendar, and from when it is counted."""

from __future__ import annotations

from fractions import Fraction

import cftime
import numpy as np
import pytest
import xarray

from fastgd.xarray.times import axis_of

DAY = 86_400


def axis(values, unit="day"):
    return axis_of(xarray.DataArray(values, dims=["time"]), unit, "the predictor 'time'")


@pytest.mark.parametrize("precision", ["D", "s", "ms", "us", "ns"])
@pytest.mark.parametrize(("unit", "seconds"), [
    ("second", 1), ("minute", 60), ("hour", 3600), ("day", DAY), ("year", Fraction("365.2425") * DAY),
    ("decade", Fraction("3652.425") * DAY),
])  # fmt: skip
def test_dates_are_counted_from_the_earliest(precision, unit, seconds):
    dates = np.array(["2001-01-01", "2000-01-01", "2000-02-29"], f"datetime64[{precision}]")
    found = axis(dates, unit)
    days = [366, 0, 59]
    assert found.numbers.values.tolist() == [float(Fraction(day * DAY) / Fraction(seconds)) for day in days]
    assert (found.is_time, found.units, found.origin[:10], found.calendar) == (True, unit, "2000-01-01", "proleptic_gregorian")


def test_a_missing_date_is_nan():
    found = axis(np.array(["NaT", "2000-01-03", "2000-01-01"], "datetime64[ns]"))
    assert np.isnan(found.numbers.values[0])
    assert found.numbers.values[1:].tolist() == [2, 0]
    assert np.isnan(axis(np.array(["NaT"], "datetime64[ns]")).numbers.values).all()


def test_durations_are_counted_from_zero():
    found = axis(np.array([24, 36], "timedelta64[h]"))
    assert found.numbers.values.tolist() == [1, 1.5]
    assert (found.is_time, found.origin, found.calendar) == (True, "", "")


@pytest.mark.parametrize(("calendar", "days"), [
    ("noleap", 365), ("365_day", 365), ("all_leap", 366), ("360_day", 360), ("julian", 365.25), ("standard", 365.2425),
    ("proleptic_gregorian", 365.2425),
])  # fmt: skip
def test_a_year_is_that_of_the_calendar(calendar, days):
    dates = [cftime.datetime(year, 1, 1, calendar=calendar) for year in (2003, 2001, 2002)]
    found = axis(np.array(dates, object), "year")
    elapsed = [(date - dates[1]).days for date in dates]
    assert found.numbers.values.tolist() == [float(Fraction(day) / Fraction(days)) for day in elapsed]
    assert (found.origin[:10], found.calendar) == ("2001-01-01", dates[0].calendar)


def test_numbers_stay_as_they_are():
    given = xarray.DataArray(np.array([3, 1], np.int16), dims=["depth"], attrs={"units": "m"})
    found = axis_of(given, "year", "the predictor 'depth'")
    assert found.numbers.identical(given)
    assert (found.is_time, found.units, found.origin) == (False, "m", "")


@pytest.mark.parametrize("values", [["January", "May"], np.array([1, "a"], object), np.array([1j, 2])])
def test_other_kinds_are_refused_in_words(values):
    with pytest.raises(TypeError, match=r"the predictor 'time' has dtype .* must hold numbers, numpy.datetime64"):
        axis(values)
