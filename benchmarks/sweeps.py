"""Sweeps of one data set: many rates with a history, a second sweep of the same moments, and the
memory of a million cells.

1. The limit of many rates is one read of the data and one multiply-add for each pair of features,
   epoch and rate, at the peak of float64. w of every epoch is written too, which it does not count.
2. A second sweep reads no data. Its kernel time is the call less the same call of no epochs.
3. Beside them: JAX, which descends on the moments too and, on fewer rates, on the data; and three
   lines of NumPy on moments. A library that is missing is named.
4. Nothing is timed before it agrees: every epoch of some cells of each is judged by `fastgd.verify`
   (its bound is 8 τ). JAX is judged in float64 and timed in float32: in float32 its moments are
   sums of 10,000 rounded products, for which no bound of descents speaks.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastgd
from benchmarks.cases import make_data, worst_tau
from benchmarks.limits import Machine, fastest
from benchmarks.measuring import Row, interleaved, percentiles, timed

N_RATES, N_SAMPLES, N_FEATURES, EPOCHS = 4096, 10_000, 16, 200
MOST = 2.0  # times the limit
SECOND_CELLS, SECOND_FEATURES, SECOND_EPOCHS, SECOND_SECONDS = (40, 3), 3, 1000, 1e-3
JAX_RATES = 64  # on the data, where all rates would take minutes
MOST_MEMORY = 2**30  # bytes, of a million cells
_MILLION = """
import resource
import numpy as np, fastgd
rng = np.random.default_rng(0)
X, y = rng.normal(size=(1000, 8)), rng.normal(size=1000)
grid = {"lr": np.geomspace(1e-4, 0.1, COUNT), "momentum": np.linspace(0, 0.9, COUNT)}
fastgd.sweep(X, y, grid={"lr": [0.1], "momentum": [0.5]}, epochs=1, progress=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = fastgd.sweep(X, y, grid=grid, epochs=20, progress=False)
assert found.loss.size == COUNT**2
print(1024 * before, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measure_sweeps(machine: Machine, quick: bool) -> list[Row]:
    """The rows of all cases, and of those beside them."""
    repeats = 3 if quick else 9
    return [*_many_rates(machine, repeats, quick), *_second_sweep(repeats), *_a_million_cells(quick)]


def _many_rates(machine: Machine, repeats: int, quick: bool) -> list[Row]:
    X, y = (array[0] for array in make_data(1, N_SAMPLES, N_FEATURES, "float32"))
    rates = np.geomspace(1e-4, 0.4, N_RATES // (16 if quick else 1))
    tau = worst_tau(X[None], y[None], EPOCHS)
    cell = fastgd.sweep(X, y, grid={"lr": rates}, epochs=EPOCHS, history=True, progress=False).sel(lr=rates[-1])
    alone = fastgd.fit(X, y, lr=rates[-1], epochs=EPOCHS, history=True)
    if not (np.array_equal(cell.history.loss, alone.history.loss) and np.array_equal(cell.w, alone.w)):
        raise SystemExit("a cell has other bits alone: nothing is timed before it agrees")

    def sweep() -> object:
        return fastgd.sweep(X, y, grid={"lr": rates}, epochs=EPOCHS, history=True, progress=False)

    functions: dict[str, Callable[[], object]] = {**machine.ways_to_read((X, y)), **machine.ways_to_multiply("float64", machine.threads)}
    functions |= {"sweep": sweep} | _jax_peers(X, y, rates)
    first = timed(sweep)
    seconds = interleaved(functions, repeats)
    operations = len(rates) * EPOCHS * N_FEATURES**2
    read, peak = (np.array(fastest(seconds, kind)[1]) for kind in ("read", "fma64"))
    limit = read + operations * peak / machine.operations(machine.threads)
    row = _row(f"{len(rates):,} rates, 10⁴ × 16, 200 epochs", seconds["sweep"], float(np.median(limit)), MOST, "read + fma64", repeats)
    row |= {"n_fits": len(rates), "n_samples": N_SAMPLES, "n_features": N_FEATURES, "epochs": EPOCHS, "dtype": "float32", "history": True,
            "operations": operations, "first_call": first, "worst_tau": tau}  # fmt: skip
    return [row, *_beside(seconds, {"on the data": len(rates) / JAX_RATES}), *_missing()]


def _jax_peers(X: np.ndarray, y: np.ndarray, rates: np.ndarray) -> dict[str, Callable[[], object]]:
    """JAX on the moments and on the data, or nothing."""
    if importlib.util.find_spec("jax") is None:
        return {}
    import jax

    peers = {"JAX vmap + scan, on the moments": (True, rates), "JAX vmap + scan, on the data": (False, rates[-JAX_RATES:])}
    jax.config.update("jax_enable_x64", True)
    for name, (on_moments, _) in peers.items():
        run = _jax_descents(X.astype(float), y.astype(float), rates[[0, -1]], on_moments, with_w=True)
        for rate, w, losses in zip(rates[[0, -1]], *map(np.asarray, run()), strict=True):
            _judge(name, (w, losses), X, y, lr=rate)
    jax.config.update("jax_enable_x64", False)
    return {name: _jax_descents(X, y, some, on_moments, with_w=False) for name, (on_moments, some) in peers.items()}


def _jax_descents(X: np.ndarray, y: np.ndarray, rates: np.ndarray, on_moments: bool, with_w: bool) -> Callable[[], Any]:
    """A function that runs all rates: the losses of every epoch, with_w: w, then the losses."""
    import jax
    import jax.numpy as jnp

    features, targets, n = jnp.asarray(X), jnp.asarray(y), len(y)
    gram, cross, square = features.T @ features, features.T @ targets, targets @ targets

    def loss_of(w: Any) -> Any:
        if on_moments:
            return (square + w @ (gram @ w - 2 * cross)) / n
        residual = features @ w - targets
        return (residual * residual).mean()

    def descend(lr: Any) -> Any:
        def epoch(w: Any, _: Any) -> Any:
            loss, gradient = jax.value_and_grad(loss_of)(w)
            return w - lr * gradient, (w, loss) if with_w else loss

        return jax.lax.scan(epoch, jnp.zeros(X.shape[1], X.dtype), None, length=EPOCHS + 1)[1]

    run, given = jax.jit(jax.vmap(descend)), jnp.asarray(rates.astype(X.dtype))
    return lambda: jax.block_until_ready(run(given))


def _judge(name: str, history: Any, X: np.ndarray, y: np.ndarray, **options: Any) -> None:
    """End where a peer's history, in float64, is no such descent."""
    found = fastgd.verify(history, X.astype(float), y.astype(float), **options)
    if not found.ok:
        raise SystemExit(f"{name}: {found}; nothing is timed before it agrees")


def _second_sweep(repeats: int) -> list[Row]:
    rows = []
    for dtype in ("float32", "float64"):
        X, y = (array[0] for array in make_data(1, N_SAMPLES, SECOND_FEATURES, dtype))
        moments, (n_rates, n_momenta) = fastgd.compress(X, y), SECOND_CELLS
        grid = {"lr": np.geomspace(1e-3, 0.3, n_rates), "momentum": np.linspace(0.0, 0.9, n_momenta)}

        def sweep(epochs: int = SECOND_EPOCHS, moments: Any = moments, grid: Any = grid) -> Any:
            return fastgd.sweep(moments, grid=grid, epochs=epochs, progress=False)

        gram, cross = X.astype(float).T @ X, X.astype(float).T @ y
        lr, momentum = (np.broadcast_to(values, SECOND_CELLS).reshape(-1, 1) for values in (grid["lr"][:, None], grid["momentum"]))

        def by_numpy(
            gram: Any = gram, cross: Any = cross, lr: Any = lr, momentum: Any = momentum, see: Callable[[Any], object] = lambda w: None
        ) -> Any:
            w = buffer = np.zeros((len(lr), SECOND_FEATURES))
            for _ in range(SECOND_EPOCHS):
                buffer = momentum * buffer + (2 / N_SAMPLES) * (w @ gram - cross)
                w = w - lr * buffer
                see(w)
            return w

        seen = [np.zeros((len(lr), SECOND_FEATURES))]
        by_numpy(see=seen.append)
        for cell in (0, len(lr) // 2, len(lr) - 1):
            rule = fastgd.SGD(lr=float(lr[cell, 0]), momentum=float(momentum[cell, 0]))
            _judge("NumPy on moments", np.stack(seen)[:, cell], X, y, optimizer=rule)
        seconds = interleaved({"sweep": sweep, "nothing": lambda sweep=sweep: sweep(0), "NumPy on moments": by_numpy}, 5 * repeats)
        kernel = np.array(seconds["sweep"]) - np.median(seconds["nothing"])
        name = "120 cells of the same Moments, 1,000 epochs"
        row = _row(name, kernel, SECOND_SECONDS, 1.0, "1 ms of kernel time", repeats)
        row |= {"n_fits": 120, "n_samples": N_SAMPLES, "n_features": SECOND_FEATURES, "epochs": SECOND_EPOCHS, "dtype": dtype,
                "history": False, "whole_call": percentiles(seconds["sweep"]), "no_epochs": percentiles(seconds["nothing"])}  # fmt: skip
        rows += [row, *_beside(seconds, {})]
    return rows


def _a_million_cells(quick: bool) -> list[Row]:
    """The peak of resident memory of a process of its own."""
    count = 100 if quick else 1000
    done = subprocess.run([sys.executable, "-P", "-c", _MILLION.replace("COUNT", str(count))], capture_output=True, text=True, check=True)
    before, peak = (int(number) for number in done.stdout.split())
    return [{
        "case": f"{count**2:,} cells, loss only", "n_fits": count**2, "n_samples": 1000, "n_features": 8, "epochs": 20, "dtype": "float64",
        "rule": "sgd", "backend": "cpu", "bytes_before": before, "bytes_peak": peak, "most_bytes": MOST_MEMORY, "fits": peak <= MOST_MEMORY,
    }]  # fmt: skip


def _row(case: str, seconds: Any, limit: float, most: float, words: str, repeats: int) -> Row:
    spent = percentiles(np.asarray(seconds))
    return {
        "case": case, "rule": "sgd", "backend": "cpu", "algorithm": "moments", **spent, "aim": f"≤ {most:g} × {words}", "limit": words,
        "limit_s": limit, "most": most, "ratio": spent["median"] / limit, "ratio_p20": spent["p20"] / limit,
        "ratio_p80": spent["p80"] / limit, "met": spent["median"] / limit <= most, "repeats": repeats,
    }  # fmt: skip


def _beside(seconds: dict[str, list[float]], scaled: dict[str, float]) -> list[Row]:
    """Rows of others; those whose name holds a text of `scaled` ran on fewer fits."""
    rows = []
    for name, spent in seconds.items():
        if name.startswith(("JAX", "NumPy")):
            factor = next((value for text, value in scaled.items() if text in name), 1.0)
            rows.append({"peer": name, "times_as_many_fits": factor, **percentiles(factor * np.array(spent))})
    return rows


def _missing() -> list[Row]:
    return [] if importlib.util.find_spec("jax") else [{"peer": "JAX", "missing": "jax is not installed"}]
