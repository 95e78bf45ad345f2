"""A sweep as a data frame and as an xarray.Dataset."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

import fastgd

rng = np.random.default_rng(4)
X, Y = rng.normal(size=(2, 20, 2)), rng.normal(size=(2, 20))
GRID = {"optimizer": ["sgd", "adam"], "momentum": [0.0, 0.9], "betas": [(0.9, 0.99), (0.5, 0.9)], "w0": [[0.0, 0], [1, 2]]}


@pytest.fixture(scope="module")
def found():
    return fastgd.sweep(X, Y, grid=GRID, lr=0.01, epochs=6, history=3, X_val=X, y_val=Y, intercept=True)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_row_for_each_cell(found, library):
    frame = found.to_frame(library, features=["a", "b"])
    columns = ["optimizer", "momentum", "beta1", "beta2", "w0_0", "w0_1", "fit", "w_a", "w_b", "intercept", "loss", "excess_loss"]
    columns += ["status", "epochs", "n_used", "lr", "val_loss", "stability_limit"]
    assert list(frame.columns) == columns
    assert len(frame) == 32
    for row, index in enumerate(np.ndindex(found.loss.shape)):
        values = {name: frame[name][row] for name in columns}
        rule, momentum, betas, w0 = (list(grid)[k] for grid, k in zip(GRID.values(), index, strict=False))
        assert (values["optimizer"], values["w0_0"], values["w0_1"], values["fit"]) == (rule, *w0, index[-1])
        assert (values["loss"], values["val_loss"], values["w_b"]) == (found.loss[index], found.val_loss[index], found.w[index][1])
        if rule == "sgd":
            assert values["momentum"] == momentum
            assert np.isnan([values["beta1"], values["beta2"]]).all()
        else:
            assert np.isnan(values["momentum"])
            assert (values["beta1"], values["beta2"]) == betas


def test_a_broadcast_fit_names_its_hyperparameters():
    rule = fastgd.Adam(betas=(0.9, np.array([[0.99], [0.9]])), weight_decay=0.1)
    frame = fastgd.fit(X, Y, lr=0.1, optimizer=rule, epochs=3).to_frame()
    assert list(frame.columns)[-2:] == ["lr", "beta2"]
    assert frame["beta2"].tolist() == [0.99, 0.99, 0.9, 0.9]


class _Dataset:
    """What `to_xarray` gives to xarray, checked as xarray.Dataset checks it: sizes agree."""

    def __init__(self, variables, coords, attrs):
        self.variables, self.coords, self.attrs = variables, coords, attrs
        self.sizes: dict = {}
        for name, (dims, values) in (coords | variables).items():
            assert len(dims) == np.ndim(values), name
            for dim, length in zip(dims, np.shape(values), strict=True):
                assert self.sizes.setdefault(dim, length) == length, name


def test_a_dataset_has_every_axis_and_loss(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", types.SimpleNamespace(Dataset=_Dataset))
    made = found.to_xarray()
    assert made.sizes == {"optimizer": 2, "momentum": 2, "betas": 2, "w0": 2, "fit": 2, "epoch": 3, "feature": 2}
    assert {"optimizer", "momentum", "beta1", "beta2", "w0_0", "w0_1", "fit", "epoch"} == set(made.coords)
    assert np.array_equal(made.variables["val_loss"][1], found.val_loss)
    assert made.variables["status"][1][0, 0, 0, 0, 0] == "COMPLETED"
    assert made.variables["history_w"][0] == ("optimizer", "momentum", "betas", "w0", "fit", "epoch", "feature")
    one = found.sel(optimizer="sgd", fit=0).to_xarray()
    assert one.coords["optimizer"] == ((), "sgd")


def test_what_a_dataset_needs(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match="to_xarray needs xarray: pip install xarray"):
        found.to_xarray()
