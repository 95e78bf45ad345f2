"""Ctrl-C: SIGINT at random moments of calls, and KeyboardInterrupt where Python can raise it.

1. A helper process sends a real SIGINT some time after a call began; the call is over or not.
2. CPython looks for signals at the begin of a function, after a call and where a loop jumps back,
   and nowhere else. A trace function raises KeyboardInterrupt at the k-th of these moments, in
   Python code of fastgd and of the libraries that it calls.
3. CPython drops an exception in a callback of the garbage collector or of a fork: it calls
   `sys.unraisablehook` and goes on. A KeyboardInterrupt that is dropped so in code that is not of
   fastgd, such as the weak references of `threading`, is no failure; the table says how many were.
   Nor is an exception that a library's clean-up raises because of one, as `threading.Condition`.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import gc
import itertools
import mmap
import os
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

import fastgd
from fastgd.kernels.cpu.simd.compiling import kernel
from fastgd.kernels.telling import LISTENER
from tests.campaign.attack import Attack, Trial
from tests.campaign.children import needs_fork
from tests.campaign.small_calls import SmallCalls
from tests.campaign.small_kernels import cache_in, smallest
from tests.support.fit_cases import digest, make
from tests.support.paths import ROOT

LATEST = 10.0  # seconds until an interrupt is a hang, on a busy machine
LOOKS = ("RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD")  # instructions after which CPython looks for signals
TESTS = str(ROOT / "tests")
OURS = (str(ROOT / "fastgd"), str(ROOT / "kernels"))
LOST = "Ctrl-C was lost"
NOT_OURS = "Ctrl-C dropped in a callback of"  # the name of a file follows
REPLACED = "Ctrl-C replaced by an exception of a clean-up in"  # likewise

_dropped: list[list[str]] = []  # KeyboardInterrupts of a call that CPython dropped: the files that were running


class Presser:
    """A process that sends SIGINT to this one, some time after it is asked to."""

    def __init__(self) -> None:
        self._asked, self._ask = os.pipe()
        self._shared = mmap.mmap(-1, 16)  # (how often it has pressed, when the last time)
        self.times = 0
        target = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                os.close(self._ask)
                self._press(target)
            finally:
                os._exit(0)
        os.close(self._asked)

    def _press(self, target: int) -> None:
        number = 0
        while True:
            ready, _, _ = select.select([self._asked], [], [], 600)
            asked = os.read(self._asked, 8) if ready else b""
            if len(asked) < 8:
                return
            until = time.monotonic() + struct.unpack("d", asked)[0]
            if until - time.monotonic() > 0.002:
                time.sleep(until - time.monotonic() - 0.001)
            while time.monotonic() < until:
                pass
            number += 1
            self._shared[8:16] = struct.pack("d", time.monotonic())
            self._shared[0:8] = struct.pack("q", number)
            os.kill(target, signal.SIGINT)

    def press_after(self, seconds: float) -> None:
        """Ask for one SIGINT in so many seconds."""
        self.times += 1
        os.write(self._ask, struct.pack("d", seconds))

    def pressed(self) -> float | None:
        """When the SIGINT that was asked for was sent; None: not yet."""
        return struct.unpack("d", self._shared[8:16])[0] if struct.unpack("q", self._shared[:8])[0] >= self.times else None

    def close(self) -> None:
        """End the process."""
        os.close(self._ask)
        os.waitpid(self.pid, 0)


class LongerCalls(SmallCalls):
    """Also calls of 5 to 100 ms, where most of the time passes in kernels."""

    def __init__(self, folder: Any, only: Collection[str] | None = None) -> None:
        super().__init__(folder, only)
        X, y = make(300, 60, 4, "float64")
        wide, target = make(3, 300, 40, "float64", seed=2)
        long, long_y = make(1, 200_000, 3, "float32", seed=3)
        start = fastgd.fit(X, y, lr=1e-5, epochs=3, optimizer="adam").state
        seen = lambda done, total: None  # noqa: E731
        self.folder_of_kernels = folder / "kernels"
        self.kept: list[Any] = []
        self.more: dict[str, Callable[[], str]] = {
            "fit": lambda: digest(fastgd.fit(X, y, lr=1e-5, epochs=3000, threads=1, history=100)),
            "fit, 2 threads": lambda: digest(fastgd.fit(X, y, lr=1e-5, epochs=6000, threads=2)),
            "fit, progress": lambda: digest(fastgd.fit(X, y, lr=1e-5, epochs=6000, threads=2, progress=seen)),
            "fit, state and out": lambda: self.with_state(X, y, start),
            "fit, stream": lambda: digest(fastgd.fit(X[:20], y[:20], lr=1e-5, epochs=300, algorithm="stream")),
            "fit, wide": lambda: digest(fastgd.fit(wide, target, epochs=300, threads=2)),
            "fit, long": lambda: digest(fastgd.fit(long, long_y, lr=1e-5, epochs=20)),
            "solve, many": lambda: digest(fastgd.solve(X, y, intercept=True, threads=2)),
            "solve, wide": lambda: digest(fastgd.solve(wide[:, :30], target[:, :30])),
            "verify, long": lambda: str(fastgd.verify("cpu", X[0], y[0], lr=1e-3, epochs=60)),
            "compile": self.compiled,
        }
        self.digests |= {name: call() for name, call in self.more.items() if only is None or name in only}
        self.calls |= self.more

    def with_state(self, X: np.ndarray, y: np.ndarray, start: Any) -> str:
        return digest(fastgd.fit(X, y, lr=1e-5, epochs=300, optimizer="adam", state=start, out=np.zeros(X[:, 0].shape)))

    def compiled(self) -> str:
        """Compile a small kernel, keep it in a folder, load and run it: as a call does."""
        for path in self.folder_of_kernels.rglob("*.kernel"):
            path.unlink()
        numbers = []
        with cache_in(self.folder_of_kernels):
            for _ in range(2):
                numbers.append(np.zeros(1, np.float32))
                self.kept.append(kernel(smallest))  # while LLVM's objects are freed in this thread Ctrl-C leaves its lock held
                self.kept[-1](numbers[-1])
        return f"{numbers}"

    def afterwards(self, name: str) -> str:
        if type(LISTENER.get()).__name__ != "Listener":
            return "what kernels say is still heard by the call that was interrupted"
        if list(self.folder_of_kernels.rglob("*.part")):
            return "files are left: *.part"
        return super().afterwards(name)


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """While it is open SIGINT raises KeyboardInterrupt, also where a shell made it be ignored, and
    what CPython drops is kept."""
    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    sys.unraisablehook = _keep
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, before)


def _keep(dropped: Any) -> None:
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        _dropped.append([frame.f_code.co_filename for frame, _ in traceback.walk_tb(dropped.exc_traceback)])
    else:
        sys.__unraisablehook__(dropped)


def who_lost_it() -> str:
    """What to call a KeyboardInterrupt that did not come: see 3."""
    files = [file for files in _dropped for file in files if not file.startswith(TESTS)]
    return f"{NOT_OURS} {Path(files[-1]).name}" if files and not any(file.startswith(OURS) for file in files) else f"{LOST} {files or ''}"


def what_came(error: Exception) -> str:
    """What to call an exception that came instead of KeyboardInterrupt."""
    last, before = list(traceback.walk_tb(error.__traceback__))[-1][0].f_code.co_filename, error.__context__
    while before is not None and not isinstance(before, KeyboardInterrupt):
        before = before.__context__
    theirs = before is not None and not last.startswith((*OURS, TESTS))
    return f"{REPLACED} {Path(last).name}" if theirs else f"{type(error).__name__} instead of KeyboardInterrupt"


def press_once(cases: LongerCalls, presser: Presser, name: str, delay: float) -> tuple[list[str], float | None]:
    """One call and one Ctrl-C: (what is wrong, seconds until the call ended; None: it was over)."""
    value, ended = None, None
    _dropped.clear()
    try:
        presser.press_after(delay)
        value = cases.calls[name]()
        ended = time.monotonic()
        while presser.pressed() is None or time.monotonic() < presser.pressed() + 1.0:
            time.sleep(0.0005)
        late = presser.pressed() >= ended - 0.001
    except KeyboardInterrupt:
        caught, late = time.monotonic(), ended is not None
    except Exception as error:
        while presser.pressed() is None or time.monotonic() < presser.pressed() + 0.5:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.01)
        return [f"{what_came(error)}: {traceback.format_exc()[-3000:]}"], None
    else:
        return [] if late else [who_lost_it()], None
    wrong = []
    waited = None if late else caught - presser.pressed()
    if late and value != cases.digests[name]:
        wrong.append("another result")
    if waited is not None and waited > LATEST:
        wrong.append(f"too late: {waited:.1f} s")
    later = cases.afterwards(name)
    return [*wrong, *([later] if later else [])], waited


@functools.cache
def moments_of(code: CodeType) -> frozenset[int]:
    """Where in a function CPython has just looked for signals: offsets of instructions.

    What it raises there belongs to the instruction before, so moments at which a `try` or `with`
    ends between the two are left out: the tracer would raise outside of it.
    """
    instructions, table = list(dis.get_instructions(code)), dis._parse_exception_table(code)
    handler = {one.offset: [entry.target for entry in table if entry.start <= one.offset < entry.end] for one in instructions}
    pairs = [(first, second.offset) for first, second in itertools.pairwise(instructions) if first.opname in LOOKS]
    after = {offset for first, offset in pairs if handler[first.offset] == handler[offset]}
    jumps = {one.argval for one in instructions if one.opname == "JUMP_BACKWARD"}
    return frozenset(after | jumps)


class Tracer:
    """Counts the moments at which CPython looks for signals, and raises at one of them."""

    def __init__(self, number: int) -> None:
        self.number, self.seen, self.place = number, 0, ""

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if event == "call" and frame.f_code.co_filename.startswith(TESTS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_lasti in moments_of(frame.f_code):
            self.seen += 1
            if self.seen == self.number + 1:
                self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self


def moments(cases: LongerCalls, name: str) -> int:
    """How many moments a call has."""
    tracer = Tracer(-1)
    sys.settrace(tracer)
    try:
        cases.calls[name]()
    finally:
        sys.settrace(None)
    return tracer.seen


def raise_once(cases: LongerCalls, name: str, number: int) -> list[str]:
    """One call with KeyboardInterrupt at its moment of this number: what is wrong."""
    tracer, value, lost = Tracer(number), None, ""
    _dropped.clear()
    try:
        sys.settrace(tracer)
        value = cases.calls[name]()
        sys.settrace(None)
        lost = who_lost_it() if tracer.place else ""
    except KeyboardInterrupt:
        value = cases.digests[name]
    except Exception as error:
        sys.settrace(None)
        return [f"{what_came(error)}: {traceback.format_exc()[-3000:]}; raised at {tracer.place}"]
    finally:
        sys.settrace(None)
    wrong = "" if value == cases.digests[name] else "another result"
    return [f"{one}; raised at {tracer.place}" for one in (lost, wrong, cases.afterwards(name)) if one]


REPRODUCER = """# from the root of the repository: PYTHONPATH=. .venv/bin/python THIS_FILE
import pathlib, tempfile
from tests.campaign import interrupts

