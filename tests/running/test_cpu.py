"""Tasks of the CPU's runner: pieces of any size give the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.planning import plan
from fastgd.running import cpu as runner
from fastgd.running import long_fits, pieces
from tests.support.fit_cases import NAMES, digest, make


def grid_fit(name, **options):
    X, y = make(6, 40, 2, name, 1)
    rng = np.random.default_rng(2)
    lr, momentum = rng.uniform(0, 1e-2, (5, 1, 1)), rng.uniform(0, 1, (2, 1))
    return fastgd.fit(X, y, lr=lr, optimizer=fastgd.SGD(momentum=momentum), epochs=6, history=True, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("one", ["pair", "task"])
def test_groups_of_a_sweep(name, one, monkeypatch):
    """One pair of data at a time, one item per task of compress, one fit per task of descend."""
    want = digest(grid_fit(name))
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    for module in (plan, long_fits) if one == "pair" else (plan, pieces, runner):
        monkeypatch.setattr(module, "MOMENTS_BYTES" if one == "pair" else "PIECE_NS", 1)
    for threads in (1, 2, 8):
        assert digest(grid_fit(name, threads=threads)) == want
