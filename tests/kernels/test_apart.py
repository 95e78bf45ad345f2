"""Work in a thread of its own: its value, its error, and that whoever waits may leave."""

from __future__ import annotations

import _thread
import threading
import time
from contextvars import ContextVar

import numpy as np
import pytest

from fastgd.kernels import apart
from fastgd.kernels.apart import Worker, run_apart, run_apart_if
from fastgd.kernels.telling import LISTENER, Listener
from tests.support.new_processes import run_python
from tests.support.paths import ROOT
from tests.support.threads import own_threads, own_threads_left

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
    assert own_threads() == 1
    may_end.set()
    assert ended.wait(60)
    assert own_threads_left() == 0  # it ends by itself


def test_where_there_can_be_no_more_threads_it_runs_here(monkeypatch):
    for error in (RuntimeError("can't start new thread"), MemoryError()):
        monkeypatch.setattr(_thread, "start_new_thread", refusing(error))
        assert run_apart(here) == here()
        with pytest.raises(ZeroDivisionError):
            run_apart(divmod, 1, 0)


def refusing(error):
    def refuse(*given):
        del given  # as CPython's own function, which has no frame that a traceback would hold
        raise error

    return refuse


def test_a_thread_that_dies_before_it_begins_is_not_waited_for(monkeypatch):
    """As where its first request for memory fails: what it holds is gone, and nothing is said."""

    class Patient(Listener):
        """Ends a wait that would not end."""

        last = time.monotonic() + 10.0

        def check(self):
            if time.monotonic() > self.last:
                raise TimeoutError

    start = _thread.start_new_thread
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, given: start(lambda *held: None, given))
    token = LISTENER.set(Patient())
    try:
        with pytest.raises(MemoryError, match="a thread of fastgd ended"):
            run_apart(here)
    finally:
        LISTENER.reset(token)


def test_a_worker_has_ended_when_its_thread_has():
    may_end, worker = threading.Event(), Worker()
    assert worker.has_ended  # there is no thread yet
    assert worker.start(may_end.wait, 60)
    assert not worker.has_ended
    assert not worker.wait()
    may_end.set()
    while not worker.wait():
        pass
    assert worker.has_ended
    assert own_threads_left() == 0


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
assert len(chosen) > 40, len(chosen)
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
