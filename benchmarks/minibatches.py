"""One epoch of mini-batches of one long fit, beside reading the data and beside loops of others.

`python -m benchmarks.minibatches`; with --quick on a tenth of the samples.

1. The aims: in order at most twice the time to read the data; shuffled at most 1.5 times the time
   to read the rows in the shuffled order, at least 10 times as fast as torch with an index for each
   batch, at least 5 times as fast as JAX (a jitted scan over shuffled batches), where it is
   installed. Ours makes its order within the call; torch's and JAX's is made before, and JAX's in
   another row within. All functions are timed in turn; ratios are those of the medians.
2. Nothing is timed before it agrees: the first updates are compared, by ==, with a descent of one
   step of `stream` on each batch; torch's and JAX's w with ours, within the rounding of float32.
3. What is read is X; its rows are summed, so that nothing is written. Both limits are of one
   thread, as the epoch is; the call of `fit` reads the data once more before, with all threads, to
   see whether all numbers are finite, and for the losses.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import fastgd
from benchmarks.limits import OPTIONS, read_numbers
from benchmarks.measuring import conditions, interleaved, percentiles
from fastgd.kernels.batch_order import order_of_epoch
from fastgd.kernels.cpu.simd.lanes import PART, add, load_part, store
from fastgd.kernels.cpu.simd.scalars import prefetch
from fastgd.planning.plan import available_threads
from fastgd.testing import minibatch_order

N_SAMPLES, N_FEATURES, BATCH, LR = 10**6, PART, 256, 0.01
AGREED = 20 * BATCH + 57  # samples
AHEAD = 32  # rows
ROUNDING = 2.0**-24


@numba.njit(**OPTIONS)
def read_rows(X, order, sums):
    """Sum the rows of X, flat, in an order; each row is fetched before."""
    total = load_part(sums, 0)
    for i in range(len(order)):
        if i + AHEAD < len(order):
            prefetch(X, np.int64(order[i + AHEAD]) * N_FEATURES)
        total = add(total, load_part(X, np.int64(order[i]) * N_FEATURES))
    store(sums, 0, total)


def torch_epoch(X: np.ndarray, y: np.ndarray, epoch: int = 0) -> Callable[[], np.ndarray]:
    """What users of torch write, with an index for each batch; the order is made before."""
    import torch

    batches = [torch.from_numpy(rows) for rows in minibatch_order(len(y), BATCH, epoch)]
    data, targets = torch.from_numpy(X), torch.from_numpy(y)

    def run() -> np.ndarray:
        w = torch.zeros(X.shape[1], requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=LR)
        for rows in batches:
            optimizer.zero_grad()
            residual = data[rows] @ w - targets[rows]
            (residual * residual).mean().backward()
            optimizer.step()
        return w.detach().numpy()

    return run


def jax_epoch(X: np.ndarray, y: np.ndarray, epoch: int = 0, shuffles: bool = False) -> Callable[[], np.ndarray]:
    """A jitted scan over the full batches, then the short one; the order is given, or JAX's own."""
    import jax
    import jax.numpy as jnp

    order = order_of_epoch(len(y), epoch, 0)
    whole = len(y) // BATCH * BATCH
    data, targets, places, rest = jnp.asarray(X), jnp.asarray(y), jnp.asarray(order[:whole].reshape(-1, BATCH)), jnp.asarray(order[whole:])

    def loss_of(w: Any, x: Any, target: Any) -> Any:
        residual = x @ w - target
        return (residual * residual).mean()

    def step(w: Any, rows: Any, data: Any, targets: Any) -> Any:
        return w - LR * jax.grad(loss_of)(w, data[rows], targets[rows])

    @jax.jit
    def descend(data: Any, targets: Any, places: Any, rest: Any) -> Any:
        w = jax.lax.scan(lambda w, rows: (step(w, rows, data, targets), None), jnp.zeros(X.shape[1], X.dtype), places)[0]
        return step(w, rest, data, targets) if len(rest) else w

    @jax.jit
    def descend_shuffled(data: Any, targets: Any, key: Any) -> Any:
        own = jax.random.permutation(key, len(y))
        return descend(data, targets, own[:whole].reshape(-1, BATCH), own[whole:])

    if shuffles:
        return lambda: np.asarray(jax.block_until_ready(descend_shuffled(data, targets, jax.random.key(epoch))))
    return lambda: np.asarray(jax.block_until_ready(descend(data, targets, places, rest)))


