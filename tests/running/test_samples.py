"""Samples in float64, block after block: scaled as they are read, with weights of any size."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

from fastgd.kernels.chunk import Samples
from fastgd.running.samples import blocks_of, read_samples, scale_samples, total_weights, weights_of
from tests.specification import arbiter
from tests.support.jobs import numbers

FLOAT64 = np.dtype(np.float64)


def samples_of(X, weights=None, kept=None):
    """One fit for each X (m, n, d), with y = X[..., 0]; kept: the places that all of them use."""
    m, n = X.shape[:2]
    index = np.arange(m)
    return Samples(
        X, X[..., 0], index, index, np.empty((0, n)) if weights is None else weights, index,
        np.empty((0, n), np.int32) if kept is None else np.array([kept], np.int32), np.full(m, -1 if kept is None else 0),
        np.full(m, n if kept is None else len(kept)),
    )  # fmt: skip


def total_of(weights):
    """Σω by the arbiter."""
    values = [float(value) for value in weights]
    if weights.dtype == np.float32:
        return arbiter.plain_sum(values)
    k = arbiter.exponent_of_largest(values)
    scaled = [value * arbiter.pow2(-k) for value in values]
    high, _ = arbiter.sum_over_samples(len(values), partial(arbiter.sum_of_lane, scaled), arbiter.dd_add)
    return arbiter.scale(high, k)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 31, 33, 4096, 4096 + 70, 3 * 4096 + 5, 9 * 4096 + 1])
def test_the_sum_of_weights_is_the_arbiters(n, dtype):
    """Numbers so different that the order of the additions tells."""
    rng = np.random.default_rng(n)
    weights = np.exp(rng.normal(0, 12, (2, n))).astype(dtype)
    found = total_weights(samples_of(np.ones((2, n, 1), dtype), weights), np.array([1, 0, 1]))
    assert found.tolist() == [total_of(weights[fit]) for fit in (1, 0, 1)]


def test_the_order_of_the_additions_tells():
    """Else the test above would pass with any order."""
    rng = np.random.default_rng(4096)
    weights = np.exp(rng.normal(0, 12, (50, 4096))).astype(np.float32)
    found = total_weights(samples_of(np.ones((50, 4096, 1), np.float32), weights), np.arange(50))
    assert (found != np.array([np.sum(values, dtype=np.float64) for values in weights])).any()


def test_a_sum_of_weights_is_of_those_that_stay():
    weights = np.abs(numbers(1, 100)) + 0.5
    kept = [3, 4, 50, 99]
    found = total_weights(samples_of(np.ones((1, 100, 1)), weights, kept), np.zeros(1, np.int64))
    assert found.tolist() == [total_of(weights[0, kept])]


@pytest.mark.parametrize(("weight", "total"), [(4e307, 1.6e308), (1e308, np.inf), (5e-324, 2e-323)])
def test_weights_at_the_limits(weight, total):
    samples = samples_of(np.ones((1, 4, 1)), np.full((1, 4), weight))
    assert total_weights(samples, np.zeros(1, np.int64)).tolist() == [total]
    read, own_total, power = weights_of(samples, np.zeros(1, np.int64), [(0, 2), (2, 4)])
    assert (np.ldexp(read((0, 2)), power) == weight).all()
    assert own_total == 4 * read((0, 2))[0]
    assert 0.25 <= read((0, 2))[0] < 1
    assert power[0] % 2 == 0


def test_without_weights_all_are_one():
    read, total, power = weights_of(samples_of(numbers(1, 5, 2)), np.zeros(1, np.int64), [(0, 3), (3, 5)])
    assert (read((3, 5)).tolist(), total, power.tolist()) == ([1.0, 1.0], 5.0, [0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_are_scaled_as_they_are_read(dtype):
    """In the precision asked for: that of the data, or float64."""
    X = numbers(2, 30, 3).astype(dtype)
    center, scale = numbers(2, 3).astype(dtype).astype(float), np.abs(numbers(2, 3)).astype(dtype).astype(float) + 0.5
    center, scale = center.astype(dtype).astype(float), scale.astype(dtype).astype(float)
    for precision in (np.dtype(dtype), FLOAT64):
        samples = scale_samples(samples_of(X), center, scale, np.arange(2), precision)
        found = read_samples(samples, "X", np.array([1]), 10, 20)
        want = (X[1, 10:20].astype(precision) - center[1].astype(precision)) / scale[1].astype(precision)
        assert found.dtype == np.float64
        assert found[0].tolist() == want.astype(np.float64).tolist()
        assert read_samples(samples, "y", np.array([1]), 10, 20)[0].tolist() == X[1, 10:20, 0].tolist()


@pytest.mark.parametrize(("n", "size"), [(1, 1), (100, 3), (100_000, 3), (100_000, 400)])
def test_blocks_hold_all_samples_once(n, size):
    blocks = blocks_of(samples_of(np.ones((1, n, 1))), np.zeros(1, np.int64), size)
    assert [place for first, stop in blocks for place in (first, stop - 1)][:: 2 * len(blocks) - 1] == [0, n - 1]
    assert all(stop == first for (_, stop), (first, _) in itertools.pairwise(blocks))
    assert max(stop - first for first, stop in blocks) <= max(4 * size, 2**15 // size)
