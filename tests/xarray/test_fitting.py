"""`fastgd.xarray`: each point is the fit of its arrays, by ==; dimensions and labels are matched by
name; what comes back is labelled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray

import fastgd
import fastgd.xarray
from fastgd.xarray import fit, solve

rng = np.random.default_rng(3)
TIME = np.array([f"{year}-{month:02}" for year in range(1990, 1994) for month in (1, 4, 9)], "datetime64[ns]")
DAYS = (TIME - TIME[0]) / np.timedelta64(1, "D")
YEARS = (TIME - TIME[0]) / np.timedelta64(31_556_952, "s")  # of 365.2425 days
COORDS = {"time": TIME, "lat": [10, 20], "lon": [5.0, 6, 7], "area": (("lat", "lon"), np.ones((2, 3)))}
AIR = xarray.DataArray(rng.normal(size=(12, 2, 3)), COORDS, ["time", "lat", "lon"], name="air", attrs={"units": "K"})


def with_gaps(data):
    gappy = data.copy(deep=True)
    gappy[::3, 0, 1] = np.nan
    gappy[:, 1, 2] = np.nan
    return gappy


def test_one_line_a_point_agrees_with_polyfit():
    found = solve(AIR, unit="day")
    expected = np.polynomial.polynomial.polyfit(DAYS, AIR.values.reshape(12, 6), 1)
    # condition of a line on times from 0 to 1,300: below 2,000
    np.testing.assert_allclose(found.intercept.values.ravel(), expected[0], rtol=0, atol=2000 * 2.0**-52 * np.abs(AIR).max().item())
    np.testing.assert_allclose(found.slope.values.ravel(), expected[1], rtol=0, atol=2000 * 2.0**-52 * np.abs(AIR).max().item())


@pytest.mark.parametrize("order", [*itertools.permutations(["time", "lat", "lon"])])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_point_has_the_bits_of_its_single_fit(order, dtype):
    data = with_gaps(AIR.astype(dtype)).transpose(*order)
    found, descended = solve(data, unit="day"), fit(data, unit="day", epochs=30)
    for lat, lon in itertools.product([10, 20], [5, 6, 7]):
        y = data.sel(lat=lat, lon=lon).values
        one = fastgd.solve(DAYS.astype(dtype), y, intercept=True, nan_policy="omit")
        point = found.sel(lat=lat, lon=lon)
        for name, value in (("slope", one.w), ("intercept", one.intercept), ("loss", one.loss), ("n_used", one.n_used)):
            np.testing.assert_array_equal(point[name], value)
        one = fastgd.fit(DAYS.astype(dtype), y, intercept=True, standardize=True, nan_policy="omit", epochs=30)
        point = descended.sel(lat=lat, lon=lon)
        for name in ("intercept", "loss", "n_used", "epochs", "excess_loss"):
            np.testing.assert_array_equal(point[name], getattr(one, name))
        np.testing.assert_array_equal(point.slope, one.w)
        assert point.status == one.status
    assert found.slope.dims == tuple(dim for dim in order if dim != "time")
    assert found.slope.dtype == dtype


def test_the_result_is_labelled():
    found = solve(AIR)
    assert set(found.coords) == {"lat", "lon", "area"}
    assert found.area.identical(AIR.area)
    assert found.slope.attrs == {
        "long_name": "slope of air against time", "units": "K / year", "time_unit": "year", "time_origin": "1990-01-01T00:00:00.000000000",
        "time_calendar": "proleptic_gregorian",
    }  # fmt: skip
    assert found.intercept.attrs["units"] == "K"
    both = solve(AIR, x={"time": AIR.time, "other": np.arange(12.0) ** 2}, unit="day")  # of the terms that are times
    assert (both.coef.attrs["time_unit"], both.coef.attrs["time_origin"]) == ("day", found.slope.attrs["time_origin"])
    assert found.loss.attrs["units"] == "(K)^2"
    assert found.status.attrs["flag_meanings"].split() == [status.name for status in fastgd.Status]
    assert found.status.attrs["flag_values"].tolist() == [*fastgd.Status]


def test_a_year_a_decade_and_a_day_are_the_same_line():
    by_year, by_decade, by_day = (solve(AIR, unit=unit) for unit in ("year", "decade", "day"))
    for other, factor in ((by_decade, 10), (by_day, 1 / 365.2425)):
        np.testing.assert_allclose(by_year.slope * factor, other.slope, rtol=2.0**-40)
        np.testing.assert_allclose(by_year.intercept, other.intercept, rtol=2.0**-40)


def test_every_variable_of_a_dataset_that_has_the_dimension():
    data = xarray.Dataset({"air": AIR, "doubled": 2 * AIR, "area": AIR.area}, attrs={"source": "made"})
    found = data.fastgd.solve("time")
    assert found.attrs == {"source": "made"}
    assert {name for name in found.data_vars if name.endswith("slope")} == {"air_slope", "doubled_slope"}
    assert (found.air_slope == solve(AIR).slope).all()
    assert (found.doubled_slope == 2 * found.air_slope).all()


def other():
    return xarray.DataArray(rng.normal(size=(12, 2)), {"time": TIME, "lat": COORDS["lat"]}, ["time", "lat"], name="soi")


def several(soi):
    """Each way to name the same two predictors."""
    days = xarray.DataArray(DAYS, {"time": TIME}, ["time"], name="days")
    stacked = xarray.concat([days.broadcast_like(soi), soi], "term").assign_coords(term=["days", "soi"])
    return [
        {"days": DAYS, "soi": soi},
        xarray.Dataset({"days": ("time", DAYS), "soi": soi}),
        stacked,
        [days, soi],
    ]


@pytest.mark.parametrize("way", range(4))
def test_several_predictors_of_which_one_differs_from_fit_to_fit(way):
    soi = other()
    found = solve(AIR, x=several(soi)[way])
    assert found.coef.dims == ("lat", "lon", "term")
    assert found.coef.attrs == {"long_name": "coefficients of air"}
    assert found.term.values.tolist() == ["days", "soi"]
    for lat, lon in itertools.product([10, 20], [5, 6, 7]):
        X = np.stack([DAYS, soi.sel(lat=lat).values], axis=1)
        one = fastgd.solve(X, AIR.sel(lat=lat, lon=lon).values, intercept=True)
        point = found.sel(lat=lat, lon=lon)
        assert point.coef.values.tolist() == one.w.tolist()
        assert point.intercept == one.intercept


def test_a_single_predictor_of_each_fit_and_one_by_its_name():
    soi = other()
    found = solve(AIR, x=soi)
    X = np.broadcast_to(soi.transpose("lat", "time").values[:, None, :, None], (2, 3, 12, 1))
    expected = fastgd.solve(X, AIR.transpose("lat", "lon", "time").values, intercept=True)
    assert (found.slope.values == expected.w[..., 0]).all()
    assert (solve(xarray.Dataset({"air": AIR, "soi": soi}), x="soi").air_slope == found.slope).all()
    assert not any(name.startswith("soi") for name in solve(xarray.Dataset({"air": AIR, "soi": soi}), x="soi").data_vars)


def test_a_polynomial_agrees_with_numpy():
    found = solve(AIR, deg=2)
    years = DAYS / 365.2425
    assert found.term.values.tolist() == ["time", "time^2"]
    expected = np.polynomial.polynomial.polyfit(years, AIR.values.reshape(12, 6), 2)
    X = np.stack([years**0, years, years**2], axis=1)
    bound = np.linalg.cond(X) ** 2 * 2.0**-52 * np.abs(AIR).max().item()
    np.testing.assert_allclose(found.coef.values.reshape(6, 2).T, expected[1:], rtol=0, atol=bound)


def test_weights_and_rates_are_matched_by_name():
    weights = xarray.DataArray(rng.uniform(size=(3, 12)), {"lon": COORDS["lon"], "time": TIME}, ["lon", "time"])
    rates = xarray.DataArray([0.1, 0.4], {"rate": ["slow", "fast"]}, ["rate"])
    found = fit(AIR, weights=weights, lr=rates, epochs=20)
    assert found.slope.dims == ("lat", "lon", "rate")
    for lat, lon, rate in itertools.product([10, 20], [5, 6, 7], ["slow", "fast"]):
        y, w = AIR.sel(lat=lat, lon=lon).values, weights.sel(lon=lon).values
        one = fastgd.fit(
            YEARS, y, sample_weight=w, lr=rates.sel(rate=rate).item(), intercept=True, standardize=True, epochs=20
        )  # fmt: skip
        assert found.sel(lat=lat, lon=lon, rate=rate).slope == one.w


def test_where_leaves_out_points():
    found = solve(AIR, where=(AIR.lon > 5) & (AIR.area > 0))
    whole = solve(AIR)
    assert np.isnan(found.slope.sel(lon=5)).all()
    assert (found.status.sel(lon=5) == fastgd.Status.TOO_FEW_SAMPLES).all()
    assert (found.n_used.sel(lon=5) == 0).all()
    assert (found.sel(lon=[6, 7]).slope == whole.sel(lon=[6, 7]).slope).all()


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_marks_of_undecoded_data_are_missing(name):
    marked = with_gaps(AIR).fillna(-999).assign_attrs({name: -999.0})
    expected = solve(with_gaps(AIR))
    for variable, values in solve(marked).data_vars.items():
        np.testing.assert_array_equal(values, expected[variable])
    assert (solve(marked, nodata=5).n_used == 12).all()  # what the user says counts


def test_the_accessor_is_the_functions():
    assert AIR.fastgd.fit(epochs=5).identical(fit(AIR, epochs=5))
    assert AIR.fastgd.solve("time", unit="day").identical(solve(AIR, "time", unit="day"))


def test_a_single_series():
    found = solve(AIR.isel(lat=0, lon=1))
    assert found.slope.dims == ()
    assert found.slope == solve(AIR).slope.isel(lat=0, lon=1)
    assert found.lat == 10


class Quantity:
    """What a library of units wraps an array in."""

    def __init__(self, magnitude):
        self.magnitude, self.units, self.shape, self.dtype, self.ndim = magnitude, "K", magnitude.shape, magnitude.dtype, magnitude.ndim

    def __array_function__(self, *args):
        return NotImplemented

    def __array_ufunc__(self, *args, **options):
        return NotImplemented

    def __array__(self, *args, **options):
        raise AssertionError("the units would be lost")


SHIFTED = AIR.assign_coords(time=TIME + np.timedelta64(1, "D"))
WRONG = {
    "no array": (lambda: solve(AIR.values), "must be an xarray.DataArray or an xarray.Dataset, not ndarray"),
    "no such dimension": (lambda: solve(AIR, "t"), "the data have the dimensions 'time', 'lat', 'lon', not 't'"),
    "no such dimension in a dataset": (lambda: solve(AIR.to_dataset(), "t"), "no variable of the dataset has the dimension 't'"),
    "no coordinate": (lambda: solve(AIR.drop_vars("time")), r"'time' has no coordinate to fit against: give x=numpy.arange\(12\)"),
    "no such predictor": (lambda: solve(AIR, x="soi"), "x names 'soi', which the data do not have; they have 'time', 'lat'"),
    "a predictor without samples": (lambda: solve(AIR, x=AIR.lat), "'lat' has the dimensions 'lat'; it needs 'time'"),
    "a predictor of another length": (lambda: solve(AIR, x=[1.0, 2]), "one number for each of the 12 samples"),
    "no predictors": (lambda: solve(AIR, x={}), "x names no predictor"),
    "the same predictor twice": (lambda: solve(AIR, x=["time", "time"]), "x names the predictor 'time' twice"),
    "a polynomial in several": (lambda: solve(AIR, x={"a": DAYS, "b": DAYS}, deg=2), "deg=2 is for one predictor; x names 2"),
    "labels that differ": (lambda: solve(AIR, x=SHIFTED.isel(lat=0, lon=0)), "have other labels along a dimension that they share"),
    "weights without labels": (lambda: solve(AIR, weights=np.ones(12)), "weights must be an xarray.DataArray"),
    "weights by their other name": (lambda: fit(AIR, sample_weight=np.ones(12)), "no option 'sample_weight': here they are called weights"),
    "weights of the fits": (
        lambda: solve(AIR, weights=AIR.isel(time=0, drop=True)),
        "weights must have the dimension 'time', along which the samples lie; the dimensions are 'lat', 'lon'",
    ),
    "rates without labels": (lambda: fit(AIR, lr=[0.1, 0.2]), "lr must be one number, or a DataArray"),
    "rates of the samples": (lambda: fit(AIR, lr=AIR), "lr has the dimension 'time', along which the samples lie"),
    "a labelled tol": (lambda: fit(AIR, tol=AIR.lat), r"tol may not be a DataArray: give its values, tol.values"),
    "history": (lambda: fit(AIR, history=True), "no option 'history': a Dataset has the end of each fit"),
    "unit": (lambda: solve(AIR, unit="month"), "unit must be 'second', 'minute', 'hour', 'day', 'year' or 'decade', not 'month'"),
    "degree": (lambda: solve(AIR, deg=0), "deg must be a whole number, at least 1"),
    "where of numbers": (lambda: solve(AIR, where=AIR.area), "where must hold True or False; it has dtype float64"),
    "where and raise": (lambda: solve(AIR, where=AIR.area > 0, nan_policy="raise"), "where= needs nan_policy='omit'"),
    "packed": (lambda: solve(AIR.assign_attrs(scale_factor=0.1)), "the data are packed .* xarray.decode_cf"),
    "quantities": (lambda: solve(xarray.DataArray(Quantity(AIR.values), COORDS, AIR.dims)), "quantities of Quantity: give .*dequantify"),
    "an unknown option": (lambda: solve(AIR, epoch=3), "epoch"),
    "missing under raise": (lambda: solve(with_gaps(AIR), nan_policy="raise"), "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_errors_say_what_to_give(case):
    call, words = WRONG[case]
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_the_data_are_not_changed():
    before = AIR.copy(deep=True)
    solve(AIR, where=AIR.lon > 5)
    fit(AIR, deg=3, epochs=3)
    assert AIR.identical(before)
