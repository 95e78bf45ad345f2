"""The arbiter's words, sums, moments and λ: against exact rationals, orders written out by hand,
and bounds derived here."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest

from tests.specification import arbiter
from tests.specification.arbiter import FLOAT32, FLOAT64, FORMATS, same
from tests.specification.rationals import data, exact_moments, fma_by_fractions, nearest

U = 2.0**-53
EXACT_FMA = {"float32": arbiter.fma32_exactly, "float64": arbiter.fma64_exactly}


def random_operands(T, rng, count):
    """Random significands, long and short, at exponents where something happens: the middle, the
    bottom, the top, near cancellation."""
    for _ in range(count):
        exponents = rng.choice([(0, 0), (T.smallest // 2, T.smallest // 2), (T.top // 2 - 1, T.top // 2 - 1), (T.smallest + 5, 3)])
        a, b = (
            T.round(math.ldexp(rng.choice([-1, 1]) * (1 + rng.getrandbits(bits) / 2**bits), e + rng.randint(-3, 3)))
            for e, bits in zip(exponents, rng.choices([3, 12, T.digits - 1], k=2), strict=True)
        )
        near = T.round(-a * b)
        others = [T.round(near * (1 + 2.0 ** (1 - T.digits))), T.round(near * rng.uniform(-2, 2)), T.round(rng.uniform(-2, 2))]
        yield a, b, rng.choice([near, -0.0, *others])


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_fma_is_the_rational_rounded_once(name):
    T = FORMATS[name]
    for a, b, c in chain(arbiter.nasty_fma(name), random_operands(T, random.Random(1), 20_000)):
        want = fma_by_fractions(a, b, c, name)
        assert same(EXACT_FMA[name](a, b, c), want), (a, b, c)
        assert same(T.fma(a, b, c), want), (a, b, c)


@pytest.mark.parametrize(
    ("a", "b", "c", "want"),
    [
        (2.0**-600, -(2.0**-600), 0.0, -0.0),  # an underflowing negative product
        (2.0**-600, -(2.0**-600), -0.0, -0.0),
        (-0.0, 1.0, 0.0, 0.0),
        (-0.0, 1.0, -0.0, -0.0),
        (3.0, 2.0, -6.0, 0.0),  # exact cancellation
        (-3.0, 2.0, 6.0, 0.0),
        (2.0**1023, 2.0, -(2.0**1023), 2.0**1023),  # the product alone overflows
        (2.0**1000, 2.0**1000, -math.inf, -math.inf),  # and is not an infinity
        (2.0**-537, 2.0**-538, 0.0, 0.0),  # half the smallest subnormal: a tie, to even
        (2.0**-537, 2.0**-538, 2.0**-1074, 2.0**-1073),  # the same tie, from the odd side
        (1 + 2.0**-52, 1 - 2.0**-52, -1.0, -(2.0**-104)),
        (math.inf, 0.0, 1.0, math.nan),
        (math.inf, 1.0, -math.inf, math.nan),
    ],
)
def test_fma_by_hand(a, b, c, want):
    assert same(arbiter.fma64_exactly(a, b, c), want)
    assert same(arbiter.fma64(a, b, c), want)


def test_library_fma_that_is_wrong_or_missing_is_not_used():
    assert arbiter.library_fma("no_such_function", arbiter.ctypes.c_double, arbiter.fma64_exactly, "float64") is arbiter.fma64_exactly
    # fmax takes two of the three arguments: a function that is there and is not fma
    assert arbiter.library_fma("fmax", arbiter.ctypes.c_double, arbiter.fma64_exactly, "float64") is arbiter.fma64_exactly


def test_float32_operations_are_rounded_once():
    rng = random.Random(2)
    for a, b, _ in random_operands(FLOAT32, rng, 5000):
        for value, exact in (
            (a + b, Fraction(a) + Fraction(b)),
            (a * b, Fraction(a) * Fraction(b)),
            (arbiter.divide(a, b), Fraction(a) / Fraction(b) if b else None),
        ):
            if exact:
                assert same(FLOAT32.round(value), nearest(exact, "float32")), (a, b)


def test_formats():
    assert FLOAT32.round(1e39) == math.inf
    assert FLOAT32.round(2.0**-150) == 0
    assert FLOAT32.round(2.0**-149 * 1.5) == 2.0**-148
    assert FLOAT64.round(0.1) == 0.1


@pytest.mark.parametrize(("a", "b", "want"), [(1.0, 0.0, math.inf), (-1.0, 0.0, -math.inf), (1.0, -0.0, -math.inf), (0.0, 0.0, math.nan)])
def test_division_by_zero(a, b, want):
    assert same(arbiter.divide(a, b), want)


def test_pow2_and_scale():
    assert [arbiter.pow2(e) for e in (-1075, -1074, 0, 1023)] == [0.0, 5e-324, 1.0, 2.0**1023]
    assert arbiter.scale(2.0**-1000, 2000) == 2.0**1000
    assert arbiter.scale(1.0, -3) == 0.125  # ⌊−3/2⌋ = −2, then −1
    assert arbiter.scale(2.0**1023, -2046) == 2.0**-1023
    # ⌊−5/2⌋ = −3 first: 19/8 → 2, 2/4 = ½ → 0 (to even), in units of the smallest subnormal; −2
    # first would give 19/4 → 5, 5/8 → 1
    assert arbiter.scale(19 * 2.0**-1074, -5) == 0.0


# ------------------------------------------------------------------------------------ double-double


def test_two_sum_is_exact():
    rng = random.Random(3)
    for _ in range(2000):
        a, b = (rng.uniform(-1, 1) * 2.0 ** rng.randint(-60, 60) for _ in range(2))
        s, error = arbiter.two_sum(a, b)
        assert s == a + b
        assert Fraction(s) + Fraction(error) == Fraction(a) + Fraction(b)
        if abs(a) >= abs(b):
            assert arbiter.fast_two_sum(a, b) == (s, error)


def test_dd_add_within_its_bound():
    """Joldes, Muller and Popescu (2017), theorem 3.1: the relative error of AccurateDWPlusDW is at
    most 3u² + 13u³."""
    rng = random.Random(4)
    bound = Fraction(3 * U * U) + Fraction(13 * U**3)
    worst = Fraction(0)
    for _ in range(3000):
        a, b = (rng.uniform(-1, 1) * 2.0 ** rng.randint(-3, 3) for _ in range(2))
        pairs = [(v, v * U * rng.uniform(-0.9, 0.9)) for v in (a, b if rng.random() < 0.5 else -a * (1 + 2.0**-20))]
        pairs = [arbiter.fast_two_sum(*pair) for pair in pairs]
        exact = sum(Fraction(part) for pair in pairs for part in pair)
        hi, lo = arbiter.dd_add(*pairs)
        assert hi == hi + lo
        worst = max(worst, abs(Fraction(hi) + Fraction(lo) - exact) / abs(exact))
    print(f"dd_add used {float(worst / bound):.2f} of the bound")
    assert worst <= bound
    assert arbiter.dd_add((1.0, 2.0**-60), (2.0**-55, -(2.0**-110))) == (1.0, 2.0**-55 + 2.0**-60)  # −2^-110 is 2^-55 of the low part


# -------------------------------------------------------------------------------- the order of sums


def symbol_sum(left, right):
    return f"({left}+{right})"


def test_butterfly_order_by_hand():
    lanes = [str(i) for i in range(32)]
    by_16 = [f"({i}+{i + 16})" for i in range(16)]
    by_8 = [f"({by_16[i]}+{by_16[i + 8]})" for i in range(8)]
    want = (
        f"((({by_8[0]}+{by_8[4]})+({by_8[2]}+{by_8[6]}))"
        f"+(({by_8[1]}+{by_8[5]})+({by_8[3]}+{by_8[7]})))"
    )  # fmt: skip
    assert arbiter.butterfly(lanes, symbol_sum) == want
    assert lanes == [str(i) for i in range(32)]


@pytest.mark.parametrize(
    ("count", "want"),
    [
        (1, "a"),
        (2, "(a+b)"),
        (3, "((a+b)+c)"),
        (5, "(((a+b)+(c+d))+e)"),
        (6, "(((a+b)+(c+d))+(e+f))"),
        (7, "(((a+b)+(c+d))+((e+f)+g))"),
        (9, "((((a+b)+(c+d))+((e+f)+(g+h)))+i)"),
        (11, "((((a+b)+(c+d))+((e+f)+(g+h)))+((i+j)+k))"),
    ],
)
def test_pairwise_order_by_hand(count, want):
    assert arbiter.pairwise(list("abcdefghijk")[:count], symbol_sum) == want


def test_lanes_and_chunks_take_their_samples_in_order():
    seen = []
    arbiter.sum_over_samples(4096 + 70, lambda samples: seen.append(list(samples)) or 0, lambda a, b: 0)
    assert len(seen) == 64
    assert seen[0] == list(range(0, 4096, 32))
    assert seen[31] == list(range(31, 4096, 32))
    assert seen[32:39] == [[4096 + i, 4128 + i, 4160 + i] for i in range(6)] + [[4102, 4134]]
    assert seen[63] == [4127, 4159]
    assert arbiter.chunks_of(4096) == [(0, 4096)]
    assert arbiter.chunks_of(4097) == [(0, 4096), (4096, 4097)]


def test_the_order_shows_in_float32():
    """1 + 2^-24 is 1 in float32: what is added to what decides whether the small parts are lost."""
    one, small = 1.0, 2.0**-24
    y = np.zeros(64, np.float32)
    X = np.zeros((64, 1), np.float32)

    def loss_sum(squares):  # with w = 0 the residual is −y
        y[:] = 0
        for i, value in squares.items():
            y[i] = math.sqrt(value)
        return arbiter.run(X, y, lr=0.0, epochs=0, algorithm="stream").loss[0] * 64

    assert loss_sum({0: one, 1: small, 2: small}) == 1  # (0 + 2) + (1 + 3): each small part meets the 1 alone
    assert loss_sum({0: one, 1: small, 3: small}) == 1 + 2.0**-23  # 1 and 3 meet first
    assert loss_sum({0: one, 16: small, 32: small}) == 1  # lane 0: 1 + small; then + lane 16
    assert loss_sum({0: one, 1: small, 33: small}) == 1 + 2.0**-23  # lane 1 has both


# ----------------------------------------------------------------------------------------- compress


@pytest.mark.parametrize("n", [1, 31, 33, 1000, 4096 + 65, 3 * 4096])
def test_float32_moments_within_the_bound_of_summation(n):
    """A sample passes through (its lane's samples) + 5 + (levels of chunks) additions at most, each
    with an error of u."""
    X, y = data(n, 2, "float32", n, spread=10)
    depth = min(n, 4096) // 32 + 1 + 5 + math.ceil(math.log2(max(1, n / 4096)))
    moments = arbiter.compress(X, y, intercept=True)
    assert moments.D == 3
    assert moments.hi[2][2] == n
    for i, j, exact, size in exact_moments(X, y, True):
        assert abs(Fraction(moments.hi[i][j]) - exact) <= Fraction(depth * U * (1 + 1e-9)) * size
        assert moments.hi[i][j] == moments.hi[j][i]


@pytest.mark.parametrize("n", [1, 33, 1000, 4096 + 65])
def test_float64_moments_within_the_bound_of_the_compensated_dot_product(n):
    """In a lane of m samples s + c misses the sum by at most γ_m γ_2m Σ|p| ≤ 3 m² u² Σ|p|.

    (Every p + e and every TwoSum is exact; c adds 2m errors of size at most u Σ|p| each in 2m
    additions.) Each dd_add adds 4u².
    """
    X, y = data(n, 2, "float64", n, spread=10)
    m = min(n, 4096) // 32 + 1
    bound = Fraction((3 * m * m + 4 * (5 + 1)) * U * U)
    moments = arbiter.compress(X, y, intercept=True)
    k = moments.exponents
    worst = 0.0
    for i, j, exact, size in exact_moments(X, y, True):
        value = (Fraction(moments.hi[i][j]) + Fraction(moments.lo[i][j])) * Fraction(2) ** (k[i] + k[j])
        worst = max(worst, float(abs(value - exact) / (bound * size)))
    print(f"double-double moments used {worst:.3f} of the bound")
    assert worst <= 1


def test_a_lane_of_the_compensated_dot_product_step_by_step():
    """p + e = a·b and (s, q) exactly; then two roundings: q + e, and c + that."""
    rng = random.Random(5)
    for _ in range(100):
        a, b = ([rng.uniform(-1, 1) * 2.0 ** rng.randint(-8, 0) for _ in range(99)] for _ in range(2))
        s = c = 0.0
        for i in (2, 34, 66, 98):
            p = nearest(Fraction(a[i]) * Fraction(b[i]), "float64")
            e = float(Fraction(a[i]) * Fraction(b[i]) - Fraction(p))
            q = float(Fraction(s) + Fraction(p) - Fraction(s + p))
            s, c = s + p, c + (q + e)
        hi = s + c
        assert arbiter.dot_of_lane(a, b, range(2, 99, 32)) == (hi, float(Fraction(s) + Fraction(c) - Fraction(hi)))


def test_exponents():
    tiny = 2.0**-1074
    assert arbiter.exponent_of_largest([0.0, -0.0]) == -1022
    assert arbiter.exponent_of_largest([tiny]) == -1022
    assert arbiter.exponent_of_largest([2.0**-1022]) == -1022
    assert arbiter.exponent_of_largest([2.0**-1021, math.nan]) == -1021
    assert arbiter.exponent_of_largest([-1.0, 0.5]) == 0
    assert arbiter.exponent_of_largest([math.nextafter(2.0, 0)]) == 0
    assert arbiter.exponent_of_largest([2.0, -1.0]) == 1
    assert arbiter.exponent_of_largest([1e308, -math.inf]) == 1023
    assert arbiter.exponent_of_largest([-1.7e308]) == 1023
    assert arbiter.exponent_of_largest([math.nan]) == -1022


def test_scaling_at_the_ends_of_the_range():
    """Huge, tiny, subnormal and zero columns: the squares would overflow or vanish, the scaled
    moments do neither."""
    tiny = 2.0**-1074
    X = np.array([[1e150, 1e-150, 3 * tiny, 0.0], [-3e150, 2e-150, tiny, 0.0]])
    y = np.array([2.0**1000, 2.0**999])
    moments = arbiter.compress(X, y)
    k = moments.exponents
    assert k == [499, -498, -1022, -1022, 1000]
    assert k[0] == math.frexp(3e150)[1] - 1
    assert k[1] == math.frexp(2e-150)[1] - 1
    assert moments.finite
    for i, j, exact, size in exact_moments(X, y, False):
        value = (Fraction(moments.hi[i][j]) + Fraction(moments.lo[i][j])) * Fraction(2) ** (k[i] + k[j])
        assert abs(value - exact) <= size * Fraction(2) ** -104, (i, j)  # two samples: relative to 4u², nothing has vanished


def test_chunks_of_unlike_size_are_aligned():
    """Chunk 0 is all 2^-300, chunk 1 has one sample 1 and 2^20: the exponents of the sum are the
    larger ones."""
    X = np.full((4097, 1), 2.0**-300)
    X[-1] = 1.0
    y = np.full(4097, 2.0**30)
    y[-1] = 2.0**20
    moments = arbiter.compress(X, y)
    assert moments.exponents == [0, 30]
    assert (moments.hi[0][0], moments.lo[0][0]) == (1.0, 4096 * 2.0**-600)
    assert moments.hi[0][1] == 2.0**-10  # 2^20 · 2^-30; the 4096 · 2^-300 are in the low part
    assert moments.lo[0][1] == 2.0**-288
    assert moments.hi[1][1] == 4096 + 2.0**-20


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["X", "y"])
@pytest.mark.parametrize("sample", [0, 4099])
def test_non_finite_data_show_in_the_diagonal(name, bad, where, sample):
    X, y = data(4100, 1, name)
    assert arbiter.compress(X, y).finite
    (X[:, 0] if where == "X" else y)[sample] = bad
    moments = arbiter.compress(X, y)
    assert not moments.finite
    assert math.isnan(arbiter.lambda_max(moments)) == (where == "X")
    assert arbiter.run(X, y, lr=0.1, epochs=1, algorithm="moments").state.algorithm == "stream"


# -------------------------------------------------------------------------------------------- λ_max


@pytest.mark.parametrize("d", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_jacobi_within_its_bound(name, d):
    """Each rotation is orthogonal to 8u and is applied with 4u: an error of at most 32u‖B‖_F; left
    over: off-diagonals ≤ 2^-56 max B_jj.

    eigvalsh itself: at most 10 d u ‖B‖ (LAPACK's own test ratio is below 30).
    """
    X, y = data(3 * d + 2, d, name, d)
    moments = arbiter.compress(X, y)
    k = moments.exponents
    G = np.array([[math.ldexp(moments.hi[i][j], k[i] + k[j]) for j in range(d)] for i in range(d)])
    _, rotations = arbiter.jacobi(G.tolist())
    assert d * (d - 1) / 2 <= rotations < 12 * d * d
    bound = (32 * rotations * U + d * 2.0**-56 + 30 * d * U) * np.linalg.norm(G)
    error = abs(arbiter.lambda_max(moments) - np.linalg.eigvalsh(G)[-1])
    print(f"λ used {error / bound:.3f} of the bound")
    assert error <= bound


def test_one_rotation_by_hand():
    """B = [[2, 1], [1, 2]]: θ = 0, t = 1, c = s = 1/√2: λ = 2 + 1; with −1, t is still 1 (θ = −0 is
    not < 0): h = −1, 2 − h = 3."""
    assert arbiter.jacobi([[2.0, 1.0], [1.0, 2.0]]) == (3.0, 1)
    assert arbiter.jacobi([[2.0, -1.0], [-1.0, 2.0]]) == (3.0, 1)
    # θ = 3/4 (B_qq − B_pp = 3, B_pq = 2): t = 1/(3/4 + 5/4) = 1/2, h = 1: the eigenvalues are 0 and
    # 5; θ = −3/4: t = −1/2
    assert arbiter.jacobi([[1.0, 2.0], [2.0, 4.0]]) == (5.0, 1)
    assert arbiter.jacobi([[4.0, 2.0], [2.0, 1.0]]) == (5.0, 1)
    assert arbiter.jacobi([[1.0, 2.0**-56], [2.0**-56, 1.0]]) == (1.0, 0)  # at the limit: not rotated
    assert arbiter.jacobi([[1.0, 2.0**-55], [2.0**-55, 1.0]])[1] == 1


def test_lambda_above_64_features_is_the_largest_row_sum():
    X = np.zeros((3, 65))
    X[0, 0], X[1, :3], X[2, 64] = 2.0, (1.0, -3.0, 2.0), 4.0
    moments = arbiter.compress(X, np.zeros(3))
    assert arbiter.lambda_max(moments) == 18.0  # row 1: |−3| + 9 + |−6|; scaled by 2^-2·2^-2 and back
    assert arbiter.safe_rate(moments, "sum") == 1 / 36
    assert arbiter.lambda_max(arbiter.compress(X.astype(np.float32), np.zeros(3, np.float32))) == 18.0


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_safe_rate_by_hand(name):
    X, y = np.array([[1], [2], [3], [4]], name), np.zeros(4, name)
    moments = arbiter.compress(X, y)
    assert arbiter.lambda_max(moments) == 30
    assert arbiter.safe_rate(moments) == 1 / 15
    assert arbiter.safe_rate(moments, "sum") == 1 / 60
    assert arbiter.safe_rate(moments, "sum", weight_decay=4.0) == 1 / 64
    assert arbiter.safe_rate(arbiter.compress(0 * X, y)) == 0
    assert arbiter.run(X, y, lr=None, epochs=0).lr == 1 / 15


def test_lambda_where_squares_overflow_and_vanish():
    y = np.zeros(2)
    assert arbiter.lambda_max(arbiter.compress(np.array([[2.0**500], [2.0**500]]), y)) == 2.0**1001
    assert arbiter.lambda_max(arbiter.compress(np.array([[2.0**600], [2.0**600]]), y)) == math.inf
    assert arbiter.safe_rate(arbiter.compress(np.array([[2.0**600], [2.0**600]]), y)) == 0
    assert arbiter.lambda_max(arbiter.compress(np.array([[2.0**-500], [0.0]]), y)) == 2.0**-1000
    assert arbiter.lambda_max(arbiter.compress(np.array([[2.0**-600], [0.0]]), y)) == 0
