"""The quick look passes over no fit whose end is to be explained."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels.chunk import COMPLETED, DIVERGED
from fastgd.results.distances import Ends, distances, not_near


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", ["zero", "given", "state"])
def test_the_quick_look_finds_all_that_are_to_be_explained(dtype, start):
    rng = np.random.default_rng(3)
    m = 4000
    loss, excess = (10 ** rng.uniform(-30, 5, m)).astype(dtype), (10 ** rng.uniform(-35, 5, m)).astype(dtype)
    excess[: m // 2] = loss[: m // 2] * np.float64(0.01)  # where rounding decides
    initial = np.where(rng.random(m) < 0.5, 0.4, 30.0) * excess
    status = np.where(rng.random(m) < 0.1, DIVERGED, COMPLETED)
    excess[status == DIVERGED] = np.nan
    ends = Ends(loss, excess, initial, np.full(m, 0.1), np.full(m, 5), status, rng.normal(size=(m, 2)), "sgd", start, False)
    ended = distances(ends)
    needed = np.flatnonzero(ended.far | ended.worse | ended.lost)
    found = not_near(loss, excess, initial, status, start == "zero")
    assert len(needed) > 100
    assert set(needed) <= set(found)
    pieces = [slice(i, i + 16) for i in range(0, m, 16)]
    few = [not_near(loss[i], excess[i], initial[i], status[i], start == "zero") + i.start for i in pieces]
    assert np.concatenate(few).tolist() == found.tolist()


@pytest.mark.parametrize("count", [3, 30])
def test_fits_that_ended_near_are_not_looked_at(count):
    one, done = np.ones(count), np.full(count, COMPLETED)
    every = list(range(count))
    assert not_near(one, 1e-3 * one, one, done, True).tolist() == []
    assert not_near(1e-30 * one, 1e-30 * one, one, done, True).tolist() == []  # rounding of a fit without noise
    assert not_near(1e-30 * one, 1e-30 * one, one, done, False).tolist() == every
    assert not_near(one, np.nan * one, one, done, True).tolist() == []  # not known
    assert not_near(one, np.nan * one, one, np.full(count, DIVERGED), True).tolist() == every
