"""The axes of X, y and the weights: what the names of axes decide, and what an error advises."""

from __future__ import annotations

import contextlib
import itertools
import re
import sys

import numpy as np
import pandas as pd
import pytest

import fastgd
from fastgd.data.axes import check_shapes
from tests.support.hidden_masks import OfNetCDF4, OfXarray
from tests.support.refusals import refused

rng = np.random.default_rng(0)
T, H, W = 5, 3, 4
TIME, TARGETS = rng.standard_normal(T), rng.standard_normal((T, H, W))
X, WEIGHTS = rng.standard_normal((T, 2)), rng.uniform(1, 2, (T, H, W))
SQUARE = rng.standard_normal((T, H, T))  # as wide as it has times


def last(cube):
    return np.moveaxis(cube, 0, -1)


# {case: (X, y, what numpy.moveaxis and the error of the wrong shape advise)}
ELSEWHERE = {
    "time first": (TIME, TARGETS, "np.moveaxis(y, 0, -1)"),
    "time first, deep": (TIME, TARGETS[None, None], "np.moveaxis(y, 2, -1)"),
    "time in the middle": (TIME, np.moveaxis(TARGETS, 0, 1), "np.moveaxis(y, 1, -1)"),
    "a column": (X, TARGETS[:, 0, :1], "y[:, 0]"),
    "columns of many fits": (rng.standard_normal((H, T, 2)), rng.standard_normal((H, T, 1)), "y[..., 0]"),
    "columns, deep": (TIME, rng.standard_normal((2, H, T, 1)), "y[..., 0]"),
    "targets side by side": (X, TARGETS[:, 0], "y.T"),
    "X of each pixel, time first": (rng.standard_normal((T, H, W)), last(TARGETS), "np.moveaxis(X, 0, -1)[..., None]"),
    "features of a cube": (np.stack([TARGETS, TARGETS], -1), last(TARGETS), "np.moveaxis(X, 0, -2)"),
    "X with its features before its samples": (rng.standard_normal((H, W, 2, T)), last(TARGETS), "np.swapaxes(X, -1, -2)"),
    "one X for all, transposed": (X.T, last(TARGETS), "X.T"),
}


