"""What lies where a compiled kernel should lie, and what fails when one is written: whatever it is,
the kernel is compiled, the call goes on, and why is said once."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastgd.kernels import telling
from fastgd.kernels.cpu import compile_ahead
from fastgd.kernels.cpu.simd import disk_cache
from tests.kernels.cpu.simd.test_disk_cache import a_kernel, cache, count, kernels_in

__all__ = ["cache"]


def unreadable(path: Path) -> None:
    """A file that gives no bytes, not even to root: memory at an address that is not used."""
    path.symlink_to("/proc/self/mem")


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "something of the user's").touch()


IN_ITS_PLACE: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "unreadable": unreadable,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a terabyte": lambda path: (path.touch(), os.truncate(path, 2**40))[0],
    "a terabyte that begins as a kernel": lambda path: (path.write_bytes(disk_cache.FORMAT), os.truncate(path, 2**40))[0],
}


@pytest.mark.parametrize("what", IN_ITS_PLACE)
def test_whatever_lies_in_its_place_is_replaced(cache, capsys, what):
    """Neither waited for, nor read to its end, nor an error."""
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    path.unlink()
    IN_ITS_PLACE[what](path)
    capsys.readouterr()
    assert a_kernel()._cache.signatures_on_disk() == a_kernel()._cache.signatures_on_disk(whole=False) == set()
    assert count(a_kernel()) == (0, 1)
    assert ("compiled anew" in capsys.readouterr().err) == (what != "a link to nothing")
    assert count(a_kernel()) == (1, 0)


def test_a_folder_that_is_not_empty_stays_and_is_named(cache, capsys):
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    path.unlink()
    a_full_folder(path)
    for _ in range(2):
        assert count(a_kernel()) == (0, 1)
    assert capsys.readouterr().err.count("cannot be kept") == 1
    assert [inside.name for inside in path.iterdir()] == ["something of the user's"]


# -- writing ---------------------------------------------------------------------------------------

REFUSALS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ENAMETOOLONG]


@pytest.mark.parametrize("step", ["mkdir", "mkstemp", "fdopen", "chmod", "replace"])
def test_what_cannot_be_written_is_said_once_and_does_no_harm(cache, capsys, monkeypatch, step):
    """Whichever call of the system fails, and why."""
    kernel = a_kernel()
    assert count(kernel) == (0, 1)
    [(signature, compiled)] = kernel.overloads.items()
    owner = {"mkstemp": disk_cache.tempfile, "fdopen": disk_cache.os}.get(step, Path)
    for number in REFUSALS:

        def refuse(*given, number=number, **options):
            raise OSError(number, os.strerror(number))

        shutil.rmtree(cache, ignore_errors=True)
        telling._said.clear()
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, refuse)
            for _ in range(2):
                kernel._cache.save_overload(signature, compiled)
        said = capsys.readouterr().err
        assert said.count("cannot be kept") == 1
        assert os.strerror(number) in said
        assert [path for path in cache.rglob("*") if path.is_file()] == []
    kernel._cache.save_overload(signature, compiled)
    assert count(a_kernel()) == (1, 0)


def test_a_disk_that_is_full_in_the_middle_leaves_nothing(cache, capsys, monkeypatch):
    real = os.fdopen

    class Full:
        def __init__(self, *given):
            self.file = real(*given)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, content):
            self.file.write(content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk_cache.os, "fdopen", Full)
    assert count(a_kernel()) == (0, 1)
    assert "No space left" in capsys.readouterr().err
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("named", ["a file", "in a file", "a long name", "a folder that is gone", "a link to itself"])
def test_whatever_numba_cache_dir_names(tmp_path, capsys, monkeypatch, named):
    monkeypatch.setattr(telling, "_said", set())
    (tmp_path / "file").write_text("of the user")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    if named == "a folder that is gone":
        (tmp_path / "gone").rmdir()
    places = {"a file": tmp_path / "file", "in a file": tmp_path / "file" / "x", "a long name": tmp_path / ("x" * 300)}
    places |= {"a folder that is gone": Path("relative"), "a link to itself": tmp_path / "loop"}
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(places[named]))
    for name in ("one", "two"):
        assert a_kernel(name)._cache.signatures_on_disk() == set()
        assert count(a_kernel(name)) == (0, 1)
    assert capsys.readouterr().err.count("cannot be kept") == 1
    assert not compile_ahead.are_kept()
    assert isinstance(compile_ahead.cache_folder(), tuple)
    assert (tmp_path / "file").read_text() == "of the user"


def test_the_folder_above_may_not_be_writable_for_all(tmp_path, capsys, monkeypatch):
    """In it somebody else could put another folder in the place of ours; not so where it is sticky,
    nor where it is the user's group that can write."""
    monkeypatch.setattr(telling, "_said", set())
    above = tmp_path / "above"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(above / "between" / "cache"))
    assert count(a_kernel()) == (0, 1)
    for mode, safe in ((0o777, False), (0o1777, True), (0o775, True), (0o757, False)):
        above.chmod(mode)
        telling._said.clear()
        assert count(a_kernel()) == ((1, 0) if safe else (0, 1))
        assert (f"others can write to {above}," in capsys.readouterr().err) == (not safe)
    (tmp_path / "door").symlink_to(above / "between")  # a way around
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "door" / "cache"))
    assert count(a_kernel()) == (0, 1)


def test_threads_that_finish_at_once_leave_whole_files(cache):
    """As processes do: each writes under a name of its own, then renames."""
    kernels = [a_kernel() for _ in range(6)]
    ready = threading.Barrier(len(kernels))

    def run(kernel):
        ready.wait()
        kernel._cache.save_overload(next(iter(first.overloads)), next(iter(first.overloads.values())))

    first = a_kernel()
    assert count(first) == (0, 1)
    [path] = kernels_in(cache)
    for _ in range(20):
        path.unlink()
        threads = [threading.Thread(target=run, args=(kernel,)) for kernel in kernels]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [inside.name for inside in path.parent.iterdir()] == [path.name]
        assert count(a_kernel()) == (1, 0)


def test_an_empty_array_is_not_touched_by_what_failed(cache):
    """The call itself goes on with its own numbers."""
    (cache / "fastgd-kernels").mkdir(parents=True)
    (cache / "fastgd-kernels" / disk_cache._DIGEST[:16]).touch()  # a file where the folder should be
    array = np.arange(3.0)
    a_kernel()(array)
    assert array.tolist() == [1.0, 1.0, 2.0]
