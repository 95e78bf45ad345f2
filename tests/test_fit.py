"""What `fit` promises its users: shapes, broadcasting, dtypes, history, loss, status, the safe rate, predict, state, backends.

1. Where numbers are compared they are exact: small integers and dyadic rates, for which no operation rounds on any backend, so that
   the rows are those of the rationals below, with `==`. Agreement where numbers do round is the subject of test_agreement.py.
"""

from __future__ import annotations

import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

import fastgd
from fastgd import SGD, Status

x = np.array([1.0, 2.0, 3.0, 4.0])
y = 2 * x
X2 = np.array([[1, 0], [2, -1], [0, 1], [-1, 2], [1, 1], [-2, 0], [0, -1], [1, -2]], float)  # 8 samples, 2 features
Y2 = np.array([1, 3, -1, 0, 2, -2, 1, 0], float)
noise = np.random.default_rng(7)


def batch(*shape, n=9, d=2):
    return noise.standard_normal((*shape, n, d)), noise.standard_normal((*shape, n))


def same(a, b):
    """Equal values (NaN is NaN), shapes and dtypes."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def same_result(a, b):
    names = ("w", "intercept", "loss", "epochs", "status", "lr")
    pairs = [(getattr(a, name), getattr(b, name)) for name in names]
    pairs += [(getattr(a.state, name), getattr(b.state, name)) for name in ("w", "slots", "epoch", "algorithm", "status")]
    if a.history is not None:
        pairs += [(getattr(a.history, name), getattr(b.history, name)) for name in ("epoch", "w", "loss", "intercept")]
    return all((one is None and other is None) or same(one, other) for one, other in pairs)


# Shapes ---------------------------------------------------------------------------------------------------------------

B1, B4 = np.ones((9, 2)), np.ones((3, 1, 9, 2))
SHAPES = {  # X, y, options -> leading axes, n_features (None: X is 1-D)
    "1-D": (np.ones(9), np.ones(9), {}, (), None),
    "1-D, many y": (np.ones(9), np.ones((5, 9)), {}, (5,), None),
    "1-D, many rates": (np.ones(9), np.ones(9), {"lr": [0.1, 0.2]}, (2,), None),
    "1-D, many starts": (np.ones(9), np.ones(9), {"w0": [[1.0], [2.0]], "lr": [0.1, 0.2, 0.3]}, (2, 3), None),
    "2-D": (B1, np.ones(9), {}, (), 2),
    "one feature": (B1[:, :1], np.ones(9), {}, (), 1),
    "one fit with an axis": (B1[None], np.ones(9), {}, (1,), 2),
    "one X, many y": (B1, np.ones((5, 9)), {}, (5,), 2),
    "many X, one y": (B4, np.ones(9), {}, (3, 1), 2),
    "X and y broadcast": (B4, np.ones((4, 9)), {}, (3, 4), 2),
    "sweep over a batch": (np.ones((5, 9, 2)), np.ones((5, 9)), {"lr": np.full((4, 1), 0.1)}, (4, 5), 2),
    "momentum": (B1, np.ones(9), {"optimizer": SGD(momentum=[[0.5], [0.6]])}, (2, 1), 2),
    "dampening": (B1, np.ones(9), {"optimizer": SGD(momentum=0.5, dampening=[0.1, 0.2])}, (2,), 2),
    "weight_decay": (B1, np.ones((5, 9)), {"optimizer": SGD(weight_decay=np.ones((2, 1)))}, (2, 5), 2),
    "nesterov": (B1, np.ones(9), {"optimizer": SGD(momentum=0.5, nesterov=[True, False, True])}, (3,), 2),
    "maximize": (B1, np.ones(9), {"optimizer": SGD(lr=0.1, maximize=[[True], [False]])}, (2, 1), 2),
    "w0": (B1, np.ones((5, 9)), {"w0": np.ones((3, 1, 2))}, (3, 5), 2),
    "intercept0": (B1, np.ones(9), {"intercept": True, "intercept0": [1.0, 2.0, 3.0]}, (3,), 2),
    "axes of length 1": (B1[None, None], np.ones((1, 9)), {"lr": [[[0.1]]]}, (1, 1, 1), 2),
}


@pytest.mark.parametrize("intercept", [False, True], ids=["", "with intercept"])
@pytest.mark.parametrize(("X", "y", "options", "leading", "n_features"), SHAPES.values(), ids=SHAPES)
def test_shapes_and_types(backend, X, y, options, leading, n_features, intercept):
    result = fastgd.fit(X, y, backend=backend, epochs=5, history=2, **({"intercept": intercept} | options))
    intercept = intercept or "intercept" in options
    of_w = () if n_features is None else (n_features,)
    n_parameters = (n_features or 1) + intercept
    expected = {
        "w": (leading + of_w, np.float64),
        "loss": (leading, np.float64),
        "epochs": (leading, np.int64),
        "n_used": (leading, np.int64),
        "lr": (leading, np.float64),
        "history.epoch": ((4,), np.int64),
        "history.w": ((*leading, 4, *of_w), np.float64),
        "history.loss": ((*leading, 4), np.float64),
        "state.w": ((*leading, n_parameters), np.float64),
        "state.slots": ((*leading, 1, n_parameters), np.float64),
        "state.epoch": (leading, np.int64),
        "state.algorithm": (leading, np.int8),
        "state.status": (leading, np.int8),
    }
    if intercept:
        expected |= {"intercept": (leading, np.float64), "history.intercept": ((*leading, 4), np.float64)}
    else:
        assert result.intercept is None
        assert result.history.intercept is None
    for name, (shape, dtype) in expected.items():
        value = result
        for part in name.split("."):
            value = getattr(value, part)
        assert (name, value.shape, value.dtype) == (name, shape, np.dtype(dtype))
    if leading:
        assert (result.status.shape, result.status.dtype) == (leading, np.int8)
    else:
        assert isinstance(result.status, Status)
    assert (result.n_used == 9).all()
    assert (result.epochs == 5).all()
    assert result.history.epoch.tolist() == [0, 2, 4, 5]
    assert result.state.intercept == intercept
    assert result.backend == backend


def cells(shape):
    return list(np.ndindex(*shape))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_cell_is_the_fit_alone(backend, dtype, reduction):
    """lr × momentum × nesterov over axes of their own, two axes of data, starts: each result belongs to its own values."""
    X, _ = batch(3)
    Y = noise.standard_normal((2, 1, 9))
    shape = (2, 2, 3)
    lr = np.array([0.01, 0.02])[:, None, None]
    momentum = np.array([[0.5], [0.75]])
    weight_decay = np.array([0.0, 0.125, 0.25])
    nesterov = np.array([False, True])[:, None, None]
    maximize = np.array([False, True, False])
    w0 = noise.standard_normal((2, 1, 1, 2))
    intercept0 = noise.standard_normal((2, 3))
    common = {"dtype": dtype, "reduction": reduction, "backend": backend, "epochs": 6, "history": 4, "intercept": True}
    rule = SGD(momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, maximize=maximize)
    whole = fastgd.fit(X, Y, lr=lr, optimizer=rule, w0=w0, intercept0=intercept0, **common)
    assert whole.w.shape == (*shape, 2)
    for cell in cells(shape):
        i, j, k = cell

        def at(values, cell=cell):
            return np.broadcast_to(values, shape)[cell]

        names = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize}
        alone = fastgd.fit(
            X[k],
            Y[j, 0],
            lr=float(at(lr)),
            optimizer=SGD(**{name: at(values).item() for name, values in names.items()}),
            w0=w0[i, 0, 0],
            intercept0=at(intercept0),
            **common,
        )
        for name in ("w", "intercept", "loss", "lr"):
            assert same(getattr(whole, name)[cell], getattr(alone, name)), (cell, name)
        for name in ("w", "intercept", "loss"):
            assert same(getattr(whole.history, name)[cell], getattr(alone.history, name)), (cell, name)
    assert len({whole.w[cell].tobytes() for cell in cells(shape)}) == math.prod(shape)  # no two are alike


def test_dampening_belongs_to_its_fit(backend):
    X, y = batch()
    dampening = [0.0, 0.25, 0.5]
    whole = fastgd.fit(X, y, lr=0.02, optimizer=SGD(momentum=0.5, dampening=dampening), epochs=5, backend=backend)
    for k, value in enumerate(dampening):
        assert same(whole.w[k], fastgd.fit(X, y, lr=0.02, optimizer=SGD(momentum=0.5, dampening=value), epochs=5, backend=backend).w)
    assert len(set(whole.loss.tolist())) == 3


# Exact rows -----------------------------------------------------------------------------------------------------------


def exact_rows(X, y, bits, lr, *, start, reduction, intercept, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    """(parameters, mean loss) of rows 0, 1, … in rationals, by torch.optim.SGD's documented formula; as many as need no rounding.

    X and y are integers and everything else is dyadic: with Q the common denominator of w, the residuals are multiples of 1/Q, and a row is
    exact in so many bits, in any order of its sums, if Q²·Σ residual² and Q·Σ |x||residual| stay below 2^bits.
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


