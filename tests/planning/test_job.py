"""`prepare_anew`: from the arguments of `fit` to a job, before anything runs."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Adam
from fastgd.kernels.chunk import MOMENTS, STREAM
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.support.jobs import job_of, numbers
from tests.support.refusals import refused


def test_a_job_of_plain_options():
    job = job_of(numbers(5, 40, 3), numbers(5, 40), epochs=7, intercept=True, history=2, tol=1e-3, reduction="sum")
    assert (job.order.shape, job.order.n_fits, job.total, job.epochs, job.every, job.tol) == ((5,), 5, 35, 7, 2, 1e-3)
    assert (job.rule, job.reduction, job.runner) == (UPDATE_RULES["sgd"], "sum", "cpu")
    assert job.rates is None  # the safe rate of each fit
    assert job.begin["w"][0].tolist() == [0.0] * 4
    assert (job.provenance.backend, job.provenance.algorithm) == ("cpu", "moments")
    assert not job.recalled


def test_no_epochs_are_one_unit_of_progress():
    assert job_of([1.0, 2.0], [1.0, 2.0], epochs=0).total == 1


@pytest.mark.parametrize(
    ("optimizer", "one"),
    [(SGD(momentum=0.5), True), (SGD(momentum=[0.5, 0.6]), False), (Adam(betas=(0.5, np.float64(0.9))), True), ("rmsprop", True)],
)
def test_hyperparameters_that_all_fits_have_are_one_row(optimizer, one):
    job = job_of(numbers(2, 9, 1), numbers(2, 9), optimizer=optimizer)
    values = len(job.rule.hyperparameters) + len(job.rule.derived)
    assert len(job.hyper) == values
    assert (job.hyper_row is not None) == one
    if one:
        assert job.hyper_row.shape == (1, values)
        assert job.hyper_row[0].tolist() == [values.item() for values in job.hyper]


@pytest.mark.parametrize(
    ("X", "y", "options", "shape"),
    [
        ((9, 2), (9,), {}, ()),
        ((9, 2), (9,), {"lr": [0.1, 0.2]}, (2,)),
        ((4, 9, 2), (3, 1, 9), {"lr": 0.1}, (3, 4)),
        ((9, 2), (9,), {"optimizer": SGD(momentum=np.zeros((3, 1))), "lr": [0.1, 0.2]}, (3, 2)),
        ((9, 2), (9,), {"w0": np.zeros((5, 2))}, (5,)),
        ((9, 2), (9,), {"sample_weight": np.ones((6, 9))}, (6,)),
    ],
)
def test_the_shape_of_the_results(X, y, options, shape):
    job = job_of(numbers(*X), numbers(*y), **options)
    assert job.order.shape == shape
    assert job.buffers.layout.order is job.order


def test_a_state_keeps_its_algorithm():
    X, y = numbers(40, 3), numbers(40)
    assert job_of(X, y).plan.algorithm == MOMENTS
    state = fastgd.fit(X, y, algorithm="stream", epochs=1).state
    job = job_of(X, y, state=state)
    assert job.plan.algorithm == STREAM
    assert job.begin["steps"][0] == 1


def test_the_callers_memory_is_not_copied():
    X, y = numbers(5, 40, 3), numbers(5, 40)
    problem = job_of(X, y).problem
    assert np.shares_memory(problem.X.array, X)
    assert np.shares_memory(problem.y.array, y)


AXES = {  # {option: (its value for 64 fits, the same beside every fit)}
    "lr": lambda values, axes: {"lr": values[(slice(None), *axes)]},
    "momentum": lambda values, axes: {"optimizer": fastgd.SGD(momentum=(values / 100)[(slice(None), *axes)])},
    "betas[0]": lambda values, axes: {"optimizer": fastgd.Adam(betas=((values / 100)[(slice(None), *axes)], 0.9))},
    "w0": lambda values, axes: {"w0": np.stack([values, values], -1)[(slice(None), *axes)]},
}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("leading", [(5,), (4, 5)])
def test_values_for_every_fit_are_told_to_take_an_axis_of_their_own(name, leading):
    X, y = np.random.default_rng(0).standard_normal((*leading, 8, 2)), np.ones((*leading, 8))
    values, nones = np.linspace(0, 1, 64), ", ".join(["None"] * len(leading))
    pattern = rf"{re.escape(name)} \(64,\): for each of these {re.escape(name)} with every fit give {re.escape(name)}\[:, {nones}\]$"
    refused(ValueError, rf"^leading axes do not broadcast against each other: X and y .*{pattern}", X, y, **AXES[name](values, ()))
    assert fastgd.fit(X, y, epochs=1, **AXES[name](values, (None,) * len(leading))).loss.shape == (64, *leading)  # the advice works
