"""The runner of compress: groups of pairs make the same moments, in the caller's order."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.planning import plan
from tests.results.test_moments import same


@pytest.mark.parametrize("policy", ["raise", "omit"])
@pytest.mark.parametrize("shared", ["nothing", "X", "y"])
def test_groups_make_the_same_moments(policy, shared, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4, 6, 40, 2)), rng.normal(size=(4, 6, 40))
    X, y = (X[:, :1], y) if shared == "X" else (X, y[:1]) if shared == "y" else (X, y)
    if policy == "omit":
        y = y.copy()
        y[0, ::2, 3] = np.nan
    whole = fastgd.compress(X, y, nan_policy=policy)
    monkeypatch.setattr(plan, "MOMENTS_BYTES", 1000)
    pieces = fastgd.compress(X, y, nan_policy=policy, threads=2)
    assert pieces.leading == (4, 6)
    solved = [fastgd.solve(moments) for moments in (whole, pieces)]
    assert np.array_equal(solved[0].w, solved[1].w)
    assert np.array_equal(whole.target, pieces.target)
    if policy == "raise" and shared == "nothing":
        assert same(whole, pieces)
    expected = fastgd.solve(X, y, nan_policy=policy)
    assert np.array_equal(solved[0].w, expected.w)
    assert np.array_equal(whole.n_used, expected.n_used)


def test_the_limit_of_memory_is_kept_or_refused():
    X, y = np.zeros((1000, 8, 6)), np.zeros((1000, 8))
    with pytest.raises(MemoryError, match="memory_limit is 64"):
        fastgd.compress(X, y, memory_limit="64 KiB")
    assert fastgd.compress(X, y, memory_limit="4 MiB").leading == (1000,)
