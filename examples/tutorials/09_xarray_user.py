"""
For an xarray user
==================

A DataArray in, a Dataset out: names, coordinates and attributes are kept, and dates become numbers
in a unit that you choose.
"""

import numpy as np
import xarray

import fastgd.xarray

rng = np.random.default_rng(0)
months = np.arange("1990-01", "2020-01", dtype="datetime64[M]")
coords = {
    "time": months.astype("datetime64[ns]"),
    "lat": np.linspace(40, 60, 21),
    "lon": np.linspace(0, 30, 31),
}
air = xarray.DataArray(
    280 + rng.normal(scale=0.5, size=(360, 21, 31)), coords, name="air"
)
years = xarray.DataArray(np.arange(360) / 12, {"time": air.time}, ["time"])
air = air + 0.002 * years * (air.lat - 40)
air.attrs["units"] = "K"

# %%
# A trend at each point
# ---------------------
# Importing ``fastgd.xarray`` adds the accessor.

trend = air.fastgd.solve("time", unit="decade", stats=True)
print(trend)

# %%
# xarray draws it. ``significant`` marks the points that stay significant where many are looked at.

marked = fastgd.xarray.significant(trend.p)
_ = trend.slope.where(marked).plot()

# %%
# Beside ``polyfit``
# ------------------
# The same slopes: polyfit's are per nanosecond.

theirs = (
    air.polyfit("time", 1).polyfit_coefficients.sel(degree=1)
    * 1e9
    * 86400
    * 365.2425
    * 10
)
print(
    float(abs(theirs - trend.slope).max()),
    "K per decade is the largest difference",
)

# %%
# Several predictors
# ------------------
# Other names of coordinates, or DataArrays. The result has a dimension ``term``.

index = xarray.DataArray(rng.normal(size=360), {"time": air.time}, ["time"])
both = air.fastgd.solve("time", x={"time": air.time, "index": index})
print(both.coef.mean(("lat", "lon")))

# %%
# Gaps, weights, a mask
# ---------------------
# Missing samples are left out by default. ``where`` says what to fit, ``weights`` are matched by
# their dimensions.

gappy = air.where(rng.random(air.shape) > 0.2)
part = gappy.fastgd.solve(
    "time",
    where=gappy.lat > 50,
    weights=xarray.DataArray(
        np.linspace(0.5, 1, 360), {"time": air.time}, ["time"]
    ),
)
print(int(part.n_used.min()), int(part.n_used.max()))

# %%
# Chunks
# ------
# A DataArray with chunks, of Dask, stays lazy, also where the chunks cut the time: nothing is
# rechunked.

lazy = air.chunk(time=120, lat=10).fastgd.solve("time", unit="decade")
print(lazy.slope.chunks)
print(float(abs(lazy.slope - trend.slope).max().compute()))

# %%
# A function of your own
# ----------------------
# What fastgd has no door for goes through ``apply_ufunc``: the core dimension comes last, which is
# where fastgd wants the samples.


def residual_spread(y):
    return np.sqrt(fastgd.solve(np.arange(360.0), y, intercept=True).loss)


print(
    xarray.apply_ufunc(residual_spread, air, input_core_dims=[["time"]])
    .mean()
    .item()
)
