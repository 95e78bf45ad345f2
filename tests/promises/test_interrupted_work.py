"""Interrupted work is not lost: after kill -9, Ctrl-C or a full disk the same call goes on, and its
result has the bytes of a call that was never interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import fastgd
from fastgd.running import storing
from tests import grids
from tests.campaign.children import Child
from tests.campaign.full_disk import mount_small_disk, no_longer_than

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((4000, 9, 3)), RNG.standard_normal((4000, 9))
OPTIONS = {"lr": np.linspace(0.01, 0.1, 4000), "epochs": 4000, "intercept": True, "history": 1000}
ROWS = {"X": X.reshape(-1, 3), "y": Y.reshape(-1), "groups": np.repeat(RNG.integers(0, 3000, 4000), 9)}
GRID = {"grid": {"lr": np.geomspace(1e-3, 1, 2000), "optimizer": ["sgd", "adam"]}, "epochs": 2000}
CALLS = {
    "fit": lambda **given: fastgd.fit(X, Y, **OPTIONS, **given),
    "fit_groups": lambda **given: fastgd.fit_groups(**ROWS, epochs=4000, stats=True, **given),
    "sweep": lambda **given: fastgd.sweep(X[0], Y[0], **GRID, X_val=X[1], y_val=Y[1], **given),
}
MOMENTS = np.random.default_rng(6).uniform(0.0, 1.0, 20)  # of the time that the call takes


def bytes_of(result, tmp_path):
    path = tmp_path / "result.npz"
    result.save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{name of a call: (bytes of its result, seconds that it takes)}, as it is asked for."""
    known = {}

    def of(name):
        if name not in known:
            CALLS[name]()
            began = time.monotonic()
            result = CALLS[name]()
            known[name] = bytes_of(result, tmp_path_factory.mktemp(name)), time.monotonic() - began
        return known[name]

    return of


@pytest.fixture(autouse=True)
def stored_often(monkeypatch):
    """Else calls of a second would be stored at their end alone."""
    monkeypatch.setattr(storing, "SHORTEST", 0.01)


def stored(folder):
    """How many blocks are there."""
    return sum("-block-" in path.name for path in folder.iterdir()) if folder.exists() else 0


KILLS = grids.share("kills of calls with a checkpoint", list(enumerate(MOMENTS)), few=list(enumerate(MOMENTS))[:3])


@pytest.mark.parametrize(("number", "moment"), KILLS, ids=lambda value: f"{value:.2f}" if isinstance(value, float) else str(value))
def test_after_a_kill_the_result_has_the_same_bytes(number, moment, whole, tmp_path):
    name = list(CALLS)[number % len(CALLS)]
    content, seconds = whole(name)
    folder = tmp_path / "checkpoint"
    child = Child(lambda child: (child.sign(), CALLS[name](checkpoint=folder), time.sleep(60)), tmp_path / "said")
    assert child.await_sign()
    time.sleep(seconds * moment)
    child.kill()
    assert bytes_of(CALLS[name](checkpoint=folder), tmp_path) == content


def test_kills_again_and_again(whole, tmp_path):
    """Each time something more is stored, until the call ends."""
    content, seconds = whole("fit")
    folder, before = tmp_path / "checkpoint", 0
    for moment in (0.5, 0.3, 0.5):
        child = Child(lambda child: (child.sign(), CALLS["fit"](checkpoint=folder), time.sleep(60)), tmp_path / "said")
        assert child.await_sign()
        deadline = time.monotonic() + 60
        while stored(folder) <= before and time.monotonic() < deadline:
            time.sleep(seconds * moment / 10)
        child.kill()
        assert stored(folder) > before or before
        before = stored(folder)
    assert bytes_of(CALLS["fit"](checkpoint=folder), tmp_path) == content


@pytest.mark.parametrize("name", CALLS)
def test_after_ctrl_c(name, whole, tmp_path):
    content, _ = whole(name)
    folder = tmp_path / "checkpoint"

    def stop(done, total):
        if done > total / 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CALLS[name](checkpoint=folder, progress=stop)
    assert stored(folder)
    assert bytes_of(CALLS[name](checkpoint=folder), tmp_path) == content


def _until_interrupted(folder):
    CALLS["fit"](checkpoint=folder)
    time.sleep(60)  # the call was faster than the signal


def test_after_a_signal(whole, tmp_path):
    """Ctrl-C itself, in the midst of kernels."""
    content, seconds = whole("fit")
    timer = threading.Timer(seconds / 2, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell started pytest in the background
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        _until_interrupted(tmp_path / "checkpoint")
    timer.join()
    signal.signal(signal.SIGINT, before)
    assert bytes_of(CALLS["fit"](checkpoint=tmp_path / "checkpoint"), tmp_path) == content


# -- a full disk --------------------------------------------------------------------------------

TOLD = "fastgd: the checkpoint {} could not be written ("


@pytest.mark.parametrize("limit", [3000, 40_000])
def test_a_disk_that_takes_no_longer_file(limit, whole, tmp_path, capsys):
    """RLIMIT_FSIZE: the call goes on, says so once, and stores later what it could not store."""
    content, _ = whole("fit")
    folder = tmp_path / "checkpoint"
    with no_longer_than(2**20):  # so that the description of the call can be written
        fastgd.fit(X[:1], Y[:1], checkpoint=tmp_path / "other")
    CALLS["fit"](checkpoint=folder)
    for path in folder.iterdir():
        if "-block-" in path.name:
            path.unlink()
    with no_longer_than(limit):
        result = CALLS["fit"](checkpoint=folder)
    assert bytes_of(result, tmp_path) == content
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(TOLD.format(folder))
    assert "File too large" in line
    assert bytes_of(CALLS["fit"](checkpoint=folder), tmp_path) == content


def test_a_full_disk(whole, tmp_path):
    """A tmpfs of 200 KiB that only a child sees, where one can be mounted."""
    content, _ = whole("fit")
    disk = tmp_path / "disk"
    disk.mkdir()

    def fill(child):
        why_not = mount_small_disk(disk, 200 * 1024, 50)
        if why_not:
            return why_not
        found = [bytes_of(CALLS["fit"](checkpoint=disk / "checkpoint"), tmp_path) == content]
        before = stored(disk / "checkpoint")
        found.append(bytes_of(CALLS["fit"](checkpoint=disk / "checkpoint"), tmp_path) == content)
        return found, before, [path.name for path in (disk / "checkpoint").iterdir() if path.name.endswith(".tmp")]

    answer = Child(fill, tmp_path / "said").answer()
    assert not answer.ended + answer.raised, answer.told
    if isinstance(answer.value, str):  # no tmpfs here: RLIMIT_FSIZE above shows the same
        assert answer.value.startswith(("no mount namespace", "no tmpfs"))
        return
    same, blocks, left = answer.value
    assert same == [True, True]
    assert left == []
    assert blocks
    said = (tmp_path / "said").read_text()
    assert said.count("could not be written") == 2
    assert "No space left on device" in said


def test_a_disk_that_is_full_at_once(tmp_path):
    """Nothing is lost yet, so the call does not begin."""
    with no_longer_than(100), pytest.raises(OSError, match="the checkpoint cannot be written: File too large"):
        CALLS["fit"](checkpoint=tmp_path / "checkpoint")
    assert not stored(tmp_path / "checkpoint")
