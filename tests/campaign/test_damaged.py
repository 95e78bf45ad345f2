"""The attack of damaged files finds nothing, and finds a reader that trusts too much."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from fastgd.cli import verify as command
from fastgd.kernels.cpu.simd import disk_cache
from fastgd.results import file_format
from tests.campaign.damaged import ATTACK, TABLE, plain_reading
from tests.campaign.trying import find_planted, run_for_a_moment


def test_nothing_is_found(tmp_path):
    run_for_a_moment(ATTACK, tmp_path)


def raw_errors(monkeypatch):
    """Errors of zipfile, json and NumPy come through as they are."""
    monkeypatch.setattr(file_format, "_in_the_users_words", lambda shown: contextlib.nullcontext())


def trusting_kernels(monkeypatch):
    """The checksum of a kernel is not compared."""
    real = disk_cache._parts

    def parts(content):
        try:
            return real(content)
        except ValueError:
            _, _, key, payload = content.split(b"\n", 3)
            return key, payload

    monkeypatch.setattr(disk_cache, "_parts", parts)


def forgiving_tables(monkeypatch):
    """Fields that are too many are left out."""
    strict = command._read_data

    def read(path, y, x, left_out):
        lines = path.read_bytes().decode("latin-1").split("\n")
        try:
            numbers = np.array([[float(cell) for cell in line.split(",")[:4]] for line in lines[1:] if line])
            return numbers[:, 1:3], numbers[:, 3]
        except (ValueError, IndexError):
            return strict(path, y, x, left_out)

    monkeypatch.setattr(command, "_read_data", read)


@pytest.mark.parametrize(
    ("plant", "kind"), [(raw_errors, "internal exception"), (trusting_kernels, "read wrong"), (forgiving_tables, "read wrong")]
)
def test_a_planted_fault_is_found(plant, kind, tmp_path, monkeypatch):
    plant(monkeypatch)
    assert find_planted(ATTACK, tmp_path) == {kind}


def test_a_table_is_read_by_hand():
    X, y = plain_reading(TABLE.encode())
    assert X[1].tolist() == [-2.75, -0.0015]
    assert y[1] == 3.125
    assert plain_reading(TABLE.replace("0.125", "0,125").encode()) is None
    assert plain_reading(TABLE.replace("3.125", "3_0.125").encode()) is None
    assert plain_reading(TABLE.replace("x1", "x2").encode()) is None
