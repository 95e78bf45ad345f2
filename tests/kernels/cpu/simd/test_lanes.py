"""Each operation on 32 lanes (kernels/cpu/simd/lanes.py) against NumPy and exact rationals, for
both types."""

from __future__ import annotations

from fractions import Fraction

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.simd import lanes, masks
from fastgd.kernels.cpu.simd.lanes import LANES
from tests.specification.arbiter import FORMATS
from tests.specification.rationals import nearest
from tests.support.against_arbiter import same_bits

NAMES = ["float32", "float64"]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.1, -3.0]


def lanes_of(name: str, seed: int) -> np.ndarray:
    """32 numbers, special ones among them; also the smallest subnormal and the largest number of
    the type."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(LANES) * 10.0 ** rng.integers(-8, 9, LANES)
    special = [*SPECIAL, np.finfo(name).smallest_subnormal, np.finfo(name).max]
    values[rng.choice(LANES, len(special), replace=False)] = special
    return values.astype(name)


@numba.njit
def binary(which, a, b, out):
    x, y = lanes.load(a, 0), lanes.load(b, 0)
    if which == 0:
        lanes.store(out, 0, lanes.add(x, y))
    elif which == 1:
        lanes.store(out, 0, lanes.subtract(x, y))
    elif which == 2:
        lanes.store(out, 0, lanes.multiply(x, y))
    elif which == 3:
        lanes.store(out, 0, lanes.divide(x, y))
    elif which == 4:
        lanes.store(out, 0, lanes.negate(x))
    elif which == 5:
        lanes.store(out, 0, lanes.absolute(x))
    else:
        lanes.store(out, 0, lanes.root(x))


@numba.njit
def binary_of_eight(which, a, b, out):
    """Some lanes only: the halves of halves."""
    x, y = lanes.first_half(lanes.second_half(lanes.load(a, 0))), lanes.first_half(lanes.second_half(lanes.load(b, 0)))
    if which == 0:
        lanes.store(out, 0, lanes.add(x, y))
    elif which == 1:
        lanes.store(out, 0, lanes.subtract(x, y))
    elif which == 2:
        lanes.store(out, 0, lanes.multiply(x, y))
    elif which == 3:
        lanes.store(out, 0, lanes.divide(x, y))
    elif which == 4:
        lanes.store(out, 0, lanes.negate(x))
    elif which == 5:
        lanes.store(out, 0, lanes.absolute(x))
    elif which == 6:
        lanes.store(out, 0, lanes.root(x))
    elif which == 7:
        lanes.store(out, 0, lanes.fma(x, x, y))
    else:
        lanes.store(out, 0, masks.choose(masks.both(masks.below(x, y), masks.at_most(y, y)), x, y))


@numba.njit
def fused(a, b, c, out):
    lanes.store(out, 0, lanes.fma(lanes.load(a, 0), lanes.load(b, 0), lanes.load(c, 0)))


@numba.njit
def fused_scalar(a, b, c):
    return lanes.fma(a, b, c)


@numba.njit
def move(source, first, target, at):
    lanes.store(target, at, lanes.load(source, first))


@numba.njit
def filled(value, out):
    lanes.store(out, 0, lanes.fill(value))


@numba.njit
def kept(count, new, old, out):
    lanes.store(out, 0, masks.select_first(count, lanes.load(new, 0), lanes.load(old, 0)))


@numba.njit
def summed(a):
    return lanes.butterfly(lanes.load(a, 0))


def by_numpy(a, b):
    """What `binary` and `binary_of_eight` give."""
    with np.errstate(all="ignore"):
        squares = np.array([FORMATS[a.dtype.name].fma(float(x), float(x), float(y)) for x, y in zip(a, b, strict=True)], a.dtype)
        return [a + b, a - b, a * b, a / b, -a, np.abs(a), np.sqrt(a), squares, np.where(a < b, a, b)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", range(7))
def test_lane_by_lane(name, which):
    for seed in range(50):
        a, b, out = lanes_of(name, seed), lanes_of(name, seed + 1000), np.empty(LANES, name)
        binary(which, a, b, out)
        assert same_bits(out, by_numpy(a, b)[which])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", range(9))
def test_some_lanes_only(name, which):
    for seed in range(50):
        a, b, out = lanes_of(name, seed), lanes_of(name, seed + 1000), np.full(9, 77, name)
        binary_of_eight(which, a, b, out)
        assert same_bits(out, np.append(by_numpy(a[16:24], b[16:24])[which], out[8]))
        assert out[8] == 77


@pytest.mark.parametrize("name", NAMES)
def test_root_rounds_once(name):
    """Squares of numbers and their neighbours, and subnormals: the exact root lies within half a
    unit."""
    rng = np.random.default_rng(6)
    tiny = np.finfo(name).smallest_subnormal
    for _ in range(20):
        roots = rng.uniform(1, 2, LANES // 2).astype(name)
        values = np.concatenate([np.nextafter(roots * roots, np.inf, dtype=name), rng.integers(1, 999, LANES // 2).astype(name) * tiny])
        out = np.empty(LANES, name)
        binary(6, values, values, out)
        for value, found in zip(values, out, strict=True):
            low, high = (Fraction(float(np.nextafter(found, end, dtype=name))) for end in (-np.inf, np.inf))
            middle = Fraction(float(found))
            assert ((low + middle) / 2) ** 2 <= Fraction(float(value)) <= ((middle + high) / 2) ** 2


@pytest.mark.parametrize("name", NAMES)
def test_load_and_store_at_any_place(name):
    """The address need not be a multiple of the vector's size: only of the element's."""
    source = np.arange(100).astype(name)
    for first, at in ((0, 0), (1, 3), (7, 5), (68, 67)):
        target = np.full(99, -1, name)
        move(source, first, target, at)
        want = np.full(99, -1, name)
        want[at : at + LANES] = source[first : first + LANES]
        np.testing.assert_array_equal(target, want)


@pytest.mark.parametrize("name", NAMES)
def test_fill(name):
    out = np.empty(LANES, name)
    filled(np.dtype(name).type(0.1), out)
    assert same_bits(out, np.full(LANES, 0.1, name))
    assert out.dtype == name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [*range(33), 40, -1])
def test_select_first(name, count):
    new, old, out = np.arange(LANES).astype(name), -np.zeros(LANES, name), np.empty(LANES, name)
    kept(count, new, old, out)
    limit = min(max(count, 0), LANES)
    assert same_bits(out, np.concatenate([new[:limit], old[limit:]]))  # −0 is kept as −0


@pytest.mark.parametrize("name", NAMES)
def test_fma_rounds_once(name):
    """Against exact rationals, where two roundings give something else, lane by lane and as a
    scalar."""
    number, T = np.dtype(name).type, FORMATS[name]
    rng = np.random.default_rng(1)
    different = 0
    for _ in range(20):
        a, b = rng.standard_normal((2, LANES)).astype(name)
        c = (-a * b * (1 + rng.integers(-2, 3, LANES) * 2.0 ** (1 - T.digits))).astype(name)  # the product's rounding error shows
        want = [nearest(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)), name) for x, y, z in zip(a, b, c, strict=True)]
        out = np.empty(LANES, name)
        fused(a, b, c, out)
        assert out.tolist() == want
        assert [float(fused_scalar(*abc)) for abc in zip(a, b, c, strict=True)] == want
        different += int(np.sum(a * b + c != out))
    assert different > 500
    assert isinstance(fused_scalar(number(1), number(2), number(3)), float)


@pytest.mark.parametrize("name", NAMES)
def test_fma_keeps_subnormals_and_non_finite_numbers(name):
    smallest = float(np.finfo(name).smallest_subnormal)
    largest = float(np.finfo(name).max)
    cases = [
        (smallest, 1.0, 0.0),
        (smallest, 0.5, smallest),
        (largest, 2.0, -largest),
        (largest, largest, -np.inf),
        (np.inf, 1.0, -np.inf),
        (0.0, np.inf, 1.0),
        (-0.0, 1.0, -0.0),
        (-0.0, 1.0, 0.0),
        (np.nan, 0.0, 1.0),
    ]
    for a, b, c in cases:
        out = np.empty(LANES, name)
        fused(*(np.full(LANES, value, name) for value in (a, b, c)), out)
        want = FORMATS[name].fma(a, b, c)
        assert same_bits(out, np.full(LANES, want, name)), (a, b, c)


def sum_by_hand(values):
    values = list(values)
    for distance in (16, 8, 4, 2, 1):
        values = [values[lane] + values[lane + distance] for lane in range(distance)]
    return values[0]


@pytest.mark.parametrize("name", NAMES)
def test_butterfly_takes_every_lane_once(name):
    powers = (2.0 ** np.arange(LANES)).astype(name)
    with np.errstate(all="raise"):
        assert summed(np.where(np.arange(LANES) < 24, powers, 0).astype(name)) == 2.0**24 - 1
        for lane in range(LANES):
            assert summed(np.eye(LANES, dtype=name)[lane] * powers[lane]) == powers[lane]


@pytest.mark.parametrize("name", NAMES)
def test_butterfly_order(name):
    """1 + u/2 is 1: two halves that meet before they meet the 1 show; so every pair of lanes tells
    when it was added."""
    half = {"float32": 2.0**-24, "float64": 2.0**-53}[name]
    for a in range(LANES):
        for b in range(LANES):
            for one in (0, 5, 31):
                if len({a, b, one}) == 3:
                    lanes = np.zeros(LANES, name)
                    lanes[one], lanes[a], lanes[b] = 1, half, half
                    assert summed(lanes) == sum_by_hand(lanes), (one, a, b)
    for seed in range(200):
        lanes = lanes_of(name, seed)
        lanes = np.where(np.isfinite(lanes), lanes, 1).astype(name)
        with np.errstate(all="ignore"):
            assert same_bits(np.array(summed(lanes), name), np.array(sum_by_hand(lanes), name))


def test_wrong_types_are_refused():
    @numba.njit
    def mixed(a, b):
        return lanes.butterfly(lanes.add(lanes.load(a, 0), lanes.load(b, 0)))

    with pytest.raises(numba.TypingError):
        mixed(np.zeros(32, np.float32), np.zeros(32))
    with pytest.raises(numba.TypingError):
        fused_scalar(np.float32(1), np.float64(1), np.float64(1))
