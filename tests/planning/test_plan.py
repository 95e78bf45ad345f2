"""Which backend and algorithm `auto` takes, and the explanation of the choice."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.data.fit_order import FitOrder
from fastgd.data.problem import Problem
from fastgd.input.arrays import arrive
from fastgd.planning.backends import BACKENDS
from fastgd.planning.plan import DEVICE_BYTES, LONG, MOMENTS_BYTES, PACK, RECORDS_BYTES, make_plan, plan_solve
from tests.support.fit_results import x, y


@pytest.mark.parametrize(
    ("n", "d", "intercept", "algorithm"),
    [
        (4, 2, False, "stream"),
        (5, 2, False, "moments"),
        (4, 2, True, "stream"),
        (5, 2, True, "moments"),
        (1, 1, False, "stream"),
        (2, 1, False, "stream"),
        (3, 1, False, "moments"),
        (513, 256, False, "moments"),
        (515, 257, False, "stream"),
    ],
)
def test_auto_and_its_explanation(n, d, intercept, algorithm):
    X = np.ones((n, d), np.float32)
    for options in ({}, {"lr": [1e-9, 1e-8]}, {"epochs": 0, "lr": 0.0}, {"history": True, "epochs": 2, "threads": 1}):
        result = fastgd.fit(X, X[:, 0], **({"epochs": 1, "intercept": intercept} | options))
        assert (result.backend, result.algorithm) == ("cpu", algorithm)
        assert result.explanation.startswith("cpu: the data are in the computer's memory; " + algorithm + ": n_")
        assert {result.state.algorithm_names[code] for code in np.ravel(result.state.algorithm)} == {algorithm}
        assert f" {d}" in result.explanation


def test_explanations_of_what_was_asked_for():
    assert fastgd.fit(x, y, backend="cpu", algorithm="stream").explanation == "cpu: asked for; stream: asked for"
    assert fastgd.fit(x, y, backend="numpy").explanation == "numpy: asked for; manual: the hand-written NumPy descent"


def test_the_explanation_of_torch(torch):
    assert fastgd.fit(x, y, backend="torch").explanation == "torch: asked for; autograd: torch.autograd and torch.optim"


def problem_of(n_fits, n, d, dtype=np.float64):
    """Fits with data of their own, which are never touched, and their order."""
    X, y = np.broadcast_to(0.0, (n_fits, n, d)), np.broadcast_to(0.0, (n_fits, n))
    one = np.zeros(1, dtype)
    X, y = (np.lib.stride_tricks.as_strided(one, a.shape, (one.itemsize, *(0,) * (a.ndim - 1))) for a in (X, y))
    problem = Problem.read(arrive(X=X, y=y, sample_weight=None), intercept=False, dtype=None, nan_policy="raise", min_samples=None)
    return problem, FitOrder.of((n_fits,), problem.gram_leading, problem.y.leading)


def plan_of(n_fits, n, d, *, backend="cpu", **options):
    """The plan of fits with data of their own."""
    problem, order = problem_of(n_fits, n, d)
    asked = {"epochs": 100, "algorithm": "auto", "threads": 2, "safe_rate": True}
    return make_plan(problem, order, BACKENDS[backend], **asked | options)


@pytest.mark.parametrize("epochs", [10**3, 10**6, 10**9])
def test_fits_of_many_epochs_fill_their_packs(epochs):
    """A pack of one fit takes as long as one of 32."""
    assert -(-300 // plan_of(300, 9, 2, epochs=epochs).fits_per_task) <= 10
    assert plan_of(300, 9, 2, epochs=epochs, threads=1).fits_per_task >= PACK
    assert plan_of(300, 9, 2, epochs=10**9, algorithm="stream").fits_per_task == 1
    assert plan_of(20, 9, 2, epochs=10**9, threads=4).fits_per_task <= 5  # every thread has some


def test_small_work_is_done_by_the_calling_thread():
    small, large = plan_of(10, 40, 3), plan_of(100_000, 40, 3)
    assert (small.inline, small.threads, small.fits_per_task) == (True, 1, 10)
    assert (large.inline, large.threads) == (False, 2)


def test_work_that_could_last_long_is_heard_by_ctrl_c():
    """Few fits of moments are cheap, but every one of them may have to stream all its epochs."""
    cheap = plan_of(1, 5000, 1, epochs=1000)
    assert cheap.inline
    assert not plan_of(1, 5000, 1, epochs=10_000_000).inline


def test_tasks_are_even_and_cut_no_pack():
    plan = plan_of(100_000, 40, 3)
    tasks = -(-100_000 // plan.fits_per_task)
    assert plan.fits_per_task % PACK == 0
    assert tasks % plan.threads == 0
    assert tasks >= 4 * plan.threads
    assert plan_of(100_000, 40, 3, fits_per_task=7).fits_per_task == 7


def test_one_thread_takes_larger_pieces_than_many():
    assert plan_of(100_000, 40, 3, threads=1).fits_per_task >= plan_of(100_000, 40, 3, threads=16).fits_per_task


@pytest.mark.parametrize(
    ("n", "options", "needed", "staged"),
    [
        (40, {}, True, False),
        (40, {"algorithm": "stream"}, True, False),  # for the safe rate
        (40, {"algorithm": "stream", "safe_rate": False}, False, False),
        (LONG, {}, True, False),
        (LONG + 1, {}, True, True),
        (LONG + 1, {"backend": "cuda", "threads": None}, False, False),
        (40, {"backend": "numpy", "threads": None}, False, False),
    ],
)
def test_moments_are_made_where_they_are_needed(n, options, needed, staged):
    plan = plan_of(3, n, 2, **options)
    assert (plan.needs_moments, plan.staged) == (needed, staged)


def test_many_features_make_small_groups():
    """Of data that are compressed first: their moments are kept until all fits of a group have
    run."""
    few, many = plan_of(100_000, LONG + 1, 2), plan_of(100_000, LONG + 1, 256)
    assert 1 < many.pairs_per_group < few.pairs_per_group
    assert many.pairs_per_group * 2 * 8 * 256 * 259 <= MOMENTS_BYTES  # of two parts each
    assert plan_of(100_000, 600, 2).pairs_per_group == 1  # compressed and run in one task


def test_a_gpu_is_given_fits_by_the_bytes_of_their_data():
    plan = plan_of(100_000, 1_000_000, 3, backend="cuda", threads=None)
    assert plan.fits_per_task == DEVICE_BYTES // (1_000_000 * 4 * 8)
    assert not plan.inline


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tasks_of_solve_are_cut_by_their_records_alone(dtype):
    """Not by the data that they convert: tasks of a few fits each take longer than all kernels."""
    plan = plan_solve(*problem_of(10**6, 200, 3, dtype), 2, False)
    assert 0.4 * RECORDS_BYTES < plan.fits_per_task * (8 * 3 * 6 + 24 * 4) <= RECORDS_BYTES


def test_tasks_of_groups_are_not_cut_by_their_rows(monkeypatch):
    cut = []
    monkeypatch.setattr("fastgd.planning.plan._even", lambda count, size, threads: cut.append(size) or size)
    rows = 5 * 20_000
    fastgd.solve_groups(np.arange(rows, dtype=float)[:, None], np.ones(rows), np.arange(rows) // 5, intercept=True)
    assert min(cut) > 1_000
