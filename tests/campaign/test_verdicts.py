"""The attack on verdicts finds nothing, and finds a planted fault."""

from __future__ import annotations

from fastgd.verification.bound import rule_step
from fastgd.verification.causes.recipes import Recipe
from tests.campaign.trying import find_planted, run_for_a_moment
from tests.campaign.verdicts import ATTACK


def test_nothing_is_found(tmp_path):
    run_for_a_moment(ATTACK, tmp_path)


def test_a_planted_fault_is_found(tmp_path, monkeypatch):
    """The bound without what intermediates may do."""
    monkeypatch.setattr(rule_step, "_by_intermediates", lambda step, values, expected, *others: (0 * expected, True))
    monkeypatch.setattr(Recipe, "judged", lambda recipe, seen: seen)
    assert find_planted(ATTACK, tmp_path) == {"called wrong"}
