"""The samples that a reference uses are those that the CPU's kernel finds."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels import cpu
from fastgd.kernels.chunk import FINE, NEGATIVE, NOT_FINITE, Samples
from fastgd.kernels.reference import kept

INDEX = np.arange(4)


def samples(weights: np.ndarray | None, gaps: bool) -> Samples:
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((4, 50, 2)), rng.standard_normal((4, 50))
    if gaps:
        X[1, 7, 1], X[2, 3, 0], y[2, 49] = np.nan, np.inf, -np.inf
    all_used = np.empty((0, 50), np.int32), np.full(4, -1), np.full(4, 50)
    X, y, given = map(cpu.read_only, (X, y, np.ones((0, 50)) if weights is None else weights))
    return Samples(X, y, INDEX, INDEX, given, INDEX, *all_used)


def some_weights(*spoiled: float) -> np.ndarray:
    weights = np.random.default_rng(4).uniform(0.5, 2, (4, 50))
    weights[0, 5] = weights[3, :20] = 0
    for place, value in enumerate(spoiled):
        weights[2, 10 + place] = value
    return weights


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("omit", [False, True])
@pytest.mark.parametrize("spoiled", [None, (), (np.nan,), (-np.inf,), (-1.0,), (np.nan, -1.0)])
@pytest.mark.parametrize("block", [7, 8192])
def test_the_kernel_finds_the_same(gaps, check, omit, spoiled, block, monkeypatch):
    monkeypatch.setattr(kept, "BLOCK", block)
    weights = None if spoiled is None else some_weights(*spoiled)
    found = []
    for find in (cpu.find_kept, kept.find_kept):
        some = samples(weights, gaps)
        faults, spread = find(some, omit, check, np.zeros(1, np.int32))
        places = [some.samples(fit)[1].tolist() for fit in range(4) if faults[fit] == FINE]
        found.append((faults.tolist(), places, spread[faults == FINE].tolist(), some.n_used[faults == FINE].tolist()))
    assert found[0] == found[1]
    if spoiled:
        assert found[1][0][2] == (NEGATIVE if -1.0 in spoiled else FINE if omit else NOT_FINITE)


def test_a_search_that_is_cancelled_finds_nothing():
    some = samples(some_weights(), gaps=True)
    kept.find_kept(some, True, True, np.ones(1, np.int32))
    assert len(some.kept) == 0
    assert (some.kept_index == -1).all()
