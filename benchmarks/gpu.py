"""Measure the CUDA kernels on a GPU beside its copy bandwidth and beside peers: `python3 -P benchmarks/gpu.py RESULTS.json`.

1. Nothing is timed before it agrees: some fits of every case are compared with the CPU backend by `==`, each peer by its first epochs.
2. Device time by CUDA events, medians of repetitions; the data of a case are larger than the L2 cache, or the cache is overwritten in
   between. Compiling, uploading and downloading are timed apart, once.
3. The limit is a copy of device memory, measured in the same run: bytes read and written. Bytes of a case: every number of X and y once,
   every history row once, the state twice, the moments twice.
4. Peers run on as many fits as they get through in the time; their rates are per fit and epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import cupy
import numpy as np
import torch

import fastgd
from fastgd.kernels.chunk import MOMENTS, Chunk, n_rows
from fastgd.kernels.cuda.launching import Gpu, measured
from fastgd.kernels.cuda.running import Part
from fastgd.kernels.update_rules import UPDATE_RULES

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
PEER_SECONDS = 8.0


def make_chunk(m: int, n: int, d: int, epochs: int, every: int, dtype: str, rule: str) -> Chunk:
    """Data made on the device; y = X·1 + noise."""
    table, rows, own = UPDATE_RULES[rule], n_rows(epochs, every), np.arange(m, dtype=np.int64)
    values = table.all_values()
    rng = cupy.random.default_rng(0)
    X = rng.standard_normal((m, n, d), dtype=dtype)
    y = X.sum(axis=2) + 0.1 * rng.standard_normal((m, n), dtype=dtype)
    none, float_type = np.zeros(0, np.int64), np.dtype(dtype)
    return Chunk(
        X, y, own, own, np.empty((0, n), float_type), none, np.empty((0, n), np.int32), np.full(m, -1), np.full(m, n, np.int64),
        intercept=False, rule=table, lr=np.full((1, m), LEARNING_RATE),
        hyper=np.tile([float(values[name]) for name in (*table.hyperparameters, *table.derived)], (m, 1)),
        epochs=epochs, reduction="mean", tol=-1.0, every=every,
        w=np.zeros((m, d)), slots=np.zeros((m, len(table.slots), d)), products=np.ones((m, len(table.products))),
        steps=np.zeros(m, np.int64), algorithm=np.full(m, MOMENTS, np.int8), status=np.zeros(m, np.int8),
        w_out=np.empty((m, d), float_type), loss=np.empty(m, float_type), epochs_run=np.empty(m, np.int64),
        history_w=np.broadcast_to(np.empty(1, float_type), (m, rows, d)), history_loss=np.broadcast_to(np.empty(1, float_type), (m, rows)),
    )  # fmt: skip


def bytes_of(m: int, n: int, d: int, epochs: int, every: int, dtype: str, rule: str) -> dict[str, int]:
    """What must move, by stage; see 3."""
    size, planes = np.dtype(dtype).itemsize, np.dtype(dtype).itemsize // 4
    moments = 8 * planes * (d + 1) * (d + 2) // 2
    state = 8 * d * (1 + len(UPDATE_RULES[rule].slots))
    rows = n_rows(epochs, every)
    return {"compress": m * (size * n * (d + 1) + moments), "descend": m * (moments + 2 * state + size * (d + 1) * (rows + 1))}


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """Median, 20th and 80th percentile."""
    return dict(zip(("median", "p20", "p80"), (float(q) for q in np.percentile(milliseconds, [50, 20, 80])), strict=True))


def copy_bandwidth() -> float:
    """GB/s of a copy of device memory, bytes read and written; the best of 20."""
    source = cupy.ones(2**30 // 4, cupy.float32)
    target, times = cupy.empty_like(source), []
    for _ in range(20):
        with measured(times):
            cupy.copyto(target, source)
    return 2 * source.nbytes / min(times) / 1e6


def agrees(chunk: Chunk, part: Part) -> bool | str:
    """Whether the last w and the loss of some fits are the CPU backend's, bit for bit; long fits are left to the tests."""
    m, d = len(chunk.w), chunk.w.shape[1]
    chosen = np.unique(np.linspace(0, m - 1, min(m, CHECKED)).astype(np.int64))
    if chunk.X.shape[1] > 10**6:
        return "not checked"
    places = cupy.asarray(chosen)
    X, y = chunk.X[places].get(), chunk.y[places].get()
    theirs = fastgd.fit(X, y, lr=LEARNING_RATE, optimizer=chunk.rule.name, epochs=chunk.epochs, backend="cpu", algorithm="moments")
    w, loss = part.arrays["w_out"][places].get(), part.arrays["loss"][places].get()
    return bool(np.array_equal(w.reshape(len(chosen), d), np.asarray(theirs.w)) and np.array_equal(loss, np.asarray(theirs.loss)))


