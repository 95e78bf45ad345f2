"""The attack of hostile candidates finds nothing, and finds a verdict that is always good."""

from __future__ import annotations

import os

import pytest

from tests.campaign import hostile
from tests.campaign.hostile import ATTACK, HARMLESS, RETURNED, RIGHT, WHAT, WHERE, candidate
from tests.campaign.trying import find_planted, run_for_a_moment

SPOILED = """
from fastgd.verification.report.report import Report

Report.outcome = property(lambda report: "agrees")
"""


def test_nothing_is_found(tmp_path):
    run_for_a_moment(ATTACK, tmp_path, seconds=0.1)


def test_a_planted_fault_is_found(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SPOILED)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(hostile, "WHAT", {"rounding": WHAT["rounding"]})  # so that every epoch is judged
    monkeypatch.setattr(hostile, "RETURNED", {"a wrong step": RETURNED["a wrong step"]})
    (tmp_path / "trial").mkdir()
    assert find_planted(ATTACK, tmp_path / "trial") == {"a wrong candidate passes"}


@pytest.mark.parametrize("where", WHERE)
def test_every_candidate_is_a_program(where):
    cases = [(what, RIGHT) for what in (*WHAT.values(), *HARMLESS)] + [("pass", returned) for returned in RETURNED.values()]
    for what, returned in cases:
        if what != "pass" or where != "end":
            compile(candidate(what, where, returned), "candidate.py", "exec")
