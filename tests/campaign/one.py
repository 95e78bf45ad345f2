"""Runs one attack in a process of its own: `python -m tests.campaign.one NAME SEED SECONDS FOLDER`.

What it found goes to FOLDER/found.json. tests/campaign/running.py starts this and ends it if it
hangs: SIGABRT prints where every thread is.
"""

from __future__ import annotations

import faulthandler
import sys
import time
from pathlib import Path

from tests.campaign.attack import Trial
from tests.campaign.attacks import BY_NAME


def main(name: str, seed: str, seconds: str, folder: str) -> None:
    """Run one attack and write down what it found."""
    faulthandler.enable()
    trial = Trial(int(seed), time.monotonic() + float(seconds), Path(folder))
    BY_NAME[name].run(trial)
    (Path(folder) / "found.json").write_text(trial.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
