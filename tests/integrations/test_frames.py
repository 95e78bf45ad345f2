"""Fits of groups of a data frame: the same bits from every library, each its own kind back, every
group a row, and its labels as they were."""

from __future__ import annotations

import datetime
import functools
import pickle
import re
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fastgd
from tests.support.fit_results import same
from tests.support.refusals import refused_call

RNG = np.random.default_rng(5)
N = 120
TAIL = [None if RNG.random() < 0.1 else f"N{RNG.integers(0, 6)}" for _ in range(N)]
MONTH = [None if RNG.random() < 0.1 else int(RNG.integers(0, 2)) for _ in range(N)]
DAY = [datetime.date(2013, 1, 1 + int(RNG.integers(0, 3))) for _ in range(N)]
DELAY = [None if RNG.random() < 0.2 else float(value) for value in RNG.normal(size=N)]
MILES = [None if RNG.random() < 0.1 else int(value) for value in RNG.integers(100, 900, N)]
COLUMNS = {
    "tail": TAIL, "month": MONTH, "day": DAY, "dep delay": DELAY, "miles": MILES, "late": [bool(value) for value in RNG.integers(0, 2, N)],
    "arr": RNG.normal(size=N).tolist(), "gain": RNG.normal(size=N).tolist(), "weight": RNG.uniform(0, 1, N).tolist(),
}  # fmt: skip
POLARS = pl.DataFrame(COLUMNS)
FRAMES = {
    "pandas": pd.DataFrame(COLUMNS),
    "pandas, its own index": pd.DataFrame(COLUMNS, index=[f"row {k}" for k in range(N)]),
    "pandas, nullable": pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas, categories": pd.DataFrame(COLUMNS).astype({"tail": "category", "month": "category"}),
    "pandas, Arrow": pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow"),
    "polars": POLARS,
    "polars, categories": POLARS.with_columns(pl.col("tail").cast(pl.Categorical)),
    "polars, lazy": POLARS.lazy(),
    "pyarrow": pa.table(COLUMNS),
    "pyarrow, in chunks": pa.concat_tables([pa.table(COLUMNS).slice(0, 50), pa.table(COLUMNS).slice(50)]),
    "pyarrow, dictionaries": pa.table(COLUMNS).set_column(0, "tail", pa.array(TAIL).dictionary_encode()),
    "DuckDB": POLARS,
}
MODEL = {"y": "arr", "x": ["dep delay", "miles"], "by": ["tail", "month"]}
OPTIONS = {"nan_policy": "omit", "min_samples": 3, "epochs": 5, "standardize": True}


def frame_named(name):
    given = FRAMES[name]
    return duckdb.from_arrow(given.to_arrow()) if name == "DuckDB" else given


def rows_of(frame):
    """The rows of a frame of any library as tuples; None for what is missing but NaN for numbers of
    fits."""
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, duckdb.DuckDBPyRelation):
        frame = frame.fetchall()
        return [tuple(row) for row in frame]
    table = (
        frame.to_arrow()
        if isinstance(frame, pl.DataFrame)
        else pa.Table.from_pandas(frame, preserve_index=False)
        if isinstance(frame, pd.DataFrame)
        else frame
    )
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def plain(rows):
    """Rows that can be compared by ==: None for NaN, which pandas takes for missing."""
    return [tuple(None if value is None or value != value else value for value in row) for row in rows]


def by_hand(**options):
    """{labels: FitResult of their rows}, in the order of their first rows."""
    groups = {}
    for row, labels in enumerate(zip(TAIL, MONTH, strict=True)):
        groups.setdefault(labels, []).append(row)
    X = np.array([[np.nan if value is None else value for value in row] for row in zip(DELAY, MILES, strict=True)], float)
    y = np.array(COLUMNS["arr"])
    return {labels: fastgd.fit(X[rows], y[rows], intercept=True, **options) for labels, rows in groups.items()}


