"""`fastgd fit`: the library's results from the command line, the plan, exit statuses."""

from __future__ import annotations

import sys

import polars as pl
import pytest
from typer.testing import CliRunner

import fastgd
from fastgd.cli import app
from fastgd.cli.csv_file import CommandError
from fastgd.cli.fit import read_columns_option, read_nodata_option

TEXT = """carrier,"late, in min",miles,arr
UA,2,1400,11
AA,3,760,7
UA,4,1416,20
AA,1,1089,NA
UA,-6,719,-25
AA,5,1065,9
AA,-9999,762,5
,1,1,1
"""
OPTIONS = ("--y", "arr", "--x", '"late, in min",miles', "--by", "carrier", "--nan-policy", "omit")


def run(*arguments, **options):
    return CliRunner().invoke(
        app, ["fit", *map(str, arguments)], prog_name="fastgd", env={"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}, **options
    )


@pytest.fixture
def table(tmp_path):
    (tmp_path / "data.csv").write_text(TEXT, "utf-8")
    return tmp_path / "data.csv"


def test_options_that_are_lists():
    assert read_columns_option(' a,"b, c", d e') == ["a", "b, c", "d e"]
    assert read_columns_option(None) == []
    assert read_nodata_option("-9999,1e36") == [-9999, 1e36]
    with pytest.raises(CommandError, match="--nodata x: numbers are needed"):
        read_nodata_option("x")


def test_results_are_those_of_the_library(table, tmp_path):
    done = run(table, *OPTIONS, "--optimizer", "adam", "--lr", "0.1", "--epochs", "7", "--min-samples", 2, "--out", tmp_path / "fits.csv")
    assert done.exit_code == 0, done.output
    model = {"y": "arr", "x": ["late, in min", "miles"], "by": "carrier", "nan_policy": "omit"}
    expected = fastgd.fit_table(table, **model, optimizer=fastgd.Adam(), lr=0.1, epochs=7, min_samples=2)
    written = pl.read_csv(tmp_path / "fits.csv", schema_overrides={"excess_loss": pl.Float64})  # all blank
    assert written.rows() == pl.from_arrow(expected.table).fill_nan(None).rows()
    assert done.output.startswith("8 rows, of which 1 lack a number and were left out, 3 groups in ")
    assert done.output.splitlines()[1:] == [
        "              2  COMPLETED",
        "              1  TOO_FEW_SAMPLES",
        f"results: {tmp_path / 'fits.csv'}",
    ]


def test_it_says_how_many_fits_are_far_from_the_least_loss(tmp_path):
    rows = [(key, x, 3 * x + key) for key in (1, 2, 3) for x in (1, 2, 4, 8)]
    (tmp_path / "data.csv").write_text("key,x,y\n" + "\n".join(",".join(map(str, row)) for row in rows), "utf-8")
    done = run(tmp_path / "data.csv", "--y", "y", "--x", "x", "--by", "key", "--epochs", 2, "--lr", "0.001")
    assert "            3  more than 1 % above the least loss: give --standardize, more --epochs, or --solve" in done.output
    assert "above" not in run(tmp_path / "data.csv", "--y", "y", "--x", "x", "--by", "key", "--solve").output


def test_what_is_printed_without_a_file(table):
    done = run(table, *OPTIONS, "--solve", "--covariance", "HC1", "--ridge", "1")
    assert done.exit_code == 2
    assert "stats" in done.output  # which do not go with a penalty
    done = run(table, *OPTIONS, "--nodata", "-9999", "--solve", "--long", "--no-intercept", "--weights", "miles")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert lines[0] == ["carrier", "term", "estimate"]
    assert lines[1][:2] == ["AA", "late,"]
    assert lines[5][0] == "null"
    many = "k,x,y\n" + "".join(f"{k},{row},{row * k}\n" for k in range(30) for row in range(3))
    done = run("-", "--y", "y", "--x", "x", "--by", "k", "--dtype", "float32", input=many)
    assert done.exit_code == 0, done.output
    assert "... and 10 rows more: give --out FILE for all" in done.output


def test_the_plan(table, tmp_path):
    done = run(table, *OPTIONS, "--dry-run", "--out", tmp_path / "fits.parquet", "--memory-limit", "400 MiB")
    assert done.exit_code == 0, done.output
    plan = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    assert plan["rows"] == "8, 1 of them lack a number (omit)"
    assert plan["groups"] == "3 of carrier, of 1 to 4 rows"
    assert plan["columns"] == "arr ~ late, in min + miles + intercept (float64)"
    assert plan["fits"] == "3 of 3 parameters"
    assert "stream: n_samples 4 <= 2 * n_features 2" in done.output
    assert "are sorted in 60.0 MiB; batches of at most 131,072 rows" in plan["memory"]
    assert not (tmp_path / "fits.parquet").exists()
    assert "all rows are one fit" in run(table, "--y", "miles", "--x", "arr", "--nan-policy", "omit", "--dry-run", "--solve").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "of 8 rows 1 lack a finite number ('arr' in 1 row): --nan-policy omit leaves them out"),
        (("--epochs", "3", "--solve"), "is for descent; --solve has none"),
        (("--ridge", "3"), "goes with --solve"),
        (("--optimizer", "adma"), "--optimizer adma is unknown; there are: sgd, adam"),
        (("--optimizer", "adam", "--momentum", "0.9"), "Adam() has no option 'momentum'"),
        (("--memory-limit", "256 MiB"), "at least 328 MiB are needed, of which Python, its libraries and the kernels take 200"),
        (("--nan-policy", "drop"), "nan_policy must be 'raise', 'omit' or 'propagate', not 'drop'"),
        (("--by", "career"), "data.csv has no column 'career'; is 'carrier' meant?"),
        (("--out", "none/fits.csv"), "there is no folder none"),
        (("--temp", "none"), "no folder for temporary files can be made"),
    ],
)
def test_usage_errors_have_status_2(table, arguments, said):
    done = run(table, "--y", "arr", "--x", "miles", *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_standard_input_stands_alone(table, monkeypatch):
    assert "- (standard input) stands alone" in run("-", table, "--y", "arr", "--x", "miles").output
    done = run("-", "--y", "arr", "--x", "miles", input="")
    assert "standard input is empty" in done.output


def test_a_missing_extra_is_named(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    done = run(table, "--y", "arr", "--x", "miles")
    assert done.exit_code == 2
    assert "tables need duckdb: pip install 'fastgd[tables]'" in done.output
