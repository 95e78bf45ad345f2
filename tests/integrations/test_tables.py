"""Tables in files: the bits of fit_frame, group by group, whatever the file, the batches and the
memory; errors before any fit; a file of results that is whole or not there."""

from __future__ import annotations

import datetime
import gzip
import os
import re
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import fastgd
from fastgd.integrations import table_job

RNG = np.random.default_rng(16)
N = 900
TAIL = [None if k % 11 == 0 else int(number) for k, number in enumerate(RNG.integers(0, 40, N))]
FRAME = pl.DataFrame(
    {
        "tail number": TAIL, 'a "code"': RNG.choice(["NA", "x,y", "é"], N), "dep delay": RNG.normal(size=N),
        "miles": RNG.integers(100, 900, N), "arr": RNG.normal(size=N), "gain": RNG.normal(size=N),
        "weight": np.where(RNG.random(N) < 0.1, 0.0, RNG.uniform(0, 1, N)),
    }
)  # fmt: skip
GAPS = FRAME.with_columns(
    pl.when(pl.int_range(N) % 13 == 5).then(None).otherwise("dep delay").alias("dep delay"),
    pl.when(pl.int_range(N) % 17 == 5).then(-9999.0).otherwise("arr").alias("arr"),
)
KEYS = ["tail number", 'a "code"']
MODEL = {"y": "arr", "x": ["dep delay", "miles"], "by": KEYS}


def by_keys(frame, keys=KEYS):
    """The rows in the order in which a table has them, as bits."""
    return frame.sort(keys, nulls_last=True, maintain_order=True).to_arrow()


def same_rows(found, expected):
    assert found.column_names == expected.column_names
    for name in found.column_names:
        a, b = found[name].to_pylist(), expected[name].to_pylist()
        assert [repr(one) for one in a] == [repr(one) for one in b], name


@pytest.fixture
def small_batches(monkeypatch):
    """At most 32 rows in a batch, parts of 32 samples."""
    monkeypatch.setattr(table_job, "CHUNK", 32)
    monkeypatch.setattr(table_job, "_BATCH_BYTES", 2000)


@pytest.mark.parametrize("ending", ["csv", "parquet", "csv.gz"])
def test_the_bits_of_a_frame_in_memory(ending, tmp_path):
    path = tmp_path / f"rows[1].{ending}"  # a path is no pattern
    if ending == "parquet":
        GAPS.write_parquet(path)
    else:
        text = GAPS.write_csv(null_value="NA").encode().replace(b"\nNA,", b"\n,")  # a key that is missing is empty
        with (gzip.open if ending == "csv.gz" else open)(path, "wb") as file:
            file.write(text)
    options = {"nan_policy": "omit", "nodata": -9999, "epochs": 20, "stats": True}
    result = fastgd.fit_table(path, **MODEL, **options, out=tmp_path / "fits.parquet")
    expected = fastgd.fit_frame(GAPS, **MODEL, **options)
    same_rows(pq.read_table(tmp_path / "fits.parquet"), by_keys(expected))
    statuses = dict(expected["status"].value_counts().rows())
    assert (result.n_rows, result.n_groups, result.statuses, result.table) == (N, len(expected), statuses, None)
    assert result.n_left_out == N - expected["n_used"].sum()
    assert len(statuses) == 2
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, "fits.parquet"])


def test_fits_far_from_the_least_loss_are_counted(tmp_path, small_batches):
    """After five epochs some are. A call that goes on counts what is stored, too."""
    FRAME.write_parquet(tmp_path / "rows.parquet")
    given = {**MODEL, "lr": 1e-7, "epochs": 5, "checkpoint": tmp_path / "stored"}
    found = fastgd.fit_table(tmp_path / "rows.parquet", **given)
    table = pl.from_arrow(found.table)
    far = table.filter(pl.col("excess_loss").is_finite() & (pl.col("excess_loss") > 0.01 * pl.col("loss")))
    assert 0 < found.n_far == len(far)
    assert f"{found.n_far} more than 1 % above the least loss" in repr(found)
    assert fastgd.fit_table(tmp_path / "rows.parquet", **given).n_far == found.n_far
    solved = fastgd.fit_table(tmp_path / "rows.parquet", **MODEL, solve=True)
    assert solved.n_far == 0
    assert "above" not in repr(solved)


