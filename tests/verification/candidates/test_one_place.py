"""How often a list of rows holds one array."""

from __future__ import annotations

import numpy as np

from fastgd.verification.candidates.one_place import times_one_array


def test_how_often_a_list_holds_one_array():
    w, losses = np.zeros(2), [3.0, 2.0, 1.0]
    assert times_one_array([w] * 3) == 3
    assert times_one_array(([w[:]] * 3, losses)) == 3
    assert times_one_array([(w, 0.0), (w, 1.0)]) == 2
    assert times_one_array({"w_history": [w] * 4, "loss": losses}) == 4
    assert times_one_array([{"weight": w[:], "loss": loss} for loss in losses]) == 3
    params = {"w": 0.0, "b": 1.0}
    assert times_one_array([params] * 3) == 3
    assert times_one_array([dict(params) for _ in range(3)]) == 0
    assert times_one_array([{"data": w, "weight": w.copy()} for _ in range(3)]) == 0  # no weight of theirs
    assert times_one_array([w.copy() for _ in range(3)]) == 0
    assert times_one_array([w]) == times_one_array(np.zeros((3, 2))) == times_one_array({"loss": losses}) == 0
