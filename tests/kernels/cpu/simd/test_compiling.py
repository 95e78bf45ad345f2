"""How kernels and parts are compiled: with one set of options, and kernels with a cache on disk."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

from fastgd.kernels.cpu import compile_ahead
from fastgd.kernels.cpu.simd.compiling import NOT_CALLED_BY_PYTHON, OPTIONS, RARELY, _rarely_collecting, copy, inlined, kernel, part
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


def test_garbage_is_sought_as_before_when_a_kernel_is_compiled_or_fails():
    """Meanwhile rarely, under Numba's lock, for which forks wait, so no child keeps that."""
    before, seen = gc.get_threshold(), []

    def compiling(fails):
        seen.append((gc.get_threshold(), global_compiler_lock.is_locked()))
        if fails:
            raise TypeError
        _rarely_collecting(compiling, True)

    with pytest.raises(TypeError):
        _rarely_collecting(compiling, False)
    assert gc.get_threshold() == before
    assert seen == [((RARELY, *before[1:]), True)] * 2
