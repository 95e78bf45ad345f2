"""Items of an array, handed out in order, whatever its layout."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from fastgd.data.fit_order import FitOrder
from fastgd.data.problem import Problem
from fastgd.input.arrays import arrive

same_every_time = settings(derandomize=True, deadline=None, max_examples=300, database=None)


def numbers(shape, *tail) -> np.ndarray:
    return np.arange(math.prod(shape) * math.prod(tail)).reshape((*shape, *tail))


@same_every_time
@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), st.booleans(), st.data())
def test_items_are_handed_out_in_order(drawn, repeated, data):
    """Problem.read, Items.take and Items.convert: item i is the i-th X (or y) that is different, as
    a contiguous read-only array."""
    x_shape, y_shape = drawn.input_shapes
    X, y = numbers(x_shape, 5, 2).astype(float), -numbers(y_shape, 5).astype(float)
    if repeated:
        X, y = np.broadcast_to(X, (*drawn.result_shape, 5, 2)), np.broadcast_to(y, (*drawn.result_shape, 5))
    backwards = tuple(slice(None, None, data.draw(st.sampled_from([1, -1]))) for _ in range(X.ndim - 2))
    X = X[backwards]
    problem = Problem.read(arrive(X=X if X.ndim != 2 or y.ndim == 1 else X[None], y=y), intercept=False, dtype=None)
    assert problem.leading == drawn.result_shape or X.ndim == 2
    order = FitOrder.of(problem.leading, problem.X.leading, problem.y.leading)
    fits = np.arange(order.n_fits)
    for items, whole in ((problem.X, X), (problem.y, y)):
        assert items.count <= max(1, math.prod(whole.shape[: whole.ndim - len(items.item)]))
        taken = items.take(0, items.count, contiguous=True)
        assert taken.flags.c_contiguous
        assert not taken.flags.writeable
        every = order.restore(taken[order.index(items.leading, fits)])
        np.testing.assert_array_equal(every, np.broadcast_to(whole, every.shape))
        first = data.draw(st.integers(0, items.count - 1))
        stop = data.draw(st.integers(first + 1, items.count))
        np.testing.assert_array_equal(items.take(first, stop), taken[first:stop])
        assert not items.take(first, stop).flags.writeable
        converted = np.empty((stop - first, *items.item))
        items.convert(first, stop, converted)
        np.testing.assert_array_equal(converted, taken[first:stop])