def run_case(name: str, m: int, n: int, d: int, epochs: int, every: int, dtype: str, rule: str, limit: float) -> dict:
    """One case: as many fits as memory holds, checked, then timed stage by stage."""
    moved = bytes_of(1, n, d, epochs, every, dtype, rule)
    free = Gpu().free_bytes()
    m = max(1, min(m, int(SHARE * free / (1.15 * sum(moved.values()) + 8 * (20 + 4 * d)))))
    chunk = make_chunk(m, n, d, epochs, every, dtype, rule)
    cancel, progress = np.zeros(1, np.int32), np.zeros(1, np.int64)
    began = time.perf_counter()
    part = Part(Gpu(), chunk)
    part.weigh()
    part.compress()
    part.begin()
    part.descend(cancel, progress)
    first_call = time.perf_counter() - began
    same = agrees(chunk, part)
    times: dict[str, list[float]] = {"compress": [], "descend": []}
    for _ in range(7):
        with measured(times["compress"]):
            part.compress()
        part.begin()
        with measured(times["descend"]):
            part.descend(cancel, progress)
    moved = bytes_of(m, n, d, epochs, every, dtype, rule)
    found = {stage: percentiles(values) for stage, values in times.items()}
    total = found["compress"]["median"] + found["descend"]["median"]
    rate = sum(moved.values()) / total / 1e6
    return {
        "case": name, "n_fits": m, "n_samples": n, "n_features": d, "epochs": epochs, "every": every, "dtype": dtype, "rule": rule,
        "backend": "cuda", "agrees": same, "milliseconds": found, "first_call_s": first_call, "bytes": moved,
        "gb_per_s": rate, "share_of_copy": rate / limit, "ns_per_fit_epoch": 1e6 * total / m / max(epochs, 1),
        "launches_per_descend": "as many as 100 ms allow", "peers": {},
    }  # fmt: skip


