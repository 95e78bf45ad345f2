"""Rows that lie anywhere come into a tile number by number; nothing beyond the data is read."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.minibatch.gather import gather_tile
from fastgd.kernels.cpu.moments.samples import place_of, sources_of
from fastgd.kernels.cpu.simd.addresses import address, keep_alive
from fastgd.kernels.cpu.simd.lanes import LANES
from tests.support.guarded_memory import guarded


@numba.njit
def gather(data, index, tile, stride, d, rows, count, itemsize):
    sources = sources_of(data, index)
    gather_tile(tile, stride, sources, place_of(sources, 0), d, address(rows), count, len(rows), itemsize)
    keep_alive((data, index, rows))


@pytest.mark.share(4)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [2, 3, 8, 9, 16, 21])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_number_comes_to_its_place(dtype, d, weighted):
    rng, n = np.random.default_rng(d), 50
    X, y, omega = (guarded(rng.normal(size=size).astype(dtype)) for size in (n * d, n, n * weighted))
    one = np.zeros(1, np.int64)
    steps = [np.array(steps, np.int64) for steps in ([0, n * d, d, 1], [0, n, 1], [0, n, 1])]
    data, index = (X, steps[0], y, steps[1], omega, steps[2]), (one, one, one, np.empty((0, n), np.int32), one - 1)
    for count in (1, 7, 8, 9, 40, 50):
        rows = guarded(rng.permutation(n)[: count + 5].astype(np.int32))
        rows[0] = n - 1  # whose features are the last numbers in memory
        whole = -(-count // LANES) * LANES
        tile = guarded(np.full((d + 1 + weighted) * whole, 77, dtype))
        gather(data, index, tile, whole, d, rows, count, X.itemsize)
        found = tile.reshape(-1, whole)
        expected = np.column_stack([X.reshape(n, d), y, *([omega] if weighted else [])])[rows[:count]].T
        assert np.array_equal(found[:, :count], expected)
        assert (found[:, count:] == 0).all()
