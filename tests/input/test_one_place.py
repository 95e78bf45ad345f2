"""Whether rows hold one array."""

from __future__ import annotations

import numpy as np

from fastgd.input.one_place import in_one_place, parts_of


def test_arrays_at_one_place():
    w, b = np.zeros(3), np.zeros(())
    same = [[w, 1.0], [w[:], 2.0], [w.view(), 3.0]]
    assert in_one_place(same)
    assert in_one_place([*same, [np.ones(3), b, w]])
    assert not in_one_place([*same, [w[:2], 4.0]])
    assert not in_one_place([[w.copy(), 1.0] for _ in range(3)])
    assert not in_one_place([[1.0, 2.0]] * 3)  # numbers
    assert not in_one_place([])
    row = [0.0, 1.0]
    assert in_one_place([[row], [row]])
    assert not in_one_place([[row], [list(row)]])


def test_tensors_at_one_place(torch):
    w = torch.zeros(3, requires_grad=True)
    assert in_one_place([[w], [w.detach()], [w.data]])
    assert not in_one_place([[w], [w.detach().clone()]])
    assert not in_one_place([[w[1:]], [w[:-1]]])


def test_parts_of_a_row():
    w = np.zeros(2)
    assert parts_of([w, 1.0]) == [w, 1.0]
    assert parts_of([0.0, 1.0]) == [[0.0, 1.0]]
    assert parts_of(w)[0] is w
