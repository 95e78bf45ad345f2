"""Parts become machine code once, inside their kernel, and not once for each constant."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba.core import types
from numba.core.runtime import _nrt_python, rtsys

from fastgd.kernels.cpu.simd import linking
from fastgd.kernels.cpu.simd.addresses import address
from fastgd.kernels.cpu.simd.arrays import new_zeros
from fastgd.kernels.cpu.simd.compiling import inlined, kernel, part


@pytest.mark.parametrize("decorate", [part, inlined])
def test_a_part_has_no_machine_code_of_its_own(decorate):
    @decorate
    def halved(array, times):
        for i in range(len(array)):
            array[i] = array[i] / 2**times

    @numba.njit
    def whole(array):
        halved(array, 1)
        halved(array, 2)

    array = np.array([8.0, 16.0])
    whole(array)
    assert array.tolist() == [1.0, 2.0]
    [library] = [found.library for found in halved.overloads.values()]  # one version for both constants
    assert linking.AVAILABLE
    assert type(library) is linking._PartLibrary
    [signature] = halved.signatures
    assert signature == (types.float64[::1], types.int64)
    name = next(iter(halved.overloads.values())).fndesc.mangled_name
    assert not library.codegen._engine.is_symbol_defined(name)  # a library of Numba's own kind defines it


class Pair(NamedTuple):
    array: Any
    begin: Any


def test_references_are_counted_where_there_are_any(tmp_path, monkeypatch):
    """A tuple of an array and an address: the array is alive as long as it is needed, no longer."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    @part
    def swapped(pair, other):
        kept = pair
        pair = Pair(other, pair.begin)
        return pair, kept.array

    @kernel
    def run(array, times):
        pair = Pair(array, address(array))
        for i in range(times):
            pair, before = swapped(pair, new_zeros(3, np.float64))
            pair.array[0] = before[0] + i
        return pair.array

    array = np.array([5.0])
    run(array.copy(), 1)
    _nrt_python.memsys_enable_stats()
    count, before = sys.getrefcount(array), rtsys.get_allocation_stats()
    for _ in range(3):
        result = run(array, 10)
        assert result.tolist() == [50.0, 0.0, 0.0]
    assert sys.getrefcount(array) == count
    del result
    made, freed = (getattr(rtsys.get_allocation_stats(), name) - getattr(before, name) for name in ("alloc", "free"))
    assert made == freed == 3 * (10 + 1)  # Numba has one for the array that is given, too


def test_kernels_run_where_numba_has_nothing_of_this(monkeypatch):
    """Another version of Numba: its own compiler, the same result."""
    monkeypatch.setattr(linking, "PART", {})

    @part
    def doubled(array):
        array[0] *= 2

    @numba.njit  # a kernel would be found on disk by the next run of the tests
    def run(array):
        doubled(array)

    array = np.array([3.0])
    run(array)
    assert array[0] == 6
    [found] = doubled.overloads.values()
    assert type(found.library) is not linking._PartLibrary
