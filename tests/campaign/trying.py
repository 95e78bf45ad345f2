"""Attacks in the process of a test: for a moment, in which they find nothing, and until a planted
fault is found."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.campaign.attack import Attack, Trial


def narrowed(attack: Attack, *cases: Any) -> Attack:
    """The attack on some of its cases alone; `cases` is what its function takes after the trial."""
    run: Any = attack.run
    return replace(attack, run=lambda trial: run(trial, *cases))


def run_for_a_moment(attack: Attack, folder: Path, seconds: float = 0.3, seed: int = 1) -> Trial:
    """The trial of a short run, which tried something and found nothing."""
    assert attack.needs() is None, attack.needs()
    trial = Trial(seed, time.monotonic() + seconds, folder)
    attack.run(trial)
    assert trial.failures == [], "\n".join(f"{failure.kind}: {failure.text}\n{failure.reproducer}" for failure in trial.failures)
    assert trial.cases > 0
    return trial


def find_planted(attack: Attack, folder: Path, seconds: float = 120.0, seed: int = 1) -> set[str]:
    """The kinds of failure that a run finds first; it ends with the first, `seconds` only if there
    is none."""
    trial = Trial(seed, time.monotonic() + seconds, folder, most_failures=1)
    attack.run(trial)
    for failure in trial.failures:
        compile(failure.reproducer, "reproducer.py", "exec")  # it is a program
    return set(trial.counts)
