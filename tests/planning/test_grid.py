"""Grid: names and values of a sweep are read before any work, and refused in the caller's words."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Adam
from fastgd.planning.grid import read_grid

x = np.array([1.0, 2, 3, 4])


def grid_of(grid=None, points=None, optimizer="sgd"):
    return read_grid({"grid": grid, "points": points, "optimizer": optimizer}, {}, {"epochs": 100})


REFUSED = [
    ([1], TypeError, "grid must be a mapping of names to lists"),
    ({}, ValueError, "grid is empty"),
    ({"lr": []}, ValueError, r"grid\['lr'\] is empty"),
    ({"lr": 0.1}, TypeError, r"grid\['lr'\] must be a list of values, such as \[0.01, 0.1\], not 0.1"),
    ({"lr": {0.1, 0.2}}, TypeError, r"grid\['lr'\] must be a list of values"),
    ({"lr": np.array(0.1)}, TypeError, r"grid\['lr'\] must be a list of values"),
    ({"lr": [0.1, [0.2, 0.3]]}, TypeError, r"grid\['lr'\] must be a real number or an array of them"),
    ({"lr": [0.1, -1]}, ValueError, r"grid\['lr'\] must be at least 0; it is -1 at index 1"),
    ({"lr": [0.1, None]}, ValueError, r"grid\['lr'\].*missing at index 1"),
    ({"lr": [0.1, 0.2, 0.1]}, ValueError, r"grid\['lr'\] holds 0.1 twice"),
    ({"lr": [[0.1], [0.2]]}, ValueError, r"grid\['lr'\] must be a list of numbers; it has shape \(2, 1\)"),
    ({"lrr": [0.1]}, ValueError, "grid has 'lrr', which is no hyperparameter of sgd; did you mean 'lr'?"),
    ({"learning_rate": [0.1]}, ValueError, "grid has 'learning_rate', which is called 'lr' here"),
    ({"betas": [(0.9, 0.99)]}, ValueError, "'betas', which is no hyperparameter of sgd: it is one of Adam, AdamW, NAdam, Adamax"),
    ({"beta1": [0.9]}, ValueError, "'beta1'"),
    ({"epochs": [1, 2]}, ValueError, r"'epochs', which is an option of all cells: give sweep\(..., epochs=...\)"),
    ({3: [1]}, TypeError, "grid must have names of hyperparameters, not 3"),
    ({"optimizer": "adam"}, TypeError, r"grid\['optimizer'\] must be a list"),
    ({"optimizer": ["sgd", "adma"]}, ValueError, r"grid\['optimizer'\]\[1\]: optimizer 'adma' is unknown"),
    ({"optimizer": ["sgd", SGD()]}, ValueError, r"grid\['optimizer'\] holds 'sgd' twice"),
    ({"optimizer": ["adam"], "momentum": [0.9]}, ValueError, "'momentum', which is no hyperparameter of adam: it is one of SGD, RMSprop"),
    ({"optimizer": ["sgd", SGD(momentum=0.5)], "momentum": [0.9]}, ValueError, r"momentum was given twice: in SGD\(momentum=0.5\)"),
    ({"optimizer": ["adam"], "betas": [0.9, 0.99]}, ValueError, r"grid\['betas'\] must be a list of pairs \(beta1, beta2\)"),
    ({"optimizer": ["adam"], "betas": [(0.9, 1.5)]}, ValueError, r"grid\['betas'\] must be below 1; it is 1.5 at index \(0, 1\)"),
    ({"schedule": [None]}, ValueError, r"grid\['schedule'\] has no schedule; give one beside None"),
    ({"schedule": [None, "cosine"]}, TypeError, r"grid\['schedule'\]\[1\]: schedule must be"),
    ({"schedule": [[fastgd.schedules.StepLR(3)]]}, TypeError, r"grid\['schedule'\]\[0\] must be one schedule"),
    ({"schedule": [None, None, fastgd.schedules.StepLR(3)]}, ValueError, r"grid\['schedule'\] holds 'None' twice"),
    ({"reduction": ["mean", "max"]}, ValueError, r"grid\['reduction'\]\[1\] must be 'mean' or 'sum', not 'max'"),
    ({"nesterov": [0.5]}, ValueError, r"grid\['nesterov'\] must be True or False"),
    ({"intercept0": [[1.0]]}, ValueError, r"grid\['intercept0'\] must be a list of numbers"),
]


@pytest.mark.parametrize(("grid", "error", "said"), REFUSED, ids=[said[:30] for _, _, said in REFUSED])
def test_a_wrong_grid_is_refused_before_any_work(grid, error, said, no_work):
    with pytest.raises(error, match=said):
        fastgd.sweep(x, 2 * x, grid=grid)


WRONG_POINTS = [
    (3, TypeError, "points must be a list of mappings, or a data frame"),
    ([], ValueError, "points is empty"),
    ([{}], ValueError, r"points\[0\] is empty"),
    ([{"lr": 0.1}, 3], TypeError, r"points\[1\] must be a mapping"),
    ([{"lr": 0.1, "momentum": 0}, {"lr": 0.1}], ValueError, r"points\[0\] has 'momentum', but points\[1\] has none"),
    ([{"lr": 0.1}, {"lr": 0.1, "momentum": 0}], ValueError, r"points\[1\] has 'momentum', but points\[0\] has none"),
    ({"lr": [0.1], "momentum": [0, 0.9]}, ValueError, "one value of each name for each point; there are"),
    ([{"lr": 0.1}, {"lr": -0.1}], ValueError, r"points\['lr'\] must be at least 0; it is -0.1 at index 1"),
    ([{"lrr": 0.1}], ValueError, "points has 'lrr'"),
]


@pytest.mark.parametrize(("points", "error", "said"), WRONG_POINTS, ids=[said[:30] for _, _, said in WRONG_POINTS])
def test_wrong_points_are_refused_before_any_work(points, error, said, no_work):
    with pytest.raises(error, match=said):
        fastgd.sweep(x, 2 * x, points=points)


def test_optimizer_and_its_axis_exclude_each_other():
    with pytest.raises(ValueError, match=r"optimizer was given twice"):
        grid_of({"optimizer": ["adam"]}, optimizer="rmsprop")


def test_one_call_for_each_rule_and_axes_in_their_place():
    grid = grid_of({"lr": [0.1, 0.2], "optimizer": ["sgd", "adam"], "momentum": [0.0, 0.5, 0.9]})
    first, second = grid.calls(1)
    assert first.options["lr"].shape == (2, 1, 1, 1)
    assert first.options["optimizer"].momentum.shape == (1, 1, 3, 1)
    assert first.where == (slice(None), slice(0, 1), slice(None))
    assert second.options["optimizer"] == Adam()
    assert grid.words == "12 cells (lr 2 x optimizer 2 x momentum 3)"
    (one,) = grid_of(points=[{"lr": 0.1}, {"lr": 0.2}]).calls(2)
    assert one.options["lr"].shape == (2, 1, 1)
