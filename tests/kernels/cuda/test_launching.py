"""The launch module, with a stand-in for CuPy (tests/cuda_on_host/stand_in.py): NVRTC's cubins,
copies in pieces, arrays lent by others."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.kernels.cuda import compiling, launching, splitting
from fastgd.running import pool
from tests.cuda_on_host import stand_in
from tests.cuda_on_host.lent import there
from tests.kernels.cuda.test_bits import assert_same
from tests.support.hidden_masks import OnlyDLPack
from tests.support.reference_chunks import noisy


@pytest.fixture(autouse=True)
def pieces(cupy, monkeypatch):
    """Small arrays go in pieces."""
    monkeypatch.setattr(launching, "STAGED_BYTES", 4096)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_a_fit_by_backend_cuda(name):
    """From `fit` to the kernels and back: the CPU's bits."""
    X, y = noisy(60, 2, m=25)
    X, y = X.astype(name), y.astype(name)
    ours = fastgd.fit(X, y, epochs=12, history=True, backend="cuda")
    assert_same(ours, fastgd.fit(X, y, epochs=12, history=True, backend="cpu"))
    assert ours.backend == "cuda"
    assert stand_in.calls.count("memcpyAsync") > 5
    assert "synchronize" in stand_in.calls


def test_copies_in_pieces():
    gpu = launching.Gpu()
    for size in (1, 511, 512, 4096, 100_001):
        array = np.random.default_rng(size).integers(0, 255, size, np.uint8)
        there, back = gpu.upload(array), np.zeros(size, np.uint8)
        gpu.download(there, back)
        assert np.array_equal(back, array)


def test_arrays_that_are_on_the_device_stay_there():
    """They are used as they are; only one that lies askew, is not contiguous or of another dtype is
    copied."""
    gpu = launching.Gpu()
    array = there(np.arange(32, dtype=np.float32).reshape(4, 8))
    assert gpu.upload(array) is array
    askew = array.reshape(32)[1:]
    assert gpu.upload(askew, alignment=4) is askew
    assert gpu.upload(askew, alignment=16).data.ptr % 16 == 0
    assert gpu.upload(array.transpose(1, 0)).flags.c_contiguous
    assert gpu.upload(array, np.float64).dtype == np.float64
    assert gpu.upload(OnlyDLPack(array)).data.ptr == array.data.ptr


def test_large_data_are_streamed_in_parts(monkeypatch):
    """NumPy's data: the next part goes up while one runs; the copies go through two pinned buffers,
    and are all waited for."""
    monkeypatch.setattr(splitting, "STREAMED_BYTES", 50_000)
    X, y = noisy(300, 2, m=100)
    X, y = X.astype(np.float32), y.astype(np.float32)
    ours = fastgd.fit(X, y, epochs=3, history=True, backend="cuda")
    assert_same(ours, fastgd.fit(X, y, epochs=3, history=True))
    assert len([name for name in stand_in.calls if name.startswith("compress<")]) >= 7
    assert stand_in.transfers["up"] > X.nbytes + y.nbytes


def test_the_first_call_says_that_it_compiles(tmp_path, monkeypatch):
    """In the progress bar, kernel by kernel; the second call compiles nothing and says nothing."""
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(tmp_path))
    said = []
    monkeypatch.setattr(pool.Progress, "_open", lambda self: setattr(self, "_bar", said) or said.append(self._said()))
    monkeypatch.setattr(pool.Progress, "watch", lambda self: self._open())
    monkeypatch.setattr(pool.Progress, "close", lambda self, complete: None)
    X, y = noisy(60, 2, m=3)
    fastgd.fit(X, y, epochs=3, lr=0.1, backend="cuda", progress=True)
    assert "3 fits, compiling compress<double, 2, false> (once)" in said
    said.clear()
    fastgd.fit(X, y, epochs=3, lr=0.1, backend="cuda", progress=True)
    assert set(said) == {"3 fits"}


def test_info_tells_of_the_gpu():
    rows = dict(fastgd.info().rows())
    assert rows["GPU"] == "a stand-in, 2 GiB, compute capability 9.0"
    assert rows["backend cuda"] == "available"
    assert rows["NVRTC"].startswith("13.")
    assert "stored" in rows["CUDA kernels"]
