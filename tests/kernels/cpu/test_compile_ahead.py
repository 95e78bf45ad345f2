"""Compiling ahead: `fastgd info --warm` leaves nothing to compile; where compiled kernels are kept,
and the words where they cannot be."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgd
import fastgd.kernels
from fastgd import environment
from fastgd.environment import KernelCache

KERNELS = Path(fastgd.kernels.__file__).parent
N_KERNELS = 15  # compiled versions of all kernels for both dtypes
COMMAND = "from fastgd.cli import main; import sys; sys.argv[0] = 'fastgd'; main()"


def run_python(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A new process; a variable that is '' is not set there."""
    named = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env={name: value for name, value in named.items() if value},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


# -- nothing is left to compile --------------------------------------------------------------------

EVERY_KIND_OF_CALL = """
import numpy as np
import fastgd
from fastgd.environment import kernel_cache, warm
from fastgd.kernels.cpu import compile_ahead
from fastgd.kernels.update_rules import UPDATE_RULES

told = []
warm(told.append)
prepared = {name: set(kernel.signatures) for name, kernel in compile_ahead.KERNELS.items()}
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    X, y = rng.normal(size=(40, 30, 3)).astype(dtype), rng.normal(size=(40, 30)).astype(dtype)
    weights = rng.uniform(0, 1, size=(40, 30)).astype(dtype)
    weights[:, 4] = 0
    gaps = X.copy()
    gaps[::7, 2, 1] = np.nan
    lr = dict(lr=0.01, epochs=3)
    fit, solve = fastgd.fit, fastgd.solve
    for _ in range(2):  # the second small call takes a way of its own
        fit(X[0], y[0], **lr)
        fit(X[0], y[0], epochs=3)
        fit(X[:3], y[:3], intercept=True, history=True, epochs=3)
    first = fit(X, y, history=2, tol=1e-3, threads=2, **lr)
    fit(X, y, state=first.state, **lr)
    fit(X, y, w0=np.ones(3), reduction="sum", out={"w": first.w}, **lr)
    fit(X, y, optimizer=fastgd.SGD(lr=np.full(40, 0.01), momentum=0.9, nesterov=True), epochs=3)
    fit(X, y, lr=np.linspace(0.01, 0.02, 40), epochs=3, optimizer=fastgd.SGD(momentum=np.linspace(0.1, 0.9, 40)), history=3)
    fit(X[0], y[0], lr=np.linspace(0.01, 0.02, 40)[:, None], epochs=3, memory_limit="1 MiB")
    for rule in [name for name, row in UPDATE_RULES.items() if "cpu" in row.hands]:
        fit(X, y, optimizer=rule, epochs=3)
    fit(X, y, lr=np.logspace(-3, 30, 4)[:, None], epochs=40)  # some overflow, and go on from their samples
    fit(X, y, algorithm="stream", sample_weight=weights, **lr)
    fit(X, y, sample_weight=weights, history=True, **lr)
    fit(X, y, sample_weight=weights[0], epochs=3)
    fit(gaps, y, nan_policy="omit", **lr)
    fit(gaps, y, nan_policy="omit", sample_weight=weights, min_samples=29, epochs=3)
    fit(gaps, y, nan_policy="propagate", **lr)
    fit(gaps[0], y, nan_policy="omit", **lr)
    fit(X[0], y, **lr)  # shared features
    fit(X, y[0], **lr)
    fit(X[0, :, 0], y[0], **lr)
    for other in (np.asfortranarray(X), X[:, ::-1], X[::2].repeat(2, 0), np.moveaxis(np.ascontiguousarray(np.moveaxis(X, 0, -1)), -1, 0)):
        fit(other, y, **lr)
    fit(X, y[::-1, ::-1], **lr)
    first = fit(X, y, standardize=True, intercept=True, epochs=3)
    fit(X, y, standardize=True, intercept=True, state=first.state, epochs=3), fit(X[0], y, standardize=True, **lr)
    fit(X + 1e30, y, standardize=True, intercept=True, **lr), fit(gaps, y, standardize=True, nan_policy="omit", **lr)
    fit(X, y, standardize=True, algorithm="stream", sample_weight=weights, **lr)
    fit(X.astype(np.float16), y, **lr)
    fit(rng.normal(size=(100, 60)).astype(dtype), rng.normal(size=100).astype(dtype), epochs=2)  # too many parameters for a batch
    fit(rng.normal(size=(20, 30)).astype(dtype), rng.normal(size=20).astype(dtype), **lr)  # by the samples
    long_X, long_y = rng.normal(size=(2, 140_000, 2)).astype(dtype), rng.normal(size=(2, 140_000)).astype(dtype)
    fit(long_X, long_y, **lr)  # in parts
    fit(long_X, long_y, sample_weight=np.ones(140_000, dtype), epochs=2)
    fit(long_X[0], long_X[0, :, 0] + np.zeros((3, 1), dtype), epochs=2)  # one record of X for all
    fit(X, y, memory_limit="1 MiB", **lr)
    solve(X, y), solve(X[0], y[0]), solve(X, y, intercept=True, weight_decay=0.1), solve(X[0], y)
    solve(gaps, y, nan_policy="omit"), solve(X, y, sample_weight=weights), solve(long_X, long_y)
    solve(np.ones((9, 2), dtype), np.ones(9, dtype))
    far, far_y = X + 1e7, y + 1e7  # shifted columns
    solve(far, y, intercept=True), solve(far[0], far_y, intercept=True), solve(far, y, intercept=True, sample_weight=weights)
    solve(gaps + 1e7, y, intercept=True, nan_policy="omit"), solve(long_X + 1e7, long_y, intercept=True)
    solve(np.asfortranarray(far), y, intercept=True)
later = {name: sorted(map(str, set(kernel.signatures) - prepared[name])) for name, kernel in compile_ahead.KERNELS.items()}
assert not any(later.values()), later
assert {name: len(made) for name, made in prepared.items()} == compile_ahead.OF_ALL, prepared
assert kernel_cache().complete
print(*told, sep="\\n")
"""


