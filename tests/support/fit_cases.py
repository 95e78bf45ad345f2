"""Fits of every kind, and the comparison of all of their numbers, by `==`."""

from __future__ import annotations

import hashlib

import numpy as np

import fastgd
from tests.support.against_arbiter import bits, same_bits

NAMES = ["float32", "float64"]


def make(m, n, d, name, seed=0):
    """Fits of unlike size, offset and curvature."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n, d)) * 10.0 ** rng.integers(-2, 3, (m, 1, d)) + rng.integers(-1, 2, (m, 1, 1))
    y = rng.standard_normal((m, n)) * 10.0 ** rng.integers(-2, 3, (m, 1))
    return X.astype(name), y.astype(name)


def parts_of(result) -> dict[str, np.ndarray]:
    """All numbers of a result, leading axes first."""
    state, history = result.state, result.history
    parts = {
        "w": result.w,
        "loss": result.loss,
        "epochs": result.epochs,
        "status": np.asarray(result.status, np.int8),
        "lr": result.lr,
        "intercept": result.intercept,
    }
    parts |= {f"state.{name}": getattr(state, name) for name in ("w", "slots", "epoch", "algorithm", "status")}
    if history is not None:
        parts |= {"history.w": history.w, "history.loss": history.loss, "history.intercept": history.intercept}
    return {name: np.asarray(value) for name, value in parts.items() if value is not None}


def assert_same(a, b, take=lambda values: values, leave_out=()):
    """Every number of result a equals `take` of that of b."""
    ours, theirs = parts_of(a), parts_of(b)
    for name, value in ours.items():
        if name not in leave_out:
            assert same_bits(value, take(theirs[name])), name


def digest(result) -> str:
    """One hash of all numbers."""
    sha = hashlib.sha256()
    for name, value in sorted(parts_of(result).items()):
        sha.update(
            name.encode() + str(value.shape).encode() + (bits(value) if value.dtype.kind == "f" else np.ascontiguousarray(value)).tobytes()
        )
    return sha.hexdigest()


CASES = {
    "moments": ({"epochs": 9}, (37, 70, 3)),
    "stream": ({"epochs": 5, "algorithm": "stream"}, (37, 70, 3)),
    "safe rate": ({"epochs": 5, "lr": None}, (37, 40, 2)),
    "safe rate of stream": ({"epochs": 5, "lr": None, "algorithm": "stream"}, (23, 40, 2)),
    "few samples": ({"epochs": 5}, (37, 5, 3)),
    "overflow": ({"epochs": 40, "lr": 1e4}, (23, 30, 2)),
    "tol": ({"epochs": 60, "lr": 1e-3, "tol": 1e-3}, (37, 30, 2)),
    "momentum": ({"epochs": 9, "optimizer": fastgd.SGD(momentum=0.9, weight_decay=0.1)}, (37, 30, 2)),
    "two chunks": ({"epochs": 3}, (7, 4100, 1)),
}


def fit_case(case, name, *, intercept=True, **options):
    settings, shape = CASES[case]
    X, y = make(*shape, name)
    return fastgd.fit(X, y, **{"lr": 1e-2, "intercept": intercept, "history": True} | settings | options)


BAD = (np.nan, np.inf, -np.inf)


def holes(m, n, d, name, *, seed, weighted=False, share=0.2):
    """(X, y, weights, kept): samples spoiled in X, in y or in the weights, and which stay."""
    rng = np.random.default_rng(seed)
    X, y = (10 * rng.standard_normal((m, n, d))).astype(name), rng.standard_normal((m, n)).astype(name)
    weights = rng.uniform(0.1, 3, (m, n)).astype(name) if weighted else None
    lost = rng.random((m, n)) < share
    where = rng.integers(0, 3, (m, n))
    X[lost & (where == 0), rng.integers(d)] = rng.choice(BAD)
    y[lost & (where == 1)] = rng.choice(BAD)
    if weights is None:
        y[lost & (where == 2)] = np.nan
    else:
        weights[lost & (where == 2)] = rng.choice([0.0, np.nan])
    return X, y, weights, ~lost
