"""FitOrder (fastgd/data/fit_order.py) against plain NumPy broadcasting, on shapes that hypothesis
draws; always the same ones."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from fastgd.data.fit_order import FitOrder

same_every_time = settings(derandomize=True, deadline=None, max_examples=300, database=None)


# leading shapes of X, of y, of two hyperparameters
shapes = mutually_broadcastable_shapes(num_shapes=4, max_dims=5, max_side=4)


def order_of(drawn) -> tuple[FitOrder, list[tuple[int, ...]]]:
    return FitOrder.of(drawn.result_shape, *drawn.input_shapes[:2]), list(drawn.input_shapes)


def numbers(shape, *tail) -> np.ndarray:
    return np.arange(math.prod(shape) * math.prod(tail)).reshape((*shape, *tail))


@same_every_time
@given(shapes, st.integers(0, 3))
def test_pick_and_restore_are_broadcasting(drawn, tail):
    """What is picked in the order of computation and put back is what NumPy broadcasts; with axes
    of its own behind, too."""
    order, inputs = order_of(drawn)
    fits = np.arange(order.n_fits)
    own = (2, 3, 2)[:tail]
    for leading in [*inputs, drawn.result_shape]:
        values = numbers(leading, *own)
        picked = order.pick(values, fits, tail)
        assert picked.shape == (order.n_fits, *own)
        np.testing.assert_array_equal(order.restore(picked), np.broadcast_to(values, (*drawn.result_shape, *own)))


@same_every_time
@given(shapes, st.randoms(use_true_random=False))
def test_index_of_some_fits_is_some_of_the_index(drawn, random):
    order, inputs = order_of(drawn)
    fits = np.array([random.randrange(order.n_fits) for _ in range(9)])
    for leading in [*inputs, drawn.result_shape]:
        whole = order.index(leading, np.arange(order.n_fits))
        assert whole.dtype == np.int64
        np.testing.assert_array_equal(order.index(leading, fits), whole[fits])
        assert sorted(set(whole.tolist())) == list(range(math.prod(leading)))


@same_every_time
@given(shapes)
def test_restore_is_a_permutation_without_a_copy(drawn):
    order, _ = order_of(drawn)
    values = np.arange(order.n_fits * 3).reshape(order.n_fits, 3)
    restored = order.restore(values)
    assert restored.shape == (*drawn.result_shape, 3)
    assert np.shares_memory(restored, values)
    assert sorted(restored.ravel().tolist()) == list(range(order.n_fits * 3))


@same_every_time
@given(shapes)
def test_fits_of_one_pair_stand_together(drawn):
    """Fit f has the data of pair f // n_cells; there are as many pairs as different couples of an X
    and a y."""
    order, (x_shape, y_shape, *_) = order_of(drawn)
    fits = np.arange(order.n_fits)
    assert order.n_pairs * order.n_cells == order.n_fits == math.prod(drawn.result_shape)
    couples = np.stack([order.index(x_shape, fits), order.index(y_shape, fits)], axis=1)
    np.testing.assert_array_equal(couples, couples[fits // order.n_cells * order.n_cells])
    assert len(np.unique(couples, axis=0)) == order.n_pairs
