"""The arbiter's epochs and runs: against exact rationals and by hand."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from tests import arbiter
from tests.arbiter import FORMATS, same
from tests.rationals import data, exact_epoch, nearest

U = 2.0**-53

# ------------------------------------------------------------------------------------------------------------------- one epoch


@pytest.mark.parametrize("algorithm", ["stream", "moments"])
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (64, 3), (4096 * 2, 2)])
def test_an_epoch_on_small_integers_is_exact(algorithm, name, reduction, n, d):
    """n is a power of two and every intermediate number is an integer (or a quarter of one) below 2^24: nothing is rounded in any order."""
    rng = np.random.default_rng(n)
    X, y = rng.integers(-3, 4, (n, d)).astype(name), rng.integers(-5, 6, n).astype(name)
    w = [0.5, -1.0, 1.5][:d]
    loss, g = exact_epoch(X, y, w, reduction)
    fit = arbiter.run(X, y, w0=w, lr=0.25, epochs=1, reduction=reduction, algorithm=algorithm)
    assert fit.algorithm == algorithm
    assert Fraction(float(fit.loss[0])) == loss
    assert fit.w[0].tolist() == w
    assert [Fraction(v) for v in fit.state_w] == [Fraction(a) - b / 4 for a, b in zip(w, g, strict=True)]


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_an_epoch_of_stream_by_hand(name):
    """n = 3, D = 1 + intercept, written out rounding by rounding with rationals: lanes 0, 1, 2 meet as (0 + 2) + 1."""
    rng = np.random.default_rng(7)
    for _ in range(50):
        X, y = rng.standard_normal((3, 1)).astype(name), rng.standard_normal(3).astype(name)
        a, b = (float(v) for v in rng.standard_normal(2).astype(name))

        def fma(p, q, r):
            return nearest(Fraction(p) * Fraction(q) + Fraction(r), name)

        x, target = [float(v) for v in X[:, 0]], [float(v) for v in y]
        r = [fma(1.0, b, fma(x[i], a, -target[i])) for i in range(3)]
        square = [fma(v, v, 0.0) for v in r]
        total = fma(1.0, fma(1.0, square[0], square[2]), square[1])
        s = nearest(Fraction(2, 3), name)
        scaled = [fma(s, v, 0.0) for v in r]
        p = [fma(x[i], scaled[i], 0.0) for i in range(3)]
        gradient = [fma(1.0, fma(1.0, p[0], p[2]), p[1]), fma(1.0, fma(1.0, scaled[0], scaled[2]), scaled[1])]
        minus_lr = nearest(Fraction(-0.3), name)
        fit = arbiter.run(X, y, w0=[a, b], lr=0.3, epochs=1, intercept=True, algorithm="stream")
        assert fit.loss[0] == nearest(Fraction(total) / 3, name)
        assert fit.state_w.tolist() == [fma(minus_lr, g, w) for g, w in zip(gradient, (a, b), strict=True)]


def test_an_epoch_of_float32_moments_by_hand():
    """n = 3, D = 1, everything in float64, loss and w rounded to float32 in the history only."""
    rng = np.random.default_rng(8)
    for _ in range(50):
        X, y = rng.standard_normal((3, 1)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
        w = float(rng.standard_normal())
        x, target = [float(v) for v in X[:, 0]], [float(v) for v in y]

        def fma(p, q, r):
            return nearest(Fraction(p) * Fraction(q) + Fraction(r), "float64")

        def moment(left, right):
            p = [a * b for a, b in zip(left, right, strict=True)]
            return (p[0] + p[2]) + p[1]

        G, c, yy = moment(x, x), moment(x, target), moment(target, target)
        r = fma(G, w, -c)
        loss = max(0.0, fma(w, r - c, yy)) / 3
        assert arbiter.moments_epoch(arbiter.compress(X, y), [w], "mean") == (loss, [2 / 3 * r])
        new_w = fma(-0.3, 2 / 3 * r, w)
        fit = arbiter.run(X, y, w0=[w], lr=0.3, epochs=1, algorithm="moments")
        assert fit.loss[0] == nearest(Fraction(loss), "float32")
        assert fit.state_w[0] == new_w
        assert fit.w[:, 0].tolist() == [nearest(Fraction(w), "float32"), nearest(Fraction(new_w), "float32")]


@pytest.mark.parametrize("scale_x", [1.0, 1e150, 1e-150])
@pytest.mark.parametrize("n", [3, 7, 25, 50, 99])
def test_an_epoch_of_float64_moments_is_the_rational_rounded_about_once(scale_x, n):
    """What double-double loses is of order n u² Σ|…|: on data without much cancellation it is below 1e-3 u of the result.

    The gradient is then rounded once more, by p + q: s and s′ are 2/n to twice the precision. The loss is rounded as L and by ÷ n.
    """
    X, y = data(n, 2, "float64", n)
    X, w = X * scale_x, [0.7 / scale_x, -1.3 / scale_x]
    moments = arbiter.compress(X, y)
    loss, g = arbiter.moments_epoch(moments, w, "mean")
    exact_loss, exact_g = exact_epoch(X, y, w)
    errors = [float(abs(Fraction(a) - b) / abs(b)) / U for a, b in [(loss, exact_loss), *zip(g, exact_g, strict=True)]]
    print("errors in units of u:", [f"{error:.3f}" for error in errors])
    assert errors[0] <= 2.001
    assert max(errors[1:]) <= 1.001


def test_double_double_keeps_every_digit_of_an_integer():
    """Moments near 2^66 and residuals below 10: hi and lo hold all 67 bits, so the loss and the gradient are exact (n = 64)."""
    rng = np.random.default_rng(14)
    X = rng.integers(2**30, 2**31, (64, 2)).astype(float)
    noise = rng.integers(-9, 10, 64).astype(float)
    loss, g = arbiter.moments_epoch(arbiter.compress(X, X @ [1.0, 2.0] - noise), [1.0, 2.0], "mean")
    assert loss == np.mean(noise**2)
    assert g == [float(v) / 32 for v in X.T @ noise]


def test_a_loss_below_zero_is_zero():
    """G = 0.03, c = 0.07, yy = 0.1 are no moments of any data: 0.1 + (r − c) w is negative at w = 2, where r − c = −0.08."""
    moments = arbiter.Moments(FORMATS["float32"], 1, [[0.03, 0.07], [0.07, 0.1]], None, [0, 0])
    assert arbiter.moments_epoch(moments, [2.0], "mean")[0] == 0
    zeros = [[0.0, 0.0], [0.0, 0.0]]
    moments = arbiter.Moments(FORMATS["float64"], 1, [[0.03, 0.07], [0.07, 0.1]], zeros, [0, 0])
    assert arbiter.moments_epoch(moments, [2.0], "mean")[0] == 0


def test_stream_within_the_bound_of_its_dtype():
    """|δg| = s|X|ᵀ(δ + a u|r|) + 3u|g|, δ = u((d + 2)(|X||w| + |y|)), a = the additions a sample passes through + 2."""
    X, y = data(5000, 2, "float32", 10)
    w = np.array([0.7, -1.3], np.float32)
    u, depth = 2.0**-24, 128 + 5 + 1 + 2
    fit = arbiter.run(X, y, w0=w, lr=1.0, epochs=1, algorithm="stream")
    A, b, v = X.astype(float), y.astype(float), w.astype(float)
    r = A @ v - b
    g = 2 / 5000 * A.T @ r
    delta = u * 4 * (abs(A) @ abs(v) + abs(b))
    bound = 2 / 5000 * abs(A).T @ (delta + depth * u * abs(r)) + 4 * u * abs(g) + u * (abs(v) + abs(g))
    assert np.all(abs(fit.state_w - (v - g)) <= bound)
    assert abs(fit.loss[0] - np.mean(r * r)) <= np.mean(2 * abs(r) * delta + delta**2 + depth * u * r * r) + 2 * u * fit.loss[0]


# ---------------------------------------------------------------------------------------------------------------- update rules


@pytest.mark.parametrize(
    ("hyper", "want"),
    [  # X = y = 1, so g(w) = 2(w − 1); w0 = 0, lr = 1/4: two steps by hand
        ({}, [0.5, 0.75]),
        ({"maximize": True}, [-0.5, -1.25]),
        ({"weight_decay": 1.0}, [0.5, 0.625]),  # g = −1 + 0.5
        ({"momentum": 0.5}, [0.5, 1.0]),  # v = −2, then −1 − 1
        ({"momentum": 0.5, "dampening": 0.5}, [0.5, 0.875]),  # v = −2, then −0.5 − 1
        ({"momentum": 0.5, "nesterov": True}, [0.75, 1.0625]),  # g = −3; then v = −0.5 − 1, g = −0.5 − 0.75
        ({"maximize": True, "weight_decay": 1.0}, [-0.5, -1.125]),  # g = 2; then 3 − 0.5: the penalty keeps its sign, as in torch
    ],
)
@pytest.mark.parametrize("algorithm", ["stream", "moments"])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_sgd_by_hand(hyper, want, algorithm, name):
    X, y = np.ones((4, 1), name), np.ones(4, name)
    fit = arbiter.run(X, y, lr=0.25, hyper=hyper, epochs=2, algorithm=algorithm)
    assert fit.w[:, 0].tolist() == [0, *want]
    assert fit.steps == 2


def test_hyperparameters_are_rounded_where_they_meet_the_state():
    X, y = np.ones((4, 1), np.float32), np.ones(4, np.float32)
    single = float(np.float32(0.1))
    assert arbiter.run(X, y, lr=0.1, epochs=1, algorithm="stream").state_w[0] == float(np.float32(2 * single))
    assert arbiter.run(X, y, lr=0.1, epochs=1, algorithm="moments").state_w[0] == 0.2
    # 1 − dampening is taken in float64: 1 − (1 − 1e-9) is about 1e-9; rounded to float32 first it would be 0
    fit = arbiter.run(X, y, lr=0.25, epochs=2, hyper={"momentum": 2.0**-40, "dampening": 1 - 1e-9}, algorithm="stream")
    share = nearest(Fraction(1 - (1 - 1e-9)), "float32")
    assert fit.slots[0, 0] == nearest(Fraction(share) * -1 - Fraction(2.0**-39), "float32")  # v = −2, then g = −1


# -------------------------------------------------------------------------------------------------- the overflow tail, which, when


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("hyper", [{}, {"momentum": 0.9}])
def test_a_fit_that_overflows_goes_over_to_stream(name, hyper):
    X, y = data(40, 2, name, 11)
    settings = {"lr": 1e6, "hyper": hyper, "intercept": True}
    fit = arbiter.run(X, y, epochs=60, algorithm="moments", **settings)
    t = fit.stream_from
    assert fit.algorithm == "stream"
    assert 0 < t < 60
    assert not np.isfinite(fit.w[-1]).any()
    head = arbiter.run(X, y, epochs=t - 1, algorithm="moments", **settings)
    assert head.algorithm == "moments"
    step = arbiter.run(X, y, w0=head.state_w, slots=head.slots, steps=head.steps, epochs=60 - t + 1, algorithm="moments", **settings)
    np.testing.assert_array_equal(step.w, fit.w[t - 1 :])  # from the state: the same bits
    np.testing.assert_array_equal(step.loss, fit.loss[t - 1 :])
    omega = FORMATS[name].omega
    assert np.all(abs(fit.w[:t].astype(float)) <= omega)
    assert np.all(fit.loss[:t].astype(float) <= omega)
    # row t is stream's: it is what stream makes of the state rounded to T
    tail = arbiter.run(X, y, w0=fit.w[t], epochs=0, algorithm="stream", **settings)
    assert same(float(tail.loss[0]), float(fit.loss[t]))


def test_overflow_limits_by_hand():
    moments = arbiter.compress(np.array([[3.0, 0.0], [4.0, 1.0]], np.float32), np.zeros(2, np.float32))
    assert arbiter.overflow_limits(moments) == (2.0**120 / 10, 2.0**119)  # M = 5; (Ω/10)² > Ω, and n = 2
    moments = arbiter.compress(np.array([[0.0]]), np.ones(1))
    assert arbiter.overflow_limits(moments) == (2.0**1000, 2.0**1000)
    moments = arbiter.compress(np.array([[2.0**600]]), np.ones(1))
    assert arbiter.overflow_limits(moments) == (2.0**400, 2.0**798)  # (2^1000 / 2^601)²


def test_float32_stays_float32_without_the_help_of_fmaf():
    """C's fmaf rounds whatever it is given; here every operand is asked to be a float32 already."""

    def fma(*operands):
        assert all(same(float(np.float32(v)), v) for v in operands)
        return arbiter.fma32_exactly(*operands)

    T = dataclasses.replace(FORMATS["float32"], fma=fma)
    X, y = data(40, 2, "float32", 15)
    w, v, hyper = [0.5, -0.25], [0.125, 0.75], {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.3, "nesterov": True}
    _, g = arbiter.stream_epoch(T, arbiter.columns_of(X, False), y.tolist(), w, "mean")
    new_w, new_v, _ = arbiter.sgd(T, w, v, g, 1, 0.1, arbiter.HYPER | hyper)
    fit = arbiter.run(X, y, w0=w, slots=[v], steps=1, lr=0.1, hyper=hyper, epochs=1, algorithm="stream")
    assert (fit.state_w.tolist(), fit.slots[0].tolist()) == (new_w, new_v)


