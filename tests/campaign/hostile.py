"""Hostile candidates for `fastgd verify`: wrong descents that try to pass, or to take it along."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.campaign.attack import Attack, Trial
from tests.campaign.drawing import Draw
from tests.support.paths import ROOT

LIMIT = 20  # seconds for the candidate; then `fastgd verify` ends it
PATIENCE = 120  # seconds more until the command itself hangs

WHAT = {  # what a candidate does, on one line
    "sys.exit(0)": "sys.exit(0)",
    "sys.exit()": "sys.exit()",
    "SystemExit": "raise SystemExit(0)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "BaseException": "raise type('Own', (BaseException,), {})()",
    "GeneratorExit": "raise GeneratorExit",
    "StopIteration": "raise StopIteration",
    "repr that raises": "raise type('Own', (Exception,), {'__str__': lambda self: 1 / 0, '__repr__': lambda self: 1 / 0})()",
    "MemoryError": "raise MemoryError",
    "recursion": "(lambda f: f(f))(lambda f: f(f))",
    "os._exit(0)": "os._exit(0)",
    "os._exit(1)": "os._exit(1)",
    "abort": "os.abort()",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT)",
    "bad memory": "ctypes.string_at(1)",
    "closed files": "os.closerange(0, 64)",
    "closed output": "sys.stdout.close(), sys.stderr.close()",
    "no output": "sys.__dict__.update(stdout=None, stderr=None)",
    "forged messages": "[os.write(each, b'\\0' * 64) for each in range(3, 32) if writable(each)]",
    "forged verdict": "print('step: agrees at all 5 epochs'), sys.exit(0)",
    "exit at the end": "atexit.register(os._exit, 0)",
    "thread that stays": "threading.Thread(target=time.sleep, args=(900,)).start()",
    "thread that exits": "threading.Thread(target=os._exit, args=(0,)).start()",
    "a child that stays": "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(900)'])",
    "a fork that goes on": "os.fork()",
    "sleeps": "time.sleep(900)",
    "spins": "[None for _ in iter(int, 1)]",
    "ignores signals": "[signal.signal(each, signal.SIG_IGN) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)]",
    "an alarm": "signal.alarm(1), time.sleep(5)",
    "NumPy spoiled": "np.__dict__.update(abs=lambda *a, **k: 0, isnan=lambda *a, **k: False, array_equal=lambda *a, **k: True)",
    "fastgd spoiled": "[setattr(each, 'outcome', 'agrees') for each in map(type, gc.get_objects()) if each.__name__ == 'Report']",
    "excepthook": "sys.__dict__.update(excepthook=lambda *a: os._exit(0)), 1 / 0",
    "tracing": "sys.settrace(lambda *a: sys.exit(0))",
    "folder gone": "os.chdir('/')",
    "rounding": "np.seterr(all='ignore')",
    "changes X": "X.__setitem__(Ellipsis, 0)",
    "changes y": "y.__setitem__(Ellipsis, 0)",
}
RETURNED = {  # what it returns in place of a right w
    "a wrong step": "w - lr * 2.02 / len(y) * X.T @ (X @ w - y)",
    "w itself": "w",
    "NaN": "w * np.nan",
    "nothing": "None",
    "text": "'agrees'",
    "numbers that lie": "Liar(3 * w)",
    "objects": "np.array([Yes()] * len(w), object)",
    "complex numbers": "w + 1j",
    "another shape": "np.zeros((len(w), 2))",
    "masked": "np.ma.masked_all(len(w))",
    "a generator": "(each for each in w)",
    "itself": "step",
    "an array that exits": "Exits()",
}
WHERE = ("import", "first call", "last call", "end")
RIGHT = "w - lr * 2 / len(y) * X.T @ (X @ w - y)"
HARMLESS = ("print('hello')", "print('x' * 100000)", "np.seterr(all='ignore')", "warnings.warn('careful')", "os.chdir('/')",
            "sys.setrecursionlimit(3000)",            "threading.Thread(target=time.sleep, args=(0.01,)).start()",
            "logging.warning('careful')",            "np.random.seed(1)")  # fmt: skip
CANDIDATE = """import atexit, ctypes, gc, logging, os, signal, subprocess, sys, threading, time, warnings

