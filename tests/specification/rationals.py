"""Expected values as exact rationals, rounded once where a rounding belongs, and the random data
they are made of."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def nearest(value: Fraction, name: str) -> float:
    """A rational to nearest even, by another way than the arbiter's: Python's own division of
    integers, then a look at the neighbours."""
    try:
        guess = float(value)
    except OverflowError:
        guess = math.inf if value > 0 else -math.inf
    if name == "float64" or math.isinf(guess):
        return guess
    with np.errstate(all="ignore"):
        guess = np.float32(guess)
        candidates = [guess, np.nextafter(guess, np.float32(math.inf)), np.nextafter(guess, np.float32(-math.inf))]

    def distance(candidate):  # inf stands where 2^128 would be
        exact = Fraction(math.copysign(2.0**128, candidate)) if np.isinf(candidate) else Fraction(float(candidate))
        return abs(exact - value), int(candidate.view(np.uint32)) & 1  # even: the last bit

    return math.copysign(float(min(candidates, key=distance)), guess)


def fma_by_fractions(a, b, c, name):
    if not all(map(math.isfinite, (a, b, c))):
        if math.isfinite(a) and math.isfinite(b):
            return c
        return a * b + c
    value = Fraction(a) * Fraction(b) + Fraction(c)
    if value:
        return nearest(value, name)
    return a * b + c if a * b == 0 and (a == 0 or b == 0) else 0.0


def data(n, d, name, seed=0, spread=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 2.0 ** rng.integers(-spread, spread + 1, (n, d))
    return X.astype(name), rng.standard_normal(n).astype(name)


def exact_moments(X, y, intercept, weights=None):
    """The moments Σ ω z_i z_j and Σ ω |z_i z_j|, as integers over a common power of two (faster
    than adding Fractions)."""
    columns = [*X.T, *([np.ones(len(X))] if intercept else []), y]
    ratios = [[float(v).as_integer_ratio() for v in column] for column in columns]
    denominators = [max(q for _, q in column) for column in ratios]
    integers = [[p * (q // own) for p, own in column] for column, q in zip(ratios, denominators, strict=True)]
    weights = [float(v).as_integer_ratio() for v in (np.ones(len(X)) if weights is None else weights)]
    denominator = max(q for _, q in weights)
    weights = [p * (denominator // own) for p, own in weights]
    for i in range(len(columns)):
        for j in range(i, len(columns)):
            products = [a * b * weight for a, b, weight in zip(integers[i], integers[j], weights, strict=True)]
            scale = denominators[i] * denominators[j] * denominator
            yield i, j, Fraction(sum(products), scale), Fraction(sum(map(abs, products)), scale)


def exact_epoch(X, y, w, reduction="mean", weights=None):
    """Loss and gradient at w as rationals."""
    rows = [[Fraction(float(v)) for v in row] for row in X]
    targets = [Fraction(float(v)) for v in y]
    w = [Fraction(float(v)) for v in w]
    r = [sum(a * b for a, b in zip(row, w, strict=True)) - target for row, target in zip(rows, targets, strict=True)]
    omega = [Fraction(1 if weights is None else float(weights[i])) for i in range(len(r))]
    s = 2 / sum(omega) if reduction == "mean" else 2
    v = [a * b for a, b in zip(omega, r, strict=True)]
    loss = sum(a * b for a, b in zip(v, r, strict=True)) / sum(omega)
    return loss, [s * sum(row[j] * a for row, a in zip(rows, v, strict=True)) for j in range(len(w))]


def exact_solution(matrix, right):
    """The solution of a regular square system of rationals, by elimination."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for j in range(len(rows)):
        pivot = next(i for i in range(j, len(rows)) if rows[i][j])
        rows[j], rows[pivot] = rows[pivot], rows[j]
        rows[j] = [value / rows[j][j] for value in rows[j]]
        for i, row in enumerate(rows):
            if i != j and row[j]:
                rows[i] = [a - row[j] * b for a, b in zip(row, rows[j], strict=True)]
    return [row[-1] for row in rows]


def exact_minimiser(X, y, intercept=False, penalty=0):
    """The w with (XᵀX + penalty·I) w = Xᵀy as rationals; of minimum norm where X has independent
    rows, fewer than columns."""
    rows = [[*(Fraction(float(v)) for v in row), *([Fraction(1)] if intercept else [])] for row in X]
    targets = [Fraction(float(v)) for v in y]
    columns = list(zip(*rows, strict=True))
    wide = len(rows) < len(columns)

    def dot(a, b):
        return sum(p * q for p, q in zip(a, b, strict=True))

    vectors = rows if wide else columns
    gram = [[dot(a, b) + (penalty if i == j else 0) for j, b in enumerate(vectors)] for i, a in enumerate(vectors)]
    if wide:
        dual = exact_solution(gram, targets)
        return [dot(column, dual) for column in columns]
    return exact_solution(gram, [dot(column, targets) for column in columns])
