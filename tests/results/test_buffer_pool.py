"""Memory of small results is used again when nobody has it any more
(fastgd/results/buffer_pool.py), and never before."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastgd
from fastgd.results import buffer_pool as reuse

SIZE = 2**18  # bytes, of the kind that is kept


@pytest.fixture(autouse=True)
def nothing_waits():
    reuse.forget()
    yield
    reuse.forget()


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.share(4)
@pytest.mark.parametrize("shape", [(), (3,), (0, 5), (SIZE // 8,), (100, 700), (SIZE, 64), (2**20 + 1,)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8"])
def test_as_numpys(shape, dtype):
    found, want = reuse.empty(shape, np.dtype(dtype)), np.empty(shape, dtype)
    assert type(found) is np.ndarray
    assert (found.shape, found.dtype, found.strides) == (want.shape, want.dtype, want.strides)
    assert found.flags.writeable
    assert found.flags.c_contiguous
    assert found.flags.aligned
    found[...] = 3
    assert (found == 3).all()
    assert (copy.deepcopy(found) == 3).all()
    assert (pickle.loads(pickle.dumps(found)) == 3).all()


def test_memory_comes_back_when_the_last_view_is_gone():
    first = reuse.empty((SIZE // 4,), np.float32)
    place, part = address(first), first.reshape(-1, 2)[5:, 1]
    del first
    gc.collect()
    other = reuse.empty((SIZE // 4,), np.float32)
    assert not np.shares_memory(other, part)
    del part
    gc.collect()
    again = reuse.empty((SIZE // 8,), np.float64)
    assert address(again) == place
    assert address(reuse.empty((SIZE // 4 - 1,), np.float32)) not in (place, address(other))  # a like size, while both are taken


def test_no_more_is_kept_than_said():
    arrays = [reuse.empty((size,), np.int8) for size in range(SIZE, 2**22 - 1, 2**16)]
    assert sum(array.nbytes for array in arrays) > 2 * reuse.MOST_WAITING
    del arrays
    gc.collect()
    waiting = sum(size * len(pieces) for size, pieces in reuse._waiting.items())
    assert 0 < waiting <= reuse.MOST_WAITING


def test_threads_never_share():
    wrong = []

    def work(number):
        rng = np.random.default_rng(number)
        for _ in range(200):
            arrays = [reuse.empty((int(rng.integers(SIZE // 2, SIZE)),), np.int8) for _ in range(3)]
            for k, array in enumerate(arrays):
                array.fill(10 * number + k)
            wrong.extend(k for k, array in enumerate(arrays) if not (array == 10 * number + k).all())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_that_are_kept_stay_what_they_are():
    """Some part of a result is kept, the rest is gone, and other fits run."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40_000, 9, 1)).astype(np.float32), rng.normal(size=(40_000, 9)).astype(np.float32)
    kept, copies = [], []
    for k in range(6):
        result = fastgd.fit(X, y, lr=0.01 * (k + 1), epochs=3)
        for part in (result.w, result.loss, result.epochs, result.state.w, result.lr, result.n_used, result.state.slots):
            if rng.random() < 0.5:
                kept.append(part[::7])
                copies.append(part[::7].copy())
        del result, part
    assert all(np.array_equal(part, before) for part, before in zip(kept, copies, strict=True))
    assert any(reuse._waiting.values())


def test_where_memory_is_limited_nothing_is_kept():
    X, y = np.ones((40_000, 5, 1), np.float32), np.ones((40_000, 5), np.float32)
    fastgd.fit(X, y, lr=0.1, epochs=2, memory_limit="100 MiB")
    assert not any(reuse._waiting.values())
    fastgd.fit(X, y, lr=0.1, epochs=2)
    assert any(reuse._waiting.values())


AT_THE_END = """
import numba, numpy as np, fastgd

@numba.njit
def outlives_other_modules(x):
    return x.sum()

outlives_other_modules(np.ones(3))
result = fastgd.fit(np.ones((40_000, 9, 1), np.float32), np.ones((40_000, 9), np.float32), lr=0.1, epochs=2)
"""


def test_a_process_ends_quietly():
    """Numba's functions outlive the names of other modules, and what is global beside them does
    too."""
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_garbage_is_collected_at_any_moment():
    """Leases in circles, collected whenever anything is allocated: also while memory is being given
    back."""

    class Circle:
        def __init__(self, size):
            self.me, self.array = self, reuse.empty((size,), np.int8)

    noise = []
    before, hook = gc.get_threshold(), sys.unraisablehook
    sys.unraisablehook = noise.append
    gc.set_threshold(1, 1, 1)
    try:
        for k in range(600):
            Circle(SIZE + 2**15 * (k % 40))
    finally:
        gc.set_threshold(*before)
        gc.collect()
        sys.unraisablehook = hook
    assert not noise
    assert any(reuse._waiting.values())