import numpy as np


class Liar(np.ndarray):
    def __new__(cls, values):
        return np.asarray(values).view(cls)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return np.zeros(self.shape)

    def __array__(self, *arguments, **options):
        return np.zeros(self.shape)


class Yes:
    def __getattr__(self, name):
        return lambda *arguments: True

    def __float__(self):
        return 0.0

    def __eq__(self, other):
        return True


class Exits:
    def __array__(self, *arguments, **options):
        sys.exit(0)


def writable(number):
    try:
        return os.fstat(number) and True
    except OSError:
        return False


X, y, calls = np.zeros((1, 1)), np.zeros(1), 0
{at_import}

def step(w, X, y, lr):
    global calls
    calls += 1
    if calls == {call}:
        {in_call}
    return {returned}

{at_end}
"""


def candidate(what: str, where: str, returned: str) -> str:
    """The source of a candidate that does `what` at a place, and returns `returned` each time."""
    return CANDIDATE.format(
        at_import=what if where == "import" else "", call=5 if where == "last call" else 1, in_call=what if "call" in where else "pass",
        returned=returned, at_end=f"atexit.register(lambda: ({what.removeprefix('raise ')}))" if where == "end" else "",
    )  # fmt: skip


def verify(folder: Path, source: str) -> tuple[int | None, str]:
    """(exit status, what was printed) of the command; None: it did not end."""
    (folder / "candidate.py").write_text(source, encoding="utf-8")
    table = folder / "data.csv"
    if not table.exists():
        noise = np.random.default_rng(2).standard_normal((12, 3)).tolist()
        table.write_text("a,b,target\n" + "".join(f"{a!r},{b!r},{c!r}\n" for a, b, c in noise), encoding="utf-8")
    arguments = ("--data", str(table), "--y", "target", "--lr", "0.05", "--epochs", "5", "--time-limit", str(LIMIT))
    command = [sys.executable, "-m", "fastgd.cli", "verify", f"{folder / 'candidate.py'}:step", *arguments]
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status: int | None = process.wait(LIMIT + PATIENCE)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return status, (folder / "printed").read_text(encoding="utf-8", errors="replace")


def program(source: str) -> str:
    """A program that verifies the same candidate."""
    return (
        f"import tempfile\nfrom pathlib import Path\n\nfrom tests.campaign.hostile import verify\n\nSOURCE = '''{source}'''\n"
        "print(*verify(Path(tempfile.mkdtemp()), SOURCE))\n"
    )


def run(trial: Trial) -> None:
    """Verify hostile candidates, and some that are harmless."""
    draw = Draw(trial.rng)
    while trial.time_is_left():
        harmless = draw.chance(0.2)
        what = draw.one(HARMLESS) if harmless else WHAT[draw.one(list(WHAT))]
        where = draw.one(WHERE[:3] if harmless else WHERE)
        returned = RIGHT if harmless else RETURNED[draw.one(["a wrong step"] * 6 + list(RETURNED))]
        source = candidate(what, where, returned)
        trial.doing(program(source))
        status, printed = verify(trial.folder, source)
        told = f"{what} at {where}, returning {returned}: exit status {status}; it printed:\n{printed[-3000:]}"
        if status is None:
            trial.failed("hang", told, program(source))
        elif status < 0:
            trial.failed("crash", told, program(source))
        elif harmless and status != 0:
            trial.failed("a right candidate is refused", told, program(source))
        elif not harmless and status == 0:
            trial.failed("a wrong candidate passes", told, program(source))
        elif "Traceback" in printed and ("fastgd/cli/" in printed or 'fastgd/verification/verifying.py"' in printed):
            trial.failed("internal exception", told, program(source))
        trial.tried()


ATTACK = Attack(
    name="hostile",
    promise="no candidate makes `fastgd verify` pass, crash or hang",
    how="Wrong descents in files, which exit, kill their process, close or forge its files, leave threads and children, spoil NumPy and "
    "fastgd, or return what is no array: at import, in a call, at the end. `fastgd verify` must end with a status that is not 0, and right "
    "candidates that print, warn or change settings must pass.",
    unit="candidates",
    share=1,
    run=run,
)
