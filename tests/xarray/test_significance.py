"""Statistics of maps: those of the single fits, by ==, in memory and in chunks; and which points
stay significant."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

import fastgd
from fastgd.xarray import fit, significant, solve

rng = np.random.default_rng(9)
DAYS = np.arange(30.0)
AIR = xarray.DataArray(rng.normal(size=(30, 2, 3)) + DAYS[:, None, None] / 20, {"day": DAYS}, ["day", "y", "x"], attrs={"units": "K"})
AIR.day.attrs["units"] = "d"
OTHER = xarray.DataArray(rng.normal(size=30), {"day": DAYS}, ["day"])


@pytest.mark.parametrize("chunks", [None, {"y": 1, "x": 2}, {"day": 7, "x": 2}], ids=str)
@pytest.mark.parametrize("run", [fit, solve], ids=["fit", "solve"])
def test_statistics_are_those_of_the_single_fits(run, chunks):
    data = AIR if chunks is None else AIR.chunk(chunks)
    one, two = run(data, "day", stats=True).compute(), run(data, "day", x={"day": AIR.day, "other": OTHER}, stats=True).compute()
    single = fastgd.solve if run is solve else fastgd.fit
    options = {"intercept": True, "stats": True} | ({} if run is solve else {"standardize": True})
    for y in range(2):
        for x in range(3):
            values = AIR.values[:, y, x]
            expected = single(DAYS, values, **options).stats
            for name in ("std_error", "t", "p"):
                if chunks is None or "day" not in chunks:
                    assert one[name][y, x] == getattr(expected, name)[0]
                    assert one[f"intercept_{name}"][y, x] == getattr(expected, name)[1]
                else:  # moments that are added have another rounding, in twice the precision; the condition is below 2^5
                    np.testing.assert_allclose(one[name][y, x], getattr(expected, name)[0], rtol=2.0**-45)
            np.testing.assert_allclose(one.r2[y, x], expected.r2, rtol=2.0**-45)
            expected = single(np.stack([DAYS, OTHER.values], axis=1), values, **options).stats
            np.testing.assert_allclose(two.p[y, x], expected.p[:2], rtol=2.0**-45)
            np.testing.assert_allclose(two.intercept_std_error[y, x], expected.std_error[2], rtol=2.0**-45)
    assert two.p.dims == ("y", "x", "term")
    assert one.std_error.attrs["units"] == "K / d"
    assert one.intercept_std_error.attrs["units"] == "K"


def test_without_stats_there_are_none():
    assert "r2" not in solve(AIR, "day")
    assert "p" not in fit(AIR.chunk({"y": 1}), "day")


def by_hand(p, level):
    """The points of Benjamini and Hochberg: the largest k with p_(k) ≤ level · k/n."""
    known = sorted(value for value in p if value == value)
    most = max((value for k, value in enumerate(known, 1) if value <= level * k / len(known)), default=-1.0)
    return [value <= most for value in p]


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_significant_points(level):
    p = np.where(rng.uniform(size=200) < 0.3, rng.uniform(size=200) ** 8, rng.uniform(size=200))
    p[5] = np.nan
    found = significant(xarray.DataArray(p.reshape(20, 10), dims=["y", "x"]), level)
    assert found.values.ravel().tolist() == by_hand(p.tolist(), level)
    assert found.dims == ("y", "x")
    assert not significant(xarray.DataArray(np.full(4, np.nan)), level).any()


@pytest.mark.parametrize(("p", "level", "words"), [
    ([0.1], 0.05, "p must be a DataArray"), (xarray.DataArray([1.5]), 0.05, "between 0 and 1"),
    (xarray.DataArray([0.5]), 5, "level must be"),
], ids=["list", "no p values", "level"])  # fmt: skip
def test_wrong_words(p, level, words):
    with pytest.raises((TypeError, ValueError), match=words):
        significant(p, level)
