"""SweepResult in words and in files; a file that somebody crafted is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import fastgd
from fastgd.results.coordinate import Coordinate
from fastgd.results.file_format import write_file
from fastgd.results.sweep_result import SweepResult
from tests.support.saved_files import members, same, seal

rng = np.random.default_rng(4)
X, Y = rng.normal(size=(2, 20, 3)), rng.normal(size=(2, 20))
GRID = {"optimizer": ["sgd", fastgd.Adam(eps=1e-3)], "lr": [0.1, 1e9], "betas": [(0.9, 0.99)], "w0": [[0.0, 0, 0], [1, 1, 1]]}


@pytest.fixture(scope="module")
def found():
    return fastgd.sweep(X, Y, grid=GRID, epochs=60, history=20, X_val=X[0], y_val=Y[0], intercept=True)


def test_a_saved_sweep_is_the_same(found, tmp_path):
    found.save(tmp_path / "cells")
    again = fastgd.load(tmp_path / "cells")
    assert same(found, again)
    assert again.sel(betas=(0.9, 0.99), optimizer=GRID["optimizer"][1]).loss.shape == (2, 2, 2)
    cell = found.sel(fit=1, lr=0.1, optimizer="sgd", betas=(0.9, 0.99), w0=[1, 1, 1])
    cell.save(tmp_path / "cell.npz")
    assert fastgd.load(tmp_path / "cell.npz").loss == cell.loss
    assert str(fastgd.load(tmp_path / "cell.npz").status) == "COMPLETED"
    by_tol = fastgd.sweep(X[0], Y[0], points=[{"lr": 0.1}], epochs=60, tol=0.5)
    by_tol.save(tmp_path / "tol.npz")
    assert np.array_equal(fastgd.load(tmp_path / "tol.npz").epochs_to(0.5), by_tol.epochs_to(0.5))


def test_a_result_of_fit_keeps_its_hyperparameters_in_a_file(tmp_path):
    result = fastgd.fit(X, Y, lr=0.1, optimizer=fastgd.SGD(momentum=np.array([[0.1], [0.9]])), epochs=3)
    result.save(tmp_path / "fit.npz")
    assert same(fastgd.load(tmp_path / "fit.npz").hyperparameters, result.hyperparameters)
    bad = dataclasses.replace(result, hyperparameters={"momentum": np.zeros(3)})
    write_file(tmp_path / "bad.npz", bad)
    with pytest.raises(ValueError, match=r"hyperparameters.momentum has shape \(3,\), but the fits have shape \(2, 2\)"):
        fastgd.load(tmp_path / "bad.npz")


def changed(found, name, one):
    return {"coordinates": {**found.coordinates, name: one}}


CRAFTED = {
    "another length": lambda r: changed(r, "lr", Coordinate("lr", np.array([0.1, 0.2, 0.3]))),
    "of one axis": lambda r: changed(r, "x", Coordinate("lr", np.array([0.1, 0.2, 0.3]))),
    "a place that is not there": lambda r: changed(r, "optimizer", Coordinate("optimizer", np.array([0, 2]), {"0": "sgd", "1": "adam"})),
    "texts out of order": lambda r: changed(r, "optimizer", Coordinate("optimizer", np.array([0, 1]), {"1": "sgd", "0": "adam"})),
    "no rule": lambda r: changed(r, "optimizer", Coordinate("optimizer", np.array([0, 1]), {"0": "sgd", "1": "lion"})),
    "no values": lambda r: changed(r, "lr", Coordinate("lr", None)),
    "no coordinate": lambda r: changed(r, "lr", {"dim": "lr"}),
    "no optimizer": lambda r: {"coordinates": {name: one for name, one in r.coordinates.items() if name != "optimizer"}},
    "two values for all": lambda r: changed(r, "momentum", Coordinate("", np.array([0.1, 0.2]))),
    "another shape": lambda r: {"val_loss": r.val_loss[0]},
    "another dtype": lambda r: {"epochs": r.loss},
    "a code without a name": lambda r: {"status": np.full_like(np.asarray(r.status), 77)},
}


@pytest.mark.parametrize("what", CRAFTED)
def test_crafted_sweeps_are_refused(found, what, tmp_path):
    write_file(tmp_path / "bad.npz", dataclasses.replace(found, **CRAFTED[what](found)))
    with pytest.raises(ValueError, match="is not damaged, but it is not a result as fastgd writes them"):
        fastgd.load(tmp_path / "bad.npz")


def test_whatever_stands_in_place_of_a_field(found, tmp_path):
    """The file is refused in words, or it is a sweep that prints and is selected from."""
    found.save(path := tmp_path / "cells.npz")
    good = members(path)
    described = json.loads(good["fastgd.json"])["content"]
    ways = [("fields", name) for name in described["fields"]]
    ways += [("fields", "coordinates", "table", name, "fields", part) for name in found.coordinates for part in ("dim", "values", "texts")]
    refused = 0
    for way in ways:
        for value in (
            None,
            True,
            3,
            "x",
            "lr",
            {},
            {"table": {}},
            {"table": {"0": 3}},
            {"array": "w"},
            {"array": "history.epoch"},
            {"array": "n_used"},
        ):
            changed = json.loads(good["fastgd.json"])
            node = changed["content"]
            for key in way[:-1]:
                node = node[key]
            node[way[-1]] = value
            path.write_bytes(seal(good | {"fastgd.json": json.dumps(changed).encode()}))
            try:
                result = fastgd.load(path)
            except ValueError:
                refused += 1
            else:
                assert result.summary()
                assert len(result.to_frame()) == 16
    assert refused > 250


def test_summary_and_repr(found):
    lines = found.summary().splitlines()
    assert lines[0] == "Sweep of 8 cells for each of 2 fits of 3 features + intercept"
    assert lines[1].split() == ["optimizer", "sgd,", "Adam(eps=0.001)"]
    assert lines[3].split(maxsplit=1) == ["betas", "(0.9, 0.99)"]
    assert lines[4].split(maxsplit=1) == ["w0", "(0, 0, 0), (1, 1, 1)"]
    assert lines[5].split(maxsplit=1) == ["status", "12 COMPLETED, 4 DIVERGED"]
    assert lines[6].split(maxsplit=1) == ["rates", "4 of 8 above the stability limit"]
    assert lines[7].startswith("  best val_loss")
    assert repr(found).startswith("<Sweep of 8 cells for each of 2 fits of 3 features + intercept: optimizer sgd, Adam(eps=0.001); lr")
    assert "<table" in found._repr_html_()


def test_summary_where_no_cell_counts():
    found = fastgd.sweep([1.0, 2, 3], [2.0, 4, 6], grid={"lr": [1e9]}, epochs=200)
    assert "best loss  none: no cell counts" in found.summary()
    assert "rates      1 of 1 above the stability limit" in found.summary()
    slow = fastgd.sweep([1.0, 2, 3], [2.0, 4, 6], grid={"lr": [1e-3]}, epochs=2)
    assert "rates" not in slow.summary()


def test_public_methods_are_quiet_about_the_callers_settings():
    with np.errstate(all="raise"):
        found = fastgd.sweep([1.0, 2, 3], [2.0, 4, 6], grid={"lr": [0.1, 1e9]}, epochs=200, history=True, X_val=[1.0], y_val=[1.0])
        assert isinstance(found, SweepResult)
        assert found.best()["lr"] == 0.1
        found.epochs_to(0.1)
        found.summary()