@pytest.mark.parametrize("options", [{}, {"solve": True, "long": True, "stats": True}, {"weights": "weight", "dtype": "float32"}])
def test_batches_and_parts_change_no_bit(options, tmp_path, small_batches):
    """Groups of 1 to 200 rows, in batches of 32."""
    sizes = [1, 31, 32, 33, 64, 65, 200, 5, 27, 1]
    frame = (
        FRAME.head(sum(sizes))
        .with_columns(key=pl.Series(np.repeat(np.arange(len(sizes)), sizes)))
        .sample(fraction=1.0, shuffle=True, seed=1)
    )
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=50)
    model = {"y": "arr", "x": ["dep delay", "miles"], "by": "key", "nan_policy": "omit"}
    found = fastgd.fit_table(tmp_path / "rows.parquet", **model, **options)
    assert found.n_groups == len(sizes)
    expected = fastgd.fit_frame(frame, **model, **options)
    if not options.get("solve"):  # chunks of 32 are none of the specification's: the moments of 200 rows have other bits
        long_groups = [k for k, size in enumerate(sizes) if size > 32]
        expected, table = expected.filter(~pl.col("key").is_in(long_groups)), pl.from_arrow(found.table)
        others = table.filter(pl.col("key").is_in(long_groups))
        same_rows(table.filter(~pl.col("key").is_in(long_groups)).to_arrow(), by_keys(expected, ["key"]))
        whole = fastgd.fit_frame(frame, **model, **options).filter(pl.col("key").is_in(long_groups)).sort("key")
        assert others["n_used"].to_list() == whole["n_used"].to_list()
        assert np.abs(others["miles"] / whole["miles"] - 1).max() < 1e-5
    else:
        assert found.table["term"].to_pylist() == expected.sort("key", maintain_order=True)["term"].to_list()
        assert np.abs(np.asarray(found.table["estimate"]) / expected.sort("key", maintain_order=True)["estimate"] - 1).max() < 1e-9


@pytest.mark.parametrize("targets", ["arr", ["arr", "gain"]])
def test_a_fit_larger_than_memory_has_the_bits_of_the_whole(targets, tmp_path, monkeypatch):
    """Parts are of 4,096 kept rows; without a key and with one."""
    monkeypatch.setattr(table_job, "_BATCH_BYTES", 4096 * 8 * 6)
    n = 20_000
    frame = pl.DataFrame({name: RNG.normal(size=n) for name in ("a", "arr", "gain")} | {"weight": RNG.uniform(size=n)})
    frame = frame.with_columns(
        pl.when(pl.int_range(n) % 7 == 1).then(None).otherwise("a").alias("a"),
        pl.when(pl.int_range(n) % 5 == 1).then(0.0).otherwise("weight").alias("weight"),
        key=pl.Series([True] * 9000 + [None] * 11_000),
    )
    frame.write_parquet(tmp_path / "rows.parquet")
    merged, merge = [], fastgd.Moments.merge
    monkeypatch.setattr(fastgd.Moments, "merge", staticmethod(lambda parts: merged.append(merge(parts)) or merged[-1]))
    for by in (None, "key"):
        options = {"y": targets, "x": "a", "by": by, "weights": "weight", "nan_policy": "omit", "epochs": 30, "stats": True}
        found = fastgd.fit_table(tmp_path / "rows.parquet", **options)
        expected = fastgd.fit_frame(frame, **options, algorithm="moments")
        shown = [name for name in expected.columns if not re.match("std_error|t_|p_|r2|adj|resid|f|aic|bic|cond", name)]
        same_rows(found.table.select(shown), expected.select(shown).to_arrow())  # statistics of moments have other last digits
        assert np.allclose(np.asarray(found.table["std_error_a"]), expected["std_error_a"], rtol=1e-9)
    X, y = frame["a"].to_numpy(), frame[targets].to_numpy().T
    whole = fastgd.compress(X[:, None], y, sample_weight=frame["weight"].to_numpy(), intercept=True, nan_policy="omit")
    assert len(merged) == 3
    grams = [one.gram[one.gram_index.ravel()] for one in (merged[0], whole)]
    assert (grams[0] == grams[1]).all()  # both planes: where parts are cut shows there alone
    assert np.array_equal(merged[0].target.ravel(), whole.target.ravel())


