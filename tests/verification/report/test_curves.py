"""The pictures of w and loss on the page: theirs and ours, from the same start."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastgd
from fastgd.verification.report.curves import Curves, draw_curves

RNG = np.random.default_rng(2)
X = RNG.standard_normal((12, 2))
Y = X @ [1.0, 2.0] + 1 + RNG.standard_normal(12)


def rows_of(factor, epochs=10):
    rows, losses = [np.zeros(3)], []
    design = np.column_stack([X, np.ones(12)])
    for _ in range(epochs):
        residual = design @ rows[-1] - Y
        losses.append(np.mean(residual**2))
        rows.append(rows[-1] - 0.05 * factor / 12 * design.T @ residual)
    return np.array(rows), np.array(losses)


@pytest.mark.parametrize("asked", [{}, {"schedule": fastgd.schedules.StepLR(3)}, {"optimizer": fastgd.SGD(momentum=0.5)}])
def test_ours_is_what_was_asked_for(asked):
    rows, losses = rows_of(1.0)
    (verdict,) = fastgd.verify((rows, losses), X, Y, lr=0.05, intercept=True, **asked).verdicts
    curves = verdict.curves()
    assert curves.names == ["w[0]", "w[1]", "intercept"]
    assert np.array_equal(curves.w, rows)
    ours = fastgd.fit(X, Y, lr=0.05, epochs=10, intercept=True, history=True, **asked).history
    assert np.array_equal(curves.our_w, np.column_stack([ours.w, ours.intercept]))
    assert np.array_equal(curves.our_loss, ours.loss)


def test_ours_begins_where_theirs_does():
    rows = np.array([[1.0, -2.0, 3.0], [0.5, 0.5, 0.5]])
    (verdict,) = fastgd.verify(rows, X, Y, lr=0.05, intercept=True).verdicts
    assert np.array_equal(verdict.curves().our_w[0], rows[0])


def points(picture):
    return [re.findall(r"[ML]([\d.]+) ([\d.]+)", path) for path in re.findall(r'<path d="([^"]*)"', picture)]


def test_a_right_history_lies_on_ours_and_a_wrong_one_does_not():
    rows, losses = rows_of(2.0)
    right = points(draw_curves(fastgd.verify((rows, losses), X, Y, lr=0.05, intercept=True).verdicts[0].curves(), None))
    assert len(right) == 8  # three parameters and the loss, theirs and ours
    assert all(theirs == ours[: len(theirs)] for theirs, ours in zip(right[::2], right[1::2], strict=True))
    wrong, _ = rows_of(1.0)
    drawn = points(draw_curves(fastgd.verify(wrong, X, Y, lr=0.05, intercept=True).verdicts[0].curves(), None))
    assert len(drawn) == 6
    assert all(theirs[0] == ours[0] for theirs, ours in zip(drawn[::2], drawn[1::2], strict=True))
    assert all(theirs[-1] != ours[-1] for theirs, ours in zip(drawn[::2], drawn[1::2], strict=True))


def test_the_wrong_quantity_comes_first_and_what_is_not_finite_is_left_out():
    at, w = np.arange(5), np.array([[0.0, 1.0, 2.0, 3.0, 4.0]] * 5)
    w[2, 3] = np.nan
    curves = Curves([f"w[{j}]" for j in range(5)], at, w, np.array([1.0, np.inf, 100.0, 0.5, 2.0]), None, None)
    picture = draw_curves(curves, "w[3]")
    names = re.findall(r'aria-label="([^"]*) over', picture)
    assert names == ["w[3]", "w[0]", "w[1]", "loss"]
    assert draw_curves(curves, "loss").index("loss over") < draw_curves(curves, "loss").index("w[0] over")
    assert [len(path) for path in points(picture)] == [4, 5, 5, 4]
    assert "nan" not in picture
    assert "log scale" in picture


def test_the_page_has_them(tmp_path):
    rows, losses = rows_of(1.0)
    html = fastgd.verify((rows, losses), X, Y, lr=0.05, intercept=True).to_html(tmp_path / "page.html").read_text("utf-8")
    assert html.count("<path d=") == 8
    assert "ours, from the same start" in html
    assert "docs/verify.md#gradient_missing_two" in html
    assert "of its step; rounding explains at most" in html


def test_a_start_that_is_not_finite_has_no_curve_of_ours(tmp_path):
    rows = np.full((4, 3), np.nan)
    report = fastgd.verify(rows, X, Y, lr=0.05, intercept=True)
    assert report.verdicts[0].curves().our_w is None
    assert "<path" in report.to_html(tmp_path / "page.html").read_text("utf-8")
