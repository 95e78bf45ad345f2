"""What other libraries are asked: a case of fastgd/speed/cases.py, or a part of its fits.

A problem knows fastgd's call for exactly these fits, and judges what anybody gives for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import fastgd
from fastgd.planning.plan import available_threads
from fastgd.speed import agreeing
from fastgd.speed.making import BATCH, Work

History = tuple[np.ndarray, np.ndarray]  # w (fits, epochs + 1, features), loss (fits, epochs + 1)
JUDGED_NUMBERS = 100_000_000  # of X in all epochs of a fit that are judged
CLOSED = ("closed form", "deficient", "one X", "raster")  # kinds that are solved; "one X": all on one X; "raster": one feature, too
RULES = {"sgd": fastgd.SGD(), "adam": fastgd.Adam(), "nesterov": fastgd.SGD(momentum=0.9, nesterov=True)}


@dataclass(frozen=True)
class Problem:
    """Fits that differ in their data, in their rate, or in neither (one fit)."""

    kind: str  # "descent", "rules", "gaps", "rates", "batches", "groups", or one of CLOSED
    X: np.ndarray  # (fits, n, d), or (1, n, d), one X for all; "groups": (rows, d)
    y: np.ndarray  # (fits, n); "rates": (1, n); "groups": (rows,)
    n_fits: int
    lr: Any = None  # "rates": (fits,)
    epochs: int = 0
    rule: str = "sgd"
    keep: bool = True  # the history
    intercept: bool = False
    shuffle: bool = False
    batch: int = BATCH
    offsets: Any = None  # "groups": (fits + 1,)
    kept: Any = None  # "gaps": (fits, n), 1 where a sample is there, else 0; X has 0 there

    threads = available_threads()

    def rates(self) -> np.ndarray:
        """(fits,) float64."""
        return np.broadcast_to(np.asarray(self.lr, np.float64), (self.n_fits,))

    def zeros(self, dtype: Any = None) -> np.ndarray:
        """W before the first epoch."""
        return np.zeros((self.n_fits, self.X.shape[-1]), dtype or self.X.dtype)

    def history(self) -> History:
        """Memory for all epochs; loops over epochs write that of one in one piece."""
        w = np.empty((self.epochs + 1, self.n_fits, self.X.shape[-1]), self.X.dtype)
        return w.swapaxes(0, 1), np.empty((self.epochs + 1, self.n_fits), self.X.dtype).swapaxes(0, 1)

    def weights(self) -> tuple[np.ndarray | None, np.ndarray]:
        """(which samples are there, or None; how many of each fit)."""
        if self.kept is None:
            return None, np.full(self.n_fits, self.X.shape[1], self.X.dtype)
        return self.kept, self.kept.sum(axis=1)

    @property
    def X_with_gaps(self) -> np.ndarray:
        """X as users have it."""
        return self.X if self.kept is None else np.where(self.kept[..., None] > 0, self.X, np.nan).astype(self.X.dtype)

    def part(self, n_fits: int) -> Problem:
        """The first fits alone."""
        if n_fits >= self.n_fits:
            return self
        small = {"n_fits": n_fits}
        if self.kind == "rates":
            return replace(self, lr=self.lr[-n_fits:], **small)
        if self.kind == "groups":
            rows = self.offsets[n_fits]
            return replace(self, X=self.X[:rows], y=self.y[:rows], offsets=self.offsets[: n_fits + 1], **small)
        y = self.y[:n_fits].copy(order="K")  # the samples of a raster come first
        return replace(self, X=self.X[:n_fits], y=y, kept=None if self.kept is None else self.kept[:n_fits], **small)

    def ours(self) -> Callable[[], Any]:
        """fastgd's call for these fits."""
        if self.kind in CLOSED:
            of_all = self.X[0] if self.kind in ("one X", "raster") else self.X
            return lambda: fastgd.solve(of_all, self.y, intercept=self.intercept, progress=False)
        if self.kind == "groups":
            return lambda: fastgd.solve_groups(self.X, self.y, offsets=self.offsets, intercept=True, progress=False)
        if self.kind == "rates":
            of = {"grid": {"lr": self.lr}, "epochs": self.epochs, "history": self.keep}
            return lambda: fastgd.sweep(self.X[0], self.y[0], progress=False, **of)
        if self.kind == "batches":
            of = {"lr": self.lr, "epochs": 1, "batch_size": self.batch, "shuffle": self.shuffle}
            return lambda: fastgd.fit(self.X[0], self.y[0], progress=False, **of)
        X, more = self.X_with_gaps, {"nan_policy": "omit"} if self.kind == "gaps" else {}
        of = {"optimizer": replace(RULES[self.rule], lr=self.lr), "epochs": self.epochs, "history": self.keep, **more}
        return lambda: fastgd.fit(X, self.y, progress=False, **of)

    def judge(self, found: Any) -> float:
        """The share of the error bound that somebody's answer uses; raises agreeing.Disagrees."""
        if self.kind in (*CLOSED, "groups"):
            return max(self._judge_coefficients(found, f) for f in agreeing.picked(self.n_fits))
        if self.kind == "batches":
            return self._judge_batches(found)
        return max(self._judge_history(found, f) for f in agreeing.picked(self.n_fits))

    def _judge_history(self, found: History, f: int) -> float:
        own = f % len(self.X)
        X, y = self.X[own], self.y[own]
        if self.kept is not None:
            X, y = X[self.kept[own] > 0], y[self.kept[own] > 0]
        rows = slice(0, max(2, JUDGED_NUMBERS // X.size))
        rule = replace(RULES[self.rule], lr=float(self.X.dtype.type(self.rates()[f])))
        history = np.ascontiguousarray(found[0][f][rows]), np.ascontiguousarray(found[1][f][rows])
        return agreeing.judged(history, X, y, agreeing.ANYBODYS, optimizer=rule)

    def _judge_coefficients(self, found: np.ndarray, f: int) -> float:
        if found.shape[0] != self.n_fits:
            raise agreeing.Disagrees(f"{found.shape[0]} answers for {self.n_fits} fits")
        unit = np.finfo(self.y.dtype).eps / 2
        if self.kind == "groups":
            rows = slice(self.offsets[f], self.offsets[f + 1])
            return agreeing.check_coefficients(found[f], self.X[rows], self.y[rows], unit, intercept=True)
        return agreeing.check_coefficients(found[f], self.X[f % len(self.X)], self.y[f], unit, self.intercept)

    def _judge_batches(self, found: np.ndarray) -> float:
        """Each step rounds some 20 times by numbers of w's size, and damps what came before."""
        w = self.ours()().w
        room = 20 * -(-len(self.y[0]) // self.batch) * np.finfo(w.dtype).eps / 2 * np.abs(w).max()
        share = float(np.abs(found - w).max() / room)
        if not share <= 1:
            raise agreeing.Disagrees(f"an epoch of batches ends at {found}, not at {w}")
        return share


def rounded(problem: Problem) -> np.ndarray:
    """The rates (fits, 1) in the dtype of the data."""
    return problem.rates()[:, None].astype(problem.X.dtype)


def problem_of(work: Work) -> Problem | None:
    """The problem of a case; None: others have nothing like it, or it is asked elsewhere."""
    given = dict(work.problem)
    kind = given.pop("kind", None)
    if kind is None or "standardize" in given.get("options", {}):
        return None
    if kind == "groups":
        return Problem(kind, given["X"], given["y"], len(given["offsets"]) - 1, offsets=given["offsets"])
    if kind in CLOSED:
        return Problem(kind, given["X"], given["y"], len(given["y"]), intercept=given["intercept"])
    if kind == "batches":
        X, y = given["X"][None], given["y"][None]
        return Problem(kind, X, y, 1, lr=given["lr"], shuffle=given["shuffle"], batch=given["batch"])
    X, y = given["X"], given["y"]
    settings = {"epochs": given["epochs"], "lr": given["lr"]}
    if kind == "rates":
        return Problem(kind, X[None], y[None], len(given["lr"]), **settings)
    if given["optimizer"] is not None:
        rule = "adam" if isinstance(given["optimizer"], fastgd.Adam) else "nesterov"
        return Problem("rules", X, y, len(y), rule=rule, **settings)
    if "nan_policy" in given["options"]:
        there = np.isfinite(X).all(axis=-1)
        return Problem("gaps", np.where(there[..., None], X, 0), y, len(y), kept=there.astype(X.dtype), **settings)
    return Problem(kind, X, y, len(y), **settings)
