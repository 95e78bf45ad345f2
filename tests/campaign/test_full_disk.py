"""The attack of full disks finds nothing, and finds planted faults."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from fastgd.kernels.cpu.simd import disk_cache
from fastgd.results import file_format, replacing
from tests.campaign import full_disk
from tests.campaign.trying import find_planted, narrowed, run_for_a_moment


@pytest.mark.parametrize("what", ["a small result", "a JSON report", "a kernel"])
def test_nothing_is_found(what, tmp_path):
    run_for_a_moment(narrowed(full_disk.ATTACK, what), tmp_path, seconds=0.2)


def test_half_a_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(file_format, "replacing", lambda path: Path(path).open("w+b"))  # noqa: SIM115 - write_file closes it
    found = find_planted(narrowed(full_disk.ATTACK, "a small result"), tmp_path)
    assert found
    assert found <= {f"a small result: {what}" for what in ("half a file", "the error does not name the file")}


def test_an_error_that_does_not_name_the_file_is_found(tmp_path, monkeypatch):
    real = replacing.replacing

    @contextlib.contextmanager
    def nameless(path):
        try:
            with real(path) as file:
                yield file
        except OSError as error:
            error.filename = None
            raise

    monkeypatch.setattr(file_format, "replacing", nameless)
    assert find_planted(narrowed(full_disk.ATTACK, "a small result"), tmp_path) == {"a small result: the error does not name the file"}


def test_a_kernel_that_stops_its_call_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_cache, "say_once", lambda line, *about: print("a line", 1 / 0))
    assert find_planted(narrowed(full_disk.ATTACK, "a kernel"), tmp_path) == {"a kernel: ZeroDivisionError"}
