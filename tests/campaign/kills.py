"""kill -9 at random moments while files are written: saved results, compiled kernels, reports."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import fastgd
from fastgd.cli.demo_picture import Countries, draw_countries
from tests.campaign.attack import Attack, Trial
from tests.campaign.children import Child, needs_fork
from tests.campaign.small_kernels import KernelInFolder
from tests.support.fit_cases import digest

TEMPORARY = (".fastgd-", ".tmp"), ("tmp", ".part")  # beginning and ending of what a killed process may leave


class Saved:
    """Two results, and the file that one of them is saved to."""

    def __init__(self, folder: Path, rng: np.random.Generator, n_fits: int) -> None:
        self.path = folder / "result.npz"
        X, y = rng.standard_normal((n_fits, 12, 2)), rng.standard_normal((n_fits, 12))
        self.results = [fastgd.fit(X, y, lr=lr, epochs=3, history=True) for lr in (0.01, 0.1)]
        self.digests = [digest(result) for result in self.results]

    def write(self, which: int) -> None:
        self.results[which].save(self.path)

    def read(self) -> int:
        """Which of the two the file holds, whole."""
        return self.digests.index(digest(fastgd.load(self.path)))


class Report:
    """Two reports, and the file that one of them is written to, as HTML or as JSON."""

    def __init__(self, folder: Path, ending: str) -> None:
        self.path = folder / f"report.{ending}"
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((20, 12, 2)), rng.standard_normal((20, 12))
        self.reports = [fastgd.verify(["cpu", "numpy"], X[0], y[0], lr=0.01, epochs=epochs) for epochs in (3, 5)]
        self.texts = []
        for which in (0, 1):
            self.write(which)
            self.texts.append(self.path.read_bytes())

    def write(self, which: int) -> None:
        report = self.reports[which]
        (report.to_html if self.path.suffix == ".html" else report.to_json)(self.path)

    def read(self) -> int:
        return self.texts.index(self.path.read_bytes())


class Picture:
    """The picture of `fastgd demo`, of two sets of data."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "picture.png"
        rng = np.random.default_rng(0)
        self.data, self.pictures = [], []
        for which in (0, 1):
            lines = rng.uniform(40, 60, 10), rng.uniform(0, 5, 10)
            self.data.append(Countries([f"Land {k}" for k in range(10)], np.arange(1952, 2008, 5), rng.uniform(40, 60, (10, 12)),
                                       1980.0, lines[1], lines[0], rng.random(10), 1 + rng.random((10, 31))))  # fmt: skip
            self.write(which)
            self.pictures.append(self.path.read_bytes())

    def write(self, which: int) -> None:
        draw_countries(self.data[which], self.path)

    def read(self) -> int:
        return self.pictures.index(self.path.read_bytes())


class Kernel(KernelInFolder):
    """A small kernel in a cache of its own, written again and again."""

    def write(self, which: int) -> None:
        self.keep()

    def read(self) -> int:
        said = self.load_and_run()
        if said:
            raise ValueError(said)
        return 0


def lines_of(function: Callable[[], Any]) -> int:
    """How many lines of Python run in a call."""
    seen = [0]
    _at_each_line(function, lambda: seen.__setitem__(0, seen[0] + 1))
    return seen[0]


def _at_each_line(function: Callable[[], Any], do: Callable[[], None]) -> None:
    def trace(frame: Any, event: str, argument: Any) -> Any:
        if event == "line":
            do()
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)


def write_until_killed(child: Child, written: Any, line: int | None) -> None:
    """In a child: write one content after the other; or once, and end at this line of Python."""
    if line is not None:
        left = [line]

        def count() -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        child.sign()
        _at_each_line(lambda: written.write(1), count)
        os.kill(os.getpid(), signal.SIGKILL)  # it was shorter this time
    which = 1
    child.sign()
    while True:
        written.write(which)
        which = 1 - which


def left_behind(folder: Path) -> Iterator[Path]:
    """Files that a killed process left under names that nobody takes for results."""
    for path in folder.rglob("*"):
        if any(path.name.startswith(beginning) and path.name.endswith(ending) for beginning, ending in TEMPORARY):
            yield path


