"""The picture of the demo: no two texts overlap."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from fastgd.cli import demo, demo_picture
from fastgd.cli.demo import Findings


def listening(backends=("cpu", "numpy"), **options):
    text = io.StringIO()
    return Findings(Console(file=text, width=100, highlight=False, **options), backends=list(backends)), text


def test_no_two_texts_of_the_picture_overlap(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: (figures.append(self), save(self, path, **options)))
    findings, _ = listening()
    demo.fit_countries(findings, tmp_path / "picture.png")
    (figure,) = figures
    figure.canvas.draw()
    texts = [*figure.texts]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        texts += [label for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks() for label in (tick.label1,)]
    drawn = [text for text in texts if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent() for text in drawn]
    assert len(boxes) > 50
    page = figure.bbox
    outside = [
        text.get_text() for text, box in zip(drawn, boxes, strict=True) if box.x0 < 0 or box.x1 > page.x1 or box.y0 < 0 or box.y1 > page.y1
    ]
    assert outside == []
    pairs = [(i, j) for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert [(drawn[i].get_text(), drawn[j].get_text()) for i, j in pairs] == []


def test_labels_are_pushed_apart():
    assert demo_picture.spread([1.0, 5.0, 9.0], 2.0) == [1.0, 5.0, 9.0]
    assert demo_picture.spread([4.0, 4.0, 4.0], 2.0) == [2.0, 4.0, 6.0]
    assert demo_picture.spread([0.0, 3.75, 4.0, 4.25], 2.0) == [0.0, 2.0, 4.0, 6.0]  # every number is exact
    rng = np.random.default_rng(0)
    for _ in range(50):
        heights = sorted(rng.uniform(0, 30, 10))
        # a mean of ten numbers below 64: its sums are below 2^10, each is rounded by 2^-44 at most;
        # then two roundings below 2^-47
        assert np.diff(demo_picture.spread(heights, 2.0)).min() >= 2.0 - 2 * (2.0**-44 + 2.0**-46)
