"""Compiled kernels on disk in processes of their own: a second one loads what the first compiled,
and imports no more than that takes."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgd.kernels

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
    return hits, misses, len(list(cache.rglob("*.kernel")))


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


DIGESTS = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from fastgd.kernels.cpu.simd import disk_cache
print(disk_cache._digest_of_sources())
for path in map(Path, sys.argv[1:]):
    path.write_bytes(path.read_bytes() + b"#")
    print(disk_cache._digest_of_sources())
"""


def test_every_file_of_the_kernels_is_in_the_stamp(package):
    """The digest alone, without compiling, after one more file has changed."""
    codes = [package / "kernels" / name for name in ("chunk.py", "update_rules.py")]  # frozen into the kernels
    files = sorted((package / "kernels" / "cpu").rglob("*.py")) + codes
    assert len(files) >= 30

    def digests(*changed: Path) -> list[str]:
        command = [sys.executable, "-P", "-c", DIGESTS.format(root=str(package.parent)), *map(str, changed)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    before, seen = digests(), digests(*files)
    assert before == seen[:1]
    assert [path.name for path, (old, new) in zip(files, itertools.pairwise(seen), strict=True) if old == new] == []
    assert len(set(seen)) == len(files) + 1
    assert digests() == seen[-1:]


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


@pytest.mark.full
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