@pytest.mark.parametrize("name", FRAMES)
def test_every_library_has_the_bits_of_the_fits_alone(name):
    given = frame_named(name)
    made = fastgd.fit_frame(given, **MODEL, **OPTIONS)
    assert type(made) is type(given)
    rows = rows_of(made)
    expected = by_hand(**OPTIONS)
    assert len(rows) == len(expected)
    for row, (labels, one) in zip(plain(rows), expected.items(), strict=True):
        loss, excess, intercept = (None if np.isnan(value) else float(value) for value in (one.loss, one.excess_loss, one.intercept))
        w = [None if np.isnan(value) else float(value) for value in one.w]
        assert row == (*labels, int(one.n_used), one.status.name, int(one.epochs), loss, excess, intercept, *w)
    assert {row[3] for row in rows} == {"COMPLETED", "TOO_FEW_SAMPLES"}


def test_columns_and_dtypes():
    made = fastgd.fit_frame(POLARS, **MODEL, **OPTIONS)
    assert made.columns == ["tail", "month", "n_used", "status", "epochs", "loss", "excess_loss", "intercept", "dep delay", "miles"]
    assert made.schema["tail"] == pl.String
    assert made.schema["month"] == pl.Int64
    assert made.schema["loss"] == pl.Float64
    assert fastgd.fit_frame(FRAMES["polars, categories"], **MODEL, **OPTIONS).schema["tail"] == pl.Categorical
    assert fastgd.fit_frame(FRAMES["pandas, categories"], **MODEL, **OPTIONS)["tail"].dtype == "category"
    narrow = POLARS.select("arr", "gain").cast(pl.Float32)
    assert fastgd.fit_frame(narrow, y="arr", x="gain", epochs=1).schema["gain"] == pl.Float32
    assert fastgd.fit_frame(POLARS, y="arr", x="late", by="day", epochs=1)["day"].to_list() == list(dict.fromkeys(DAY))


def test_in_closed_form():
    made = fastgd.fit_frame(POLARS, y="arr", x="gain", by="tail", weights="weight", solve=True)
    assert made.columns == ["tail", "n_used", "status", "loss", "rank", "condition", "ill_conditioned", "intercept", "gain"]
    for tail, slope in made.select("tail", "gain").rows():
        rows = np.array([one == tail for one in TAIL])
        data = [np.array(COLUMNS[name])[rows] for name in ("gain", "arr", "weight")]
        root = np.sqrt(data[2])
        reference = np.linalg.lstsq(root[:, None] * np.stack([data[0], np.ones(rows.sum())], 1), root * data[1], rcond=None)[0]
        # LAPACK's answer is off by some u · condition² · D (u = 2^-53, condition below 30)
        assert abs(slope - reference[0]) <= 2.0**-53 * 900 * 20 * np.abs(reference).max()


def test_all_rows_are_one():
    made = fastgd.fit_frame(POLARS, y="arr", x=["gain", "late"], epochs=50)
    X = np.stack([np.array(COLUMNS["gain"]), np.array(COLUMNS["late"], float)], 1)
    one = fastgd.fit(X, COLUMNS["arr"], intercept=True, epochs=50)
    assert made.height == 1
    assert made.select("gain", "late", "intercept").row(0) == (*one.w.tolist(), float(one.intercept))
    assert fastgd.fit_frame(POLARS, y="arr", x="gain", intercept=False, epochs=5).columns[-2:] == ["excess_loss", "gain"]


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_several_targets(name):
    made = fastgd.fit_frame(FRAMES[name], y=["arr", "gain"], x="late", by="month", epochs=4)
    rows = plain(rows_of(made))
    assert [row[:2] for row in rows] == [(month, target) for month in dict.fromkeys(MONTH) for target in ("arr", "gain")]
    for target in ("arr", "gain"):
        single = fastgd.fit_frame(FRAMES[name], y=target, x="late", by="month", epochs=4)
        assert [row[:1] + row[2:] for row in rows if row[1] == target] == plain(rows_of(single))


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_long(name):
    wide, long = (
        fastgd.fit_frame(FRAMES[name], y=["arr", "gain"], x=["late", "weight"], by="tail", epochs=4, long=long) for long in (False, True)
    )
    terms = ("intercept", "late", "weight")
    expected = [(*row[:2], term, value) for row in plain(rows_of(wide)) for term, value in zip(terms, row[-3:], strict=True)]
    assert plain(rows_of(long)) == expected


