"""Ctrl-C while something runs that nothing can interrupt: the call ends at once, what runs ends by
itself, and nothing is written that the caller could see.

What cannot be interrupted is played by a function that waits for the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastgd
from fastgd.data.items import Items
from fastgd.kernels.cpu.simd import disk_cache
from fastgd.kernels.reference import numpy_manual, torch_autograd
from fastgd.planning import plan
from fastgd.running import groups, minimisers
from tests.kernels.cpu.simd.test_disk_cache import a_kernel, cache, kernels_in
from tests.running.test_pool import heard
from tests.support.fit_cases import assert_same, digest, make
from tests.support.threads import own_threads, own_threads_left

__all__ = ["cache", "heard"]


class Deaf:
    """A function that begins, and does not end before the test lets it."""

    def __init__(self, real):
        self.real, self.begun, self.let_go, self.ended = real, threading.Event(), threading.Event(), threading.Event()

    def __call__(self, *given, **options):
        self.begun.set()
        self.let_go.wait(60)
        try:
            return self.real(*given, **options)
        finally:
            self.ended.set()

    def press_ctrl_c(self) -> None:
        """As soon as it has begun."""
        threading.Thread(target=lambda: self.begun.wait(60) and os.kill(os.getpid(), signal.SIGINT), daemon=True).start()


def assert_interrupted(deaf: Deaf, call) -> None:
    """The call leaves before what it waited for has ended; then that ends, by itself."""
    deaf.press_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        call()
    assert not deaf.ended.is_set()
    assert own_threads() == 1
    deaf.let_go.set()
    assert deaf.ended.wait(60)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("shape", [(40, 5), (5, 8), (300, 3)], ids=["tall", "wide", "long"])
def test_lapack_is_not_waited_for(monkeypatch, heard, shape, inline):
    X, y = np.random.default_rng(0).normal(size=shape), np.ones(shape[0])
    X[:, -1] = X[:, 0]  # the moments do not suffice
    if shape == (300, 3):
        monkeypatch.setattr(minimisers, "STACK_NUMBERS", 64)
    want = digest(fastgd.solve(X, y))
    monkeypatch.setattr(minimisers, "LONG_WORK", 0)
    monkeypatch.setattr(plan, "INLINE_NS", 10**12 if inline else 0)
    deaf = Deaf(np.linalg.svd)
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "svd", deaf)
        assert_interrupted(deaf, lambda: fastgd.solve(X, y))
    assert digest(fastgd.solve(X, y)) == want


def test_nothing_is_written_after_ctrl_c(monkeypatch, heard):
    """Not by what goes on: another call may have these arrays by then."""
    X, y = np.random.default_rng(0).normal(size=(3, 5, 8)), np.ones((3, 5))
    monkeypatch.setattr(minimisers, "LONG_WORK", 0)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    seen = []
    real = fastgd.running.least_squares.Minimisers
    monkeypatch.setattr(fastgd.running.least_squares, "Minimisers", lambda *given: seen.append(given) or real(*given))
    deaf = Deaf(np.linalg.svd)
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "svd", deaf)
        deaf.press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            fastgd.solve(X, y)
        for values in seen[0]:
            values.fill(77)
        deaf.let_go.set()
        assert deaf.ended.wait(60)
        assert own_threads_left(60) == 0
    assert all((values == 77).all() for values in seen[0])


def test_a_kernel_that_is_compiled_is_not_waited_for_and_kept(cache, heard, monkeypatch):
    kernel, array = a_kernel(), np.zeros(1)
    deaf = Deaf(disk_cache.DiskCache.save_overload)
    with monkeypatch.context() as patch:
        patch.setattr(disk_cache.DiskCache, "save_overload", lambda *given: deaf(*given))
        assert_interrupted(deaf, lambda: kernel(array))
    assert array[0] == 0
    kernel(array)
    assert array[0] == 1
    assert len(kernels_in(cache)) == 1


@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_a_conversion_of_a_large_fit_is_not_waited_for(monkeypatch, heard, algorithm):
    X, y = make(1, 100_000, 2, "float64")
    X, y = X[0].astype(">f8"), y[0]
    options = {"lr": 1e-3, "epochs": 3, "algorithm": algorithm}
    want = fastgd.fit(X, y, **options)
    monkeypatch.setattr(groups, "LARGE", 1)
    name = "convert" if algorithm == "moments" else "take"
    deaf = Deaf(getattr(Items, name))
    with monkeypatch.context() as patch:
        patch.setattr(Items, name, lambda *given: deaf(*given))
        assert_interrupted(deaf, lambda: fastgd.fit(X, y, **options))
    assert_same(fastgd.fit(X, y, **options), want)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_epoch_of_numpy_is_not_waited_for(monkeypatch, heard, weighted):
    X, y = make(1, 50, 2, "float64")
    options = {"lr": 1e-3, "epochs": 5, "backend": "numpy", "intercept": True, "sample_weight": np.ones(50) if weighted else None}
    want = fastgd.fit(X[0], y[0], **options)
    monkeypatch.setattr(numpy_manual, "LARGE", 1)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    deaf = Deaf(np.matmul)
    with monkeypatch.context() as patch:
        patch.setattr(np, "matmul", deaf)
        assert_interrupted(deaf, lambda: fastgd.fit(X[0], y[0], **options))
    assert_same(fastgd.fit(X[0], y[0], **options), want)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_epoch_of_torch_is_not_waited_for(monkeypatch, heard, torch, weighted):
    X, y = make(1, 50, 2, "float64")
    options = {"lr": 1e-3, "epochs": 5, "backend": "torch", "intercept": True, "sample_weight": np.ones(50) if weighted else None}
    want = fastgd.fit(X[0], y[0], **options)
    monkeypatch.setattr(torch_autograd, "LARGE", 1)
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    deaf = Deaf(torch.Tensor.backward)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", lambda *given: deaf(*given))
        assert_interrupted(deaf, lambda: fastgd.fit(X[0], y[0], **options))
    assert_same(fastgd.fit(X[0], y[0], **options), want)


def test_ctrl_c_while_the_progress_is_shown(monkeypatch, heard):
    """In the caller's function, twice quickly: the workers end, and the next call is as ever."""
    X, y = make(60, 40, 2, "float64")
    want = digest(fastgd.fit(X, y, lr=1e-3, epochs=30))

    def show(done, total):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fastgd.fit(X, y, lr=1e-3, epochs=10**9, threads=3, progress=show)
    assert own_threads_left() == 0
    assert digest(fastgd.fit(X, y, lr=1e-3, epochs=30)) == want


AT_THE_END = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastgd.kernels.apart import run_apart
begun = threading.Event()
threading.Thread(target=lambda: (begun.wait(), time.sleep(0.1), os.kill(os.getpid(), signal.SIGINT)), daemon=True).start()

def press_later():
    while True:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

def work():
    begun.set()
    time.sleep({seconds})
    print("ended by itself", flush=True)

try:
    run_apart(work)
except KeyboardInterrupt:
    {then}
"""


@pytest.mark.parametrize(
    ("seconds", "then", "code", "said"),
    [
        (0.6, "pass", 0, "ended by itself"),
        (0.6, "sys.exit(3)", 3, "ended by itself"),
        (60, "raise", -signal.SIGINT, ""),
        (60, "threading.Thread(target=press_later, daemon=True).start()", -signal.SIGINT, ""),
    ],
    ids=["ends", "exits", "dies of it", "is pressed again"],
)
def test_a_program_that_ends_waits_for_what_was_left_or_dies_of_ctrl_c(seconds, then, code, said):
    script = AT_THE_END.format(seconds=seconds, then=then)
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout.strip()) == (code, said), done.stderr
    assert ("Ctrl-C ends it at once" in done.stderr) == (then != "raise")
