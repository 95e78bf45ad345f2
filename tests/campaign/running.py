"""Runs attacks in processes of their own, a few at a time, and collects what they found.

1. A turn is one attack for at most a minute or two, with a seed of its own. It is a new process: a
   crash ends only the turn, and is a failure like any other, with the case that was tried then.
2. A turn that does not end long after its time is a hang. It is told by SIGABRT to print where its
   threads are, then it is killed with every process that it started.
3. The seed of a turn comes from the seed of the campaign, the attack's name and the turn's number:
   not from the order in which turns end, nor from which other attacks run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.campaign.attack import KEPT_OF_A_KIND, Attack, Failure
from tests.support.paths import ROOT

LONGEST_TURN = 120.0  # seconds
PATIENCE = 180.0  # seconds after its time until a turn hangs: children of an attack may compile kernels


@dataclass
class Found:
    """What all turns of one attack found."""

    attack: Attack
    why_not: str | None = None  # it did not run
    cases: int = 0
    seconds: float = 0.0  # of all its turns
    counts: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take over what one turn found."""
        self.cases += other.cases
        self.seconds += other.seconds
        for failure in other.failures:
            if sum(kept.kind == failure.kind for kept in self.failures) < KEPT_OF_A_KIND:
                self.failures.append(failure)
        self.counts += other.counts
        self.notes += other.notes


@dataclass(frozen=True)
class Turn:
    """One process: an attack, its seed, its seconds."""

    attack: Attack
    seed: int
    seconds: float


def turns_of(attacks: Iterable[Attack], seconds: float, seed: int, jobs: int) -> list[Turn]:
    """Turns that fill `seconds` of `jobs` processes, shared among the attacks; the attacks take
    turns, so that none comes last."""
    attacks = list(attacks)
    shares = sum(attack.share for attack in attacks)
    rounds = []
    for attack in attacks:
        total = seconds * jobs * attack.share / shares
        count = max(1, round(total / LONGEST_TURN + 0.5))
        words = [[seed, zlib.crc32(attack.name.encode()), number] for number in range(count)]
        seeds = [int(np.random.SeedSequence(word).generate_state(1)[0]) for word in words]
        rounds += [((number + 0.5) / count, Turn(attack, seed, total / count)) for number, seed in enumerate(seeds)]
    return [turn for _, turn in sorted(rounds, key=lambda pair: pair[0])]


def run_turn(turn: Turn, patience: float = PATIENCE, module: str = "tests.campaign.one") -> Found:
    """Run one turn in a new process. A crash, a hang, an exception of the attack are failures."""
    found = Found(turn.attack)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-") as name:
        folder = Path(name)
        arguments = (turn.attack.name, str(turn.seed), str(turn.seconds), name)
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
            try:
                ended = _wait(process, turn.seconds + patience)
            finally:
                with contextlib.suppress(ProcessLookupError):  # it, and whatever it started and left
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        result = folder / "found.json"
        if result.exists():
            said = json.loads(result.read_text(encoding="utf-8"))
            found.cases, found.counts = said["cases"], Counter(said["counts"])
            found.notes = Counter(said["notes"])
            found.failures = [Failure(**failure) for failure in said["failures"]]
        if not ended or process.returncode or not result.exists():
            kind = "hang" if not ended else "crash" if process.returncode < 0 else "the attack itself ended early"
            printed = (folder / "output").read_text(encoding="utf-8", errors="replace")[-4000:]
            doing = folder / "now.py"
            shown = doing.read_text(encoding="utf-8") if doing.exists() else ""
            again = f"# python -m {module} {turn.attack.name} {turn.seed} {turn.seconds} FOLDER"
            found.counts[kind] += 1
            found.failures.append(
                Failure(kind, f"exit status {process.returncode}; it printed:\n{printed}", f"{shown.rstrip()}\n\n{again}")
            )
    found.seconds = time.monotonic() - began
    return found


def _wait(process: subprocess.Popen, seconds: float) -> bool:
    """Whether a process ended in time; if not, it is told to say where it is."""
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        return False


def run_all(attacks: Iterable[Attack], seconds: float, seed: int, jobs: int, tell: Callable[[str], None]) -> list[Found]:
    """Run the attacks that can run here; say what each turn found."""
    results = {attack.name: Found(attack, attack.needs()) for attack in attacks}
    turns = turns_of([found.attack for found in results.values() if found.why_not is None], seconds, seed, jobs)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            running = {pool.submit(run_turn, turn): turn for turn in turns}
            for future in as_completed(running):
                turn, found = running[future], future.result()
                results[turn.attack.name].add(found)
                failed = ", ".join(f"{count} {kind}" for kind, count in found.counts.items()) or "none failed"
                tell(f"{turn.attack.name:12} seed {turn.seed:10} {found.seconds:4.0f} s {found.cases:9,} {turn.attack.unit}: {failed}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return list(results.values())


def write_reproducers(found: Iterable[Found], folder: Path) -> list[Path]:
    """One Python file for each failure that was kept."""
    written = []
    for attack in found:
        for number, failure in enumerate(attack.failures, 1):
            folder.mkdir(parents=True, exist_ok=True)
            kind = re.sub(r"\W+", "-", failure.kind.lower()).strip("-")
            path = folder / f"{attack.attack.name}-{kind}-{number}.py"
            told = "\n".join(f"# {line}".rstrip() for line in f"{failure.kind}: {failure.text}".splitlines())
            path.write_text(f"{told}\n\n{failure.reproducer.rstrip()}\n", encoding="utf-8")
            written.append(path)
    return written
