"""What a test of the gallery asserts, and the data that its programs are given."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastgd

LR, EPOCHS = 0.03, 9
_RNG = np.random.default_rng(20)
X = _RNG.standard_normal((14, 2))
Y = X @ [2.0, -1.0] + 4.0 + _RNG.standard_normal(14)
ONES = np.column_stack([np.ones(14), X])  # as courses have it
x = X[:, 0]


def named(report: Any, *right: str) -> None:
    """Assert that a report disagrees, and gives one of these names, or holds one for possible.

    A name is sure only where it is right: "unknown" without a name is allowed where no name is
    given here.
    """
    assert not report.ok, str(report)
    found = report.diagnosis
    assert found is not None, str(report)
    if not right:
        assert found.code == "unknown", str(found)
        return
    possible = {code for told in found.also_possible for code in told.split(" + ")}
    assert set(found.codes) & set(right) or (found.code == "unknown" and possible & set(right)), str(report)


def agrees(report: Any) -> None:
    """Assert that a report agrees at every epoch."""
    assert report.outcome == "agrees", str(report)


def judged(candidate: Any, X: Any = ONES, y: Any = Y, **asked: Any) -> Any:
    """Return the report on a program."""
    return fastgd.verify(candidate, X, y, **{"lr": LR, "epochs": EPOCHS, **asked})