def test_no_call_compiles_more_than_is_compiled_ahead():
    """Whatever is asked of it: an array that is read-only here and not there would be a kernel
    more, and half a minute."""
    done = run_python(EVERY_KIND_OF_CALL)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Kernels are stored in ")
    parts = "fit", "weights and missing values", "standardized features", "solve"
    steps = [f"{dtype}, {what}" for dtype in ("float32", "float64") for what in parts]
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == steps
    compiled, loaded = map(int, re.match(r"(\d+) kernels compiled, (\d+) loaded, in \d+\.\d s; the folder holds ", lines[-1]).groups())
    assert compiled + loaded == N_KERNELS  # nothing was made twice


def test_a_second_process_loads_them_all():
    """`info --warm` on the command line, by Numba's own counts; the first process may compile what
    no test has asked for yet."""
    assert run_python(COMMAND, "info", "--warm").returncode == 0
    done = run_python(COMMAND, "info", "--warm", "--json")
    assert done.returncode == 0, done.stderr
    assert f"\n0 kernels compiled, {N_KERNELS} loaded, in " in done.stderr
    cache = json.loads(done.stdout)["kernel_cache"]
    assert cache["ready"] is cache["complete"] is True
    files = [path for path in Path(cache["folder"]).rglob("*") if path.suffix in (".nbi", ".nbc")]
    assert cache["n_bytes"] == sum(path.stat().st_size for path in files)


def test_every_kernel_is_known():
    """What is marked as a kernel in the sources is what is compiled ahead."""
    from fastgd.kernels.cpu import compile_ahead

    marked = {
        function.name
        for path in (KERNELS / "cpu").rglob("*.py")
        for function in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef) and "kernel" in map(ast.unparse, function.decorator_list)
    }
    assert marked == set(compile_ahead.KERNELS)
    assert {name: kernel.py_func.__name__ for name, kernel in compile_ahead.KERNELS.items()} == {
        name: name for name in compile_ahead.KERNELS
    }


