"""Compiling ahead: `fastgd info --warm` leaves nothing to compile; what is said while kernels are
compiled. Where they are kept: test_compile_ahead_places.py."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import fastgd
import fastgd.kernels
from fastgd import environment
from fastgd.kernels.chunk import Samples
from fastgd.kernels.cpu import flat_data
from tests.mutants.copies import kernels_of
from tests.support.new_processes import COMMAND, COMPILING, N_KERNELS, run_python

KERNELS = Path(fastgd.kernels.__file__).parent


# -- nothing is left to compile --------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["as rows", "transposed"])
def test_arrays_that_may_be_written_to_get_no_version_of_their_own(layout):
    """As those are that the CUDA backend fetches from a device."""
    turn = (lambda array: array) if layout == "as rows" else (lambda array: np.asfortranarray(array))
    zero = np.zeros(2, np.int64)
    data = (turn(np.ones((2, 5, 3))), turn(np.ones((2, 5))), zero, zero, turn(np.ones((2, 5))), zero)
    samples = Samples(*data, np.empty((0, 5), np.int32), zero - 1, zero + 5)
    assert [array.flags.writeable for array in flat_data(samples)[::2]] == [False] * 3
    assert all(array.flags.writeable for array in (samples.X, samples.y, samples.weights))


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
    many = rng.normal(size=(9_000, 30)).astype(dtype)  # targets on one X
    fit(X[0], many, **lr), fit(X[0], many, sample_weight=weights[0], **lr), solve(X[0], np.asfortranarray(many), intercept=True)
    fit(X, y, memory_limit="1 MiB", **lr)
    batched = {**lr, "batch_size": 16}
    fit(X, y, **batched), fit(X[0], y[0], **batched), fit(X, y, shuffle=False, **batched), fit(long_X, long_y, **batched)
    fit(gaps, y, nan_policy="omit", history=True, **batched), fit(X, y, sample_weight=weights, algorithm="stream", **batched)
    solve(X, y), solve(X[0], y[0]), solve(X, y, intercept=True, weight_decay=0.1), solve(X[0], y)
    solve(gaps, y, nan_policy="omit"), solve(X, y, sample_weight=weights), solve(long_X, long_y)
    solve(np.ones((9, 2), dtype), np.ones(9, dtype))
    far, far_y = X + 1e7, y + 1e7  # shifted columns
    solve(far, y, intercept=True), solve(far[0], far_y, intercept=True), solve(far, y, intercept=True, sample_weight=weights)
    solve(gaps + 1e7, y, intercept=True, nan_policy="omit"), solve(long_X + 1e7, long_y, intercept=True)
    solve(np.asfortranarray(far), y, intercept=True)
    solve(X, y, stats=True), solve(X[0], y, stats=True), solve(fastgd.compress(X, y), stats=True), fit(X, y, lr=0.1, epochs=2, stats=True)
    solve(gaps, y, nan_policy="omit", stats=True), solve(X, y, sample_weight=weights, intercept=True, stats=True)
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
    parts = "fit", "weights and missing values", "mini-batches", "many targets on one X", "standardized features", "solve", "statistics"
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
    files = list(Path(cache["folder"]).glob("*.kernel"))
    assert len(files) >= N_KERNELS  # of every processor that writes there
    assert cache["n_bytes"] == sum(path.stat().st_size for path in files)


def test_every_kernel_is_known():
    """What is marked as a kernel in the sources is what is compiled ahead."""
    from fastgd.kernels.cpu import compile_ahead

    marked = {name for path in (KERNELS / "cpu").rglob("*.py") for name in kernels_of(path)}
    assert marked == set(compile_ahead.KERNELS)
    assert {name: kernel.py_func.__name__ for name, kernel in compile_ahead.KERNELS.items()} == {
        name: name for name in compile_ahead.KERNELS
    }


# -- what is said --------------------------------------------------------------------------------

FIRST = """
import warnings; warnings.simplefilter("error")
import numpy as np, fastgd
X, y = np.ones((2, 30, 1)), np.ones((2, 30))
fastgd.fit(X, y, lr=0.1, epochs=3{options})
"""


@pytest.mark.full
def test_compiling_is_said_once_on_stderr_and_loading_is_not(tmp_path):
    """Not on a terminal here, and with warnings as errors. One kernel of several is not there."""
    fastgd.fit(np.ones((2, 30, 1)), np.ones((2, 30)), lr=9.0, epochs=300)  # all kernels of this test are compiled
    folder = Path(environment.kernel_cache().folder)
    shutil.copytree(folder, tmp_path / "fastgd-kernels" / folder.name)
    for path in tmp_path.rglob("compress-*.kernel"):
        path.unlink()
    done = run_python(FIRST.format(options=""), NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert COMPILING.fullmatch(done.stderr.strip())
    done = run_python(FIRST.format(options=""), NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    later = FIRST.format(options="") + "fastgd.fit(X, y, lr=9.0, epochs=300{options})"  # overflows: the kernel for single fits
    done = run_python(later.format(options=", progress=False"), NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    single = [path for path in tmp_path.rglob("*.kernel") if path.name.startswith("descend-")]
    assert single
    for path in single:
        path.unlink()
    done = run_python(later.format(options=", threads=2"), NUMBA_CACHE_DIR=str(tmp_path))  # in a thread of the pool
    assert done.returncode == 0
    assert COMPILING.fullmatch(done.stderr.strip())


@pytest.mark.parametrize("options", ["", ", progress=False"])
def test_the_line_is_for_all_that_will_be_compiled(options, capsys, monkeypatch):
    """One line for a call, and none where it is to be quiet."""
    from fastgd.kernels.cpu import compile_ahead
    from fastgd.kernels.cpu.simd import announcing

    for name in ("compile_fit", "compile_standardize"):
        monkeypatch.setattr(compile_ahead, name, lambda *given: announcing.announce_lazily("descend_packs"))
    monkeypatch.setattr(compile_ahead, "_done", set())
    monkeypatch.setattr(compile_ahead, "_is_at_hand", lambda name, dtype: False)
    monkeypatch.setattr(announcing, "slowness", lambda: 2.0)
    quiet = {"progress": False} if options else {}
    fastgd.fit(np.arange(60.0).reshape(2, 30, 1), np.ones((2, 30)), epochs=1, standardize=True, **quiet)
    parts = ("moments", "rates", "packs", "standardize")
    seconds = 2 * sum(announcing.SECONDS[name] for name in {name for part in parts for name in compile_ahead.NEEDED[part]})
    expected = f"fastgd: compiling CPU kernels, once: about {seconds:.0f} s of one core (docs/how-to/kernels.md, Compiling)\n"
    assert capsys.readouterr().err == ("" if options else expected)


def test_every_kernel_has_a_time_and_a_part():
    from fastgd.kernels.cpu import compile_ahead
    from fastgd.kernels.cpu.simd import announcing

    assert set(announcing.SECONDS) == set(compile_ahead.KERNELS) == set(compile_ahead.OF_ALL)
    assert {name for kernels in compile_ahead.NEEDED.values() for name in kernels} == set(compile_ahead.KERNELS)
    assert set(compile_ahead.NEEDED) >= compile_ahead.PARTS


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


def test_what_this_process_has_is_not_looked_for_on_disk(monkeypatch):
    """A folder of kernels may lie on a slow network."""
    from fastgd.kernels.cpu import compile_ahead
    from fastgd.kernels.cpu.simd import disk_cache

    compile_ahead.compile_parts(np.dtype("float64"), {"moments"})
    asked = []
    monkeypatch.setattr(disk_cache, "folders_to_read", lambda: asked.append(1) or [])
    assert compile_ahead._is_at_hand("compress", np.dtype("float64"))
    assert asked == []


LATE = """
import threading
from functools import partial
import numpy as np
import fastgd
from fastgd.kernels.cpu import compile_ahead
from fastgd.kernels.cpu.simd import disk_cache
from fastgd.planning import call_cache, plan