# dtypes ---------------------------------------------------------------------------------------------------------------


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


# History --------------------------------------------------------------------------------------------------------------


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


# Status ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_converged(backend, dtype):
    """lr = 1/(2·Hessian): the error halves, the loss falls by 3/4 of itself: tol = 3/4 stops at once, the next smaller one never does."""
    ones = np.ones(4)  # the Hessian is 2: w = 1/2, 3/4, … exactly, loss = 1, 1/4, 1/16, …
    options = {"lr": 0.25, "epochs": 9, "history": True, "dtype": dtype, "backend": backend}
    result = fastgd.fit(ones, ones, tol=0.75, **options)
    assert result.status == Status.CONVERGED
    assert (result.epochs, result.w, result.loss) == (1, 0.5, 0.25)
    assert result.history.w.tolist() == [0] + 9 * [0.5]
    assert result.history.loss.tolist() == [1] + 9 * [0.25]
    assert result.state.epoch == 1
    result = fastgd.fit(ones, ones, tol=np.nextafter(0.75, 0), **options)
    assert (result.status, result.epochs) == (Status.COMPLETED, 9)
    assert result.history.loss.tolist() == [4.0**-t for t in range(10)]
    assert fastgd.fit(ones, ones, **options).status == Status.COMPLETED


def test_converged_with_tol_0(backend):
    """At the solution the loss stays 0: it stops where nothing changes any more; without a tol it does not."""
    ones = np.ones(4)
    result = fastgd.fit(ones, [ones, 0 * ones], lr=0.5, epochs=9, tol=0, backend=backend)
    assert result.status.tolist() == 2 * [Status.CONVERGED]
    assert result.epochs.tolist() == [2, 1]
    assert result.w.tolist() == [1, 0]
    assert fastgd.fit(ones, ones, lr=0.5, epochs=9, backend=backend).status == Status.COMPLETED
    rises = fastgd.fit(ones, ones, lr=2.0, epochs=3, tol=0.5, backend=backend)  # a loss that rises is no convergence
    assert rises.status == Status.COMPLETED