def test_the_state_is_rounded_when_stream_takes_over():
    fit = arbiter.run(
        np.ones((1, 1), np.float32), np.ones(1, np.float32), w0=[2.0**121 / 3], slots=[[0.1]], lr=0.1, epochs=0, algorithm="moments"
    )
    assert fit.stream_from == 0
    assert fit.state_w[0] == float(np.float32(2.0**121 / 3))
    assert fit.slots[0, 0] == float(np.float32(0.1))


def test_what_hands_over_to_stream():
    """Each of the tests alone, with Ω = 2^120: w, the loss; then the update's slot, product and new w. The second column is zero."""
    X, y = np.array([[1, 0]], np.float32), np.ones(1, np.float32)

    def stream_from(epochs=0, lr=0.0, y=y, w0=None, **hyper):
        return arbiter.run(X, y, w0=w0, lr=lr, epochs=epochs, algorithm="moments", hyper=hyper).stream_from

    large = [0, 2.0**119]  # D · M · |w| = Ω
    assert stream_from(w0=large) is None
    assert stream_from(w0=[0, 2.0**119 * 1.5]) == 0
    assert stream_from(y=y * np.float32(2.0**60)) is None  # n · loss = Ω, and (Ω / 2M)² is more
    assert stream_from(y=y * np.float32(2.0**61)) == 0
    assert stream_from(1, lr=1 / 8, w0=large, weight_decay=3.0) is None  # g = 3 · 2^119 is asked only as a slot
    assert stream_from(1, lr=1 / 8, w0=large, weight_decay=3.0, momentum=0.5) == 0
    assert stream_from(1, lr=3.0, w0=large, weight_decay=1.0) == 0  # lr·g = 3 · 2^119, w = −2^120
    assert stream_from(1, lr=2.0, w0=large, weight_decay=-1.0) == 0  # lr·g = −2^120, w = 3 · 2^119
    assert stream_from(1, lr=0.5, w0=large, weight_decay=-1.0) == 1  # w = 1.5 · 2^119 is below Ω, but not within w_limit


