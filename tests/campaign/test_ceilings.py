"""The attack on memory limits finds nothing, and finds memory that is taken beyond them."""

from __future__ import annotations

import numpy as np

from fastgd import fitting
from tests.campaign.ceilings import ATTACK
from tests.campaign.trying import find_planted, run_for_a_moment


def test_nothing_is_found(tmp_path):
    run_for_a_moment(ATTACK, tmp_path)


def test_a_planted_fault_is_found(tmp_path, monkeypatch):
    """A copy of the data beyond the limit."""
    run = fitting.run_call

    def wasteful(*arguments):
        copy = np.ones(2**22)
        run(*arguments)
        return copy[0]

    monkeypatch.setattr(fitting, "run_call", wasteful)
    assert find_planted(ATTACK, tmp_path) == {"over the limit"}
