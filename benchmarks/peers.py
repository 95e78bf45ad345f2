"""Other libraries on the same problems, beside fastgd: `python benchmarks/run.py --peers`.

1. Each is written as its own users would: compiled where it can be, called once before it is timed,
   data in its own format. All keep w and loss of every epoch, except the closed form, which has
   none.
2. Nothing is timed before it agrees: first, middle and last history of a peer are compared with the
   error bound at every epoch, and must stay below PEER_BOUND. The closed form has no epochs to be
   judged by: its row tells how far it is from `fastgd.solve`.
3. The slow ones get as many fits as they get through in about MOST_SECONDS, a power of ten, and the
   row says how many: compare `fits_per_s`. fastgd runs on each of these sizes too.
4. A library that is not installed, or cannot do it here, is a row that says so.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np

import fastgd
from benchmarks.cases import LEARNING_RATE, make_data
from benchmarks.measuring import Row, interleaved, percentiles, shown, timed
from fastgd.planning.plan import available_threads
from fastgd.verification.bound import check_history

PEER_BOUND = 8.0  # τ of anybody's correct implementation, at most
History = tuple[np.ndarray, np.ndarray]  # w (fits, epochs + 1, features), loss (fits, epochs + 1)
SHAPES = (  # name, fits, samples, features, epochs
    ("10⁵ × 100 × 1, 100 epochs", 100_000, 100, 1, 100),
    ("2·10⁴ × 256 × 8, 200 epochs", 20_000, 256, 8, 200),
    ("1 × 10⁶ × 16, 100 epochs", 1, 1_000_000, 16, 100),
    ("1 × 1,000 × 1, 10 epochs", 1, 1_000, 1, 10),
)
MOST_SECONDS = 2.0


# -- the peers: (X, y, epochs) -> a function that makes the history ----------------------------


def numpy_batched(X: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[], History]:
    """The textbook loop, all fits at once."""
    m, n, d = X.shape
    number = X.dtype.type

    def run() -> History:
        w, history, losses = np.zeros((m, d), X.dtype), np.empty((m, epochs + 1, d), X.dtype), np.empty((m, epochs + 1), X.dtype)
        for epoch in range(epochs + 1):
            residual = np.matmul(X, w[..., None])[..., 0] - y
            history[:, epoch], losses[:, epoch] = w, (residual * residual).mean(axis=1)
            w = w - number(LEARNING_RATE) * (number(2) / number(n)) * np.matmul(residual[:, None, :], X)[:, 0]
        return history, losses

    return run


@numba.njit(parallel=True, cache=True)
def _descend_naively(X, y, lr, epochs, history, losses):
    m, n, d = X.shape
    for f in numba.prange(m):
        w, gradient = np.zeros(d, X.dtype), np.zeros(d, X.dtype)
        for epoch in range(epochs + 1):
            gradient[:] = 0
            loss = X.dtype.type(0)
            for i in range(n):
                residual = -y[f, i]
                for j in range(d):
                    residual += X[f, i, j] * w[j]
                loss += residual * residual
                for j in range(d):
                    gradient[j] += X[f, i, j] * residual
            losses[f, epoch] = loss / n
            for j in range(d):
                history[f, epoch, j] = w[j]
                w[j] -= lr * (X.dtype.type(2) / X.dtype.type(n)) * gradient[j]


def naive_numba(X: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[], History]:
    """Plain loops under prange."""
    m, _, d = X.shape

    def run() -> History:
        history, losses = np.empty((m, epochs + 1, d), X.dtype), np.empty((m, epochs + 1), X.dtype)
        _descend_naively(X, y, X.dtype.type(LEARNING_RATE), epochs, history, losses)
        return history, losses

    return run


def torch_loop(X: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[], History]:
    """One fit after another: backward() and torch.optim.SGD."""
    import torch

    tensors = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(X, y, strict=True)]

    def run() -> History:
        history, losses = np.empty((len(X), epochs + 1, X.shape[2]), X.dtype), np.empty((len(X), epochs + 1), X.dtype)
        for f, (features, targets) in enumerate(tensors):
            w = torch.zeros(X.shape[2], dtype=features.dtype, requires_grad=True)
            optimizer = torch.optim.SGD([w], lr=LEARNING_RATE)
            for epoch in range(epochs + 1):
                optimizer.zero_grad()
                residual = features @ w - targets
                loss = (residual * residual).mean()
                history[f, epoch], losses[f, epoch] = w.detach().numpy(), loss.detach()
                loss.backward()
                optimizer.step()
        return history, losses

    return run


def torch_batch(X: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[], History]:
    """All fits in one tensor: the gradient of the sum of their losses."""
    import torch

    features, targets = torch.from_numpy(X), torch.from_numpy(y)

    def run() -> History:
        w = torch.zeros(X.shape[0], X.shape[2], dtype=features.dtype, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=LEARNING_RATE)
        history, losses = torch.empty(len(X), epochs + 1, X.shape[2], dtype=features.dtype), torch.empty(len(X), epochs + 1)
        losses = losses.to(features.dtype)
        for epoch in range(epochs + 1):
            optimizer.zero_grad()
            residual = torch.bmm(features, w[..., None])[..., 0] - targets
            loss = (residual * residual).mean(dim=1)
            history[:, epoch], losses[:, epoch] = w.detach(), loss.detach()
            loss.sum().backward()
            optimizer.step()
        return history.numpy(), losses.numpy()

    return run


def _by_torch_func(X: np.ndarray, y: np.ndarray, epochs: int, compiled: bool) -> Callable[[], History]:
    import torch

    features, targets = torch.from_numpy(X), torch.from_numpy(y)

    def loss_of(w: Any, x: Any, target: Any) -> Any:
        residual = x @ w - target
        return (residual * residual).mean()

    def step_of(w: Any, x: Any, target: Any) -> Any:
        gradient, loss = torch.func.vmap(torch.func.grad_and_value(loss_of))(w, x, target)
        return w - LEARNING_RATE * gradient, loss

    step = torch.compile(step_of, fullgraph=True) if compiled else step_of

    def run() -> History:
        w = torch.zeros(X.shape[0], X.shape[2], dtype=features.dtype)
        history = torch.empty(len(X), epochs + 1, X.shape[2], dtype=features.dtype)
        losses = torch.empty(len(X), epochs + 1, dtype=features.dtype)
        for epoch in range(epochs + 1):
            history[:, epoch] = w
            w, losses[:, epoch] = step(w, features, targets)
        return history.numpy(), losses.numpy()

    return run


def jax_scan(X: np.ndarray, y: np.ndarray, epochs: int) -> Callable[[], History]:
    """vmap over fits, scan over epochs, jit over both."""
    import jax
    import jax.numpy as jnp

    features, targets = jnp.asarray(X), jnp.asarray(y)

    def loss_of(w: Any, x: Any, target: Any) -> Any:
        residual = x @ w - target
        return (residual * residual).mean()

    def descend(x: Any, target: Any) -> Any:
        def epoch(w: Any, _: Any) -> Any:
            loss, gradient = jax.value_and_grad(loss_of)(w, x, target)
            return w - LEARNING_RATE * gradient, (w, loss)

        return jax.lax.scan(epoch, jnp.zeros(x.shape[1], x.dtype), None, length=epochs + 1)[1]

    run_all = jax.jit(jax.vmap(descend))

    def run() -> History:
        history, losses = jax.block_until_ready(run_all(features, targets))
        return np.asarray(history), np.asarray(losses)

    return run


PEERS: dict[str, tuple[str, Callable[..., Callable[[], History]]]] = {  # name: library, maker
    "torch autograd, loop over fits": ("torch", torch_loop),
    "torch autograd, whole batch": ("torch", torch_batch),
    "torch.func.vmap": ("torch", functools.partial(_by_torch_func, compiled=False)),
    "torch.compile": ("torch", functools.partial(_by_torch_func, compiled=True)),
    "JAX vmap + scan": ("jax", jax_scan),
    "NumPy, batched": ("numpy", numpy_batched),
    "naive Numba prange": ("numba", naive_numba),
}
SLOW = ("torch autograd, loop over fits", "torch autograd, whole batch", "torch.func.vmap")


def solve_batched(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The closed form: normal equations of all fits, in the data's dtype; no trajectory."""
    columns = X.swapaxes(1, 2)
    return np.linalg.solve(columns @ X, columns @ y[..., None])[..., 0]