def kill_once(trial: Trial, name: str, written: Any, seconds: float, n_lines: int) -> None:
    """Kill one writer, then read: the old content or the new one."""
    existing = bool(trial.rng.random() < 0.8)
    for path in [*left_behind(trial.folder), *([] if existing else [written.path])]:
        path.unlink(missing_ok=True)
    if existing:
        written.write(0)
    line = int(trial.rng.integers(n_lines)) if seconds < 0.2 and trial.rng.random() < 0.5 else None  # counting lines is slow
    wait = float(trial.rng.uniform(0, 3 * seconds)) if seconds < 0.2 else float(trial.rng.uniform(0.7, 1.1) * seconds)
    child = Child(lambda child: write_until_killed(child, written, line), trial.folder / "said")
    if not child.await_sign():
        trial.failed("the writer did not begin", child.printed(), REPRODUCER.format(name=name, seed=trial.seed))
    if line is None:
        time.sleep(wait)
        child.kill()
    else:
        end = child.answer()
        if end.ended != "crash: signal 9":
            trial.failed("the writer failed", f"{end.ended} {end.raised} {end.told}", REPRODUCER.format(name=name, seed=trial.seed))
    trial.tried()
    where = f"line {line} of {n_lines}" if line is not None else f"{wait:.4f} s after the first of many writes"
    if not written.path.exists():
        if existing:
            trial.failed(f"{name}: the file is gone", f"killed at {where}", REPRODUCER.format(name=name, seed=trial.seed))
        return
    try:
        written.read()
    except Exception as error:
        length = written.path.stat().st_size
        text = f"killed at {where}: {type(error).__name__}: {error}; the file has {length:,} bytes"
        trial.failed(f"{name}: half a file", text, REPRODUCER.format(name=name, seed=trial.seed))
        with contextlib.suppress(FileNotFoundError):
            written.path.unlink()
    strange = {path.name for path in trial.folder.iterdir()} - {path.name for path in left_behind(trial.folder)} - KNOWN
    if strange:
        trial.failed(f"{name}: files left behind", f"killed at {where}: {sorted(strange)}", REPRODUCER.format(name=name, seed=trial.seed))


KNOWN = {"said", "now.py", "cache", "output", "found.json", "result.npz", "report.html", "report.json", "picture.png"}
REPRODUCER = """# from the root of the repository: PYTHONPATH=. .venv/bin/python THIS_FILE
import pathlib, tempfile, time
from tests.campaign import kills
from tests.campaign.attack import Trial

with tempfile.TemporaryDirectory() as folder:
    trial = Trial({seed}, time.monotonic() + 60, pathlib.Path(folder))
    kills.run(trial, only={name!r})
    print(trial.counts)
"""
WRITTEN: dict[str, tuple[float, Callable[[Trial], Any]]] = {  # {what: (its share of the kills, its maker)}
    "a small result": (0.3, lambda trial: Saved(trial.folder, trial.rng, 20)),
    "a large result": (0.2, lambda trial: Saved(trial.folder, trial.rng, 20_000)),
    "a kernel": (0.26, lambda trial: Kernel(trial.folder / "cache")),
    "an HTML report": (0.1, lambda trial: Report(trial.folder, "html")),
    "a JSON report": (0.1, lambda trial: Report(trial.folder, "json")),
    "a picture": (0.04, lambda trial: Picture(trial.folder)),
}


def run(trial: Trial, only: str | None = None) -> None:
    """Kill writers until time is over."""
    made: dict[str, SimpleNamespace] = {}
    names = [only] if only else list(WRITTEN)
    shares = np.array([WRITTEN[name][0] for name in names])
    while not trial.cases or trial.time_is_left():
        name = names[trial.rng.choice(len(names), p=shares / shares.sum())]
        if name not in made:
            written = WRITTEN[name][1](trial)
            n_lines = lines_of(lambda written=written: written.write(1))
            began = time.monotonic()
            written.write(0)
            made[name] = SimpleNamespace(written=written, seconds=time.monotonic() - began, n_lines=n_lines)
        one = made[name]
        kill_once(trial, name, one.written, one.seconds, one.n_lines)


ATTACK = Attack(
    name="kills",
    promise="A killed process leaves the old file or the new one, never half of one.",
    how=(
        "A forked child saves a result, keeps a kernel, or writes a report or a picture, onto an existing file or a new one, again and "
        "again, and gets SIGKILL: after a random time, or at a random line of the Python code that writes. Then the file is read: it must "
        "be one of the two contents, whole, and a kernel must load and compute. A power failure is not imitated."
    ),
    unit="kills",
    share=1.5,
    run=run,
    needs=needs_fork,
)
