"""Measure the cases of fastgd/speed/cases.py: `make bench`, and beside others `make bench-peers`.

    python -P benchmarks/run.py --out out/bench.jsonl [--only TEXT] [--share 0.05]
    python -P benchmarks/run.py --peers --out out/peers.jsonl

1. Nothing is timed before it agrees: fastgd/speed/agreeing.py. A case, or a peer, that does not
   agree is a row that says so, and the process ends with 1; so is a library that is not installed.
2. The machine's limits are measured in the same process, in turn with the cases: limits.py. What is
   counted: counting.py.
3. Rows are added to the file one by one, and what it has already is not measured again: after a
   kill the same command goes on. A new run is a new file.
4. Without --peers also how time grows (scaling.py), and what a new process pays (first_call.py).
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

from benchmarks import first_call, scaling
from benchmarks.peers import MOST_SECONDS, PEERS, Peer
from benchmarks.problems import Problem, problem_of
from fastgd.cli.bench import measure_machine
from fastgd.planning.plan import available_threads
from fastgd.speed.agreeing import Disagrees
from fastgd.speed.cases import CASES, Case, measure
from fastgd.speed.limits import Machine
from fastgd.speed.measuring import Journal, Row, cells_of, conditions, interleaved, percentiles, shown, timed

ROOT = Path(__file__).resolve().parent.parent
W_ALONE = ("fit 100x1 w", "fit 256x8 w", "rates w")  # beside peers that can leave the history out; all others keep it
PEER_CASES = [
    name for name in CASES
    if name in (*W_ALONE, "fit 256x8 float64 fresh") or name.startswith("solve")
    or not ("float64" in name or name.startswith("excess") or name.endswith((" out", " unlike", "adam w", "nesterov w")))
]  # fmt: skip
LONG_SECONDS = 3.0  # of a first call: then one more round is enough


def commit() -> str:
    """The commit that is measured, and whether files have changed since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "fastgd", "kernels", "benchmarks", ":!benchmarks/results")
    return git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")


def say(row: Row) -> None:
    """Print a line of a row."""
    if "left_out" in row:
        print(f"    {row['peer']:44} left out: {row['left_out']}", flush=True)
    elif "peer" in row:
        fits = "" if row["n_fits"] == row["of_n_fits"] else f" ({row['n_fits']:,} fits)"
        print(f"    {row['peer']:44} {shown(row['median']):>9}, {row['times_fastgd']:,.3g} times as long{fits}", flush=True)
    elif "disagrees" in row:
        print(f"{row['case']:26} DISAGREES: {row['disagrees']}", flush=True)
    elif "median" in row and "case" in row:
        time_of_call, limit, ratio, most, met = cells_of(row)
        print(f"{row['case']:26} {time_of_call:>9}  {limit:34} {ratio:24} {most:6} {met}", flush=True)


def measure_ours(journal: Journal, machine: Machine, names: list[str], share: float) -> None:
    """A row for each case."""
    if not journal.has(machine="limits"):
        journal.write(measure_machine(machine, share))
    for name in names:
        if journal.has(case=name):
            continue
        try:
            row = measure(CASES[name], machine, share)
        except Disagrees as error:
            row = {"case": name, "disagrees": str(error)}
        journal.write(row)
        say(row)


# -- others ----------------------------------------------------------------------------------------


def fits_in_time(problem: Problem, peer: Peer) -> int:
    """All fits, or the largest power of ten of them that should take at most MOST_SECONDS."""
    trial = max(1, problem.n_fits // peer.trial)
    if trial == problem.n_fits:
        return trial
    run = peer.make(problem.part(trial))
    run()
    possible = trial * MOST_SECONDS / max(timed(run), 1e-9)
    return problem.n_fits if possible >= problem.n_fits else 10 ** max(0, math.floor(math.log10(max(possible, 1))))


def measure_peer(problem: Problem, peer: Peer) -> Row:
    """Time of one peer on this problem, or on some of its fits, and of fastgd beside it."""
    if importlib.util.find_spec(peer.library) is None:
        return {"left_out": f"{peer.library} is not installed"}
    try:
        part = problem.part(fits_in_time(problem, peer))
        began = time.perf_counter()
        run = peer.make(part)
        began, converted = time.perf_counter(), time.perf_counter() - began
        found = run()
        first = time.perf_counter() - began
        tau = _judged(part, peer, found)
    except Disagrees as error:
        return {"left_out": f"does not agree: {error}"}
    except Exception as error:  # a compiler that is missing, say: the row tells
        return {"left_out": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"}
    del found
    repeats = 1 if first > LONG_SECONDS else 100
    seconds = interleaved({"peer": run, "fastgd": part.ours()}, repeats, 2.0)
    spent, ours = percentiles(seconds["peer"]), percentiles(seconds["fastgd"])
    return {
        **spent, "first_call": first, "conversion_s": converted, "n_fits": part.n_fits, "of_n_fits": problem.n_fits,
        "fastgd_median": ours["median"], "times_fastgd": spent["median"] / ours["median"], "worst_tau": tau,
        "repeats": len(seconds["peer"]), "threads": available_threads(),
    }  # fmt: skip


def _judged(problem: Problem, peer: Peer, found: object) -> float:
    """The share of the bound; where w alone is asked for, of the history that ends there."""
    if problem.keep:
        return problem.judge(found)
    whole = peer.make(replace(problem, keep=True))()
    if not np.array_equal(whole[0][:, -1], found[0]):
        raise Disagrees("without its history it ends elsewhere")
    return problem.judge(whole)


def measure_peers(journal: Journal, case: Case, share: float) -> None:
    """A row for each peer of a case."""
    problem = None
    for name, peer in PEERS.items():
        if journal.has(case=case.name, peer=name) or (case.name in W_ALONE and not peer.only_w):
            continue
        problem = problem or problem_of(case.make(case.sizes.share(share)))
        if problem is None:
            return
        if problem.kind in peer.kinds:
            problem = replace(problem, keep=case.name not in W_ALONE)
            row = {"case": case.name, "peer": name, **case.sizes.told(), "history": problem.keep, **measure_peer(problem, peer)}
            journal.write(row)
            say(row)
            gc.collect()


def main() -> None:
    """Run all cases, or those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/bench.jsonl"), help="file of JSON lines; what it has is not measured again")
    parser.add_argument("--peers", action="store_true", help="measure other people's ways to the same results, beside fastgd")
    parser.add_argument("--only", default="", help="only cases whose names hold this text")
    parser.add_argument("--share", type=float, default=1.0, help="of the fits: 0.01 shows that it runs")
    options = parser.parse_args()
    machine = Machine(available_threads())
    journal = Journal(options.out, conditions(machine.threads) | {"commit": commit()})
    began = time.perf_counter()
    if options.peers:
        for name in PEER_CASES:
            if options.only in name:
                print(CASES[name].words, flush=True)
                measure_peers(journal, CASES[name], options.share)
    else:
        measure_ours(journal, machine, [name for name in CASES if options.only in name], options.share)
        if options.only in "scaling":
            scaling.measure_all(journal, options.share)
        if options.only in "cold start":
            first_call.measure_all(journal, options.share)
    print(f"{time.perf_counter() - began:.0f} s; rows: {options.out}")
    if any("disagrees" in row for row in journal.rows):
        sys.exit("some cases disagree")


if __name__ == "__main__":
    main()