def test_a_fit_that_converged_stays_there(backend):
    ones = np.ones(4)
    options = {"lr": 0.25, "tol": 0.75, "backend": backend}
    first = fastgd.fit(ones, ones, epochs=9, **options)
    more = fastgd.fit(ones, ones, epochs=4, state=first.state, **options)
    assert (more.status, more.epochs, more.w, more.state.epoch) == (Status.CONVERGED, 0, 0.5, 1)
    free = fastgd.fit(ones, ones, epochs=1, lr=0.25, backend=backend, state=first.state)
    assert (free.status, free.epochs, free.w, free.state.epoch) == (Status.COMPLETED, 1, 0.75, 2)


@pytest.mark.parametrize(("dtype", "first"), [("float32", 4), ("float64", 26)])
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_diverged(backend, dtype, first, algorithm):
    """1 − 2·lr = −2^20, so w = (−2^20)^t and loss = 2^(40 t) exactly: the first row beyond 2^128 or 2^1024 is known."""
    if backend != "cpu":
        algorithm = "auto"
    options = {"lr": 2.0**19 + 0.5, "w0": 1.0, "epochs": 60, "history": True, "dtype": dtype, "backend": backend, "algorithm": algorithm}
    result = fastgd.fit(np.ones(4), np.zeros(4), **options)
    assert result.status == Status.DIVERGED
    assert result.epochs == first
    assert result.history.loss[:first].tolist() == [2.0 ** (40 * t) for t in range(first)]
    assert result.history.w[: first + 1].tolist() == [(-(2.0**20)) ** t for t in range(first + 1)]
    assert result.history.loss[first] == np.inf
    assert not np.isfinite(result.history.loss[first:]).any()
    assert np.isnan(result.history.w[-1])


