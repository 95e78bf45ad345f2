"""Minimisers of a group: which stage a fit takes, what is solved together, and long fits."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest

import fastgd
from fastgd.data.fit_order import FitOrder
from fastgd.kernels.chunk import LSTSQ, MOMENTS
from fastgd.running import minimisers, samples
from fastgd.running.minimisers import LastMatrices, Minimisers, minimise
from fastgd.running.moments import read_group
from fastgd.running.pool import Control
from tests.support.jobs import numbers


def group_of(X, y, **options):
    """(problem, group with moments) of a call of `solve`."""
    from fastgd.planning.solve_job import prepare_solve

    given = {name: parameter.default for name, parameter in inspect.signature(fastgd.solve).parameters.items()}
    job = prepare_solve(given | {"X": X, "y": y} | options)
    return job.problem, read_group(job.problem, job.order, 0, job.order.n_pairs, Control(1), compress=True)


def minimised(X, y, pairs, decay=None, from_samples=False, **options):
    """The minimisers of some fits; from_samples: all of them from their samples."""
    problem, group = group_of(X, y, **options)
    if from_samples:
        group.moments = None
    found, pairs = Minimisers.empty(len(pairs), problem.n_parameters), np.array(pairs)
    decay = np.zeros(len(pairs)) if decay is None else np.array(decay)
    minimise(problem, group, pairs, decay, False, found, np.arange(len(pairs)), Control(1), np.zeros(1, np.int64))
    return found


def test_some_fits_of_a_group():
    """From moments, from moments of shifted columns, from samples: as `solve` gives them."""
    X, y = numbers(6, 20, 2), numbers(6, 20)
    X[1] += 1e9
    X[2, :, 1] = X[2, :, 0]
    whole = fastgd.solve(X, y, intercept=True, weight_decay=np.array([0, 0, 0, 0.5, 0, 0]))
    found = minimised(X, y, [2, 3, 1, 5], [0.0, 0.5, 0.0, 0.0], intercept=True)
    order = [2, 3, 1, 5]
    assert found.w.tolist() == whole.state.w[order].tolist()
    assert found.loss.tolist() == whole.loss[order].tolist()
    assert found.rank.tolist() == whole.rank[order].tolist() == [2, 3, 3, 3]
    assert found.condition.tolist() == whole.condition[order].tolist()
    assert found.algorithm.tolist() == [LSTSQ, MOMENTS, MOMENTS, MOMENTS]


def test_ordinary_fits_are_read_once(monkeypatch):
    monkeypatch.setattr(minimisers, "compress_shifted", None)
    monkeypatch.setattr(minimisers, "read_samples", None)
    assert (minimised(numbers(9, 20, 2), numbers(9, 20), range(9), intercept=True).algorithm == MOMENTS).all()


@pytest.mark.parametrize("options", [{}, {"intercept": True}, {"weighted": True}, {"decay": [0.3]}])
def test_a_long_fit_has_the_answer_of_its_samples_at_once(options, monkeypatch):
    """Rank, and numbers within LAPACK's 30 max(n, D) u κ for each way; κ is below 20 here."""
    X, y = numbers(1, 400, 4), numbers(1, 400)
    X[:, :, 3] = X[:, :, 2]
    given = {"intercept": options.get("intercept", False)}
    if "weighted" in options:
        given["sample_weight"] = np.abs(numbers(1, 400)) + 0.125
    at_once = minimised(X, y, [0], options.get("decay"), **given)
    for module in (minimisers, samples):
        monkeypatch.setattr(module, "STACK_NUMBERS", 300)
    calls, real = [], minimisers._solve_long
    monkeypatch.setattr(minimisers, "_solve_long", lambda *a: calls.append(a) or real(*a))
    found = minimised(X, y, [0], options.get("decay"), from_samples=True, **given)
    assert len(calls) == 1
    room = 2 * 30 * 400 * 2.0**-53 * 20
    assert np.abs(found.w - at_once.w).max() <= room * np.abs(at_once.w).max()
    assert abs(found.loss - at_once.loss) <= room * at_once.loss
    if "decay" not in options:
        assert found.rank == at_once.rank
        assert abs(found.condition / at_once.condition - 1) <= room


