"""The arbiter's epochs and runs: against exact rationals and by hand."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from tests.specification import arbiter
from tests.specification.arbiter import FORMATS, same
from tests.specification.rationals import data, exact_epoch, nearest

U = 2.0**-53

# ---------------------------------------------------------------------------------------- one epoch


@pytest.mark.parametrize("algorithm", ["stream", "moments"])
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (64, 3), (4096 * 2, 2)])
def test_an_epoch_on_small_integers_is_exact(algorithm, name, reduction, n, d):
    """n is a power of two and every intermediate number is an integer (or a quarter of one) below
    2^24: nothing is rounded in any order."""
    rng = np.random.default_rng(n)
    X, y = rng.integers(-3, 4, (n, d)).astype(name), rng.integers(-5, 6, n).astype(name)
    w = [0.5, -1.0, 1.5][:d]
    loss, g = exact_epoch(X, y, w, reduction)
    fit = arbiter.run(X, y, w0=w, lr=0.25, epochs=1, reduction=reduction, algorithm=algorithm)
    assert fit.state.algorithm == algorithm
    assert Fraction(float(fit.loss[0])) == loss
    assert fit.w[0].tolist() == w
    assert [Fraction(v) for v in fit.state.w] == [Fraction(a) - b / 4 for a, b in zip(w, g, strict=True)]


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_an_epoch_of_stream_by_hand(name):
    """n = 3, D = 1 + intercept, written out rounding by rounding with rationals: lanes 0, 1, 2 meet
    as (0 + 2) + 1."""
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
        assert fit.state.w.tolist() == [fma(minus_lr, g, w) for g, w in zip(gradient, (a, b), strict=True)]


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
        fit = arbiter.run(X, y, state=arbiter.State(np.array([w]), np.zeros((1, 1)), 0, "moments"), lr=0.3, epochs=1)
        assert fit.loss[0] == nearest(Fraction(loss), "float32")
        assert fit.state.w[0] == new_w
        assert fit.w[:, 0].tolist() == [nearest(Fraction(w), "float32"), nearest(Fraction(new_w), "float32")]


@pytest.mark.parametrize("scale_x", [1.0, 1e150, 1e-150])
@pytest.mark.parametrize("n", [3, 7, 25, 50, 99])
def test_an_epoch_of_float64_moments_is_the_rational_rounded_about_once(scale_x, n):
    """What double-double loses is of order n u² Σ|…|: on data without much cancellation it is below
    1e-3 u of the result.

    The gradient is then rounded once more, by p + q: s and s′ are 2/n to twice the precision. The
    loss is rounded as L and by ÷ n.
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
    """Moments near 2^66 and residuals below 10: hi and lo hold all 67 bits, so the loss and the
    gradient are exact (n = 64)."""
    rng = np.random.default_rng(14)
    X = rng.integers(2**30, 2**31, (64, 2)).astype(float)
    noise = rng.integers(-9, 10, 64).astype(float)
    loss, g = arbiter.moments_epoch(arbiter.compress(X, X @ [1.0, 2.0] - noise), [1.0, 2.0], "mean")
    assert loss == np.mean(noise**2)
    assert g == [float(v) / 32 for v in X.T @ noise]


def test_a_loss_below_zero_is_zero():
    """G = 0.03, c = 0.07, yy = 0.1 are no moments of any data: 0.1 + (r − c) w is negative at w =
    2, where r − c = −0.08."""
    moments = arbiter.Moments(FORMATS["float32"], 1, [[0.03, 0.07], [0.07, 0.1]], None, [0, 0])
    assert arbiter.moments_epoch(moments, [2.0], "mean")[0] == 0
    zeros = [[0.0, 0.0], [0.0, 0.0]]
    moments = arbiter.Moments(FORMATS["float64"], 1, [[0.03, 0.07], [0.07, 0.1]], zeros, [0, 0])
    assert arbiter.moments_epoch(moments, [2.0], "mean")[0] == 0


