"""One fit has the same bits in any company, in any layout, in chunks of any size, on any number of
threads."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest

import fastgd
from fastgd.kernels import cpu
from fastgd.planning import job, plan
from fastgd.running import cpu as runner
from fastgd.running import moments
from tests.support.against_arbiter import bits, same_bits

NAMES = ["float32", "float64"]


def make(m, n, d, name, seed=0):
    """Fits of unlike size, offset and curvature."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n, d)) * 10.0 ** rng.integers(-2, 3, (m, 1, d)) + rng.integers(-1, 2, (m, 1, 1))
    y = rng.standard_normal((m, n)) * 10.0 ** rng.integers(-2, 3, (m, 1))
    return X.astype(name), y.astype(name)


def parts_of(result) -> dict[str, np.ndarray]:
    """All numbers of a result, leading axes first."""
    state, history = result.state, result.history
    parts = {
        "w": result.w,
        "loss": result.loss,
        "epochs": result.epochs,
        "status": np.asarray(result.status, np.int8),
        "lr": result.lr,
        "intercept": result.intercept,
    }
    parts |= {f"state.{name}": getattr(state, name) for name in ("w", "slots", "epoch", "algorithm", "status")}
    if history is not None:
        parts |= {"history.w": history.w, "history.loss": history.loss, "history.intercept": history.intercept}
    return {name: np.asarray(value) for name, value in parts.items() if value is not None}


def assert_same(a, b, take=lambda values: values, leave_out=()):
    """Every number of result a equals `take` of that of b."""
    ours, theirs = parts_of(a), parts_of(b)
    for name, value in ours.items():
        if name not in leave_out:
            assert same_bits(value, take(theirs[name])), name


def digest(result) -> str:
    """One hash of all numbers."""
    sha = hashlib.sha256()
    for name, value in sorted(parts_of(result).items()):
        sha.update(
            name.encode() + str(value.shape).encode() + (bits(value) if value.dtype.kind == "f" else np.ascontiguousarray(value)).tobytes()
        )
    return sha.hexdigest()


@pytest.fixture
def pooled(monkeypatch):
    """Even small work goes through the pool."""
    monkeypatch.setattr(plan, "INLINE_NS", 0)


CASES = {
    "moments": ({"epochs": 9}, (37, 70, 3)),
    "stream": ({"epochs": 5, "algorithm": "stream"}, (37, 70, 3)),
    "safe rate": ({"epochs": 5, "lr": None}, (37, 40, 2)),
    "safe rate of stream": ({"epochs": 5, "lr": None, "algorithm": "stream"}, (23, 40, 2)),
    "few samples": ({"epochs": 5}, (37, 5, 3)),
    "overflow": ({"epochs": 40, "lr": 1e4}, (23, 30, 2)),
    "tol": ({"epochs": 60, "lr": 1e-3, "tol": 1e-3}, (37, 30, 2)),
    "momentum": ({"epochs": 9, "optimizer": fastgd.SGD(momentum=0.9, weight_decay=0.1)}, (37, 30, 2)),
    "two chunks": ({"epochs": 3}, (7, 4100, 1)),
}


