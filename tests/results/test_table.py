"""A heading and rows as text, in one line, and as HTML."""

from __future__ import annotations

import numpy as np
import pytest

import fastgd
from fastgd.results.table import html_table, in_line, text_table
from tests.results.test_summary import Table

ROWS = [("status", "2 fine"), ("<b>", "a\nb & 'c'")]


def test_text_and_line():
    assert text_table("two", ROWS[:1]) == "two\n  status     2 fine"
    assert in_line("two", ROWS[:1] * 2) == "<two: status 2 fine; status 2 fine>"


def test_html_is_escaped_and_accessible():
    page = html_table("a < b", ROWS)
    assert Table(page).cells == ["a < b", "status", "2 fine", "<b>", "a\nb & 'c'"]
    assert "<b>" not in page
    assert page.count('<th scope="row"') == 2


def shown() -> list[object]:
    x, y = np.arange(8.0).reshape(2, 4), np.arange(8.0).reshape(2, 4)
    result = fastgd.fit(x[..., None], y, lr=[[0.01], [9e9]], epochs=50, history=10, intercept=True)

    def wrong(w, X, y, lr):
        raise ValueError("<script>alert('größe')</script>")

    wrong.__name__ = "<i>größe</i>"
    reports = [fastgd.verify(candidate, x[0], y[0], lr=0.01, epochs=3) for candidate in (wrong, "numpy")]
    return [result, result.history, result.state, fastgd.solve(x[..., None], y).state, *reports, fastgd.info()]


@pytest.mark.parametrize("thing", shown(), ids=lambda thing: type(thing).__name__)
def test_every_object_has_a_table_and_a_short_repr(thing):
    page = thing._repr_html_()
    assert len(Table(page).cells) > 2
    assert "<script" not in page
    assert "<i>" not in page
    assert len(page) < 20_000
    assert repr(thing).isascii()
    assert "array(" not in repr(thing)


def test_the_words_of_a_history_and_a_state():
    _, history, state, solved, wrong, right, _ = shown()
    assert repr(history).startswith("<History of 4 fits (2 x 2): epochs 0 to 50, 6 rows; first loss ")
    assert repr(state) == (
        "<State of 4 fits (2 x 2) by sgd: status 2 COMPLETED, 2 DIVERGED; "
        "epochs 50; parameters 2, the intercept last; algorithm 2 stream, 2 moments; dtype float64>"
    )
    assert repr(solved).startswith("<State of 2 fits by solve: ")
    assert Table(wrong._repr_html_()).cells[:2] == ["<i>größe</i> disagrees", "<i>größe</i>"]
    assert Table(right._repr_html_()).cells[:2] == ["numpy agrees at every epoch", "numpy"]


def test_a_report_tells_six_verdicts():
    rng = np.random.default_rng(0)
    report = fastgd.verify("numpy", rng.normal(size=(50, 9, 1)), rng.normal(size=(50, 9)), lr=0.01, epochs=3)
    cells = Table(report._repr_html_()).cells
    assert len(cells) == 1 + 2 * 7
    assert cells[-1] == "... and 44 more; 0 of 50 are not ok"
