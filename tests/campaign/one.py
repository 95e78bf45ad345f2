"""Runs one attack in a process of its own: `python -m tests.campaign.one NAME SEED SECONDS FOLDER`.

What it found goes to FOLDER/found.json. tests/campaign/running.py starts this and ends it if it
hangs: SIGABRT prints where every thread is. Its address space may grow by `Attack.memory` only: a
case that would take the whole machine gets a MemoryError, which is a failure.
"""

from __future__ import annotations

import faulthandler
import gc
import resource
import sys
import time
from pathlib import Path

from tests.campaign.attack import Trial
from tests.campaign.attacks import BY_NAME


def main(name: str, seed: str, seconds: str, folder: str) -> None:
    """Run one attack and write down what it found."""
    faulthandler.enable()
    attack = BY_NAME[name]
    if attack.memory is not None:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + attack.memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    gc.collect()
    gc.freeze()  # what is imported now is not looked through after each call (tests/support/threads.py)
    trial = Trial(int(seed), time.monotonic() + float(seconds), Path(folder))
    attack.run(trial)
    (Path(folder) / "found.json").write_text(trial.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
