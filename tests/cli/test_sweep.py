"""`fastgd sweep`: axes of the command line, files, exit statuses."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import fastgd
from fastgd.cli import app
from fastgd.cli.csv_file import CommandError
from fastgd.cli.sweep import read_axis


def run(*arguments):
    return CliRunner().invoke(
        app, ["sweep", *map(str, arguments)], prog_name="fastgd", env={"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}
    )


@pytest.fixture
def table(tmp_path):
    numbers = np.random.default_rng(0).standard_normal((30, 4))
    np.savetxt(tmp_path / "data.csv", numbers, delimiter=",", header="a,b,c,price", comments="", fmt="%.17g")
    return tmp_path / "data.csv", numbers


def test_axes():
    assert read_axis("0, 0.9,0.99", "--momentum") == [0.0, 0.9, 0.99]
    assert read_axis("1e-4:1:log:3", "--lr") == np.geomspace(1e-4, 1, 3).tolist()
    assert read_axis("0:1:lin:5", "--lr") == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    "text", ["", "a", "0.1,", "1:2", "1:2:log", "1:2:exp:3", "0:1:log:3", "2:1:lin:3", "1:2:lin:1", "1:2:lin:x", "nan"]
)
def test_what_is_no_axis(text):
    with pytest.raises(CommandError, match="--lr"):
        read_axis(text, "--lr")


def test_a_sweep_is_that_of_the_library_in_every_file(table, tmp_path):
    path, numbers = table
    options = ("--y", "price", "--x", "a,c", "--lr", "1e-3:1e3:log:5", "--momentum", "0,0.9", "--optimizer", "sgd,adam", "--epochs", 200)
    expected = fastgd.sweep(
        numbers[:, [0, 2]], numbers[:, 3],
        grid={"lr": np.geomspace(1e-3, 1e3, 5), "momentum": [0, 0.9], "optimizer": ["sgd", "adam"]}, epochs=200,
    )  # fmt: skip
    assert (expected.status == fastgd.Status.DIVERGED).any()
    done = run(path, *options, "--out", tmp_path / "cells.npz", "--plot", tmp_path / "map.png")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(expected.summary())
    assert np.array_equal(fastgd.load(tmp_path / "cells.npz").loss, expected.loss, equal_nan=True)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    import polars

    for name, read in (("cells.csv", polars.read_csv), ("cells.parquet", polars.read_parquet)):
        assert run(path, *options, "--out", tmp_path / name).exit_code == 0
        frame = read(tmp_path / name)
        assert np.array_equal(frame["loss"].to_numpy(), expected.loss.ravel(), equal_nan=True)
        assert frame["optimizer"].to_list()[:4] == ["sgd", "adam", "sgd", "adam"]


def test_a_checkpoint_is_used_again(table, tmp_path):
    arguments = (table[0], "--y", "price", "--lr", "0.1,0.2", "--checkpoint", tmp_path / "checkpoint", "--out", tmp_path / "cells.npz")
    written = []
    for _ in range(2):
        done = run(*arguments)
        assert done.exit_code == 0, done.output
        written.append((tmp_path / "cells.npz").read_bytes())
    assert written[0] == written[1]
    done = run(*arguments, "--epochs", 7)
    assert done.exit_code == 2
    assert "is of another call: epochs was 100 and is 7" in done.output


def test_validation_intercept_and_reduction(table):
    path, numbers = table
    done = run(path, "--y", "price", "--reduction", "mean,sum", "--lr", "0.01", "--intercept", "--standardize", "--val", path)
    assert done.exit_code == 0, done.output
    expected = fastgd.sweep(numbers[:, :3], numbers[:, 3], grid={"lr": [0.01], "reduction": ["mean", "sum"]}, intercept=True,
                            standardize=True, X_val=numbers[:, :3], y_val=numbers[:, 3])  # fmt: skip
    assert done.output.startswith(expected.summary())


def test_early_stopping(table):
    path, numbers = table
    done = run(path, "--y", "price", "--lr", "0.01,0.02", "--val", path, "--patience", "3", "--min-delta", "0.1", "--restore-best")
    assert done.exit_code == 0, done.output
    X, y = numbers[:, :3], numbers[:, 3]
    options = {"patience": 3, "min_delta": 0.1, "restore_best": True, "X_val": X, "y_val": y}
    assert done.output.startswith(fastgd.sweep(X, y, grid={"lr": [0.01, 0.02]}, **options).summary())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--lr", "0.1"), "--y is needed"),
        (("--y", "price"), "an axis is needed: one of --lr, --momentum, --weight-decay, --optimizer, --reduction"),
        (("--y", "cost", "--lr", "0.1"), "has no column 'cost'"),
        (("--y", "price", "--lr", "-1"), "grid['lr'] must be at least 0"),
        (("--y", "price", "--lr", "0.1", "--optimizer", "adma"), "optimizer 'adma' is unknown"),
        (("--y", "price", "--lr", "0.1", "--out", "cells.txt"), "the name must end in .csv, .parquet or .npz"),
        (("--y", "price", "--lr", "0.1", "--val", "none.csv"), "cannot read none.csv"),
        (("--y", "price", "--lr", "0.1", "--patience", "3"), "patience=3 looks at the loss of validation data"),
        (("--y", "price", "--lr", "0.1", "--out", "no/such/folder/cells.csv"), "there is no such folder"),
    ],
)
def test_usage_errors_have_status_2(table, arguments, said):
    done = run(table[0], *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_a_table_needs_a_library(table, monkeypatch):
    monkeypatch.setattr("fastgd.cli.sweep.importlib.util.find_spec", lambda name: None)
    done = run(table[0], "--y", "price", "--lr", "0.1", "--out", "cells.csv")
    assert done.exit_code == 2
    assert "tables need narwhals" in done.output
