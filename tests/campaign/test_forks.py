"""The attack of forks finds nothing, and finds a lock that a fork copies while it is held."""

from __future__ import annotations

import os
import threading
import time

import fastgd
from tests.campaign import children, forks
from tests.campaign.small_calls import SmallCalls
from tests.campaign.trying import find_planted, narrowed, run_for_a_moment
from tests.support.new_processes import run_python
from tests.support.paths import ROOT

SMALL = narrowed(forks.ATTACK, ("fit", "save"), ("history",))


def test_nothing_is_found(tmp_path):
    run_for_a_moment(SMALL, tmp_path)


def test_a_lock_that_is_held_at_the_fork_is_found(tmp_path, monkeypatch):
    fit, lock = fastgd.fit, threading.Lock()

    def locked(*given, **options):
        with lock:
            time.sleep(0.01)
            return fit(*given, **options)

    monkeypatch.setattr(fastgd, "fit", locked)
    monkeypatch.setattr(children, "HANG", 0.4)
    assert find_planted(SMALL, tmp_path) == {"hang"}


def test_other_bits_are_found(tmp_path, monkeypatch):
    fit, parent = fastgd.fit, os.getpid()
    monkeypatch.setattr(fastgd, "fit", lambda *given, **options: fit(*given, **options | ({} if os.getpid() == parent else {"lr": 0.02})))
    assert find_planted(SMALL, tmp_path) == {"other bits"}


def test_a_new_process_has_the_kernels_that_are_there(tmp_path, monkeypatch):
    """Threads of the parent give the cache another place for a moment."""
    cases = SmallCalls(tmp_path, ["small fit"])
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert forks.in_process("spawn", cases, ["small fit"], tmp_path) == []
    assert not list(tmp_path.rglob("*.kernel"))


def test_nothing_is_computed_where_a_new_process_imports_the_turn(tmp_path):
    """It does so before it is told where the kernels are."""
    ran = run_python("import tests.campaign.one", PYTHONPATH=str(ROOT), NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert (ran.returncode, ran.stderr, list(tmp_path.rglob("*.kernel"))) == (0, "", [])
