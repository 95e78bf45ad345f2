"""An attack on a promise of fastgd, and one run of it.

An attack draws cases from a seeded generator until its time is over, and compares what fastgd does
with what was promised. What it finds comes with a small program that shows it again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

KEPT_OF_A_KIND = 3  # failures of one kind that are kept with their programs; more are only counted
MEMORY = 4 * 2**30  # bytes: far more than a case needs, far less than the machine has
MOST_FAILURES = 20  # then an attack ends: it has found enough


@dataclass(frozen=True)
class Failure:
    """One broken promise: its kind in a few words, what was seen, a program that shows it again."""

    kind: str
    text: str
    reproducer: str


@dataclass
class Trial:
    """One run of an attack: where its cases come from, how long it may take, what it found."""

    seed: int
    deadline: float  # of time.monotonic(), in seconds
    folder: Path  # its own, empty at the start
    most_failures: int = MOST_FAILURES
    counts: Counter[str] = field(default_factory=Counter)  # how many failures of each kind
    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)  # what was seen, and breaks no promise
    cases: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def tried(self, n: int = 1) -> None:
        """Count n cases, in the unit of the attack."""
        self.cases += n

    def failed(self, kind: str, text: str, reproducer: str) -> None:
        """Remember a broken promise. `reproducer` is a small Python program that shows it."""
        self.counts[kind] += 1
        if self.counts[kind] <= KEPT_OF_A_KIND:
            self.failures.append(Failure(kind, text, reproducer))

    def noted(self, kind: str) -> None:
        """Count what was seen and breaks no promise of fastgd; it stands below the table."""
        self.notes[kind] += 1

    def doing(self, reproducer: str) -> None:
        """Say what is tried now: if it crashes or hangs the process, this program is kept. Takes
        about 20 us."""
        (self.folder / "now.py").write_text(reproducer, encoding="utf-8")

    def time_is_left(self) -> bool:
        """Whether another case may begin; the first one always may."""
        return (self.cases == 0 or time.monotonic() < self.deadline) and self.counts.total() < self.most_failures

    def to_json(self) -> str:
        """What was tried and found, for the process that started this one."""
        found = [vars(failure) for failure in self.failures]
        return json.dumps({"cases": self.cases, "counts": self.counts, "notes": self.notes, "failures": found})


@dataclass(frozen=True)
class Attack:
    """How one promise is attacked."""

    name: str  # of its module in tests/campaign/
    promise: str  # a sentence of at most 80 letters
    how: str  # sentences
    unit: str  # what is counted, such as "calls"
    share: float  # of the time of a campaign, beside those of the other attacks
    run: Callable[[Trial], None]
    memory: int | None = MEMORY  # bytes of address space beyond what a turn begins with; None: all there is
    needs: Callable[[], str | None] = lambda: None  # why it cannot run here; the table says so
