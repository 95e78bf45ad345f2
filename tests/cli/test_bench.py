"""`fastgd bench`: the machine, then a line for each case, and the rows in a file."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import fastgd
from fastgd.cli import app
from fastgd.speed import agreeing, limits
from fastgd.speed.cases import CASES, USERS
from fastgd.speed.measuring import read_rows


def run(*arguments: str):
    return CliRunner().invoke(app, ["bench", *arguments], prog_name="fastgd", env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(limits, "ROUNDS", 100)
    monkeypatch.setattr("fastgd.cli.bench.FEWEST_SECONDS", 0.0)


def test_it_tells_each_case_beside_its_limit(tmp_path):
    done = run("--quick", "--seconds", "0", "--out", str(tmp_path / "rows.jsonl"))
    assert done.exit_code == 0, done.output
    for name in USERS:
        (line,) = [line for line in done.output.splitlines() if line.startswith(CASES[name].words)]
        assert " fits " in line
    rows = read_rows(tmp_path / "rows.jsonl")
    assert [row.get("case") for row in rows] == [None, *USERS]
    assert rows[0]["read_gb_per_s"] > 0
    assert rows[0]["fma64_g_per_s"] > 0
    assert run("--quick", "--out", str(tmp_path)).exit_code == 2  # a folder


def test_a_case_that_disagrees_is_an_exit_status(monkeypatch):
    fit = fastgd.fit
    monkeypatch.setattr(fastgd, "fit", lambda *data, lr, **options: fit(*data, lr=lr * 1.01, **options))
    done = run("--quick", "--seconds", "0")
    assert done.exit_code == 1
    assert "fastgd bench: tau = " in done.output
    assert agreeing.OURS == 2
