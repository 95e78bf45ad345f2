"""Parts become machine code once, inside their kernel, and not once for each constant."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba.core import types

from fastgd.kernels.cpu.simd import linking
from fastgd.kernels.cpu.simd.compiling import inlined, part


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