# -- measuring -------------------------------------------------------------------------------------


def judged(X: np.ndarray, y: np.ndarray, history: History) -> float:
    """The worst share of the error bound of the first, the middle and the last fit."""
    worst = 0.0
    for f in {0, len(X) // 2, len(X) - 1}:
        lr = float(X.dtype.type(LEARNING_RATE))
        rows = slice(0, 11 if X.shape[1] > 100_000 else None)  # extended precision takes its time
        verdict = check_history(X[f], y[f], history[0][f][rows], history[1][f][rows], lr=lr, dtype=X.dtype)
        worst = max(worst, verdict.tau_w, verdict.tau_loss)
    return worst


def measure_peers(quick: bool) -> Iterator[Row]:
    """A row for each peer and shape, fastgd beside it on the same fits."""
    for name, n_fits, n_samples, n_features, epochs in SHAPES:
        X, y = make_data(n_fits // 20 or 1 if quick else n_fits, n_samples, n_features, "float32")
        sizes = {"n_samples": n_samples, "n_features": n_features, "epochs": epochs, "dtype": "float32", "rule": "sgd"}
        for peer, (library, make) in PEERS.items():
            row = {"case": name, "peer": peer, "n_fits": len(X), "of_n_fits": len(X), **sizes}
            most = MOST_SECONDS if peer in SLOW else math.inf
            yield row | measure_peer(X, y, epochs, library, make, most)
        row = {"case": name, "peer": "closed form: batched solve", "n_fits": len(X), "of_n_fits": len(X), **sizes}
        yield row | measure_solve(X, y)


def as_many_as_take(most: float, X: np.ndarray, y: np.ndarray, epochs: int, make: Callable[..., Callable[[], History]]) -> int:
    """All fits, or the largest power of ten of them that should take at most `most` seconds."""
    fits = 1
    while fits < len(X):
        run = make(X[:fits], y[:fits], epochs)
        run()
        if timed(run) * 10 > most:
            return fits
        fits *= 10
    return len(X)


def measure_peer(X: np.ndarray, y: np.ndarray, epochs: int, library: str, make: Callable[..., Callable[[], History]], most: float) -> Row:
    """Time of one peer on these data, or some of them, and of fastgd."""
    if importlib.util.find_spec(library) is None:
        return {"left_out": f"{library} is not installed"}
    try:
        fits = len(X) if most == math.inf else as_many_as_take(most, X, y, epochs, make)
        X, y = X[:fits], y[:fits]
        run = make(X, y, epochs)
        first = timed(run)
        history = run()
    except Exception as error:  # a compiler that is missing, say: the row tells
        return {"left_out": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    tau = judged(X, y, history)
    if not tau <= PEER_BOUND:
        return {"left_out": f"does not agree: τ = {tau:.3g}", "worst_tau": tau}
    del history
    ours = functools.partial(fastgd.fit, X, y, lr=LEARNING_RATE, epochs=epochs, history=True, progress=False)
    seconds = interleaved({"peer": run, "fastgd": ours}, 3 if first > 0.01 else 50)
    return compared(len(X), first, seconds) | {"n_fits": fits, "worst_tau": tau}


def compared(n_fits: int, first: float, seconds: dict[str, list[float]]) -> Row:
    """What a row tells of both."""
    spent, ours = percentiles(seconds["peer"]), float(np.median(seconds["fastgd"]))
    return {
        **spent, "first_call": first, "fits_per_s": n_fits / spent["median"], "fastgd_median": ours,
        "times_fastgd": spent["median"] / ours, "repeats": len(seconds["peer"]), "threads": available_threads(),
    }  # fmt: skip


def measure_solve(X: np.ndarray, y: np.ndarray) -> Row:
    """The closed form beside `fastgd.solve`."""
    run, ours = functools.partial(solve_batched, X, y), functools.partial(fastgd.solve, X, y)
    first = timed(run)
    exact, found = np.asarray(ours().w, float), run()
    off = float(np.abs(found - exact).max() / np.abs(exact).max())
    return compared(len(X), first, interleaved({"peer": run, "fastgd": ours}, 3 if first > 0.01 else 50)) | {"off_from_solve": off}


def table_of_peers(rows: list[Row]) -> str:
    """A line for each."""
    lines = [f"\n{'case':30}{'peer':32}{'fits':>9}{'median':>10}{'fits/s':>11}{'fastgd':>10}{'× fastgd':>10}  agrees"]
    for row in rows:
        begin = f"{row['case']:30}{row['peer']:32}{row['n_fits']:>9,}"
        if "left_out" in row:
            lines.append(f"{begin}  left out: {row['left_out']}")
            continue
        agrees = f"τ = {row['worst_tau']:.2g}" if "worst_tau" in row else f"{row['off_from_solve']:.1e} from fastgd.solve"
        times = f"{shown(row['median']):>10}{row['fits_per_s']:>11,.0f}{shown(row['fastgd_median']):>10}{row['times_fastgd']:>10.1f}"
        lines.append(f"{begin}{times}  {agrees}")
    return "\n".join(lines)
