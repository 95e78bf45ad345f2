"""The file of results: written as results come, the same at every run, whole or not there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import fastgd
from fastgd.cli import app
from fastgd.integrations import table_job, table_output, table_source
from tests import grids

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
    with pytest.raises(OSError, match=r"the disk is full where rows are sorted .*: '/spilled'"), table_source.in_our_words("/spilled"):
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
from fastgd.integrations import table_checkpoint, table_job
from fastgd.integrations.frame_fits import FrameFits
table_job.CHUNK, table_job._BATCH_BYTES, table_checkpoint._EVERY = 32, 1000, 0.0
fit, calls = FrameFits.fit, []
def slow(self, frame, groups):
    calls.append(self.keys)
    if calls.count(["tail"]) == 4:
        print("fitting", flush=True)
        time.sleep(60)
    return fit(self, frame, groups)
FrameFits.fit = slow
from fastgd.cli import main
main()
"""


@pytest.mark.parametrize("sent", grids.share("signals to a fit of a table", [signal.SIGKILL, signal.SIGINT], [signal.SIGKILL]))
def test_an_interrupted_command_leaves_no_half_file_and_goes_on(sent, tmp_path, small_batches, monkeypatch):
    FRAME.write_parquet(tmp_path / "rows.parquet")
    out, stored = tmp_path / "fits.csv", tmp_path / "fits.checkpoint"
    out.write_text("earlier")
    command = [sys.executable, "-P", "-c", SLOW, "fit", str(tmp_path / "rows.parquet"), "--y", "arr", "--x", "miles", "--by", "tail"]
    command += ["--out", str(out), "--checkpoint", str(stored)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"fitting\n"
        process.send_signal(sent)
        process.communicate(timeout=30)
    assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    assert out.read_text() == "earlier"
    if sent == signal.SIGINT:
        assert sorted(os.listdir(tmp_path)) == ["fits.checkpoint", "fits.csv", "rows.parquet"]
    fits, fit = [], table_job.FrameFits.fit
    monkeypatch.setattr(table_job.FrameFits, "fit", lambda self, *given: fits.append(self.keys) or fit(self, *given))
    fastgd.fit_table(tmp_path / "rows.parquet", **MODEL, optimizer=fastgd.SGD(), out=out, checkpoint=stored)
    n_gone_on, n_batches = fits.count(["tail"]), len(os.listdir(stored)) - 2
    assert n_gone_on == n_batches - 3  # three had ended before the signal
    fastgd.fit_table(tmp_path / "rows.parquet", **MODEL, optimizer=fastgd.SGD(), out=tmp_path / "alone.csv")
    assert out.read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_ctrl_c_is_status_130_and_leaves_no_half_file(tmp_path, small_batches, monkeypatch):
    FRAME.write_parquet(tmp_path / "rows.parquet")
    fits, fit = [], table_job.FrameFits.fit

    def interrupted(self, *given):
        fits.append(self.keys)
        if fits.count(["tail"]) == 4:
            raise KeyboardInterrupt
        return fit(self, *given)

    monkeypatch.setattr(table_job.FrameFits, "fit", interrupted)
    words = ["fit", str(tmp_path / "rows.parquet"), "--y", "arr", "--x", "miles", "--by", "tail", "--out", str(tmp_path / "fits.csv")]
    assert CliRunner().invoke(app, words).exit_code == 130
    assert len(fits) == 5  # one of rows that are made up
    assert os.listdir(tmp_path) == ["rows.parquet"]


def test_a_checkpoint_is_of_one_table_and_one_call(tmp_path, small_batches):
    FRAME.write_parquet(tmp_path / "rows.parquet")
    given = {**MODEL, "checkpoint": tmp_path / "stored"}
    first = fastgd.fit_table(tmp_path / "rows.parquet", **given).table
    assert fastgd.fit_table(tmp_path / "rows.parquet", **given, threads=1).table.equals(first)
    with pytest.raises(ValueError, match="is of another call: epochs was 100 and is 7"):
        fastgd.fit_table(tmp_path / "rows.parquet", **given, epochs=7)
    with pytest.raises(ValueError, match=r"is of another call: table was .*, x was \['miles'\] and is \['gain'\]"):
        fastgd.fit_table(_other(tmp_path, gain=FRAME["arr"] + 1), **given | {"x": "gain"})
    size = (tmp_path / "rows.parquet").stat().st_size
    swapped = FRAME.with_columns(arr=FRAME["arr"].reverse())
    swapped.write_parquet(tmp_path / "rows.parquet")
    assert abs((tmp_path / "rows.parquet").stat().st_size - size) < 1000
    with pytest.raises(ValueError, match="is of another call: table"):
        fastgd.fit_table(tmp_path / "rows.parquet", **given)
    FRAME.write_parquet(tmp_path / "rows.parquet")
    block = blocks(tmp_path / "stored")[3]
    block.write_bytes(block.read_bytes()[:-200] + bytes(200))
    assert fastgd.fit_table(tmp_path / "rows.parquet", **given).table.equals(first)  # and says so on stderr


def blocks(folder):
    """The blocks of a checkpoint, in the order of their rows."""
    return sorted((path for path in folder.iterdir() if "-block-" in path.name), key=lambda path: int(path.name.split("-")[3]))


def test_after_a_kill_it_goes_on_with_less_memory(tmp_path, small_batches, monkeypatch):
    """Batches of another size begin behind those that are stored."""
    FRAME.write_parquet(tmp_path / "rows.parquet")
    given = {**MODEL, "checkpoint": tmp_path / "stored"}
    first = fastgd.fit_table(tmp_path / "rows.parquet", **given).table
    for path in blocks(tmp_path / "stored")[4:]:
        path.unlink()
    kept = blocks(tmp_path / "stored")
    monkeypatch.setattr(table_job, "CHUNK", 16)
    monkeypatch.setattr(table_job, "_BATCH_BYTES", 500)
    seen, done = [], table_job.TableJob._done
    monkeypatch.setattr(table_job.TableJob, "_done", lambda self, batch: seen.append(batch.first) or done(self, batch))
    assert fastgd.fit_table(tmp_path / "rows.parquet", **given).table.equals(first)
    assert min(seen) == int(kept[-1].stem.split("-")[4])
    assert set(kept) < set(blocks(tmp_path / "stored"))
    seen.clear()
    blocks(tmp_path / "stored")[1].unlink()
    assert fastgd.fit_table(tmp_path / "rows.parquet", **given).table.equals(first)
    assert min(seen) == int(kept[0].stem.split("-")[4])


def _other(folder, **columns):
    FRAME.with_columns(**columns).write_parquet(folder / "other.parquet")
    return folder / "other.parquet"