def test_stream_within_the_bound_of_its_dtype():
    """|δg| = s|X|ᵀ(δ + a u|r|) + 3u|g|, δ = u((d + 2)(|X||w| + |y|)), a = the additions a sample
    passes through + 2."""
    X, y = data(5000, 2, "float32", 10)
    w = np.array([0.7, -1.3], np.float32)
    u, depth = 2.0**-24, 128 + 5 + 1 + 2
    fit = arbiter.run(X, y, w0=w, lr=1.0, epochs=1, algorithm="stream")
    A, b, v = X.astype(float), y.astype(float), w.astype(float)
    r = A @ v - b
    g = 2 / 5000 * A.T @ r
    delta = u * 4 * (abs(A) @ abs(v) + abs(b))
    bound = 2 / 5000 * abs(A).T @ (delta + depth * u * abs(r)) + 4 * u * abs(g) + u * (abs(v) + abs(g))
    assert np.all(abs(fit.state.w - (v - g)) <= bound)
    assert abs(fit.loss[0] - np.mean(r * r)) <= np.mean(2 * abs(r) * delta + delta**2 + depth * u * r * r) + 2 * u * fit.loss[0]


# ------------------------------------------------------------------------------------- update rules


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
    assert fit.state.steps == 2


def test_hyperparameters_are_rounded_where_they_meet_the_state():
    X, y = np.ones((4, 1), np.float32), np.ones(4, np.float32)
    single = float(np.float32(0.1))
    assert arbiter.run(X, y, lr=0.1, epochs=1, algorithm="stream").state.w[0] == float(np.float32(2 * single))
    assert arbiter.run(X, y, lr=0.1, epochs=1, algorithm="moments").state.w[0] == 0.2
    # 1 − dampening is taken in float64: 1 − (1 − 1e-9) is about 1e-9; rounded to float32 first it
    # would be 0
    fit = arbiter.run(X, y, lr=0.25, epochs=2, hyper={"momentum": 2.0**-40, "dampening": 1 - 1e-9}, algorithm="stream")
    share = nearest(Fraction(1 - (1 - 1e-9)), "float32")
    assert fit.state.slots[0, 0] == nearest(Fraction(share) * -1 - Fraction(2.0**-39), "float32")  # v = −2, then g = −1


# ------------------------------------------------------------------- the overflow tail, which, when


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("hyper", [{}, {"momentum": 0.9}])
@pytest.mark.parametrize(("lr", "hands_over"), [("giant", "update"), ("large", "row"), ("small", "row")])
def test_a_fit_that_overflows_goes_over_to_stream(name, hyper, lr, hands_over):
    X, y = data(40, 2, name, 11)
    safe = arbiter.safe_rate(arbiter.compress(X, y, True))
    lr = {"giant": FORMATS[name].omega * 8, "large": 1e6, "small": 6 * safe}[lr]  # the loss passes its limit before lr · g, but for a giant
    settings = {"lr": lr, "hyper": hyper, "intercept": True}
    epochs = {"float32": 80, "float64": 600}[name] if lr < 1e6 else 60
    fit = arbiter.run(X, y, epochs=epochs, algorithm="moments", **settings)
    t, how = fit.handover
    assert how == hands_over
    assert fit.state.algorithm == "stream"
    assert 0 <= t < epochs - 2
    assert not np.isfinite(fit.w[-1]).any()
    assert not np.isfinite(fit.loss[fit.first_bad]) or not np.isfinite(fit.w[fit.first_bad]).all()
    assert np.isfinite(fit.loss[: fit.first_bad]).all()
    for cut in {0, max(0, t - 1), t, t + 1}:  # from the state: the same bits
        head = arbiter.run(X, y, epochs=cut, algorithm="moments", **settings)
        assert head.state.algorithm == ("moments" if cut < t or (cut == t and how == "update") else "stream")
        step = arbiter.run(X, y, state=head.state, epochs=epochs - cut, **settings)
        np.testing.assert_array_equal(np.concatenate([head.w[:-1], step.w]), fit.w)
        np.testing.assert_array_equal(np.concatenate([head.loss, step.loss[1:]]), fit.loss)
    omega = FORMATS[name].omega
    assert np.all(abs(fit.w[:t].astype(float)) <= omega)
    assert np.all(fit.loss[:t].astype(float) <= omega)
    # what stream makes of row t and the slots, all rounded to T, is what follows
    here = arbiter.run(X, y, epochs=t, algorithm="moments", **settings)
    rounded = arbiter.State(here.state.w.astype(name), here.state.slots.astype(name), t, "stream")
    tail = arbiter.run(X, y, state=rounded, epochs=epochs - t, **settings)
    np.testing.assert_array_equal(tail.w, fit.w[t:])
    np.testing.assert_array_equal(tail.loss[1:], fit.loss[t + 1 :])
    assert same(float(tail.loss[0]), float(fit.loss[t])) or how == "update"
    assert same(float(here.loss[t]), float(fit.loss[t]))  # the last row of a short fit is the same row of a longer one


