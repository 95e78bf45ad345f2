"""The heat map of a sweep: what is drawn where."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

import fastgd
from fastgd.results.figure import LIMIT

mpl.use("agg")
x = np.array([1.0, 2, 3, 4])
RATES = np.geomspace(1e-3, 1, 31)


def lines_of(axes, label):
    return [line.get_xydata() for line in axes.lines if line.get_color() == LIMIT] if label == "limit" else None


@pytest.fixture(scope="module")
def tutorial():
    return fastgd.sweep(x, 2 * x, grid={"lr": RATES, "reduction": ["mean", "sum"]}, epochs=400)


def test_the_tutorials_map(tutorial):
    """Colours are the losses, grey is NaN, the limits are 2/15 and 2/60, the star is the least."""
    axes = tutorial.plot()
    (mesh,) = axes.collections
    drawn = np.ma.filled(np.ma.masked_invalid(mesh.get_array()), np.nan)
    assert drawn.shape == (2, 31)
    lost = ~np.isfinite(tutorial.loss.T)
    assert lost.any()
    assert np.array_equal(np.isnan(drawn), lost)
    assert np.array_equal(drawn[~lost], np.maximum(tutorial.loss.T[~lost], mesh.norm.vmin))
    low, high = lines_of(axes, "limit")
    assert low.tolist() == [[2 / 15, -0.5], [2 / 15, 0.5]]
    assert high.tolist() == [[2 / 60, 0.5], [2 / 60, 1.5]]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["mean", "sum"]
    assert {text.get_text() for text in axes.texts} == {"0.1333", "0.03333"}
    star = next(line for line in axes.lines if line.get_marker() == "*")
    row, column = np.unravel_index(np.nanargmin(tutorial.loss.T), (2, 31))
    assert star.get_xydata().tolist() == [[RATES[column], row]]
    assert axes.get_title(loc="left") == f"62 cells; {lost.sum()} diverged or not finite"
    # colours end below the limit: the largest loss there
    assert mesh.norm.vmax == tutorial.loss[tutorial.lr < tutorial.stability_limit].max()


def test_axes_can_be_swapped_and_others_are_reduced(tutorial):
    axes = tutorial.plot(x="reduction", y="lr")
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("reduction", "lr", "log")
    assert [line[:, 1].tolist() for line in lines_of(axes, "limit")] == [[2 / 15] * 2, [2 / 60] * 2]
    one = tutorial.plot(x="lr", y="reduction", by="excess_loss").collections[0]
    assert one.get_array().shape == (2, 31)
    three = fastgd.sweep(x, 2 * x, grid={"momentum": [0.0, 0.9], "lr": [0.1, 0.01], "dampening": [0.0, 0.5]}, epochs=9)
    axes = three.plot()
    assert np.array_equal(axes.collections[0].get_array(), three.loss.min(axis=2)[:, ::-1])  # increasing rates
    assert "least over dampening" in axes.get_title(loc="left")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1"]


def test_one_axis_pairs_and_validation():
    axes = fastgd.sweep(x, 2 * x, grid={"lr": RATES}, epochs=9, X_val=x, y_val=x).plot()
    assert axes.collections[0].get_array().shape == (1, 31)
    assert "validation loss" in axes.figure.axes[1].get_ylabel()
    axes = fastgd.sweep(x, 2 * x, grid={"betas": [(0.9, 0.99), (0.5, 0.9)], "lr": [0.1]}, optimizer="adam", epochs=9).plot()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["(0.9, 0.99)", "(0.5, 0.9)"]
    assert lines_of(axes, "limit") == []


def test_points_are_dots():
    points = {"lr": [0.01, 0.1, 10.0], "optimizer": ["sgd", "adam", "sgd"]}
    found = fastgd.sweep(x, 2 * x, points=points, epochs=400)
    axes = found.plot()
    assert axes.collections[0].get_offsets().tolist() == [[0.01, 0.0], [0.1, 1.0]]
    lost = next(line for line in axes.lines if line.get_marker() == "x")
    assert lost.get_xydata().tolist() == [[10.0, 0.0]]


def test_nothing_that_can_be_coloured():
    for rates, y in (([1e9, 2e9], 2 * x), ([0.0, 0.1], 0 * x)):
        fastgd.sweep(x, y, grid={"lr": rates}, epochs=400).plot()


def test_what_cannot_be_drawn(tutorial):
    with pytest.raises(ValueError, match="x must be an axis of the sweep, one of lr, reduction, not 'momentum'"):
        tutorial.plot(x="momentum")
    with pytest.raises(ValueError, match="x and y are the same axis"):
        tutorial.plot(x="lr", y="lr")
    with pytest.raises(ValueError, match="it is one cell"):
        tutorial.sel(lr=RATES[0], reduction="sum").plot()
    many = fastgd.sweep(np.ones((2, 4, 1)), np.ones((2, 4)), grid={"lr": [0.1]}, epochs=1)
    with pytest.raises(ValueError, match=r"select a fit first, result.sel\(fit=0\).plot\(\)"):
        many.plot()


def test_loss_curves_have_the_names_of_cells():
    found = fastgd.sweep(x, 2 * x, grid={"lr": [0.01, 0.1], "optimizer": ["sgd", "adam"]}, epochs=9, history=True)
    names = [text.get_text() for text in found.plot_loss().get_legend().get_texts()]
    assert names == ["lr 0.01, sgd", "lr 0.01, adam", "lr 0.1, sgd", "lr 0.1, adam"]
    points = fastgd.sweep(x, 2 * x, points={"lr": [0.01, 0.1]}, epochs=9, history=True)
    assert [text.get_text() for text in points.plot_loss().get_legend().get_texts()] == ["lr 0.01", "lr 0.1"]
