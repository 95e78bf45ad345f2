"""The arrays of a call are found wherever they are in its arguments."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

import fastgd
from fastgd.input.arguments import arrays_given, holds_a_place_twice, same_place


class Wrapped:
    """An array behind `__array__`, as xarray's are."""

    def __init__(self, array):
        self.array = array
        self.read = 0

    def __array__(self, *args, **options):
        self.read += 1
        return self.array


def found(value, **options):
    return dict(arrays_given(value, "it", None, **options))


HERE = np.arange(4.0)
PLACES = {
    "an array": (HERE, "it"),
    "of a library": (Wrapped(HERE), "it"),
    "in a list": ([1.0, HERE], "it[1]"),
    "in lists": ([[1.0, (2.0, HERE)]], "it[0][1][1]"),
    "in a deque": (deque([HERE]), "it[0]"),
    "in a mapping": ({"y": HERE}, "it['y']"),
    "in an optimizer": (fastgd.SGD(momentum=HERE), "it.momentum"),
    "in a pair of an optimizer": (fastgd.Adam(betas=(0.9, HERE)), "it.betas[1]"),
    "masked": (np.ma.masked_array(HERE, [0, 0, 1, 0]), "it"),
}


@pytest.mark.parametrize(("value", "name"), PLACES.values(), ids=PLACES)
def test_arrays_are_found_and_not_copied(value, name):
    assert np.shares_memory(found(value)[name], HERE)


def test_masks_tensors_and_frames(torch):
    masked = np.ma.masked_array(HERE, [0, 0, 1, 0])
    assert np.shares_memory(found(masked)["the mask of it"], masked.mask)
    tensor = torch.arange(3.0, requires_grad=True)
    assert found(tensor)["it"].__array_interface__["data"][0] == tensor.data_ptr()
    frame = pytest.importorskip("pandas").DataFrame({"a": HERE, "b": np.float32([1, 2, 3, 4])})
    columns = found(frame)
    assert all(np.shares_memory(columns[f"it[{label!r}]"], frame[label].to_numpy()) for label in "ab")


@pytest.mark.parametrize("value", [None, 3, 2.5, "cpu", print, fastgd.SGD, np.float64(3), [1, 2.5], range(3), fastgd.Adam()], ids=str)
def test_what_is_no_array(value):
    assert found(value) == {}


def test_numbers_that_were_read_already_are_not_read_again():
    one = Wrapped(HERE)
    assert found(one, lazily=True) == {}
    assert one.read == 0


def test_the_same_place():
    room = np.zeros((3, 4))
    assert same_place(room[:1], room[None, 0])
    for other in (room[::-1], room[:2], room.T, room.view(np.int64), room.copy(), room.reshape(4, 3)):
        assert not same_place(room, other)


def test_entries_in_one_place():
    room = np.zeros((4, 6))
    for fine in (room, room.T, room[::2, ::-3], room[:, None], room[:0], np.zeros(()), np.zeros((2, 1), "f4")[:, [0]]):
        assert not holds_a_place_twice(fine)
    assert holds_a_place_twice(np.broadcast_to(room, (2, 4, 6)))
    assert holds_a_place_twice(np.lib.stride_tricks.as_strided(room, (3, 3), (8, 8)))
    assert holds_a_place_twice(np.lib.stride_tricks.as_strided(room, (3,), (4,)))
