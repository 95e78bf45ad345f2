"""Calls like an earlier one: the bits of a call that is prepared, and prepared wherever something
is different."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import threading
import weakref
from functools import partial

import numpy as np
import pytest

import fastgd
from fastgd.kernels import cpu
from fastgd.planning import call_cache
from tests.support.against_arbiter import same_bits
from tests.support.like_calls import arrays_of, close_the_long_way, make_data, parts_of

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


@pytest.fixture
def only_short(monkeypatch):
    """From when it is called on: the long way is closed."""
    return partial(close_the_long_way, monkeypatch)


def same(a, b):
    parts = [(getattr(a, name), getattr(b, name)) for name in ("w", "loss", "lr", "epochs", "n_used")]
    parts += [(getattr(a.state, name), getattr(b.state, name)) for name in ("w", "slots", "products", "epoch", "algorithm", "status")]
    if a.history is not None:
        parts += [(a.history.w, b.history.w), (a.history.loss, b.history.loss), (a.history.epoch, b.history.epoch)]
    if a.intercept is not None:
        parts.append((a.intercept, b.intercept))
    words = all(getattr(a, name) == getattr(b, name) for name in ("backend", "algorithm", "explanation"))
    return words and all(same_bits(np.asarray(x), np.asarray(y)) for x, y in parts) and type(a.status) is type(b.status)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 2), (3, 25, 1)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_like_call_has_the_bits_of_the_long_way(options, shape, dtype, only_short):
    other = make_data(1, shape, dtype)
    want = fastgd.fit(*other, **options)
    call_cache.forget()
    fastgd.fit(*make_data(0, shape, dtype), **options)
    only_short()
    assert same(fastgd.fit(*other, **options), want)


@pytest.mark.parametrize("shape", [(40, 2), (40,), (3, 25, 1), (1, 25, 2), (2, 3, 20, 2)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_part_is_as_the_long_way_makes_it(options, shape, only_short):
    X, y = make_data(0, shape if len(shape) > 1 else (*shape, 1))
    X = X.reshape(shape)
    want = fastgd.fit(X, y, **options)
    only_short()
    got = fastgd.fit(X, y, **options)
    assert (got._curvatures is None) == (want._curvatures is None)  # they are made when they are asked for
    assert list(parts_of(got)) == list(parts_of(want))
    assert (got.status is got.state.status) == (want.status is want.state.status)
    assert repr(got) == repr(want)
    for again in (pickle.loads(pickle.dumps(got)), copy.deepcopy(got), copy.copy(got), dataclasses.replace(got)):
        assert same(again, want)
        assert vars(again).keys() == vars(want).keys()


@pytest.mark.parametrize("shape", [(40, 2), (3, 25, 1)])
@pytest.mark.parametrize("lr", [0.05, None])
def test_results_share_no_memory(shape, lr):
    """Neither with each other, nor within one, nor with what is kept for the next call."""
    X, y = make_data(0, shape)
    results = [fastgd.fit(X, y, lr=lr, history=3, intercept=True) for _ in range(4)]
    (known,) = call_cache.remembered.values()
    kept = [array for array in vars(known).values() if isinstance(array, np.ndarray)]
    kept += [values for values, _ in known.begin.values()]
    mine = [array for result in results for array in arrays_of(result).values()]
    for place, array in enumerate(mine):
        for other in (*mine[:place], *kept, X, y):
            assert not np.shares_memory(array, other)
        assert array.flags.writeable


def test_a_call_within_a_call(monkeypatch):
    """Another fit of the same key while the kernels of one are at work: a signal handler's, say."""
    problems = [make_data(seed) for seed in range(4)]
    options = {"lr": None, "history": True}
    want = [fastgd.fit(*problem, **options) for problem in problems]
    inner = []
    descend = cpu.descend

    def interrupted(*arguments):
        if len(inner) < 3:
            inner.append(None)
            place = len(inner)
            inner[place - 1] = (place, fastgd.fit(*problems[place], **options))
        descend(*arguments)

    monkeypatch.setattr(cpu, "descend", interrupted)
    assert same(fastgd.fit(*problems[0], **options), want[0])
    assert [place for place, _ in inner] == [1, 2, 3]
    assert all(same(result, want[place]) for place, result in inner)


def test_data_that_are_read_only(only_short):
    X, y = make_data(0)
    want = fastgd.fit(X, y, lr=0.1)
    X.flags.writeable = y.flags.writeable = False
    only_short()
    assert same(fastgd.fit(X, y, lr=0.1), want)


def test_after_data_that_are_not_finite(only_short):
    X, y = make_data(0)
    want = fastgd.fit(X, y, lr=0.1, nan_policy="propagate")
    broken = X.copy()
    broken[3, 1] = np.nan
    for _ in range(2):
        assert fastgd.fit(broken, y, lr=0.1, nan_policy="propagate").status == fastgd.Status.INVALID_DATA
    only_short()
    assert same(fastgd.fit(X, y, lr=0.1, nan_policy="propagate"), want)


def test_what_a_result_says_of_its_call_is_that_of_this_call():
    """tol, the start and the penalty are in the key: none comes from an earlier call."""
    data, y = np.arange(5.0), np.arange(5.0) + 1.0
    for _ in range(2):
        for tol in (None, 0.1, 0.2):
            for w0, start in ((None, "zero"), (0.0, "zero"), (1.0, "given")):
                for decay in (0.0, 0.5):
                    result = fastgd.fit(data, y, tol=tol, w0=w0, optimizer=fastgd.SGD(weight_decay=decay), epochs=3)
                    assert (result.state.tol, result._start, result._penalised) == (tol, start, decay > 0)


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
    read = fastgd.data.problem.Problem.read
    monkeypatch.setattr("fastgd.data.problem.Problem.read", lambda *args, **kinds: (taken.append(1), read(*args, **kinds))[1])
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
    read = fastgd.data.problem.Problem.read
    monkeypatch.setattr("fastgd.data.problem.Problem.read", lambda *args, **kinds: (taken.append(1), read(*args, **kinds))[1])
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


def test_what_is_kept_holds_no_data_and_no_results():
    X, y = make_data(0, (30, 3))
    for _ in range(2):
        fastgd.fit(X, y, lr=0.1, history=True, epochs=500)
        gc.collect()
        (known,) = call_cache.remembered.values()
        assert not known.buffers.arrays
        assert len(pickle.dumps(known)) < 500 * 3 * 4 * 2  # bytes: a history alone has 6,000


def test_few_are_kept():
    for n in range(10, 10 + 3 * call_cache.MOST_REMEMBERED):
        fastgd.fit(*make_data(0, (n, 1)), lr=0.1, epochs=1)
        assert len(call_cache.remembered) <= call_cache.MOST_REMEMBERED


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
    for given in (stranger, stranger()):  # as torch.optim.SGD is
        with pytest.raises(TypeError, match=r"optimizer must be one of the names .*: give fastgd\.SGD\(lr=\.\.\.\)$"):
            fastgd.fit(x, y, lr=0.1, epochs=2, optimizer=given)


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


def test_a_call_that_is_kept_keeps_no_moments():
    X, y = np.ones((60, 130, 50), np.float32), np.ones((60, 130), np.float32)
    fastgd.fit(X, y, lr=1e-3, epochs=1)
    assert call_cache.remembered == {}  # its moments would be 1.2 MB
