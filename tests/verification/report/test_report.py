"""The report: as text, JSON, picture and page; what it says when something is missing."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import fastgd
from fastgd.verification.report.picture import LOWEST

X4 = np.array([1.0, 2.0, 3.0, 4.0])


def tutorial_step(w, X, y, lr):
    return w - lr * np.dot(2 * X, w * X - y).mean()


def wrong_report():
    return fastgd.verify(tutorial_step, X4, 2 * X4, lr=0.01, epochs=20)


def right_report():
    return fastgd.verify(["cpu", "numpy"], X4, 2 * X4, lr=0.1, epochs=20)


def test_text():
    text = str(wrong_report())
    assert text.splitlines()[0].startswith("tutorial_step: DISAGREES from epoch 1 on: w[0] is ")
    assert "gradient_sum: the gradient is that of the sum of the squares" in text
    assert "fix: gradient = 2 / len(y) * X.T @ residual" in text
    lines = str(right_report()).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["cpu", "numpy"]
    assert all("agrees at all 20 epochs judged: τ_w" in line for line in lines)
    assert repr(right_report()) == "Report(2 verdicts, ok)"
    assert repr(wrong_report()) == "Report(1 verdicts, 1 NOT ok)"


def test_many_verdicts_are_summed_up():
    rng = np.random.default_rng(0)
    report = fastgd.verify("numpy", rng.normal(size=(50, 9, 1)), rng.normal(size=(50, 9)), lr=0.01, epochs=3)
    text = str(report)
    assert len(text.splitlines()) == 7
    assert "… and 44 more; 0 of 50 are not ok" in text


def test_json(tmp_path):
    report = wrong_report()
    told = json.loads(report.to_json(tmp_path / "report.json"))
    assert told == json.loads((tmp_path / "report.json").read_text("utf-8")) == report.to_dict()
    (verdict,) = told["verdicts"]
    assert (told["ok"], verdict["code"], verdict["first_epoch"], verdict["quantity"]) == (False, "gradient_sum", 1, "w[0]")
    assert verdict["w_share"][0] is None
    assert verdict["w_share"][1] == report.verdicts[0].w_share[1]
    assert told["environment"]["numpy"] == np.__version__
    w = np.full((4, 1), np.nan)
    w[0] = 0
    assert json.loads(fastgd.verify(w, X4, 2 * X4, lr=0.01).to_json())["verdicts"][0]["w_share"][1] == "inf"


def test_picture():
    report = wrong_report()
    axes = report.plot()
    assert axes.get_yscale() == "log"
    assert axes.get_title(loc="left") == "Disagrees"
    share = report.verdicts[0].w_share
    assert np.array_equal(axes.lines[0].get_ydata(), share[1:])
    assert any(np.all(np.asarray(line.get_ydata()) == 8) for line in axes.lines)
    again = right_report().plot(axes)
    assert again is axes
    assert {tuple(np.unique(line.get_ydata())) for line in right_report().plot().lines} >= {(2.0,), (8.0,)}
    exact = fastgd.verify(np.zeros((3, 1)), X4, 0 * X4, lr=0.01).plot()
    assert np.array_equal(exact.lines[0].get_ydata(), [LOWEST, LOWEST])


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


@pytest.mark.parametrize(("library", "method"), [("jinja2", "to_html"), ("matplotlib", "plot")])
def test_what_is_missing_is_named(library, method, monkeypatch, tmp_path):
    report = right_report()
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{library}: pip install 'fastgd\[report\]'"):
        getattr(report, method)(*([tmp_path / "x.html"] if method == "to_html" else []))


def test_jinja2_and_matplotlib_are_not_needed_to_judge(monkeypatch):
    for library in ("jinja2", "matplotlib"):
        monkeypatch.setitem(sys.modules, library, None)
    assert not wrong_report().ok
