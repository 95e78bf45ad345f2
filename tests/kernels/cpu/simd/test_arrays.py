"""New arrays inside compiled functions."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.simd.arrays import new_empty, new_zeros


@numba.njit
def new(count, dtype):
    return new_zeros(count, dtype), new_empty(count, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("count", [0, 1, 100])
def test_new_arrays_begin_with_a_cache_line(count, dtype):
    found = new(count, np.dtype(dtype))
    for array in found:
        assert (array.shape, array.strides, array.dtype, array.flags.owndata) == ((count,), (np.dtype(dtype).itemsize,), dtype, False)
        assert array.ctypes.data % 64 == 0
        array[...] = 7  # it is memory of its own
    assert not new(count, np.dtype(dtype))[0].any()
    assert all((array == 7).all() for array in found)


def test_memory_that_there_is_not_is_an_error():
    with pytest.raises(MemoryError):
        new(2**58, np.dtype(np.float64))
