"""A pool of threads for the tasks of one call, with progress and Ctrl-C.

1. Threads live for one call, so several Python threads may call `fit` at once, and children of a
   fork miss none (kernels/forks.py). Starting two threads takes 0.1 ms; small work runs in the
   calling thread (`Plan.inline`), and so does all work where the system gives no thread.
2. The threads are `Worker`s (kernels/apart.py), not threading.Threads. Their tasks are nobody's
   until one takes them: those that no thread lived to take are run by the calling thread.
3. What kernels say while they are compiled (kernels/telling.py) is heard by the `Control`, in the
   worker threads too. `progress=False` keeps it quiet.
4. An exception sets the cancel flag, which the kernels read, and `Control.check`; when all workers
   have ended, the exception is raised again. No worker waits for LAPACK or LLVM
   (kernels/apart.py), so that takes a tenth of a second at most, and nobody writes any more.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np

from ..input.float_mode import set_ieee_mode
from ..kernels.apart import Worker
from ..kernels.telling import LISTENER, Listener
from ..planning.plan import Plan


def unwatched(workers: int) -> tuple[Control, Run]:
    """(control, go) as of `watched`, for work in the calling thread that nobody watches.

    To be called in a copy of the caller's `contextvars` context, which ends with the work.
    """
    control = Control(workers)
    LISTENER.set(control)
    return control, partial(_run_inline, control.counter(0))


@contextmanager
def watched(plan: Plan, progress: object, total: int, description: str) -> Iterator[tuple[Control, Run]]:
    """A context (control, go): go runs tasks in the planned threads and shows the progress.

    total: units of progress in all. description: text of the progress bar. It is entered in a copy
    of the caller's `contextvars` context: Ctrl-C can fall between setting the listener and `try`.
    """
    control = Control(plan.threads, quiet=progress is False)
    before = LISTENER.get()
    LISTENER.set(control)
    try:
        watcher = Progress(progress, total, description, control)
        control.watch = watcher.watch
        complete = False
        try:
            yield control, partial(run_tasks, workers=plan.threads, inline=plan.inline, control=control, watch=watcher.watch)
            complete = True
        finally:
            watcher.close(complete)
    finally:
        LISTENER.set(before)  # not reset(): a generator that Ctrl-C left open is closed in another context


Task = Callable[[np.ndarray], None]  # called with the worker's progress counter, (1,) int64
Run = Callable[[Iterable[Task]], None]  # runs tasks to their end
Range = Callable[[int, int, np.ndarray], None]


def cut(count: int, size: int, function: Range, begin: int = 0) -> Iterator[Task]:
    """function(first, stop, counter) over begin … begin+count-1 in pieces."""
    for first in range(begin, begin + count, size):
        yield partial(function, first, min(first + size, begin + count))


BAR_AFTER = 1.0  # seconds before a progress bar appears on its own


class CancelledError(BaseException):
    """Ends what a worker does once the cancel flag is set; nobody outside of a call sees it."""


class Control(Listener):
    """The cancel flag and the progress counters of one call; it hears what kernels say."""

    def __init__(self, workers: int, quiet: bool = False) -> None:
        self.cancel = np.zeros(1, np.int32)
        self.note = ""  # what is being done instead of fits, for the progress bar
        self.watch: Callable[[], None] | None = None  # shows the progress
        self.store: Any = None  # storing.Store of a job with a checkpoint: what of it is stored
        self._quiet = quiet
        self._thread = threading.get_ident()
        self._counters = np.zeros((max(1, workers), 8), np.int64)  # one cache line each

    def say(self, line: str) -> bool:
        """Print a line on stderr, unless the call is to be quiet; returns whether it was."""
        return not self._quiet and super().say(line)

    def begin(self, note: str) -> None:
        """Name in the progress bar what is done instead of fits."""
        self.note = note
        if self.watch is not None and threading.get_ident() == self._thread:  # which otherwise waits and watches
            self.watch()

    def end(self) -> None:
        """Name it no longer."""
        self.begin("")

    def check(self) -> None:
        """Show the progress in the calling thread; in others raise, if the flag is set."""
        if threading.get_ident() != self._thread:
            if self.cancel[0]:
                raise CancelledError
        elif self.watch is not None:
            self.watch()

    def counter(self, worker: int) -> np.ndarray:
        """The progress counter of one worker."""
        return self._counters[worker, :1]

    def done(self) -> int:
        """Units of work done so far."""
        return int(self._counters[:, 0].sum())


def _run_inline(counter: np.ndarray, tasks: Iterable[Task], watch: Callable[[], None] | None = None) -> None:
    """Run all tasks in the calling thread."""
    for task in tasks:
        task(counter)
        if watch is not None:
            watch()  # which may call the caller's function
            set_ieee_mode()


def run_tasks(tasks: Iterable[Task], workers: int, inline: bool, control: Control, watch: Callable[[], None]) -> None:
    """Run all tasks and wait for them; raise the error of the first task that failed."""
    if inline:
        _run_inline(control.counter(0), tasks, watch)
        return
    remaining = iter(tasks)
    first = list(islice(remaining, workers))  # a thread for each of them at most
    remaining, workers = chain(first, remaining), len(first)
    lock, process = threading.Lock(), os.getpid()
    errors: list[BaseException] = []
    busy = [False] * workers  # who is in the midst of a task

    def work(number: int) -> None:
        try:
            counter = control.counter(number)
            while not control.cancel[0]:
                with lock:
                    busy[number] = True
                    task = next(remaining, None)
                if task is not None:
                    set_ieee_mode()
                    task(counter)
                busy[number] = False
                if task is None:
                    return
        except BaseException as error:  # handed to the caller below
            with lock:
                errors.append(error)
            control.cancel[0] = 1

    threads = [Worker() for _ in range(workers)]
    try:
        for number, thread in enumerate(threads):
            if not thread.start(work, number):  # those that there are do the work
                break
        for thread in threads:
            while not thread.wait():
                if os.getpid() != process:
                    raise RuntimeError(
                        "this process was forked inside of a call of fastgd, whose threads stayed in the parent: "
                        "let the child of a progress callback do its work there, and end it with os._exit"
                    )
                watch()
        if not errors and not any(busy):
            _run_inline(control.counter(0), remaining, watch)  # tasks that no thread lived to take
    except BaseException:
        if os.getpid() != process:  # no worker is here to be waited for
            raise
        control.cancel[0] = 1
        while not all(thread.has_ended for thread in threads):
            try:
                for thread in threads:
                    thread.wait()
            except KeyboardInterrupt:  # pressed again: the workers are stopping
                pass
        raise
    if errors:
        error = errors[0]
        errors.clear()
        try:
            raise error
        finally:
            del error  # else its traceback, which leads here, would hold it, and what its tasks held
    if any(busy):
        raise MemoryError("a thread of fastgd ended in the midst of its work: the system had no memory for it")
    watch()


class Progress:
    """Shows how far a call has come: by a callback, by a bar of rich, or not at all."""

    def __init__(self, option: Any, total: int, description: str, control: Control, unit: str = "") -> None:
        self._unit = unit  # of what is counted, for the rate; "": no rate is shown
        self._callback = option if callable(option) else None
        self._wanted = option if isinstance(option, bool) else None
        self._total = max(total, 1)
        self._description = description
        self._control = control
        self._began = time.monotonic()
        self._reported = -1
        self._bar: Any = None
        self._row: Any = None

    def watch(self) -> None:
        """Read the counters; call the callback, or update or open the bar."""
        if self._callback is not None:
            done = min(self._control.done(), self._total)
            if done > self._reported:  # fits that start again, by another algorithm, count again
                self._reported = done
                self._callback(done, self._total)
        elif self._bar is not None:
            self._bar.update(self._row, completed=min(self._control.done(), self._total), description=self._said(), rate=self._rate())
        elif self._wanted or (self._wanted is None and sys.stderr.isatty() and time.monotonic() - self._began > BAR_AFTER):
            self._open()

    def _open(self) -> None:
        state = random.getstate()
        try:
            self._open_bar()
        finally:
            random.setstate(state)  # rich draws numbers of the caller's generator as it is imported

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        rate = (TextColumn("{task.fields[rate]}"),) if self._unit else ()
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *rate, TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._row = self._bar.add_task(self._said(), total=self._total, completed=min(self._control.done(), self._total), rate="")
        self._bar.start()

    def _rate(self) -> str:
        speed = self._bar.tasks[0].speed if self._unit else None
        return "" if speed is None else f"{speed:,.0f} {self._unit}/s"

    def _said(self) -> str:
        return f"{self._description}, {self._control.note}" if self._control.note else self._description

    def close(self, complete: bool) -> None:
        """Close the bar; call the callback a last time if the work is complete."""
        if self._bar is not None:
            if complete:
                self._bar.update(self._row, completed=self._total)
            self._bar.stop()
        elif complete and self._callback is not None and self._reported != self._total:
            self._callback(self._total, self._total)
