"""The order of an epoch is NumPy's stable argsort of Philox numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels import cpu
from fastgd.kernels.batch_order import order_of_epoch
from fastgd.kernels.cpu.minibatch.ordering import MOST_BITS, bits_for, sort_order
from tests.specification.arbiter_batches import order_of


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 31, 32, 33, 100, 1000])
def test_the_order_is_that_of_the_specification(n):
    for epoch, seed in ((0, 0), (1, 0), (0, 1), (7, 2**63 - 1)):
        order = np.empty(n, np.int32)
        cpu.write_order(epoch, seed, order, np.zeros(1, np.int32))
        assert order.tolist() == order_of(n, epoch, seed) == order_of_epoch(n, epoch, seed).tolist()


@pytest.mark.parametrize("bits", [1, 3, 10])
@pytest.mark.parametrize("largest", [1, 5, 2**64 - 1])
def test_equal_numbers_stay_in_order(bits, largest):
    """Few numbers, many of which are equal, in few buckets and in many."""
    numbers = np.random.default_rng(3).integers(0, largest, 500, np.uint64, endpoint=True)
    order = np.empty(500, np.int32)
    sort_order(numbers, bits, np.zeros(2**bits + 1, np.int32), order, np.zeros(1, np.int32))
    assert order.tolist() == np.argsort(numbers, kind="stable").tolist()


def test_buckets_are_as_many_as_numbers():
    assert [bits_for(n) for n in (1, 2, 3, 4, 5, 1024, 1025)] == [1, 1, 2, 2, 3, 10, 11]
    assert bits_for(2**40) == MOST_BITS


def test_a_raised_flag_ends_it():
    order = np.full(10, -1, np.int32)
    cpu.write_order(0, 0, order, np.ones(1, np.int32))
    assert (order == -1).all()
