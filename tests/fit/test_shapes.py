"""The shapes that `fit` takes and gives: one fit, many, a grid; every fit of a grid is the fit
alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastgd
from fastgd import SGD, Status
from tests.support.fit_results import batch, same

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
    """lr × momentum × nesterov over axes of their own, two axes of data, starts: each result
    belongs to its own values."""
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