def torch_peers(n: int, d: int, dtype: torch.dtype) -> dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]]:
    """One epoch each: (X (b, n, d), y (b, n), w (b, d)) -> the next w."""

    def eager(X: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        residual = torch.einsum("bnd,bd->bn", X, w) - y
        return w - LEARNING_RATE * (2 / n) * torch.einsum("bnd,bn->bd", X, residual)

    def autograd(X: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        w = w.detach().requires_grad_()
        residual = torch.einsum("bnd,bd->bn", X, w) - y
        (residual * residual).mean(dim=1).sum().backward()
        return (w - LEARNING_RATE * w.grad).detach()

    def loss_of_one(w: torch.Tensor, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        residual = X @ w - y
        return (residual * residual).mean()

    gradient = torch.func.vmap(torch.func.grad(loss_of_one))

    def vmapped(X: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return w - LEARNING_RATE * gradient(w, X, y)

    return {"torch autograd": autograd, "torch eager": eager, "torch vmap": vmapped, "torch.compile": torch.compile(eager)}


def time_peers(case: dict) -> dict[str, float | str]:
    """{peer: nanoseconds per fit and epoch}, or what went wrong."""
    n, d, dtype = case["n_samples"], case["n_features"], getattr(torch, case["dtype"])
    b = max(1, min(case["n_fits"], int(2e9 / (n * (d + 1) * dtype.itemsize))))
    generator = torch.Generator("cuda").manual_seed(0)
    X = torch.randn((b, n, d), device="cuda", dtype=dtype, generator=generator)
    y, start = X.sum(dim=2), torch.zeros((b, d), device="cuda", dtype=dtype)
    found: dict[str, float | str] = {}
    expected = None
    for name, epoch in torch_peers(n, d, dtype).items():
        try:
            w = epoch(X, y, epoch(X, y, start))
            expected = w if expected is None else expected
            torch.testing.assert_close(w, expected, rtol=1e-3, atol=1e-3)
            found[name] = 1e6 * torch_time(lambda epoch=epoch: epoch(X, y, start)) / b
        except Exception as error:  # a peer that cannot run here is said so, and the others go on
            found[name] = f"{type(error).__name__}: {error}"[:200]
    with contextlib.suppress(RuntimeError):
        graph, stand = torch.cuda.CUDAGraph(), start.clone()
        eager = torch_peers(n, d, dtype)["torch eager"]
        eager(X, y, stand)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            for _ in range(10):
                stand.copy_(eager(X, y, stand))
        found["torch, CUDA graph"] = 1e6 * torch_time(graph.replay) / b / 10
    A, t, v = cupy.from_dlpack(X), cupy.from_dlpack(y), cupy.zeros((b, d), X.cpu().numpy().dtype if b < 2 else case["dtype"])

    def elementwise() -> None:
        residual = (A * v[:, None, :]).sum(axis=2) - t
        v[...] -= LEARNING_RATE * (2 / n) * (A * residual[:, :, None]).sum(axis=1)

    def solve() -> None:
        G = cupy.matmul(A.transpose(0, 2, 1), A)
        cupy.linalg.solve(G, cupy.matmul(A.transpose(0, 2, 1), t[:, :, None]))

    found["CuPy elementwise"] = 1e6 * cupy_time(elementwise) / b
    if b > 1:
        found["cupy.linalg.solve, once (per fit)"] = 1e6 * cupy_time(solve) / b
    return found


def torch_time(function: Callable[[], object]) -> float:
    """Median milliseconds on the device."""
    function()
    torch.cuda.synchronize()
    times, began = [], time.perf_counter()
    while len(times) < 20 and time.perf_counter() - began < PEER_SECONDS / 4:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return float(np.median(times))


def cupy_time(function: Callable[[], object]) -> float:
    """The same for CuPy."""
    function()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 10 and time.perf_counter() - began < PEER_SECONDS / 4:
        with measured(times):
            function()
    return float(np.median(times))


def transfers() -> dict[str, float]:
    """GB/s of uploads and downloads of 4 GiB, by pinned buffers."""
    gpu, array = Gpu(), np.ones(2**29, np.float64)
    found = {}
    for _ in range(2):  # the first one takes the buffers
        began = time.perf_counter()
        there = gpu.upload(array)
        gpu.wait()
        found["upload_gb_per_s"] = array.nbytes / (time.perf_counter() - began) / 1e9
        began = time.perf_counter()
        gpu.download(there, array)
        found["download_gb_per_s"] = array.nbytes / (time.perf_counter() - began) / 1e9
    return found


def main() -> None:
    """Run all cases within the time, write the results, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0)
    options = parser.parse_args()
    began = time.perf_counter()
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    limit = copy_bandwidth()
    report: dict = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "commit": commit or "not a git checkout",
        "gpu": properties["name"].decode(), "memory_gib": properties["totalGlobalMem"] / 2**30, "python": platform.python_version(),
        "versions": {"fastgd": fastgd.__version__, "cupy": cupy.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "copy_gb_per_s": limit, "transfers": transfers(), "cases": [],
    }  # fmt: skip
    print(f"{report['gpu']}: copies {limit:,.0f} GB/s")
    for case in CASES:
        if time.perf_counter() - began > options.seconds:
            report["cases"].append({"case": case[0], "skipped": "no time was left"})
            continue
        try:
            row = run_case(*case, limit=limit)
            cupy.get_default_memory_pool().free_all_blocks()
            if row["n_samples"] < 1000 and time.perf_counter() - began < options.seconds:
                row["peers"] = time_peers(row)
        except Exception as error:  # one case must not hide the others
            row = {"case": case[0], "failed": f"{type(error).__name__}: {error}"[:400]}
        report["cases"].append(row)
        cupy.get_default_memory_pool().free_all_blocks()
        torch.cuda.empty_cache()
        options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if "failed" in row:
            print(f"{case[0]:28} FAILED: {row['failed']}")
            continue
        best = min((v for k, v in row["peers"].items() if k.startswith("torch") and isinstance(v, float)), default=float("nan"))
        print(
            f"{row['case']:28} {row['n_fits']:>11,} fits  agrees {row['agrees']!s:5}  {row['milliseconds']['compress']['median']:9.2f} ms "
            f"+ {row['milliseconds']['descend']['median']:9.2f} ms  {row['gb_per_s']:6,.0f} GB/s = {row['share_of_copy']:4.0%} of a copy  "
            f"{best / row['ns_per_fit_epoch']:8.1f} x the best torch"
        )
    options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