def test_the_row_of_an_update_that_overflows_is_that_of_the_moments():
    X, y = data(1000, 1, "float32", 18)
    settings = {"w0": [0.1], "lr": 1e38, "algorithm": "moments"}
    fit = arbiter.run(X, y, epochs=3, **settings)
    stream = arbiter.run(X, y, epochs=3, **settings | {"algorithm": "stream"})
    assert fit.handover == (0, "update")
    assert fit.loss[0] == arbiter.run(X, y, epochs=0, **settings).loss[0] != stream.loss[0]
    np.testing.assert_array_equal(fit.w, stream.w)


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
    state = arbiter.State(np.array(w), np.array([v]), 1, "stream")
    fit = arbiter.run(X, y, state=state, lr=0.1, hyper=hyper, epochs=1)
    assert (fit.state.w.tolist(), fit.state.slots[0].tolist()) == (new_w, new_v)


def test_the_state_is_rounded_when_stream_takes_over_and_a_given_start_always():
    X, y = np.ones((1, 1), np.float32), np.ones(1, np.float32)
    state = arbiter.State(np.array([2.0**121 / 3]), np.array([[0.1]]), 1, "moments")
    fit = arbiter.run(X, y, state=state, lr=0.1, epochs=0)
    assert fit.handover == (0, "row")
    assert fit.state.w[0] == float(np.float32(2.0**121 / 3))
    assert fit.state.slots[0, 0] == float(np.float32(0.1))
    assert arbiter.run(X, y, w0=[0.1], lr=0.1, epochs=0, algorithm="moments").state.w[0] == float(np.float32(0.1))
    state = arbiter.State(np.array([0.1]), np.array([[0.1]]), 1, "moments")
    assert arbiter.run(X, y, state=state, lr=0.1, epochs=0).state.w[0] == 0.1


def test_what_hands_over_to_stream():
    """Each of the tests alone, with Ω = 2^120: w, the loss; then the update's slot, product and new
    w. The second column is zero."""
    X, y = np.array([[1, 0]], np.float32), np.ones(1, np.float32)

    def handover(epochs=0, lr=0.0, y=y, w=None, v=0.0, **hyper):
        state = None if w is None else arbiter.State(np.array(w), np.full((1, 2), v), 1, "moments")
        return arbiter.run(X, y, state=state, lr=lr, epochs=epochs, algorithm="moments", hyper=hyper).handover

    large = [0, 2.0**119]  # D · M · |w| = Ω
    assert handover(w=large) is None
    assert handover(w=[0, 2.0**119 * 1.5]) == (0, "row")
    assert handover(y=y * np.float32(2.0**60)) is None  # n · loss = Ω, and (Ω / 2M)² is more
    assert handover(y=y * np.float32(2.0**61)) == (0, "row")
    assert handover(1, lr=1 / 8, w=large, weight_decay=3.0) is None  # g = 3 · 2^119 is asked only as a slot
    assert handover(1, lr=1 / 8, w=large, weight_decay=3.0, momentum=0.5) == (0, "update")
    assert handover(1, lr=1 / 8, w=large, v=2.0**121) is None  # a slot that the rule leaves alone is not asked
    assert handover(1, lr=3.0, w=large, weight_decay=1.0) == (0, "update")  # lr·g = 3 · 2^119, w = −2^120
    assert handover(0, lr=3.0, w=large, weight_decay=1.0) is None  # no update follows
    assert handover(1, lr=2.0, w=large, weight_decay=-1.0) == (0, "update")  # lr·g = −2^120, w = 3 · 2^119
    assert handover(1, lr=0.5, w=large, weight_decay=-1.0) == (1, "row")  # w = 1.5 · 2^119 is below Ω, but not within w_limit


