"""Work in a thread of its own: its value, its error, and that whoever waits may leave."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

import numpy as np
import pytest

from fastgd.kernels import apart
from fastgd.kernels.apart import run_apart, run_apart_if
from fastgd.kernels.telling import LISTENER, Listener
from tests.support.new_processes import run_python
from tests.support.paths import ROOT

CARRIED: ContextVar[str] = ContextVar("CARRIED", default="")


def here() -> int:
    return threading.get_ident()


def test_the_value_comes_from_another_thread():
    assert run_apart(here) != here()
    assert run_apart_if(True, here) != here()
    assert run_apart_if(False, here) == here()
    assert run_apart(divmod, 17, 5) == (3, 2)


def test_an_error_comes_through():
    with pytest.raises(ZeroDivisionError):
        run_apart(divmod, 1, 0)
    with pytest.raises(KeyboardInterrupt):
        run_apart_if(True, lambda: (_ for _ in ()).throw(KeyboardInterrupt))


def test_what_the_caller_set_holds_there():
    """Context variables, and NumPy's reaction to overflow, which is one."""
    CARRIED.set("set")
    assert run_apart(CARRIED.get) == "set"
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        run_apart(np.square, np.float64(1e300))
    with np.errstate(over="ignore"):
        assert run_apart(np.square, np.float64(1e300)) == np.inf


def test_whoever_waits_leaves_where_the_work_was_cancelled(monkeypatch):
    monkeypatch.setattr(apart, "WAIT", 0.001)
    may_end, ended = threading.Event(), threading.Event()

    class Cancelled(Listener):
        def check(self):
            raise TimeoutError

    def work():
        may_end.wait(60)
        ended.set()

    token = LISTENER.set(Cancelled())
    try:
        with pytest.raises(TimeoutError):
            run_apart(work)
    finally:
        LISTENER.reset(token)
    assert not ended.is_set()
    left = [thread for thread in threading.enumerate() if thread.name == "fastgd-apart"]
    assert [thread.daemon for thread in left] == [True]  # a program may end meanwhile
    may_end.set()
    assert ended.wait(60)
    while left[0].is_alive():  # it ends by itself
        time.sleep(0.001)


def test_where_there_can_be_no_more_threads_it_runs_here(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert run_apart(here) == here()
    with pytest.raises(ZeroDivisionError):
        run_apart(divmod, 1, 0)


MOMENTS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import fastgd
from fastgd.planning import plan
from tests.campaign.interrupts import Tracer

plan.INLINE_NS = 0
X, y = np.random.default_rng(0).normal(size=(40, 30, 2)), np.ones((40, 30))
fit = lambda: fastgd.fit(X, y, lr=0.1, epochs=9, threads=2).w.tobytes()
right = fit()

class Places(Tracer):
    def __call__(self, frame, event, argument):
        before = self.seen
        super().__call__(frame, event, argument)
        if self.seen > before and frame.f_code.co_filename.endswith(("threading.py", "pool.py", "apart.py")):
            chosen.append(before)
        return self

def traced(tracer):
    sys.settrace(tracer)
    try:
        return fit()
    except KeyboardInterrupt:
        return None
    finally:
        sys.settrace(None)

chosen = []
assert traced(Places(-1)) == right
assert len(chosen) > 100
for number in chosen:
    tracer = Tracer(number)
    unheard = traced(tracer) is not None and tracer.place
    assert not unheard or "_weakrefset" in unheard, unheard  # CPython drops what is raised in a weak reference's callback
    assert fit() == right
"""


def test_ctrl_c_at_each_moment_of_the_waiting_is_heard():
    """While threads are started and waited for: it comes out, and no thread waits for ever."""
    done = run_python(MOMENTS, str(ROOT), timeout=120)
    assert done.returncode == 0, done.stderr
