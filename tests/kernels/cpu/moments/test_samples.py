"""Which samples are kept (moments/samples.py), against a list made by NumPy, in every layout."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels import cpu
from fastgd.kernels.chunk import Samples
from fastgd.kernels.cpu.moments.samples import NUMBERS_PER_POLL
from fastgd.kernels.reference.kept import find_kept

M = 7


def samples_of(X, y, weights):
    numbers, n = np.arange(M), y.shape[1]
    X, y, given = map(cpu.read_only, (X, y, np.empty((0, n), X.dtype) if weights is None else weights))
    all_used = np.empty((0, n), np.int32), np.full(M, -1), np.full(M, n)
    return Samples(X, y, numbers, numbers[::-1].copy(), given, numbers, *all_used)


def layouts(array):
    """The same numbers in other places: neighbours in memory, apart, backwards, samples first."""
    yield np.ascontiguousarray(array)
    yield np.repeat(array, 2, axis=1)[:, ::2]
    yield np.ascontiguousarray(array[:, ::-1])[:, ::-1]
    yield np.asfortranarray(array)
    if array.ndim == 3:
        yield np.ascontiguousarray(array.transpose(0, 2, 1)).transpose(0, 2, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 100, NUMBERS_PER_POLL // 3 + 33])
def test_lists_of_kept_samples(dtype, weighted, n):
    rng = np.random.default_rng(n)
    for d in (1, 2):
        X, y = rng.normal(size=(M, n, d)).astype(dtype), rng.normal(size=(M, n)).astype(dtype)
        weights = rng.integers(0, 3, (M, n)).astype(dtype) if weighted else None
        for array in (X, y):
            array[rng.random(array.shape) < 0.1] = np.nan
            array[rng.random(array.shape) < 0.1] = np.inf
            array[rng.random(array.shape) < 0.1] = -np.finfo(dtype).max
        X[3], y[1] = np.nan, 1
        X[5] = 1
        for of_x, of_y in zip(layouts(X), [*layouts(y), y], strict=False):
            want, found = (samples_of(of_x, of_y, weights) for _ in range(2))
            cancel = np.zeros(1, np.int32)
            of_want, of_found = find_kept(want, True, True, cancel), cpu.find_kept(found, True, True, cancel)
            assert found.n_used.tolist() == want.n_used.tolist()
            for f, count in enumerate(want.n_used if len(want.kept) else ()):
                assert found.kept[f, :count].tolist() == want.kept[f, :count].tolist()
            assert all(np.array_equal(a, b) for a, b in zip(of_found, of_want, strict=True))
    assert want.n_used[3] == 0
