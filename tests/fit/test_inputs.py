"""Inputs are the caller's and stay as they are; results are the caller's own; the layout of the
data changes no bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastgd
from fastgd import SGD
from tests.support.fit_results import batch, same, same_result


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


@pytest.mark.parametrize("n", [9, 10, 11, 33])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_layout_of_the_data_does_not_matter(backend, n, d):
    """Also not to the libraries below: BLAS looks at the stride of an axis of length 1, as
    numpy.broadcast_to leaves it."""
    X, target = batch(n=n, d=d)
    options = {"lr": 0.1, "epochs": 3, "backend": backend, "history": True}
    plain = fastgd.fit(X, target, **options)
    for given in (
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
        np.repeat(X, 2, axis=1)[:, ::2],
        X[::-1].copy()[::-1],
        X.astype(">f8"),
        np.lib.stride_tricks.as_strided(X, X.shape, (X.strides[0], 8 if d > 1 else 0)),
    ):
        assert same_result(fastgd.fit(given, target, **options), plain)
    for given in (np.broadcast_to(X, (3, n, d)), np.stack([X, X, X]), np.stack([X, X, X], axis=-1).transpose(2, 0, 1)):
        many = fastgd.fit(given, np.stack([target, -target, target]), **options)
        assert same(many.history.w[2], plain.history.w)
        assert same(many.history.loss[2], plain.history.loss)


def test_features_without_number_need_no_matrix_of_their_square():
    """`stream` allocates nothing of size d², nor 4,096 rows for 10 samples: 8 MB of data, not 80 GB
    of scratch."""
    X = np.ones((10, 100_000))
    result = fastgd.fit(X, np.ones(10), lr=1e-6, epochs=2, history=True)
    assert result.algorithm == "stream"
    assert result.history.loss[0] == 1.0


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "samples backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "fits backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "all backwards": lambda a: np.ascontiguousarray(a[tuple([slice(None, None, -1)] * a.ndim)])[tuple([slice(None, None, -1)] * a.ndim)],
    "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "samples first": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, 0)), 0, 1),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "not aligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "in a record": lambda a: _in_a_record(a),
    "read-only": lambda a: _read_only(a),
}


def _in_a_record(a):
    records = np.zeros(a.shape, np.dtype([("flag", np.int8), ("value", a.dtype)]))
    records["value"] = a
    return records["value"]


def _read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.share(4)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_change_no_bit(layout, name, algorithm, backend):
    if backend != "cpu":
        algorithm = "auto"
    X, y = (a.astype(name) for a in batch(6, n=40, d=3))
    weights = np.linspace(0, 2, 40).astype(name)
    options = {"lr": 0.05, "epochs": 6, "history": True, "intercept": True, "algorithm": algorithm, "backend": backend}
    want = fastgd.fit(X, y, sample_weight=weights, **options)
    lay = LAYOUTS[layout]
    for one_x, one_y in ((lay(X), lay(y)), (X, lay(y)), (lay(X), y)):
        assert same_result(fastgd.fit(one_x, one_y, sample_weight=np.broadcast_to(weights, (6, 40)), **options), want)
    assert same_result(fastgd.fit(X, y, sample_weight=lay(np.broadcast_to(weights, (6, 40))), **options), want)
    assert same_result(fastgd.fit(X, lay(y), **options | {"lr": [[0.05], [0.1]]}), fastgd.fit(X, y, **options | {"lr": [[0.05], [0.1]]}))
