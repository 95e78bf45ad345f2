"""How leading axes broadcast, and which of them only repeat."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.input.shapes import broadcast, without_repeats


@pytest.mark.parametrize("shapes", [[(3,), (2, 1)], [(), (4,)], [(1, 5), (3, 1, 1)], [(2,), (2,), ()]])
def test_shapes_broadcast_as_in_numpy(shapes):
    assert broadcast({str(k): shape for k, shape in enumerate(shapes)}) == np.broadcast_shapes(*shapes)


def test_shapes_that_do_not_are_named():
    with pytest.raises(ValueError, match=r"do not broadcast against each other: lr \(64,\), X and y \(5,\)$"):
        broadcast({"lr": (64,), "X and y": (5,), "momentum": ()})


def test_axes_that_repeat_have_length_1():
    rows = np.arange(6.0).reshape(2, 1, 3)
    repeated = np.broadcast_to(rows, (7, 2, 4, 3))
    seen = without_repeats(repeated, 1)
    assert seen.shape == (1, 2, 1, 3)
    assert np.array_equal(seen[0], rows)
    assert without_repeats(np.broadcast_to(1.0, (4, 3)), 1).shape == (1, 3)  # the last axis stays