plan.INLINE_NS = 0  # every call has threads
late, at_hand, real = [], [], disk_cache.DiskCache.load_overload
asked = []  # whether the main thread asked for what is compiled or loaded now, in a thread apart

def ask(compile, *given):
    asked.append(threading.current_thread() is threading.main_thread())
    try:
        return compile(*given)
    finally:
        asked.pop()

def load(self, signature, context):
    in_main = threading.current_thread() is threading.main_thread()
    (at_hand if in_main or (asked and asked[-1]) else late).append(self.name)
    return real(self, signature, context)

for kernel in compile_ahead.KERNELS.values():
    kernel._compile_for_args = partial(ask, kernel._compile_for_args)
disk_cache.DiskCache.load_overload = load
rng = np.random.default_rng(0)
X, y = rng.normal(size=(70, 30, 3)).astype("float32"), rng.normal(size=(70, 30)).astype("float32")
gaps, weights = X.copy(), np.ones((70, 30), "float32")
gaps[::7, 2, 1], weights[:, 4] = np.nan, 0
wide, wide_y = rng.normal(size=(3, 100, 40)).astype("float32"), rng.normal(size=(3, 100)).astype("float32")
long = rng.normal(size=(70_000, 2)).astype("float32")
SGD, fit, solve = fastgd.SGD(momentum=0.5), fastgd.fit, fastgd.solve
lr = dict(lr=0.01, epochs=3, threads=2)
of_numpy = dict(epochs=2, backend="numpy")
calls = {
    "plain": lambda: fit(X, y, **lr),
    "safe rates": lambda: fit(X, y, epochs=3, threads=2),
    "Adam": lambda: fit(X, y, optimizer="adam", **lr),
    "packs that leave two": lambda: fit(X[:66], y[:66], optimizer=SGD, **lr),
    "a task that leaves three": lambda: fit(X[:37], y[:37], optimizer=SGD, memory_limit="1 MiB", **lr),
    "groups": lambda: fit(X[0], y[:35], optimizer=SGD, **lr),
    "two fits": lambda: fit(X[:2], y[:2], optimizer=SGD, **lr),
    "stream": lambda: fit(X, y, algorithm="stream", **lr),
    "stream, excess": lambda: fit(X, y, algorithm="stream", excess_loss=True, **lr),
    "few samples": lambda: fit(X[:, :5], y[:, :5], **lr),
    "few samples, safe rates": lambda: fit(X[:, :5], y[:, :5], epochs=3, threads=2),
    "few samples, weights": lambda: fit(X[:, :5], y[:, :5], sample_weight=weights[:, :5], **lr),
    "weights": lambda: fit(X, y, sample_weight=weights, **lr),
    "one fit": lambda: fit(X[:1], y[:1], **lr),
    "one fit, float64": lambda: fit(X[:1].astype(float), y[:1].astype(float), **lr),
    "one fit, two columns, float64": lambda: fit(X[:1, :, :2].astype(float), y[:1].astype(float), **lr),
    "long": lambda: fit(long, long[:, 0], **lr),
    "long, standardize": lambda: fit(long, long[:, 0], standardize=True, **lr),
    "long, missing": lambda: fit(np.where(long > 3, np.nan, long), long[:, 0], nan_policy="omit", **lr),
    "long, solve": lambda: solve(long, long[:, 0], threads=2),
    "long, stats": lambda: solve(long, long[:, 0], intercept=True, stats=True, threads=2).summary(),
    "long, NumPy, safe rates": lambda: fit(long, long[:, 0], **of_numpy),
    "weights of all": lambda: fit(X, y, sample_weight=weights[0], **lr),
    "missing": lambda: fit(gaps, y, nan_policy="omit", **lr),
    "missing, shared": lambda: fit(gaps[0], y, nan_policy="omit", **lr),
    "tol": lambda: fit(X, y, tol=1e-3, **lr),
    "tol, Adam": lambda: fit(X, y, tol=1e-3, optimizer="adam", **lr),
    "tol, many parameters": lambda: fit(wide, wide_y, tol=1e-3, intercept=True, **lr),
    "excess, many parameters": lambda: fit(wide, wide_y, excess_loss=True, **lr),
    "tol, standardize": lambda: fit(X, y, tol=1e-3, standardize=True, intercept=True, **lr),
    "standardize, stream": lambda: fit(X, y, standardize=True, algorithm="stream", **lr),
    "standardize, shared": lambda: fit(X[0], y, standardize=True, **lr),
    "NumPy, standardize": lambda: fit(X[:4], y[:4], standardize=True, lr=0.01, **of_numpy),
    "NumPy, safe rates": lambda: fit(X[:4], y[:4], standardize=True, **of_numpy),
    "NumPy, missing": lambda: fit(gaps[:4], y[:4], nan_policy="omit", **of_numpy),
    "NumPy, weights": lambda: fit(X[:4], y[:4], sample_weight=weights[:4], **of_numpy),
    "NumPy": lambda: fit(X[:4], y[:4], lr=0.01, tol=1e-3, **of_numpy),
    "solve": lambda: solve(X, y, threads=2),
    "solve, intercept": lambda: solve(X + 1e4, y, intercept=True, threads=2),
    "solve, shared": lambda: solve(X[0], y, threads=2),
    "solve, standardize": lambda: solve(X, y, standardize=True, threads=2),
    "solve, weights": lambda: solve(X, y, sample_weight=weights, threads=2),
    "solve, missing": lambda: solve(gaps, y, nan_policy="omit", threads=2),
    "solve, few samples": lambda: solve(X[:, :2], y[:, :2], threads=2),
    "solve, few samples, weights": lambda: solve(X[:, :2], y[:, :2], sample_weight=weights[:, :2], threads=2),
    "solve, few samples, standardize": lambda: solve(X[:, :2], y[:, :2], standardize=True, intercept=True, threads=2),
}
found = {}
for name, call in calls.items():
    for kernel in compile_ahead.KERNELS.values():
        kernel._reset_overloads()  # as in a new process
        kernel.overloads.clear()
    compile_ahead._done.clear()
    late.clear(), at_hand.clear()
    call()
    if late:
        found[name] = sorted(late)
    assert at_hand or late or name == "NumPy", name
