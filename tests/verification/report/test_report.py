"""The report: as text, JSON, picture and page; what it says when something is missing."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import fastgd

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
    first = text.splitlines()[0]
    # by hand: the step is 0.01 * mean(2 x 2x) = 0.01 * 30 = 0.3, the tutorial's 1.2
    assert "w[0] is 1.2 instead of 0.3, off by 300 % of its step; rounding explains at most " in first
    assert first.index("rounding explains") < first.index("times the rounding-error bound, 8 are allowed")
    assert "gradient_sum: the gradient is that of the sum of the squares" in text
    assert "fix: gradient = 2 / len(y) * X.T @ residual" in text
    lines = str(right_report()).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["cpu", "numpy"]
    assert all("agrees at all 20 epochs judged: tau_w" in line for line in lines)
    assert repr(right_report()) == "Report(2 verdicts, ok)"
    assert repr(wrong_report()) == "Report(1 verdict, 1 NOT ok)"


def test_many_verdicts_are_summed_up():
    rng = np.random.default_rng(0)
    report = fastgd.verify("numpy", rng.normal(size=(50, 9, 1)), rng.normal(size=(50, 9)), lr=0.01, epochs=3)
    text = str(report)
    assert len(text.splitlines()) == 7
    assert "... and 44 more; 0 of 50 are not ok" in text


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


def test_names_from_outside_are_escaped_in_notebooks():
    def evil(w, X, y, lr):
        raise ValueError("<img src=x onerror=alert(1)>")

    evil.__name__ = "<script>alert(1)</script>"
    told = fastgd.verify(evil, X4, X4, lr=0.1, epochs=3)._repr_html_()
    assert "<script" not in told
    assert "<img" not in told
    assert "&lt;script&gt;" in told
    assert wrong_report()._repr_html_().count("<table") == 1
