"""Large grids of cases: `make test` runs a fixed, printed share of them, `make test-all` all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")

full = False  # set by conftest.py from --full, before any test module is imported
shares: dict[str, tuple[int, int]] = {}  # name of the grid -> (cases run, cases in all)


def thin(name: str, cases: Sequence[Case], one_in: int) -> list[Case]:
    """All cases, or one in so many, drawn at random but always the same; the share is printed at
    the end of the run."""
    kept = range(len(cases)) if full else sorted(random.Random(name).sample(range(len(cases)), -(-len(cases) // one_in)))
    chosen = [cases[k] for k in kept]
    shares[name] = (len(chosen), len(cases))
    return chosen


def share(name: str, cases: Sequence[Case], few: Sequence[Case]) -> list[Case]:
    """All cases, or these few of them."""
    chosen = list(cases if full else few)
    shares[name] = (len(chosen), len(cases))
    return chosen