def test_auto():
    X, y = data(6, 3, "float64", 12)
    assert arbiter.run(X, y, lr=0.1, epochs=0).algorithm == "stream"  # n = 2d
    assert arbiter.run(X, y, lr=0.1, epochs=0, algorithm="moments").algorithm == "moments"
    X, y = data(7, 3, "float64", 12)
    assert arbiter.run(X, y, lr=0.1, epochs=0, intercept=True).algorithm == "moments"  # d is the features', without the intercept
    y[3] = math.nan
    assert arbiter.run(X, y, lr=0.1, epochs=0).algorithm == "stream"
    assert arbiter.choose_algorithm("auto", 10_000, 257, lambda: pytest.fail("not needed")) == "stream"


@pytest.mark.parametrize("algorithm", ["stream", "moments"])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_stopping_and_resuming(algorithm, name):
    X, y = data(30, 2, name, 13)
    free = arbiter.run(X, y, lr=0.2, epochs=40, algorithm=algorithm)
    loss = free.loss.astype(float)
    t = next(t for t in range(1, 41) if 0 <= loss[t - 1] - loss[t] <= 1e-3 * loss[t - 1])
    fit = arbiter.run(X, y, lr=0.2, epochs=40, algorithm=algorithm, tol=1e-3)
    assert fit.converged == fit.steps == t
    assert 1 < t < 40
    np.testing.assert_array_equal(fit.w[:t], free.w[:t])
    np.testing.assert_array_equal(fit.w[t:], np.broadcast_to(free.w[t], fit.w[t:].shape))
    np.testing.assert_array_equal(fit.loss[t:], np.full(41 - t, free.loss[t]))
    first = arbiter.run(X, y, lr=0.2, epochs=4, algorithm=algorithm, hyper={"momentum": 0.9})
    then = arbiter.run(X, y, w0=first.state_w, slots=first.slots, steps=4, lr=0.2, epochs=6, algorithm=algorithm, hyper={"momentum": 0.9})
    whole = arbiter.run(X, y, lr=0.2, epochs=10, algorithm=algorithm, hyper={"momentum": 0.9})
    np.testing.assert_array_equal(np.concatenate([first.w, then.w[1:]]), whole.w)
    np.testing.assert_array_equal(then.state_w, whole.state_w)
    assert free.converged is None
