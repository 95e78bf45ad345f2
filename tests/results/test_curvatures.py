"""Conditions, stability limits, and which fits are looked at."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fastgd.data.fit_order import FitOrder
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.results.curvatures import Curvatures, joined
from tests.support.saved_files import same

SGD = list(UPDATE_RULES["sgd"].hyperparameters)


def curvatures(matrices, index=None, **options) -> Curvatures:
    """Of fits with these Hessians (k, D, D), by SGD with these options."""
    matrices = np.asarray(matrices, float)
    count, size = len(matrices), matrices.shape[1]
    hyper = np.zeros((count, len(SGD)))
    for name, value in options.items():
        hyper[:, SGD.index(name)] = value
    rows, columns = np.tril_indices(size)
    index = np.arange(count) if index is None else index
    return Curvatures(index, matrices[:, rows, columns], np.zeros((count, size), np.int64), np.ones(count), hyper)


def test_hessians_are_scaled_as_the_moments_are():
    given = curvatures([[[8.0, 2.0], [2.0, 5.0]]])
    other = dataclasses.replace(given, exponents=np.array([[1, -2]]), scale=np.array([0.5]))
    assert given.hessians().tolist() == [[[8.0, 2.0], [2.0, 5.0]]]
    assert other.hessians().tolist() == [[[16.0, 0.5], [0.5, 5 / 32]]]


def test_eigenvalues_and_conditions():
    """Of [[8, 2], [2, 5]] they are 9 and 4."""
    found = curvatures([[[8.0, 2.0], [2.0, 5.0]], [[1e6, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1e-300]]])
    eigenvalues = found.eigenvalues()
    assert np.abs(eigenvalues[0] - [4.0, 9.0]).max() <= 9 * 2 * 2.0**-44  # the bound of `eigenvalues`
    assert eigenvalues[1].tolist() == [4.0, 1e6]
    conditions = found.conditions(eigenvalues)
    assert (round(conditions[0], 9), *conditions[1:]) == (2.25, 250_000.0, np.inf, np.inf)


def test_numbers_beyond_float64_say_nothing():
    for entry, exponent in ((np.inf, 0), (np.nan, 0), (1.0, 600), (1.0, -600), (0.0, 0)):
        one = dataclasses.replace(curvatures([[[entry]]]), exponents=np.array([[exponent]]))
        eigenvalues = one.eigenvalues()
        assert np.isnan(eigenvalues).all()
        assert np.isnan(one.conditions(eigenvalues)).all()
        assert not one.above_limit("sgd", eigenvalues, np.array([1e300]), 0.0).any()


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_stability_limit_is_that_of_the_iteration(momentum, decay):
    """The spectral radius of a step (w, velocity), by NumPy."""
    curvature = 3.0
    found = curvatures([[[curvature]]], momentum=momentum, weight_decay=decay)
    limit = found.bounds("sgd")[0] / (curvature + decay)
    for share in (0.5, 0.999, 1.001, 2.0):
        rate, total = share * limit, curvature + decay
        step = np.array([[1 - rate * total, -rate * momentum], [total, momentum]])
        radius = np.abs(np.linalg.eigvals(step)).max()
        assert bool(found.above_limit("sgd", found.eigenvalues(), np.array([rate]), 0.0)[0]) == (radius > 1) == (share > 1)


def test_the_limit_itself_is_not_above_it():
    found = curvatures([[[15.0]]])  # of X = 1, 2, 3, 4
    for rate, eps, above in ((2 / 15, 0.0, False), (0.1334, 0.0, True), (2 / 15 * (1 + 2**-24), 2.0**-23, False), (np.nan, 0.0, False)):
        assert found.above_limit("sgd", found.eigenvalues(), np.array([rate]), eps).tolist() == [above]


def test_rules_without_such_a_limit():
    for options in ({"momentum": 1.0}, {"momentum": 0.5, "dampening": 0.1}, {"momentum": 0.5, "nesterov": 1.0}, {"maximize": 1.0}):
        assert np.isnan(curvatures([[[1.0]]], **options).bounds("sgd")).all()
    assert curvatures([[[1.0]]], dampening=0.5).bounds("sgd").tolist() == [2.0]  # which plays no part without momentum
    assert np.isnan(curvatures([[[1.0]]]).bounds("adam")).all()


def test_the_index_is_that_of_the_result():
    """y differs along the first axis, X along the last: its fits are computed first."""
    order, number = FitOrder.of((2, 3, 5), (5,), (2, 1, 1)), np.arange(30)
    assert not order.natural
    for tasks in (1, 4):
        parts = [curvatures(some[:, None, None], some) for some in np.array_split(number, tasks)[::-1]]
        found = joined(parts, order)
        assert found.index.tolist() == list(range(30))
        assert same(found.gram[:, 0].astype(int), order.restore(number).ravel())
