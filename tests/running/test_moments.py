"""Moments of a group: shared data are compressed once, long fits in parts, and nothing after a
search that was cancelled."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.data.fit_order import FitOrder
from fastgd.data.problem import Problem
from fastgd.input.arrays import arrive
from fastgd.kernels import cpu
from fastgd.planning import job, plan
from fastgd.planning.backends import BACKENDS
from fastgd.running import cpu as runner
from fastgd.running import long_fits
from fastgd.running.moments import compress_groups, read_group
from fastgd.running.pool import Control
from tests.support.against_arbiter import same_bits
from tests.support.fit_cases import NAMES, assert_same, holes, make
from tests.support.fit_results import same


@pytest.mark.parametrize(("x_shape", "y_shape"), [((), (40,)), ((1, 23), (4, 1)), ((7,), (3, 7)), ((2, 1, 9), (5, 1))])
def test_shared_data_are_compressed_once(x_shape, y_shape, monkeypatch):
    """However small the groups are: each X's Gram matrix is computed once, but for those that two
    groups share at their border."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((*x_shape, 30, 3)), rng.standard_normal((*y_shape, 30))
    want = fastgd.fit(X, y, lr=0.1, epochs=4)
    computed, groups = [], []
    compress, groups_of = cpu.compress_items, runner.compress_groups

    def counting(samples, start, stop, intercept, gram, *rest):
        computed.append(len(gram))
        compress(samples, start, stop, intercept, gram, *rest)

    monkeypatch.setattr(cpu, "compress_items", counting)
    monkeypatch.setattr(runner, "compress_groups", lambda *given: (groups.append(group.first) or group for group in groups_of(*given)))
    monkeypatch.setattr(plan, "MOMENTS_BYTES", 2_000)
    result = fastgd.fit(X, y, lr=0.1, epochs=4)
    assert_same(result, want)
    n_x = int(np.prod(x_shape))
    assert len(groups) > 1
    assert n_x <= sum(computed) <= n_x + len(groups) - 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [1, 2])
def test_ranges_of_a_long_fit(name, d, monkeypatch):
    """n > 65,536: staged and cut into ranges. Ranges of 4096 · 2^k, or no cut at all, alone or with
    others: the same bits."""
    n = 2 * 65_536 + 3 * 4096 + 5
    X, y = make(2, n, d, name, 3)
    X[:, 4096 * 5 : 4096 * 6] *= np.array(1e10, name)  # unlike exponents
    y[:, :4096] *= np.array(1e-10, name)
    settings = {"lr": 1e-25, "epochs": 3, "intercept": True, "history": True, "algorithm": "moments"}
    want = fastgd.fit(X, y, **settings)
    assert same_bits(want.history.loss[0, 0], fastgd.fit(X[0], y[0], **settings).history.loss[0])
    for length in (4096, 2 * 4096, 8 * 4096, 16 * 4096, 64 * 4096, 2**40):
        monkeypatch.setattr(cpu, "RANGE", length)
        for threads in (1, 4):
            assert_same(fastgd.fit(X, y, threads=threads, **settings), want)
        assert_same(fastgd.fit(X[1], y[1], **settings), want, lambda values: values[1])
    monkeypatch.setattr(cpu, "RANGE", 4096)
    monkeypatch.setattr(long_fits, "MOMENTS_BYTES", 2000)  # longer ranges, since there is no room for the records of short ones
    assert_same(fastgd.fit(X, y, **settings), want)


@pytest.mark.parametrize("name", NAMES)
def test_a_long_fit_that_is_not_staged(name, monkeypatch):
    X, y = make(1, 3 * 65_536 + 17, 1, name, 4)
    want = fastgd.fit(X, y, lr=1e-3, epochs=3, history=True)

    def not_staged(*args, **options):
        made = plan.make_plan(*args, **options)
        assert made.staged
        return plan.Plan(**{**vars(made), "staged": False})

    monkeypatch.setattr(job, "make_plan", not_staged)
    assert_same(fastgd.fit(X, y, lr=1e-3, epochs=3, history=True), want)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_nothing_is_compressed_after_a_cancelled_search(weighted, shared, monkeypatch):
    """Another task fails, or Ctrl-C is pressed, while the missing samples of a fit are looked
    for."""
    X, y, weights, _ = holes(3, 50, 2, "float64", seed=6, weighted=weighted)
    X, y = (X[0], y) if shared else (X, y)
    problem = Problem.read(arrive(X=X, y=y, sample_weight=weights), intercept=False, dtype=None, nan_policy="omit")
    order = FitOrder.of(problem.leading, problem.gram_leading, problem.y.leading)
    control, calls = Control(1), []
    find_kept, compress_items = cpu.find_kept, cpu.compress_items

    def cancelled(samples, omit, look, cancel):
        cancel[0] = look
        calls.append("search" if look else "weights")
        return find_kept(samples, omit, look, cancel)

    monkeypatch.setattr(cpu, "find_kept", cancelled)
    monkeypatch.setattr(cpu, "compress_items", lambda *given: calls.append("compress") or compress_items(*given))
    if shared:
        made = plan.make_plan(problem, order, BACKENDS["cpu"], epochs=1, algorithm="auto", threads=1, safe_rate=True)
        list(compress_groups(problem, order, made, control, lambda tasks: [task(control.counter(0)) for task in tasks]))
    else:
        read_group(problem, order, 0, 3, control, compress=True)
    assert calls[0] == ("weights" if weighted else "compress")
    assert calls[-1] == "search"


def test_data_that_nothing_is_missing_from_are_not_looked_at_again(monkeypatch):
    def looked(*given):
        raise AssertionError("the samples were looked for")

    X, y = np.random.default_rng(0).standard_normal((50, 20, 2)), np.ones((50, 20))
    want = fastgd.fit(X, y, epochs=3)
    monkeypatch.setattr("fastgd.kernels.cpu.find_kept", looked)
    assert same(fastgd.fit(X, y, epochs=3, nan_policy="omit").w, want.w)
