"""The page of a report, which escapes what it is given."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import fastgd
from fastgd.verification.causes.table import CAUSES
from tests.support.paths import ROOT

X4 = np.array([1.0, 2.0, 3.0, 4.0])


def tutorial_step(w, X, y, lr):
    return w - lr * np.dot(2 * X, w * X - y).mean()


def wrong_report():
    return fastgd.verify(tutorial_step, X4, 2 * X4, lr=0.01, epochs=20)


def right_report():
    return fastgd.verify(["cpu", "numpy"], X4, 2 * X4, lr=0.1, epochs=20)


class Page(HTMLParser):
    """Collect what a page shows and what it would load."""

    def __init__(self, html):
        super().__init__()
        self.text, self.loads, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.loads += [value for name, value in attributes if name in ("src", "href", "data", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass  # <line …/>

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("report", [wrong_report, right_report])
def test_page(report, tmp_path):
    report = report()
    path = report.to_html(tmp_path / "report.html")
    html = path.read_text("utf-8")
    page = Page(html)
    assert page.open == []
    assert page.loads == []  # it needs no other file
    assert "url(" not in html
    assert "<script" not in html
    text = " ".join(" ".join(page.text).split())
    for verdict in report.verdicts:
        assert verdict.candidate in text
    assert ("disagrees" in text) == (not report.ok)
    assert ("gradient_sum" in text) == (not report.ok)
    assert ("np.dot(...) is already the sum over the samples" in text) == (not report.ok)
    assert np.__version__ in text
    assert "20 epochs · 4 samples, 1 feature · float64" in text
    points = [re.findall(r"([\d.]+),([\d.]+)", line) for line in re.findall(r'<polyline points="([^"]*)"', html)]
    assert len(points) == sum((~np.isnan(share)).any() for v in report.verdicts for share in (v.w_share, v.loss_share))
    first = report.failed[0] if report.failed else report.verdicts[0]
    heights = [float(y) for _, y in points[0]]
    share = first.w_share[1:]
    order = np.argsort(share, kind="stable")
    assert len(heights) == len(share)
    assert (np.diff(np.array(heights)[order]) <= 0.11).all()  # the larger the share, the higher: written with one decimal


def test_a_page_escapes_what_it_is_given(tmp_path):
    def evil(w, X, y, lr):
        raise ValueError("<script>alert('τ')</script>")

    evil.__name__ = "<b>evil</b>"
    html = fastgd.verify(evil, X4, X4, lr=0.1, epochs=3).to_html(tmp_path / "report.html").read_text("utf-8")
    assert "<script>" not in html
    assert "<b>evil" not in html
    assert "&lt;script&gt;alert(" in html


def test_names_of_classes_and_files_are_escaped(tmp_path):
    kind = type("<b>Evil</b>", (), {"fit": lambda self, X, y: setattr(self, "coef_", "<i>no</i>"), "lr": 0.1})
    html = fastgd.verify(kind(), X4, X4, lr=0.1, epochs=3).to_html(tmp_path / "class.html").read_text("utf-8")
    assert "<b>Evil" not in html
    assert "<i>no" not in html
    file = tmp_path / "a&b.py"
    file.write_text("def f(w, X, y, lr):\n    raise ValueError('<u>x</u>')\n", encoding="utf-8")
    from fastgd.verification.candidates.file_candidate import FileCandidate

    html = fastgd.verify(FileCandidate(file, "f"), X4, X4, lr=0.1, epochs=3).to_html(tmp_path / "file.html").read_text("utf-8")
    assert "<u>x" not in html
    assert "&lt;u&gt;x" in html


def test_every_cause_has_an_anchor_that_the_page_names():
    page = (ROOT / "docs" / "verify.md").read_text("utf-8")
    assert [code for code in CAUSES if page.count(f'<a id="{code}"></a>') != 1] == []