def test_diverged_at_the_start(backend):
    result = fastgd.fit(np.ones(4), np.zeros(4), w0=1e200, lr=0.1, epochs=0, backend=backend)
    assert (result.status, result.epochs, result.loss, result.w) == (Status.DIVERGED, 0, np.inf, 1e200)


def test_invalid_data(backend):
    """NaN in y, inf in X and divergence each harm one fit; the others keep their bits."""
    X, target = batch(6)
    rates = np.full(6, 0.05)
    good = fastgd.fit(X, target, lr=rates, epochs=20, backend=backend, history=True)
    X, target = X.copy(), target.copy()
    target[1, 3], X[2, 0, 1], rates[4] = np.nan, np.inf, 1e30
    mixed = fastgd.fit(X, target, lr=rates, epochs=20, backend=backend, history=True, nan_policy="propagate")
    completed, invalid, diverged = Status.COMPLETED, Status.INVALID_DATA, Status.DIVERGED
    assert mixed.status.tolist() == [completed, invalid, invalid, completed, diverged, completed]
    assert mixed.epochs.tolist()[:4] == [20, 0, 0, 20]
    for k in (0, 3, 5):
        assert same(mixed.w[k], good.w[k])
        assert same(mixed.loss[k], good.loss[k])
        assert same(mixed.history.w[k], good.history.w[k])
    assert np.isnan(mixed.w[1:3]).all()
    assert np.isnan(mixed.loss[1:3]).all()
    assert "3 COMPLETED, 1 DIVERGED, 2 INVALID_DATA" in repr(mixed)
    no_rate = fastgd.fit(X, target, epochs=20, backend=backend, nan_policy="propagate")
    assert np.isfinite(no_rate.lr).tolist() == [True, True, False, True, True, True]  # the Hessian does not look at y


def test_status_compares():
    one, many = fastgd.fit(x, y), fastgd.fit(x, [y, y])
    assert one.status == Status.COMPLETED
    assert one.status is Status.COMPLETED
    assert one.status == 0
    assert (many.status == Status.COMPLETED).all()
    assert not (many.status == Status.DIVERGED).any()
    assert [Status(code).name for code in many.status] == ["COMPLETED", "COMPLETED"]
    assert {status.name: int(status) for status in Status} == {
        "COMPLETED": 0,
        "CONVERGED": 1,
        "DIVERGED": 2,
        "INVALID_DATA": 3,
        "TOO_FEW_SAMPLES": 4,
    }