print(found)
"""


def test_no_kernel_is_compiled_or_loaded_in_a_worker_thread():
    """There Ctrl-C waits for it, and a second line is said. (What only the data tell is late: fits
    that overflow, a least value that rounding leaves open.)"""
    done = run_python(LATE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{}\n", "")


def test_a_first_fit_loads_no_more_than_it_needs():
    """SGD on moments in packs; the kernel for single fits, half of all compiling, when a fit
    overflows."""
    done = run_python(ONLY_WHAT_IS_NEEDED)
    assert done.returncode == 0, done.stderr
    first, kernels, second, later = map(ast.literal_eval, done.stdout.splitlines())
    assert first == [fastgd.Status.COMPLETED] * 2
    assert second == [fastgd.Status.DIVERGED] * 2
    assert kernels == ["compress", "descend_packs"]  # `join` is for long fits
    assert later == sorted([*kernels, "descend"])


def test_fits_that_are_too_few_for_a_pack_load_no_kernel_of_packs():
    few = (
        ONLY_WHAT_IS_NEEDED.partition("said = []")[0]
        + """
X = np.random.default_rng(0).normal(size=(1, 30, 4))
print(fastgd.fit(X, X.sum(axis=-1), lr=0.1, epochs=3, excess_loss=False).status.tolist())
print(loaded())
"""
    )
    done = run_python(few)
    assert done.returncode == 0, done.stderr
    status, kernels = map(ast.literal_eval, done.stdout.splitlines())
    assert status == [fastgd.Status.COMPLETED]
    assert kernels == ["compress", "descend"]
