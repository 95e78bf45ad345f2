"""Calls like an earlier one: the same bits as the long way, and the long way wherever something is different (fastgd/repeating.py)."""

from __future__ import annotations

import dataclasses
import gc
import threading
import weakref

import numpy as np
import pytest

import fastgd
from fastgd import repeating
from fastgd.kernels import cpu
from tests.against_arbiter import same_bits

OPTIONS = [
    {"lr": 0.05},
    {"lr": None},
    {"lr": 0.05, "history": True, "intercept": True},
    {"lr": 0.1, "tol": 1e-3, "history": 7, "epochs": 60},
    {"lr": 0.05, "optimizer": "adam", "history": True},
    {"lr": 0.05, "optimizer": fastgd.SGD(momentum=0.9, nesterov=True)},
    {"lr": None, "optimizer": fastgd.Adam(betas=(0.8, 0.99), weight_decay=0.1)},
    {"lr": 1e30, "history": True},
    {"lr": None, "optimizer": fastgd.SGD(lr=0.2), "reduction": "sum", "epochs": 5},
    {"lr": 0.05, "nan_policy": "omit"},
]


def make_data(seed, shape=(40, 2), dtype="float32"):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[:-1]).astype(dtype)


def same(a, b):
    parts = [(getattr(a, name), getattr(b, name)) for name in ("w", "loss", "lr", "epochs", "n_used")]
    parts += [(getattr(a.state, name), getattr(b.state, name)) for name in ("w", "slots", "products", "epoch", "algorithm", "status")]
    if a.history is not None:
        parts += [(a.history.w, b.history.w), (a.history.loss, b.history.loss), (a.history.epoch, b.history.epoch)]
    if a.intercept is not None:
        parts.append((a.intercept, b.intercept))
    words = all(getattr(a, name) == getattr(b, name) for name in ("backend", "algorithm", "explanation"))
    return words and all(same_bits(np.asarray(x), np.asarray(y)) for x, y in parts) and type(a.status) is type(b.status)


@pytest.fixture
def only_short(monkeypatch):
    """From when it is called on: the long way is closed."""

    def close():
        def read(*args, **options):
            raise AssertionError("the long way was taken")

        monkeypatch.setattr("fastgd.problem.Problem.read", read)

    return close


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 2), (3, 25, 1)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_like_call_has_the_bits_of_the_long_way(options, shape, dtype, only_short):
    other = make_data(1, shape, dtype)
    want = fastgd.fit(*other, **options)
    repeating._known.clear()
    fastgd.fit(*make_data(0, shape, dtype), **options)
    only_short()
    assert same(fastgd.fit(*other, **options), want)


def test_one_feature_without_its_axis(only_short):
    X, y = make_data(0, (30, 1))
    want = fastgd.fit(X[:, 0].copy(), y, lr=0.1)
    only_short()
    assert same_bits(fastgd.fit(X[:, 0].copy(), y, lr=0.1).w, want.w)
    assert want.w.shape == ()


def test_another_learning_rate_is_a_like_call(only_short):
    X, y = make_data(0)
    long_ways = [fastgd.fit(X, y, lr=lr) for lr in (0.1, 0.2)]
    only_short()
    assert same(fastgd.fit(X, y, lr=0.2), long_ways[1])
    assert float(fastgd.fit(X, y, lr=0.1).lr) == 0.1


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 11}, {"intercept": True}, {"history": True}, {"history": 1.0}, {"optimizer": "adam"}, {"tol": 0.5}, {"lr": -1.0},
        {"lr": float("nan")}, {"lr": [0.1]}, {"reduction": "sum"}, {"dtype": "float64"}, {"epochs": True}, {"threads": 1},
        {"w0": np.zeros(2)}, {"progress": True}, {"memory_limit": "1 GiB"}, {"optimizer": fastgd.SGD(momentum=np.array([0.1, 0.2]))},
        {"sample_weight": np.ones(40)}, {"out": {}}, {"algorithm": "stream"},
    ],
    ids=str,
)  # fmt: skip
def test_a_call_with_another_option_is_not_alike(change, monkeypatch):
    X, y = make_data(0)
    options = {"lr": 0.1, "epochs": 10}
    fastgd.fit(X, y, **options)
    taken = []
    read = fastgd.problem.Problem.read
    monkeypatch.setattr("fastgd.problem.Problem.read", lambda *args, **kinds: (taken.append(1), read(*args, **kinds))[1])
    try:
        fastgd.fit(X, y, **(options | change))
    except (TypeError, ValueError):
        return  # it is read in `fit` and refused
    assert taken


