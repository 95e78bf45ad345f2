"""The labels of groups: found again, in a frame, in a file."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

import fastgd
from fastgd.results.file_format import write_file
from tests.support.refusals import refused_call
from tests.support.values_that_raise import VALUES

X, Y = np.arange(1.0, 9), 2 * np.arange(1.0, 9)
LABELS = {
    "text with None": ["a", None, "a", "b", "b", "bär", None, ""],
    "text": np.array(["aa", "aa", "b", "b", "b", "c", "c", "c"]),
    "numbers": np.array([1, 1, 2, 2, 2, 3, 3, 3]),
    "floats": np.array([1.5, np.nan, np.nan, 2, 2, 2, 1.5, 1.5]),
    "days": np.array(["2020-01-01", "2020-01-01", "NaT", "NaT", "2021-05-05", "2021-05-05", "2021-05-05", "2021-05-05"], "M8[D]"),
    "years": np.array([50, 50, 51, 51, 51, 51, 51, 51]).astype("M8[Y]"),
    "spans": np.array([50, 50, 51, 51, 51, 51, 51, 51]).astype("m8[s]"),
    "two": (["a", "a", "b", "b", "b", "a", "a", "a"], np.array([1.0, 1, np.nan, np.nan, 2, 2, 2, 2])),
}


def fitted(labels, **options):
    return fastgd.fit_groups(X, Y, labels, epochs=3, lr=0.01, **options)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_files_keep_the_labels(labels, tmp_path):
    result = fitted(labels)
    result.save(tmp_path / "groups")
    back = fastgd.load(tmp_path / "groups")
    assert type(back) is fastgd.GroupResult
    for (name, ours), (same, theirs) in zip(result.keys.items(), back.keys.items(), strict=True):
        assert (name, ours.dtype) == (same, theirs.dtype)
        assert ours.tolist() == theirs.tolist() or np.array_equal(ours, theirs, equal_nan=True)
    assert (back.w == result.w).all()
    assert fitted(labels, state=back.state).status.tolist() == result.status.tolist()


def test_files_that_hold_no_labels(tmp_path):
    result, path = fitted(LABELS["numbers"]), tmp_path / "groups.npz"
    for keys, words in (
        ({}, "it has no labels of its groups"),
        ({"group": np.arange(2)}, "keys['group'] is no label for each of 3 groups"),
        ({"group": "abc"}, "keys['group'] is no label for each of 3 groups"),
    ):
        write_file(path, dataclasses.replace(result, keys=keys))
        refused_call(ValueError, re.escape(words), lambda: fastgd.load(path))
    for names in (("a", "b"), (3,)):
        write_file(path, dataclasses.replace(result, features=names))
        refused_call(ValueError, "features are not a name for each feature", lambda: fastgd.load(path))
    objects = fitted([(1, 2)] * 4 + [None] * 4)
    refused_call(TypeError, "keys.group has Python objects: only numbers, text and dates can be saved", lambda: objects.save(path))


def test_lengths_of_text_that_do_not_add_up(tmp_path, monkeypatch):
    from fastgd.results import file_format

    result, whole = fitted(LABELS["text"]), file_format._describe_labels
    for change in (lambda lengths: lengths + 1, lambda lengths: -2 * lengths):

        def wrong(values, name, arrays, change=change):
            node = whole(values, name, arrays)
            arrays[f"{name}.lengths"] = change(arrays[f"{name}.lengths"])
            return node

        monkeypatch.setattr(file_format, "_describe_labels", wrong)
        result.save(tmp_path / "wrong")
        refused_call(ValueError, "the lengths of its texts do not add up", lambda: fastgd.load(tmp_path / "wrong"))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_a_frame_has_the_labels(labels, library):
    result = fitted(labels)
    frame = result.to_frame(library)
    assert list(frame.columns)[: len(result.keys)] == list(result.keys)
    assert (
        frame["n_used"].to_list() == result.n_used.tolist() if library == "polars" else frame["n_used"].tolist() == result.n_used.tolist()
    )
    for name, labels_of in result.keys.items():
        found = frame[name].to_numpy()
        if labels_of.dtype.kind in "mM":
            kind = f"{labels_of.dtype.kind}8[ns]"
            assert np.array_equal(found.astype(kind).view(np.int64), labels_of.astype(kind).view(np.int64))
            continue
        for one, given in zip(found.tolist(), labels_of.tolist(), strict=True):
            missing = given is None or given != given
            assert (one is None or one != one) if missing else one == given


def test_a_frame_of_several_targets_and_rates():
    result = fastgd.fit_groups(X, np.stack([Y, -Y]), LABELS["numbers"], epochs=3, lr=np.array([0.01, 0.02, 0.03])[:, None, None])
    frame = result.to_frame()
    assert list(frame.columns)[:3] == ["axis_0", "axis_1", "group"]
    row = frame[(frame.axis_0 == 2) & (frame.axis_1 == 1) & (frame.group == 3)]
    assert row["w"].item() == result.w[2, 1, 2]


def test_labels_named_as_a_result():
    result = fitted({"loss": LABELS["numbers"]})
    refused_call(ValueError, "the groups have labels named 'loss', as a column of results is", result.to_frame)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_find(labels):
    result = fitted(labels)
    for place, key in enumerate(zip(*(labels.tolist() for labels in result.keys.values()), strict=True)):
        assert result.find(*(None if label != label else label for label in key)) == place


def test_what_is_not_found():
    refused_call(KeyError, "there is no group 9", lambda: fitted(LABELS["numbers"]).find(9))
    refused_call(KeyError, "there is no group None", lambda: fitted(LABELS["numbers"]).find(None))
    for label in (VALUES["equality"](), np.zeros(9)):  # which cannot be compared
        refused_call(KeyError, "there is no group", lambda label=label: fitted(LABELS["numbers"]).find(label))
    refused_call(TypeError, "find needs a label for each of 'group_0', 'group_1'; it has 1", lambda: fitted(LABELS["two"]).find("a"))
