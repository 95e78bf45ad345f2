"""The launch module, with a stand-in for CuPy (tests/cuda_on_host/stand_in.py): NVRTC's cubins, copies in pieces, arrays lent by others."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import ALGORITHMS
from fastgd.kernels.cuda import compiling, device, launching
from fastgd.kernels.cuda.dividing import descend
from tests.cuda_on_host import stand_in
from tests.cuda_on_host.building import LIBRARIES
from tests.reference_chunks import chunk_of, noisy
from tests.test_cuda_bits import assert_same


@pytest.fixture(autouse=True)
def cupy(monkeypatch, tmp_path):
    """Here `import cupy` gives the stand-in, and there is a GPU."""
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name, real=device.importlib.util.find_spec: name == "cupy" or real(name))
    monkeypatch.setenv(compiling.FOLDER_VARIABLE, str(LIBRARIES / "cubins"))  # not the user's
    monkeypatch.setattr(launching, "STAGED_BYTES", 4096)  # so that small arrays go in pieces
    stand_in.calls.clear()
    for cached in (device.why_no_device, launching._kernel):
        cached.cache_clear()
    yield stand_in
    for cached in (device.why_no_device, launching._kernel):
        cached.cache_clear()


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
    """They are used as they are; only one that lies askew is copied."""
    gpu = launching.Gpu()
    there = stand_in.empty((4, 8), np.float32)
    assert gpu.upload(there) is there
    askew = stand_in.ndarray(stand_in.aligned(np.zeros(9, np.float32))[1:])
    assert gpu.upload(askew).data.ptr % 16 == 0
    lent = stand_in.aligned(np.arange(6.0))

    class Lender:
        def __dlpack__(self, **options):
            return lent.__dlpack__(**options)

        def __dlpack_device__(self):
            return lent.__dlpack_device__()

    assert gpu.upload(Lender()).data.ptr == lent.ctypes.data


def test_a_chunk_whose_data_are_on_the_device():
    work, theirs = (chunk_of(*noisy(40, 3, m=6), epochs=5) for _ in range(2))
    for each in (work, theirs):
        each.algorithm[:] = ALGORITHMS.index("moments")
    from tests.cuda_on_host import HostDevice

    descend(theirs, np.zeros(1, np.int32), np.zeros(1, np.int64), HostDevice())

    class OnDevice(stand_in.ndarray):
        def __len__(self):
            return self.shape[0]

        def __getitem__(self, part):
            return OnDevice(self.host[part])

    work.X, work.y = OnDevice(stand_in.aligned(work.X)), OnDevice(stand_in.aligned(work.y))
    descend(work, np.zeros(1, np.int32), np.zeros(1, np.int64), launching.Gpu())
    assert np.array_equal(work.w, theirs.w)
    assert np.array_equal(work.history_loss, theirs.history_loss)
