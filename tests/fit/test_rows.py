"""Rows of w and loss that are those of exact rationals, their dtype, and which epochs are
recorded."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Status
from tests.support.fit_results import X2, Y2, batch, same, same_result, x, y


def exact_rows(X, y, bits, lr, *, start, reduction, intercept, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    """(parameters, mean loss) of rows 0, 1, … in rationals, by torch.optim.SGD's documented
    formula; as many as need no rounding.

    X and y are integers and everything else is dyadic: with Q the common denominator of w, the
    residuals are multiples of 1/Q, and a row is exact in so many bits, in any order of its sums, if
    Q²·Σ residual² and Q·Σ |x||residual| stay below 2^bits.
    """
    rows = [[Fraction(float(v)) for v in row] + [Fraction(1)] * intercept for row in np.reshape(X, (len(y), -1))]
    targets = [Fraction(float(v)) for v in y]
    lr, momentum, dampening, weight_decay = (Fraction(v) for v in (lr, momentum, dampening, weight_decay))
    n, size = len(rows), len(rows[0])
    w, v = [Fraction(float(s)) for s in start], None
    while True:
        residual = [sum(a * b for a, b in zip(row, w, strict=True)) - t for row, t in zip(rows, targets, strict=True)]
        scale = math.lcm(*(a.denominator for a in w))
        largest = max(sum(abs(row[j] * r) for row, r in zip(rows, residual, strict=True)) for j in range(size))
        if max(scale**2 * sum(r * r for r in residual), scale * largest) >= 2**bits:
            return
        yield w, sum(r * r for r in residual) / n
        g = [
            Fraction(2, n if reduction == "mean" else 1) * sum(row[j] * r for row, r in zip(rows, residual, strict=True))
            for j in range(size)
        ]
        g = [(-a if maximize else a) + weight_decay * b for a, b in zip(g, w, strict=True)]
        if momentum:
            v = g if v is None else [momentum * a + (1 - dampening) * b for a, b in zip(v, g, strict=True)]
            g = [a + momentum * b for a, b in zip(g, v, strict=True)] if nesterov else v
        w = [a - lr * b for a, b in zip(w, g, strict=True)]


EXACT = [  # options of SGD
    {},
    {"momentum": 0.5},
    {"momentum": 0.5, "dampening": 0.25},
    {"momentum": 0.5, "nesterov": True},
    {"weight_decay": 0.5},
    {"maximize": True},
    {"momentum": 0.5, "weight_decay": 0.25, "nesterov": True, "maximize": True},
]


@pytest.mark.share(3)
@pytest.mark.parametrize("options", EXACT, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ["1-D", "2-D", "intercept", "started"])
def test_rows_are_those_of_the_rationals(backend, case, dtype, reduction, options):
    """w of every epoch and the mean loss AT that w, whatever the reduction and the penalty."""
    X, target = (x, y) if case == "1-D" else (X2, Y2)
    intercept = case in ("intercept", "started")
    starts = {"w0": [1.0, -0.5], "intercept0": 2.0} if case == "started" else {}
    start = [*np.atleast_1d(starts.get("w0", np.zeros(X.ndim))), *([starts.get("intercept0", 0.0)] if intercept else [])]
    lr = 0.5 if reduction == "mean" else 0.125
    arguments = {"start": start, "reduction": reduction, "intercept": intercept} | options
    expected = list(exact_rows(X, target, 24 if dtype == "float32" else 53, lr, **arguments))
    epochs = len(expected) - 1
    assert epochs >= (1 if dtype == "float32" else 2)
    for algorithm in ["moments", "stream"] if backend == "cpu" else ["auto"]:
        result = fastgd.fit(
            X, target, lr=lr, optimizer=SGD(**options), reduction=reduction, epochs=epochs, intercept=intercept, history=True,
            dtype=dtype, backend=backend, algorithm=algorithm, **starts,
        )  # fmt: skip
        for epoch, (parameters, loss) in enumerate(expected):
            history = [*np.atleast_1d(result.history.w[epoch]), *([result.history.intercept[epoch]] if intercept else [])]
            assert [Fraction(float(value)) for value in history] == parameters, epoch
            assert Fraction(float(result.history.loss[epoch])) == loss, epoch
        assert [Fraction(value) for value in result.state.w.tolist()] == expected[-1][0]
        assert Fraction(float(result.loss)) == expected[-1][1]
        assert same(result.history.w[-1], result.w)
        assert same(result.history.loss[-1], result.loss)
        assert result.status == Status.COMPLETED
        assert result.lr == lr


@pytest.mark.parametrize(
    ("of_x", "of_y", "dtype", "expected"),
    [
        ("float64", "float64", None, "float64"),
        ("float32", "float32", None, "float32"),
        ("float16", "float16", None, "float32"),
        ("float16", "float32", None, "float32"),
        ("float16", "float64", None, "float64"),
        ("float32", "float64", None, "float64"),
        ("int64", "int8", None, "float64"),
        ("uint8", "float32", None, "float64"),
        ("float32", "int64", None, "float64"),
        ("bool", "float32", None, "float64"),
        (">f4", ">f4", None, "float32"),
        ("float64", "float64", "float32", "float32"),
        ("float32", "float16", np.float64, "float64"),
        ("int64", "int64", np.dtype("float32"), "float32"),
    ],
)
def test_dtypes(backend, of_x, of_y, dtype, expected):
    X, target = (X2 > 0 if of_x == "bool" else abs(X2)).astype(of_x), abs(Y2).astype(of_y)
    result = fastgd.fit(X, target, dtype=dtype, intercept=True, history=True, epochs=3, lr=0.1, backend=backend)
    for value in (result.w, result.intercept, result.loss, result.history.w, result.history.loss, result.history.intercept):
        assert value.dtype == expected
        assert value.dtype.isnative
    assert result.state.dtype == expected
    plain = fastgd.fit(X.astype(expected), target.astype(expected), intercept=True, history=True, epochs=3, lr=0.1, backend=backend)
    assert same_result(result, plain)


def test_numbers_that_float32_cannot_hold_are_invalid_data_of_their_own_fit():
    X, target = batch(3)
    X[1, 4, 0] = 1e39
    result = fastgd.fit(X, target, dtype="float32", nan_policy="propagate", epochs=3)
    assert result.status.tolist() == [Status.COMPLETED, Status.INVALID_DATA, Status.COMPLETED]


@pytest.mark.parametrize(
    ("epochs", "history", "rows"),
    [
        (4, True, [0, 1, 2, 3, 4]),
        (4, 1, [0, 1, 2, 3, 4]),
        (4, 2, [0, 2, 4]),
        (5, 2, [0, 2, 4, 5]),
        (5, np.int64(4), [0, 4, 5]),
        (5, 5, [0, 5]),
        (5, 7, [0, 5]),
        (1, 10**15, [0, 1]),
        (0, True, [0]),
        (0, 3, [0]),
    ],
)
def test_history_rows(backend, epochs, history, rows):
    X, target = batch(2)
    options = {"epochs": epochs, "intercept": True, "backend": backend, "optimizer": SGD(momentum=0.5), "w0": [1.0, 2.0]}
    some = fastgd.fit(X, target, history=history, **options)
    every = fastgd.fit(X, target, history=True, **options)
    assert some.history.epoch.tolist() == rows
    for name in ("w", "intercept", "loss"):
        recorded = getattr(some.history, name)
        assert same(recorded, getattr(every.history, name)[:, rows])
        assert same(recorded[:, -1], getattr(some, name))
    assert (some.history.w[:, 0] == [1, 2]).all()
    none = fastgd.fit(X, target, history=False, **options)
    assert none.history is None
    assert same(none.w, some.w)
    assert same(none.loss, some.loss)