@pytest.mark.parametrize("solve", [False, True])
def test_statistics(solve):
    """Wide and long hold what solve and fit say of the rows alone; no number is left out."""
    model = {"y": ["arr", "gain"], "x": ["late", "weight"], "by": "tail", "solve": solve, "stats": "HC1"}
    wide, long = (fastgd.fit_frame(POLARS, **model, long=long) for long in (False, True))
    assert long.columns == ["tail", "y", "term", "estimate", "std_error", "t", "p", "low", "high"]
    alone = fastgd.solve if solve else fastgd.fit
    X = np.stack([np.array(COLUMNS["late"], float), np.array(COLUMNS["weight"])], 1)
    for place, (tail, target) in enumerate(wide.select("tail", "y").rows()):
        rows = np.array([one == tail for one in TAIL])
        stats = alone(X[rows], np.array(COLUMNS[target])[rows], intercept=True, stats="HC1").stats
        ends = stats.confidence_interval()
        row, own = wide.row(place, named=True), long.slice(3 * place, 3)
        for k, term in ((2, "intercept"), (0, "late"), (1, "weight")):
            of_term = own.row([2, 0, 1].index(k), named=True)
            assert of_term["term"] == term
            numbers = {"std_error": stats.std_error[k], "t": stats.t[k], "p": stats.p[k]}
            assert {name: row[f"{name}_{term}"] for name in numbers} == {name: of_term[name] for name in numbers} == numbers
            assert (of_term["low"], of_term["high"]) == tuple(ends[k])
            assert of_term["estimate"] == row[term] == stats.estimate[k]
        assert (row["r2"], row["dof"], row["f"]) == (stats.r2, stats.dof, stats.f)


def test_names_that_results_have():
    frame = POLARS.rename({"gain": "loss", "late": "status"})
    for x, by, words in (
        ("loss", "tail", "the result would have two columns 'loss': rename it, or give long=True, where coefficients are rows"),
        ("weight", "status", "the result would have two columns 'status'"),
    ):
        refused_call(ValueError, re.escape(words), lambda x=x, by=by: fastgd.fit_frame(frame, y="arr", x=x, by=by, epochs=1))
    long = fastgd.fit_frame(frame, y="arr", x="loss", by="status", long=True, epochs=1)
    assert long.columns == ["status", "term", "estimate"]
    renamed = POLARS.rename({"tail": "term"})
    refused_call(ValueError, "two columns 'term': rename it", lambda: fastgd.fit_frame(renamed, y="arr", x="gain", by="term", long=True))


