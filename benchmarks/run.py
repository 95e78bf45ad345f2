"""Measure this machine and the kernels: one JSON line per case, then a table. `make bench`, or `python -P benchmarks/run.py [--quick]`.

1. Nothing is timed before it agrees: each case is checked by τ against the error bound on some of its fits first.
2. The machine's limit is measured in the same run, interleaved with the cases: one plain read of the same arrays, by as many threads.
3. Medians of interleaved repetitions, with the 20th and 80th percentile; machines are noisy.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

import fastgd
from fastgd.plan import available_threads
from fastgd.verification.bound import check_history

CASES = (  # name, n_fits, n_samples, n_features, epochs, history
    ("many tiny fits, w only", 100_000, 100, 1, 100, False),
    ("many tiny fits, whole history", 100_000, 100, 1, 100, True),
    ("many small fits, history", 20_000, 256, 8, 200, True),
    ("one long fit", 1, 1_000_000, 16, 100, True),
    ("one small call", 1, 1_000, 1, 10, False),
)


def make_data(n_fits: int, n_samples: int, n_features: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal features, y = X w + noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_fits, n_samples, n_features), dtype=np.float32)
    w = rng.standard_normal((n_fits, n_features), dtype=np.float32)
    y = np.matmul(X, w[..., None])[..., 0] + np.float32(0.1) * rng.standard_normal((n_fits, n_samples), dtype=np.float32)
    return X.astype(dtype), y.astype(dtype)


def read_once(arrays: tuple[np.ndarray, ...], threads: int) -> None:
    """Sum every array, cut into as many pieces as there are threads: the time of one read."""
    pieces = [piece for array in arrays for piece in np.array_split(array.reshape(-1), threads)]
    workers = [threading.Thread(target=lambda k=k: [piece.sum() for piece in pieces[k::threads]]) for k in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median, 20th and 80th percentile."""
    return dict(zip(("median", "p20", "p80"), (float(q) for q in np.percentile(seconds, [50, 20, 80])), strict=True))


def interleaved(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Time each function in turn, `repeats` times."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - began)
    return {name: percentiles(values) for name, values in seconds.items()}


def worst_tau(X: np.ndarray, y: np.ndarray, lr: float, epochs: int) -> float:
    """The worst share of the error bound in the first, the middle and the last fit."""
    worst = 0.0
    for f in {0, len(X) // 2, len(X) - 1}:
        rows = slice(0, 20_000)  # the bound is worked out in extended precision: a part of a long fit will do
        result = fastgd.fit(X[f][rows], y[f][rows], lr=lr, epochs=epochs, history=True)
        verdict = check_history(
            X[f][rows], y[f][rows], result.history.w, result.history.loss, lr=lr, dtype=X.dtype, held_higher=X.dtype == np.float32
        )
        worst = max(worst, verdict.tau_w, verdict.tau_loss)
    return worst


def measure(case: tuple, dtype: str, quick: bool, threads: int) -> dict[str, object]:
    """One row of the table."""
    name, n_fits, n_samples, n_features, epochs, history = case
    if quick:
        n_fits, n_samples = max(1, n_fits // 20), min(n_samples, 100_000)
    X, y = make_data(n_fits, n_samples, n_features, dtype)
    lr = 0.05
    tau = worst_tau(X, y, lr, min(epochs, 50))
    if tau > 2:
        raise SystemExit(f"{name}, {dtype}: τ = {tau:.3g}; nothing is timed before it agrees")

    def fit() -> fastgd.FitResult:
        return fastgd.fit(X, y, lr=lr, epochs=epochs, history=history, progress=False)

    first_began = time.perf_counter()
    result = fit()
    first = time.perf_counter() - first_began
    timed = interleaved({"fit": fit, "read": lambda: read_once((X, y), threads)}, 200 if n_fits * n_samples < 10_000 else 7)
    written = 0 if result.history is None else result.history.w.nbytes + result.history.loss.nbytes
    read = X.nbytes + y.nbytes
    return {
        "case": name, "n_fits": n_fits, "n_samples": n_samples, "n_features": n_features, "epochs": epochs, "dtype": dtype, "rule": "sgd",
        "backend": result.backend, "algorithm": result.algorithm, "history": history, **timed["fit"], "first_call": first,
        "bytes_read": read, "bytes_written": written, "gb_per_s": (read + written) / timed["fit"]["median"] / 1e9,
        "read_once_median": timed["read"]["median"], "times_one_read": timed["fit"]["median"] / timed["read"]["median"],
        "fits_per_s": n_fits / timed["fit"]["median"], "worst_tau": tau,
    }  # fmt: skip


def conditions(threads: int) -> dict[str, object]:
    """Where and with what this was measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit or None, "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "machine": platform.machine(),
        "threads": threads, "python": platform.python_version(),
        **{name: version(name) for name in ("fastgd", "numpy", "numba", "llvmlite")},
    }  # fmt: skip


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the fits: to see that it runs")
    quick = parser.parse_args().quick
    threads = available_threads()
    about = conditions(threads)
    rows = []
    for dtype in ("float32", "float64"):
        for case in CASES:
            rows.append(measure(case, dtype, quick, threads))
            print(json.dumps(rows[-1] | about), flush=True)
    print(f"\n{'case':32}{'dtype':9}{'median':>11}{'p20':>11}{'p80':>11}{'GB/s':>7}{'× one read':>12}{'τ':>7}")
    for row in rows:
        times = "".join(f"{row[key] * 1e3:>9.3f}ms" for key in ("median", "p20", "p80"))
        print(f"{row['case']:32}{row['dtype']:9}{times}{row['gb_per_s']:>7.2f}{row['times_one_read']:>12.2f}{row['worst_tau']:>7.3f}")


if __name__ == "__main__":
    main()
