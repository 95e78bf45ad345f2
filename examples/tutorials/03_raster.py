"""
A raster with gaps, and which trends are significant
====================================================

A trend for each pixel of a cube (time, y, x), some of whose samples are missing, with p values and
a map of those that can be believed. The cube is made here, so that the truth is known.
"""

# sphinx_gallery_thumbnail_number = 2
import numpy as np
from scipy.stats import false_discovery_control

import fastgd

rng = np.random.default_rng(0)
years = np.arange(1990, 2020)
lat, lon = np.linspace(58, 47, 60), np.linspace(5, 15, 80)
# a trend per year at each pixel, and noise
true = 0.05 * np.sin(lon / 1.5) * np.cos((lat[:, None] - 52) / 3)
noise = rng.normal(scale=0.5, size=(30, 60, 80))
cube = 10 + true * (years - 2005)[:, None, None] + noise
cube[rng.random(cube.shape) < 0.1] = np.nan  # clouds: a tenth of all samples
cube[:, 20:28, 30:40] = -9999  # a lake: the sensor's value for "nothing here"

# %%
# One call
# --------
# fastgd wants the samples of a fit on the last axis; ``np.moveaxis`` is a view, so nothing is
# copied. ``nan_policy="omit"`` leaves the missing samples out of their fits, ``nodata`` says what
# else means missing.

options = {
    "nan_policy": "omit",
    "nodata": -9999,
    "intercept": True,
    "stats": True,
}
trend = fastgd.solve(years, np.moveaxis(cube, 0, -1), **options)
print(trend)
used = trend.n_used[trend.n_used > 0]
print(trend.w.shape, "slopes, from", used.min(), "to", used.max(), "samples each")

# %%
# What became of each fit is its status: the lake has too few samples.

_ = trend.plot_map("status", x=lon, y=lat)

# %%
# Which trends are significant
# ----------------------------
# Of 4,800 tests on pure noise about 240 have p < 0.05. So a map of ``p < 0.05`` marks noise.
# Benjamini and Hochberg's procedure, in SciPy, keeps the share of false marks below 5 % instead.

p = trend.stats.p[..., 0]  # of the slope; [..., 1] is the intercept's
there = np.isfinite(p)
marked = np.zeros(p.shape, bool)
marked[there] = false_discovery_control(p[there]) < 0.05
print((p[there] < 0.05).sum(), "have p < 0.05;", marked.sum(), "stay significant")

# %%
# A map of the slopes, with the others hatched. Grey is what has no number: the lake.

ax = trend.plot_map("w", where=marked | ~there, x=lon, y=lat)
_ = ax.set(xlabel="longitude", ylabel="latitude")

# %%
# Was it right?
# -------------
# Here the truth is known: about nine of ten true trends lie in their 90 % interval.

low, high = np.moveaxis(trend.stats.confidence_interval(0.9)[..., 0, :], -1, 0)
print(
    f"{np.mean((low < true) & (true < high), where=there):.3f} of the intervals contain the true trend"
)

# %%
# With names for its axes the cube is shorter to write: see the page of an xarray user.
