"""Update rules, 32 fits at a time, beside torch.optim and optax: `python benchmarks/rules.py`.

1. 5,000 fits of 64 samples and 8 features, 500 epochs, float32, all threads, w at the end only.
2. torch.optim runs all fits in one tensor: the gradient of the sum of their losses is each fit's
   own. JAX runs optax's rule under vmap, scan and jit, warm. Neither keeps a history. `optax` is no
   requirement of fastgd; without it, and JAX, their column says so.
3. Nothing is timed before it agrees: fits of every rule have the bits they have alone, and
   `fastgd.verify` judges every epoch of the first and the last fit, ours and each peer's.
4. The columns are medians; fits and epochs of a slow peer are fewer, and its time is scaled.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for benchmarks.…

import fastgd
from benchmarks.cases import make_data
from benchmarks.measuring import conditions, interleaved, percentiles
from fastgd.planning.plan import available_threads

FITS, SAMPLES, FEATURES, EPOCHS = 5_000, 64, 8, 500
PEER_EPOCHS = 50  # of torch.optim, which takes the same time for every epoch
RULES = {
    "sgd": fastgd.SGD(lr=0.01),
    "momentum": fastgd.SGD(lr=0.01, momentum=0.9),
    "nesterov": fastgd.SGD(lr=0.01, momentum=0.9, nesterov=True),
    "adam": fastgd.Adam(lr=0.01),
    "adamw": fastgd.AdamW(lr=0.01),
    "rmsprop": fastgd.RMSprop(lr=0.01),
    "adagrad": fastgd.Adagrad(lr=0.1),
    "nadam": fastgd.NAdam(lr=0.01),
    "adadelta": fastgd.Adadelta(lr=1.0),
    "adamax": fastgd.Adamax(lr=0.01),
}
PEERS = ("sgd", "nesterov", "adam")


def torch_batch(name: str, X: np.ndarray, y: np.ndarray, epochs: int, history: bool = False) -> Callable[[], np.ndarray]:
    """torch.optim on one tensor of all fits: w of each; with history of every epoch, too."""
    import torch

    features, targets = torch.from_numpy(X), torch.from_numpy(y)
    options = {"sgd": {}, "nesterov": {"momentum": 0.9, "nesterov": True}, "adam": {}}[name]

    def run() -> np.ndarray:
        w = torch.zeros(X.shape[0], X.shape[2], requires_grad=True)
        optimizer = (torch.optim.Adam if name == "adam" else torch.optim.SGD)([w], lr=0.01, **options)
        rows = [w.detach().numpy().copy()]
        for _ in range(epochs):
            optimizer.zero_grad()
            residual = torch.bmm(features, w[..., None])[..., 0] - targets
            (residual * residual).mean(1).sum().backward()
            optimizer.step()
            if history:
                rows.append(w.detach().numpy().copy())
        return np.stack(rows, axis=1) if history else w.detach().numpy()

    return run


def optax_vmap(name: str, X: np.ndarray, y: np.ndarray, epochs: int, history: bool = False) -> Callable[[], np.ndarray]:
    """optax under vmap, scan and jit; results as of `torch_batch`."""
    import jax
    import jax.numpy as jnp
    import optax

    rule = (
        optax.adam(0.01) if name == "adam" else optax.sgd(0.01, momentum=0.9 if name == "nesterov" else None, nesterov=name == "nesterov")
    )

    def loss(w, features, targets):
        residual = features @ w - targets
        return (residual * residual).mean()

    def fit(features, targets):
        def epoch(carry, _):
            w, state = carry
            updates, state = rule.update(jax.grad(loss)(w, features, targets), state, w)
            return (optax.apply_updates(w, updates), state), w if history else None

        w = jnp.zeros(features.shape[1], features.dtype)
        (w, _), rows = jax.lax.scan(epoch, (w, rule.init(w)), None, length=epochs)
        return jnp.concatenate([rows, w[None]]) if history else w

    descend, given = jax.jit(jax.vmap(fit)), (jnp.asarray(X), jnp.asarray(y))
    return lambda: np.asarray(descend(*given))


def assert_agrees(name: str, X: np.ndarray, y: np.ndarray, epochs: int) -> None:
    """End where a fit does not have its bits alone, or differs from torch at some epoch."""
    result = fastgd.fit(X, y, optimizer=RULES[name], epochs=epochs)
    for f in (0, len(X) // 2, len(X) - 1):
        if not np.array_equal(result.w[f], fastgd.fit(X[f], y[f], optimizer=RULES[name], epochs=epochs).w):
            raise SystemExit(f"{name}: fit {f} has other bits alone; nothing is timed before it agrees")
    if not fastgd.verify("cpu", X[:2], y[:2], optimizer=RULES[name], epochs=epochs).ok:
        raise SystemExit(f"{name} differs from torch at some epoch; nothing is timed before it agrees")


def peers_of(name: str, X: np.ndarray, y: np.ndarray) -> dict[str, tuple[Callable[[], np.ndarray], int]]:
    """{peer: (its function, the epochs that it makes)}; each was judged at every epoch."""
    makers = {"torch.optim": (torch_batch, PEER_EPOCHS)}
    if importlib.util.find_spec("jax") and importlib.util.find_spec("optax"):
        makers["optax"] = (optax_vmap, EPOCHS)
    for peer, (make, epochs) in makers.items():
        rows = make(name, X, y, epochs, history=True)()
        for fit in (0, len(X) - 1):
            verdict = fastgd.verify(rows[fit], X[fit], y[fit], optimizer=RULES[name])
            if not verdict.ok:
                raise SystemExit(f"{name}, {peer}: {verdict}; nothing is timed before it agrees")
    return {peer: (make(name, X, y, epochs), epochs) for peer, (make, epochs) in makers.items()}


def main() -> None:
    """Measure all rules and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 fits, 50 epochs, no peers: whether it runs")
    parser.add_argument("--rules", default=",".join(RULES), help="names, separated by commas")
    options = parser.parse_args()
    m, epochs = (500, 50) if options.quick else (FITS, EPOCHS)
    X, y = make_data(m, SAMPLES, FEATURES, "float32")
    about = conditions(available_threads())
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(f"{m:,} fits × {SAMPLES} × {FEATURES}, {epochs} epochs, float32: ns an epoch and fit, median (p20–p80)")
    for name in options.rules.split(","):
        assert_agrees(name, X, y, min(epochs, 60))
        runs: dict[str, tuple[Callable[[], object], int]] = {
            "fastgd": (lambda name=name: fastgd.fit(X, y, optimizer=RULES[name], epochs=epochs), epochs),
            "one thread": (lambda name=name: fastgd.fit(X, y, optimizer=RULES[name], epochs=epochs, threads=1), epochs),
        }
        if name in PEERS and not options.quick:
            runs |= peers_of(name, X, y)
        seconds = interleaved({who: run for who, (run, _) in runs.items()}, 5)
        told = {}
        for who, values in seconds.items():
            told[who] = {key: value / m / runs[who][1] * 1e9 for key, value in percentiles(values).items()}
        line = f"{name:10}"
        for who, times in told.items():
            line += f"  {who} {times['median']:,.1f} ({times['p20']:,.1f}–{times['p80']:,.1f})"
            if who not in ("fastgd", "one thread"):
                line += f", {times['median'] / told['fastgd']['median']:,.0f} ×"
        print(line, flush=True)


if __name__ == "__main__":
    main()