# -- where they are kept ---------------------------------------------------------------------------

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
def read_only_site(tmp_path):
    """A folder with fastgd as it is installed, in which nothing can be written."""
    site, package = tmp_path / "site", Path(fastgd.__file__).parent
    shutil.copytree(package, site / "fastgd", ignore=shutil.ignore_patterns("__pycache__", "kernels"))
    shutil.copytree(KERNELS, site / "fastgd" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [path for path in site.rglob("*") if path.is_dir()]:  # root may write where the mode says no: there is no such folder
        (folder / "__pycache__").touch()
    everything = [site, *site.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield site
    for path in everything:
        path.chmod(0o755 if path.is_dir() else 0o644)


def smallest(site: Path, **variables: str) -> tuple[str, int, int]:
    """(folder, hits, misses) of a process that runs the smallest kernel of the copy in this
    folder."""
    done = run_python(f"import sys; sys.path.insert(0, {str(site)!r})\n" + SMALLEST, **variables)
    assert done.returncode == 0, done.stderr
    where, folder, hits, misses = done.stdout.splitlines()
    assert where.startswith(str(site))
    return folder, int(hits), int(misses)


def command(site: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_python(f"import sys; sys.path.insert(0, {str(site)!r})\n" + COMMAND, *arguments, **variables)


def test_a_read_only_installation_is_kept_for_the_user(read_only_site, tmp_path):
    variables = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": ""}
    folder, hits, misses = smallest(read_only_site, **variables)
    assert (hits, misses) == (0, 1)
    assert folder.startswith(str(tmp_path / "home"))
    assert list(Path(folder).glob("*.nbc"))
    assert smallest(read_only_site, **variables) == (folder, 1, 0)
    done = command(read_only_site, "info", "--json", **variables)
    assert done.returncode == 0, done.stderr
    cache = json.loads(done.stdout)["kernel_cache"]
    assert folder.startswith(cache["folder"])
    assert (cache["writable"], cache["ready"]) == (True, False)
    assert cache["n_bytes"] > 0


def test_a_folder_that_is_named_is_taken(read_only_site, tmp_path):
    variables = {"HOME": str(tmp_path / "home"), "NUMBA_CACHE_DIR": str(tmp_path / "named")}
    folder, hits, misses = smallest(read_only_site, **variables)
    assert (hits, misses) == (0, 1)
    assert folder.startswith(str(tmp_path / "named"))
    assert not (tmp_path / "home").exists()
    assert smallest(read_only_site, **variables) == (folder, 1, 0)


def test_where_nothing_can_be_kept_it_is_said(read_only_site, tmp_path):
    """The kernels run, compiled in every process; `info` says so, and `--warm` that there is
    nothing to do."""
    nowhere = tmp_path / "a file"
    nowhere.touch()
    variables = {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "NUMBA_CACHE_DIR": str(nowhere)}
    done = command(read_only_site, "info", **variables)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^kernels +compiled in every process: Numba finds no folder that it can write to", done.stdout, re.MULTILINE)
    assert re.search(r"^kernel cache +none$", done.stdout, re.MULTILINE)
    done = command(read_only_site, "info", "--warm", **variables)
    assert done.returncode == 1
    assert done.stdout.startswith("Nothing can be compiled ahead: Numba finds no folder that it can write to (set NUMBA_CACHE_DIR to one).")
    assert smallest(read_only_site, **variables) == ("None", 0, 1)


def test_the_words_for_each_state():
    def words(*cache) -> str:
        return KernelCache(*cache).in_words()

    assert words("/kept", True, 9, True, True) == "compiled and stored"
    assert "solve, standardize, weights and missing values at their first use" in words("/kept", True, 9, True, False)
    assert "not compiled yet" in words("/kept", True, 0, False, False)
    assert "--warm" in words("/kept", True, 0, False, False)
    assert "in every process" in words(None, False, 0, False, False)


def test_kernels_of_another_processor_do_not_count(monkeypatch):
    """A folder that machines share holds a version of each kernel for each of them."""
    from fastgd.kernels.cpu import compile_ahead
    from fastgd.kernels.cpu.simd.compiling import versions_on_disk

    kernel = compile_ahead.KERNELS["largest_eigenvalues"]
    key, *_ = kernel._cache._cache_file._load_index() or [("signature", kernel.targetctx.codegen().magic_tuple(), ())]
    assert key[1] == kernel.targetctx.codegen().magic_tuple()  # where Numba puts the processor
    index = {key: "mine", (key[0], ("another", "processor", "here"), *key[2:]): "theirs"}
    monkeypatch.setattr(type(kernel._cache._cache_file), "_load_index", lambda self: index)
    assert versions_on_disk(kernel) == 1


def test_what_could_not_be_kept_is_said(monkeypatch):
    """Compiled, but the folder could not take them: a full disk, say."""
    from fastgd.kernels.cpu import compile_ahead

    for name in ("compile_fit", "compile_find_kept", "compile_standardize", "compile_solve"):
        monkeypatch.setattr(compile_ahead, name, lambda dtype: None)
    monkeypatch.setattr(environment, "kernel_cache", lambda: KernelCache("/full", True, 5, True, False))
    told: list[str] = []
    assert environment.warm(told.append) is False
    assert told[-1].endswith("NOT all could be stored in /full.")


ONLY_WHAT_IS_NEEDED = """
import numpy as np, fastgd
X, y = np.random.default_rng(0).normal(size=(2, 30, 2)).astype("float32"), np.ones((2, 30), "float32")
def loaded():
    from fastgd.kernels.cpu import compile_ahead
    return sorted(name for name, kernel in compile_ahead.KERNELS.items() if kernel.signatures)
said = []
said.append(fastgd.fit(X, y, lr=0.1, epochs=3).status.tolist())
said.append(loaded())
said.append(fastgd.fit(X, y, lr=9.0, epochs=300).status.tolist())
said.append(loaded())
print(*said, sep="\\n")
"""


def test_a_first_fit_loads_no_more_than_it_needs():
    """SGD on moments in packs; the kernel for single fits, half of all compiling, when a fit
    overflows."""
    done = run_python(ONLY_WHAT_IS_NEEDED)
    assert done.returncode == 0, done.stderr
    first, kernels, second, later = map(ast.literal_eval, done.stdout.splitlines())
    assert first == [fastgd.Status.COMPLETED] * 2
    assert second == [fastgd.Status.DIVERGED] * 2
    assert kernels == ["compress", "descend_packs", "join", "largest_eigenvalues", "least_values"]
    assert later == sorted([*kernels, "descend"])
