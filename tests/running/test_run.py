"""Jobs are run by the module that the backend's row names; bad data are told in the caller's
words."""

from __future__ import annotations

import gc
from contextvars import copy_context
from types import SimpleNamespace

import numpy as np
import pytest

import fastgd
from fastgd.kernels.telling import LISTENER
from fastgd.planning import call_cache
from fastgd.running import pool
from fastgd.running import run as running
from fastgd.running.pool import watched
from tests.support.jobs import job_of, numbers


def test_the_runner_is_the_one_of_the_row(monkeypatch):
    job = job_of([1.0, 2.0], [1.0, 2.0])
    called = []
    monkeypatch.setattr("fastgd.running.reference.run", lambda *given: called.append(given))
    job.runner = "reference"
    running.run(job)
    ((given, control, go),) = called
    assert given is job
    assert control.cancel.tolist() == [0]
    ran = []
    go([lambda counter: ran.append(1)])
    assert ran == [1]


def test_data_that_are_not_finite_are_named_by_their_place():
    X = numbers(3, 9, 2)
    X[1, 4, 1] = np.nan
    with pytest.raises(ValueError, match=r"^X is not finite: nan in row 4, feature 1 of fit 1 of 3\."):
        running.run(job_of(X, numbers(3, 9)))


def test_a_negative_weight_is_named_by_its_place():
    weights = np.ones(9)
    weights[5] = -1
    with pytest.raises(ValueError, match=r"sample_weight .*-1"):
        running.run(job_of(numbers(3, 9, 2), numbers(3, 9), sample_weight=weights))


def test_progress_ends_at_the_total():
    seen = []
    job = job_of(numbers(3, 9, 2), numbers(3, 9), epochs=4, progress=lambda done, total: seen.append((done, total)))
    running.run(job)
    assert seen[-1] == (12, 12)


class InterruptedThere:
    """The listener of `watched`, which Ctrl-C interrupts as soon as it is set."""

    get = LISTENER.get

    def set(self, control):
        LISTENER.set(control)
        raise KeyboardInterrupt


@pytest.mark.parametrize("recalled", [True, False])
def test_ctrl_c_before_the_first_instruction_leaves_no_listener(monkeypatch, recalled):
    X, y = np.arange(6.0).reshape(3, 2), np.arange(3.0)
    fastgd.fit(X, y, epochs=1)
    if not recalled:
        call_cache.forget()
    outside = LISTENER.get()
    monkeypatch.setattr(pool, "LISTENER", InterruptedThere())
    with pytest.raises(KeyboardInterrupt):
        fastgd.fit(X, y, epochs=1)
    assert LISTENER.get() is outside


def test_a_context_that_is_left_open_is_closed_anywhere_without_a_word():
    """An error that is ignored would be a warning, and so a failure."""
    outside, plan = LISTENER.get(), SimpleNamespace(threads=1, inline=True)
    left = watched(plan, None, 1, "1 fit")
    copy_context().run(left.__enter__)
    del left
    gc.collect()
    assert LISTENER.get() is outside
