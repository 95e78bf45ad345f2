"""Where compiled kernels are kept, who reads them there, and the words where they cannot be."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

import fastgd
import fastgd.kernels
from fastgd import environment
from fastgd.environment import KernelCache
from tests.kernels.cpu.simd.test_disk_cache import a_kernel
from tests.support.new_processes import COMMAND, COMPILING, N_KERNELS, run_python

KERNELS = Path(fastgd.kernels.__file__).parent

SMALLEST = """
import numpy as np
from fastgd.kernels.cpu.moments import curvature
result = np.empty(1)
curvature.largest_eigenvalues(np.full((1, 1, 1), 3.0), np.zeros((1, 1), np.int64), 1, result, np.zeros(1, np.int32))
assert result[0] == 3.0
stats = curvature.largest_eigenvalues.stats
print(curvature.__file__, stats.cache_path, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), sep="\\n")
"""


@pytest.fixture
def site(tmp_path):
    """A folder with fastgd as it is installed."""
    site, package = tmp_path / "site", Path(fastgd.__file__).parent
    shutil.copytree(package, site / "fastgd", ignore=shutil.ignore_patterns("__pycache__", "kernels"))
    shutil.copytree(KERNELS, site / "fastgd" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    return site


def smallest(site: Path, **variables: str) -> tuple[str, int, int, str]:
    """(folder, hits, misses, what was said) of a process that runs the smallest kernel of the copy
    in this folder."""
    done = run_python(f"import sys; sys.path.insert(0, {str(site)!r})\n" + SMALLEST, **variables)
    assert done.returncode == 0, done.stderr
    where, folder, hits, misses = done.stdout.splitlines()
    assert where.startswith(str(site))
    return folder, int(hits), int(misses), done.stderr


def command(site: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_python(f"import sys; sys.path.insert(0, {str(site)!r})\n" + COMMAND, *arguments, **variables)


def test_kernels_are_kept_for_the_user(site, tmp_path):
    """Not in the installation."""
    before = sorted(site.rglob("*.kernel"))
    variables = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": ""}
    folder, hits, misses, said = smallest(site, **variables)
    assert (hits, misses) == (0, 1)
    assert COMPILING.fullmatch(said.strip())
    assert folder.startswith(str(tmp_path / "home" / ".cache" / "fastgd" / "kernels"))
    assert list(Path(folder).glob("*.kernel"))
    assert smallest(site, **variables) == (folder, 1, 0, "")
    assert sorted(site.rglob("*.kernel")) == before == []
    done = command(site, "info", "--json", **variables)
    assert done.returncode == 0, done.stderr
    cache = json.loads(done.stdout)["kernel_cache"]
    assert cache["folder"] == folder
    assert (cache["writable"], cache["ready"], cache["why_not"]) == (True, False, None)
    assert cache["n_bytes"] > 0


def test_a_folder_that_is_named_is_taken(site, tmp_path):
    variables = {"HOME": str(tmp_path / "home"), "NUMBA_CACHE_DIR": str(tmp_path / "named")}
    folder, hits, misses, _ = smallest(site, **variables)
    assert (hits, misses) == (0, 1)
    assert folder.startswith(str(tmp_path / "named"))
    assert not (tmp_path / "home").exists()
    assert smallest(site, **variables) == (folder, 1, 0, "")


def test_where_nothing_can_be_kept_it_is_said(site, tmp_path):
    """The kernels run, compiled in every process; `info` says so, and `--warm` that there is
    nothing to do."""
    nowhere = tmp_path / "a file"
    nowhere.touch()
    variables = {"HOME": str(nowhere), "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": ""}
    done = command(site, "info", **variables)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^kernels +compiled in every process: .* cannot be written to \(set NUMBA_CACHE_DIR", done.stdout, re.MULTILINE)
    assert re.search(r"^kernel cache .*NOT writable", done.stdout, re.MULTILINE)
    done = command(site, "info", "--warm", **variables)
    assert done.returncode == 1
    assert done.stdout.startswith("Nothing can be compiled ahead: ")
    for _ in range(2):
        _, hits, misses, said = smallest(site, **variables)
        assert (hits, misses) == (0, 1)
        assert re.search(r"compiled kernels cannot be kept in .*, every process compiles its own: Not a directory", said)


OF_SOMEBODY = """
import os, sys
sys.path.insert(0, {site!r})
sys.dont_write_bytecode = True
import numpy as np, fastgd, fastgd.running.cpu, numba.core.runtime.nrtdynmod  # now: Python itself may lie in root's home
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(54321); os.setuid(54321)
X, y = np.ones((2, 30, 1), "float32"), np.ones((2, 30), "float32")
print(fastgd.fit(X, y, lr=0.1, epochs=3).w.tolist())
from fastgd.kernels.cpu import compile_ahead
print(compile_ahead.compiled_and_loaded())
"""


def serve_somebody(site: Path, place: Path, **named: str) -> None:
    """Run the package as somebody who can write nowhere in `place`: nothing is compiled."""
    for path in sorted(place.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = run_python(OF_SOMEBODY.format(site=str(site)), HOME="/nonexistent", XDG_CACHE_HOME="", **named)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[1].startswith("{'compiled': 0, 'loaded': ")


SOME = """
from contextlib import nullcontext
import numpy as np
from fastgd.kernels.cpu import compile_ahead
with compile_ahead.writing_shared() if {shared} else nullcontext():
    compile_ahead.compile_parts(np.dtype("float32"), {{"moments", "packs"}})
