"""`fit_frame` of a Dask DataFrame: each group has the bits of its rows alone, in their order,
wherever its rows lie and however they are shuffled; without keys partitions are merged."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import fastgd

rng = np.random.default_rng(6)
N = 400
FRAME = pd.DataFrame({
    "tail": [None if rng.random() < 0.1 else f"N{rng.integers(0, 9)}" for _ in range(N)],
    "month": rng.integers(1, 3, N), "x": rng.normal(size=N), "z": rng.normal(size=N).astype("f4"), "w": rng.uniform(size=N),
    "y": rng.normal(size=N), "y2": rng.integers(0, 9, N),
})  # fmt: skip
FRAME.loc[5:7, "x"] = np.nan
OPTIONS = {"y": "y", "x": ["x", "z"], "nan_policy": "omit", "solve": True}
CASES = {
    "two keys": {"by": ["tail", "month"], "weights": "w"},
    "one key": {"by": "tail", "y": ["y", "y2"], "long": True, "stats": True},
    "by descent": {"by": "month", "solve": False, "epochs": 9, "optimizer": "adam"},
}


@pytest.fixture(autouse=True)
def _in_this_thread_and_with_the_dtypes_of_pandas():
    with dask.config.set({"scheduler": "synchronous", "dataframe.convert-string": False}):
        yield


def same_rows(found, expected, keys):
    """Frames with the same columns and rows, in any order, by ==."""
    keys = [*keys, *(name for name in ("y", "term") if name in expected.columns)]
    found, expected = (frame.sort_values(keys, ignore_index=True) for frame in (found, expected))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("n_partitions", [1, 5])
@pytest.mark.parametrize("case", CASES)
def test_groups_have_the_bits_of_one_frame(case, n_partitions):
    options = OPTIONS | CASES[case]
    found = fastgd.fit_frame(dd.from_pandas(FRAME, npartitions=n_partitions), **options)
    assert isinstance(found, dd.DataFrame)
    expected = fastgd.fit_frame(FRAME, **options)
    made = found.compute()
    same_rows(made, expected, [options["by"]] if isinstance(options["by"], str) else options["by"])
    assert (found.dtypes == made.dtypes).all()


def test_rows_that_a_shuffle_puts_into_another_order_have_their_own_again(monkeypatch):
    """As a cluster's shuffle may, whose rows come as they come. Sums of `stream` show the order."""
    plain = dd.DataFrame.shuffle

    def unordered(self, *args, **options):
        return plain(self, *args, **options).map_partitions(lambda rows: rows.sample(frac=1.0, random_state=3))

    monkeypatch.setattr(dd.DataFrame, "shuffle", unordered)
    options = OPTIONS | {"by": "month", "solve": False, "epochs": 30, "lr": 0.1, "algorithm": "stream"}
    same_rows(fastgd.fit_frame(dd.from_pandas(FRAME, npartitions=4), **options).compute(), fastgd.fit_frame(FRAME, **options), ["month"])


def test_a_key_with_known_divisions_is_not_shuffled(monkeypatch):
    monkeypatch.setattr(dd.DataFrame, "shuffle", None)
    ordered = FRAME.sort_values("month", kind="stable")
    given = dd.from_pandas(ordered.set_index("month"), npartitions=2)
    for keys in (["month"], ["tail", "month"]):
        options = OPTIONS | {"by": keys}
        same_rows(fastgd.fit_frame(given, **options).compute(), fastgd.fit_frame(ordered, **options), keys)


def test_an_index_without_divisions_is_shuffled():
    given = dd.from_pandas(FRAME.set_index("month"), npartitions=3, sort=False)
    assert not given.known_divisions
    options = OPTIONS | {"by": "month"}
    same_rows(fastgd.fit_frame(given, **options).compute(), fastgd.fit_frame(FRAME, **options), ["month"])


def test_without_keys_partitions_are_merged_in_their_order():
    options = OPTIONS | {"nodata": {"X": -9.0}, "stats": True}
    frame = FRAME.assign(x=FRAME.x.where(FRAME.x > -2.0, -9.0))
    pieces = [frame[:150], frame[150:150], frame[150:220], frame[220:]]
    given = dd.from_delayed([dask.delayed(piece) for piece in pieces], meta=FRAME[:0])
    found = fastgd.fit_frame(given, **options).compute()
    told = {"intercept": True, "nan_policy": "omit", "nodata": {"X": -9.0}}
    merged = fastgd.Moments.merge(fastgd.compress(part[["x", "z"]], part.y, **told) for part in pieces if len(part))
    expected = fastgd.solve(merged, stats=True)
    assert found.columns.tolist() == fastgd.fit_frame(frame, **options).columns.tolist()
    assert found[["x", "z"]].to_numpy().tolist() == [expected.w.tolist()]
    assert found["std_error_x"].tolist() == [expected.stats.std_error[0]]
    empty = dd.from_delayed([dask.delayed(FRAME[:0])] * 2, meta=FRAME[:0])
    with pytest.raises(ValueError, match="df has no rows"):
        fastgd.fit_frame(empty, **OPTIONS).compute()


def test_nothing_is_computed_before_it_is_asked_for_and_predictions_are_by_partition():
    def explode(rows):
        raise AssertionError("computed")

    given = dd.from_pandas(FRAME, npartitions=3)
    bad = given.map_partitions(explode, meta=FRAME[:0])
    fastgd.fit_frame(bad, **OPTIONS, by="tail")
    fastgd.fit_frame(bad, **OPTIONS)
    fits = fastgd.fit_frame(FRAME, **OPTIONS, by="tail")
    asked = {"x": ["x", "z"], "by": "tail", "y": "y", "residuals": True}
    fastgd.predict_frame(bad, fits, **asked)
    given = dd.concat([given, given.partitions[:1][given.partitions[:1].x > 1e9]])  # one partition is empty
    found = fastgd.predict_frame(given, dd.from_pandas(fits, npartitions=2), **asked)
    assert isinstance(found, dd.DataFrame)
    pd.testing.assert_frame_equal(found.compute(), fastgd.predict_frame(FRAME, fits, **asked), check_exact=True)


@pytest.mark.parametrize(("options", "words"), [
    ({"by": "tial"}, "df has no column 'tial'"),
    ({"checkpoint": "folder"}, "no checkpoint of a Dask DataFrame: partitions are tasks"),
    ({"progress": True}, "no progress of a Dask DataFrame"),
    ({"epoch": 3, "solve": False}, "give epochs="),
    ({"x": ["tail"]}, "must hold numbers"),
], ids=["a column", "checkpoint", "progress", "an option", "text"])  # fmt: skip
def test_what_is_wrong_is_said_at_once(options, words):
    given = dd.from_pandas(FRAME, npartitions=2)
    with pytest.raises((TypeError, ValueError), match=words):
        fastgd.fit_frame(given, **{**OPTIONS, "by": "month", **options})
