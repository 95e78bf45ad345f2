"""Small calls of every kind, with the digests of their results: for attacks that disturb a call,
and look at it and at the next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

import fastgd
from fastgd.planning import plan
from tests.support.fit_cases import digest, holes, make
from tests.support.threads import own_threads_left

PATIENCE = 5.0  # seconds until a thread that was told to end is one that is left


def _text(value: Any) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()


class SmallCalls:
    """Calls of every kind; each returns a digest of its result. only: those that will be
    called."""

    def __init__(self, folder: Path, only: Collection[str] | None = None) -> None:
        self.folder, self.path = folder, folder / "saved.npz"
        self.inline = plan.INLINE_NS
        X, y = make(40, 30, 3, "float64")
        x32, y32 = make(50, 20, 1, "float32")
        gaps_X, gaps_y, weights, _ = holes(20, 30, 3, "float64", seed=1, weighted=True)
        many_X, many_y = make(400, 30, 2, "float32")
        collinear = X[:5].copy()
        collinear[..., 2] = collinear[..., 1]
        result = fastgd.fit(X[:6], y[:6], lr=1e-3, epochs=4, intercept=True, history=True)
        result.save(self.path)  # which is replaced by itself again and again
        self.calls: dict[str, Callable[[], str]] = {
            "small fit": lambda: digest(fastgd.fit(X[0], y[0], lr=1e-2, epochs=5)),
            "history": lambda: digest(fastgd.fit(X, y, lr=1e-2, epochs=9, intercept=True, history=True)),
            "threads": lambda: self.in_threads(lambda: digest(fastgd.fit(many_X, many_y, lr=1e-2, epochs=9, threads=2))),
            "stream": lambda: digest(fastgd.fit(X, y, lr=1e-2, epochs=5, algorithm="stream")),
            "one feature": lambda: digest(fastgd.fit(x32, y32, lr=1e-2, epochs=9)),
            "safe rate, tol": lambda: digest(fastgd.fit(X, y, epochs=50, tol=1e-3)),
            "gaps and weights": lambda: digest(fastgd.fit(gaps_X, gaps_y, sample_weight=weights, lr=1e-2, epochs=5, nan_policy="omit")),
            "Adam": lambda: digest(fastgd.fit(X, y, epochs=5, optimizer="adam", excess_loss=True)),
            "sweep": lambda: digest(fastgd.fit(X[0], y[:7], lr=np.logspace(-4, -1, 5)[:, None], epochs=5)),
            "standardize": lambda: digest(fastgd.fit(X, y, lr=0.1, epochs=5, standardize=True, intercept=True)),
            "resume": lambda: digest(fastgd.fit(X[:6], y[:6], lr=1e-3, epochs=4, intercept=True, state=result.state)),
            "out": lambda: self.into(X, y),
            "solve": lambda: digest(fastgd.solve(X, y, intercept=True)),
            "solve, collinear": lambda: digest(fastgd.solve(collinear, y[:5])),
            "solve, threads": lambda: self.in_threads(lambda: digest(fastgd.solve(many_X, many_y, threads=2))),
            "predict": lambda: hashlib.sha256(np.ascontiguousarray(result.predict(X[:6])).tobytes()).hexdigest(),
            "save and load": lambda: self.saved(result),
            "text": lambda: _text((str(result), repr(result), result.history)),
            "verify": lambda: _text(fastgd.verify("cpu", X[0], y[0], lr=1e-2, epochs=5)),
            "verify numpy": lambda: _text(fastgd.verify("numpy", X[0], y[0], lr=1e-2, epochs=5)),
        }
        self.digests = {name: call() for name, call in self.calls.items() if only is None or name in only}

    def in_threads(self, call: Callable[[], str]) -> str:
        """A call whose work is small, in threads all the same."""
        plan.INLINE_NS = 0
        try:
            return call()
        finally:
            plan.INLINE_NS = self.inline

    def into(self, X: np.ndarray, y: np.ndarray) -> str:
        w = np.zeros((len(X), 4))[:, :3]
        return digest(fastgd.fit(X, y, lr=1e-2, epochs=5, out=w))

    def saved(self, result: Any) -> str:
        result.save(self.path)
        return digest(fastgd.load(self.path))

    def afterwards(self, name: str) -> str:
        """What is wrong after such a call; "" if nothing is."""
        plan.INLINE_NS = self.inline  # the call may have been disturbed before it set it back
        left = own_threads_left(PATIENCE)
        if left:
            return f"threads are left: {left}"
        files = sorted(path.name for path in self.folder.glob(".fastgd*"))
        if files:
            return f"files are left: {files}"
        try:
            fastgd.load(self.path)
            found = self.calls[name]()
        except Exception as error:
            return f"the next call raises {type(error).__name__}: {error}"
        return "" if found == self.digests[name] else "the next call has another result"
