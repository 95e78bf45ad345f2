"""The attack of Ctrl-C finds nothing, and finds planted faults."""

from __future__ import annotations

import time

import pytest

import fastgd
from fastgd.kernels import apart
from tests.campaign import interrupts
from tests.campaign.trying import find_planted, narrowed, run_for_a_moment


@pytest.mark.parametrize(("what", "way"), [("fit, 2 threads", "press"), ("save and load", "raise")])
def test_nothing_is_found(what, way, tmp_path):
    run_for_a_moment(narrowed(interrupts.ATTACK, what, way), tmp_path)


def test_a_thread_that_is_left_is_found(tmp_path, monkeypatch):
    work = apart.Worker._work

    def ends_later(self, function, given, token):
        work(self, function, given, token)
        time.sleep(0.5)

    monkeypatch.setattr(apart.Worker, "_work", ends_later)
    monkeypatch.setattr("tests.campaign.small_calls.PATIENCE", 0.2)
    assert find_planted(narrowed(interrupts.ATTACK, "fit, 2 threads", "press"), tmp_path) == {"threads are left"}


def test_an_interrupt_that_is_swallowed_is_found(tmp_path, monkeypatch):
    fit = fastgd.fit

    def deaf(*given, **options):
        try:
            return fit(*given, **options)
        except KeyboardInterrupt:
            return fit(*given, **options)

    monkeypatch.setattr(fastgd, "fit", deaf)
    assert find_planted(narrowed(interrupts.ATTACK, "fit", "press"), tmp_path) == {"Ctrl-C was lost"}


def test_what_stays_switched_is_found(tmp_path, monkeypatch):
    """Something is set for the time of a call, and not set back when it is interrupted."""
    fit, switched = fastgd.fit, []

    def switch(X, y, **options):
        rate = 0.02 if switched else options.pop("lr")
        switched.append(1)
        result = fit(X, y, **options | {"lr": rate})
        switched.clear()
        return result

    monkeypatch.setattr(fastgd, "fit", switch)
    assert find_planted(narrowed(interrupts.ATTACK, "history", "raise"), tmp_path) <= {
        "the next call has another result",
        "the next call raises TypeError",
    }