def test_what_needs_all_samples_says_so(tmp_path, monkeypatch):
    FRAME.write_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr(table_job, "_shares", lambda *given: table_job.Shares(2**28, None, 32))
    for option in ({"batch_size": 8, "lr": 0.01}, {"stats": "HC3"}, {"algorithm": "stream"}):
        with pytest.raises(MemoryError, match=r"the group a \"code\"='NA' has more than 32 rows, and .* needs all of them at a time"):
            fastgd.fit_table(tmp_path / "rows.parquet", y="arr", x="miles", by='a "code"', **option)


def test_rows_in_which_nothing_is_left(tmp_path, small_batches):
    frame = pl.DataFrame({"key": [1] * 100 + [2] * 50, "x": [None] * 98 + [1.0, 2.0] + [None] * 50, "y": np.arange(150.0)})
    frame.write_parquet(tmp_path / "rows.parquet")
    model = {"y": "y", "x": "x", "by": "key", "nan_policy": "omit"}
    found = fastgd.fit_table(tmp_path / "rows.parquet", **model)
    assert found.statuses == {"COMPLETED": 1, "TOO_FEW_SAMPLES": 1}
    same_rows(found.table, fastgd.fit_frame(frame, **model).to_arrow())


# -- what a table may be ---------------------------------------------------------------------------


