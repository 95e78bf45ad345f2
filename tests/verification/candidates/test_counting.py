"""w at every epoch of code that gives the last one alone."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fastgd.verification.candidates.counting import SameRandom, rows_after


def test_the_same_random_numbers_again(torch):
    same = SameRandom()

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    first = draw()
    assert draw() != first
    same.again()
    assert draw() == first


def test_rows_after_more_and_more_epochs():
    rows, at = rows_after(lambda count: np.full(2, float(count)), range(4), np.zeros(2), [])
    assert rows.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert at.tolist() == [0, 1, 2, 3]


def test_the_start_stands_where_no_epochs_do_not_work():
    notes = []
    rows, _ = rows_after(lambda count: np.full(1, 1 / count), [0, 2, 4], np.array([7.0]), notes)
    assert rows[:, 0].tolist() == [7, 0.5, 0.25]
    assert notes == ["for no epochs it has no w: the start was put there"]
    with pytest.raises(KeyError):
        rows_after(lambda count: {}[count], [1], np.zeros(1), [])


def test_code_that_stops_by_itself():
    notes = []
    rows, at = rows_after(lambda count: np.full(1, float(min(count, 3))), range(9), np.zeros(1), notes)
    assert (rows[:, 0].tolist(), at.tolist()) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert notes == ["it stops by itself: from epoch 3 on its last w is the same"]
    rows, at = rows_after(lambda count: np.full(1, float(min(count, 3))), [0, 2, 4, 6], np.zeros(1), [])
    assert at.tolist() == [0, 2]  # it stopped between 2 and 4
    rows, at = rows_after(lambda count: np.ones(1), range(4), np.zeros(1), [])
    assert len(rows) == 4  # it never moves
    rows, at = rows_after(lambda count: np.full(1, float(count)), range(4), np.zeros(1), [])
    assert len(rows) == 4
