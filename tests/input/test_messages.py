"""Values, counts, places and sizes in words."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.input.messages import amount, counted, place, shown, what_was_raised
from tests.support.values_that_raise import VALUES, RaisedByValueError


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.5, "1.5"), ("cpu", "'cpu'"), (None, "None"), ([1, 2], "[1, 2]"), ("x" * 61, "<str>"), (np.zeros((3, 3)), "<ndarray>")],
)
def test_values_are_shown_where_they_are_short(value, text):
    assert shown(value) == text


def test_an_int_of_more_digits_than_python_prints_is_shown_as_its_type():
    assert shown(10**5000) == "<int>"


@pytest.mark.parametrize(
    ("index", "text"),
    [((), ""), ((3,), " at index 3"), ((np.int64(3),), " at index 3"), ((1, np.int64(2)), " at index (1, 2)")],
)
def test_places(index, text):
    assert place(index) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 samples"), (1, "1 sample"), (2, "2 samples"), (12_345, "12,345 samples")])
def test_counts(count, text):
    assert counted(count, "sample") == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1,024.0 KiB"),
        (2**20, "1.0 MiB"),
        (2**28 - 1, "256.0 MiB"),
        (2**28, "0.25 GiB"),
        (3 * 2**40, "3,072.00 GiB"),
    ],
)
def test_sizes(size, text):
    assert amount(size) == text


@pytest.mark.parametrize("kind", VALUES)
def test_values_that_raise_are_shown_by_their_class(kind):
    text = shown(VALUES[kind]())
    assert text.isascii()
    assert len(text) <= 62
    assert "\n" not in text
    assert text.startswith("<")


def test_what_other_code_raised_is_one_short_line():
    assert what_was_raised(ValueError("of two\n  lines, \u00e9")) == "of two lines, \\xe9"
    assert len(what_was_raised(ValueError("x" * 1000))) == 200
    assert what_was_raised(ValueError()) == "ValueError"
    assert what_was_raised(RaisedByValueError()) == "RaisedByValueError"
