"""Fixtures of the tests that compare the CUDA kernels with the CPU's."""

from __future__ import annotations

import pytest

import fastgd
from tests.cuda_on_host import DEVICES, HostDevice
from tests.kernels.cuda.test_bits import assert_same


@pytest.fixture
def on_both(cuda_backend):
    """on_both(X, y, **options): the same fit by the CUDA kernels and by the CPU's, equal bit for
    bit; the result."""

    def fit(X, y, **options):
        ours, theirs = (fastgd.fit(X, y, backend=backend, **options) for backend in (cuda_backend, "cpu"))
        assert_same(ours, theirs, str(options))
        return ours

    return fit


@pytest.fixture
def device(monkeypatch, cuda_backend):
    """device(**options): what the backend runs on, in this test; a GPU takes the epochs per launch
    alone."""
    open_device = DEVICES[cuda_backend]

    def use(epochs_per_launch=None, **options):
        made = HostDevice(**options) if cuda_backend == "cuda-host" else open_device()
        made.epochs_per_launch = epochs_per_launch
        monkeypatch.setitem(DEVICES, cuda_backend, lambda: made)
        return made

    return use
