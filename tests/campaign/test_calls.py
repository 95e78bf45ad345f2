"""The attack of random calls finds nothing, and finds a planted fault."""

from __future__ import annotations

from tests.campaign.calls import ATTACK
from tests.campaign.trying import find_planted, run_for_a_moment


def test_nothing_is_found(tmp_path):
    run_for_a_moment(ATTACK, tmp_path)


def test_a_planted_fault_is_found(tmp_path, monkeypatch):
    import fastgd

    fit = fastgd.fit
    monkeypatch.setattr(fastgd, "fit", lambda X, y, lr, epochs: fit(X, y, lr=lr * 1.000001, epochs=epochs))
    assert find_planted(ATTACK, tmp_path) == {"wrong w"}
