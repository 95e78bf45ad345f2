"""A function in a Python file as a candidate: its code runs in a process of its own.

1. Only histories come back, as arrays: the judge stays here. So nothing that the file does to its
   process reaches the verdict or the exit status: an exit, a signal, a NumPy or a fastgd that it
   changed, its floating-point mode, its threads.
2. A history that did not come, and a process that did not end as programs end, are failures of
   the candidate. What it leaves running is killed.
3. The process has a session of its own: it does not hear Ctrl-C, which ends it from here.
4. This keeps a verdict from being an accident. It is no sandbox: the file can do what the user can.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from ...input.shapes import without_repeats
from ..bound.yardstick import LIMIT
from . import candidate_process
from .tasks import Own, Task, Trial

__all__ = ["FileCandidate"]

_LOOK = 0.05  # seconds between two looks whether the process is still there
_GRACE = 10.0  # seconds that a process has for its end, once its last history has come


@dataclass
class FileCandidate:
    """`name` of the Python file `path`, a function or a class with fit, in a process of its own."""

    path: Path
    name: str
    time_limit: float | None = None  # seconds
    limit: float = LIMIT

    def trials(self, task: Task) -> Iterator[tuple[tuple[int, ...], Trial]]:
        """Yield (index of the fit, what the function made of it)."""
        one_column = task.X.shape[-1] == 1 and not task.one_feature  # a table has no arrays of one axis
        for place, (index, trial) in enumerate(self._run(task)):
            if one_column:
                last = trial
                while last.otherwise is not None:
                    last = last.otherwise()
                last.otherwise = partial(self._of_one_axis, task, place)
            yield index, trial

    def _of_one_axis(self, task: Task, place: int) -> Trial:
        """Return the history that the function makes of X (n,), with w as a number."""
        trial = self._run(replace(task, one_feature=True))[place][1]
        w = "" if task.intercept else " and w as a number"
        trial.notes.append(f"X was handed over as (n,){w}: with X as (n, 1) {self.name} does not agree")
        return trial

    def _run(self, task: Task) -> list[tuple[tuple[int, ...], Trial]]:
        """Return (index of the fit, what the function made of it) for all fits."""
        indices = list(np.ndindex(task.shape))
        task.rate(indices[0]), task.counted_epochs()  # both are needed
        ours, theirs = Pipe()
        module, channel = candidate_process.__name__, theirs.fileno()
        command = [sys.executable, "-P", "-m", module, str(channel), str(os.getpid()), str(self.path), self.name]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[channel], start_new_session=True)
        try:
            theirs.close()
            trials: list[Trial] = []
            failure = self._receive(ours, process, task, len(indices), trials) or _failure_at_end(process)
        finally:
            _kill(process)
            ours.close()
        for index in indices[len(trials) :]:
            trials.append(Trial(task.start(index)[None], dtype=task.X.dtype, failure=failure))
        trials[-1].failure = trials[-1].failure or failure
        return list(zip(indices, trials, strict=True))

    def _receive(self, connection: Connection, process: subprocess.Popen[bytes], task: Task, count: int, trials: list[Trial]) -> str | None:
        """Send the task, and append each trial that comes back; return what went wrong."""
        end = math.inf if self.time_limit is None else time.monotonic() + self.time_limit
        with contextlib.suppress(OSError, EOFError):  # the process is gone, or has closed its end
            connection.send_bytes(pickle.dumps(_without_repeats(task)))
            last: Trial | None = None  # which another reading follows
            while len(trials) < count or last is not None:
                while not connection.poll(_LOOK):
                    if time.monotonic() > end:
                        return f"did not finish:\nits process was ended at the time limit of {self.time_limit:g} s"
                    if process.poll() is not None and not connection.poll():
                        raise EOFError
                message = connection.recv_bytes()
                try:
                    words, arrays = candidate_process.unpacked(message)
                    unusable = words.get("unusable")
                    if unusable is None:
                        one = _trial(words, arrays, task)
                        if last is None:
                            trials.append(one)
                        else:
                            last.otherwise = partial(_itself, one)
                        last = one if words["has_others"] else None
                except Exception:  # bytes of a stranger
                    return "did not finish:\nits process sent something that is no history"
                if unusable is not None:
                    raise ValueError(str(unusable))
            return None
        try:
            return f"did not finish:\nits process {_status(process.wait(_GRACE))} before its history had come"
        except subprocess.TimeoutExpired:
            return "did not finish:\nits process closed the connection to the judge before its history had come"


def _itself(trial: Trial) -> Trial:
    return trial


def _without_repeats(task: Task) -> Task:
    """Return the task with each number of the data once; the other process gets them as arrays."""
    X, y = without_repeats(task.X, 2), without_repeats(task.y, 1)
    own = task.own
    if own is not None and not own.column and (own.X.dtype, own.y.dtype) == (X.dtype, y.dtype):
        own = None
    if own is not None:
        own = Own(without_repeats(own.X, 2), without_repeats(own.y, 1), column=own.column)
    return replace(task, X=X, y=y, own=own, schedule=None, batches=None)  # they may hold functions; the table is there


def _trial(words: dict[str, Any], arrays: dict[str, Any], task: Task) -> Trial:
    """Return what the process sent of one fit, with its kinds checked."""
    failure, rate = words["failure"], words["own_rate"]
    return Trial(
        arrays["w"],
        arrays.get("loss"),
        [str(note) for note in words["notes"]],
        failure=None if failure is None else str(failure),
        altered=bool(words["altered"]),
        dtype=np.dtype(np.float32) if words["dtype"] == "float32" else task.X.dtype,
        at=arrays["at"].astype(np.int64) if "at" in arrays else None,
        start_known=bool(words["start_known"]),
        for_cause=bool(words["for_cause"]),
        own_rate=None if rate is None else float(rate),
    )


def _failure_at_end(process: subprocess.Popen[bytes]) -> str | None:
    """Wait for the end of a process whose histories are complete; return what is wrong with it."""
    end = time.monotonic() + _GRACE
    try:
        status = process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        return f"did not end:\nits process was still running {_GRACE:g} s after its last history: a thread, or what it does at exit"
    if status:
        return f"did not end well:\nits process {_status(status)} after its last history"
    while left := _processes_of(process.pid):
        if time.monotonic() > end:
            return f"did not end:\nit leaves processes running: {', '.join(left.values())}"
        time.sleep(_LOOK)
    return None


def _status(status: int) -> str:
    """Return in words how a process ended."""
    return f"was ended by signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"ended with status {status}"


def _processes_of(session: int) -> dict[int, str]:
    """Return the processes of a session that have not ended, {pid: name} (Linux)."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            start, _, fields = file.read_text("utf-8", "replace").rpartition(")")
            state, _, _, of_session, *_ = fields.split()
            if int(of_session) == session and state not in "ZX":
                pid, _, name = start.partition(" (")
                found[int(pid)] = name
    return found


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, and what it has started, where they are still there."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pid in _processes_of(process.pid):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
