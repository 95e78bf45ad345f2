"""Which fits can be explained: all of a few, and of many some that no grid is in step with."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.planning.explained import MOST, spread_over


@pytest.mark.parametrize("n_fits", [0, 1, 5, MOST])
def test_all_of_a_few(n_fits):
    assert spread_over(n_fits, MOST).tolist() == list(range(n_fits))


@pytest.mark.parametrize("n_fits", [MOST + 1, 1000, 4096, 10**6, 10**11])
def test_of_many_some_at_even_distances(n_fits):
    found = spread_over(n_fits, MOST)
    gaps = np.diff([-1, *found, n_fits])
    assert found.dtype == np.int64
    assert MOST / 2 < len(found) <= MOST
    assert gaps.min() >= 1
    # k multiples of the golden ratio, modulo 1, are at most (1 + 2/√5)/k apart (three distances)
    assert gaps.max() <= (1 + 2 / 5**0.5) * n_fits / MOST + 1


@pytest.mark.parametrize("length", [2, 3, 7, 8, 10, 64])
def test_no_grid_is_in_step(length):
    """Of a grid whose last axis has this length every place is met, about equally often."""
    counts = np.bincount(spread_over(64 * 10_000, MOST) % length, minlength=length)
    assert counts.min() >= 1
    assert counts.max() <= 3 * MOST / length


def test_fewer_of_the_same_call_are_a_part_of_more():
    assert set(spread_over(10**5, 50)) <= set(spread_over(10**5, MOST))
