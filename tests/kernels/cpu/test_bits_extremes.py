"""The CPU kernels give the arbiter's bits where numbers end: overflow and its tail, subnormals,
1e±150, zeros, non-finite data, tol."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastgd
from tests.specification import arbiter
from tests.specification.rationals import data
from tests.support.against_arbiter import compare, same_bits

NAMES = ["float32", "float64"]
HYPER = ({}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}, {"maximize": True})


def in_both(X, y, cells, **options):
    """Moments and stream, each cell in a batch and the first one alone."""
    runs = []
    for algorithm in ("moments", "stream"):
        runs.append(compare(X, y, cells, algorithm=algorithm, **options))
        compare(X, y, cells[:1], algorithm=algorithm, **options)
    return runs[0]


# ----------------------------------------------------------------------------------------- overflow


@pytest.mark.share(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hyper", HYPER, ids=str)
@pytest.mark.parametrize("intercept", [False, True])
def test_overflow_to_the_end(name, hyper, intercept):
    """Rates from a slow divergence to one that overflows at the first step; every row until all is
    NaN, and after."""
    X, y = data(40, 2, name, 21)
    omega = arbiter.FORMATS[name].omega
    safe = arbiter.safe_rate(arbiter.compress(X, y, intercept))
    rates = [safe * 2.3, safe * 9, 1e3, 1e6, 1e20, omega / 64, omega, omega * 200]
    epochs = 90 if name == "float32" else 330
    runs = compare(X, y, [{"lr": rate, "hyper": hyper} for rate in rates], epochs=epochs, intercept=intercept, algorithm="moments")
    assert {run.handover[1] for run in runs if run.handover} == {"row", "update"}
    compare(X, y, [{"lr": rate, "hyper": hyper} for rate in rates[3:]], epochs=40, intercept=intercept, algorithm="stream")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 7, 8, 9])
def test_a_fit_that_ends_around_the_handover(name, epochs):
    X, y = data(40, 2, name, 22)
    huge = arbiter.FORMATS[name].omega
    cells = [{"lr": lr, "hyper": hyper} for lr in (1e4 if name == "float32" else 1e40, huge * 4) for hyper in HYPER]
    compare(X, y, cells, epochs=epochs, algorithm="moments")


def one_column(name, y=1.0):
    return np.array([[1, 0]], name), np.array([y], name)


@pytest.mark.parametrize("name", NAMES)
def test_each_limit_alone(name):
    """Just at and just beyond: |w| ≤ w_limit, loss ≤ loss_limit, and Ω for a slot, a product and a
    new w. The second column is zero."""
    omega = arbiter.FORMATS[name].omega
    X, y = one_column(name)
    above = {"float32": 1 + 2.0**-23, "float64": 1 + 2.0**-52}[name]
    starts = [{"lr": 0.0, "w0": [0, w * factor]} for w in (omega / 2, -omega / 2) for factor in (1, above)]
    runs = compare(X, y, starts, epochs=1, algorithm="moments")
    assert [run.handover for run in runs] == [None, (0, "row"), None, (0, "row")]
    root = math.sqrt(omega)
    handovers = [compare(*one_column(name, v), [{"lr": 0.0}], epochs=1, algorithm="moments")[0].handover for v in (root, root * above)]
    assert handovers == [None, (0, "row")]
    w0 = [0, omega / 2]
    updates = [
        {"lr": 0.125, "w0": w0, "hyper": {"weight_decay": 2.0, "momentum": 0.5}},
        {"lr": 0.125, "w0": w0, "hyper": {"weight_decay": 2 * above, "momentum": 0.5}},  # the slot
        {"lr": 0.125, "w0": w0, "hyper": {"weight_decay": 2 * above}},
        {"lr": 2.0, "w0": w0, "hyper": {"weight_decay": 1.0}},
        {"lr": 2 * above, "w0": w0, "hyper": {"weight_decay": 1.0}},  # the product
        {"lr": 1.0, "w0": w0, "hyper": {"weight_decay": 1.0, "maximize": True}},
        {"lr": 3.5, "w0": w0, "hyper": {"weight_decay": 1.0}},
    ]
    runs = compare(X, y, updates, epochs=1, algorithm="moments")
    assert [run.handover for run in runs] == [None, (0, "update"), None, None, (0, "update"), None, (0, "update")]


@pytest.mark.parametrize("name", NAMES)
def test_a_slot_that_the_rule_leaves_alone_is_no_overflow(name):
    """The state of a fit with momentum, continued without: its slot stays as it is, however
    large."""
    X, y = one_column(name)
    omega = arbiter.FORMATS[name].omega
    first = fastgd.fit(X, y, lr=0.5, optimizer=fastgd.SGD(momentum=0.5), epochs=1, algorithm="moments")
    state = fastgd.State(**{**vars(first.state), "slots": np.full((1, 2), omega * 4)})
    result = fastgd.fit(X, y, lr=0.5, epochs=2, state=state, history=True)
    run = arbiter.run(X, y, state=arbiter.State(state.w, state.slots, 1, "moments"), lr=0.5, epochs=2)
    assert run.handover is None
    assert result.state.algorithm_names[result.state.algorithm] == "moments"
    assert same_bits(result.history.w, run.w)
    assert same_bits(result.state.slots, run.state.slots)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_not_finite_and_come_back(name):
    """w0 so large that the loss is inf, and a rate that brings it home: DIVERGED at row 0, and tol
    stops nothing afterwards."""
    X, y = np.ones((4, 1), name), np.zeros(4, name)
    w0 = [2.0**100 if name == "float32" else 2.0**700]
    cells = [{"lr": lr, "w0": w0} for lr in (0.5, 0.25, 0.5 - 2.0**-20)]
    for tol in (None, 0.5):
        runs = in_both(X, y, cells, epochs=30, tol=tol)
        assert {(run.first_bad, run.converged) for run in runs} == {(0, None)}


@pytest.mark.parametrize("name", NAMES)
def test_some_parameters_are_nan_and_some_are_not(name):
    """The w of a zero column is NaN only when a residual is infinite (0 · inf)."""
    X, y = data(20, 2, name, 23)
    X[:, 1] = 0
    runs = []
    for hyper in ({}, {"weight_decay": 0.5}, {"momentum": 0.5}):
        runs += in_both(X, y, [{"lr": lr, "w0": [0, 1], "hyper": hyper} for lr in (1e30, 1e4, 1e280)], epochs=60)
    assert any(np.isfinite(run.w).any(axis=1)[t] and not np.isfinite(run.w).all(axis=1)[t] for run in runs for t in range(60))


# ---------------------------------------------------------------------------- large, small, nothing


@pytest.mark.parametrize("exponent_x", [-320, -160, -150, 0, 150, 153, 300])
@pytest.mark.parametrize("exponent_y", [-310, -150, 0, 150, 300])
def test_float64_across_the_range(exponent_x, exponent_y):
    X, y = data(70, 2, "float64", 24)
    X, y = X * 10.0 ** (exponent_x / 2) * 10.0 ** (exponent_x / 2), y * 10.0**exponent_y
    X[:, 1] *= 1e-3
    rate = arbiter.safe_rate(arbiter.compress(X, y))
    with np.errstate(over="ignore"):
        w0 = np.nan_to_num([10.0 ** (exponent_y - exponent_x) if exponent_y - exponent_x < 300 else 1e300, 1.0])
    in_both(X, y, [{"lr": rate}, {"lr": min(1.5 * rate, 1e308), "w0": w0, "hyper": {"momentum": 0.5}}], epochs=4)
    compare(X, y, [{}], epochs=3)


@pytest.mark.parametrize("exponent_x", [-46, -40, -19, 0, 19, 38])
@pytest.mark.parametrize("exponent_y", [-44, -20, 0, 19, 38])
def test_float32_across_the_range(exponent_x, exponent_y):
    rng = np.random.default_rng(25)
    X, y = (
        (rng.uniform(-2, 2, (70, 2)) * 10.0**exponent_x).astype(np.float32),
        (rng.uniform(-2, 2, 70) * 10.0**exponent_y).astype(np.float32),
    )
    rate = arbiter.safe_rate(arbiter.compress(X, y))
    in_both(X, y, [{"lr": rate}, {"lr": 1.5 * rate, "w0": [1e-3, 1.0], "hyper": {"momentum": 0.5}}], epochs=4)
    compare(X, y, [{}], epochs=3)


@pytest.mark.parametrize("name", NAMES)
def test_the_safe_rate_is_a_number_of_the_type(name):
    """1/λ beyond the largest number of T is that number; where λ is 0 the rate is 0; where it is
    infinite too."""
    tiny = {"float32": 2.0**-149, "float64": 2.0**-535}[name]
    X, y = np.full((3, 1), tiny, name), np.ones(3, name)
    (run,) = compare(X, y, [{}], epochs=2)
    assert run.lr == float(np.finfo(name).max)
    assert compare(0 * X, y, [{}], epochs=2)[0].lr == 0
    assert compare(0 * X, y, [{"hyper": {"weight_decay": 0.5}}], epochs=2)[0].lr == 2
    if name == "float64":
        assert compare(np.full((3, 1), 1e200), y, [{}], epochs=2)[0].lr == 0


@pytest.mark.parametrize("name", NAMES)
def test_subnormals(name):
    smallest = 2.0 ** arbiter.FORMATS[name].smallest
    rng = np.random.default_rng(26)
    X, y = (rng.integers(-9, 10, (50, 2)) * smallest).astype(name), (rng.integers(-9, 10, 50) * smallest).astype(name)
    ordinary = rng.standard_normal((50, 2)).astype(name)
    cells = [{"lr": 0.3, "w0": [0.4, -1.0]}, {"lr": 0.3, "w0": [3e-3, smallest * 5], "hyper": {"momentum": 0.9, "weight_decay": 0.1}}]
    for features in (X, ordinary, np.where(rng.random((50, 2)) < 0.5, X, ordinary)):
        in_both(features, y, cells, epochs=5)
        in_both(features, y, cells, epochs=5, intercept=True)


def test_losses_that_a_reciprocal_does_not_give():
    """Weighted sums of squares near 2^-1022, divided by any W: the error of a quotient is subnormal
    there, so it cannot be corrected.

    Two batches of 32, 8 fits more, and some alone.
    """
    rng = np.random.default_rng(28)
    X, weights = rng.integers(-3, 4, (40, 3)).astype(float), rng.uniform(0.5, 2, 40)
    cells = [{"lr": 0.01, "w0": rng.standard_normal(3) * 10.0**exponent} for exponent in np.linspace(-155, -154, 72)]
    for some in (cells, *([cell] for cell in cells[::8])):
        runs = compare(X, np.zeros(40), some, epochs=20, algorithm="moments", sample_weight=weights)
        assert all(run.handover is None for run in runs)


@pytest.mark.share(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 33, 4100])
def test_nothing_in_a_column_or_in_y(name, n):
    X, y = data(n, 2, name, 27)
    zero_column = X.copy()
    zero_column[:, 0] = 0
    cells = [{"lr": 0.3, "w0": [0.5, -2]}, {"lr": 0.1, "w0": [0, 0], "hyper": {"momentum": 0.9}}][: 1 + (n < 4096)]
    for features, target in (
        (X, 0 * y),
        (zero_column, y),
        (zero_column, 0 * y),
        (0 * X, y),
        (0 * X, 0 * y),
        (-0.0 * abs(X), -0.0 * abs(y)),
    ):
        in_both(features, target, cells, epochs=4)
    big = X * {"float32": 1e15, "float64": 1e120}[name]
    in_both(big, 0 * y, [{"lr": 0.3 / abs(big).max() ** 2, "w0": [1 / abs(big).max(), 0]}], epochs=4)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_whose_columns_differ_wildly(name):
    """Chunk 0 large in one column and small in the other, chunk 1 the other way round, chunk 2
    empty, chunk 3 one sample."""
    n, far = 3 * 4096 + 1, {"float32": 1e18, "float64": 1e160}[name]
    X, y = data(n, 2, name, 28)
    X[:4096] *= np.array([far, 1 / far], name)
    X[4096:8192] *= np.array([1 / far, far], name)
    X[8192:12288] = 0
    y[4096:8192] *= np.array(1 / far, name)
    y[8192:12288] = 0
    moments = arbiter.compress(X, y)
    cells = [{"lr": rate, "w0": np.array([1.0, -1.0]) / far} for rate in (arbiter.safe_rate(moments), 0.5 / far / far)]
    compare(X, y, cells, epochs=4, algorithm="moments", moments=moments)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [70, 4200])
def test_where_nothing_is_left_but_rounding(name, n):
    """y = X w exactly, w0 = w or next to it: the loss is what cancellation leaves, and every low
    part shows. Below zero it becomes 0."""
    short, long = {"float32": (11, 11), "float64": (25, 25)}[name]  # bits of X and w: their products are exact, and so is y
    u, zeros, others = float(np.finfo(name).eps), 0, 0
    for seed in range(12 if n < 4096 else 2):
        rng = np.random.default_rng(seed)
        w = rng.integers(2**long // 2, 2**long, 3).astype(float)
        rows = 2.0 ** rng.integers(-9, 10, (n, 1))
        X = rng.integers(2**short // 2, 2**short, (n, 3)) * rows
        y = X @ w
        assert (y.astype(name) == y).all()
        X, y = X.astype(name), y.astype(name)
        moments = arbiter.compress(X, y)
        rate = arbiter.safe_rate(moments)
        runs = compare(X, y, [{"lr": rate, "w0": w * (1 + k * u)} for k in (0, 1, -3)], epochs=3, algorithm="moments", moments=moments)
        zeros += runs[0].loss[0] == 0
        others += 0 < runs[0].loss[0] < 1e-10 * np.mean(y.astype(float) ** 2)
    print(f"{name}, n = {n}: at the solution {zeros} losses are 0 and {others} are not")
    assert n > 4096 or (zeros >= 2 and others >= 2)


@pytest.mark.share(4)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["X", "y", "both"])
@pytest.mark.parametrize(("bad", "n"), [(math.nan, 5), (math.inf, 5), (-math.inf, 5), (math.inf, 4100)])
def test_data_that_are_not_finite(name, where, bad, n):
    X, y = data(n, 2, name, 29)
    if where != "y":
        X[n // 2, 1] = bad
    if where != "X":
        y[n - 1] = bad
    cells = [{"lr": 0.1}, {"lr": 0.1, "w0": [1, 0], "hyper": {"momentum": 0.5}}]
    for algorithm in ("auto", "stream", "moments"):
        compare(X, y, cells, epochs=4, algorithm=algorithm, intercept=n == 5)
    compare(X, y, [{}], epochs=3)


# ---------------------------------------------------------------------------------------------- tol


@pytest.mark.share(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hyper", [hyper for hyper in HYPER if not hyper.get("maximize")], ids=str)
def test_stopping(name, hyper):
    X, y = data(60, 3, name, 30)
    rate = arbiter.safe_rate(arbiter.compress(X, y))
    cells = [{"lr": rate * factor, "hyper": hyper} for factor in (0.01, 0.5, 1.0, 1.9, 2.5, 1e10)]
    seen = set()
    for tol in (0.0, 1e-9, 1e-3, 0.3):
        for reduction in ("mean", "sum"):
            for run in in_both(X, y, cells, epochs=60, tol=tol, reduction=reduction):
                seen.add("converged" if run.converged else "diverged" if run.first_bad else "ran on")
    assert seen == {"converged", "diverged", "ran on"}
    in_both(X, X[:, 0], [{"lr": rate, "hyper": hyper}], epochs=150, tol=0.0)  # the least value is 0


@pytest.mark.parametrize("name", NAMES)
def test_stopping_looks_below_the_digits_of_the_loss(name):
    """The float64 loss of float32 data still falls where the reported one stands still."""
    X, y = data(60, 2, name, 31)
    (run,) = compare(X, y, [{"lr": 0.05}], epochs=2000, tol=1e-12, algorithm="moments")
    t = run.converged
    assert t > 100
    assert name == "float64" or run.loss[t - 20] == run.loss[t]