def write_csv(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_folders_patterns_and_relations(tmp_path):
    model = {"y": "arr", "x": "miles", "by": ["month", "tail number"], "solve": True}
    frame = FRAME.with_columns(month=pl.Series(np.arange(N) // 500 + 1))
    expected = by_keys(fastgd.fit_frame(frame, **model), model["by"])
    for month, part in ((1, frame.filter(month=1)), (2, frame.filter(month=2))):
        folder = tmp_path / "hive" / f"month={month}"
        folder.mkdir(parents=True)
        part.drop("month").write_parquet(folder / "rows.parquet")
        part.select(sorted(part.columns, reverse=month == 1)).write_parquet(tmp_path / f"part{month}.parquet")
        write_csv(tmp_path / "csv" / f"part{month}.csv", part.select(sorted(part.columns, reverse=month == 1)).write_csv())
        write_csv(tmp_path / "hive csv" / f"month={month}" / "rows.csv", part.drop("month").write_csv(separator=";"))
    (tmp_path / "hive" / "_temporary").mkdir()
    write_csv(tmp_path / "hive" / "_temporary" / "half.csv", "no\n")
    with duckdb.connect() as connection:
        connection.register("flights", frame.to_arrow())
        sources = (
            tmp_path / "hive", tmp_path / "part*.parquet", tmp_path / "csv", tmp_path / "hive csv" / "**" / "*.csv",
            [tmp_path / "part1.parquet", str(tmp_path / "part2.parquet")], connection.sql("SELECT * FROM flights"),
        )  # fmt: skip
        for source in sources:
            same_rows(fastgd.fit_table(str(source) if source is sources[1] else source, **model).table, expected)


def test_keys_keep_their_kinds(tmp_path):
    day = [datetime.date(2013, 1, 1 + k % 3) for k in range(60)]
    frame = pl.DataFrame(
        {"day": day, "flag": [True, None] * 30, "size": [0.0, -0.0, np.nan, None, 1.5] * 12, "x": np.arange(60.0) % 7, "y": np.arange(60.0)}
    )
    frame.write_parquet(tmp_path / "rows.parquet")
    found = fastgd.fit_table(tmp_path / "rows.parquet", y="y", x="x", by=["day", "flag", "size"], solve=True).table
    assert [str(found.schema.field(name).type) for name in ("day", "flag", "size")] == ["date32[day]", "bool", "double"]
    assert found.num_rows == 3 * 2 * 3  # NaN and null are one label, and so are 0.0 and −0.0
    assert sum(found["n_used"].to_pylist()) == 60
    text = write_csv(tmp_path / "rows.csv", "zip,month,x,y\n07,1,1,2\n7,10,2,3\n07,2,3,4\n7,,4,4\n")
    found = fastgd.fit_table(text, y="y", x="x", by=["zip", "month"], solve=True).table
    assert found.select(["zip", "month"]).to_pydict() == {"zip": ["07", "07", "7", "7"], "month": [1, 2, 10, None]}


def test_categories_of_a_relation_are_texts():
    with duckdb.connect() as connection:
        connection.sql("CREATE TYPE mood AS ENUM ('sad', 'happy')")
        relation = connection.sql("SELECT (['sad','happy'])[1 + i % 2]::mood AS mood, i AS x, 2 * i AS y FROM range(10) t(i)")
        found = fastgd.fit_table(relation, y="y", x="x", by="mood", solve=True).table
    assert found["mood"].to_pylist() == ["happy", "sad"]
    assert np.allclose(found["x"].to_pylist(), 2)


def test_numbers_of_a_csv_file_are_those_that_python_reads(tmp_path):
    numbers = RNG.integers(0, 2**64, 400, np.uint64).view(np.float64)
    numbers = numbers[np.isfinite(numbers) & (np.abs(numbers) < 1e100) & (np.abs(numbers) > 1e-100)]
    text = "k,x,y\n" + "".join(f"{k},{value!r},{value!r}\n" for k, value in enumerate(numbers.tolist()))
    given = {"y": "y", "x": "x", "by": "k", "weights": None, "intercept": False, "solve": True, "long": False}
    places = {"out": None, "temp_folder": None, "checkpoint": None}
    with table_job.planned(
        write_csv(tmp_path / "rows.csv", text), given, {}, places, threads=None, memory_limit=None, progress=False
    ) as job:
        rows = job.source.rows_of(job.source.sorted_rows(job.scan.whole))
    assert [row[1] for row in rows] == numbers.tolist()


def test_true_and_false_of_a_csv_file_are_1_and_0(tmp_path):
    """As pandas writes a column of bool, and as one of a frame is read."""
    frame = FRAME.with_columns(late=pl.col("arr") > 0).to_pandas()
    frame.to_csv(tmp_path / "rows.csv", index=False)
    given = {"y": "gain", "x": ["dep delay", "late"], "solve": True}
    same_rows(fastgd.fit_table(tmp_path / "rows.csv", **given).table, pl.from_pandas(fastgd.fit_frame(frame, **given)).to_arrow())


# -- errors ----------------------------------------------------------------------------------------

GOOD = "k,dep_delay,y\n1,2,3\n1,3,5\n2,4,4\n"


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        ("", {}, ValueError, "is empty; a line of names"),
        ("k,dep_delay,y\n", {}, ValueError, "the table has no rows"),
        (GOOD, {"x": "dep_dleay"}, ValueError, "rows.csv has no column 'dep_dleay'; is 'dep_delay' meant?"),
        (GOOD, {"x": "K"}, ValueError, "has no column 'K'; is 'k' meant?"),
        (GOOD, {"by": "carrier"}, ValueError, "has no column 'carrier'; there are: 'k', 'dep_delay', 'y'"),
        (GOOD.replace("4,4", "4,late"), {}, ValueError, "column 'y' of numbers has late, which is not a number: write it as -1234.5, "),
        (GOOD.replace("4,4", "1_000,4"), {}, ValueError, "column 'dep_delay' of numbers has 1_000, which is not a number"),
        (
            GOOD.replace("4,4", "4,NA"),
            {},
            ValueError,
            r"of 3 rows 1 lack a finite number \('y' in 1 row\): nan_policy='omit' leaves them out",
        ),
        (GOOD.replace("4,4", "inf,-9999"), {"nodata": [-9999]}, ValueError, "1 lack a finite number .'y' in 1 row, 'dep_delay' in 1 row."),
        (GOOD.replace("4,4", "1e39,4"), {"dtype": "float32"}, ValueError, "'dep_delay' in 1 row"),
        (
            GOOD.replace("4,4", "-4,4"),
            {"weights": "dep_delay", "x": "k", "by": None},
            ValueError,
            "column 'dep_delay' of weights is negative in 1 row",
        ),
        (GOOD.replace("4,4", "4"), {}, ValueError, "rows.csv, line 4: Expected Number of Columns: 3 Found: 2"),
        (GOOD, {"by": "y"}, ValueError, "column 'y' is in by, and its numbers are fitted"),
        (GOOD, {"x": ["y"]}, ValueError, "column 'y' is in x and in y"),
        (GOOD, {"by": ["k", "k"]}, ValueError, "by names column 'k' twice"),
        (GOOD, {"epoch": 3}, TypeError, "no option 'epoch': give epochs="),
        (GOOD, {"lr": [0.1, 0.2, 0.3]}, ValueError, "lr has shape"),
        (GOOD, {"seed": 3}, ValueError, "fit_table takes no seed"),
        (GOOD, {"history": True}, ValueError, "fit_table takes no history"),
        (GOOD, {"memory_limit": "64 MiB"}, MemoryError, "fit_table needs at least 128.0 MiB"),
        (GOOD, {"out": "fits.txt"}, ValueError, "the name must end in .csv or .parquet"),
        (GOOD, {"out": "none/fits.csv"}, FileNotFoundError, "there is no folder none"),
        (GOOD, {"out": "rows.csv"}, ValueError, "which is also read"),
        (GOOD, {"temp_folder": 3}, TypeError, "temp_folder must be the name of a file, a str, bytes or os.PathLike, not 3"),
        (GOOD, {"intercept": "no"}, TypeError, "intercept must be True or False, not 'no'"),
        (GOOD, {"temp_folder": "none"}, FileNotFoundError, "no folder for temporary files"),
    ],
)
def test_what_is_wrong_is_said_before_any_fit(text, options, error, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not options.keys() & {"lr", "epoch"}:  # these are noticed by a fit of rows that are made up
        monkeypatch.setattr(table_job.FrameFits, "fit", lambda *given: pytest.fail("a fit"))
    write_csv(tmp_path / "rows.csv", text)
    before = os.listdir(tmp_path)
    with pytest.raises(error, match=said):
        fastgd.fit_table("rows.csv", **{"y": "y", "x": "dep_delay", "by": "k"} | options)
    assert os.listdir(tmp_path) == before


def test_files_that_are_wrong(tmp_path):
    good = write_csv(tmp_path / "rows.csv", GOOD)
    parquet = tmp_path / "rows.parquet"
    pl.DataFrame({"k": ["a"], "dep_delay": ["late"], "y": [1.0], "many": [[1]]}).write_parquet(parquet)
    other = tmp_path / "other.parquet"
    pl.DataFrame({"k": ["a"], "delay": [1.0], "y": [1.0]}).write_parquet(other)
    (tmp_path / "empty folder").mkdir()
    (tmp_path / "rows.zip").write_bytes(b"PK\x03\x04 and so on")
    (tmp_path / "latin.csv").write_bytes("k,dep_delay,y\nä,1,2\n".encode("latin-1"))
    for source, error, said in (
        (tmp_path / "row.csv", FileNotFoundError, "no such file; is 'rows.csv' meant"),
        (tmp_path / "*.tsv", FileNotFoundError, "no file matches"),
        (tmp_path / "empty folder", ValueError, "has no .parquet"),
        ([], ValueError, "no file is named"),
        ([good, good], ValueError, "is named twice"),
        ([good, parquet], ValueError, "is a Parquet file and .*rows.csv is text"),
        (17, TypeError, "a table must be the path"),
        ("/dev/null", ValueError, "is a pipe or a device"),
        (tmp_path / "rows.zip", ValueError, "is a .zip or .xlsx file"),
        (parquet, TypeError, "column 'dep_delay' of .*rows.parquet is VARCHAR: it must hold numbers, such as 0 and 1 for each"),
        ([parquet, other], ValueError, r"other.parquet has no column 'dep_delay'; is 'delay' meant\?"),
        (tmp_path / "latin.csv", ValueError, "latin.csv, line 2: Invalid unicode"),
    ):
        with pytest.raises(error, match=said):
            fastgd.fit_table(source, y="y", x="dep_delay", by="k")
    pl.DataFrame({"many": [[1]], "x": [1.0], "y": [1.0]}).write_parquet(other)
    with pytest.raises(TypeError, match=r"column 'many' of .* is BIGINT\[\]: keys are numbers, texts, dates or times"):
        fastgd.fit_table(other, y="y", x="x", by="many")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ImportError, match=r"tables need duckdb: pip install 'fastgd\[tables\]'"):
        fastgd.fit_table("rows.csv", y="y", x="x")
