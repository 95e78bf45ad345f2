"""The pool: Ctrl-C, two Python threads, a forked child, progress, and no thread where the work is
small."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import fastgd
from fastgd.kernels import apart
from fastgd.kernels.telling import LISTENER
from fastgd.planning import plan
from fastgd.running.pool import Control, run_tasks, watched
from tests import grids
from tests.support.against_arbiter import same_bits
from tests.support.fit_cases import assert_same, digest, make
from tests.support.threads import own_threads_left

# ------------------------------------------------------------------------------------------- Ctrl-C

LONG = {  # work of seconds to hours, had nobody pressed Ctrl-C
    "descend": """X, y = rng.standard_normal((400, 50, 4)), rng.standard_normal((400, 50))
options = dict(lr=1e-3, epochs=10**8)""",
    "one fit": """X, y = rng.standard_normal((50, 4)), rng.standard_normal(50)
options = dict(lr=1e-3, epochs=10**10)""",
    "stream": """X, y = rng.standard_normal((3000, 9)), rng.standard_normal(3000)
options = dict(lr=1e-3, epochs=10**8, algorithm='stream')""",
    "stream of long data": """X, y = np.tile(rng.standard_normal((10**5, 9)), (10, 1)), rng.standard_normal(10**6)
options = dict(lr=1e-3, epochs=10**6, algorithm='stream')""",
    "compress long data": """X = np.tile(rng.standard_normal((20_000, 150)), (10, 1))
y = X[:, 0].copy()
options = dict(lr=1e-3, epochs=10**5)""",
    "compress many fits": """X = np.tile(rng.standard_normal((1, 20_000, 100), np.float32), (30, 1, 1))
y = X[..., 0].copy()
options = dict(lr=1e-3, epochs=10**6)""",
    "eigenvalues": """X = np.tile(rng.standard_normal((100, 130, 64), np.float32), (25, 1, 1))
y = np.stack([X[..., 0], X[..., 1]])
options = dict(lr=None, epochs=10**5)
from fastgd.kernels import cpu
find = cpu.Moments.largest_eigenvalues
cpu.Moments.largest_eigenvalues = lambda *given: (begun.set(), find(*given))[1]
begins_later = True""",
    "gaps": """X = rng.standard_normal((20_000, 240))
y = np.repeat(X[None, :, 0], 60, axis=0)
y[:, 5] = np.nan
options = dict(lr=1e-3, epochs=10**5, nan_policy='omit')
from fastgd.kernels import cpu
find = cpu.find_kept
cpu.find_kept = lambda *given: (begun.set(), find(*given))[1]
begins_later = True""",
    "overflows": """X, y = rng.standard_normal((200_000, 1), np.float32) * np.float32(1e18), np.full(200_000, 1e18, np.float32)
options = dict(lr=1e-38, epochs=10**6)""",
    "overflowed": """X, y = rng.standard_normal((50, 2)), rng.standard_normal(50)
options = dict(w0=[1e200, 0], lr=0.0, epochs=10**10, algorithm='stream')""",
}

INTERRUPTED = """
import _thread, os, signal, threading, time
import numpy as np
import fastgd

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell started pytest in the background
rng = np.random.default_rng(0)
begun, begins_later = threading.Event(), False
{data}
fastgd.fit(X[..., :70, :], y[..., :70], **(options | dict(epochs=1)))  # compiled
sent = []
begun.clear()

def press():
    if not begun.wait(60):
        print("never began")
    time.sleep(0.2)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

pressing = threading.Thread(target=press, daemon=True)
pressing.start()
if not begins_later:
    begun.set()
try:
    fastgd.fit(X, y, threads={threads}, progress=False, **options)
    print("not interrupted")
except KeyboardInterrupt:
    waited = time.monotonic() - sent[0]
    pressing.join()
    while _thread._count() and time.monotonic() - sent[0] < 1.0:  # one that has done its work takes a moment to end
        time.sleep(0.01)
    left = _thread._count()
    before = time.process_time()
    time.sleep(0.2)
    print("waited", waited, "left", left, "busy", time.process_time() - before)
