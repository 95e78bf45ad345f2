"""Blocks of epochs change no bit, and a fit that stopped costs nothing."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import fastgd
from fastgd import Status, schedules
from tests.support.stopping_company import ARRAYS, OPTIONS, RATES, assert_equal, data_of_company

x = np.array([1.0, 2, 3, 4])


KINDS = {
    "last, sgd": {},
    "best, adam": {"restore_best": True, "optimizer": fastgd.Adam(), "dtype": "float32"},
    "best, mini-batches": {"restore_best": True, "batch_size": 8, "schedule": schedules.StepLR(9), "schedule_every": "step"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_company_threads_and_blocks_change_no_bit(monkeypatch, kind):
    X, y, X_val, y_val = data_of_company()
    own = KINDS[kind]

    def fit(**options):
        return fastgd.fit(X, y, X_val=X_val, y_val=y_val, lr=RATES[:, None, None], **OPTIONS | own | options)

    found = fit()
    statuses = set(found.status.ravel().tolist())
    assert {Status.STOPPED_EARLY, Status.TOO_FEW_SAMPLES} <= statuses
    assert "dtype" in own or Status.DIVERGED in statuses
    for fewer in ({"threads": 1}, {"threads": 3}, {"memory_limit": "60 MiB"}):
        assert_equal(fit(**fewer), found)
    for k, i, j in zip(*(np.random.default_rng(1).integers(length, size=12) for length in found.loss.shape), strict=True):
        alone = fastgd.fit(X[i, 0], y[i, j], X_val=X_val[0], y_val=y_val[i, 0], lr=RATES[k], **OPTIONS | own)
        for name in ARRAYS:
            assert np.array_equal(getattr(alone, name), getattr(found, name)[k, i, j], equal_nan=True), (name, k, i, j)
    for shortest, block_bytes in ((1, 2**23), (16, 2**16), (400, 2**23)):
        monkeypatch.setattr("fastgd.running.blocks.SHORTEST", shortest)
        monkeypatch.setattr("fastgd.planning.stopping.BLOCK_BYTES", block_bytes)
        assert_equal(fit(), found)


def epochs_computed(monkeypatch, fit):
    """(epochs of fits that the kernels ran, the result)."""
    from fastgd.kernels import cpu

    count = [0]

    def counting(run):
        def descend(chunk, *arguments, **options):
            count[0] += chunk.epochs * len(chunk.w)
            return run(chunk, *arguments, **options)

        return descend

    with monkeypatch.context() as patch:
        for name in ("descend", "descend_batches"):
            patch.setattr(cpu, name, counting(getattr(cpu, name)))
        found = fit()
    return count[0], found


def test_a_fit_that_stopped_costs_nothing(monkeypatch):
    """999 fits of 1,000 stop within 40 epochs, one runs all 20,000."""
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    lr = np.full(1000, 0.1)
    lr[17] = 1e-6
    for restores in (False, True):
        options = {"lr": lr, "epochs": 20_000, "X_val": X[:40], "y_val": y[:40], "patience": 5, "restore_best": restores}
        count, found = epochs_computed(monkeypatch, lambda options=options: fastgd.fit(X, y, **options))
        run = found.epochs
        assert run[17] == 20_000
        assert run[lr == 0.1].max() < 100
        # each takes part in 1.25 t + 16 epochs, and goes back within a block of max(16, t/4)
        assert count <= (1.25 * run + 16 + np.maximum(16, run / 4)).sum()


def test_mini_batches_of_much_data_wait_for_no_block(monkeypatch):
    """Blocks are as long as no fit can end in, or a quarter of what was run."""
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(80, 3)), rng.normal(size=80)
    options = {"lr": 0.05, "epochs": 400, "batch_size": 16, "X_val": X[:20], "y_val": y[:20], "patience": 2}
    count, found = epochs_computed(monkeypatch, lambda: fastgd.fit(X[20:], y[20:], **options))
    monkeypatch.setattr("fastgd.running.blocks.NUMBERS", 1)
    fewer, again = epochs_computed(monkeypatch, lambda: fastgd.fit(X[20:], y[20:], **options))
    assert (again.epochs, again.w.tolist()) == (found.epochs, found.w.tolist())
    assert again.status == Status.STOPPED_EARLY
    assert fewer <= 1.25 * again.epochs + 2 + 2 < 16 <= count


def test_best_and_last_epochs_at_the_ends_of_blocks(backend):
    """The Hessian is 2: w = 1 − 2^−t exactly. Blocks of 16 epochs begin at 0, 16, 32."""
    ones, best = np.ones(4), np.array([1, 13, 15, 16, 17, 29, 31, 32, 33])
    options = {"lr": 0.25, "epochs": 40, "X_val": [1.0], "y_val": (1 - 2.0**-best)[:, None], "patience": 3, "backend": backend}
    y = np.ones((len(best), 4))
    for restores, epochs in ((True, best), (False, best + 3)):
        found = fastgd.fit(ones, y, restore_best=restores, **options)
        assert found.best_epoch.tolist() == best.tolist()
        assert found.epochs.tolist() == (best + 3).tolist()
        assert found.w.tolist() == (1 - 2.0**-epochs).tolist()
        assert found.state.epoch.tolist() == epochs.tolist()


def test_long_patience_costs_no_epoch_more_than_it_waits(monkeypatch):
    ones = np.ones(4)
    options = {"lr": 0.25, "epochs": 10**6, "X_val": [1.0], "y_val": [0.75], "patience": 5000}
    count, found = epochs_computed(monkeypatch, lambda: fastgd.fit(ones, ones, **options))
    assert (found.epochs, found.best_epoch) == (5002, 2)
    assert count <= 2 * 5002 + 16


def test_schedules_of_each_fit_and_progress():
    """The rates of an epoch are the schedule's, also where a fit goes back within a block."""
    several = [schedules.StepLR(3, 0.5), None, schedules.ExponentialLR(0.9)]
    told = []
    options = {"epochs": 100, "X_val": x, "y_val": [2.5, 3, 7, 8], "patience": 4, "restore_best": True}
    found = fastgd.fit(x, 2 * x, lr=[0.02, 0.01, 0.03], schedule=several, progress=lambda *now: told.append(now), **options)
    for k, schedule in enumerate(several):
        alone = fastgd.fit(x, 2 * x, lr=[0.02, 0.01, 0.03][k], schedule=schedule, epochs=int(found.best_epoch[k]))
        assert (found.w[k], found.loss[k]) == (alone.w, alone.loss)
    assert told[-1] == (300, 300)


@pytest.mark.parametrize("restores", [False, True])
def test_a_memory_limit_is_kept(restores):
    """With validation data of each fit; blocks are short then."""
    rng = np.random.default_rng(3)
    X, y, X_val, y_val = (rng.normal(size=shape) for shape in ((800, 20, 3), (800, 20), (800, 10, 3), (800, 10)))
    options = {"lr": 0.02, "epochs": 100, "X_val": X_val, "y_val": y_val, "patience": 9, "restore_best": restores}
    free, limit = fastgd.fit(X, y, **options), 2**20
    tracemalloc.start()
    found = fastgd.fit(X, y, memory_limit=limit, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit
    for name in ("w", "loss", "val_loss", "epochs", "best_epoch", "status"):
        assert np.array_equal(getattr(found, name), getattr(free, name))
