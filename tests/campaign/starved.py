"""Too little memory: the k-th request fails, for every k; or the address space ends (RLIMIT_AS)."""

from __future__ import annotations

import gc
import os
import resource
import time
from pathlib import Path

import numpy as np

from fastgd.planning import call_cache
from fastgd.results import buffer_pool
from tests.campaign.attack import Attack, Trial
from tests.campaign.children import HANG, Child, needs_fork
from tests.campaign.failing_memory import FailingMemory, build, needs_compiler
from tests.campaign.small_calls import PATIENCE, SmallCalls

BATCH = 20.0  # seconds of a child whose memory fails


def called(cases: SmallCalls, name: str) -> str:
    """What is wrong with a call that may lack memory; "" if nothing is."""
    try:
        found = cases.calls[name]()
    except MemoryError as error:
        return "" if str(error).strip() else "MemoryError without a word"
    except Exception as error:
        return f"{type(error).__name__} instead of MemoryError: {error}"
    return "" if found == cases.digests[name] else "another result, and no error"


def live(memory: FailingMemory) -> int:
    """How many arrays of this memory are alive when all caches are empty."""
    call_cache.forget()
    buffer_pool.forget()
    gc.collect()
    return memory.alive


def fail_one(cases: SmallCalls, memory: FailingMemory, name: str, number: int, and_all_after: bool) -> list[str]:
    """One call whose memory fails: what is wrong with it and after it."""
    live_before, open_before = live(memory), len(os.listdir("/proc/self/fd"))
    with memory.failing(number, and_all_after):
        wrong = called(cases, name)
    found = [wrong] if wrong else []
    later = cases.afterwards(name)
    found += [later] if later else []
    last = time.monotonic() + PATIENCE
    while live(memory) > live_before and time.monotonic() < last:
        time.sleep(0.01)  # a thread that has said that it ends may hold its last arrays for a moment
    if memory.alive > live_before:
        found.append(f"a leak: {memory.alive - live_before} arrays")
    if len(os.listdir("/proc/self/fd")) > open_before:
        found.append("a leak of open files")
    return found


def address_space() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def under_ceiling(cases: SmallCalls, name: str, more: int) -> list[str]:
    """In a child: a call while the address space may grow by `more` bytes only."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + more, before[1]))
    try:
        wrong = called(cases, name)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return [one for one in (wrong, cases.afterwards(name)) if one]


REPRODUCER = """# from the root of the repository: PYTHONPATH=. .venv/bin/python THIS_FILE
import pathlib, tempfile
from tests.campaign import failing_memory, small_calls, starved

with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    cases = small_calls.SmallCalls(folder)
    memory = failing_memory.FailingMemory(failing_memory.build(folder), kernels={kernels})
    print(starved.{call})
"""


def starve_some(
    trial: Trial, cases: SmallCalls, library: Path, kernels: bool, turns: dict[str, int]
) -> tuple[int, list[tuple[str, str, str]], dict[str, int]]:
    """In a child, whose memory is replaced: (calls that were starved, what trial.failed is to be
    told, turns). turns: {call: how many of its requests have failed so far}."""
    names = list(turns)
    memory = FailingMemory(library, kernels)
    counted, found = {}, []
    gc.collect()
    gc.freeze()  # what is alive now need not be looked through after each call
    until, n_starved = min(time.monotonic() + BATCH, trial.deadline), 0
    while not n_starved or (time.monotonic() < until and len(found) < trial.most_failures):
        name = names[int(trial.rng.integers(len(names)))]
        if name not in counted:
            with memory.failing(-1):
                cases.calls[name]()
            counted[name] = memory.requests
        if trial.rng.random() < 0.2:
            more = int(2.0 ** trial.rng.uniform(12, 27))
            call = f"under_ceiling(cases, {name!r}, {more})"
            answer = Child(lambda child, name=name, more=more: under_ceiling(cases, name, more), trial.folder / "said-of-ceiling").answer()
            wrong = [f"{answer.ended or answer.raised}: {answer.told}"] if answer.ended or answer.raised else answer.value
        elif counted[name]:
            call = f"fail_one(cases, memory, {name!r}, {turns[name] % counted[name]}, {turns[name] // counted[name] % 2 == 1})"
            turns[name] += 1
            trial.doing(REPRODUCER.format(call=call, kernels=kernels))
            wrong = eval(call, globals(), {"cases": cases, "memory": memory})
        else:
            continue
        n_starved += 1
        found += [(one.partition(":")[0], f"{call}: {one}", REPRODUCER.format(call=call, kernels=kernels)) for one in wrong]
    return n_starved, found, turns


def run(trial: Trial, only: str | None = None) -> None:
    """Starve calls until time is over, in one child after another."""
    cases, library = SmallCalls(trial.folder, only and {only}), build(trial.folder)
    turns = [dict.fromkeys([only] if only else cases.calls, 0) for _ in (False, True)]  # of NumPy's memory, of the kernels'
    while not trial.cases or trial.time_is_left():
        kernels = bool(trial.rng.random() < 0.25)
        answer = Child(
            lambda child, kernels=kernels: starve_some(trial, cases, library, kernels, turns[kernels]), trial.folder / "said"
        ).answer(BATCH + HANG)
        trial.rng = np.random.default_rng(trial.rng.integers(2**63))  # the child drew from a copy of it: not the same again
        if answer.ended or answer.raised:
            trial.tried()
            trial.failed(answer.ended or answer.raised, answer.told, (trial.folder / "now.py").read_text(encoding="utf-8"))
            continue
        n_starved, found, turns[kernels] = answer.value
        trial.tried(n_starved)
        for kind, text, reproducer in found:
            trial.failed(kind, text, reproducer)


ATTACK = Attack(
    name="starved",
    promise="Too little memory is a MemoryError in words, and the next call is right.",
    how=(
        "In calls of fit, solve, verify, save, load and predict, each of NumPy's requests for memory fails, one after another, alone or "
        "with all after it (a handler after NEP 49); so do the kernels' own. In forked children the address space may grow by 4 KiB "
        "to 128 MiB only (RLIMIT_AS). The call must raise MemoryError with a text, or be right; afterwards no thread, no file and no array "
        "may be left, and the same call must have its bits."
    ),
    unit="starved calls",
    share=0.8,
    run=run,
    needs=lambda: needs_fork() or needs_compiler() or (None if Path("/proc/self/statm").exists() else "no /proc"),
)
