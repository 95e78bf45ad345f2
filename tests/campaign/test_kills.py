"""The attack of killed processes finds nothing, and finds a file that is written in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgd.results import file_format
from fastgd.verification.report import report
from tests.campaign import kills
from tests.campaign.trying import find_planted, narrowed, run_for_a_moment


@pytest.mark.parametrize("what", ["a small result", "a JSON report", "a kernel"])
def test_nothing_is_found(what, tmp_path):
    run_for_a_moment(narrowed(kills.ATTACK, what), tmp_path, seconds=0.2)


def test_a_result_that_is_written_in_place_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(file_format, "replacing", lambda path: Path(path).open("w+b"))  # noqa: SIM115 - write_file closes it
    assert find_planted(narrowed(kills.ATTACK, "a small result"), tmp_path) == {"a small result: half a file"}


def test_a_report_that_is_written_in_place_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write_text", lambda path, text: path.write_text(text))
    assert find_planted(narrowed(kills.ATTACK, "a JSON report"), tmp_path) == {"a JSON report: half a file"}
