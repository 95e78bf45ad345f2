"""plot_map: each fit's number stands at its place, and what is not drawn is told."""

from __future__ import annotations

import re

import matplotlib as mpl
import numpy as np
import pytest

import fastgd
from fastgd.results.figure import LOST, NUMBERS, SIGNED

mpl.use("agg")
rng = np.random.default_rng(3)
T = np.arange(8.0)
RASTER = rng.normal(size=(3, 4, 8)) + T * rng.normal(size=(3, 4, 1))


def solved(**options):
    return fastgd.solve(T, RASTER, intercept=True, **options)


def test_each_number_stands_at_its_place():
    result = solved()
    axes = result.plot_map()
    axes.figure.canvas.draw()
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), result.w)
    assert image.get_extent() == [-0.5, 3.5, 2.5, -0.5]  # row 0 on top
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")) == ("column", "row", "w of 12 fits")
    assert image.get_cmap().name == SIGNED
    assert image.norm.vmin == -image.norm.vmax
    assert [one.get_ylabel() for one in axes.figure.axes if one is not axes] == ["w"]


def test_coordinates_say_where():
    result, lat = solved(), np.array([10.0, 20.0, 40.0])
    axes = result.plot_map("loss", x=[5, 6, 7, 8], y=lat)  # rows at unequal distances
    (mesh,) = axes.collections
    corners = mesh.get_coordinates()
    assert corners[:, 0, 1].tolist() == [5, 15, 30, 50]
    assert corners[0, :, 0].tolist() == [4.5, 5.5, 6.5, 7.5, 8.5]
    np.testing.assert_array_equal(mesh.get_array(), result.loss)
    assert axes.get_ylim() == (5, 50)
    assert result.plot_map("loss", y=lat * 1e-10).collections  # in a small unit the distances are as unequal
    falling = result.plot_map("loss", y=[60.0, 50.0, 40.0]).images[0]  # as latitudes of many files are
    np.testing.assert_array_equal(falling.get_array(), result.loss)
    left, right, bottom, top = falling.get_extent()
    assert (bottom, top, falling.origin) == (65, 35, "lower")  # the first row at the bottom of the extent, at 60
    assert (left, right) == (-0.5, 3.5)


def test_what_is_left_out_and_what_is_lost():
    data = RASTER.copy()
    data[0, 1] = np.nan
    result = fastgd.solve(T, data, intercept=True, nan_policy="omit", stats=True)
    where = np.ones((3, 4), bool)
    where[2, :] = False
    axes = result.plot_map("t", where=where)
    values, lost = axes.images
    expected = ~where
    expected[0, 1] = True
    assert np.array_equal(np.ma.getmaskarray(values.get_array()), expected)
    assert np.argwhere(~np.ma.getmaskarray(lost.get_array())).tolist() == [[0, 1]]
    assert mpl.colors.to_hex(lost.get_cmap()(0.5)) == LOST
    assert axes.patch.get_hatch() == "////"
    assert axes.get_title("left") == "t of w of 8 of 12 fits; 1 not finite (grey)"
    np.testing.assert_array_equal(values.get_array()[1], result.stats.t[1, :, 0])


def test_statuses_have_a_colour_and_a_count_each():
    data = RASTER.copy()
    data[0, 1] = np.nan
    axes = fastgd.fit(T, data, nan_policy="omit", epochs=3).plot_map("status")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["COMPLETED: 11", "TOO_FEW_SAMPLES: 1"]
    assert axes.images[0].get_array()[0, 1] == 1
    assert len(axes.figure.axes) == 1  # no bar of colours: they are names


def test_terms_by_number_and_name():
    X = rng.normal(size=(8, 2))
    result = fastgd.solve(X, RASTER, intercept=True, stats=True)
    for term, place in ((1, 1), (-1, 1), ("intercept", 2)):
        np.testing.assert_array_equal(result.plot_map("std_error", term).images[0].get_array(), result.stats.std_error[..., place])
    np.testing.assert_array_equal(result.plot_map("w", "intercept").images[0].get_array(), result.intercept)
    assert result.plot_map("w", 1).get_title("left") == "w[1] of 12 fits"
    assert result.plot_map("r2").images[0].get_cmap().name == NUMBERS


def test_a_large_map_is_thinned():
    result = fastgd.fit(np.arange(2.0), np.broadcast_to(np.arange(2.0), (3, 2001, 2)), lr=0.1, epochs=1)
    axes = result.plot_map(np.arange(6003.0).reshape(3, 2001))
    assert axes.images[0].get_array()[1].tolist() == list(range(2001, 4002, 3))
    assert axes.get_title("left") == "values of 6,003 fits; 1 column in 3 drawn"


def test_values_of_ones_own_of_more_axes():
    result = fastgd.fit(T / 10, RASTER, lr=np.array([0.01, 0.1])[:, None, None], epochs=3)
    np.testing.assert_array_equal(result.plot_map(result.w[1]).images[0].get_array(), result.w[1])


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"values": "p"}, ValueError, "the result has no p: fit(..., stats=True) and solve(..., stats=True) find it"),
        ({"values": "slope"}, ValueError, "there is no 'slope' to draw; there are w, intercept, loss"),
        ({"term": 1}, ValueError, "there is no term 1; there are 0, 'intercept'"),
        ({"term": 1.5}, TypeError, "term must be the number or the name of a feature, or 'intercept', not 1.5"),
        (
            {"values": np.zeros(4)},
            ValueError,
            "values must have shape (n_rows, n_columns), the last two axes of the fits, (3, 4); it has (4,)",
        ),
        ({"where": np.ones((3, 4))}, TypeError, "where must be True or False for each fit, not of dtype float64"),
        ({"where": np.ones((4, 3), bool)}, ValueError, "where must have the shape of the map, (3, 4); it has (4, 3)"),
        ({"x": [1, 2, 3]}, ValueError, "x must have a number for each column, 4; it has shape (3,)"),
        ({"y": [1, 3, 2]}, ValueError, "y must increase or decrease from each row to the next"),
    ],
)
def test_what_cannot_be_drawn_is_told(options, kind, words):
    with pytest.raises(kind, match=re.escape(words)):
        solved().plot_map(**options)


def test_fits_on_other_axes_are_told_what_to_do():
    with pytest.raises(ValueError, match=r"they have shape \(4,\): reshape X and y before the fit"):
        fastgd.solve(T, RASTER[0]).plot_map()
    with pytest.raises(ValueError, match=r"they have shape \(2, 3, 4\): give an array of two of them, such as result.loss\[0\]"):
        fastgd.fit(T / 10, RASTER, lr=np.array([0.01, 0.1])[:, None, None], epochs=1).plot_map()
