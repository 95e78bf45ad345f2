"""One fit has the same bits in any company, in any layout, in chunks of any size, on any number of
threads."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import fastgd
from fastgd.planning import job, plan
from tests.support.against_arbiter import same_bits
from tests.support.fit_cases import CASES, NAMES, assert_same, digest, fit_case, make


@pytest.fixture
def pooled(monkeypatch):
    """Even small work goes through the pool."""
    monkeypatch.setattr(plan, "INLINE_NS", 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_threads(case, name, pooled):
    hashes = {digest(fit_case(case, name, threads=threads)) for threads in range(1, 9)}
    assert len(hashes) == 1


LONG = plan.LONG + 17  # samples: such a fit is compressed in parts, by many threads


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lr", [1e-2, None])
@pytest.mark.parametrize(
    ("shared", "shape"),
    [("X", (37, 70, 3)), ("y", (37, 70, 3)), ("X", (37, 70, 17)), ("nothing", (2, LONG, 2)), ("X", (3, LONG, 2)), ("both", (1, LONG, 1))],
)
def test_threads_of_shared_data_and_of_long_fits(shared, shape, lr, name, pooled):
    X, y = make(*shape, name)
    X, y = X[0] if shared in ("X", "both") else X, y[0] if shared in ("y", "both") else y
    settings = {"lr": lr, "epochs": 5, "history": True, "intercept": True}
    assert len({digest(fastgd.fit(X, y, threads=threads, **settings)) for threads in range(1, 9)}) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_chunks(case, name, monkeypatch):
    alone = digest(fit_case(case, name))
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    for chunk in (1, 2, 3, 7, 36, 37, 1000):
        monkeypatch.setattr(job, "make_plan", functools.partial(plan.make_plan, fits_per_task=chunk))
        assert digest(fit_case(case, name, threads=3)) == alone


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_permutations(case, name):
    settings, shape = CASES[case]
    X, y = make(*shape, name)
    settings = {"lr": 1e-2, "history": True} | settings
    want = fastgd.fit(X, y, **settings)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(X))
        assert_same(fastgd.fit(X[order], y[order], **settings), want, lambda values, order=order: values[order])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_alone(case, name):
    settings, shape = CASES[case]
    X, y = make(*shape, name)
    settings = {"lr": 1e-2, "history": True} | settings
    together = fastgd.fit(X, y, **settings)
    for i in (0, 1, len(X) // 2, len(X) - 1):
        assert_same(fastgd.fit(X[i], y[i], **settings), together, lambda values, i=i: values[i])
        assert_same(fastgd.fit(X[i : i + 1], y[i : i + 1], **settings), together, lambda values, i=i: values[i : i + 1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
def test_in_a_batch_of_ten_thousand(name, algorithm):
    X, y = make(10_000, 12, 2, name, 5)
    lr = np.random.default_rng(6).uniform(0, 0.1, 10_000)
    settings = {"epochs": 6, "history": True, "algorithm": algorithm, "intercept": True}
    together = fastgd.fit(X, y, lr=lr, **settings)
    for i in [0, 1, 4095, 4096, 9999, *np.random.default_rng(7).integers(0, 10_000, 30)]:
        assert_same(fastgd.fit(X[i], y[i], lr=lr[i], **settings), together, lambda values, i=i: values[i])


def layouts(array):
    """The same numbers in other places."""
    yield "C", np.ascontiguousarray(array)
    yield "Fortran", np.asfortranarray(array)
    yield "strided", np.repeat(np.repeat(array, 2, axis=-1), 3, axis=0)[::3][..., ::2]
    backwards = (slice(None, None, -1),) * array.ndim
    yield "negative strides", np.ascontiguousarray(array[backwards])[backwards]
    yield "axes exchanged", np.ascontiguousarray(np.moveaxis(array, -1, 0)).transpose(*range(1, array.ndim), 0)
    read_only = array.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    room = np.empty(array.nbytes + 1, np.uint8)[1:]
    room[:] = array.ravel().view(np.uint8)
    unaligned = room.view(array.dtype).reshape(array.shape)
    assert not unaligned.flags.aligned
    yield "unaligned", unaligned
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))
    yield "inside a record", np.rec.fromarrays([np.zeros(array.shape, np.int8), array], names=["other", "here"])["here"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("shared", ["nothing", "X", "y"])
def test_layouts(name, algorithm, shared):
    X, y = make(9, 20, 3, name, 8)
    X, y = X[0] if shared == "X" else X, y[0] if shared == "y" else y
    before = X.copy(), y.copy()
    settings = {"lr": 1e-2, "epochs": 4, "algorithm": algorithm, "history": True, "intercept": True}
    want = digest(fastgd.fit(X, y, **settings))
    for layout, data in layouts(X):
        assert digest(fastgd.fit(data, y, **settings)) == want, f"X {layout}"
    for layout, data in layouts(y):
        assert digest(fastgd.fit(X, data, **settings)) == want, f"y {layout}"
    assert same_bits(X, before[0])
    assert same_bits(y, before[1])


@pytest.mark.parametrize("name", NAMES)
def test_leading_axes_in_another_order(name):
    X, y = make(12, 20, 2, name, 9)
    X, y = X.reshape(3, 4, 20, 2), y.reshape(3, 4, 20)
    settings = {"lr": 1e-2, "epochs": 4, "history": True}
    want = fastgd.fit(X, y, **settings)
    flipped = fastgd.fit(X.swapaxes(0, 1), y.swapaxes(0, 1), **settings)
    assert_same(flipped, want, lambda values: values.swapaxes(0, 1))
    assert_same(fastgd.fit(X[::-1, ::2], y[::-1, ::2], **settings), want, lambda values: values[::-1, ::2])


def test_lists_and_integers():
    rng = np.random.default_rng(10)
    X, y = rng.integers(-9, 10, (3, 20, 2)), rng.integers(-9, 10, (3, 20))
    settings = {"lr": 1e-2, "epochs": 4, "history": True}
    want = digest(fastgd.fit(X.astype(float), y.astype(float), **settings))
    assert digest(fastgd.fit(X.tolist(), y.tolist(), **settings)) == want
    for kind in ("i1", "i2", "i4", "i8", ">i4"):
        assert digest(fastgd.fit(X.astype(kind), y.astype(kind), **settings)) == want
    assert digest(fastgd.fit(abs(X).astype("u2"), y, **settings)) == digest(fastgd.fit(abs(X).astype(float), y.astype(float), **settings))
    single = digest(fastgd.fit(X.astype("f4"), y.astype("f4"), **settings))
    assert digest(fastgd.fit(X, y, dtype="float32", **settings)) == single
    assert digest(fastgd.fit(X.astype("f2"), y.astype("f2"), **settings)) == single
    one = fastgd.fit(X[:, :, 0][0], y[0], **settings)  # 1-D X: the same fit without the feature axis
    assert same_bits(one.history.loss, fastgd.fit(X[0, :, :1], y[0], **settings).history.loss)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["moments", "stream"])
@pytest.mark.parametrize("lr", [1e-2, None])
def test_shared_data_and_copies_of_them(name, algorithm, lr):
    X, y = make(7, 30, 2, name, 11)
    settings = {"lr": lr, "epochs": 5, "history": True, "algorithm": algorithm, "intercept": True}
    for features, target in ((X[0], y), (X, y[0]), (X[:1], y), (X[0], y[0]), (X[:, None], y[:3]), (X[:3], y[:, None])):
        together = fastgd.fit(features, target, **settings)
        lead = np.broadcast_shapes(features.shape[:-2], target.shape[:-1])
        repeated = np.broadcast_to(features, (*lead, 30, 2)), np.broadcast_to(target, (*lead, 30))
        assert_same(fastgd.fit(*repeated, **settings), together)  # stride 0: read once
        assert_same(fastgd.fit(*(part.copy() for part in repeated), **settings), together)
        assert_same(fastgd.fit(repeated[0].copy(), target, **settings), together)
        for index in np.ndindex(lead):
            assert_same(fastgd.fit(repeated[0][index], repeated[1][index], **settings), together, lambda values, index=index: values[index])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ["auto", "stream"])
@pytest.mark.parametrize(
    ("data", "lr", "momentum", "w0"),
    [
        ((), (4,), (3, 1), ()),
        ((4,), (3, 1), (2, 1, 1), ()),
        ((3, 1, 4), (5, 1), (), ()),
        ((5, 1), (3, 1, 4), (), (4,)),
        ((2, 1), (3,), (2, 3), (4, 1, 1)),
        ((1, 3, 1), (2, 1, 2), (3, 1), (2, 3, 2)),
        ((4,), (), (), ()),
    ],
    ids=str,
)
def test_a_cell_of_a_sweep_is_the_same_fit_alone(name, algorithm, data, lr, momentum, w0):
    """Hyperparameters on any axis, before, between and behind those of the data."""
    rng = np.random.default_rng(12)
    X, y = (rng.standard_normal((*data, *tail)).astype(name) for tail in ((12, 2), (12,)))
    rates, momenta, start = rng.uniform(0, 0.2, lr), rng.uniform(0, 1, momentum), rng.standard_normal((*w0, 2))
    settings = {"epochs": 4, "history": True, "algorithm": algorithm}
    together = fastgd.fit(X, y, lr=rates, w0=start, optimizer=fastgd.SGD(momentum=momenta), **settings)
    shape = np.broadcast_shapes(data, lr, momentum, w0)
    assert together.loss.shape == shape
    X, y, start = (np.broadcast_to(part, (*shape, *tail)) for part, tail in ((X, (12, 2)), (y, (12,)), (start, (2,))))
    rates, momenta = np.broadcast_to(rates, shape), np.broadcast_to(momenta, shape)
    for index in np.ndindex(shape):
        alone = fastgd.fit(X[index], y[index], lr=rates[index], w0=start[index], optimizer=fastgd.SGD(momentum=momenta[index]), **settings)
        assert_same(alone, together, lambda values, index=index: values[index])
