"""Forks of a parent whose threads are inside fit, solve and save, and load and compile kernels."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numba.core import types

from fastgd.kernels.cpu.simd.compiling import kernel
from tests.campaign.attack import Attack, Trial
from tests.campaign.children import HANG, Child, needs_fork
from tests.campaign.small_calls import SmallCalls
from tests.campaign.small_kernels import KernelInFolder, cache_in, smallest

IN_CHILDREN = ("small fit", "history", "threads", "stream", "safe rate, tol", "Adam", "solve", "solve, collinear", "save and load")
BUSY = {  # what a thread of the parent does: a call of SmallCalls, or one of its own
    "fit": "safe rate, tol", "fit in threads": "threads", "solve": "solve, collinear", "save": "save and load", "load a kernel": "",
    "compile a kernel": "",
}  # fmt: skip
CACHE = os.environ.get("NUMBA_CACHE_DIR", "")  # of new processes; threads change that of this one, and all would be compiled again
AT_ONCE = 3  # children
NEW = 3 * HANG  # seconds without an answer of a process that imports everything anew, beside busy threads
RARE = {"multiprocessing, fork": 0.06, "multiprocessing, forkserver": 0.008, "multiprocessing, spawn": 0.004, "DataLoader": 0.008}


class Busy:
    """Threads that call fastgd until the end, each in its own way."""

    def __init__(self, cases: SmallCalls, folder: Path, ways: list[str]) -> None:
        self._over, self.done, self.errors = threading.Event(), dict.fromkeys(ways, 0), []
        self.kernel = KernelInFolder(folder)
        self._calls: dict[str, Callable[[], Any]] = {
            **{way: cases.calls[call] for way, call in BUSY.items() if call},
            "load a kernel": self.kernel.load_and_run,
            "compile a kernel": lambda: kernel(smallest).compile((types.float32[::1],)),
        }
        self._threads = [threading.Thread(target=self._work, args=(way,), daemon=True) for way in ways]

    def _work(self, way: str) -> None:
        while not self._over.is_set():
            try:
                self._calls[way]()
            except Exception as error:  # said by the attack
                self.errors.append(f"{way}: {type(error).__name__}: {error}")
                return
            self.done[way] += 1
            if way == "compile a kernel":
                self._over.wait(1.0)  # forks wait while a kernel is compiled

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """While it is open the threads work."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(HANG)


def calls_in_child(cases: SmallCalls, names: list[str], folder: Path) -> list[str]:
    """In a child: what is wrong with these calls; names: also "load a kernel"."""
    wrong = []
    cases.path = folder / f"{os.getpid()}.npz"
    try:
        for name in names:
            if name == "load a kernel":
                with cache_in(folder / "cache"):
                    numbers = np.zeros(1)
                    kernel(smallest)(numbers)
                found, expected = float(numbers[0]), 1.0
            else:
                found, expected = cases.calls[name](), cases.digests[name]
            if found != expected:
                wrong.append(f"other bits: {name}")
    finally:
        cases.path.unlink(missing_ok=True)
    return wrong


def digests_of_new_process(folder: str, names: list[str], cache: str, answer: Any) -> None:
    """In a process of multiprocessing's: send the digests of these calls. cache: as `CACHE`."""
    os.environ["NUMBA_CACHE_DIR"] = cache
    own = Path(folder, str(os.getpid()))
    own.mkdir()
    cases = SmallCalls(own, names)  # only these: others might need kernels that take a minute to compile
    answer.send({name: cases.calls[name]() for name in names})
    answer.close()


def send_wrong(cases: SmallCalls, names: list[str], folder: Path, answer: Any) -> None:
    """In a child that multiprocessing forked: send what is wrong."""
    answer.send(calls_in_child(cases, names, folder))
    answer.close()


