"""What `fit` promises its users, third part: every backend alike, states that continue, inputs and results that are the caller's own."""

from __future__ import annotations

import dataclasses
import itertools
import pickle

import numpy as np
import pytest

import fastgd
from fastgd import SGD
from tests.support.fit_results import X2, Y2, batch, same, same_result, x, y

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


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "enable_grad"])
def test_the_callers_torch_modes_do_not_matter(backend, mode, torch):
    plain = fastgd.fit(X2, Y2, epochs=5, backend=backend)
    before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
    with getattr(torch, mode)():
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


@pytest.mark.parametrize("n", [9, 10, 11, 33])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_layout_of_the_data_does_not_matter(backend, n, d):
    """Also not to the libraries below: BLAS looks at the stride of an axis of length 1, as numpy.broadcast_to leaves it."""
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


def test_a_part_of_a_state_continues_its_part_of_the_fits(backend):
    X, target = batch(4)
    options = {"lr": 0.05, "optimizer": SGD(momentum=0.5), "backend": backend}
    state = fastgd.fit(X, target, epochs=3, **options).state
    arrays = {name: getattr(state, name)[1::2] for name in ("w", "slots", "epoch", "algorithm", "status")}
    part = fastgd.fit(X[1::2], target[1::2], epochs=3, state=dataclasses.replace(state, **arrays), **options)
    assert same(part.w, fastgd.fit(X, target, epochs=6, **options).w[1::2])


def test_features_without_number_need_no_matrix_of_their_square():
    """`stream` allocates nothing of size d², nor 4,096 rows for 10 samples: 8 MB of data, not 80 GB of scratch."""
    X = np.ones((10, 100_000))
    result = fastgd.fit(X, np.ones(10), lr=1e-6, epochs=2, history=True)
    assert result.algorithm == "stream"
    assert result.history.loss[0] == 1.0


def test_hyperparameters_may_be_tensors_of_any_kind(torch):
    x, y = [1.0, 2, 3, 4], [2.0, 4, 6, 8]
    want = fastgd.fit(x, y, optimizer=fastgd.SGD(lr=0.125, momentum=0.5), epochs=5)
    given = {"lr": torch.tensor(0.125, requires_grad=True), "momentum": torch.tensor(0.5, dtype=torch.bfloat16)}
    assert fastgd.fit(x, y, optimizer=fastgd.SGD(**given), epochs=5).w == want.w
    with pytest.raises(TypeError, match="momentum must be a real number"):
        fastgd.fit(x, y, optimizer=fastgd.SGD(momentum=torch.tensor(True)))