with tempfile.TemporaryDirectory() as folder, interrupts.heard():
    cases = interrupts.LongerCalls(pathlib.Path(folder))
    presser = interrupts.Presser()
    for _ in range({times}):
        print(interrupts.{call})
    presser.close()
"""


def run(trial: Trial, only: str | None = None, way: str | None = None) -> None:
    """Press Ctrl-C until time is over."""
    cases = LongerCalls(trial.folder, only and {only})
    names = [only] if only else list(cases.calls)
    seconds: dict[str, float] = {}
    for name in names:
        began = time.monotonic()
        cases.calls[name]()
        seconds[name] = time.monotonic() - began
    counted: dict[str, int] = {}
    worst = 0.0
    gc.collect()
    gc.freeze()
    presser = Presser()
    try:
        with heard():
            while not trial.cases or trial.time_is_left():
                name = names[int(trial.rng.integers(len(names)))]
                if name == "compile" and trial.rng.random() < 0.9:
                    continue  # it takes a second
                if way == "press" or (way is None and trial.rng.random() < 0.6):
                    delay = float(trial.rng.uniform(0, 1.1 * seconds[name]))
                    call = f"press_once(cases, presser, {name!r}, {delay})"
                    trial.doing(REPRODUCER.format(call=call, times=200))
                    found, waited = press_once(cases, presser, name, delay)
                    worst = max(worst, waited or 0.0)
                    if waited is None and not found:
                        continue  # the call was over
                elif name in cases.more:
                    continue  # most of its time passes in kernels
                else:
                    counted[name] = counted.get(name) or moments(cases, name)
                    call = f"raise_once(cases, {name!r}, {int(trial.rng.integers(counted[name]))})"
                    trial.doing(REPRODUCER.format(call=call, times=1))
                    found = raise_once(cases, name, int(call.rpartition(" ")[2][:-1]))
                trial.tried()
                for wrong in found:
                    kind = wrong.split(":")[0].split(";")[0]
                    if kind.startswith((NOT_OURS, REPLACED)):
                        trial.noted(kind)
                    else:
                        kind = LOST if kind.startswith(LOST) else kind
                        trial.failed(kind, f"{call}: {wrong}", REPRODUCER.format(call=call, times=200))
    finally:
        presser.close()
        gc.unfreeze()
        print(f"the longest wait for KeyboardInterrupt was {worst:.3f} s")


ATTACK = Attack(
    name="interrupts",
    promise="Ctrl-C ends a call within a second, and the next call is right.",
    how=(
        "A helper process sends SIGINT at a random moment of fit, solve, verify, save, load and compiling, with one thread and two, with "
        "progress, out and state; and KeyboardInterrupt is raised at a random one of the moments at which CPython looks for signals, in "
        "Python code of fastgd and below. KeyboardInterrupt must come (10 s are a failure), no thread and no unfinished file may be left, "
        "a saved file must be whole, and the same call must have its bits afterwards."
    ),
    unit="interrupts",
    share=1.5,
    run=run,
    needs=needs_fork,
)
