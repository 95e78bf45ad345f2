"""plot_estimates: the rows, their order, their intervals, and what is left out."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

import fastgd
from fastgd.results.figure import LINE

mpl.use("agg")
rng = np.random.default_rng(5)
LABELS = np.repeat(["AA", "B6", "UA", "WN"], 6)
X = rng.normal(size=(24, 2))
Y = X @ [1.0, 0.0] + np.repeat([0.0, 3.0, -3.0, 1.0], 6) + X[:, 0] * np.repeat([4.0, -6.0, 0.0, 1.0], 6) + 0.1 * rng.normal(size=24)


def groups(**options):
    return fastgd.solve_groups(X, Y, LABELS, intercept=True, stats=True, **options)


def rows_of(axes):
    """{name: (low, estimate, high, whether its dot is filled)} as drawn, from the top down."""
    names = [text.get_text() for text in axes.get_yticklabels()]
    (lines,) = axes.collections
    ends = {round(segment[0][1]): (segment[0][0], segment[1][0]) for segment in lines.get_segments()}
    dots = {}
    for line in axes.lines:
        if line.get_marker() == "o":
            for estimate, place in zip(*line.get_data(), strict=True):
                dots[round(place)] = (estimate, to_hex(line.get_markerfacecolor()) == LINE)
    return {names[k]: (ends[k][0], dots[k][0], ends[k][1], dots[k][1]) for k in sorted(dots, reverse=True)}


def test_groups_are_rows_the_largest_on_top():
    result = groups()
    axes = result.plot_estimates()
    axes.figure.canvas.draw()
    found = rows_of(axes)
    assert list(found) == ["AA", "WN", "UA", "B6"]
    intervals = result.stats.confidence_interval()
    for place, name in enumerate(["AA", "B6", "UA", "WN"]):
        low, high = intervals[place, 0]
        assert found[name] == (low, result.w[place, 0], high, bool(low > 0 or high < 0))
    assert found["B6"][3]  # all of its interval is below 0
    assert axes.get_title("left") == "w[0] of 4 groups"
    assert [round(line.get_xdata()[0]) for line in axes.lines if line.get_marker() != "o"] == [0]  # the line at 0


def test_a_dot_is_hollow_where_the_interval_contains_0():
    filled = {name: sure for name, (*_, sure) in rows_of(groups().plot_estimates(1, level=0.999999)).items()}
    assert not any(filled.values())
    assert all(sure for *_, sure in rows_of(groups().plot_estimates("intercept")).values()) is False  # AA's is 0
    low, _, high, _ = rows_of(groups().plot_estimates(level=0.5))["AA"]
    wide_low, _, wide_high, _ = rows_of(groups().plot_estimates(level=0.99))["AA"]
    assert wide_low < low < high < wide_high


def test_a_single_fit_shows_its_parameters():
    axes = fastgd.solve(X, Y, intercept=True, stats=True).plot_estimates()
    assert list(rows_of(axes)) == ["w[0]", "w[1]", "intercept"]
    assert axes.get_title("left") == "estimates of 3 parameters"
    assert list(rows_of(fastgd.solve(X, Y, stats=True).plot_estimates(1, names=["age"]))) == ["age"]


def test_of_many_rows_some_are_drawn_and_those_without_an_interval_are_counted():
    many = rng.normal(size=(500, 10))
    many[3] = np.nan
    result = fastgd.solve(np.arange(10.0), many, intercept=True, stats=True, nan_policy="omit")
    axes = result.plot_estimates()
    found = rows_of(axes)
    assert len(found) == 60
    assert axes.get_title("left") == "w of 500 fits; 60 drawn, evenly spaced; 1 without an interval"
    estimates = [estimate for _, estimate, *_ in found.values()]
    assert estimates == sorted(estimates, reverse=True)
    assert (estimates[0], estimates[-1]) == (np.nanmax(result.w), np.nanmin(result.w))


def test_several_targets_name_their_rows_by_both_axes():
    result = fastgd.solve_groups(X, np.stack([Y, -Y]), LABELS, intercept=True, stats=True)
    found = rows_of(result.plot_estimates())
    assert found["1, AA"][1] == result.w[1, 0, 0]
    assert len(found) == 8


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(ValueError, match=r"^the result has no statistics: fit\(..., stats=True\)"):
        fastgd.solve(X, Y).plot_estimates()
    with pytest.raises(ValueError, match=r"^names has 1 names, for 4 rows$"):
        groups().plot_estimates(names=["one"])
    with pytest.raises(ValueError, match=r"^there is no term 'age'; there are 0 to 1, 'intercept'$"):
        groups().plot_estimates("age")
