"""A fingerprint is that of the numbers, text and objects; what cannot be compared is refused."""

from __future__ import annotations

import datetime

import numpy as np
import pandas
import polars
import pytest

import fastgd
from fastgd.input import fingerprints
from fastgd.input.fingerprints import fingerprint

A = np.arange(24.0).reshape(2, 3, 4)
DIFFERENT = {  # values that all differ from each other
    "None": None, "True": True, "1": 1, "1.0": 1.0, "0.0": 0.0, "-0.0": -0.0, "nan": float("nan"), "text": "1", "bytes": b"1",
    "list": [1], "list of lists": [[1]], "two": [1, 1], "mapping": {"a": 1}, "mapping of another": {"b": 1},
    "in another order": {"a": 1, "b": 2},
    "the other order": {"b": 2, "a": 1}, "array": A, "of float32": A.astype("f4"), "of another shape": A.reshape(6, 4), "negative": -A,
    "masked": np.ma.array(A, mask=A == 5), "masked elsewhere": np.ma.array(A, mask=A == 6), "objects": np.array(["a", None], object),
    "other objects": np.array(["b", None], object), "words": np.array(["a", "b"]), "dates": np.array(["2020-01-01"], "M8[D]"),
    "days": np.array([datetime.date(2020, 1, 1)]), "SGD": fastgd.SGD(), "SGD 0.1": fastgd.SGD(lr=0.1),
    "Adam": fastgd.Adam(), "the class": fastgd.SGD, "schedule": fastgd.schedules.StepLR(3), "another": fastgd.schedules.StepLR(4),
    "result": fastgd.Status.COMPLETED,
}  # fmt: skip


def test_all_that_differ_are_told_apart():
    found = {name: fingerprint(value, "value").digest for name, value in DIFFERENT.items()}
    assert len(set(found.values())) == len(found)
    assert found == {name: fingerprint(value, "value").digest for name, value in DIFFERENT.items()}


def test_neighbours_are_kept_apart():
    assert fingerprint(["ab", "c"], "value").digest != fingerprint(["a", "bc"], "value").digest


@pytest.mark.parametrize("piece", [1, 100, 2**24])
def test_the_layout_and_the_library_do_not_count(piece, monkeypatch):
    monkeypatch.setattr(fingerprints, "PIECE", piece)
    same = fingerprint(A, "X").digest
    assert fingerprint(np.asfortranarray(A), "X").digest == fingerprint(np.repeat(A, 2, axis=1)[:, ::2], "X").digest == same
    changed = A.copy()
    changed[-1, -1, -1] += 1
    assert fingerprint(changed, "X").digest != same


def test_what_a_mask_hides_does_not_count():
    one, other = np.ma.array(A, mask=A == 5), np.ma.array(np.where(A == 5, 7.0, A), mask=A == 5)
    assert fingerprint(one, "X").digest == fingerprint(other, "X").digest


def test_frames_and_tensors(torch):
    assert fingerprint(torch.from_numpy(A), "X").digest == fingerprint(A, "X").digest
    columns = {"a": [1.0, 2.0], "b": [3, 4]}
    frames = [kind(columns) for kind in (pandas.DataFrame, polars.DataFrame)]
    assert len({fingerprint(frame, "points").digest for frame in frames}) == 1
    assert fingerprint(polars.DataFrame({"a": [1.0, 2.0], "b": [3, 5]}), "points").digest != fingerprint(frames[0], "points").digest


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (lambda epoch: 0.1, "schedule is, or has, a function"),
        (fastgd.schedules.LambdaLR(lambda epoch: 1.0), "schedule.lr_lambda is, or has, a function"),
        ({"lr": [0.1, print]}, "schedule\\['lr'\\] is, or has, a builtin_function_or_method"),
        (object(), "schedule is, or has, a object"),
        (np.array([object()], object)[0], "schedule is, or has, a object"),
    ],
)
def test_what_cannot_be_compared_is_refused(value, named):
    with pytest.raises(TypeError, match=f"^{named}, and a checkpoint cannot tell whether a later call has the same: "):
        fingerprint(value, "schedule")


def test_a_value_in_words():
    assert [fingerprint(value, "value").words for value in (0.1, A, fastgd.SGD())] == ["0.1", "an array (2, 3, 4) of float64", "<SGD>"]
