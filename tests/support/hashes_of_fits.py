"""Fits of one type of data, hashed: run by tests/promises/test_widths.py in processes that compile
for other registers. Prints JSON."""

from __future__ import annotations

import json
import sys

import numpy as np

import fastgd
from fastgd.kernels import cpu
from fastgd.kernels.cpu.simd.lanes import REGISTER
from tests.support.fit_cases import digest


def cases(name: str):
    """(what, X, y, options of fit): every part of the kernels whose loops depend on the
    registers."""
    rng = np.random.default_rng(1)
    safe, many = {"epochs": 20, "history": True}, {"epochs": 100, "history": 3}
    for d in (1, 3, 8, 17):
        X, y = rng.standard_normal((7, 2 * d + 37, d)).astype(name), rng.standard_normal((7, 2 * d + 37)).astype(name)
        weights = rng.uniform(0.5, 2, 2 * d + 37).astype(name)
        yield f"{d}, plain", X, y, many
        yield f"{d}, intercept, weights", X, y, {**safe, "intercept": True, "sample_weight": weights}
        yield f"{d}, momentum", X, y, {**safe, "optimizer": fastgd.SGD(momentum=0.9, weight_decay=0.1, nesterov=True)}
        yield f"{d}, overflow", X, y, {**safe, "lr": np.linspace(1, 60, 7) ** 6, "epochs": 50}
        yield f"{d}, stream", X, y, {**safe, "algorithm": "stream", "intercept": True}
        yield f"{d}, one fit", X[0], y[0], {**safe, "tol": 1e-3}
    X, y = rng.standard_normal((4, 4700, 2)).astype(name), rng.standard_normal((4, 4700)).astype(name)
    X[:, :4096] *= np.array(1e9, name)
    yield "two chunks", X, y, safe
    yield "lines", X[:, :333, :1], y[:, :333], safe
    yield "Adam", X[:, :40], y[:, :40], {**safe, "optimizer": fastgd.Adam(lr=0.1)}


def main(name: str) -> None:
    hashes = {what: digest(fastgd.fit(X, y, **options)) for what, X, y, options in cases(name)}
    print(json.dumps({"register": REGISTER, "kernels": cpu.__file__, "hashes": hashes}))


if __name__ == "__main__":
    main(sys.argv[1])
