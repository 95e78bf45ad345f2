"""The picture of a report."""

from __future__ import annotations

import numpy as np

import fastgd
from fastgd.verification.report.picture import LOWEST

X4 = np.array([1.0, 2.0, 3.0, 4.0])


def tutorial_step(w, X, y, lr):
    return w - lr * np.dot(2 * X, w * X - y).mean()


def wrong_report():
    return fastgd.verify(tutorial_step, X4, 2 * X4, lr=0.01, epochs=20)


def right_report():
    return fastgd.verify(["cpu", "numpy"], X4, 2 * X4, lr=0.1, epochs=20)


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
