"""How kernels and parts are compiled: with one set of options, and kernels with a cache on disk."""

from __future__ import annotations

import numpy as np

from fastgd.kernels.cpu import compile_ahead
from fastgd.kernels.cpu.simd.compiling import NOT_CALLED_BY_PYTHON, OPTIONS, copy, inlined, kernel, part
from fastgd.kernels.cpu.simd.disk_cache import DiskCache


def test_every_kernel_lets_other_threads_run_and_is_kept_on_disk():
    for name, found in compile_ahead.KERNELS.items():
        assert {**OPTIONS, **found.targetoptions} == found.targetoptions, name
        assert isinstance(found._cache, DiskCache), name
        assert found._cache.name == name


def test_no_order_of_arithmetic_is_given_away():
    assert OPTIONS["fastmath"] is False
    assert OPTIONS["nogil"] is True
    assert "parallel" not in OPTIONS
    for decorate, inline in ((part, False), (inlined, True)):
        options = decorate(lambda array: None).targetoptions
        assert {**options, **OPTIONS, **NOT_CALLED_BY_PYTHON, "forceinline": inline} == options


def test_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    @kernel
    def copied(source, target):
        copy(source, target)

    source, target = np.array([1.0, 2.0]), np.zeros(2, np.float32)
    copied(source, target)
    assert target.tolist() == [1, 2]