"""


def press_ctrl_c(data: str, threads: int) -> tuple[float, str, float]:
    """(seconds until fit returned, how many threads are left, CPU seconds used in the 0.2 s
    afterwards)."""
    script = INTERRUPTED.format(data=data, threads=threads)
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script], capture_output=True, text=True, timeout=600, check=False
    )  # compiling included
    words = done.stdout.split()
    assert words, done.stderr
    assert words[0] == "waited", done.stdout
    return float(words[1]), words[3], float(words[-1])


FEW = [("descend", 3), ("stream", 1), ("compress long data", 3), ("eigenvalues", 3), ("gaps", 3), ("overflowed", 3)]


@pytest.mark.parametrize(
    ("work", "threads"),
    grids.share("Ctrl-C", [*((work, 3) for work in LONG), *((work, 1) for work in ("descend", "stream", "compress long data"))], FEW),
)
def test_ctrl_c_stops_everything_within_a_second(work, threads):
    waited, left, busy = press_ctrl_c(LONG[work], threads)
    print(f"{work}, {threads} threads: stopped {waited:.3f} s after Ctrl-C")
    assert waited < 1.0
    assert left == "0"
    assert busy < 0.1


@pytest.fixture
def heard():
    """Ctrl-C raises KeyboardInterrupt here, also where a shell started pytest in the background,
    with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_fit_after_an_interrupted_one_is_as_ever(monkeypatch, heard):
    X, y = make(50, 40, 3, "float64")
    want = digest(fastgd.fit(X, y, lr=1e-2, epochs=20, history=True))
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fastgd.fit(X, y, lr=1e-2, epochs=10**9, threads=2)
    assert digest(fastgd.fit(X, y, lr=1e-2, epochs=20, history=True, threads=2)) == want


# ------------------------------------------------------------------ Python threads, forked children


@pytest.mark.parametrize("callers", [2, 8])
def test_python_threads_that_fit_at_once(callers, monkeypatch):
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    problems = [make(60, 70, 3, name, seed) for seed, name in zip(range(callers), ["float32", "float64"] * 4, strict=False)]
    want = [digest(fastgd.fit(X, y, lr=1e-3, epochs=30, history=True)) for X, y in problems]
    found: dict[int, list[str]] = {}
    ready = threading.Barrier(callers)

    def work(i):
        X, y = problems[i]
        ready.wait()
        found[i] = [digest(fastgd.fit(X, y, lr=1e-3, epochs=30, history=True, threads=3)) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i: set(hashes) for i, hashes in found.items()} == {i: {one} for i, one in enumerate(want)}


def test_python_threads_that_are_the_first_to_fit():
    """Loading the kernels at once, in a fresh process."""
    script = """
import threading, numpy as np, fastgd
X, y = np.random.default_rng(0).standard_normal((3, 50, 2)), np.ones((3, 50))
found = []
threads = [threading.Thread(target=lambda: found.append(fastgd.fit(X, y, lr=0.1, epochs=9).w.tobytes())) for _ in range(6)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(len(found), len(set(found)))
"""
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.split() == ["6", "1"], done.stderr


