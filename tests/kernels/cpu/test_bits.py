"""The CPU kernels give the arbiter's bits: every row of w and loss, the state, the rate, the
status. A grid of sizes and options.

The extremes are in tests/kernels/cpu/test_bits_extremes.py.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.grids import thin
from tests.specification import arbiter
from tests.support.against_arbiter import compare

N = (1, 2, 3, 31, 32, 33, 64, 65, 100, 511, 512, 513, 4095, 4096, 4097, 8193, 12289)
D = (1, 2, 3, 5, 8, 17, 33)
KINDS = ("normal", "offset", "mixed rows", "mixed columns", "mixed chunks", "zero column", "constant column", "noise-free integers")
OPTIONS = (
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.7, "nesterov": True},
    {"weight_decay": 0.1},
    {"maximize": True},
    {"maximize": True, "weight_decay": 0.01},
    {"momentum": 0.5, "weight_decay": 0.3, "maximize": True},
    {"momentum": 0.5, "weight_decay": 0.3, "nesterov": True},
    {"momentum": 0.9, "dampening": 1.0, "weight_decay": 0.1, "maximize": True},
)
RATES = (0.9, 1.9, 2.5, 40.0, 1e9)  # times the safe rate


def make_data(n: int, d: int, name: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([n, d, KINDS.index(kind)])
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    most = 6 if name == "float32" else 40
    if kind == "offset":
        X, y = X + 1e6, y - 1e6
    elif kind == "mixed rows":
        X *= 10.0 ** rng.integers(-3, 4, (n, 1))
    elif kind == "mixed columns":
        X *= 10.0 ** rng.integers(-most, most + 1, d)
        y *= 10.0 ** rng.integers(-most, most + 1)
    elif kind == "mixed chunks":
        chunk = np.arange(n) // 4096
        X *= (10.0 ** rng.integers(-most, most + 1, (chunk[-1] + 1, d)))[chunk]
        y *= (10.0 ** rng.integers(-most, most + 1, chunk[-1] + 1))[chunk]
    elif kind == "zero column":
        X[:, d // 2] = 0
    elif kind == "constant column":
        X[:, -1] = 0.3
    elif kind == "noise-free integers":
        X = rng.integers(-9, 10, (n, d)).astype(float)
        y = X @ rng.integers(-9, 10, d)
    return X.astype(name), y.astype(name)


def work(n: int, d: int) -> int:
    """Products in the moments: what a case costs the arbiter."""
    return n * (d + 2) * (d + 3) // 2


SIZES = [(n, d) for n in N for d in D if work(n, d) < 1_000_000]
HEAVY = [(n, d) for n in N for d in D if work(n, d) >= 1_000_000]


def number_cases(sizes):
    """Every size with both types, every algorithm, and an intercept or not; kind, options and
    reduction take turns."""
    grid = [(n, d, name, algorithm, intercept) for n, d in sizes for name in ("float32", "float64")
            for algorithm in ("auto", "moments", "stream") for intercept in (False, True)]  # fmt: skip
    return [(*case, KINDS[(k // 12 + k) % len(KINDS)], k) for k, case in enumerate(grid)]


def check(n, d, name, algorithm, intercept, kind, k, backend="auto"):
    X, y = make_data(n, d, name, kind)
    rng = np.random.default_rng(k)
    reduction = ("mean", "sum")[k // 3 % 2]
    size = d + intercept
    if algorithm == "stream":
        moments, curvature = None, float(np.sum(X.astype(float) ** 2)) * (2.0 if reduction == "sum" else 2.0 / n)
        rate = 1 / curvature if curvature else 0.1  # any rate will do
    else:
        moments = arbiter.compress(X, y, intercept)
        rate = arbiter.safe_rate(moments, reduction) or 0.1
    cells = [
        {
            "lr": rate * RATES[(k + 2 * i) % len(RATES)],
            "hyper": OPTIONS[(k + 3 * i) % len(OPTIONS)],
            "w0": np.zeros(size) if i == 0 else rng.standard_normal(size) / max(1e-30, abs(X).max()),
        }
        for i in range(1 + k % 3)
    ]
    epochs = min(13, max(2, 40_000 // (n * (2 * size + 1))))
    compare(X, y, cells, epochs=epochs, intercept=intercept, reduction=reduction, algorithm=algorithm, moments=moments, backend=backend)


@pytest.mark.parametrize("case", thin("bits", number_cases(SIZES), 9), ids=lambda case: "-".join(map(str, case)))
def test_the_kernels_give_the_arbiters_bits(case):
    check(*case)


@pytest.mark.parametrize("case", thin("bits, heavy", number_cases(HEAVY), 97), ids=lambda case: "-".join(map(str, case)))
def test_the_kernels_give_the_arbiters_bits_on_many_columns(case):
    check(*case)


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 33, 63, 64, 65])
@pytest.mark.parametrize("intercept", [False, True])
def test_safe_rate(name, d, intercept):
    """Jacobi up to 64 parameters, the largest row sum above; the rate, and the epochs that it
    makes."""
    k = d + intercept
    X, y = make_data(d + 70, d, name, KINDS[k % len(KINDS)])
    hyper = {"weight_decay": (0.0, 0.25)[k // 2 % 2], "momentum": 0.5 * (k % 2)}
    for algorithm in ("moments", "stream") if d <= 8 else ("auto",):
        compare(
            X, y, [{"hyper": hyper}], epochs=4 if d <= 8 else 1, intercept=intercept, reduction=("mean", "sum")[d % 2], algorithm=algorithm
        )


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_safe_rate_of_columns_of_one_length_that_are_all_but_orthogonal(name):
    """XᵀX = I + 2^-k off the diagonal: what is still rotated shows, λ = 1 + 2^-k, until 2^-56 of
    the largest is left as it is."""
    rates = []
    for k in range(30, 60):
        X = np.array([[1, 2.0**-k], [0, 1]], name)
        rates.append(compare(X, np.ones(2, name), [{}], epochs=1, reduction="sum", algorithm="moments")[0].lr)
    assert len(set(rates)) > 20


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_more_features_than_moments_are_made_for(name):
    X, y = make_data(520, 257, name, "normal")
    (run,) = compare(X, y, [{"lr": 1e-3}], epochs=1)
    assert run.state.algorithm == "stream"


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_many_columns(name):
    """More than 4,096 pairs of columns: the kernel sums them panel by panel."""
    X, y = make_data(70, 100, name, "normal")
    moments = arbiter.compress(X, y)
    compare(X, y, [{"lr": 1e-3}], epochs=2, algorithm="moments", moments=moments)
    compare(X, y, [{"lr": 1e-3}, {"lr": 1e-2}], epochs=2, algorithm="moments", moments=moments)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_many_chunks(name):
    """Eleven chunks: an odd one passes up twice; mixed magnitudes: the exponents of every pair of
    chunks differ."""
    n = 10 * 4096 + 77
    for kind, algorithm in (("mixed chunks", "moments"), ("normal", "stream")):
        X, y = make_data(n, 1, name, kind)
        moments = arbiter.compress(X, y)
        compare(X, y, [{"lr": arbiter.safe_rate(moments)}], epochs=2, algorithm=algorithm, moments=moments)


def test_the_grid_is_what_it_says():
    """Every value of every axis is in the share that `make test` runs; data of every kind have what
    the kind promises."""
    cases = thin("bits", number_cases(SIZES), 9)
    for axis, wanted in enumerate((N, D, ("float32", "float64"), ("auto", "moments", "stream"), (False, True), KINDS)):
        assert {case[axis] for case in cases} == set(wanted)
    assert {case[-1] % len(OPTIONS) for case in cases} == set(range(len(OPTIONS)))
    X, _ = make_data(8193, 3, "float64", "mixed chunks")
    exponents = [[arbiter.exponent_of_largest(column) for column in X[first : first + 4096].T] for first in (0, 4096)]
    assert all(a != b for a, b in zip(*exponents, strict=True))
    assert not make_data(33, 3, "float32", "zero column")[0][:, 1].any()
    assert all(math.isfinite(v) for kind in KINDS for part in make_data(4097, 2, "float32", kind) for v in part.ravel())