GIVEN = {"y": "arr", "x": "gain", "by": "tail"}


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"x": "dep"}, ValueError, "df has no column 'dep'; there are: 'tail', 'month', 'day', 'dep delay', 'miles'"),
        ({"x": ["gain", "tail"], "by": None}, TypeError, "column 'tail' of x is String: it must hold numbers, such as 0 and 1 for each"),
        ({"y": "day"}, TypeError, "column 'day' of y is Date: it must hold numbers, such as days since the first date"),
        ({"weights": "tail"}, TypeError, "column 'tail' of weights is String"),
        ({"weights": np.ones(N)}, TypeError, "weights must be the name of a column"),
        ({"x": ["gain", "gain"]}, ValueError, "x names column 'gain' twice"),
        ({"x": "arr"}, ValueError, "column 'arr' is in x and in y"),
        ({"x": []}, ValueError, "x is empty"),
        ({"x": 3}, TypeError, "x must be the name of a column, or a list of names, not 3"),
        ({"x": "miles", "epochs": 1}, ValueError, "X is not finite: nan in row"),
        ({"x": ["gain", "miles"]}, ValueError, "feature 1 ('miles')"),
        ({"sample_weight": [1.0] * N}, ValueError, "fit_frame takes no sample_weight: give weights, the name of a column"),
        ({"history": True}, ValueError, "fit_frame takes no history"),
        ({"out": {}}, ValueError, "fit_frame takes no out"),
        ({"solve": True, "epochs": 5}, TypeError, "fit_frame() has no option 'epochs'"),
        ({"solve": 1}, TypeError, "solve must be True or False, not 1"),
        ({"lr": [[0.01], [0.02]]}, ValueError, "fit_frame makes one fit of each group; an option has several values for it"),
        ({"memory_limit": 1000}, MemoryError, "the columns take 1.9 KiB, and memory_limit is 1.0 KiB"),
    ],
)
def test_refusals(given, kind, words):
    refused_call(kind, re.escape(words), lambda: fastgd.fit_frame(POLARS, **{**GIVEN, **given}))


def test_what_is_no_frame():
    for wrong in (np.zeros((3, 2)), {"a": [1]}, POLARS["arr"], 3):
        refused_call(TypeError, "df must be a data frame", lambda wrong=wrong: fastgd.fit_frame(wrong, y="a", x="b"))
    refused_call(ValueError, "df has no rows", lambda: fastgd.fit_frame(POLARS.head(0), **GIVEN))
    doubled = FRAMES["pandas"].iloc[:, [0, 6, 7, 7]]
    refused_call(TypeError, "'gain'", lambda: fastgd.fit_frame(doubled, **GIVEN))
    indexed = FRAMES["pandas"].set_index("tail")
    said = r"'tail' is the index of df, not a column: give df.reset_index\(\)"
    refused_call(ValueError, said, lambda: fastgd.fit_frame(indexed, **GIVEN))


def test_without_narwhals(monkeypatch):
    monkeypatch.setitem(sys.modules, "narwhals", None)
    refused_call(
        ImportError, re.escape("data frames need narwhals: pip install 'fastgd[frames]'"), lambda: fastgd.fit_frame(POLARS, **GIVEN)
    )


def test_progress_and_threads_are_those_of_fit():
    seen = []
    fastgd.fit_frame(POLARS, **GIVEN, epochs=3, threads=1, memory_limit="2 MB", progress=lambda done, total: seen.append((done, total)))
    n_groups = len(set(TAIL))
    assert seen[-1] == (3 * n_groups, 3 * n_groups)


# -- predictions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FRAMES)
def test_predictions_are_joined_to_the_rows(name):
    given = frame_named(name)
    fits = fastgd.fit_frame(given, **MODEL, **OPTIONS)
    model = {"x": MODEL["x"], "by": MODEL["by"]}
    predicted = fastgd.predict_frame(given, fits, **model)
    residual = fastgd.predict_frame(given, fits, **model, y="arr", residuals=True)
    assert type(predicted) is type(given)
    expected = by_hand(**OPTIONS)
    before, rows, rows_of_residuals = rows_of(given), rows_of(predicted), rows_of(residual)
    assert plain(row[:-1] for row in rows) == plain(before)
    for k, (row, other) in enumerate(zip(plain(rows), plain(rows_of_residuals), strict=True)):
        one = expected[TAIL[k], MONTH[k]]
        if DELAY[k] is None or MILES[k] is None or np.isnan(one.loss):
            assert row[-1] is None
            assert other[-1] is None
        else:
            value = float(one.intercept) + float(one.w[0]) * DELAY[k] + float(one.w[1]) * MILES[k]
            assert (row[-1], other[-1]) == (value, value - COLUMNS["arr"][k])


