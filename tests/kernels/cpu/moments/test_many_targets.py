"""Products with y of many targets on one X (kernels/cpu/moments/many_targets.py) against
`compress`, one target after another, by `==`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastgd.kernels import cpu
from fastgd.kernels.chunk import Samples
from fastgd.kernels.cpu.moments.compress import CHUNK
from fastgd.kernels.cpu.moments.many_targets import FEW_ROWS, ROWS
from fastgd.kernels.cpu.moments.register_tiles import BLOCK
from fastgd.kernels.cpu.moments.target_tiles import TARGETS
from fastgd.kernels.cpu.records import Moments
from tests.support.against_arbiter import same_bits
from tests.support.guarded_memory import guarded

DTYPES = ("float32", "float64")
NO = np.zeros(1, np.int32)  # the cancel flag
COUNTS = (1, TARGETS - 1, TARGETS, 2 * TARGETS + 3)


def wide(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers of any size: the sums of every chunk have exponents of their own."""
    powers = rng.integers(-30, 31, shape) if len(shape) < 3 else rng.integers(-9, 10, shape)
    return np.ldexp(rng.standard_normal(shape), powers).astype(dtype)


def samples_of(count: int, n: int, d: int, dtype: str, *, of_x: int = 1, weighted: bool = False, time_first: bool = False) -> Samples:
    """Targets in turn on each X, `count` of them in all."""
    rng = np.random.default_rng((count, n, d))
    X, y = wide(rng, (of_x, n, d), dtype), wide(rng, (n, count) if time_first else (count, n), dtype)
    weights = np.abs(wide(rng, (of_x, n), dtype)) if weighted else np.empty((0, n), dtype)
    item = np.sort(np.arange(count) % of_x)
    kept = np.empty((0, n), np.int32)
    X, y, weights = (cpu.read_only(array) for array in (X, y.T if time_first else y, weights))
    return Samples(X, y, item, np.arange(count), weights, item, kept, np.full(count, -1), np.full(count, n))


def records(samples: Samples, size: int, start: np.ndarray | None = None, stop: np.ndarray | None = None, intercept: bool = False):
    """The records of both kernels: (one by one, together), each (target, exponents, all finite)."""
    count, planes = len(samples.n_used), 1 if samples.X.dtype == np.float32 else 2
    start, stop = np.zeros(count, np.int64) if start is None else start, samples.n_used if stop is None else stop
    found = []
    for together in (False, True):
        made, weighing = Moments.empty(0, count, size, samples.X.dtype), cpu.no_weighing(count)
        weighing[:, 2] = 3.0 * (planes == 2 and len(samples.weights) > 0)
        to = made.target, made.exponents, weighing, NO
        if together:
            finite = cpu.compress_targets(samples, start, stop, intercept, *to)
        else:
            finite = cpu.compress_items(samples, start, stop, intercept, np.empty((0, planes, 1)), *to)
        found.append((made.target, made.exponents, finite))
    return found


def assert_equal(samples: Samples, size: int, *given, **options) -> None:
    (target, exponents, finite), (other, other_exponents, other_finite) = records(samples, size, *given, **options)
    assert same_bits(other, target)
    assert (other_exponents == exponents).all()
    assert other_finite == finite


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 7, 8, 31, 32, 33, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 40])
def test_any_number_of_samples_and_targets(dtype, weighted, n):
    for count in COUNTS:
        for d in (2, 5):
            for intercept in (False, True):
                assert_equal(samples_of(count, n, d, dtype, weighted=weighted), d + intercept, intercept=intercept)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [*range(1, 12), FEW_ROWS, FEW_ROWS + 1, 2 * FEW_ROWS + 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 3])
def test_any_number_of_features(dtype, d):
    for n in (45, 2 * BLOCK + 70):
        for weighted in (False, True):
            assert_equal(samples_of(TARGETS + 2, n, d, dtype, weighted=weighted), d)
            assert_equal(samples_of(TARGETS + 2, n, d, dtype, weighted=weighted), d + 1, intercept=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunks", [1, 2, 3, 5, 7])
def test_chunks_are_added_pairwise(dtype, weighted, chunks):
    for n in (chunks * CHUNK, chunks * CHUNK + 600):
        assert_equal(samples_of(TARGETS + 1, n, 3, dtype, weighted=weighted), 4, intercept=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("time_first", [False, True])
def test_targets_that_lie_side_by_side_and_memory_beyond_the_data(dtype, time_first):
    """A page that nobody may read comes right after X and y."""
    for n, d, count in ((21, 3, TARGETS), (BLOCK + 9, 4, 2 * TARGETS), (40, 9, 2 * TARGETS + 5)):
        samples = samples_of(count, n, d, dtype, time_first=time_first)
        X, y = (guarded(array.ravel()).reshape(array.shape) for array in (samples.X, samples.y.T if time_first else samples.y))
        samples = replace(samples, X=cpu.read_only(X), y=cpu.read_only(y.T if time_first else y))
        assert_equal(samples, d)
        backwards = np.ascontiguousarray(samples.y_index[::-1])
        assert_equal(replace(samples, y_index=backwards), d)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_several_x_ranges_and_lists_of_samples(dtype, weighted):
    n, count = CHUNK + 700, 3 * TARGETS + 5
    rng = np.random.default_rng(2)
    for of_x in (2, 5, count):
        samples = samples_of(count, n, 3, dtype, of_x=of_x, weighted=weighted)
        assert_equal(samples, 3)
        start = np.where(np.arange(count) < TARGETS + 3, 0, CHUNK)
        assert_equal(samples, 3, start, np.where(np.arange(count) < 2, n, n - 5))
        assert_equal(samples, 4, start, start, intercept=True)  # no samples
        kept = np.sort(rng.permuted(np.tile(np.arange(n, dtype=np.int32), (3, 1)), axis=1)[:, : n - 100], axis=1)
        kept = np.concatenate([kept, np.zeros((3, 100), np.int32)], axis=1)
        which = np.sort(rng.integers(-1, 3, count))
        n_used = np.where(which < 0, n, n - 100)
        assert_equal(replace(samples, kept=kept, kept_index=which, n_used=n_used), 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_that_is_not_finite_harms_no_other_target(dtype):
    samples = samples_of(2 * TARGETS, 700, 3, dtype)
    before = records(samples, 3)[1]
    y = samples.y.copy()
    y[3, 100], y[9, 699] = np.nan, np.inf
    (target, _, finite), (other, exponents, other_finite) = records(replace(samples, y=cpu.read_only(y)), 3)
    assert not finite
    assert not other_finite
    assert same_bits(other, target)
    fine = np.delete(np.arange(2 * TARGETS), [3, 9])
    assert same_bits(other[fine], before[0][fine])
    assert (exponents[fine] == before[1][fine]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_and_the_largest_numbers(dtype):
    samples = samples_of(TARGETS, 300, 2, dtype)
    X, y = samples.X.copy(), samples.y.copy()
    X[:, :, 1], y[1], y[2, 5], y[3] = 0.0, 0.0, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    assert_equal(replace(samples, X=cpu.read_only(X), y=cpu.read_only(y)), 3, intercept=True)
