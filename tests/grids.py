"""Large grids of cases: `make test` runs a fixed, printed share of them, `make test-all` all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")

full = False  # set by conftest.py from --full, before any test module is imported
shares: dict[str, tuple[int, int]] = {}  # name of the grid -> (cases run, cases in all)


def thin(name: str, cases: Sequence[Case], one_in: int) -> list[Case]:
    """All cases, or every `one_in`-th of them in a fixed, scattered order; the share is printed at the end of the run."""
    chosen = [case for k, case in enumerate(cases) if full or (k * 7919) % len(cases) % one_in == 0]
    shares[name] = (len(chosen), len(cases))
    return chosen
