"""Timing takes turns; rows are kept whole, and gone on with."""

from __future__ import annotations

import numpy as np

from fastgd.speed import measuring


def test_repetitions_are_interleaved():
    order: list[str] = []
    seconds = measuring.interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert "".join(order) == "ab" * 4  # the first round is not counted
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert measuring.percentiles([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == {"median": 3.5, "p20": 2.0, "p80": 5.0}


def test_repetitions_end_in_time():
    seconds = measuring.interleaved({"a": lambda: None}, 10**6, most_seconds=0.0)
    assert len(seconds["a"]) == measuring.FEWEST


def test_a_journal_goes_on_with_what_it_has(tmp_path):
    """A line that a kill cut short is left out, and written again."""
    path = tmp_path / "out" / "rows.jsonl"
    first = measuring.Journal(path, {"cpu": "x"})
    first.write({"case": "a", "median": np.float64(0.5), "met": np.bool_(True)})
    path.write_text(path.read_text() + '{"case": "b", "med')
    again = measuring.Journal(path, {"cpu": "y"})
    assert again.has(case="a")
    assert not again.has(case="b")
    again.write({"case": "b"})
    assert measuring.read_rows(path) == [{"cpu": "x", "case": "a", "median": 0.5, "met": True}, {"cpu": "y", "case": "b"}] == again.rows


def test_a_row_says_where_it_was_measured():
    told = measuring.conditions(2)
    assert {"cpu", "simd_bits", "threads", "load", "date", "python", "fastgd", "numpy", "numba", "torch"} <= told.keys()


def test_seconds_and_cells_are_shown_in_words():
    assert [measuring.shown(seconds) for seconds in (2.0, 0.0123, 4.5e-5, 3e-8)] == ["2 s", "12.3 ms", "45 us", "30 ns"]
    row = {"median": 0.2, "limit": "read", "limit_s": 0.1, "ratio": 2.0, "ratio_p20": 1.9, "ratio_p80": 2.5, "most": 1.5}
    assert measuring.cells_of(row) == ("200 ms", "100 ms: read", "2.00 (1.90 to 2.50)", "<= 1.5", "missed")
    assert measuring.cells_of(row | {"most": 2.0})[-1] == "met"
    assert measuring.cells_of(row | {"most": None})[-2:] == ("", "")
    assert measuring.cells_of({"median": 0.2}) == ("200 ms", "", "", "", "")
