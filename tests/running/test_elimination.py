"""Inverses of XᵀX: the kernel has the bits of NumPy, and leaves what needs double-double.

That they are right is tested by exact rationals in fit/test_statistics.py."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

import fastgd
from fastgd.kernels import cpu
from fastgd.running import elimination
from fastgd.running.elimination import Inverses, invert_records

RNG = np.random.default_rng(3)
M = 70  # fits: two full packs and some


def data(d, dtype, kind):
    """X (M, 12 + d, d) of one kind."""
    X = RNG.normal(size=(M, 12 + d, d)) + RNG.uniform(-3.0, 3.0, (M, 1, d))
    if kind == "units":
        X *= 10.0 ** RNG.integers(-12, 12, (M, 1, d)) if dtype == "float32" else 2.0 ** RNG.integers(-900, 900, (M, 1, d))
    if kind == "nearly a combination":
        X[::2, :, -1] = X[::2, :, 0] * (1 + 1e-6 * RNG.normal(size=(M // 2, 12 + d)))
    if kind == "lost":
        X[0], X[1, :, 0], X[2, :, -1], X[3] = 0.0, 7.0, X[2, :, 0], np.inf
    return X.astype(dtype)


def inverses(m, size):
    return Inverses(np.empty((m, size, size)), np.full((m, size), 7.0), np.empty((m, size), bool), np.empty(m, np.int64), np.empty(m))


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 2, 4, 9, 31])
def test_the_kernel_has_the_bits_of_numpy(d, dtype, intercept, monkeypatch):
    left = []
    kernel = cpu.invert
    monkeypatch.setattr(cpu, "invert", lambda *arguments: left.append(kernel(*arguments)) or left[-1])
    for kind in ("plain", "units", "nearly a combination", "lost"):
        X = data(d, dtype, kind)
        weights = RNG.uniform(0.5, 4.0, X.shape[:2]) if kind == "units" else None
        given = fastgd.compress(X, X[..., 0], sample_weight=weights, intercept=intercept, nan_policy="propagate")
        moments = cpu.Moments(given.gram, given.gram_exponents, given.weighing, given.target, given.exponents)
        records = RNG.permutation(M).astype(np.int64)
        found = inverses(M, d + intercept)
        invert_records(moments, records, intercept, found, np.zeros(1, np.int32))
        wanted = elimination._of_records(moments, records, intercept, dtype == "float64")
        for each in fields(Inverses):
            np.testing.assert_array_equal(getattr(found, each.name), getattr(wanted, each.name), err_msg=f"{kind}, {each.name}")
    plain, units, near, lost = left
    assert plain == 0
    assert units <= (M if dtype == "float64" else 0)  # whose exponents may be beyond those of normal numbers
    assert near == (M // 2 if d > 1 and dtype == "float32" else near)
    assert lost >= 2


def test_larger_matrices_are_inverted_without_the_kernel(monkeypatch):
    monkeypatch.setattr(cpu, "invert", None)
    X = RNG.normal(size=(2, 80, 33))
    stats = fastgd.solve(X, X[..., 0] + 1.0, stats=True).stats
    assert stats.rank.tolist() == [33, 33]
