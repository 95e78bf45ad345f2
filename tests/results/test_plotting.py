"""plot_loss and plot_fit: what is drawn is what the arrays hold, however many fits there are and
whatever became of them."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

import fastgd
from fastgd import FitResult, Status

x = np.array([1.0, 2, 3, 4])
rng = np.random.default_rng(11)
X, Y = rng.normal(size=(6, 20, 3)), rng.normal(size=(6, 20))


def grid() -> FitResult:
    return fastgd.fit(X, Y, lr=np.array([0.01, 0.1])[:, None], epochs=7, intercept=True, history=True)


def drawn(ax):
    """The picture is drawn, with warnings as errors; the lines' data."""
    ax.figure.canvas.draw()
    return [(line.get_label(), *(np.asarray(data, float) for data in line.get_data())) for line in ax.lines]


def test_losses_of_few_fits_are_lines():
    result = fastgd.fit(x, 2 * x, lr=[0.01, 0.1], epochs=9, history=3)
    ax = result.plot_loss()
    lines = drawn(ax)
    assert [label for label, _, _ in lines] == ["fit 0, lr 0.01", "fit 1, lr 0.1"]
    for k, (_, epoch, loss) in enumerate(lines):
        assert epoch.tolist() == [0, 3, 6, 9]
        assert loss.tolist() == result.history.loss[k].tolist()
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert low < result.history.loss.min() < result.history.loss.max() < high
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title("left")) == ("epoch", "loss (mean squared residual)", "Loss of 2 fits")


def test_losses_of_some_fits_have_a_median():
    result = fastgd.fit(X, Y, lr=np.linspace(0.01, 0.1, 11)[:, None], epochs=9, history=True)
    *fits, (label, _, median) = drawn(result.plot_loss())
    assert len(fits) == 66
    assert label == "median"
    middle = np.sort(result.history.loss.reshape(66, -1), axis=0)
    assert all(value in (middle[32, k], middle[33, k]) for k, value in enumerate(median))


def test_losses_of_many_fits_are_bands():
    x_many, y_many = rng.normal(size=(25_000, 10, 1)), rng.normal(size=(25_000, 10))
    result = fastgd.fit(x_many, y_many, lr=0.05, epochs=20, history=True)
    ax = result.plot_loss()
    (line,) = drawn(ax)
    sample = np.sort(result.history.loss[np.linspace(0, 24_999, 20_000).round().astype(int)], axis=0)

    def has_rank(value, share, row):  # a quantile lies between the two order statistics around its rank
        rank = share * 19_999
        return sample[math.floor(rank), row] <= value <= sample[math.ceil(rank), row]

    assert all(has_rank(value, 0.5, row) for row, value in enumerate(line[2]))
    assert len(ax.collections) == 2
    assert ax.get_legend().get_title().get_text() == "drawn from 20,000 of them, evenly spaced"
    for band, (low, high) in zip(ax.collections, ((0.05, 0.95), (0.25, 0.75)), strict=True):
        at_end = band.get_paths()[0].vertices
        at_end = at_end[at_end[:, 0] == 20, 1]
        assert has_rank(at_end.min(), low, -1)
        assert has_rank(at_end.max(), high, -1)


def test_a_fit_that_is_lost_counts_as_above_all_others():
    rates = np.linspace(0.01, 0.1, 200)
    rates[::4] = 1e9
    result = fastgd.fit(x, x + np.array([0.1, -0.2, 0.3, 0.1]), lr=rates, epochs=60, history=True)
    assert np.isnan(result.loss[::4]).all()
    ax = result.plot_loss()
    ((_, _, median),) = drawn(ax)
    ordered = np.sort(np.nan_to_num(result.history.loss[:, -1], nan=np.inf))
    assert median[-1] in ordered[98:102]
    assert ax.get_title("left") == "Loss of 200 fits, 50 not finite at the end"
    assert ax.get_ylim()[1] < 1e6


def test_a_long_history_is_thinned():
    result = fastgd.fit(x, 2.1 * x, lr=1e-4, epochs=30_000, history=True)
    ((_, epoch, loss),) = drawn(result.plot_loss())
    assert len(epoch) == 1000
    assert (epoch[0], epoch[-1]) == (0, 30_000)
    assert loss[-1] == result.history.loss[-1]


def test_losses_without_a_place_on_a_log_scale():
    exact = fastgd.fit(x, 2 * x, w0=2.0, epochs=3, history=True)  # zero from the start
    ax = exact.plot_loss()
    drawn(ax)
    assert [text.get_text() for text in ax.texts] == ["no loss is positive and finite"]
    lost = fastgd.fit(x, 2 * x, lr=[0.01, 100.0], epochs=400, history=True)
    ax = lost.plot_loss()
    lines = drawn(ax)
    assert ax.get_title("left") == "Loss of 2 fits, 1 not finite at the end"
    assert ax.get_ylim()[1] < 1e7, "a fit that diverges must not press the other into a line"
    assert np.isnan(lines[1][2][-1])
    drawn(fastgd.fit(x, 2 * x, lr=100.0, epochs=400, history=True).plot_loss())  # 1e308 is not too much
    drawn(fastgd.fit(x, 2 * x, lr=np.full(200, 100.0), epochs=400, history=True).plot_loss())
    drawn(fastgd.fit(x, 2 * x, lr=np.linspace(0.01, 0.2, 300), epochs=400, history=True).plot_loss())
    drawn(fastgd.fit(x, 2 * x, lr=[0.1, 0.2], epochs=0, history=True).plot_loss())


