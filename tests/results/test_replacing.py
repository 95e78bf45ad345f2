"""Files are written all or nothing (fastgd/results/replacing.py); with kill -9 in
tests/campaign/kills.py, on a full disk in tests/campaign/full_disk.py."""

from __future__ import annotations

import builtins
import errno
import os
import threading

import numpy as np
import pytest

import fastgd
from fastgd.cli.demo_picture import Countries, draw_countries
from fastgd.results.replacing import replacing, write_text


def report():
    return fastgd.verify("numpy", [1.0, 2, 3], [2.0, 4, 6], lr=0.01, epochs=2)


def a_picture(path):
    """Of the demo; without drawing."""
    one = np.ones(10)
    draw_countries(Countries([f"Land {k}" for k in range(10)], np.arange(1952, 2008, 5), np.ones((10, 12)), 1980.0, one, one, one,
                             np.ones((10, 31))), path)  # fmt: skip


WRITERS = {
    "a saved result": ("result.npz", lambda path: fastgd.fit([1.0, 2], [1.0, 2], lr=0.1, epochs=1).save(path)),
    "JSON": ("report.json", lambda path: report().to_json(path)),
    "HTML": ("report.html", lambda path: report().to_html(path)),
    "a picture": ("picture.png", a_picture),
}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
@pytest.mark.parametrize("what", WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_the_error_names_it(what, broken, tmp_path, monkeypatch):
    name, write = WRITERS[what]
    path = tmp_path / name
    path.write_bytes(b"old")

    def refuse(*given, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, broken, refuse)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]
    write(path)
    assert path.read_bytes() != b"old"
    assert os.listdir(tmp_path) == [name]


def test_an_error_of_the_content_is_not_one_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), replacing(tmp_path / "file"):
        (tmp_path / "elsewhere").read_bytes()
    assert os.listdir(tmp_path) == []


def test_ctrl_c_right_after_the_file_is_made_leaves_nothing(tmp_path, monkeypatch):
    real = open

    def opened(path, *given, **options):
        real(path, *given, **options).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "open", opened)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file"):
        pytest.fail("it was not opened")
    assert os.listdir(tmp_path) == []


def test_text_goes_straight_into_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_text(tmp_path / "pipe", "größer\udc80", errors="backslashreplace")
    reader.join(60)
    assert read == ["größer\\udc80".encode()]
    assert os.listdir(tmp_path) == ["pipe"]
