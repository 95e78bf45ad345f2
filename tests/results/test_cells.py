"""Cells of a sweep: `sel`, `best` and `epochs_to`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Status
from tests.support.values_that_raise import VALUES

rng = np.random.default_rng(8)
x = np.array([1.0, 2, 3, 4])
X, Y = rng.normal(size=(3, 30, 2)), rng.normal(size=(3, 30))
GRID = {"lr": [0.01, 0.03, 0.1], "momentum": [0.0, 0.5]}


@pytest.fixture(scope="module")
def found():
    return fastgd.sweep(X, Y, grid=GRID, epochs=40, X_val=X[:, :10], y_val=Y[:, 10:20])


def test_sel_takes_values_and_lists(found):
    assert found.sel(lr=0.03).dims == ("momentum", "fit")
    assert np.array_equal(found.sel(lr=0.03).loss, found.loss[1])
    assert np.array_equal(found.sel(momentum=[0.5], lr=[0.1, 0.01]).w, found.w[[2, 0]][:, [1]])
    assert found.sel(momentum=[0.5], lr=[0.1, 0.01]).coordinates["lr"].labels.tolist() == [0.1, 0.01]
    one = found.sel(lr=0.1, momentum=0.5, fit=2)
    assert (one.loss, one.val_loss, one.dims) == (found.loss[2, 1, 2], found.val_loss[2, 1, 2], ())
    assert isinstance(one.status, Status)
    assert one.sel(lr=0.1).loss == one.loss
    assert np.array_equal(found.sel(lr=0.04, method="nearest").loss, found.loss[1])


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"lr": []}, KeyError, "lr is an empty list; a value that is there is needed: 0.01, 0.03, 0.1"),
        ({"lr": "a", "method": "nearest"}, ValueError, "method='nearest' needs a finite number; lr is 'a'"),
        ({"lr": np.nan, "method": "nearest"}, ValueError, "method='nearest' needs a finite number; lr is nan"),
        ({"lr": 0.1, "method": "near"}, ValueError, "method must be 'nearest', not 'near'"),
        ({"lr": 0.02}, KeyError, "lr has no value 0.02; it has 0.01, 0.03, 0.1; method='nearest' takes the nearest"),
        ({"lr": [0.01, 0.02]}, KeyError, "lr has no value 0.02"),
        ({"lr": "x"}, KeyError, "lr has no value 'x'"),
        ({"lr": [[0.01], [0.01, 0.03]]}, KeyError, "lr has no value"),
        ({"lr": VALUES["array"]()}, KeyError, "lr has no value"),
        ({"lr": 10**400, "method": "nearest"}, ValueError, "needs a finite number; lr is"),
        ({"fit": 3}, KeyError, "fit has no value 3; it has 0, 1, 2"),
        ({"betas": (0.9, 0.99)}, KeyError, "the sweep has no 'betas'; it has lr, momentum, optimizer, fit"),
        ({"optimizer": "adam"}, KeyError, "optimizer has no value 'adam'; it has sgd"),
        ({"lr": 0.1, "method": "linear"}, ValueError, "method must be"),
    ],
)
def test_what_is_not_there_is_told(found, values, error, said):
    with pytest.raises(error, match=said):
        found.sel(**values)


def test_sel_of_pairs_rows_and_texts():
    grid = {"betas": [(0.9, 0.99), (0.5, 0.9)], "w0": [[0.0, 0], [1, 1]], "optimizer": ["adam", fastgd.AdamW(lr=0.1)]}
    found = fastgd.sweep(X[0], Y[0], grid=grid, epochs=2)
    assert np.array_equal(found.sel(betas=(0.5, 0.9)).loss, found.loss[1])
    assert np.array_equal(found.sel(betas=[(0.5, 0.9)]).loss, found.loss[[1]])
    assert np.array_equal(found.sel(w0=[1.0, 1]).loss, found.loss[:, 1])
    assert np.array_equal(found.sel(optimizer="AdamW(lr=0.1)").loss, found.loss[..., 1])
    assert np.array_equal(found.sel(optimizer=fastgd.AdamW(lr=0.1)).loss, found.loss[..., 1])
    with pytest.raises(ValueError, match="method='nearest' is for numbers"):
        found.sel(betas=(0.5, 0.91), method="nearest")


def test_sel_of_points():
    points = [{"lr": 0.1, "momentum": 0.0}, {"lr": 0.2, "momentum": 0.5}, {"lr": 0.1, "momentum": 0.5}]
    found = fastgd.sweep(x, 2 * x, points=points, epochs=3)
    assert np.array_equal(found.sel(lr=0.1).loss, found.loss[[0, 2]])
    assert np.array_equal(found.sel(lr=0.1, momentum=0.5).loss, found.loss[[2]])
    assert found.sel(point=1).loss == found.loss[1]
    assert found.sel(**{name: found.best()[name] for name in ("lr", "momentum", "point")}).loss == found.best()["loss"]
    with pytest.raises(KeyError, match=r"no cell has lr=0.2, momentum=0.0"):
        found.sel(lr=0.2, momentum=0.0)


def test_best_of_each_fit_and_of_all(found):
    best = found.best()
    for k in range(3):
        table = found.val_loss[..., k]
        place = np.unravel_index(np.argmin(table), table.shape)
        assert best["lr"][k] == GRID["lr"][place[0]]
        assert best["momentum"][k] == GRID["momentum"][place[1]]
        assert best["val_loss"][k] == table.min()
        assert np.array_equal(best["w"][k], found.w[(*place, k)])
        assert found.sel(fit=k).best()["lr"] == best["lr"][k]
    assert np.array_equal(found.best(by="loss")["loss"], found.loss.min(axis=(0, 1)))
    means = found.val_loss.mean(axis=-1)
    place = np.unravel_index(np.argmin(means), means.shape)
    one = found.best(per_fit=False)
    assert (one["lr"], one["momentum"]) == (GRID["lr"][place[0]], GRID["momentum"][place[1]])
    assert np.array_equal(one["val_loss"], found.val_loss[place])


def test_a_diverged_cell_is_never_best():
    """Even where its loss is a number, and the least."""
    found = fastgd.sweep(x, 2 * x, grid={"lr": [0.01, 0.1, 10.0]}, epochs=500, X_val=[1.0, 2], y_val=[2.0, 4])
    assert found.status.tolist() == [Status.COMPLETED, Status.COMPLETED, Status.DIVERGED]
    least = dataclasses.replace(found, loss=np.array([3.0, 2, 1]), val_loss=np.array([2.0, 3, 1]))
    assert (least.best()["lr"], least.best(by="loss")["lr"]) == (0.01, 0.1)
    for status in (Status.INVALID_DATA, Status.TOO_FEW_SAMPLES):
        other = dataclasses.replace(least, status=np.array([status, 0, status], np.int8))
        assert other.best()["lr"] == 0.1
    assert fastgd.sweep(x, 2 * x, grid={"lr": [10.0, 0.1]}, epochs=500).best()["lr"] == 0.1


def test_ties_go_to_the_first_and_what_does_not_apply_is_left_out():
    found = fastgd.sweep(x, 2 * x, grid={"momentum": [0.5, 0.9], "optimizer": ["adam", "sgd"]}, lr=0.0, epochs=1)
    best = found.best()
    assert best["optimizer"] == "adam"
    assert "momentum" not in best
    alike = fastgd.sweep(x, 2 * x, grid={"momentum": [0.5, 0.9]}, lr=0.0, epochs=1).best()
    assert alike["momentum"] == 0.5


def test_best_of_many_where_some_were_not_fitted():
    y = Y.copy()
    y[1] = np.nan
    found = fastgd.sweep(
        X, y, grid={"optimizer": ["adam", "sgd"], "lr": [0.1, 0.2], "betas": [(0.9, 0.99)]}, epochs=30, nan_policy="propagate"
    )
    best = found.best()
    assert best["status"].tolist() == [Status.COMPLETED, Status.INVALID_DATA, Status.COMPLETED]
    assert np.isnan(best["loss"][1])
    assert np.isnan(best["lr"][1])
    assert best["optimizer"][1] == ""
    assert np.isnan(best["betas"][best["optimizer"] != "adam"]).all()
    assert found.best(per_fit=False)["lr"] in (0.1, 0.2)
    with pytest.raises(ValueError, match="no cell has a loss that counts"):
        found.sel(fit=1).best()


def test_by_is_checked(found):
    with pytest.raises(ValueError, match="by must be 'val_loss', 'loss' or 'excess_loss'"):
        found.best(by="mse")
    plain = fastgd.sweep(x, 2 * x, grid={"lr": [0.1]}, epochs=1, excess_loss=False)
    with pytest.raises(ValueError, match="the sweep has no val_loss: give sweep X_val and y_val"):
        plain.best(by="val_loss")
    with pytest.raises(ValueError, match="the sweep has no excess_loss"):
        plain.best(by="excess_loss")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_epochs_to_from_a_history_and_by_tol(dtype):
    """Exactly, by fractions, on data where w halves its distance in every epoch."""
    # y = 2x, λ = 15: at lr = 1/30 the distance is halved, the excess loss quartered
    grid = {"lr": [1 / 30, 1 / 60, 1.0]}
    by_tol = fastgd.sweep(x, 2 * x, grid=grid, epochs=20, tol=0.01, dtype=dtype)
    recorded = fastgd.sweep(x, 2 * x, grid=grid, epochs=20, history=True, dtype=dtype)
    assert by_tol.epochs_to(0.01)[[0, 1]].tolist() == [4.0, 9.0]  # 4^-4 < 0.01 < 4^-3; (9/16)^9 < 0.01 < (9/16)^8
    assert recorded.epochs_to(0.01)[[0, 1]].tolist() == [4.0, 9.0]
    assert np.isnan(recorded.epochs_to(0.01)[2])
    assert np.isnan(by_tol.epochs_to(0.01)[2])
    assert np.isnan(recorded.epochs_to(1e-13)[1])  # 20 epochs leave 1e-5 of it
    assert fastgd.sweep(x, 2 * x, grid=grid, epochs=20, history=3, dtype=dtype).epochs_to(0.01)[0] == 6.0


def test_epochs_to_is_never_earlier_than_the_fit_with_tol():
    X_, y_ = rng.normal(size=(50, 2)), rng.normal(size=50)
    for tol in (0.5, 1e-3, 1e-9):
        recorded = fastgd.sweep(X_, y_, grid={"lr": np.geomspace(1e-3, 0.3, 20)}, epochs=300, history=True, dtype="float32").epochs_to(tol)
        exact = fastgd.sweep(X_, y_, grid={"lr": np.geomspace(1e-3, 0.3, 20)}, epochs=300, tol=tol, dtype="float32").epochs_to(tol)
        both = ~np.isnan(recorded)
        assert (recorded[both] >= exact[both]).all()
        assert tol < 1e-4 or np.array_equal(recorded, exact, equal_nan=True)


def test_epochs_to_says_what_it_needs():
    plain = fastgd.sweep(x, 2 * x, grid={"lr": [0.1]}, epochs=3)
    with pytest.raises(ValueError, match=r"does not know when 0.1 was reached: give sweep\(..., tol=0.1\), or history=True"):
        plain.epochs_to(0.1)
    with pytest.raises(ValueError, match=r"it was made with tol=0.2"):
        fastgd.sweep(x, 2 * x, grid={"lr": [0.1]}, epochs=3, tol=0.2).epochs_to(0.1)
    with pytest.raises(ValueError, match="the objective has a penalty"):
        fastgd.sweep(x, 2 * x, grid={"lr": [0.1]}, optimizer=SGD(weight_decay=0.1), epochs=3, history=True).epochs_to(0.1)
    with pytest.raises(ValueError, match="excess_loss is not known"):
        fastgd.sweep(x, 2 * x, grid={"lr": [0.1]}, epochs=3, history=True, excess_loss=False).epochs_to(0.1)
    with pytest.raises(TypeError, match="tol must be a number"):
        plain.epochs_to(None)


def test_a_result_keeps_its_fields_when_cells_are_taken(found):
    """Every array with one value for each cell is cut: a field that comes later, too."""
    cut = found.sel(lr=0.1)
    for each in dataclasses.fields(found):
        value, cell = getattr(found, each.name), getattr(cut, each.name)
        if isinstance(value, np.ndarray) and value.shape[:3] == found.loss.shape:
            assert np.array_equal(cell, value[2]), each.name
