"""Which rows belong to which group: by a dictionary of Python's, whatever the labels are."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from fastgd.data.labels import Groups, columns_of_labels, groups_of_labels, groups_of_offsets, order_of, read_labels
from tests.support.refusals import refused_call

NAN, NAT = float("nan"), np.datetime64("NaT")
LABELS = {
    "sorted": np.repeat([3, 5, 9], [2, 1, 4]),
    "apart": np.array([2, 1, 2, 2, 7, 1, 7]),
    "far apart": np.array([2**62, -(2**62), 2**62, 0, 5, -(2**62), 0]),
    "small": np.array([-128, 127, -128, 127, 0, 0, 127], np.int8),
    "without sign": np.array([2**64 - 1, 2**64 - 2, 2**64 - 1, 2**64 - 2, 2**64 - 2, 2**64 - 1, 2**64 - 1], np.uint64),
    "switches": np.array([True, False, False, True, True, False, True]),
    "floats": np.array([0.5, -0.0, 0.0, NAN, 0.5, NAN, np.inf]),
    "masked": np.ma.array([4, 4, 4, 5, 5, 5, 4], mask=[0, 1, 0, 0, 1, 1, 0]),
    "text": np.array(["bb", "a", "a", "bb", "", "a", ""]),
    "objects": ["b", None, ("a", 1), "b", None, NAN, ("a", 1)],
    "a list of text": ["N1", "N1", "N2", "N2", "N1", "N3", "N3"],
    "pandas": pd.Series(["x", pd.NA, "x", "y", None, "y", "x"]),
    "categories": pd.Series(["lo", "hi", "lo", None, "hi", "hi", "lo"], dtype="category"),
    "dates": np.array(["2020-01-01", "NaT", "2020-01-02", "2020-01-01", "NaT", "2020-01-02", "2020-01-02"], "M8[D]"),
    "one row each": np.arange(7)[::-1],
    "all equal": np.zeros(7, int),
}


def by_hand(*columns):
    """{tuple of labels: its rows}, in the order of first appearance; None for what is missing."""
    found = {}
    for row, labels in enumerate(zip(*columns, strict=True)):
        key = tuple(None if label is None or label is pd.NA or label is np.ma.masked or label != label else label for label in labels)
        found.setdefault(key, []).append(row)
    return found


def rows_of(groups: Groups, n_rows: int):
    rows = np.arange(n_rows) if groups.rows is None else groups.rows
    return [rows[start : start + size].tolist() for start, size in zip(groups.starts, groups.sizes, strict=True)]


def plain(labels):
    return list(labels) if not isinstance(labels, np.ndarray) or isinstance(labels, np.ma.MaskedArray) else labels.tolist()


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_groups_are_those_of_a_dictionary(labels):
    read, given = read_labels(labels, "groups", 7)
    groups = groups_of_labels([read])
    expected = by_hand(plain(labels))
    assert rows_of(groups, 7) == list(expected.values())
    assert groups.first_rows.tolist() == [rows[0] for rows in expected.values()]
    assert list(by_hand(plain(given[groups.first_rows]))) == list(expected)


def test_a_table_that_is_sorted_stays_as_it_is():
    assert groups_of_labels([read_labels(LABELS["sorted"], "groups", 7)[0]]).rows is None
    assert groups_of_labels([read_labels(np.array(["b", "b", "a", "a"]), "groups", 4)[0]]).rows is None
    assert groups_of_labels([read_labels(LABELS["apart"], "groups", 7)[0]]).rows is not None


@pytest.mark.parametrize("seed", range(30))
def test_several_columns_of_labels(seed):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 400)), int(rng.integers(1, 4))
    columns = [rng.integers(0, rng.integers(1, 30), n) for _ in range(k)]
    columns += [np.where(rng.random(n) < 0.2, NAN, rng.integers(0, 3, n)), np.array(["a", None, "b"], object)[rng.integers(0, 3, n)]]
    if seed % 2:
        order = np.lexsort(columns[:2])
        columns = [column[order] for column in columns]
    groups = groups_of_labels([read_labels(column, "groups", n)[0] for column in columns])
    assert rows_of(groups, n) == list(by_hand(*(column.tolist() for column in columns)).values())


def test_numbers_are_sorted_as_numpy_does():
    for most in (3, 2**16 + 1, 2**40):
        codes = np.random.default_rng(most % 97).integers(0, most, 1000)
        assert (order_of(codes) == np.argsort(codes, kind="stable")).all()


def test_the_group_of_a_row():
    for labels in (LABELS["sorted"], LABELS["apart"]):
        groups = groups_of_labels([read_labels(labels, "groups", 7)[0]])
        for row, label in enumerate(labels):
            assert labels[groups.first_rows[groups.of_row(row)]] == label
    assert [groups_of_offsets([0, 0, 2, 2, 3], 3).of_row(row) for row in range(3)] == [1, 1, 3]


def test_offsets():
    groups = groups_of_offsets([0, 2, 2, 5], 5)
    assert (groups.starts.tolist(), groups.sizes.tolist(), groups.rows) == ([0, 2, 2], [2, 0, 3], None)


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        ([0, 2, 4], "offsets must begin with 0 and end with the number of rows, 5; they go from 0 to 4"),
        ([1, 5], "they go from 1 to 5, so rows would belong to no group"),
        ([0, 3, 2, 5], "offsets must not decrease; offsets[2] is 2 after 3"),
        ([0.0, 5.0], "offsets must be a list of whole numbers"),
        ([[0, 5]], "it has shape (1, 2)"),
        ([0], "it has shape (1,)"),
    ],
)
def test_offsets_that_are_none(offsets, words):
    refused_call(ValueError, re.escape(words), lambda: groups_of_offsets(offsets, 5))


def test_names_of_labels():
    a, b = np.arange(3), ["x", "y", "z"]
    assert list(columns_of_labels(a)) == ["group"]
    assert list(columns_of_labels(b)) == ["group"]
    assert list(columns_of_labels(("x", "y", "z"))) == ["group"]
    assert list(columns_of_labels((a, b))) == ["group_0", "group_1"]
    assert list(columns_of_labels({"tail": a, "month": b})) == ["tail", "month"]
    refused_call(ValueError, re.escape("groups is empty"), lambda: columns_of_labels({}))


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        (np.arange(6), ValueError, "a label for each of the 7 rows of X; it has shape (6,)"),
        (np.zeros((7, 1)), ValueError, "it has shape (7, 1)"),
        ("abcdefg", TypeError, "groups must be an array of labels, one for each row, not str"),
        (3, TypeError, "groups must be an array of labels"),
        (np.zeros(7, complex), TypeError, "it has dtype complex128"),
        ([[1], [2], [3], [4], [5], [6], [7]], TypeError, "a label that cannot be hashed"),
    ],
)
def test_labels_that_are_none(labels, kind, words):
    refused_call(kind, re.escape(words), lambda: read_labels(labels, "groups", 7))
