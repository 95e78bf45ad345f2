"""Forked children of an attack: each runs one function, and answers by a pipe or is ended.

A fork of a process that has loaded its kernels takes milliseconds; a new Python takes seconds.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HANG = 60.0  # seconds without an answer


@dataclass(frozen=True)
class Answer:
    """What a child's function returned, or what it raised, or how the child ended."""

    value: Any = None
    raised: str = ""  # name of the exception
    told: str = ""  # its text and its traceback; of a crash what the child printed
    ended: str = ""  # "" if it answered; "hang", or "crash: signal 11"


class Child:
    """A forked process that runs a function; `said` is the file of its stdout and stderr."""

    def __init__(self, function: Callable[[Child], Any], said: Path) -> None:
        self.said = said
        self._answers, answers = os.pipe()
        self._signs, signs = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 says so of every fork beside threads
            self.pid = os.fork()
        if self.pid:
            os.close(answers)
            os.close(signs)
            return
        try:
            self._answers, self._signs = answers, signs
            self._run(function)
        finally:
            os._exit(70)

    def _run(self, function: Callable[[Child], Any]) -> None:
        """In the child: run the function, send its answer, and end without Python's end."""
        printed = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout = sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - of the process
        faulthandler.enable(file=2)
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the campaign in the background
        try:
            content = pickle.dumps(("value", function(self)))
        except BaseException as error:
            sys.settrace(None)
            content = pickle.dumps(("error", type(error).__name__, f"{error}", traceback.format_exc()))
        while content:
            content = content[os.write(self._answers, content) :]
        os._exit(0)

    def sign(self) -> None:
        """In the child: tell the parent that it has come so far."""
        os.write(self._signs, b".")

    def await_sign(self) -> bool:
        """In the parent: wait for a sign; whether one came."""
        ready, _, _ = select.select([self._signs], [], [], HANG)
        return bool(ready) and os.read(self._signs, 1) == b"."

    def answer(self, more: float = 0.0) -> Answer:
        """In the parent: what the child answered; one that has not ended in HANG and so many more
        seconds is killed."""
        content, deadline = b"", time.monotonic() + HANG + more
        while True:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(self.pid, signal.SIGUSR1)  # print where it is
                time.sleep(0.3)
                self.kill()
                return Answer(told=self.printed(), ended="hang")
            part = os.read(self._answers, 2**16)
            if not part:
                break
            content += part
        status = self._reap()
        try:
            found = pickle.loads(content)
        except Exception:
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {os.WEXITSTATUS(status)}"
            return Answer(told=self.printed(), ended=f"crash: {how}")
        return Answer(found[1]) if found[0] == "value" else Answer(raised=found[1], told=f"{found[2]}\n{found[3]}")

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def printed(self) -> str:
        """What the child printed."""
        return self.said.read_text(encoding="utf-8", errors="replace")[-4000:] if self.said.exists() else ""

    def _reap(self) -> int:
        os.close(self._answers)
        os.close(self._signs)
        return os.waitpid(self.pid, 0)[1]


def needs_fork() -> str | None:
    """Why these attacks cannot run here."""
    return None if hasattr(os, "fork") else "this system has no fork"
