"""Where variables live is found once while a kernel is compiled, and as ever for everybody else."""

from __future__ import annotations

import numba
import numpy as np
from numba.core import postproc

from fastgd.kernels.cpu.simd import lifetimes
from fastgd.kernels.cpu.simd.compiling import kernel, part


def test_found_once_for_a_part_and_as_before_for_others(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    found = []
    real = postproc.VariableLifetime

    def counted(blocks):
        found.append(1)
        return real(blocks)

    @part
    def twice(array):
        for i in range(len(array)):
            array[i] = array[i] + array[i] if array[i] > 0.0 else 0.0

    @kernel
    def run(array):
        twice(array)

    array = np.array([1.0, -2.0])
    monkeypatch.setattr(postproc, "VariableLifetime", counted)
    twice.compile((numba.float64[::1],))
    assert len(found) == 1
    run(array)
    assert array.tolist() == [2.0, 0.0]
    assert postproc.PostProcessor.run is lifetimes._process

    @numba.njit
    def count_down(n):  # only generators need more
        while n:
            yield n
            n -= 1

    assert list(count_down(3)) == [3, 2, 1]