"""


def make_image(site: Path, full: bool, shared: bool, **variables: str) -> None:
    """`fastgd info --warm`, with `--shared` or without; unless `full` of the kernels that
    `serve_somebody` needs, since all of them take a minute."""
    if full:
        done = command(site, "info", "--warm", *(["--shared"] if shared else []), **variables)
    else:
        done = run_python(f"import sys; sys.path.insert(0, {str(site)!r})\n" + SOME.format(shared=shared), **variables)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.full
def test_an_image_made_by_root_serves_a_user_without_a_home(tmp_path, full):
    """`fastgd info --warm --shared` when the image is built; then somebody else, who can write
    nowhere, uses the kernels there and in a folder that NUMBA_CACHE_DIR names. Root becomes another
    user for it; others cannot, and the files are read-only."""
    place = Path(tempfile.mkdtemp(prefix="fastgd-image-", dir="/var/tmp"))  # pytest's own folders are for one user alone
    try:
        place.chmod(0o755)
        site, home = place / "site", {"HOME": str(tmp_path / "root"), "XDG_CACHE_HOME": ""}
        shutil.copytree(Path(fastgd.__file__).parent, site / "fastgd", ignore=shutil.ignore_patterns("__pycache__", "kernels"))
        shutil.copytree(KERNELS, site / "fastgd" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
        make_image(site, full, shared=True, NUMBA_CACHE_DIR="", **home)
        kernels = list(place.rglob("*.kernel"))
        assert len(kernels) == N_KERNELS if full else 1 < len(kernels) < N_KERNELS
        assert not list(tmp_path.rglob("*.kernel"))
        # an uninstallation leaves no package behind: they lie beside it
        assert {path.relative_to(site).parts[0] for path in kernels} == {"fastgd-kernels"}
        serve_somebody(site, place, NUMBA_CACHE_DIR="")
        for path in [place, *place.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        (place / "named").mkdir()
        (site / "fastgd-kernels").rename(place / "named" / "fastgd-kernels")
        make_image(site, full, shared=False, NUMBA_CACHE_DIR=str(place / "named"), **home)
        assert sorted(path.name for path in (place / "named").rglob("*.kernel")) == sorted(path.name for path in kernels)
        serve_somebody(site, place, NUMBA_CACHE_DIR=str(place / "named"))
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.rmtree(place)


def test_shared_is_for_warm():
    done = run_python(COMMAND, "info", "--shared")
    assert done.returncode == 2
    assert "--warm --shared" in " ".join(done.stderr.replace("\u2502", " ").split())


def test_the_words_for_each_state():
    def words(*cache) -> str:
        return KernelCache(*cache).in_words()

    assert words("/kept", True, 9, True, True) == "compiled and stored"
    assert "weights and missing values at their first use" in words("/kept", True, 9, True, False)
    assert "not compiled yet: about 9 s" in words("/kept", True, 0, False, False, None, "about 9 s")
    assert "--warm" in words("/kept", True, 0, False, False)
    assert words(None, False, 0, False, False, "nowhere to go") == "compiled in every process: nowhere to go"


def test_kernels_of_another_processor_do_not_count(tmp_path, monkeypatch):
    """A folder that machines share holds a version of each kernel for each of them."""
    from fastgd.kernels.cpu.simd import disk_cache

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    kernel = a_kernel()
    kernel(np.zeros(1))
    cache = kernel._cache
    assert len(cache.signatures_on_disk()) == 1
    monkeypatch.setattr(disk_cache, "processor", lambda: ("another", "processor", "here"))
    assert cache.signatures_on_disk() == set()


def test_what_could_not_be_kept_is_said(monkeypatch):
    """Compiled, but the folder could not take them: a full disk, say."""
    from fastgd.kernels.cpu import compile_ahead

    monkeypatch.setattr(compile_ahead, "compile_parts", lambda dtype, parts: None)
    monkeypatch.setattr(environment, "kernel_cache", lambda: KernelCache("/full", True, 5, True, False))
    told: list[str] = []
    assert environment.warm(told.append) is False
    assert told[-1].endswith("NOT all could be stored in /full.")
