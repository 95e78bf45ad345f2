"""The least value of the packs of a grid: found once for one problem, and never for another."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd

rng = np.random.default_rng(12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_rates", [32, 64, 69])
@pytest.mark.parametrize("shared", [False, True])
def test_each_problem_of_a_grid_has_its_own_least_loss(shared, n_rates, dtype):
    """Packs of one problem, and packs that lie across two, beside each problem alone."""
    X, y = rng.normal(size=(5, 9, 3)).astype(dtype), rng.normal(size=(5, 9)).astype(dtype)
    y[3] = y[1]  # another Gram matrix with the targets of an earlier problem
    X[4, :, 2] = X[4, :, 0] + X[4, :, 1]  # no F* from the elimination, or one of two features
    data = X[0] if shared else X
    rates = np.geomspace(1e-3, 0.1, n_rates)
    together = fastgd.fit(data, y, lr=rates[:, None], epochs=7)
    for problem in range(5):
        alone = fastgd.fit(data if shared else X[problem], y[problem], lr=rates, epochs=7)
        for name in ("excess_loss", "loss", "w"):
            assert np.array_equal(getattr(together, name)[:, problem], getattr(alone, name), equal_nan=True), (name, problem)
        assert np.array_equal(together.state.initial_excess[:, problem], alone.state.initial_excess, equal_nan=True)
        for rate in (0, n_rates - 1):
            one = fastgd.fit(data if shared else X[problem], y[problem], lr=rates[rate], epochs=7)
            assert np.array_equal(one.excess_loss, alone.excess_loss[rate], equal_nan=True)
    assert len(np.unique(together.excess_loss[0])) == (4 if shared else 5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_grid_of_penalties_has_a_least_objective_for_each(decay):
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    decays = decay + np.linspace(0, 1, 70)
    together = fastgd.fit(X, y, optimizer=fastgd.SGD(lr=0.02, weight_decay=decays), epochs=5)
    for k in (0, 1, 31, 32, 69):
        alone = fastgd.fit(X, y, optimizer=fastgd.SGD(lr=0.02, weight_decay=decays[k]), epochs=5)
        assert alone.excess_loss == together.excess_loss[k]