def test_rows_of_groups_that_were_not_fitted():
    fits = fastgd.fit_frame(POLARS.filter(pl.col("tail") != "N1"), y="arr", x="gain", by="tail", epochs=2)
    predicted = fastgd.predict_frame(POLARS, fits, x="gain", by="tail", name="expected")
    unknown = [tail in (None, "N1") for tail in TAIL]  # null != "N1" is null: polars' filter drops these rows
    assert np.isnan(predicted["expected"].to_numpy()).tolist() == unknown


def test_predictions_of_one_fit_and_of_several_targets():
    one = fastgd.fit_frame(FRAMES["pandas"], y="arr", x="gain", solve=True)
    made = fastgd.predict_frame(FRAMES["pandas"], one, x="gain")["prediction"].to_numpy()
    assert same(made, one["intercept"].item() + one["gain"].item() * np.array(COLUMNS["gain"]))
    both = fastgd.fit_frame(POLARS, y=["arr", "gain"], x="late", by="day", epochs=3)
    single = fastgd.fit_frame(POLARS, y="gain", x="late", by="day", epochs=3)
    first, second = (fastgd.predict_frame(POLARS, fits, x="late", by="day", y="gain") for fits in (both, single))
    assert first["prediction"].to_list() == second["prediction"].to_list()


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"x": "gain"}, ValueError, "fits have 7 rows: give by, the columns that tell the group of a row"),
        ({"x": "late", "by": "tail"}, ValueError, "fits has no column 'late'; there are: 'tail', 'n_used'"),
        ({"x": "gain", "by": "tail", "residuals": True}, TypeError, "residuals need y, the column of the targets"),
        ({"x": "gain", "by": "tail", "name": "arr"}, ValueError, "df has a column 'arr' already: give another name"),
        ({"x": "gain", "by": "tail", "name": ["fitted"]}, TypeError, "name must be that of a column, a text, not ['fitted']"),
        ({"x": "gain", "by": "tail", "twice": True}, ValueError, "fits have a group twice"),
        ({"x": "gain", "by": "tail", "targets": True}, TypeError, "fits are of several targets: give y, the one to predict"),
    ],
)
def test_predictions_that_cannot_be(options, kind, words):
    options = dict(options)
    target = ["arr", "weight"] if options.pop("targets", False) else "arr"
    fits = fastgd.fit_frame(POLARS, y=target, x="gain", by="tail", epochs=1)
    fits = pl.concat([fits, fits]) if options.pop("twice", False) else fits
    refused_call(kind, re.escape(words), lambda: fastgd.predict_frame(POLARS, fits, **options))


def test_as_many_rows_as_features_and_targets():
    """X and y of one shape; a 2-D X of the caller's own would be refused."""
    frame = pd.DataFrame({"a": [1.0, 2], "b": [1.0, 3], "c": [5.0, 7], "d": [6.0, 8]})
    found = fastgd.fit_frame(frame, y=["c", "d"], x=["a", "b"], intercept=False, solve=True)
    assert found[["a", "b"]].round(9).to_numpy().tolist() == [[8.0, -3.0], [10.0, -4.0]]


def test_a_task_of_spark_or_ray_has_the_same_bits():
    """Read-only columns, and moments that came by pickle and are read-only."""
    frame = pd.DataFrame({"x": np.arange(9.0), "y": np.arange(9.0) ** 2})
    X, y = frame[["x"]].to_numpy(copy=True), frame["y"].to_numpy(copy=True)
    X.flags.writeable = y.flags.writeable = False
    moments = pickle.loads(pickle.dumps(fastgd.compress(X, y, intercept=True, threads=1)))
    for name, value in vars(moments).items():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
            assert not getattr(moments, name).flags.writeable
    both = fastgd.Moments.merge([moments, moments])
    assert both.n_used == 18
    assert (fastgd.fit(moments).w == fastgd.fit(X, y, intercept=True, algorithm="moments").w).all()
    rows = pickle.loads(pickle.dumps(functools.partial(fastgd.fit_frame, y="y", x="x", solve=True, threads=1)))(frame)
    assert rows["x"].tolist() == fastgd.solve(moments).w.tolist()
