"""The compiled kernels on disk: a second process loads what the first compiled; what is not whole,
not of these sources, or not safe to execute is compiled anew, and that is said."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import types

import fastgd.kernels
from fastgd.kernels import telling
from fastgd.kernels.cpu.simd import disk_cache

SMALLEST = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
import fastgd.kernels.cpu.moments.curvature as curvature
assert curvature.__file__.startswith({root!r}), curvature.__file__
result = np.empty(1)
curvature.largest_eigenvalues(np.full((1, 1, 1), 3.0), np.zeros((1, 1), np.int64), 1, result, np.zeros(1, np.int32))
assert result[0] == 3.0
stats = curvature.largest_eigenvalues.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A copy of the package: fastgd/ with its kernels/ inside, as it is installed. Nothing else of
    fastgd is imported."""
    kernels = Path(fastgd.kernels.__file__).parent
    copy = tmp_path / "site" / "fastgd"
    copy.mkdir(parents=True)
    (copy / "__init__.py").touch()
    shutil.copytree(kernels, copy / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def kernels_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix == ".kernel")


def run_smallest(package: Path) -> tuple[int, int, int]:
    """(cache hits, misses, files in the cache) of a process that runs the smallest kernel."""
    cache = package.parents[1] / "cache"
    done = subprocess.run(
        [sys.executable, "-P", "-c", SMALLEST.format(root=str(package.parent))],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hits, misses = map(int, done.stdout.split())
    return hits, misses, len(kernels_in(cache))


def test_a_second_process_loads_and_a_changed_byte_compiles(package):
    assert run_smallest(package) == (0, 1, 1)
    assert run_smallest(package) == (1, 0, 1)
    # one byte of a comment in a file that this kernel does not even import
    changed = package / "kernels" / "cpu" / "simd" / "lanes.py"
    source = changed.read_text()
    assert "The 32 lanes" in source
    changed.write_text(source.replace("The 32 lanes", "the 32 lanes", 1))
    assert run_smallest(package)[:2] == (0, 1)
    assert run_smallest(package)[:2] == (1, 0)


def test_every_file_of_the_kernels_is_in_the_stamp(package):
    """The digest alone, without compiling."""
    script = (
        "import sys; sys.path.insert(0, {root!r}); from fastgd.kernels.cpu.simd import disk_cache; print(disk_cache._digest_of_sources())"
    )
    command = [sys.executable, "-P", "-c", script.format(root=str(package.parent))]

    def digest() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    seen = {digest()}
    assert {digest()} == seen
    codes = [package / "kernels" / name for name in ("chunk.py", "update_rules.py")]  # frozen into the kernels
    files = sorted((package / "kernels" / "cpu").rglob("*.py")) + codes
    assert len(files) >= 30
    for count, path in enumerate(files, start=2):
        path.write_bytes(path.read_bytes() + b"#")
        seen.add(digest())
        assert len(seen) == count, path.name


AFTER_LOADING = """
import sys
import numba
assert stats.cache_hits and not stats.cache_misses
if {lean}:
    assert "numba.np.linalg" not in sys.modules
    assert "scipy.linalg" not in sys.modules
@numba.njit
def other(array):
    return np.sort(array)[0] + np.sqrt((array * array).sum()) + hash((1, 2)) * 0 + len({{3: 4}}) + np.random.random() * 0 + sum([1, 2])
assert other(np.array([4.0, 3.0])) == 3 + 5 + 1 + 3
curvature.largest_eigenvalues(np.full((1, 1, 1), 5.0), np.zeros((1, 1), np.int64), 1, result, np.zeros(1, np.int32))
assert result[0] == 5.0
"""


def test_loading_imports_nothing_that_only_compiling_needs(package):
    """Through attributes of Numba's that are not public: without them the first call takes three
    times as long."""
    run_smallest(package)
    done = run_after_loading(package, "", lean=True)
    assert done.returncode == 0, done.stderr


def test_where_the_short_way_to_load_fails_all_of_numba_is_imported(package):
    run_smallest(package)
    broken = (
        "from numba.core.runtime import rtsys\nreal = type(rtsys).initialize\ncalls = []\n"
        "def fail(self, context):\n    calls.append(1)\n    if len(calls) == 1: raise ValueError\n    return real(self, context)\n"
        "type(rtsys).initialize = fail\n"
    )
    done = run_after_loading(package, broken, lean=False)
    assert done.returncode == 0, done.stderr


def run_after_loading(package: Path, before: str, lean: bool) -> subprocess.CompletedProcess[str]:
    """A process that loads the smallest kernel from the disk cache, and then compiles a function of
    its own."""
    return subprocess.run(
        [sys.executable, "-P", "-c", before + SMALLEST.format(root=str(package.parent)) + AFTER_LOADING.format(lean=lean)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(package.parents[1] / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# -- what may be loaded ----------------------------------------------------------------------------


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
    monkeypatch.setattr(disk_cache, "_refused", set())
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


def test_numba_finds_the_methods_that_it_calls():
    """Of a cache, by a dispatcher."""
    from numba.core.caching import _Cache

    assert all(hasattr(disk_cache.DiskCache, name) for name in _Cache.__abstractmethods__)
