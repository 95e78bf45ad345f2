"""Random descents with a tol, and what exact rationals say of those that say CONVERGED."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import fastgd
import fastgd.running.cpu
from fastgd.kernels.update_rules import UPDATE_RULES
from tests.support.rule_options import optimizer
from tests.support.seen_chunks import seen_chunks

KINDS = ("normal", "offset", "collinear", "nearly collinear", "constant", "noise-free", "zero column", "units", "few", "wide")
TOLS = (0.0, 1e-12, 1e-9, 1e-6, 1e-3, 0.1)
FITS = 4  # of a problem: they are a batch


@dataclass
class Problem:
    """Fits of one call, and its options."""

    X: np.ndarray  # (FITS, n, d)
    y: np.ndarray
    weights: np.ndarray | None
    rule: str
    decay: float
    decoupled: bool
    options: dict[str, Any]


def draw(number: int) -> Problem:
    """Problem `number`: always the same."""
    rng = np.random.default_rng([2024, number])
    kind, dtype = KINDS[number % len(KINDS)], ("float32", "float64")[number // len(KINDS) % 2]
    d = int(rng.integers(1, 5))
    n = (
        int(rng.integers(d, 2 * d + 1))
        if kind == "few"
        else int(rng.integers(1, d + 1))
        if kind == "wide"
        else int(rng.integers(2 * d + 1, 24))
    )
    X, y = rng.standard_normal((FITS, n, d)), rng.standard_normal((FITS, n))
    if kind == "offset":
        X += 10.0 ** rng.integers(0, 5)
    elif kind in ("collinear", "nearly collinear"):
        distance = 10.0 ** -rng.integers(2, 7 if dtype == "float32" else 13)
        X[..., -1] = X[..., 0] * 2 + (distance * rng.standard_normal((FITS, n)) if kind == "nearly collinear" else 0)
    elif kind == "constant":
        X[..., 0] = 0.1
    elif kind == "noise-free":
        X = rng.integers(-9, 10, X.shape).astype(float)
        y = X @ rng.integers(-9, 10, d)
    elif kind == "zero column":
        X[..., -1] = 0
    elif kind == "units":
        X *= 10.0 ** rng.integers(-6, 7, d)
        y *= 10.0 ** rng.integers(-6, 7)
    rules = [name for name, row in UPDATE_RULES.items() if "cpu" in row.hands]
    rule = rules[int(rng.integers(len(rules)))] if rng.integers(3) else "sgd"
    row, hyper = UPDATE_RULES[rule], {}
    if rng.integers(3) == 0:
        hyper["weight_decay"] = float(10.0 ** rng.uniform(-3, 1))
    if rule == "sgd":
        hyper |= ({}, {"momentum": 0.9}, {"momentum": 0.99}, {"momentum": 0.8, "nesterov": True})[int(rng.integers(4))]
    if rule == "nadam" and rng.integers(2):
        hyper["decoupled_weight_decay"] = True
    decay = float({**row.hyperparameters, **hyper}["weight_decay"])
    safe = row.default_lr is None
    factor = float(rng.choice([0.01, 0.3, 1.0, 1.0, 1.7]))
    X, y = X.astype(dtype), y.astype(dtype)
    reduction = ("mean", "sum")[int(rng.integers(2))]
    lr = None if safe and factor == 1.0 else factor * 0.3
    if safe and lr is not None:
        lr = factor * fastgd.fit(X, y, epochs=0, reduction=reduction, optimizer=optimizer(rule, hyper)).lr
    options = {
        "optimizer": optimizer(rule, hyper), "lr": lr, "epochs": int(rng.choice([3, 60, 400])), "reduction": reduction,
        "tol": float(rng.choice(TOLS)), "intercept": bool(rng.integers(2)), "algorithm": str(rng.choice(["auto", "moments", "stream"])),
        "w0": None if rng.integers(2) else rng.standard_normal((FITS, d)),
    }  # fmt: skip
    weights = rng.choice([0.25, 1.0, 3.0], (FITS, n)).astype(dtype) if rng.integers(4) == 0 else None
    return Problem(X, y, weights, rule, decay, rule == "adamw" or "decoupled_weight_decay" in hyper, options)


class Exact:
    """The objective of one fit as a quadratic function, in rationals."""

    def __init__(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None, intercept: bool, decay: float, reduction: str) -> None:
        columns = [[Fraction(float(v)) for v in column] for column in (*X.T, *([np.ones(len(y))] if intercept else []), y)]
        omega = [Fraction(float(v)) for v in (np.ones(len(y)) if weights is None else weights)]
        self.total, size = sum(omega), len(columns)
        weighed = [[o * v for o, v in zip(omega, column, strict=True)] for column in columns]
        self.A = [[sum(a * b for a, b in zip(weighed[i], columns[j], strict=True)) for j in range(size)] for i in range(size)]
        extra = Fraction(decay) / 2 * (self.total if reduction == "mean" else 1)
        for j in range(size - 1):
            self.A[j][j] += extra

    def at(self, w: np.ndarray) -> Fraction:
        """F(w)."""
        ends = [*(Fraction(float(v)) for v in w), Fraction(-1)]
        return sum(ends[i] * ends[j] * self.A[i][j] for i in range(len(ends)) for j in range(len(ends))) / self.total

    def least(self) -> Fraction:
        """F*: what elimination leaves of yᵀy."""
        A, size = [list(row) for row in self.A], len(self.A)
        for k in range(size - 1):
            if A[k][k] == 0:
                continue
            for i in range(k + 1, size):
                factor = A[i][k] / A[k][k]
                for j in range(k + 1, size):
                    A[i][j] -= factor * A[k][j]
        return A[-1][-1] / self.total


@dataclass
class Claim:
    """What one fit that says CONVERGED has left, beside what it may have."""

    excess: Fraction  # F(w) − F*, exactly
    allowed: Fraction  # tol · (F(w_0) − F*), exactly
    allowance: Fraction  # ρ
    told: float  # result.excess_loss
    told_least: float  # F* as it was computed
    least: Fraction
    is_float32: bool  # of the data
    where: str

    @property
    def is_true(self) -> bool:
        """Whether the excess is within tol, but for rounding."""
        return self.excess <= max(self.allowed, self.allowance) + self.allowance


def claims(number: int) -> list[Claim]:
    """The claims of the fits of one problem that converged."""
    problem = draw(number)
    options = problem.options
    with pytest.MonkeyPatch.context() as monkeypatch, seen_chunks() as chunks:
        monkeypatch.setattr(fastgd.running.cpu, "_run_single_feature", lambda *given: False)  # its F* is not seen
        result = fastgd.fit(problem.X, problem.y, sample_weight=problem.weights, **options)
    found = []
    for f in np.flatnonzero(result.status == fastgd.Status.CONVERGED):
        weights = None if problem.weights is None else problem.weights[f]
        decay = 0.0 if problem.decoupled else problem.decay
        exact = Exact(problem.X[f], problem.y[f], weights, options["intercept"], decay, options["reduction"])
        start = np.zeros(result.state.w.shape[1])
        if options["w0"] is not None:
            start[: problem.X.shape[2]] = options["w0"][f].astype(problem.X.dtype)
        least = exact.least()
        excess, allowed = exact.at(result.state.w[f]) - least, Fraction(options["tol"]) * (exact.at(start) - least)
        told, told_least, allowance = float(result.excess_loss[f]), float(chunks[0][1].least[f]), Fraction(chunks[0][1].allowance[f])
        where = f"problem {number}, fit {f}, {options}"
        found.append(Claim(excess, allowed, allowance, told, told_least, least, problem.X.dtype == np.float32, where))
    return found