def fit_case(case, name, *, intercept=True, **options):
    settings, shape = CASES[case]
    X, y = make(*shape, name)
    return fastgd.fit(X, y, **{"lr": 1e-2, "intercept": intercept, "history": True} | settings | options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_threads(case, name, pooled):
    hashes = {digest(fit_case(case, name, threads=threads)) for threads in range(1, 9)}
    assert len(hashes) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_chunks(case, name, monkeypatch):
    alone = digest(fit_case(case, name))
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    for chunk in (1, 2, 3, 7, 36, 37, 1000):
        monkeypatch.setattr(job, "make_plan", functools.partial(plan.make_plan, fits_per_task=chunk))
        assert digest(fit_case(case, name, threads=3)) == alone


def grid_fit(name, **options):
    X, y = make(6, 40, 2, name, 1)
    rng = np.random.default_rng(2)
    lr, momentum = rng.uniform(0, 1e-2, (5, 1, 1)), rng.uniform(0, 1, (2, 1))
    return fastgd.fit(X, y, lr=lr, optimizer=fastgd.SGD(momentum=momentum), epochs=6, history=True, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("one", ["pair", "task"])
def test_groups_of_a_sweep(name, one, monkeypatch):
    """One pair of data at a time, one item per task of compress, one fit per task of descend."""
    want = digest(grid_fit(name))
    monkeypatch.setattr(plan, "INLINE_NS", 0)
    for module in (plan, moments) if one == "pair" else (plan, moments, runner):
        monkeypatch.setattr(module, "MOMENTS_BYTES" if one == "pair" else "PIECE_NS", 1)
    for threads in (1, 2, 8):
        assert digest(grid_fit(name, threads=threads)) == want


@pytest.mark.parametrize(("x_shape", "y_shape"), [((), (40,)), ((1, 23), (4, 1)), ((7,), (3, 7)), ((2, 1, 9), (5, 1))])
def test_shared_data_are_compressed_once(x_shape, y_shape, monkeypatch):
    """However small the groups are: each X's Gram matrix is computed once, but for those that two
    groups share at their border."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((*x_shape, 30, 3)), rng.standard_normal((*y_shape, 30))
    want = fastgd.fit(X, y, lr=0.1, epochs=4)
    computed, groups = [], []
    compress, groups_of = cpu.compress_items, runner.compress_groups

    def counting(samples, start, stop, intercept, gram, *rest):
        computed.append(len(gram))
        compress(samples, start, stop, intercept, gram, *rest)

    monkeypatch.setattr(cpu, "compress_items", counting)
    monkeypatch.setattr(runner, "compress_groups", lambda *given: (groups.append(group.first) or group for group in groups_of(*given)))
    monkeypatch.setattr(plan, "MOMENTS_BYTES", 2_000)
    result = fastgd.fit(X, y, lr=0.1, epochs=4)
    assert_same(result, want)
    n_x = int(np.prod(x_shape))
    assert len(groups) > 1
    assert n_x <= sum(computed) <= n_x + len(groups) - 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [1, 2])
def test_ranges_of_a_long_fit(name, d, monkeypatch):
    """n > 65,536: staged and cut into ranges. Ranges of 4096 · 2^k, or no cut at all, alone or with
    others: the same bits."""
    n = 2 * 65_536 + 3 * 4096 + 5
    X, y = make(2, n, d, name, 3)
    X[:, 4096 * 5 : 4096 * 6] *= np.array(1e10, name)  # unlike exponents
    y[:, :4096] *= np.array(1e-10, name)
    settings = {"lr": 1e-25, "epochs": 3, "intercept": True, "history": True, "algorithm": "moments"}
    want = fastgd.fit(X, y, **settings)
    assert same_bits(want.history.loss[0, 0], fastgd.fit(X[0], y[0], **settings).history.loss[0])
    for length in (4096, 2 * 4096, 8 * 4096, 16 * 4096, 64 * 4096, 2**40):
        monkeypatch.setattr(cpu, "RANGE", length)
        for threads in (1, 4):
            assert_same(fastgd.fit(X, y, threads=threads, **settings), want)
        assert_same(fastgd.fit(X[1], y[1], **settings), want, lambda values: values[1])
    monkeypatch.setattr(cpu, "RANGE", 4096)
    monkeypatch.setattr(moments, "MOMENTS_BYTES", 2000)  # longer ranges, since there is no room for the records of short ones
    assert_same(fastgd.fit(X, y, **settings), want)


@pytest.mark.parametrize("name", NAMES)
def test_a_long_fit_that_is_not_staged(name, monkeypatch):
    X, y = make(1, 3 * 65_536 + 17, 1, name, 4)
    want = fastgd.fit(X, y, lr=1e-3, epochs=3, history=True)

    def not_staged(*args, **options):
        made = plan.make_plan(*args, **options)
        assert made.staged
        return plan.Plan(**{**vars(made), "staged": False})

    monkeypatch.setattr(job, "make_plan", not_staged)
    assert_same(fastgd.fit(X, y, lr=1e-3, epochs=3, history=True), want)


# ---------------------------------------------------------------------------------------------------------------------- company


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


# ----------------------------------------------------------------------------------------------------------------------- layout


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


# ----------------------------------------------------------------------------------------------------------------------- shared


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
