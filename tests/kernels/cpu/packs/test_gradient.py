"""Division by a reciprocal gives the quotient, bit for bit."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.packs import gradient
from fastgd.kernels.cpu.simd import lanes
from fastgd.kernels.cpu.simd.lanes import LANES
from tests.support.against_arbiter import same_bits


@numba.njit
def quotients(values, totals, reciprocals, out):
    lanes.store(out, 0, gradient.divide_by_reciprocal(lanes.load(values, 0), lanes.load(totals, 0), lanes.load(reciprocals, 0)))


@pytest.mark.parametrize("kind", ["counts", "any", "close"])
def test_dividing_by_a_reciprocal_is_dividing(kind):
    """300,000 quotients each: whole numbers as divisors, any divisors, quotients next to a midpoint
    between two numbers."""
    rng = np.random.default_rng(4)
    for _ in range(10_000):
        totals = (
            rng.integers(1, 10**7, LANES).astype(float)
            if kind == "counts"
            else rng.uniform(1, 2, LANES) * 2.0 ** rng.integers(-60, 60, LANES)
        )
        values = rng.uniform(1, 2, LANES) * 2.0 ** rng.integers(-300, 300, LANES)
        if kind == "close":
            values = totals * (1 + rng.integers(0, 2**52, LANES) * 2.0**-52) * (1 + rng.choice([-1, 0, 1], LANES) * 2.0**-53)
        out = np.empty(LANES)
        quotients(values, totals, 1 / totals, out)
        assert same_bits(out, values / totals)
    for value in (0.0, -0.0, 5e-324, 1e-310, 3e-293):  # what float32 cannot hold keeps its sign
        quotients(np.full(LANES, value), totals, 1 / totals, out)
        assert same_bits(out.astype("float32"), (value / totals).astype("float32"))
