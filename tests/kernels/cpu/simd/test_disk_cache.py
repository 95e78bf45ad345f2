"""The compiled kernels on disk: what is not whole, not of these sources, or not safe to execute is
compiled anew, and that is said. In new processes: test_disk_cache_processes.py."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core import types

import fastgd.kernels
from fastgd.kernels import telling
from fastgd.kernels.apart import run_apart
from fastgd.kernels.cpu.simd import disk_cache
from fastgd.running.pool import watched


def kernels_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix == ".kernel")


def a_kernel(name: str = "smallest"):
    """A kernel of the tests; it has a cache of its own, and its files have its name."""
    from fastgd.kernels.cpu.simd.compiling import kernel

    def smallest(array):
        array[0] += 1

    smallest.__name__ = name
    return kernel(smallest)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty folder for kernels."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(telling, "_said", set())
    return tmp_path / "cache"


def count(kernel) -> tuple[int, int]:
    """Run a kernel: (how often it was loaded, how often compiled)."""
    array = np.zeros(1)
    kernel(array)
    assert array[0] == 1
    return sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def sealed(key: bytes, payload: bytes) -> bytes:
    """A file whose digest is right."""
    rest = key + b"\n" + payload
    return disk_cache.FORMAT + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


class Executed:
    """Unpickled, it fails the test."""

    def __reduce__(self):
        return pytest.fail, ("what may not be loaded was unpickled",)


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        lambda content: content[:-1],
        lambda content: content[:100],
        lambda content: b"",
        lambda content: b"\0" * len(content),
        lambda content: disk_cache.FORMAT + b"0" * 64 + b"\n" + disk_cache._parts(content)[0] + b"\n" + pickle.dumps(Executed()),
    ],
    ids=["one bit", "the last byte", "truncated", "empty", "zeros", "another digest"],
)
def test_a_damaged_file_is_compiled_anew_never_executed_and_said_once(cache, capsys, damage):
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    capsys.readouterr()
    assert count(a_kernel()) == (0, 1)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["fastgd"] * 2
    assert path.name in said[0]
    assert "compiled anew" in said[0]
    assert "compiling" in said[1]
    assert count(a_kernel()) == (1, 0)  # it was replaced
    path.write_bytes(damage(path.read_bytes()))
    assert count(a_kernel()) == (0, 1)
    assert "anew" not in capsys.readouterr().err  # once a process


def test_a_file_of_something_else_under_the_right_name_is_not_executed(cache, capsys):
    """Of other sources, of another kernel: whole, and not what is asked for."""
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    key, _ = disk_cache._parts(path.read_bytes())
    for other in (key.replace(disk_cache._DIGEST.encode(), b"0" * 64), key.replace(b"smallest", b"largest!")):
        assert other != key
        path.write_bytes(sealed(other, pickle.dumps(Executed())))
        assert count(a_kernel()) == (0, 1)
        assert count(a_kernel()) == (1, 0)
    assert "it is of something else" in capsys.readouterr().err


def test_a_file_that_is_whole_and_cannot_be_loaded_is_compiled_anew(cache, capsys):
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    key, _ = disk_cache._parts(path.read_bytes())
    path.write_bytes(sealed(key, pickle.dumps(("too", "few"))))
    assert count(a_kernel()) == (0, 1)
    assert "cannot be loaded" in capsys.readouterr().err
    assert count(a_kernel()) == (1, 0)


def test_the_key_names_what_the_machine_code_depends_on(cache, monkeypatch):
    assert count(a_kernel()) == (0, 1)
    assert count(a_kernel()) == (1, 0)
    for change in (
        lambda patch: patch.setattr(disk_cache, "_DIGEST", "1" * 64),
        lambda patch: patch.setattr(disk_cache, "processor", lambda: ("another", "processor", "here")),
        lambda patch: patch.setattr(disk_cache.numba, "__version__", "0.0"),
        lambda patch: patch.setattr(disk_cache.sys, "version_info", (3, 99)),
    ):
        with monkeypatch.context() as patch:
            change(patch)
            assert a_kernel()._cache.load_overload((types.float64[::1],), a_kernel().targetctx) is None


@pytest.mark.parametrize("where", ["named", "root", "sources", "file"])
def test_what_others_can_write_is_refused(cache, capsys, where):
    """Loading a kernel executes it."""
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    spoiled = {"named": cache, "root": path.parents[1], "sources": path.parent, "file": path}[where]
    for mode in (0o020, 0o002):
        spoiled.chmod(spoiled.stat().st_mode | mode)
        telling._said.clear()
        capsys.readouterr()
        assert count(a_kernel()) == (0, 1)
        said = capsys.readouterr().err
        assert f"others can write to {spoiled}" in said
        assert said.count("others can write") == 1
        spoiled.chmod(spoiled.stat().st_mode & ~0o022)
    assert count(a_kernel()) == (1, 0)


@pytest.mark.parametrize("quiet_first", [False, True])
def test_a_refused_folder_is_named_where_nothing_could_be_read_from_it(cache, capsys, quiet_first):
    """A version for other data is on disk: asking for it, or a call that says nothing, hides no
    line."""
    assert count(a_kernel()) == (0, 1)
    cache.chmod(0o777)
    capsys.readouterr()
    kernel = a_kernel()
    assert kernel._cache.signatures_on_disk() == kernel._cache.signatures_on_disk(whole=False) == set()
    assert capsys.readouterr().err == ""
    if quiet_first:
        with watched(SimpleNamespace(threads=1, inline=True), False, 1, "1 fit"):
            count(a_kernel("another"))
        assert capsys.readouterr().err == ""
    kernel(np.zeros(1, np.float32))
    said = capsys.readouterr().err
    assert said.count("cannot be kept") == said.count(f"others can write to {cache}") == 1
    count(a_kernel())
    assert "others" not in capsys.readouterr().err  # once a process


def test_a_folder_is_made_where_the_root_cannot_be_made_again(cache, monkeypatch):
    """Making "/" is EISDIR on macOS, and a drive PermissionError on Windows, not "it exists"."""
    real = Path.mkdir

    def mkdir(path, *given, **options):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        real(path, *given, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert count(a_kernel()) == (0, 1)
    assert count(a_kernel()) == (1, 0)


def test_a_folder_that_cannot_be_made_is_said_once_and_does_no_harm(cache, capsys, monkeypatch):
    def refuse(path, *given, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    for name in ("one", "two"):
        assert count(a_kernel(name)) == (0, 1)
    assert capsys.readouterr().err.count("cannot be kept") == 1


def test_a_file_is_read_once(cache, monkeypatch):
    """Not at all where only its types are asked for, but for its first lines."""
    assert count(a_kernel()) == (0, 1)
    read, real = [], disk_cache._parts
    monkeypatch.setattr(disk_cache, "_parts", lambda content: read.append(1) or real(content))
    kernel = a_kernel()
    [types_on_disk] = kernel._cache.signatures_on_disk(whole=False)
    assert (read, "float64" in types_on_disk) == ([], True)
    assert kernel._cache.signatures_on_disk() == {types_on_disk}
    assert read == [1]
    assert count(kernel) == (1, 0)
    assert read == [1, 1]


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: b"\n" * 4, lambda content: b"\xff" * 99, flipped])
def test_what_is_damaged_is_not_counted(cache, damage):
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    key, payload = disk_cache._parts(path.read_bytes())
    for content in (damage(path.read_bytes()), sealed(b"1", payload), sealed(b"{}", payload)):
        path.write_bytes(content)
        assert a_kernel()._cache.signatures_on_disk() == set()
    path.write_bytes(sealed(key, payload))
    path.rename(path.with_name("smallest-0" + disk_cache.ENDING))  # where no load looks for it
    assert a_kernel()._cache.signatures_on_disk() == a_kernel()._cache.signatures_on_disk(whole=False) == set()


def test_a_sticky_folder_may_be_shared(cache):
    cache.mkdir()
    cache.chmod(0o1777)
    assert count(a_kernel()) == (0, 1)
    assert count(a_kernel()) == (1, 0)


def test_what_belongs_to_another_user_is_refused(cache, capsys, monkeypatch):
    """Root can give a file away; others cannot, and here pretend to be somebody else."""
    assert count(a_kernel()) == (0, 1)
    [path] = kernels_in(cache)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert count(a_kernel()) == (0, 1)
    assert "belongs to another user" in capsys.readouterr().err


def test_a_full_disk_is_said_once_and_does_no_harm(cache, capsys, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk_cache.tempfile, "mkstemp", full)
    for name in ("one", "two"):
        assert count(a_kernel(name)) == (0, 1)
    said = capsys.readouterr().err
    assert said.count("cannot be kept") == 1
    assert "No space left on device" in said


def test_folders_of_other_sources_go_but_for_the_newest(cache, monkeypatch):
    monkeypatch.setattr(disk_cache, "KEPT", 2)
    for number in range(5):
        old = cache / "fastgd-kernels" / f"{number:016x}"
        old.mkdir(parents=True)
        (old / "descend-0.kernel").touch()
        os.utime(old, (number, number))
    (cache / "fastgd-kernels" / "something of the user's").mkdir()
    count(a_kernel())
    left = {path.name for path in (cache / "fastgd-kernels").iterdir()}
    assert left == {f"{3:016x}", f"{4:016x}", "something of the user's", disk_cache._DIGEST[:16]}


def test_what_a_killed_process_left_goes_a_day_later(cache):
    folder = disk_cache.folder_to_write()
    folder.mkdir(parents=True)
    now = time.time()
    for name, age in (("left.part", 25 * 3600), ("being-written.part", 23 * 3600), ("smallest-0.kernel", 1000 * 3600)):
        (folder / name).touch()
        os.utime(folder / name, (now - age, now - age))
    count(a_kernel())
    left = {path.name for path in folder.iterdir()}
    assert {"being-written.part", "smallest-0.kernel"} < left
    assert "left.part" not in left


# -- where they lie --------------------------------------------------------------------------------


def test_the_places(tmp_path, monkeypatch):
    """NUMBA_CACHE_DIR alone; else beside the package, read only, then the user's folder."""
    of_sources = disk_cache._DIGEST[:16]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
    named = tmp_path / "named" / "fastgd-kernels" / of_sources
    assert (disk_cache.folder_to_write(), disk_cache.folders_to_read()) == (named, [named])
    shared = Path(fastgd.__file__).parents[1] / "fastgd-kernels" / of_sources
    with disk_cache.writing_shared():
        assert (disk_cache.folder_to_write(), disk_cache.folders_to_read()) == (shared, [shared])
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    users = tmp_path / "xdg" / "fastgd" / "kernels" / of_sources
    assert (disk_cache.folder_to_write(), disk_cache.folders_to_read()) == (users, [shared, users])
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert disk_cache.folder_to_write() == tmp_path / "home" / ".cache" / "fastgd" / "kernels" / of_sources
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without a home
    assert (disk_cache.folder_to_write(), disk_cache.folders_to_read()) == (None, [shared])
    kernel = a_kernel()
    assert count(kernel) == (0, 1)
    assert kernel.stats.cache_path is None


def test_the_shared_folder_is_written_by_the_thread_that_asked_and_by_those_that_it_starts(cache):
    """Not by other threads of the process: so not by a child that one of them forks."""
    named, found, open_now = disk_cache.folder_to_write(), [], threading.Event()
    other = threading.Thread(target=lambda: open_now.wait(60) and found.append(disk_cache.folder_to_write()))
    other.start()
    with disk_cache.writing_shared():
        shared = disk_cache.folder_to_write()
        assert shared.parent == disk_cache.shared_root()
        assert run_apart(disk_cache.folder_to_write) == shared
        open_now.set()
        other.join()
    assert found == [named]


def test_numba_finds_the_methods_that_it_calls():
    """Of a cache, by a dispatcher."""
    from numba.core.caching import _Cache

    assert all(hasattr(disk_cache.DiskCache, name) for name in _Cache.__abstractmethods__)
