"""Minimisers of a group: which stage a fit takes, what is solved together, and long fits."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import fastgd
from fastgd.kernels.chunk import LSTSQ, MOMENTS
from fastgd.running import minimisers
from fastgd.running.minimisers import Minimisers, minimise
from fastgd.running.moments import read_group
from fastgd.running.pool import Control
from tests.support.jobs import numbers


def group_of(X, y, **options):
    """(problem, group with moments) of a call of `solve`."""
    from fastgd.planning.job import prepare_solve

    given = {name: parameter.default for name, parameter in inspect.signature(fastgd.solve).parameters.items()}
    job = prepare_solve(given | {"X": X, "y": y} | options)
    return job.problem, read_group(job.problem, job.order, 0, job.order.n_pairs, Control(1), compress=True)


def minimised(X, y, pairs, decay=None, **options):
    problem, group = group_of(X, y, **options)
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
    monkeypatch.setattr(minimisers, "_read", None)
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
    monkeypatch.setattr(minimisers, "STACK_NUMBERS", 300)
    calls, real = [], minimisers._solve_long
    monkeypatch.setattr(minimisers, "_solve_long", lambda *a: calls.append(a) or real(*a))
    problem, group = group_of(X, y, **given)
    group.moments = None  # all from samples
    found = Minimisers.empty(1, problem.n_parameters)
    decay = np.array(options.get("decay", [0.0]))
    minimise(problem, group, np.zeros(1, np.int64), decay, False, found, np.zeros(1, np.int64), Control(1), np.zeros(1, np.int64))
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

    def read(*given, real=minimisers._read):
        control.cancel[0] = 1
        return real(*given)

    monkeypatch.setattr(minimisers, "_read", read)
    minimise(problem, group, np.arange(50), np.zeros(50), False, Minimisers.empty(50, 2), np.arange(50), control, counter)
    assert counter[0] == 2
