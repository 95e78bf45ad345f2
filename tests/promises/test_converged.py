"""CONVERGED means within tol of the minimum: exact rationals judge every fit that says so.

What is allowed beside tol is the allowance of docs/arithmetic.md, section 10, once for the target
and once for the rounding of F and F*.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastgd
from tests.grids import thin
from tests.support import convergence

PROBLEMS = 2_500  # of four fits each


@pytest.mark.parametrize("first", thin("converged, problems of four fits", range(0, PROBLEMS, 25), 12))
def test_every_fit_that_says_so_is_within_its_tol(first):
    found = [claim for number in range(first, first + 25) for claim in convergence.claims(number)]
    assert found
    for claim in found:
        assert claim.is_true, claim.where
        assert abs(claim.told_least - claim.least) <= claim.allowance, claim.where
        loss, u = claim.told + claim.told_least, 2.0 ** -(24 if claim.is_float32 else 53)
        rounding = 32 * u * loss + 2 * math.sqrt(loss * claim.allowance)  # of the loss at w; of residuals beside a larger y
        assert abs(claim.told - claim.excess) <= 2 * claim.allowance + rounding, claim.where


@pytest.mark.parametrize(
    "optimizer", [fastgd.SGD(momentum=0.9), fastgd.SGD(momentum=0.99), fastgd.Adam(0.5)], ids=lambda each: repr(each)[:26]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_thousand_lines(optimizer, dtype):
    """Oscillations have crests, where the loss stands still for an epoch far from its least
    value."""
    rng = np.random.default_rng(7)
    x = rng.uniform(-3, 3, (1_000, 200, 1))
    y = x[..., 0] * rng.normal(size=(1_000, 1)) + rng.normal(size=(1_000, 1)) + rng.normal(size=(1_000, 200))
    x, y = x.astype(dtype), y.astype(dtype)
    rate = {} if optimizer.lr is not None else {"lr": 0.02}
    result = fastgd.fit(x, y, intercept=True, optimizer=optimizer, epochs=3_000, tol=1e-4, **rate)
    best = fastgd.solve(x.astype(float), y.astype(float), intercept=True)
    w = np.stack([result.state.w[..., 0] - best.w[..., 0], result.state.w[..., 1] - best.intercept], axis=-1)
    design = np.concatenate([x.astype(float), np.ones(x.shape)], axis=-1)
    excess = np.square(np.einsum("fij,fj->fi", design, w)).mean(axis=1)  # of the loss, without cancellation
    start = np.square(y.astype(float)).mean(axis=1) - best.loss
    assert (result.status == fastgd.Status.CONVERGED).all()
    assert (excess <= 1e-4 * start * (1 + 1e-6)).all()
    assert len(set(result.epochs.tolist())) > 10