def test_no_target_no_scale():
    """y = 0: k_y is the largest k_j; with −1022, that of a column of zeros, 2^-300 would be scaled
    by 2^1322."""
    X, y = np.array([[2.0**300, 2.0**-300]]), np.zeros(1)
    loss, g = arbiter.moments_epoch(arbiter.compress(X, y), [2.0**-300, 0.0], "mean")
    assert (loss, g) == (1.0, [2.0**301, 2.0**-299])


def test_auto():
    X, y = data(6, 3, "float64", 12)
    assert arbiter.run(X, y, lr=0.1, epochs=0).state.algorithm == "stream"  # n = 2d
    assert arbiter.run(X, y, lr=0.1, epochs=0, algorithm="moments").state.algorithm == "moments"
    X, y = data(7, 3, "float64", 12)
    assert arbiter.run(X, y, lr=0.1, epochs=0, intercept=True).state.algorithm == "moments"  # d is the features', without the intercept
    y[3] = math.nan
    assert arbiter.run(X, y, lr=0.1, epochs=0).state.algorithm == "stream"
    assert arbiter.choose_algorithm("auto", 10_000, 257, lambda: pytest.fail("not needed")) == "stream"


@pytest.mark.parametrize("algorithm", ["stream", "moments"])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_stopping_and_resuming(algorithm, name):
    X, y = data(30, 2, name, 13)
    free = arbiter.run(X, y, lr=0.2, epochs=40, algorithm=algorithm)
    loss, w = free.loss.astype(float), np.linalg.lstsq(X.astype(float), y.astype(float), rcond=None)[0]
    least = np.mean((X.astype(float) @ w - y) ** 2)
    t = next(t for t in range(1, 41) if loss[t] - least <= 1e-3 * (loss[0] - least))
    given = arbiter.Least(least, 0.0) if algorithm == "stream" else None
    fit = arbiter.run(X, y, lr=0.2, epochs=40, algorithm=algorithm, tol=1e-3, least=given)
    assert fit.converged == fit.state.steps == t
    assert 1 < t < 40
    np.testing.assert_array_equal(fit.w[:t], free.w[:t])
    np.testing.assert_array_equal(fit.w[t:], np.broadcast_to(free.w[t], fit.w[t:].shape))
    np.testing.assert_array_equal(fit.loss[t:], np.full(41 - t, free.loss[t]))
    first = arbiter.run(X, y, lr=0.2, epochs=4, algorithm=algorithm, hyper={"momentum": 0.9})
    then = arbiter.run(X, y, state=first.state, lr=0.2, epochs=6, hyper={"momentum": 0.9})
    whole = arbiter.run(X, y, lr=0.2, epochs=10, algorithm=algorithm, hyper={"momentum": 0.9})
    np.testing.assert_array_equal(np.concatenate([first.w, then.w[1:]]), whole.w)
    np.testing.assert_array_equal(then.state.w, whole.state.w)
    assert free.converged is None
    np.testing.assert_array_equal(then.state.slots, whole.state.slots)
    assert then.state.steps == 10
    assert arbiter.run(X, y, lr=0.2, epochs=40, algorithm=algorithm, tol=-1.0).converged is None


def test_no_convergence_after_a_row_that_is_not_finite():
    """w0 = 2^600 squares to inf, then the fit comes home and stands still."""
    X, y, given = np.ones((4, 1)), np.zeros(4), arbiter.Least(0.0, 0.0)
    fit = arbiter.run(X, y, w0=[2.0**600], lr=0.5, epochs=4, algorithm="stream", tol=0.5, least=given)
    assert fit.loss.tolist() == [np.inf, 0, 0, 0, 0]
    assert (fit.first_bad, fit.converged) == (0, None)
    assert arbiter.run(X, y, w0=[1.0], lr=0.5, epochs=4, algorithm="stream", tol=0.5, least=given).converged == 1
