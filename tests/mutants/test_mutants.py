"""The table of planted defects follows the source: each can still be planted, and is still Python."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.plant_mutants import MUTANTS
from tests.support.paths import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_can_be_planted(mutant):
    """The text stands once in its file; the tests that should notice exist."""
    source = (ROOT / mutant.file).read_text()
    assert source.count(mutant.right) == 1
    assert mutant.wrong != mutant.right
    ast.parse(source.replace(mutant.right, mutant.wrong))
    assert all((ROOT / path).is_file() for path in mutant.tests)


def test_names_are_unique():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
