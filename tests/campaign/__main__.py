"""Attacks the promises of fastgd for a while: `python -m tests.campaign --seconds 1800 --jobs 2`.

Exit status 0: nothing failed. What failed is told, and a small program for each is written to
out/campaign/.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import secrets
import sys
from pathlib import Path

from tests.campaign.attacks import ATTACKS, BY_NAME
from tests.campaign.running import run_all, write_reproducers
from tests.campaign.table import lines_of, why_no_table, write_table


def why_not(asked: argparse.Namespace, names: list[str]) -> str | None:
    """What is wrong with the arguments; it is said before the campaign, not after half an hour."""
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        return f"no attack is called {', '.join(map(repr, unknown))}; there are: {', '.join(BY_NAME)}"
    if not 0 < asked.seconds < math.inf or asked.jobs < 0 or (asked.seed is not None and asked.seed < 0):
        return "--seconds must be above 0, --jobs and --seed not below it"
    place = next(path for path in (asked.reproducers, *asked.reproducers.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        return f"--reproducers must be a folder to write in: {place} is none"
    return None if asked.out is None else why_no_table(asked.out)


def main(arguments: list[str] | None = None) -> int:
    """Run the attacks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="Attack the promises of fastgd, with random cases.")
    parser.add_argument("--seconds", type=float, default=1800.0, help="how long the whole campaign takes, about (default 1800)")
    parser.add_argument("--seed", type=int, help="of all random numbers (default: a new one, which is printed)")
    parser.add_argument("--jobs", type=int, default=2, help="how many attacks run at a time (default 2)")
    parser.add_argument("--only", help=f"attacks, with commas between: {', '.join(BY_NAME)}")
    parser.add_argument("--out", type=Path, help="the page whose table is written, such as docs/reliability.md (default: none)")
    parser.add_argument("--reproducers", type=Path, default=Path("out/campaign"), help="where programs for failures go")
    asked = parser.parse_args(arguments)
    names = asked.only.split(",") if asked.only else list(BY_NAME)
    if why := why_not(asked, names):
        parser.error(why)
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    jobs = max(asked.jobs, 1)
    tell = functools.partial(print, flush=True)
    tell(f"seed {seed}: --seed {seed} --seconds {asked.seconds:g} --jobs {jobs} draws the same cases, as far as time allows")
    found = run_all([attack for attack in ATTACKS if attack.name in names], asked.seconds, seed, jobs, tell)
    lines = lines_of(found, seed, asked.seconds, jobs)
    tell("\n" + "\n".join(lines) + "\n")
    if asked.out is not None:
        write_table(asked.out, lines)
    for path in write_reproducers(found, asked.reproducers):
        tell(f"FAILED: {path}")
    return 1 if any(attack.counts for attack in found) else 0


if __name__ == "__main__":
    sys.exit(main())