# The safe rate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight_decay", [0.0, 0.75])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "d", "intercept"), [(1, 1, False), (5, 1, True), (8, 3, False), (30, 5, True), (11, 20, False), (80, 33, True)]
)
def test_safe_rate(backend, n, d, intercept, dtype, reduction, weight_decay):
    """1/(λ_max + weight_decay), λ_max of the Hessian by LAPACK.

    X holds small integers, so XᵀX is exact. LAPACK's symmetric solvers are held to 30·D·u·λ (its own test ratio). A Jacobi rotation is a
    similarity by a matrix that is orthogonal to within 6u (c and s: t, the root, two divisions and a product), applied with 3u from each side,
    so it moves eigenvalues by at most 12u‖B‖_F, ‖B‖_F ≤ √D·λ; there are at most 30 sweeps of D(D−1)/2 rotations. What it stops at,
    elements of at most 2^−56·max B_jj, moves them by D·2^−56·λ. Scaling, weight_decay and the division round 4 times.
    """
    X = np.random.default_rng(n).integers(1, 10, (3, n, d)).astype(dtype)
    result = fastgd.fit(
        X, X.sum(-1), epochs=1, intercept=intercept, reduction=reduction, optimizer=SGD(weight_decay=weight_decay), backend=backend
    )
    X = np.concatenate([X, np.ones((3, n, 1))], axis=-1) if intercept else X.astype(float)
    D, u = X.shape[-1], 2.0**-53
    hessian = (2 / n if reduction == "mean" else 2) * (X.transpose(0, 2, 1) @ X)
    expected = 1 / (np.linalg.eigvalsh(hessian)[:, -1] + weight_decay)
    allowed = (30 * D + 12 * math.sqrt(D) * 30 * D * (D - 1) / 2 + 4) * u + D * 2.0**-56
    assert (abs(result.lr / expected - 1) <= allowed).all()
    assert result.lr.dtype == np.float64


def test_safe_rate_where_it_is_exact(backend):
    assert fastgd.fit(x, y, backend=backend).lr == 1 / 15
    assert fastgd.fit(x, y, backend=backend, reduction="sum").lr == 1 / 60
    assert fastgd.fit(x, y, backend=backend, optimizer=SGD(weight_decay=[1.0, 5.0])).lr.tolist() == [1 / 16, 1 / 20]
    diagonal = np.repeat(np.diag([3.0, 7.0, 5.0]), 2, axis=0)  # n = 6: λ = 2/6 · 2 · 49
    assert fastgd.fit(diagonal, np.ones(6), backend=backend, reduction="sum").lr == 1 / 196
    each = fastgd.fit(np.stack([x, 2 * x])[..., None], np.stack([y, y]), backend=backend).lr
    assert each.tolist() == [1 / 15, 1 / 60]


def test_safe_rate_of_many_features_is_safe():
    """Above 64 features λ_max is bounded by the largest row sum of |XᵀX|."""
    X = np.random.default_rng(1).integers(-3, 4, (200, 65)).astype(float)
    result = fastgd.fit(X, X[:, 0], epochs=0, reduction="sum")
    assert result.lr == 1 / (2 * abs(X.T @ X).sum(1).max())
    assert result.lr < 1 / np.linalg.eigvalsh(2 * X.T @ X)[-1]


def test_safe_rate_of_a_zero_hessian(backend):
    result = fastgd.fit(np.zeros((9, 2)), np.ones(9), epochs=5, w0=[1.0, 2.0], backend=backend)
    assert (result.lr, result.loss, result.status) == (0, 1, Status.COMPLETED)
    assert result.w.tolist() == [1, 2]
    decayed = fastgd.fit(np.zeros((9, 2)), np.ones(9), epochs=1, w0=[1.0, 2.0], optimizer=SGD(weight_decay=0.25), backend=backend)
    assert decayed.lr == 4
    assert decayed.w.tolist() == [0, 0]


def test_lr_may_be_in_the_optimizer(backend):
    here = fastgd.fit(x, y, lr=0.01, epochs=3, backend=backend)
    assert same_result(here, fastgd.fit(x, y, optimizer=SGD(lr=0.01), epochs=3, backend=backend))
    assert same_result(here, fastgd.fit(x, y, lr=0.01, optimizer=SGD, epochs=3, backend=backend))
    assert same_result(here, fastgd.fit(x, y, lr=0.01, optimizer="SGD", epochs=3, backend=backend))


# predict, repr, explanation -------------------------------------------------------------------------------------------


