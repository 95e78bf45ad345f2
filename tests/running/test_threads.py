"""Threads of a call: where the system gives none, or no memory for them, the work is done all the
same, and none is left."""

from __future__ import annotations

import _thread
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import fastgd
from fastgd.planning import plan
from fastgd.running.pool import watched
from tests.support.fit_cases import assert_same, make
from tests.support.threads import own_threads_left


@pytest.mark.parametrize("there", [0, 1, 2])
def test_where_the_system_gives_no_more_threads_the_others_do_the_work(there, monkeypatch):
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    X, y = make(200, 40, 2, "float64")
    want, seen, begun, start = fastgd.fit(X, y, lr=1e-3, epochs=100), [], [], _thread.start_new_thread

    def start_some(function, given):
        if len(begun) == there:
            del function, given  # as CPython's own function, which has no frame that a traceback would hold
            raise RuntimeError("can't start new thread")
        begun.append(start(function, given))

    monkeypatch.setattr(_thread, "start_new_thread", start_some)
    result = fastgd.fit(X, y, lr=1e-3, epochs=100, threads=3, progress=lambda done, total: seen.append((done, total)))
    assert_same(result, want)
    assert len(begun) == there
    assert seen[-1] == (20_000, 20_000)
    X[77, 3, 1] = np.nan
    begun.clear()
    with pytest.raises(ValueError, match="fit 77 of 200"):
        fastgd.fit(X, y, lr=1e-3, epochs=100, threads=3)


@pytest.mark.parametrize("dies", [{0}, {1}, {0, 1, 2}])
def test_threads_that_die_as_they_begin_are_not_waited_for(dies, monkeypatch):
    """As where their first request for memory fails. The others do the work, or the caller."""
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    X, y = make(200, 40, 2, "float64")
    want, begun, start = fastgd.fit(X, y, lr=1e-3, epochs=100), [], _thread.start_new_thread

    def start_some(function, given):
        begun.append(len(begun))
        start((lambda *held: None) if begun[-1] in dies else function, given)

    monkeypatch.setattr(_thread, "start_new_thread", start_some)
    assert_same(fastgd.fit(X, y, lr=1e-3, epochs=100, threads=3), want)
    assert len(begun) == 3


def test_a_thread_that_dies_in_the_midst_of_its_task_is_an_error(monkeypatch):
    """Where not even its error can be kept, for want of memory: nothing tells that it was there."""
    start = _thread.start_new_thread

    def start_mute(function, given):
        _, work, (number,), token = given

        def mute(*held):
            cells = dict(zip(work.__code__.co_freevars, work.__closure__, strict=True))
            cells["busy"].cell_contents[number] = True

        start(mute, (token,))

    monkeypatch.setattr(_thread, "start_new_thread", start_mute)
    with watched(SimpleNamespace(threads=2, inline=False), None, 1, "1 fit") as (_, go), pytest.raises(MemoryError, match="in the midst"):
        go([lambda counter: None])


def test_no_thread_is_left_behind():
    X, y = make(300, 100, 5, "float64")
    fastgd.fit(X, y, lr=1e-2, epochs=1000, threads=4)
    assert own_threads_left() == 0
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading._DummyThread)]  # they would stay for ever