def test_a_raised_flag_ends_the_work(monkeypatch):
    X, y = numbers(50, 20, 2), numbers(50, 20)
    X[:, :, 1] = X[:, :, 0]
    problem, group = group_of(X, y)
    control, counter = Control(1), np.zeros(1, np.int64)
    monkeypatch.setattr(minimisers, "STACK_NUMBERS", 80)  # stacks of two

    def read(*given, real=minimisers.read_samples):
        control.cancel[0] = 1
        return real(*given)

    monkeypatch.setattr(minimisers, "read_samples", read)
    minimise(problem, group, np.arange(50), np.zeros(50), False, Minimisers.empty(50, 2), np.arange(50), control, counter)
    assert counter[0] == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_long_fits_of_one_x_are_factored_together(weighted, monkeypatch):
    """Once for all of them, with the bits of each alone, and the answers of the stacks."""
    X, y = numbers(900, 4), numbers(12, 900)
    X[:, 3] = X[:, 2]
    options = {"intercept": True} | ({"sample_weight": np.abs(numbers(900)) + 0.125} if weighted else {})
    short = minimised(X, y, range(12), from_samples=True, **options)
    for module in (minimisers, samples):
        monkeypatch.setattr(module, "STACK_NUMBERS", 1_500)  # three blocks
    calls, real = [], np.linalg.qr
    monkeypatch.setattr(np.linalg, "qr", lambda *a: calls.append(a) or real(*a))
    found = minimised(X, y, range(12), from_samples=True, **options)
    assert len(calls) == 3
    for name in ("w", "loss", "condition"):
        want = getattr(short, name)
        assert (np.abs(getattr(found, name) - want) <= 1e-12 * np.abs(want).max()).all()
    assert found.rank.tolist() == short.rank.tolist() == [4] * 12
    for fit in (0, 7, 11):
        alone = minimised(X, y, [fit], from_samples=True, **options)
        assert alone.w[0].tolist() == found.w[fit].tolist()
        assert alone.loss[0] == found.loss[fit]
        assert alone.condition[0] == found.condition[fit]


def test_long_fits_of_few_targets_are_solved_with_their_own_x(monkeypatch):
    """Fits of other X in one group: each has the bits of it alone."""
    X, y = numbers(3, 400, 4), numbers(3, 400)
    for module in (minimisers, samples):
        monkeypatch.setattr(module, "STACK_NUMBERS", 300)
    found = minimised(X, y, range(3), from_samples=True)
    assert found.w.tolist() == [minimised(X, y, [fit], from_samples=True).w[0].tolist() for fit in range(3)]


def test_only_who_needs_the_same_matrices_waits():
    last, made, a, b = LastMatrices(FitOrder.of((2,), (2,), (2,)), (2,)), [], np.array([0]), np.array([1])
    begun, go_on = threading.Event(), threading.Event()

    def slowly():
        begun.set()
        assert go_on.wait(30)
        return "of a"

    threads = [threading.Thread(target=lambda: made.append(last.find(a, 0.0, slowly)))]
    threads[0].start()
    assert begun.wait(30)
    threads.append(threading.Thread(target=lambda: made.append(last.find(a, 0.0, lambda: "a second time"))))
    threads[1].start()
    threads[1].join(0.2)
    assert threads[1].is_alive()
    others = [threading.Thread(target=lambda: made.append(last.find(b, 0.0, lambda: "of b")))]
    others[0].start()
    others[0].join(30)
    assert made == ["of b"]
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert made == ["of b", "of a", "of a"]
    assert last.find(b, 0.0, lambda: "again") == "of b"


@pytest.mark.parametrize("n", [2, 5])
def test_numbers_near_the_largest_give_a_status(n):
    """No warning (which would be an error here), and no error of LAPACK."""
    largest = np.array([1.5e308, -1.7e308, 1e308, 1.0, -1e308])[:n]
    assert fastgd.solve(numbers(n, 3), largest, sample_weight=np.full(n, 1.9)).status == fastgd.Status.DIVERGED
    X = 1.7e308 * np.sign(numbers(n, 3))
    assert np.isfinite(fastgd.solve(X, numbers(n), sample_weight=np.full(n, 1.9)).w).all()
