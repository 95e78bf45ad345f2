"""Measure the CUDA kernels beside the GPU's copy bandwidth: `python3 benchmarks/gpu.py OUT.json`.

1. Nothing is timed before it agrees: some fits of every case have the CPU backend's bits (without
   Numba: keep within the rounding-error bound at every epoch), every peer keeps within the bound
   that anybody's implementation must keep.
2. Device time by CUDA events, medians of repetitions; the L2 cache is overwritten before each. What
   a call of `fit` takes by the clock, compiling and transfers are measured apart.
3. The limit is a copy of device memory, measured in the same run: bytes read and written. Bytes of
   a case: every number of X and y once, every history row once, the state twice, the moments twice.
4. Peers run on as many fits as they get through in the time; their rates are per fit and epoch.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from gpu_peers import time_peers

import fastgd
from fastgd.kernels.chunk import MOMENTS, Chunk, n_rows
from fastgd.kernels.cuda.data import Data
from fastgd.kernels.cuda.launching import Gpu, measured
from fastgd.kernels.cuda.part import Part
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.verification.bound import check_history

CASES = (  # name, fits, samples, features, epochs, history every, dtype, rule
    ("tiny fits, whole history", 10_000_000, 100, 1, 100, 1, "float32", "sgd"),
    ("tiny fits, w only", 10_000_000, 100, 1, 100, 0, "float32", "sgd"),
    ("small fits, whole history", 10_000_000, 100, 8, 100, 1, "float32", "sgd"),
    ("tiny fits, float64", 4_000_000, 100, 1, 100, 1, "float64", "sgd"),
    ("tiny fits, adam", 4_000_000, 100, 1, 100, 1, "float32", "adam"),
    ("many small fits, history", 2_000_000, 256, 8, 200, 1, "float32", "sgd"),
    ("one long fit", 1, 100_000_000, 16, 100, 1, "float32", "sgd"),
)
CHECKED = 64  # fits of a case that are compared with the CPU backend
LEARNING_RATE = 0.05
SHARE = 0.8  # of the free memory
REPEATS = 7
FLUSHED_BYTES = 2**28  # more than any L2 cache
OURS = 2.0  # τ that our kernels keep


def make_chunk(X: Any, y: Any, epochs: int, every: int, rule: str) -> Chunk:
    """Fits whose data, states and results are all on the device."""
    (m, n, d), dtype = X.shape, np.dtype(X.dtype)
    table, rows, own = UPDATE_RULES[rule], n_rows(epochs, every), np.arange(m, dtype=np.int64)
    values = table.all_values()
    hyper = np.array([float(values[name]) for name in (*table.hyperparameters, *table.derived)])
    minus_one, lr = np.broadcast_to(np.int64(-1), (m,)), cupy.empty((1, m), np.float64)
    lr.fill(LEARNING_RATE)
    state = {"w": cupy.empty((m, d)), "slots": cupy.empty((m, len(table.slots), d)), "products": cupy.empty((m, len(table.products)))}
    for name, array in state.items():
        array.fill(float(name == "products"))
    steps = cupy.empty(m, np.int64)
    steps.fill(0)
    return Chunk(
        X, y, own, own, np.empty((0, n), dtype), minus_one, np.empty((0, n), np.int32), minus_one, np.broadcast_to(np.int64(n), (m,)),
        intercept=False, rule=table, lr=lr, hyper=np.broadcast_to(hyper, (m, len(hyper))), epochs=epochs, reduction="mean", tol=-1.0,
        every=every, **state, steps=steps, algorithm=np.full(m, MOMENTS, np.int8), status=np.zeros(m, np.int8),
        w_out=cupy.empty((m, d), dtype), loss=cupy.empty(m, dtype), epochs_run=cupy.empty(m, np.int64),
        history_w=cupy.empty((m, rows, d), dtype), history_loss=cupy.empty((m, rows), dtype),
    )  # fmt: skip


def make_data(m: int, n: int, d: int, dtype: str) -> tuple[Any, Any]:
    """Made on the device; y = X·1 + noise."""
    rng = cupy.random.default_rng(0)
    X = rng.standard_normal((m, n, d), dtype=np.dtype(dtype))
    y = X.sum(axis=2)
    y += rng.standard_normal((m, n), dtype=np.dtype(dtype)) * 0.1
    return X, y


def bytes_of(m: int, n: int, d: int, epochs: int, every: int, dtype: str, rule: str) -> dict[str, int]:
    """Bytes that must be moved in each stage (note 3 at the top of this file)."""
    size, planes = np.dtype(dtype).itemsize, np.dtype(dtype).itemsize // 4
    moments = 8 * planes * (d + 1) * (d + 2) // 2
    state = 8 * d * (1 + len(UPDATE_RULES[rule].slots))
    rows = n_rows(epochs, every)
    return {"compress": m * (size * n * (d + 1) + moments), "descend": m * (moments + 2 * state + size * (d + 1) * (rows + 1))}


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """Median, 20th and 80th percentile."""
    return dict(zip(("median", "p20", "p80"), (float(q) for q in np.percentile(milliseconds, [50, 20, 80])), strict=True))


def copy_bandwidth(n_bytes: int) -> float:
    """GB/s of a copy of device memory, bytes read and written; the best of 20."""
    source, target, times = cupy.empty(n_bytes // 4, np.float32), cupy.empty(n_bytes // 4, np.float32), []
    source.fill(1.0)
    for _ in range(20):
        with measured(times):
            target[...] = source
    return 2 * n_bytes / min(times) / 1e6


class Flush:
    """Overwrites the L2 cache."""

    def __init__(self) -> None:
        self._room = cupy.empty(FLUSHED_BYTES // 4, np.float32)

    @contextmanager
    def before(self, times: list[float]) -> Iterator[None]:
        """Time what is done inside, after the cache was overwritten."""
        self._room.fill(0.0)
        with measured(times):
            yield


def agrees(chunk: Chunk) -> str:
    """Compare all rows of some fits with the CPU backend: in words how; or an AssertionError."""
    m, n, d = chunk.X.shape
    if n > 10**6:
        return "not checked here: too long"
    chosen = np.unique(np.linspace(0, m - 1, min(m, CHECKED)).astype(np.int64))
    places = cupy.asarray(chosen)
    X, y, w, loss = (array[places].get() for array in (chunk.X, chunk.y, chunk.w_out, chunk.loss))
    rows = [array[places].get() for array in (chunk.history_w, chunk.history_loss)] if chunk.every else None
    try:
        theirs = fastgd.fit(X, y, lr=LEARNING_RATE, optimizer=chunk.rule.name, epochs=chunk.epochs, history=chunk.every or False,
                            backend="cpu", algorithm="moments")  # fmt: skip
    except ImportError as error:  # Numba is missing, or refuses this NumPy
        if chunk.rule.name != "sgd" or rows is None:
            return f"not checked here: {error}"
        worst = 0.0
        for k in range(min(4, len(chosen))):
            judged = check_history(X[k], y[k], rows[0][k], rows[1][k], lr=LEARNING_RATE, dtype=X.dtype, held_higher=True)
            worst = max(worst, judged.tau_w, judged.tau_loss)
        assert worst <= OURS, f"τ is {worst}"
        return f"τ {worst:.2f} at every epoch of 4 fits (the CPU backend is not there: {error})"
    assert np.array_equal(w.reshape(len(chosen), d), np.asarray(theirs.w)), "w is not the CPU backend's"
    assert np.array_equal(loss, np.asarray(theirs.loss)), "the loss is not the CPU backend's"
    if rows is not None:
        assert np.array_equal(rows[0], np.asarray(theirs.history.w)), "the history of w is not the CPU backend's"
        assert np.array_equal(rows[1], np.asarray(theirs.history.loss)), "the history of the loss is not the CPU backend's"
    return f"bit for bit, {len(chosen)} fits"


def run_case(name: str, m: int, n: int, d: int, epochs: int, every: int, dtype: str, rule: str, limit: float) -> dict[str, Any]:
    """One case: as many fits as memory holds, checked, then timed stage by stage."""
    moved = bytes_of(1, n, d, epochs, every, dtype, rule)
    table = UPDATE_RULES[rule]
    beside = 16 * d * (1 + len(table.slots)) + 16 * len(table.products) + 60  # two states, places, codes
    m = max(1, min(m, int((SHARE * Gpu().free_bytes() - FLUSHED_BYTES) / (1.05 * sum(moved.values()) + beside))))
    X, y = make_data(m, n, d, dtype)
    chunk, gpu, flush = make_chunk(X, y, epochs, every, rule), Gpu(), Flush()
    cancel, progress = np.zeros(1, np.int32), np.zeros(1, np.int64)
    began = time.perf_counter()
    data = Data(gpu, chunk, None)
    data.weigh()
    data.compress()
    part = Part(data, chunk, None)
    part.begin()
    part.descend(cancel, progress)
    part.write_back()
    gpu.wait()
    first_call = time.perf_counter() - began
    same = agrees(chunk)
    times: dict[str, list[float]] = {"compress": [], "descend": []}
    for array, value in ((chunk.w, 0.0), (chunk.slots, 0.0), (chunk.products, 1.0), (chunk.steps, 0)):
        array.fill(value)  # where it began
    for _ in range(REPEATS):
        with flush.before(times["compress"]):
            data.compress()
        part.begin()
        with flush.before(times["descend"]):
            part.descend(cancel, progress)
    del part, data, chunk, flush
    clock = []
    for _ in range(3):
        began = time.perf_counter()
        result = fastgd.fit(X, y, lr=LEARNING_RATE, optimizer=rule, epochs=epochs, history=every or False, algorithm="moments")
        gpu.wait()
        clock.append(1e3 * (time.perf_counter() - began))
        assert result.backend == "cuda"
        del result
    found = {stage: percentiles(values) for stage, values in times.items()}
    moved = bytes_of(m, n, d, epochs, every, dtype, rule)
    total = sum(stage["median"] for stage in found.values())
    return {
        "case": name, "n_fits": m, "n_samples": n, "n_features": d, "epochs": epochs, "every": every, "dtype": dtype, "rule": rule,
        "backend": "cuda", "agrees": same, "milliseconds": found, "fit_by_the_clock_ms": float(np.median(clock)),
        "first_call_s": first_call, "bytes": moved,
        "gb_per_s": sum(moved.values()) / total / 1e6, "share_of_copy": sum(moved.values()) / total / 1e6 / limit,
        "share_by_stage": {stage: moved[stage] / found[stage]["median"] / 1e6 / limit for stage in moved},
        "ns_per_fit_epoch": 1e6 * total / m / max(epochs, 1), "peers": {},
    }  # fmt: skip


def transfers(n_bytes: int) -> dict[str, float]:
    """GB/s of uploads and downloads; and a fit of NumPy data, sent in parts while kernels run."""
    gpu, array = Gpu(), np.ones(n_bytes // 8)
    found = {}
    for _ in range(2):  # the first one takes the buffers
        began = time.perf_counter()
        there = gpu.upload(array)
        gpu.wait()
        found["upload_gb_per_s"] = n_bytes / (time.perf_counter() - began) / 1e9
        began = time.perf_counter()
        gpu.download(there, array)
        found["download_gb_per_s"] = n_bytes / (time.perf_counter() - began) / 1e9
    X = np.random.default_rng(0).standard_normal((max(1, n_bytes // 1600), 100, 1), dtype=np.float32)
    y = X.sum(axis=2)
    for _ in range(2):
        began = time.perf_counter()
        fastgd.fit(X, y, lr=LEARNING_RATE, epochs=100, history=True, backend="cuda")
        found["numpy_fit_s"] = time.perf_counter() - began
    found["numpy_fit_gb"] = (X.nbytes + y.nbytes + len(X) * 101 * 8) / 1e9
    return found


def versions() -> dict[str, str]:
    """Of what took part."""
    found = {"fastgd": fastgd.__version__, "cupy": cupy.__version__, "numpy": np.__version__}
    for name in ("torch", "numba", "triton", "nvidia-cuda-nvrtc"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    if "failed" in row or "skipped" in row:
        return f"{row['case']:27} " + (f"FAILED: {row['failed']}" if "failed" in row else f"skipped: {row['skipped']}")
    best = min((peer["ns_per_fit_epoch"] for name, peer in row["peers"].items() if name.startswith("torch") and "ns_per_fit_epoch" in peer),
               default=float("nan"))  # fmt: skip
    stages = row["milliseconds"]
    return (
        f"{row['case']:27} {row['n_fits']:>11,} fits  {stages['compress']['median']:9.3f} + {stages['descend']['median']:9.3f} ms  "
        f"{row['gb_per_s']:6,.0f} GB/s = {row['share_of_copy']:4.0%} of a copy  fit {row['fit_by_the_clock_ms']:9.1f} ms  "
        f"{best / row['ns_per_fit_epoch']:7.1f} x the best torch  {row['agrees']}"
    )


def main() -> int:
    """Run all cases within the time, write the results, print a table; 1 where a case failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument(
        "--divide", type=int, default=1, help="divide the numbers of fits, of samples of the long fit, and of bytes by this"
    )
    parser.add_argument("--torch-device", default="cuda", help="cpu: to try this program where there is no GPU")
    options = parser.parse_args()
    began = time.perf_counter()
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    limit = copy_bandwidth(2**30 // options.divide)
    report: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "commit": commit or "not a git checkout",
        "gpu": properties["name"].decode(), "memory_gib": properties["totalGlobalMem"] / 2**30, "python": platform.python_version(),
        "versions": versions(), "copy_gb_per_s": limit, "transfers": transfers(max(8000, 2**31 // options.divide)), "cases": [],
    }  # fmt: skip
    print(f"{report['gpu']}: copies {limit:,.0f} GB/s; " + ", ".join(f"{name} {value:.1f}" for name, value in report["transfers"].items()))
    for name, m, n, *others in CASES:
        m, n = (m, max(100, n // options.divide)) if m == 1 else (max(2, m // options.divide), n)
        row: dict[str, Any] = {"case": name, "skipped": "no time was left"}
        if time.perf_counter() - began < options.seconds:
            try:
                row = run_case(name, m, n, *others, limit=limit)
                cupy.get_default_memory_pool().free_all_blocks()
                if m > 1 and row["every"] and row["rule"] == "sgd" and time.perf_counter() - began < options.seconds:
                    row["peers"] = time_peers(row, LEARNING_RATE, options.torch_device)
            except Exception as error:  # one case must not hide the others
                row = {"case": name, "failed": f"{type(error).__name__}: {error}"[:400]}
        report["cases"].append(row)
        cupy.get_default_memory_pool().free_all_blocks()
        options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(line_of(row), flush=True)
        for peer, told in row.get("peers", {}).items():
            what = f"{told['ns_per_fit_epoch']:10.3f} ns per fit and epoch" if "ns_per_fit_epoch" in told else told["failed"]
            print(f"    {peer:34} {what}")
    return int(any("failed" in row for row in report["cases"]))


if __name__ == "__main__":
    raise SystemExit(main())
