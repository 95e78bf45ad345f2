"""What `fit` promises its users, first part: shapes, broadcasting, dtypes, history, and rows that are those of the rationals.

1. Where numbers are compared they are exact: small integers and dyadic rates, for which no operation rounds on any backend, so that
   the rows are compared with `==`. Agreement where numbers do round is the subject of test_agreement.py.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Status
from tests.support.fit_results import X2, Y2, batch, same, same_result, x, y

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
    noise = np.random.default_rng(8)
    X, Y = noise.standard_normal((3, 9, 2)), noise.standard_normal((2, 1, 9))
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
