"""The arbiter's sample weights and omitted samples: by hand, against exact rationals, and where
they must change nothing."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from tests.specification import arbiter
from tests.specification.arbiter import FORMATS
from tests.specification.rationals import data, exact_epoch, exact_moments, nearest

U = 2.0**-53
NAMES = ["float32", "float64"]
ALGORITHMS = ["stream", "moments"]


def mixed_weights(n, name, seed=0, spread=20):
    """From 2^-spread to 2^spread: 1e-6 to 1e6."""
    return np.exp2(np.random.default_rng(seed).uniform(-spread, spread, n)).astype(name)


def assert_same_run(a, b):
    np.testing.assert_array_equal(a.w, b.w)
    np.testing.assert_array_equal(a.loss, b.loss)
    np.testing.assert_array_equal(a.state.w, b.state.w)
    np.testing.assert_array_equal(a.state.slots, b.state.slots)
    assert (a.lr, a.state.algorithm, a.handover, a.first_bad) == (b.lr, b.state.algorithm, b.handover, b.first_bad)


# ---------------------------------------------------------------------- weights that change nothing


@pytest.mark.parametrize("weight", [1.0, 2.0**-7, 2.0**40])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 7, 4096 + 65])
def test_equal_weights_of_a_power_of_two_are_no_weights(weight, algorithm, name, n):
    X, y = data(n, 2, name, 3)
    weights = np.full(n, weight, name)
    settings = {"epochs": 3, "intercept": True, "algorithm": algorithm, "hyper": {"momentum": 0.5}}
    for lr in (0.1, None):
        plain = arbiter.run(X, y, lr=lr, **settings)
        assert_same_run(arbiter.run(X, y, lr=lr, weights=weights, **settings), plain)
    # the gradient of the sum is 2^k times as large
    plain = arbiter.run(X, y, lr=2.0**-14, reduction="sum", **settings)
    weighted = arbiter.run(X, y, lr=2.0**-14 / weight, reduction="sum", weights=weights, **settings)
    np.testing.assert_array_equal(weighted.w, plain.w)
    np.testing.assert_array_equal(weighted.loss, plain.loss)


@pytest.mark.parametrize("name", NAMES)
def test_moments_of_unit_weights_are_those_without(name):
    X, y = data(4096 * 2 + 33, 2, name, 4, spread=30)
    plain, weighted = arbiter.compress(X, y, True), arbiter.compress(X, y, True, weights=np.ones(len(X)))
    assert (weighted.hi, weighted.lo, weighted.exponents, weighted.total) == (plain.hi, plain.lo, plain.exponents, plain.total)
    assert weighted.total == arbiter.Weights(len(X), 0.0, 0, 1.0)
    assert arbiter.overflow_limits(plain) == arbiter.overflow_limits(weighted)


# ----------------------------------------------------------------------- samples that are not there


@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [40, 4096 + 300])
def test_a_sample_of_weight_zero_is_a_deleted_row(algorithm, name, n):
    X, y = data(n, 2, name, 5)
    weights = mixed_weights(n, name, 6)
    gone = np.random.default_rng(7).random(n) < 0.25
    weights[gone] = 0
    X[gone], y[gone] = math.nan, math.inf
    settings = {"lr": 0.01, "epochs": 2, "intercept": True, "algorithm": algorithm}
    want = arbiter.run(X[~gone], y[~gone], weights=weights[~gone], **settings)
    assert np.isfinite(want.loss).all()
    assert_same_run(arbiter.run(X, y, weights=weights, **settings), want)
    assert_same_run(arbiter.run(X, y, weights=weights, omit=True, **settings), want)
    ones = (~gone).astype(name)
    assert_same_run(arbiter.run(X, y, weights=ones, **settings), arbiter.run(X[~gone], y[~gone], **settings))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", NAMES)
def test_an_omitted_sample_is_a_deleted_row(bad, algorithm, name):
    n = 50
    X, y = data(n, 2, name, 8)
    weights = mixed_weights(n, name, 9)
    X[3, 0] = X[17, 1] = y[4] = y[-1] = bad
    there = np.isfinite(X).all(1) & np.isfinite(y)
    settings = {"lr": 0.01, "epochs": 2, "algorithm": algorithm}
    assert_same_run(arbiter.run(X, y, omit=True, **settings), arbiter.run(X[there], y[there], **settings))
    moments, deleted = arbiter.compress(X, y, omit=True), arbiter.compress(X[there], y[there])
    assert (moments.n, moments.hi, moments.lo) == (n - 4, deleted.hi, deleted.lo)
    weights[20] = bad
    there[20] = False
    want = arbiter.run(X[there], y[there], weights=weights[there], **settings)
    assert_same_run(arbiter.run(X, y, weights=weights, omit=True, **settings), want)


def test_weights_are_rounded_before_they_are_asked():
    """2^-151 is a weight of 0 in float32; 1e39 is not finite there."""
    X, y = data(4, 1, "float32", 10)
    want = arbiter.run(X[1:], y[1:], lr=0.1, epochs=1, weights=[1.0, 2.0, 3.0])
    assert_same_run(arbiter.run(X, y, lr=0.1, epochs=1, weights=np.array([2.0**-151, 1.0, 2.0, 3.0])), want)
    with np.errstate(over="ignore"):
        assert_same_run(arbiter.run(X, y, lr=0.1, epochs=1, weights=np.array([1e39, 1.0, 2.0, 3.0]), omit=True), want)


def test_auto_counts_the_samples_that_stay():
    X, y = data(9, 3, "float64", 11)
    weights = np.ones(9)
    assert arbiter.run(X, y, lr=0.1, epochs=0, weights=weights).state.algorithm == "moments"
    weights[:2] = 0
    assert arbiter.run(X, y, lr=0.1, epochs=0, weights=weights).state.algorithm == "moments"  # n = 7 > 2d
    weights[2] = 0
    assert arbiter.run(X, y, lr=0.1, epochs=0, weights=weights).state.algorithm == "stream"  # n = 6 = 2d
    y[:2] = math.nan
    assert arbiter.run(X, y, lr=0.1, epochs=0, algorithm="moments", weights=weights).state.algorithm == "moments"
    y[3] = math.nan
    assert arbiter.run(X, y, lr=0.1, epochs=0, algorithm="moments", weights=weights).state.algorithm == "stream"


# -------------------------------------------------------------------------------------- the moments


@pytest.mark.parametrize("n", [1, 33, 1000, 4096 + 65])
def test_weighted_float32_moments_within_the_bound_of_summation(n):
    """ω·z_i is exact and every fma rounds once: the additions that a sample passes through, each
    with an error of u."""
    X, y = data(n, 2, "float32", n, spread=10)
    weights = mixed_weights(n, "float32", n)
    depth = Fraction(U * (1 + 1e-9)) * (min(n, 4096) // 32 + 1 + 5 + math.ceil(math.log2(max(1, n / 4096))))
    moments = arbiter.compress(X, y, intercept=True, weights=weights)
    total = sum(Fraction(float(v)) for v in weights)
    for i, j, exact, size in exact_moments(X, y, True, weights):
        assert abs(Fraction(moments.hi[i][j]) - exact) <= depth * size
    assert abs(Fraction(moments.total.W) - total) <= depth * total
    assert (moments.total.W_low, moments.total.k) == (0, 0)
    assert moments.hi[2][2] == moments.total.W  # the intercept's moment: Σ ω·1·1 in the same order


def test_a_weighted_float32_lane_step_by_step():
    """y is 0 but for two samples of lane 5: the product of the three and the sum are rounded
    together, once."""
    for seed in range(50):
        X, y = data(64, 1, "float32", seed)
        weights = mixed_weights(64, "float32", seed)
        acc = 0.0
        for i in (5, 37):
            acc = nearest(Fraction(float(weights[i])) * Fraction(float(X[i, 0])) * Fraction(float(y[i])) + Fraction(acc), "float64")
        y[[i for i in range(64) if i % 32 != 5]] = 0
        assert arbiter.compress(X, y, weights=weights).hi[0][1] == acc


@pytest.mark.parametrize("factor", [1.0, 2.0**900, 2.0**-900])
@pytest.mark.parametrize("n", [1, 33, 1000, 4096 + 65])
def test_weighted_float64_moments_within_the_bound_of_the_compensated_dot_product(n, factor):
    """As without weights; the second fma for e rounds a number of at most 2u|p|: 2u² more."""
    X, y = data(n, 2, "float64", n, spread=10)
    weights = mixed_weights(n, "float64", n) * factor
    m = min(n, 4096) // 32 + 1
    bound = Fraction((3 * m * m + 4 * (5 + 1) + 2) * U * U)
    moments = arbiter.compress(X, y, intercept=True, weights=weights)
    k, total = moments.exponents, moments.total
    assert total.k == math.frexp(max(weights))[1] - 1
    worst = 0.0
    for i, j, exact, size in exact_moments(X, y, True, weights):
        value = (Fraction(moments.hi[i][j]) + Fraction(moments.lo[i][j])) * Fraction(2) ** (k[i] + k[j] + total.k)
        worst = max(worst, float(abs(value - exact) / (bound * size)))
    exact = sum(Fraction(float(v)) for v in weights)
    worst = max(worst, float(abs((Fraction(total.W) + Fraction(total.W_low)) * Fraction(2) ** total.k - exact) / (bound * exact)))
    print(f"weighted double-double moments used {worst:.3f} of the bound")
    assert worst <= 1


def test_a_weighted_lane_step_by_step():
    """f + f′ = ω·a and p + e = f·b exactly; e takes f′·b with one rounding, q + e and c + that have
    one each."""
    rng = np.random.default_rng(12)
    for _ in range(100):
        omega, a, b = (rng.uniform(-1, 1, 99).tolist() for _ in range(3))
        s = c = 0.0
        for i in (2, 34, 66, 98):
            f = nearest(Fraction(omega[i]) * Fraction(a[i]), "float64")
            f_low = Fraction(omega[i]) * Fraction(a[i]) - Fraction(f)
            p = nearest(Fraction(f) * Fraction(b[i]), "float64")
            e = nearest(Fraction(f) * Fraction(b[i]) - Fraction(p) + f_low * Fraction(b[i]), "float64")
            q = float(Fraction(s) + Fraction(p) - Fraction(s + p))
            s, c = s + p, c + (q + e)
        hi = s + c
        assert arbiter.weighted_dot_of_lane(omega, a, b, range(2, 99, 32)) == (hi, float(Fraction(s) + Fraction(c) - Fraction(hi)))


def test_one_exponent_of_the_weights_for_all_chunks():
    """Chunk 0 has weights 2^-300, chunk 1 one sample of weight 2^10: k_ω = 10, and nothing is
    aligned but the columns."""
    X, y, weights = np.ones((4097, 1)), np.zeros(4097), np.full(4097, 2.0**-300)
    weights[-1] = 2.0**10
    moments = arbiter.compress(X, y, weights=weights)
    assert moments.total == arbiter.Weights(1.0, 2.0**-298, 10, 2.0**-300)
    assert (moments.hi[0][0], moments.lo[0][0]) == (1.0, 2.0**-298)
    assert moments.exponents == [0, -1022]


# --------------------------------------------------------------------------------- one epoch, rates


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (64, 3), (4096 * 2, 2)])
def test_a_weighted_epoch_on_small_integers_is_exact(algorithm, name, reduction, n, d):
    """The weights 1/2, 1, 4 and 5/2 add to 8: Σω is a power of two, and every intermediate number
    is a multiple of 1/16 below 2^20."""
    rng = np.random.default_rng(n)
    X, y = rng.integers(-3, 4, (n, d)).astype(name), rng.integers(-5, 6, n).astype(name)
    weights = np.tile([0.5, 1, 4, 2.5], n // 4) if n > 1 else np.array([4.0])
    w = [0.5, -1.0, 1.5][:d]
    loss, g = exact_epoch(X, y, w, reduction, weights)
    fit = arbiter.run(X, y, w0=w, lr=0.25, epochs=1, reduction=reduction, algorithm=algorithm, weights=weights)
    assert fit.state.algorithm == algorithm
    assert Fraction(float(fit.loss[0])) == loss
    assert [Fraction(v) for v in fit.state.w] == [Fraction(a) - b / 4 for a, b in zip(w, g, strict=True)]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", NAMES)
def test_a_weighted_epoch_of_stream_by_hand(name, reduction):
    """n = 3, D = 1 + intercept, written out rounding by rounding with rationals: lanes 0, 1, 2 meet
    as (0 + 2) + 1."""
    rng = np.random.default_rng(13)

    def fma(p, q, r):
        return nearest(Fraction(p) * Fraction(q) + Fraction(r), name)

    def meet(v):
        return fma(1.0, fma(1.0, v[0], v[2]), v[1])

    for _ in range(50):
        X, y, weights = rng.standard_normal((3, 1)).astype(name), rng.standard_normal(3).astype(name), rng.random(3).astype(name)
        a, b = (float(v) for v in rng.standard_normal(2).astype(name))
        x, target, omega = [float(v) for v in X[:, 0]], [float(v) for v in y], [float(v) for v in weights]
        r = [fma(1.0, b, fma(x[i], a, -target[i])) for i in range(3)]
        v = [fma(omega[i], r[i], 0.0) for i in range(3)]
        W = meet(omega)
        s = nearest(Fraction(2) / Fraction(W), name) if reduction == "mean" else 2.0
        scaled = [fma(s, v_i, 0.0) for v_i in v]
        gradient = [meet([fma(x[i], scaled[i], 0.0) for i in range(3)]), meet(scaled)]
        minus_lr = nearest(Fraction(-0.3), name)
        settings = {"lr": 0.3, "epochs": 1, "intercept": True, "algorithm": "stream", "reduction": reduction}
        fit = arbiter.run(X, y, w0=[a, b], weights=weights, **settings)
        assert fit.loss[0] == nearest(Fraction(meet([fma(v[i], r[i], 0.0) for i in range(3)])) / Fraction(W), name)
        assert fit.state.w.tolist() == [fma(minus_lr, g, w) for g, w in zip(gradient, (a, b), strict=True)]


def test_a_weighted_epoch_of_float32_moments_by_hand():
    """n = 3, D = 1, everything in float64: the product of the three is rounded with the sum."""
    rng = np.random.default_rng(14)

    def fma(p, q, r):
        return nearest(Fraction(p) * Fraction(q) + Fraction(r), "float64")

    for _ in range(50):
        X, y, weights = (v.astype(np.float32) for v in (rng.standard_normal((3, 1)), rng.standard_normal(3), rng.random(3)))
        w = float(rng.standard_normal())
        x, target, omega = X[:, 0].tolist(), y.tolist(), weights.tolist()

        def moment(left, right, omega=omega):
            p = [fma(weight * a, b, 0.0) for weight, a, b in zip(omega, left, right, strict=True)]
            return (p[0] + p[2]) + p[1]

        G, c, yy, W = moment(x, x), moment(x, target), moment(target, target), (omega[0] + omega[2]) + omega[1]
        r = fma(G, w, -c)
        moments = arbiter.compress(X, y, weights=weights)
        assert arbiter.moments_epoch(moments, [w], "mean") == (max(0.0, fma(w, r - c, yy)) / W, [2 / W * r])
        assert arbiter.moments_epoch(moments, [w], "sum")[1] == [2 * r]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("factor", [1.0, 2.0**900, 2.0**-900, 2.0**-1020])
@pytest.mark.parametrize("scale_x", [1.0, 1e150, 1e-150])
@pytest.mark.parametrize("n", [3, 25, 99])
def test_a_weighted_epoch_of_float64_moments_is_the_rational_rounded_about_once(n, scale_x, factor, reduction):
    """As without weights: s and s′ are 2/Σω to twice the precision, and 2^k_ω goes out of the mean
    and into the sum."""
    X, y = data(n, 2, "float64", n)
    weights = mixed_weights(n, "float64", n, spread=3) * factor
    X, w = X * scale_x, [0.7 / scale_x, -1.3 / scale_x]
    moments = arbiter.compress(X, y, weights=weights)
    loss, g = arbiter.moments_epoch(moments, w, reduction)
    exact_loss, exact_g = exact_epoch(X, y, w, reduction, weights)
    # a product of three has one rounding more in its low part than one of two, so 2e-3 u where it
    # is 1e-3 u without weights
    pairs = [(a, b) for a, b in [(loss, exact_loss), *zip(g, exact_g, strict=True)] if 1e-290 < abs(b) < 1e300]
    errors = [float(abs(Fraction(a) - b) / abs(b)) / U for a, b in pairs]
    print("errors in units of u:", [f"{error:.4f}" for error in errors])
    assert errors[0] <= 2.002
    assert max(errors[1:], default=0) <= 1.002


@pytest.mark.parametrize("name", NAMES)
def test_weighted_safe_rate_by_hand(name):
    """Σωx² = 1 + 2·4 + 4·9 + 9·16 = 189, Σω = 16."""
    X, y, weights = np.array([[1], [2], [3], [4]], name), np.zeros(4, name), np.array([1, 2, 4, 9], name)
    moments = arbiter.compress(X, y, weights=weights)
    assert arbiter.safe_rate(moments) == 8 / 189
    assert arbiter.safe_rate(moments, "sum") == 1 / 378
    assert arbiter.safe_rate(moments, "sum", weight_decay=6.0) == 1 / 384
    assert arbiter.run(X, y, lr=None, epochs=0, weights=weights).lr == 8 / 189
    scaled = np.array([1, 2, 4, 9]) * (2.0**900 if name == "float64" else 2.0**100)
    assert arbiter.safe_rate(arbiter.compress(X, y, weights=scaled)) == 8 / 189
    assert arbiter.safe_rate(arbiter.compress(X, y, weights=scaled), "sum") == 1 / (378 * float(scaled[0]))


# ------------------------------------------------------------------------------------ overflow tail


def test_weighted_overflow_limits_by_hand():
    X, y = np.array([[3.0, 0.0], [4.0, 1.0]], np.float32), np.zeros(2, np.float32)
    # Σωx² = 9·16 + 16·16 = 400: M = 20, lo = 1, Σ = 32
    moments = arbiter.compress(X, y, weights=np.full(2, 16.0))
    assert arbiter.overflow_limits(moments) == (2.0**120 / 40, 2.0**120 / 32)
    # Σωx² = 25/16: M = 5/4, lo = 1/16, Σ = 1/8: |x| ≤ M/√lo = 5
    moments = arbiter.compress(X, y, weights=np.full(2, 0.0625))
    assert arbiter.overflow_limits(moments) == (2.0**120 / 10, 2.0**116 * 8)
    # float64: M = 2^600 · 2^-50, k_ω = −100; (Ω lo / 2M)² = (2^900 / 2^551)² is the smaller one
    moments = arbiter.compress(np.array([[2.0**600]]), np.ones(1), weights=[2.0**-100])
    assert arbiter.overflow_limits(moments) == (2.0**400, 2.0**698 * 2.0**100)


@pytest.mark.parametrize("algorithm", ["auto", "moments"])
@pytest.mark.parametrize(("name", "limit"), [("float32", 2.0**120), ("float64", 2.0**1000)])
def test_where_the_weights_add_to_more_than_omega_stream_does_everything(algorithm, name, limit):
    X, y = np.ones((4, 1), name), np.ones(4, name)
    settings = {"lr": 0.25, "epochs": 2, "algorithm": algorithm}
    fit = arbiter.run(X, y, w0=[1.0], weights=np.full(4, limit / 4), **settings)
    assert (fit.state.algorithm, fit.handover, fit.loss.tolist()) == ("moments", None, [0, 0, 0])
    fit = arbiter.run(X, y, w0=[1.0], weights=np.full(4, limit / 2), **settings)
    assert (fit.state.algorithm, fit.handover, fit.loss.tolist()) == ("stream", None, [0, 0, 0])
    # loss_limit has the largest weight twice, in Σ and in hi: the loss 1 is above it
    fit = arbiter.run(X, y, weights=np.full(4, limit / 4), **settings)
    assert (fit.handover, fit.loss.tolist()) == ((0, "row"), [1, 0.25, 0.0625])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spread", [0, 12])
def test_a_weighted_fit_that_overflows_ends_as_stream_does(name, spread):
    """The row of the first number that is not finite is that of `stream` all the way; from the
    hand-over on the bits are its own."""
    X, y = data(40, 2, name, 15)
    weights = mixed_weights(40, name, 16, spread)
    lr = 6 * arbiter.safe_rate(arbiter.compress(X, y, weights=weights))
    epochs = {"float32": 100, "float64": 800}[name]
    fit = arbiter.run(X, y, lr=lr, epochs=epochs, algorithm="moments", weights=weights)
    t, how = fit.handover
    assert how == "row"
    assert 0 < t < fit.first_bad < epochs
    rounded = arbiter.State(fit.w[t].astype(float), np.zeros((1, 2)), t, "stream")
    tail = arbiter.run(X, y, state=rounded, lr=lr, epochs=epochs - t, weights=weights)
    np.testing.assert_array_equal(tail.w, fit.w[t:])
    np.testing.assert_array_equal(tail.loss, fit.loss[t:])
    assert math.isfinite(FORMATS[name].omega / arbiter.overflow_limits(arbiter.compress(X, y, weights=weights))[0])
