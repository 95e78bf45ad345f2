"""The folder of a checkpoint: which call it is of, what is damaged, who may use it."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

import fastgd
from fastgd.results.checkpoint import CALL, FREE, LOCK, Call, open_checkpoint
from fastgd.results.file_format import read_file, write_file
from tests.support.jobs import job_of
from tests.support.parts_of_an_option import options_of_fit

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 9, 2)), RNG.standard_normal((40, 9))
OPTIONS = {"lr": np.linspace(0.01, 0.1, 40), "epochs": 7, "intercept": True, "history": 3}


@pytest.fixture
def nothing_runs(monkeypatch):
    """From here on no fit may be computed."""

    def began(*args):
        raise AssertionError("work began")

    monkeypatch.setattr("fastgd.running.cpu._run_fits", began)


@pytest.fixture
def saved(tmp_path):
    """(folder, bytes of the saved result) of a call that has ended."""
    folder = tmp_path / "checkpoint"
    return folder, bytes_of(fastgd.fit(X, Y, **OPTIONS, checkpoint=folder), tmp_path)


def bytes_of(result, tmp_path):
    path = tmp_path / "result.npz"
    result.save(path)
    return path.read_bytes()


def blocks(folder):
    return sorted(path.name for path in folder.iterdir() if "-block-" in path.name)


def test_a_call_that_has_ended_is_there_at_once(saved, tmp_path, nothing_runs):
    folder, whole = saved
    assert blocks(folder) == ["fastgd-block-fits-0-40.npz"]
    assert whole == bytes_of(fastgd.fit(X, Y, **OPTIONS, checkpoint=os.fsencode(folder)), tmp_path)


def test_it_is_the_result_without_a_checkpoint(saved, tmp_path):
    assert saved[1] == bytes_of(fastgd.fit(X, Y, **OPTIONS), tmp_path)


def test_threads_memory_and_libraries_may_differ(saved, tmp_path, nothing_runs):
    again = fastgd.fit(X.tolist(), np.asfortranarray(Y), **OPTIONS, checkpoint=saved[0], threads=1, progress=None, memory_limit="90 MiB")
    assert saved[1] == bytes_of(again, tmp_path)


# -- another call -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"epochs": 8}, "epochs was 7 and is 8"),
        ({"lr": OPTIONS["lr"] * 2, "tol": 0.1}, "lr differs, tol was None and is 0.1"),
        ({"lr": 0.1}, r"lr was an array \(40,\) of float64 and is 0.1"),
        ({"optimizer": fastgd.Adam()}, "optimizer was 'sgd' and is <Adam>|optimizer was 'sgd' and is Adam"),
        ({"X": X + 1}, "X differs"),
        ({"X": X.astype("f4")}, r"X was an array \(40, 9, 2\) of float64 and is an array \(40, 9, 2\) of float32"),
        ({"y": -Y, "sample_weight": np.ones(9)}, r"y differs, sample_weight was None and is an array \(9,\) of float64"),
        ({"X": np.ma.array(X, mask=X > 1), "nan_policy": "omit"}, "nan_policy was 'raise' and is 'omit', X differs"),
        ({"X": fastgd.compress(X, Y, intercept=True), "y": None}, r"X was an array .* and is <Moments>.*"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_of_other_data_or_options_it_is_refused(saved, changed, told):
    with pytest.raises(ValueError, match=rf"^the checkpoint .* is of another call: ({told}).*; give what was given before, another folder"):
        fastgd.fit(**{"X": X, "y": Y, **OPTIONS, "checkpoint": saved[0], **changed})
    assert blocks(saved[0])


def call(**changed):
    """A call of `fit` with values that have no meaning."""
    arguments = {"X": X, "y": Y, **options_of_fit(), **changed}
    return Call.of("fit", arguments, job_of(X, Y).problem)


@pytest.mark.parametrize("name", options_of_fit())
def test_every_option_counts_but_those_that_change_no_bit(name):
    """So does one that is added later, without a line in checkpoint.py."""
    ours, other = call(), call(**{name: "another"})
    counts = name not in (*FREE, "sample_weight")  # the last is among the data
    assert (ours.key != other.key) == counts
    assert ours.differences(other).startswith(f"{name} was 'another' and is ") == counts


def test_what_changes_no_bit():
    assert FREE == ("threads", "memory_limit", "progress", "checkpoint", "out")


def test_other_versions_and_functions_are_told(saved):
    folder, _ = saved
    found = read_file(folder / CALL, (Call,))
    for changed, told in (
        ({"versions": {**found.versions, "fastgd": "0.0"}}, f"made with fastgd 0.0, and here is fastgd {fastgd.__version__}"),
        ({"versions": {**found.versions, "numpy": "1.0"}}, f"made with numpy 1.0, and here is numpy {np.__version__}"),
        ({"format": 0}, "it has format 0, and this version of fastgd writes format 1"),
        ({"function": "sweep"}, "it is of a call of sweep"),
    ):
        write_file(folder / CALL, Call(**{**vars(found), **changed}))
        with pytest.raises(ValueError, match=f"is of another call: .*{re.escape(told)}"):
            fastgd.fit(X, Y, **OPTIONS, checkpoint=folder)
    # libraries that only one of the two processes has imported, and Python, tell nothing
    write_file(folder / CALL, Call(**{**vars(found), "versions": {**found.versions, "cupy": "1.0", "python": "3.1"}}))
    fastgd.fit(X, Y, **OPTIONS, checkpoint=folder)


# -- damage -------------------------------------------------------------------------------------


@pytest.fixture
def in_blocks(tmp_path, monkeypatch):
    """(folder, bytes of the result): a call that has ended, in blocks of 10 fits."""
    folder = tmp_path / "checkpoint"
    monkeypatch.setattr("fastgd.running.storing.MOST_BYTES", 10 * job_of(X, Y, **OPTIONS).buffers.layout.bytes_per_fit)
    whole = bytes_of(fastgd.fit(X, Y, **OPTIONS, checkpoint=folder), tmp_path)
    assert blocks(folder) == [f"fastgd-block-fits-{first}-{first + 10}.npz" for first in (0, 10, 20, 30)]
    return folder, whole


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def truncate(path, place):
    path.write_bytes(path.read_bytes()[:place])


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("place", [0, 3, 40, -2000, -300, -65, -1])
def test_of_a_damaged_block_only_its_fits_are_computed_again(in_blocks, tmp_path, damage, place, capsys, monkeypatch):
    folder, whole = in_blocks
    damage(folder / "fastgd-block-fits-10-20.npz", place)
    computed = seen_fits(monkeypatch)
    assert whole == bytes_of(fastgd.fit(X, Y, **OPTIONS, checkpoint=folder), tmp_path)
    assert computed == [(10, 20)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"fastgd: 1 block of the checkpoint {folder} is damaged (fastgd-block-fits-10-20.npz): what was in there is computed again"
    )
    assert len(blocks(folder)) == 4
    assert whole == bytes_of(fastgd.fit(X, Y, **OPTIONS, checkpoint=folder), tmp_path)
    assert computed == [(10, 20)]


def seen_fits(monkeypatch):
    """The ranges of fits that tasks compute from now on."""
    from fastgd.running import cpu

    seen, run_fits = [], cpu._run_fits

    def note(job, control, validator, first, stop, counter):
        seen.append((first, stop))
        run_fits(job, control, validator, first, stop, counter)

    monkeypatch.setattr(cpu, "_run_fits", note)
    return seen


def test_a_block_of_other_fits_under_this_name_is_not_taken(in_blocks, tmp_path, capsys):
    folder, whole = in_blocks
    there = tmp_path / "there"
    fastgd.fit(X, -Y, **OPTIONS, checkpoint=there)
    (there / "fastgd-block-fits-10-20.npz").replace(folder / "fastgd-block-fits-10-20.npz")
    assert whole == bytes_of(fastgd.fit(X, Y, **OPTIONS, checkpoint=folder), tmp_path)
    assert "1 block" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("place", [0, 3, 40, -1])
def test_a_damaged_description_loses_nothing(in_blocks, tmp_path, damage, place, capsys, nothing_runs):
    folder, whole = in_blocks
    damage(folder / CALL, place)
    assert whole == bytes_of(fastgd.fit(X, Y, **OPTIONS, checkpoint=folder), tmp_path)
    assert capsys.readouterr().err == (
        f"fastgd: {CALL} of the checkpoint {folder} is damaged, and written anew: its blocks say what is in them\n"
    )


@pytest.mark.parametrize("lost", [lambda path: truncate(path, 7), os.unlink], ids=["damaged", "lost"])
def test_without_a_description_blocks_of_another_call_are_refused(in_blocks, lost):
    folder, _ = in_blocks
    lost(folder / CALL)
    with pytest.raises(ValueError, match=r"and its blocks are of another call: give another folder, or delete this one$"):
        fastgd.fit(X, Y, **{**OPTIONS, "epochs": 8}, checkpoint=folder)
    assert len(blocks(folder)) == 4


def test_what_a_killed_process_left_is_removed(in_blocks, nothing_runs):
    folder, _ = in_blocks
    (folder / ".fastgd-0123456789abcdef.tmp").write_bytes(b"half a file")
    fastgd.fit(X, Y, **OPTIONS, checkpoint=folder)
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]


# -- folders ------------------------------------------------------------------------------------


def test_a_path_that_is_none(nothing_runs, tmp_path):
    for value, kind, told in (
        (3, TypeError, "checkpoint must be the name of a file, a str, bytes or os.PathLike, not 3"),
        (False, TypeError, "checkpoint must be the name of a file, a str, bytes or os.PathLike, not False"),
        ("a\0b", ValueError, "checkpoint has a NUL character"),
    ):
        with pytest.raises(kind, match=told):
            fastgd.fit(X, Y, checkpoint=value)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^checkpoint must be a folder, new or of the same call; .*file is none$"):
        fastgd.fit(X, Y, checkpoint=tmp_path / "file")


def test_a_folder_with_other_files_is_left_as_it_is(nothing_runs, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(
        ValueError, match=r"^checkpoint must be a folder, new or of the same call; .* has other files, such as 'thesis.tex'$"
    ):
        fastgd.fit(X, Y, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_other_files_in_its_folder_stay(saved, nothing_runs):
    folder, _ = saved
    (folder / "notes.txt").write_text("mine")
    fastgd.fit(X, Y, **OPTIONS, checkpoint=folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_two_calls_at_once(tmp_path):
    told = []

    def try_again(done, total):
        if not told:
            with pytest.raises(ValueError, match=r"^the checkpoint .* is in use by another call: wait for it, or give another folder$"):
                fastgd.fit(X, Y, **OPTIONS, checkpoint=tmp_path / "folder")
            told.append(done)

    fastgd.fit(X, Y, **OPTIONS, checkpoint=tmp_path / "folder", progress=try_again)
    assert told


def test_a_folder_that_cannot_be_written(nothing_runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="the checkpoint cannot be written: Not a directory") as raised:
        fastgd.fit(X, Y, checkpoint=tmp_path / "file" / "folder")
    assert raised.value.filename == str(tmp_path / "file" / "folder")


def test_a_read_only_folder(saved, nothing_runs, monkeypatch):
    """Root may write everywhere, so the system is imitated."""
    folder, _ = saved
    real = os.open

    def refusing(path, flags, *more, **named):
        if os.fspath(path).endswith(LOCK):
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(PermissionError, match="the checkpoint cannot be written: Permission denied"):
        fastgd.fit(X, Y, **OPTIONS, checkpoint=folder)


def test_what_does_not_go_with_it(nothing_runs, tmp_path):
    with pytest.raises(ValueError, match=r"^checkpoint stores the results, and out says where else they should be: leave one of them out$"):
        fastgd.fit(X, Y, checkpoint=tmp_path / "folder", out=np.empty((40, 2)))
    with pytest.raises(TypeError, match=r"^schedule is, or has, a function, and a checkpoint cannot tell"):
        fastgd.fit(X, Y, checkpoint=tmp_path / "folder", schedule=lambda epoch: 0.1)
    assert not list(tmp_path.iterdir())


def test_the_lock_is_free_afterwards(tmp_path):
    for _ in range(2):
        with open_checkpoint(tmp_path, call()) as checkpoint:
            assert checkpoint.part("fits").blocks() == []