def test_forked_children():
    """Before and after the parent has used its pool, and from two at once; in a process of its own,
    where nothing else has threads."""
    script = """
import os, sys, warnings, numpy as np, fastgd
from fastgd.planning import plan
plan.INLINE_NS = 0
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 says so of every fork beside threads
X, y = np.random.default_rng(0).standard_normal((40, 50, 2)), np.ones((40, 50))

def fit():
    return fastgd.fit(X, y, lr=0.1, epochs=9, threads=3).w.tobytes()

def in_children(count):
    children = []
    for _ in range(count):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, fit())
            os._exit(0)
        os.close(write)
        children.append((child, read))
    answers = []
    for child, read in children:
        with os.fdopen(read, "rb") as pipe:
            answers.append(pipe.read())
        assert os.waitpid(child, 0)[1] == 0
    return answers

first = in_children(1)  # the parent has not yet loaded a kernel
own = fit()
print({answer == own for answer in first + in_children(2) + [fit()] + in_children(2)})
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.strip() == "{True}", done.stderr


# ----------------------------------------------------------------------------------------- progress


def case(name):
    X, y = make(60, 40, 2, "float64")
    return {
        "many fits": (X, y, {"lr": 1e-3, "epochs": 2000}),
        "stream": (X[:5], y[:5], {"lr": 1e-3, "epochs": 3000, "algorithm": "stream"}),
        "sweep": (X, y, {"lr": np.full((7, 1), 1e-3), "epochs": 500}),
        "overflow": (X, y, {"lr": 1e5, "epochs": 1000}),
        "converged": (X, y, {"lr": None, "epochs": 3000, "tol": 1e-2}),
        "no epochs": (X, y, {"lr": 1e-3, "epochs": 0}),
        "small": (X[0], y[0], {"lr": 1e-3, "epochs": 3}),
    }[name]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["many fits", "stream", "sweep", "overflow", "converged", "no epochs", "small"])
def test_progress_rises_to_the_total(name, threads, monkeypatch):
    monkeypatch.setattr(apart, "WAIT", 0.001)
    X, y, options = case(name)
    seen = []
    result = fastgd.fit(X, y, threads=threads, progress=lambda done, total: seen.append((done, total)), **options)
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {result.loss.size * max(1, options["epochs"])}
    assert list(done) == sorted(done)
    assert done[0] >= 0
    assert done[-1] == totals[0]
    assert_same(result, fastgd.fit(X, y, **options))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_callback_that_raises_stops_the_fit(threads):
    X, y = make(60, 40, 2, "float64")

    class StopError(Exception):
        pass

    def stop(done, total):
        raise StopError(f"{done} of {total}")

    began = time.monotonic()
    with pytest.raises(StopError, match="of 60000000000"):
        fastgd.fit(X, y, lr=1e-3, epochs=10**9, threads=threads, progress=stop)
    assert time.monotonic() - began < 5  # it would take minutes
    assert own_threads_left() == 0
    with pytest.raises(StopError):
        fastgd.fit(X[0], y[0], lr=1e-3, epochs=1, progress=stop)  # in the calling thread


def test_an_error_in_a_worker_comes_through(monkeypatch):
    """Also while other workers still run; none is left."""
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    X, y = make(200, 40, 2, "float64")
    X[77, 3, 1] = np.nan
    with pytest.raises(ValueError, match="fit 77 of 200"):
        fastgd.fit(X, y, lr=1e-3, epochs=10**5, threads=3)
    assert own_threads_left() == 0


def test_progress_that_is_no_function():
    with pytest.raises(TypeError, match="progress"):
        fastgd.fit([1.0, 2], [1.0, 2], lr=0.1, progress="yes")


# --------------------------------------------------------------------------------------- small fits


def test_small_fits_start_no_thread(monkeypatch):
    def refuse(*given):
        del given  # as CPython's own function, which has no frame that a traceback would hold
        raise AssertionError("a thread was started")

    X, y = make(20, 30, 2, "float64")
    with_threads = fastgd.fit(X, y, lr=1e-2, epochs=10)
    fastgd.fit(X.astype("f4"), y.astype("f4"), lr=1e-2, epochs=10)
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    for threads in (None, 8):
        assert same_bits(fastgd.fit(X, y, lr=1e-2, epochs=10, threads=threads).w, with_threads.w)
        fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], lr=0.01, epochs=100, threads=threads, reduction="sum")
        fastgd.fit(X[0], y[0], lr=[1e-3, 1e-2], epochs=100, threads=threads)
    with pytest.raises(AssertionError, match="thread was started"):
        fastgd.fit(X, y, lr=1e-2, epochs=10**6)


def test_no_more_threads_than_tasks_and_none_for_a_short_stage(monkeypatch):
    begun, start = [], _thread.start_new_thread

    def counted(*given):
        begun.append(given)
        return start(*given)

    monkeypatch.setattr(_thread, "start_new_thread", counted)
    done = []
    run_tasks([lambda counter: done.append(1)] * 3, 8, False, Control(8, quiet=True), lambda: None)
    assert (len(done), len(begun)) == (3, 3)
    begun.clear()
    X, y = make(1, 30, 2, "float64")
    rates = np.geomspace(1e-4, 1e-2, 20_000)
    fastgd.fit(X[0], y[0], lr=rates, epochs=300, threads=1)
    assert len(begun) == 1  # 30 samples are compressed in the calling thread


# -- what kernels say ------------------------------------------------------------------------------


@pytest.mark.parametrize(("progress", "said"), [(None, "compiling\n"), (False, "")])
def test_what_kernels_say_is_heard_by_their_call_in_its_threads(progress, said, capsys):
    planned, notes = SimpleNamespace(threads=2, inline=False), []

    def task(counter):
        listener = LISTENER.get()
        listener.say("compiling")
        listener.begin("note")
        notes.append(listener.note)
        listener.end()
        notes.append(listener.note)

    with watched(planned, progress, 1, "1 fit") as (control, go):
        go([task])
        assert LISTENER.get() is control
    assert notes == ["note", ""]
    assert capsys.readouterr().err == said
    assert LISTENER.get() is not control


def test_the_progress_bar_names_it(capsys):
    """From the calling thread, which does not watch while it compiles."""
    with watched(SimpleNamespace(threads=1, inline=True), True, 1, "1 fit") as (control, _):
        control.begin("compiling kernels, about 9 s")
        assert control.note == "compiling kernels, about 9 s"
        bar = control.watch.__self__
        assert bar._bar.tasks[0].description == "1 fit, compiling kernels, about 9 s"
        control.end()
        assert bar._bar.tasks[0].description == "1 fit"


def test_a_progress_bar_takes_no_numbers_of_the_caller():
    """In a process that has not imported rich, which draws some as it is imported."""
    script = """
import random, sys
import fastgd
before = random.getstate()
fastgd.fit([1.0, 2.0], [2.0, 4.0], epochs=4, progress=True)
print("rich" in sys.modules, random.getstate() == before)"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