def test_predict():
    one = fastgd.fit(x, y, lr=1 / 16, w0=2.0, epochs=3)  # y = 2 x holds from the start
    assert one.predict([5.0, 0.5]).tolist() == [10, 1]
    assert one.predict([[5], [6], [7]]).tolist() == [[10], [12], [14]]
    sweep = fastgd.fit(x, y, w0=[0.0, 2.0, 3.0], epochs=0)
    assert sweep.predict([1.0, 2.0]).tolist() == [[0, 0], [2, 4], [3, 6]]
    X = np.arange(30.0).reshape(5, 3, 2)
    many = fastgd.fit(np.tile(X2, (5, 1, 1)), np.tile(Y2, (5, 1)), w0=[1.0, 2.0], intercept=True, intercept0=np.arange(5.0), epochs=0)
    assert many.predict(X).tolist() == [[a + 2 * b + k for a, b in X[k].tolist()] for k in range(5)]
    assert many.predict(X[0]).shape == (5, 3)
    assert many.predict(X[:, None]).shape == (5, 5, 3)
    assert fastgd.fit(x.astype("f"), y.astype("f")).predict(x.astype("f")).dtype == np.float32


def test_repr():
    assert repr(fastgd.fit(x, y, w0=1.0, epochs=0)) == "FitResult(COMPLETED: w = 1, loss 7.5, 0 epochs; cpu, moments)"
    many = fastgd.fit(x, y, w0=[1.0, 2.0, 4.0], epochs=0, algorithm="stream")
    assert repr(many) == "FitResult(3 fits: 3 COMPLETED; median loss 7.5; cpu, stream)"
    lost = fastgd.fit(x, y, lr=1e300, epochs=9, backend="numpy")
    assert repr(lost) == "FitResult(DIVERGED: w = nan, loss nan, 1 epoch; numpy, manual)"


@pytest.mark.parametrize(
    ("n", "d", "intercept", "algorithm"),
    [
        (4, 2, False, "stream"),
        (5, 2, False, "moments"),
        (4, 2, True, "stream"),
        (5, 2, True, "moments"),
        (1, 1, False, "stream"),
        (2, 1, False, "stream"),
        (3, 1, False, "moments"),
        (513, 256, False, "moments"),
        (515, 257, False, "stream"),
    ],
)
def test_auto_and_its_explanation(n, d, intercept, algorithm):
    X = np.ones((n, d), np.float32)
    for options in ({}, {"lr": [1e-9, 1e-8]}, {"epochs": 0, "lr": 0.0}, {"history": True, "epochs": 2, "threads": 1}):
        result = fastgd.fit(X, X[:, 0], **({"epochs": 1, "intercept": intercept} | options))
        assert (result.backend, result.algorithm) == ("cpu", algorithm)
        assert result.explanation.startswith("cpu: the data are NumPy arrays; " + algorithm + ": n_")
        assert {result.state.algorithm_names[code] for code in np.ravel(result.state.algorithm)} == {algorithm}
        assert f" {d}" in result.explanation


def test_explanations_of_what_was_asked_for():
    assert fastgd.fit(x, y, backend="cpu", algorithm="stream").explanation == "cpu: asked for; stream: asked for"
    assert fastgd.fit(x, y, backend="torch").explanation == "torch: asked for; autograd: torch.autograd and torch.optim"
    assert fastgd.fit(x, y, backend="numpy").explanation == "numpy: asked for; manual: the hand-written NumPy descent"


# Backends -------------------------------------------------------------------------------------------------------------