def test_two_results_on_the_same_axes():
    ax = Figure().subplots()
    slow = fastgd.fit(x, 2 * x, lr=0.001, epochs=50, history=True)
    fast = fastgd.fit(x, 2 * x, lr=0.05, epochs=10, history=True)
    assert slow.plot_loss(ax) is ax
    fast.plot_loss(ax)
    assert len(drawn(ax)) == 2
    assert ax.get_xlim()[1] == 50
    assert ax.get_ylim()[0] < fast.loss < slow.history.loss[0] < ax.get_ylim()[1]


def test_a_fit_of_one_feature_is_a_line_beside_its_data():
    noisy = np.array([[2.1, 3.9, 6.2, 7.8], [1.0, 0.5, 0.3, -1.0]])
    result = fastgd.fit(x, noisy, intercept=True, epochs=300)
    for k, given in ((0, noisy), (1, noisy), (-1, noisy), (1, noisy[1]), ((1,), noisy)):
        which = k[0] if isinstance(k, tuple) else k
        (_, at, values), (_, ends, line) = drawn(ax := result.plot_fit(x, given, k))
        assert at.tolist() == x.tolist()
        assert values.tolist() == noisy[which].tolist()
        assert ends.tolist() == [1, 4]
        assert line.tolist() == result.predict(ends)[which].tolist()
        assert ax.get_title("left").startswith(f"Fit {which % 2}: y = ")
    assert ax.get_title("left") == f"Fit 1: y = {result.w[1]:.4g} x + {result.intercept[1]:.4g}".replace("-", "−")


def test_a_fit_of_several_features_is_predicted_against_observed():
    result = grid()
    for index in ((1, 4), 10):
        (_, predicted, observed), (_, *diagonal) = drawn(ax := result.plot_fit(X, Y, index))
        assert observed.tolist() == Y[4].tolist()
        assert predicted.tolist() == result.predict(X)[1, 4].tolist()
        assert diagonal[0].tolist() == diagonal[1].tolist()
        assert ax.get_title("left") == "Fit (1, 4): 3 features"
    one_column = fastgd.fit(x[:, None], 2 * x, epochs=50)
    assert len(drawn(one_column.plot_fit(x[:, None], 2 * x))) == 2
    assert result.plot_fit(X, Y, ax=ax) is ax


def test_many_samples_are_thinned_and_said_to_be():
    at = rng.uniform(size=30_000)
    (label, shown_x, _), _ = drawn(fastgd.fit(at, 2 * at, epochs=5).plot_fit(at, 2 * at))
    assert label == "10,000 of 30,000 samples, evenly spaced"
    assert len(shown_x) == 10_000


def test_a_fit_that_is_not_finite_is_drawn_as_data_alone():
    lost = fastgd.fit(x, 2 * x, lr=1e9, epochs=400)
    assert lost.status == Status.DIVERGED
    ax = lost.plot_fit(x, 2 * x)
    assert len(drawn(ax)) == 1
    assert ax.get_title("left") == "Fit: w is not finite"


def test_what_a_picture_needs(monkeypatch):
    result = grid()
    for arguments, kind, said in (
        ((X, Y, 12), IndexError, r"there is no fit 12: the result has 12 fits, of shape \(2, 6\)"),
        ((X, Y, (0, 6)), IndexError, r"there is no fit \(0, 6\)"),
        ((X, Y, (0,)), IndexError, "there is no fit"),
        ((X, Y, 1.0), TypeError, "fit must be a whole number or a tuple of them, not 1.0"),
        ((X, Y, True), TypeError, "fit must be a whole number"),
        ((X[..., :2], Y), ValueError, r"X must have 3 features \(its last axis\)"),
        ((X[:, :5], Y), ValueError, "X has 5 samples, but y has 20"),
        ((X[:5], Y), ValueError, r"X has shape \(5, 20, 3\); its leading axes do not broadcast to those of the fits, \(2, 6\)"),
        ((X, Y[None, None]), ValueError, "y has shape"),
        ((x, Y), ValueError, r"X must have at least 2 axes; it has shape \(4,\)"),
        ((X, Y, 0, "here"), TypeError, "ax must be matplotlib axes or None, not 'here'"),
    ):
        with pytest.raises(kind, match=said):
            result.plot_fit(*arguments)
    with pytest.raises(ValueError, match=r"recorded no history of its losses: fit\(..., history=True\)"):
        fastgd.fit(x, 2 * x).plot_loss()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (result.plot_loss, lambda: result.plot_fit(X, Y)):
        with pytest.raises(ImportError, match=r"pictures need matplotlib: pip install 'fastgd\[plot\]'"):
            call()


def test_pictures_import_no_pyplot():
    code = """if True:
        import sys, fastgd
        result = fastgd.fit([1.0, 2, 3, 4], [2.0, 4, 6, 8], history=True)
        result.plot_loss().figure.canvas.draw(), result.plot_fit([1.0, 2], [2.0, 4])
        assert "matplotlib.pyplot" not in sys.modules"""
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_callers_settings_are_left_alone():
    settings = importlib.import_module("matplotlib").rcParams
    before = dict(settings)
    result = grid()
    result.plot_loss()
    result.plot_fit(X, Y)
    assert dict(settings) == before


def test_a_result_in_tensors_is_drawn_the_same(torch):
    ours = grid()
    theirs = fastgd.fit(torch.tensor(X), torch.tensor(Y), lr=np.array([0.01, 0.1])[:, None], epochs=7, intercept=True, history=True)
    for one, other in zip(drawn(theirs.plot_loss()), drawn(ours.plot_loss()), strict=True):
        assert all(map(np.array_equal, one[1:], other[1:]))
    assert len(drawn(theirs.plot_fit(torch.tensor(X), torch.tensor(Y), 3))) == 2