@pytest.mark.parametrize(
    "change", [lambda X: X[::-1], lambda X: X.astype("float64"), np.asfortranarray, lambda X: X[:-1], np.ma.array, list]
)
def test_other_arrays_are_not_alike(change, monkeypatch):
    X, y = make_data(0)
    fastgd.fit(X, y, lr=0.1)
    other = change(X)
    taken = []
    read = fastgd.problem.Problem.read
    monkeypatch.setattr("fastgd.problem.Problem.read", lambda *args, **kinds: (taken.append(1), read(*args, **kinds))[1])
    fastgd.fit(other, y[: len(other)], lr=0.1)
    assert taken


def test_data_that_are_not_finite_are_refused_as_ever():
    X, y = make_data(0)
    fastgd.fit(X, y, lr=0.1)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="X is not finite: nan in row 3, feature 1"):
        fastgd.fit(X, y, lr=0.1)


def test_nothing_of_the_callers_is_kept_or_changed():
    X, y = make_data(0)
    result = fastgd.fit(X, y, lr=0.1, history=True)
    before = result.history.w.copy()
    again = fastgd.fit(X, y, lr=0.1, history=True)
    again.history.w[...] = again.history.loss[...] = again.state.w[...] = again.state.slots[...] = 7
    assert same(fastgd.fit(X, y, lr=0.1, history=True), result)
    assert same_bits(result.history.w, before)
    assert X.flags.writeable
    assert y.flags.writeable
    gone = weakref.ref(X)
    del X
    gc.collect()
    assert gone() is None


def test_few_are_kept():
    for n in range(10, 10 + 3 * repeating.MOST_KEPT):
        fastgd.fit(*make_data(0, (n, 1)), lr=0.1, epochs=1)
        assert len(repeating._known) <= repeating.MOST_KEPT


def test_many_threads_at_once():
    problems = [make_data(seed) for seed in range(8)]
    want = [fastgd.fit(*problem, lr=0.1, history=True) for problem in problems]
    wrong = []

    def work(k):
        for _ in range(50):
            if not same(fastgd.fit(*problems[k], lr=0.1, history=True), want[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_zeros_of_both_signs_are_told_apart():
    x, y = np.array([1.0, 2, 3, 4]), np.zeros(4)
    for options in ({"w0": 0.0}, {"intercept": True, "intercept0": 0.0}):
        name = list(options)[-1]
        for value in (0.0, -0.0, 0.0):
            result = fastgd.fit(x, y, lr=0.0, epochs=2, **(options | {name: value}))
            start = result.intercept if "intercept0" in options else result.w
            assert np.signbit(start) == np.signbit(value)


def test_an_optimizer_is_known_by_its_class_and_its_fields():
    x, y = np.array([1.0, 2, 3, 4]), np.ones(4)
    fastgd.fit(x, y, lr=0.1, epochs=2, optimizer=fastgd.Adam(betas=(0.9, 0.999), eps=1e-8))
    with pytest.raises(ValueError, match="betas must be a pair"):
        fastgd.fit(x, y, lr=0.1, epochs=2, optimizer=fastgd.Adam(betas=(0.9,), eps=(0.999, 1e-8)))
    fastgd.fit(x, y, lr=0.1, epochs=2, optimizer=fastgd.SGD())
    stranger = dataclasses.make_dataclass("SGD", [(f.name, object, f.default) for f in dataclasses.fields(fastgd.SGD)], frozen=True)
    with pytest.raises(TypeError, match="optimizer must be one of the names"):
        fastgd.fit(x, y, lr=0.1, epochs=2, optimizer=stranger())


def test_every_epoch_is_counted_where_samples_take_over():
    """A fit alone, on moments, that overflows: what the kernels counted, before the end is told."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1, 400, 3)).astype("float32"), rng.normal(size=(1, 400)).astype("float32")
    told = []
    run = cpu._descend

    def spy(*arguments):
        run(*arguments)
        told.append(int(arguments[-1][0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastgd.kernels.cpu._descend", spy)
        result = fastgd.fit(X, y, lr=3.0, epochs=300)
    assert result.status[0] == fastgd.Status.DIVERGED
    assert told[-1] == 300