def test_every_option_at_once(backend):
    """What a backend can express, together; threads and algorithm are refused by name (test_fit_input.py)."""
    seen = []
    X, target = batch(2)
    result = fastgd.fit(
        X.astype("float32"), target, lr=[[0.01], [0.02]], epochs=4, optimizer=SGD(momentum=0.5, nesterov=[False, True]), w0=[1.0, 2.0],
        intercept=True, intercept0=0.5, reduction="sum", tol=1e-9, nan_policy="propagate", history=3, dtype="float64", backend=backend,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert result.w.shape == (2, 2, 2)
    assert seen[-1] == (16, 16)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_progress_does_not_change_a_bit(backend):
    X, target = batch(3)
    plain = fastgd.fit(X, target, epochs=5, backend=backend)
    for progress in (False, True, lambda done, total: None):
        assert same_result(fastgd.fit(X, target, epochs=5, backend=backend, progress=progress), plain)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.75, "dampening": 0.25}, {"momentum": 0.75, "weight_decay": 0.1, "nesterov": True}], ids=str
)
def test_a_state_continues_bit_for_bit(backend, options, dtype):
    X, target = batch(2)
    common = {"optimizer": SGD(**options), "lr": [[0.05], [0.03], [0.5]], "backend": backend, "intercept": True, "dtype": dtype}
    whole = fastgd.fit(X, target, epochs=10, history=True, **common)
    first = fastgd.fit(X, target, epochs=4, **common)
    second = fastgd.fit(X, target, epochs=6, history=True, state=pickle.loads(pickle.dumps(first.state)), **common)
    assert same(second.w, whole.w)
    assert same(second.intercept, whole.intercept)
    assert same(second.loss, whole.loss)
    assert same(second.history.w, whole.history.w[..., 4:, :])
    assert same(second.history.loss, whole.history.loss[..., 4:])
    for name in ("w", "slots", "epoch", "algorithm", "status"):
        assert same(getattr(second.state, name), getattr(whole.state, name))
    assert (second.state.epoch == 10).all()
    assert (second.epochs == 6).all()
    again = fastgd.fit(X, target, epochs=0, state=first.state, **common)  # nothing happens, and nothing is lost
    assert same(again.state.slots, first.state.slots)
    assert same(again.w, first.w)


def test_a_state_may_be_broadcast(backend):
    first = fastgd.fit(x, y, epochs=3, lr=0.01, backend=backend)
    many = fastgd.fit(x, y, epochs=3, lr=[0.01, 0.02], backend=backend, state=first.state)
    assert same(many.w[0], fastgd.fit(x, y, epochs=6, lr=0.01, backend=backend).w)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_torch_modes_do_not_matter(backend, mode):
    plain = fastgd.fit(X2, Y2, epochs=5, backend=backend)
    before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
    with mode():
        inside = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert same_result(fastgd.fit(X2, Y2, epochs=5, backend=backend), plain)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == inside
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()) == before


# Inputs and results ---------------------------------------------------------------------------------------------------


def test_inputs_are_never_modified(backend):
    X, target = batch(2)
    arrays = {
        "X": X,
        "y": target,
        "lr": np.array([[0.1], [1e30]]),
        "w0": np.ones((2, 2)),
        "intercept0": np.ones(2),
    }
    rule = SGD(momentum=np.array([0.5, 0.6]), weight_decay=np.array([0.1, 0.2]))
    kept = {name: array.copy() for name, array in arrays.items()}
    for order, writeable in itertools.product("CF", (True, False)):
        given = {name: np.array(array, order=order) for name, array in arrays.items()}
        for array in given.values():
            array.flags.writeable = writeable
        result = fastgd.fit(**given, optimizer=rule, intercept=True, epochs=20, backend=backend)
        for name, array in given.items():
            assert array.tobytes() == np.array(kept[name]).tobytes()
            assert array.flags.writeable == writeable
        assert rule.momentum.tolist() == [0.5, 0.6]
        held = {name: getattr(result.state, name).tobytes() for name in ("w", "slots", "epoch", "algorithm", "status")}
        fastgd.fit(given["X"], given["y"], lr=given["lr"], optimizer=rule, intercept=True, epochs=3, backend=backend, state=result.state)
        assert {name: getattr(result.state, name).tobytes() for name in held} == held


def test_results_are_the_callers_own(backend):
    X, target = batch(2)
    result = fastgd.fit(X, target, lr=[0.1, 0.2], epochs=3, history=True, backend=backend)
    w, state = result.w.copy(), result.state.w.copy()
    for array in (result.w, result.loss, result.lr, result.epochs):
        array[...] = 0  # writeable
    assert same(result.history.w[:, -1], w)
    assert same(result.state.w, state)


def test_results_can_be_compared_and_pickled():
    result = fastgd.fit(X2, [Y2, Y2], epochs=3, history=True, intercept=True)
    assert result == result  # by identity: comparing arrays would raise
    assert result != fastgd.fit(X2, [Y2, Y2], epochs=3)
    copy = pickle.loads(pickle.dumps(result))
    assert same_result(copy, result)
    assert repr(copy) == repr(result)
    assert same(copy.predict(X2), result.predict(X2))
