"""Signatures that Numba has found are remembered while kernels are compiled, and only then."""

from __future__ import annotations

import numpy as np
from numba.core import types

from fastgd.kernels.cpu.simd import remembering
from fastgd.kernels.cpu.simd.compiling import kernel, part


def test_types_are_found_once_and_are_those_of_each_call(tmp_path, monkeypatch):
    """Signatures that are remembered: the same operation on other types is another one."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    @part
    def of(a, b):
        return a + b, a * b, a / b, a > b, min(a, b)

    @kernel
    def run(numbers, integers):
        return of(numbers[0], numbers[1]), of(integers[0], integers[1]), of(numbers[0], integers[1])

    numbers, integers = np.array([0.5, 2.0], np.float32), np.array([7, 2])
    for _ in range(2):
        assert run(numbers, integers) == ((2.5, 1.0, 0.25, False, 0.5), (9, 14, 3.5, True, 2), (2.5, 1.0, 0.25, False, 0.5))
    assert types.Function.get_call_type is remembering._find  # Numba's own again
