"""The file of results: written as results come, the same at every run, whole or not there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import fastgd
from fastgd.integrations import table_job, table_output, table_source

RNG = np.random.default_rng(3)
FRAME = pl.DataFrame({"tail": RNG.integers(0, 60, 900), "miles": RNG.integers(100, 900, 900), "arr": RNG.normal(size=900)})
MODEL = {"y": "arr", "x": "miles", "by": "tail"}


@pytest.fixture
def small_batches(monkeypatch):
    """At most 32 rows in a batch."""
    monkeypatch.setattr(table_job, "CHUNK", 32)
    monkeypatch.setattr(table_job, "_BATCH_BYTES", 1000)


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    """Neither the file that was there nor a half one, and the message says where."""
    FRAME.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "fits.csv").write_text("earlier")

    def full(file, schema):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.csv.CSVWriter", full)
    with pytest.raises(OSError, match=r"No space left on device: .*fits.csv"):
        fastgd.fit_table(tmp_path / "rows.parquet", **MODEL, out=tmp_path / "fits.csv")
    assert (tmp_path / "fits.csv").read_text() == "earlier"
    assert sorted(os.listdir(tmp_path)) == ["fits.csv", "rows.parquet"]
    with pytest.raises(OSError, match="the disk is full where rows are sorted"), table_source.in_our_words():
        raise duckdb.OutOfMemoryException("failed to offload data block: This limit was set by the 'max_temp_directory_size' setting")
    with pytest.raises(MemoryError, match="give a larger memory_limit"), table_source.in_our_words():
        raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block")


def test_results_of_many_batches_are_written_as_they_come(tmp_path, small_batches, monkeypatch):
    monkeypatch.setattr(table_output, "_ROWS", 8)
    FRAME.write_parquet(tmp_path / "rows.parquet")
    for name in ("fits.parquet", "fits.csv"):
        fastgd.fit_table(tmp_path / "rows.parquet", **MODEL, out=tmp_path / name)
    expected = fastgd.fit_frame(FRAME, **MODEL).sort("tail")
    written = pq.ParquetFile(tmp_path / "fits.parquet")
    assert written.num_row_groups > 5
    assert pl.from_arrow(written.read()).equals(expected)
    text = pl.read_csv(tmp_path / "fits.csv")
    assert text["miles"].to_list() == written.read()["miles"].to_pylist()
    first = (tmp_path / "fits.parquet").read_bytes()
    fastgd.fit_table(tmp_path / "rows.parquet", **MODEL, out=tmp_path / "fits.parquet", threads=1, memory_limit="1 GiB")
    assert (tmp_path / "fits.parquet").read_bytes() == first


def test_progress_is_in_rows(tmp_path, small_batches):
    FRAME.write_parquet(tmp_path / "rows.parquet")
    calls = []
    fastgd.fit_table(tmp_path / "rows.parquet", **MODEL, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (900, 900)
    assert len(calls) > 5
    assert calls == sorted(calls)


SLOW = """
import sys, time
import fastgd
from fastgd.integrations.frame_fits import FrameFits
fit = FrameFits.fit
def slow(self, frame, groups):
    if self.keys:
        print("fitting", flush=True)
        time.sleep(60)
    return fit(self, frame, groups)
FrameFits.fit = slow
from fastgd.cli import main
main()
"""


def test_ctrl_c_leaves_no_half_file(tmp_path):
    FRAME.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "fits.csv").write_text("earlier")
    command = [sys.executable, "-P", "-c", SLOW, "fit", str(tmp_path / "rows.parquet"), "--y", "arr", "--x", "miles", "--by", "tail"]
    with subprocess.Popen([*command, "--out", str(tmp_path / "fits.csv")], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"fitting\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert (tmp_path / "fits.csv").read_text() == "earlier"
    assert sorted(os.listdir(tmp_path)) == ["fits.csv", "rows.parquet"]
