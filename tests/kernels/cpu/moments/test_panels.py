"""More than 4,096 pairs of columns are summed panel by panel (moments/compress.py): the same bits
as in one pass, from which each of them is taken by itself with a few others."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels import cpu
from fastgd.kernels.chunk import Samples
from fastgd.kernels.cpu.moments.compress import CHUNK, MOST_PAIRS, PANEL
from fastgd.kernels.cpu.moments.register_tiles import BLOCK

FEATURES = 2 * PANEL + 3  # three panels of columns, and with y and the intercept more than MOST_PAIRS
GROUP = 35  # two groups of features are summed in one pass


def moments_of(X, y, weights, intercept, shifts, wanted):
    """(gram, target) of one fit; wanted: which of the two."""
    (n, d), one, none = X.shape, np.zeros(1, np.int64), np.empty((0, len(y)), X.dtype)
    samples = Samples(
        cpu.read_only(X[None]), cpu.read_only(y[None]), one, one, cpu.read_only(none if weights is None else weights[None]), one,
        np.empty((0, n), np.int32), one - 1, np.full(1, n),
    )  # fmt: skip
    moments = cpu.Moments.empty(1, 1, d + intercept, X.dtype)
    moments.weighing = np.array([[77.0, 77.0, 1.0, 2.0]])
    for array in (moments.gram, moments.target, moments.exponents):
        array.fill(77)
    given = (moments.gram if "gram" in wanted else moments.gram[:0], moments.target if "target" in wanted else moments.target[:0])
    shift = None if shifts is None else shifts[None]
    cpu.compress_items(samples, one, samples.n_used, intercept, *given, moments.exponents, moments.weighing, one.astype(np.int32), shift)
    return moments


def entry(i, j):
    return j * (j + 1) // 2 + i


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [5, 33, BLOCK + 1, CHUNK + BLOCK + 40])
def test_panels_have_the_bits_of_one_pass(dtype, weighted, n):
    """All wanted, the Gram matrix alone, the target alone; with an intercept and shifts, or not."""
    rng = np.random.default_rng(n)
    X = (rng.normal(size=(n, FEATURES)) * 2.0 ** rng.integers(-5, 6, FEATURES)).astype(dtype)
    y, weights = rng.normal(size=n).astype(dtype), rng.random(n).astype(dtype) if weighted else None
    for intercept in (False, True):
        shifts = np.append(X[0], [0.0] * intercept + [y[0]]).astype(np.float64) if intercept and not weighted else None
        both = moments_of(X, y, weights, intercept, shifts, ("gram", "target"))
        for wanted in ("gram", "target"):
            alone = getattr(moments_of(X, y, weights, intercept, shifts, (wanted,)), wanted)
            assert alone.tobytes() == getattr(both, wanted).tobytes(), wanted
        groups = np.array_split(np.arange(FEATURES), -(-FEATURES // GROUP))
        for a in range(len(groups)):
            for b in range(a):
                chosen = np.append(groups[b], groups[a])
                some_shifts = None if shifts is None else np.append(shifts[chosen], shifts[FEATURES:])
                few = moments_of(np.ascontiguousarray(X[:, chosen]), y, weights, intercept, some_shifts, ("gram", "target"))
                assert (len(chosen) + 3) ** 2 // 2 < MOST_PAIRS < FEATURES**2 // 2
                places = [*chosen, *[FEATURES] * intercept]
                pairs = [(entry(i, j), entry(places[i], places[j])) for j in range(len(places)) for i in range(j + 1)]
                own, of_all = np.array(pairs).T
                assert few.gram[0][:, own].tobytes() == both.gram[0][:, of_all].tobytes()
                last = [*places, FEATURES + intercept]
                assert few.target[0].tobytes() == both.target[0][:, last].tobytes()
                assert few.exponents[0].tobytes() == both.exponents[0][last].tobytes()
                assert few.weighing.tobytes() == both.weighing.tobytes()