def fit_epoch(X: np.ndarray, y: np.ndarray, shuffle: bool, epochs: int = 1) -> Callable[[], np.ndarray]:
    """Our call."""
    return lambda: fastgd.fit(X, y, lr=LR, epochs=epochs, batch_size=BATCH, shuffle=shuffle, progress=False).w


def check(X: np.ndarray, y: np.ndarray, peers: dict[str, Callable[..., Callable[[], np.ndarray]]]) -> None:
    """Raise unless an epoch of the first samples is right."""
    X, y = X[:AGREED], y[:AGREED]
    for shuffle in (False, True):
        state = fastgd.fit(X, y, lr=LR, epochs=0, algorithm="stream").state
        batches = minibatch_order(len(y), BATCH, 0, shuffle=shuffle)
        for rows in batches:
            state = fastgd.fit(X[rows], y[rows], lr=LR, epochs=1, state=state).state
        w = fit_epoch(X, y, shuffle)()
        assert np.array_equal(state.w, w), "an epoch is not its steps"
    for name, make in peers.items():
        # each step rounds some 20 times by numbers of w's size; the descent damps what came before
        assert np.abs(make(X, y)() - w).max() <= len(batches) * 20 * ROUNDING * np.abs(w).max(), name


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    n = N_SAMPLES // 10 if given.quick else N_SAMPLES
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, N_FEATURES)).astype(np.float32)
    y = (X @ rng.normal(size=N_FEATURES) + rng.normal(size=n)).astype(np.float32)
    makers = {"torch": torch_epoch} | ({"jax": jax_epoch} if importlib.util.find_spec("jax") else {})
    check(X, y, makers)
    order, sums = order_of_epoch(n, 0, 0).astype(np.int32), np.zeros(N_FEATURES)
    seconds = interleaved(
        {
            "read": lambda: read_numbers(X.reshape(-1)),
            "gather-read": lambda: read_rows(X.reshape(-1), order, sums),
            "in order": fit_epoch(X, y, False),
            "shuffled": fit_epoch(X, y, True),
            "in order, 3 epochs": fit_epoch(X, y, False, 3),
            "shuffled, 3 epochs": fit_epoch(X, y, True, 3),
            **{name: make(X, y) for name, make in makers.items()},
            **({"jax, which shuffles": jax_epoch(X, y, shuffles=True)} if "jax" in makers else {}),
        },
        given.repeats,
    )
    median = {name: percentiles(values)["median"] for name, values in seconds.items()}
    for name, values in seconds.items():
        of = percentiles(values)
        print(f"{name:20} {of['median'] * 1e3:8.1f} ms ({of['p20'] * 1e3:.1f} to {of['p80'] * 1e3:.1f})")
    for name, of, most in (("in order", "read", 2.0), ("shuffled", "gather-read", 1.5)):
        ratio = median[name] / median[of]
        print(f"{name}: {ratio:.1f} times the {of}; aim ≤ {most}: {'met' if ratio <= most else 'NOT met'}")
        further = (median[f"{name}, 3 epochs"] - median[name]) / 2
        print(f"    a further epoch: {further * 1e3:.1f} ms, {further / median[of]:.1f} times")
    for name, least in (("torch", 10.0), ("jax", 5.0), ("jax, which shuffles", 5.0)):
        if name in median:
            ratio = median[name] / median["shuffled"]
            print(f"{name}: takes {ratio:.1f} times as long as shuffled; aim ≥ {least}: {'met' if ratio >= least else 'NOT met'}")
    print(conditions(available_threads()))


if __name__ == "__main__":
    main()
