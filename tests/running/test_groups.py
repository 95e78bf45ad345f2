"""Groups: the data of a piece of work, without a copy where that is possible."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.running.groups import gather_group, samples_of_all
from tests.support.jobs import job_of, numbers


def data_of(samples, fit):
    """X and y of one fit of a group."""
    return samples.X[samples.x_index[fit]], samples.y[samples.y_index[fit]]


CASES = {  # (shape of X, shape of y, options)
    "own data": ((6, 9, 2), (6, 9), {}),
    "shared X": ((9, 2), (6, 9), {}),
    "shared y": ((6, 9, 2), (9,), {}),
    "a grid of rates": ((6, 9, 2), (6, 9), {"lr": [[0.1], [0.2]]}),
    "X of rows, y of columns": ((3, 9, 2), (2, 1, 9), {}),
    "weights": ((6, 9, 2), (6, 9), {"sample_weight": np.arange(54.0).reshape(6, 9)}),
}


@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_each_fit_has_its_data(case, contiguous):
    x_shape, y_shape, options = CASES[case]
    X, y = numbers(*x_shape), numbers(*y_shape)
    job = job_of(X, y, **options)
    order, n_pairs = job.order, job.order.n_pairs
    whole_x = np.broadcast_to(X, (*order.shape, 9, 2))
    whole_y = np.broadcast_to(y, (*order.shape, 9))
    numbered = np.arange(order.n_fits)
    places = np.empty(order.n_fits, np.int64)  # of the fits in the caller's order
    places[order.restore(numbered).ravel()] = np.arange(order.n_fits)
    first, stop = 1, n_pairs
    group = gather_group(job.problem, order, first, stop, contiguous)
    begin, end = first * order.n_cells, stop * order.n_cells
    samples, pairs = group.of_fits(order, begin, end)
    assert pairs.tolist() == [fit // order.n_cells - first for fit in range(begin, end)]
    for fit in range(begin, end):
        where = np.unravel_index(places[fit], order.shape)
        found_x, found_y = data_of(samples, fit - begin)
        assert np.array_equal(found_x, whole_x[where])
        assert np.array_equal(found_y, whole_y[where])
        if "sample_weight" in options:
            assert np.array_equal(samples.weights[samples.weight_index[fit - begin]], options["sample_weight"][where])
    assert not group.invalid.any()
    assert (samples.n_used == 9).all()
    assert (samples.kept_index == -1).all()


def test_data_in_order_are_views():
    X, y = numbers(6, 9, 2), numbers(6, 9)
    job = job_of(X, y)
    group = gather_group(job.problem, job.order, 2, 5)
    assert group.in_order
    assert np.shares_memory(group.samples.X, X)
    assert np.array_equal(group.samples.X, X[2:5])
    assert not group.samples.X.flags.writeable
    of_one = job_of(X[0], y)
    group = gather_group(of_one.problem, of_one.order, 2, 5)
    assert group.in_order
    assert np.shares_memory(group.samples.X, X)
    assert group.samples.x_index.tolist() == [0, 0, 0]
    for other in (job_of(X, y, sample_weight=np.ones(9)), job_of(X, y[0])):
        assert not gather_group(other.problem, other.order, 2, 5).in_order


def test_a_single_feature_is_not_copied_where_its_samples_lie_apart():
    """Of moments: moments/single_feature.py copies eight fits at a time."""
    t, cube = numbers(9), numbers(9, 6)
    job = job_of(t, cube.T)
    for for_moments in (False, True):
        group = gather_group(job.problem, job.order, 2, 5, for_moments=for_moments)
        assert np.shares_memory(group.samples.y, cube) == for_moments
        assert np.array_equal(group.samples.y, cube.T[2:5])


def test_converted_data_that_lie_far_apart_are_copied_one_by_one():
    """Two of a thousand items: not the thousand in between."""
    X, y = (1000 * numbers(1000, 9, 2)).astype(np.int16), numbers(2, 1000, 9)
    job = job_of(X, y)
    group = gather_group(job.problem, job.order, 0, 3)
    assert group.samples.X.dtype == np.float64
    assert len(group.samples.X) <= 3


def test_all_samples_lie_where_they_are():
    X, y = numbers(9, 2), numbers(6, 9)
    job = job_of(X, y)
    samples = samples_of_all(job.problem, job.order)
    assert np.shares_memory(samples.X, X)
    assert np.shares_memory(samples.y, y)
    assert samples.x_index.tolist() == [0] * 6
    assert samples.y_index.tolist() == list(range(6))