@pytest.mark.parametrize(("data", "target", "advice"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_the_samples_are_elsewhere(no_work, data, target, advice):
    refused(ValueError, rf"^X has .* but y has .*: give {re.escape(advice)}", data, target)


@pytest.mark.parametrize("case", ELSEWHERE)
def test_what_the_error_advises_works(case):
    data, y, advice = ELSEWHERE[case]
    given = eval(advice, {"np": np, "y": y, "X": data})
    result = fastgd.solve(data, given) if "(y" in advice or advice[0] == "y" else fastgd.solve(given, y)
    assert result.n_used.flat[0] == T


NUMBERS = itertools.count()
KINDS = {
    "list": lambda values: values.tolist(),
    "frame": lambda values: pd.DataFrame(values) if values.ndim == 2 else pd.Series(values) if values.ndim == 1 else values.tolist(),
    "named": lambda values: OfXarray(values, tuple(f"own {next(NUMBERS)}" for _ in values.shape)),
    "array": np.asarray,
}


@pytest.mark.parametrize("kind", [*KINDS, "torch"])
def test_what_the_error_advises_works_for_what_was_given(kind, request):
    """Lists and frames take no [:, 0], and what has a transpose of its own no numpy.moveaxis."""
    make = request.getfixturevalue("torch").tensor if kind == "torch" else KINDS[kind]
    for data, target in ((X, TARGETS[:, 0, :1]), (TIME, TARGETS[:, 0]), (TIME, TARGETS), (X.T, TARGETS[:, 0, 0]), (last(TARGETS),) * 2):
        given = {"X": make(data), "y": make(target), "np": np, "torch": sys.modules.get("torch")}
        with pytest.raises(ValueError, match=r"^X ") as caught:
            fastgd.solve(given["X"], given["y"])
        advice, _, where = str(caught.value).partition("give ")[2].partition(", where ")
        exec(where, given)
        code = re.split(r"; | for many", advice)[0]
        given["y" if re.search(r"\by\b", code) else "X"] = eval(code, given)
        assert fastgd.solve(given["X"], given["y"]).loss.shape is not None


def test_whatever_is_advised_matches():
    """Of all small shapes: no advice of an error leads to another one."""
    shapes = [shape for n in (1, 2, 3, 4) for shape in itertools.product((2, 3, 5), repeat=n)]
    advised = 0
    for of_X, of_y in itertools.product(shapes, shapes[:39]):
        arrays = {"X": np.empty(of_X), "y": np.empty(of_y)}
        with contextlib.suppress(ValueError):
            check_shapes(*arrays.values())
            continue
        with pytest.raises(ValueError, match=r"^X ") as caught:
            check_shapes(*arrays.values())
        for advice in re.findall(r"give (.+?)(?:$|;| for many)", str(caught.value)):
            advised += 1
            changed = {"Xy"["y" in code]: eval(code, {"np": np, **arrays}) for code in advice.split(" and ")}
            now = arrays | changed
            check_shapes(now["X"], now["y"])
            np.broadcast_shapes(now["X"].shape[:-2], now["y"].shape[:-1])
    assert advised > 500


def test_cubes_without_features(no_work):
    refused(
        ValueError,
        r"for 12 fits of 5 samples and 1 feature give X\[\.\.\., None\]; for 20 fits of 3 samples and 1 feature give np\.moveaxis"
        r"\(X, 0, -1\)\[\.\.\., None\] and np\.moveaxis\(y, 0, -1\)$",
        last(TARGETS),
        last(TARGETS),
    )


def test_weights_with_their_samples_elsewhere(no_work):
    for weights, advice in (
        (WEIGHTS, r"np\.moveaxis\(sample_weight, 0, -1\)"),
        (WEIGHTS[:, 0, :1], r"sample_weight\[:, 0\]"),
        (WEIGHTS[:, 0], r"sample_weight\.T"),
        (last(WEIGHTS)[..., None], r"sample_weight\[\.\.\., 0\]"),
    ):
        refused(ValueError, rf"^sample_weight must have shape .*: give {advice}", TIME, last(TARGETS), sample_weight=weights)


def same(result, want):
    return np.array_equal(result.w, want.w) and result.w.shape == want.w.shape


@pytest.mark.parametrize("kind", [OfXarray, OfNetCDF4])
@pytest.mark.parametrize("cube", [TARGETS, SQUARE], ids=["width", "as wide as long"])
def test_names_decide_where_the_samples_are(kind, cube):
    want = fastgd.solve(TIME, last(cube))
    times, names = kind(TIME, ("time",)), ("time", "y", "x")
    assert same(fastgd.solve(times, kind(cube, names)), want)
    assert same(fastgd.solve(times, kind(last(cube), ("y", "x", "time"))), want)
    assert same(fastgd.solve(kind(TIME, ("year",)), kind(np.moveaxis(cube, 0, 1), ("y", "year", "x"))), want)
    masked = np.ma.masked_array(cube, mask=cube > 1)
    gaps = fastgd.solve(TIME, np.where(last(cube) > 1, np.nan, last(cube)), nan_policy="omit")
    assert same(fastgd.solve(times, kind(masked, names), nan_policy="omit"), gaps)
    assert same(fastgd.fit(times, kind(cube, names), epochs=3), fastgd.fit(TIME, last(cube), epochs=3))


def test_names_of_features_and_weights():
    want = fastgd.solve(X, last(TARGETS), sample_weight=last(WEIGHTS))
    y, weights = OfXarray(TARGETS, ("time", "y", "x")), OfXarray(WEIGHTS, ("time", "y", "x"))
    assert same(fastgd.solve(OfXarray(X, ("time", "band")), y, sample_weight=weights), want)
    assert same(fastgd.solve(OfXarray(X.T, ("band", "time")), y, sample_weight=weights), want)
    assert same(fastgd.solve(OfXarray(X, ("time", "band")), y, sample_weight=last(WEIGHTS)), want)
    own = rng.standard_normal((H, W, T, 2))
    want = fastgd.solve(own, last(TARGETS))
    assert same(fastgd.solve(OfXarray(own, tuple("yxtf")), OfXarray(TARGETS, tuple("tyx"))), want)
    swapped = OfXarray(own.transpose(0, 1, 3, 2), tuple("yxfs"))  # features and samples
    assert same(fastgd.solve(swapped, OfXarray(last(TARGETS), tuple("yxs"))), want)


def test_what_works_by_its_shapes_still_does():
    """Without names, or with names that say nothing, the samples are the last axis of y."""
    want = fastgd.solve(TIME, SQUARE)
    assert same(fastgd.solve(TIME, OfXarray(SQUARE, ("band", "y", "x"))), want)
    assert same(fastgd.solve(OfXarray(TIME, ("x",)), OfXarray(SQUARE, ("time", "y", "x"))), want)
    assert same(fastgd.solve(OfXarray(TIME, ("sample",)), SQUARE), want)
    assert same(fastgd.solve(TIME, OfXarray(last(SQUARE), ("y", "x", "time"))), fastgd.solve(TIME, last(SQUARE)))
    bands = rng.standard_normal((T, 2))  # each band from all bands
    assert same(fastgd.solve(OfXarray(bands, ("time", "band")), OfXarray(bands.T, ("band", "time"))), fastgd.solve(bands, bands.T))


def test_nothing_is_guessed(no_work):
    pattern = (
        r"^y has axes \('time', 'y', 'x'\), and both 'time' and 'x' have length 5: give y\.transpose\(\.\.\., 'time'\) if 'time' is the "
        r"samples, numpy\.asarray\(y\) if 'x' is$"
    )
    refused(ValueError, pattern, TIME, OfXarray(SQUARE, ("time", "y", "x")))
    refused(ValueError, pattern, OfXarray(TIME, ("sample",)), OfXarray(SQUARE, ("time", "y", "x")))
    for name in ("Time", "times", "month", "valid_time", "season"):
        refused(ValueError, rf"^y has axes .* both '{name}' and 'x' have length 5", TIME, OfXarray(SQUARE, (name, "y", "x")))
    refused(
        ValueError, "^sample_weight has axes .* both 't' and 'x' have length 5", TIME, OfXarray(last(SQUARE), ("y", "x", "t")),
        sample_weight=OfXarray(SQUARE, ("t", "y", "x")),
    )  # fmt: skip


def test_which_of_two_axes_is_the_samples_is_not_guessed(no_work):
    own = rng.standard_normal((T, H, W, 2))
    for names, data in (("tyxf", own), ("yxft", own.transpose(1, 2, 3, 0))):
        refused(ValueError, "and both 't' and 'x' may be the samples: give X with 't' last but one and y with 't' as its last axis",
                OfXarray(data, tuple(names)), OfXarray(TARGETS, tuple("tyx")))  # fmt: skip


def test_leading_axes_in_different_orders(no_work):
    own = rng.standard_normal((H, H, T, 2))
    y = rng.standard_normal((H, H, T))
    refused(ValueError, "in one order, and X with|in one order", OfXarray(own, tuple("yxtf")), OfXarray(y, tuple("xyt")))
    refused(ValueError, r"X with features last$", OfXarray(y, tuple("yxt")), OfXarray(y, tuple("yxt")))