def in_process(kind: str, cases: SmallCalls, names: list[str], folder: Path) -> list[str]:
    """A process of multiprocessing's, started in this way: what is wrong with it."""
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(["fastgd"])
    ours, theirs = context.Pipe(duplex=False)
    given = (cases, names, folder, theirs) if kind == "fork" else (str(folder), names, CACHE, theirs)
    process = context.Process(target=send_wrong if kind == "fork" else digests_of_new_process, args=given, daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(NEW):
            process.kill()
            return ["hang: no answer"]
        answer = ours.recv()
    except EOFError:
        process.join(HANG)
        return [f"crash: exit status {process.exitcode}"]
    process.join(HANG)
    if process.exitcode is None:
        process.kill()
        return ["hang: the child does not end"]
    if kind == "fork":
        return answer
    return [f"other bits: {name}" for name, found in answer.items() if found != cases.digests[name]]


class CallsAsData:
    """What a DataLoader takes for data: each item is what is wrong with a call."""

    def __init__(self, cases: SmallCalls, names: list[str], folder: Path) -> None:
        self._given = cases, names, folder

    def __len__(self) -> int:
        return len(self._given[1])

    def __getitem__(self, index: int) -> str:
        cases, names, folder = self._given
        return ", ".join(calls_in_child(cases, [names[index]], folder))


def in_data_loader(cases: SmallCalls, names: list[str], folder: Path) -> list[str]:
    """Two workers of a DataLoader of torch: what is wrong with them."""
    from torch.utils.data import DataLoader

    loader = DataLoader(CallsAsData(cases, names, folder), num_workers=2, batch_size=None, timeout=NEW)
    try:
        return [wrong for wrong in loader if wrong]
    except RuntimeError as error:
        return [f"{'hang' if 'timed out' in str(error) else 'crash'}: {error}"]


REPRODUCER = """# from the root of the repository: PYTHONPATH=. .venv/bin/python THIS_FILE
import pathlib, tempfile, time
from tests.campaign import forks
from tests.campaign.attack import Trial

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial({seed}, time.monotonic() + 120, pathlib.Path(folder))
        forks.run(trial)
        print(trial.cases, trial.counts)
"""


def run(trial: Trial, ways: Iterable[str] = BUSY, calls: Collection[str] = IN_CHILDREN, kind: str | None = None) -> None:
    """Fork until time is over. ways: of the parent's threads; calls: of the children."""
    cases = SmallCalls(trial.folder, {*calls, *(BUSY[way] for way in ways)})
    ways = [way for way in ways if trial.rng.random() < 0.6] or [next(iter(ways))]
    busy = Busy(cases, trial.folder / "cache", ways)
    again = REPRODUCER.format(seed=trial.seed)
    has_torch = importlib.util.find_spec("torch") is not None
    children: list[tuple[Child, list[str]]] = []
    numbers = itertools.count()
    with busy.working(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 says so of every fork beside threads
        while not trial.cases or trial.time_is_left() or children:
            names = [str(name) for name in trial.rng.choice([*calls, "load a kernel"], size=2, replace=False)]
            rare = kind or next((way for way, share in RARE.items() if trial.rng.random() < share), "")
            go_on = not trial.cases + len(children) or trial.time_is_left()
            if rare and go_on:
                plain = [name for name in names if name != "load a kernel"]
                if rare == "DataLoader":
                    found = in_data_loader(cases, names, trial.folder) if has_torch else []
                else:
                    found = in_process(rare.split()[-1], cases, plain, trial.folder)
                trial.tried(2 if rare == "DataLoader" else 1)
                for wrong in found:
                    trial.failed(f"{rare}: {wrong.split(':')[0]}", f"threads in {ways}, calls {names}: {wrong}", again)
                continue
            if go_on:
                do = lambda child, names=names: calls_in_child(cases, names, trial.folder)  # noqa: E731
                children.append((Child(do, trial.folder / f"said-{next(numbers)}"), names))
            if len(children) >= AT_ONCE or not go_on:
                child, names = children.pop(0)
                answer = child.answer()
                trial.tried()
                told = f"threads in {ways}, calls {names}"
                if answer.ended or answer.raised:
                    trial.failed(answer.ended or answer.raised, f"{told}: {answer.told}", again)
                for wrong in answer.value or ():
                    trial.failed(wrong.split(":")[0], f"{told}: {wrong}", again)
                child.said.unlink(missing_ok=True)
    for error in busy.errors:
        trial.failed("a thread of the parent failed", error, again)
    sys.stdout.write(f"calls in the parent's threads meanwhile: {busy.done}\n")


ATTACK = Attack(
    name="forks",
    promise="A child forked at any moment of other threads' calls fits, with the same bits.",
    how=(
        "Threads of the parent are inside fit, solve, save, or loading or compiling a kernel, while its main thread forks: by os.fork, "
        "by multiprocessing (fork, forkserver, spawn) and by DataLoader workers. Each child calls fit, solve, save and load, and loads a "
        "kernel; its bits must be the parent's. A child that does not end in 60 s is a hang."
    ),
    unit="forks",
    share=1.5,
    run=run,
    needs=needs_fork,
)
