"""Single numbers: read, written, moved and rounded, of arrays and of addresses, against NumPy."""

from __future__ import annotations

import math
from fractions import Fraction

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.simd import lanes, scalars
from fastgd.kernels.cpu.simd.addresses import address
from fastgd.kernels.cpu.simd.lanes import LANES
from tests.specification.rationals import nearest
from tests.support.against_arbiter import same_bits
from tests.support.guarded_memory import guarded
from tests.support.lanes_by_hand import SPECIAL, jit, numbers

NAMES = ["float32", "float64"]


@jit
def got(array, index, out):
    out[0], out[1] = scalars.get(array, index), scalars.get(address(array), np.int32(index))


@jit
def got_own(array, index, out):
    """The number itself, and one a little larger, rounded to the type."""
    scalars.put(out, 0, scalars.get_own(array, index))
    scalars.put(out, 1, scalars.get_own(address(array), np.int32(index)))
    scalars.put(out, 2, scalars.rounded(array, scalars.get(array, index) * (1 + 2.0**-30)))


@jit
def put(array, index, value):
    scalars.put(array, index, value)
    scalars.put(address(array), index + 1, value)


@jit
def put_rounded(array, index, value):
    scalars.put_rounded(array, index, value)
    scalars.put_rounded(address(array), index + 1, value)


@jit
def moved(source, place, target, to):
    scalars.move(source, place, target, to)
    scalars.move(address(source), place, address(target), to + 1)


@jit
def stored_rounded(source, out):
    lanes.store_rounded(out, 0, lanes.load(source, 0))
    lanes.store_rounded(address(out), LANES, lanes.load(source, 0))


@pytest.mark.parametrize("name", NAMES)
def test_get_put_and_move(name):
    source, out = guarded(numbers(60, name, 2)), np.empty(2)
    for index in (0, 1, 31, 59):
        got(source, index, out)
        assert same_bits(out, np.full(2, source[index], float))
        own = np.empty(3, name)
        got_own(source, index, own)
        with np.errstate(over="ignore"):
            a_little_more = (source[index].astype(float) * (1 + 2.0**-30)).astype(name)
        assert same_bits(own, np.array([source[index], source[index], a_little_more]))
        target = np.full(5, 77, name)
        put(target, 2, source[index])
        want = np.array([77, 77, source[index], source[index], 77], name)
        assert same_bits(target, want)
        target[:] = 77
        moved(source, index, target, 2)
        assert same_bits(target, want)


def test_put_of_integers():
    """Of the width of the array: resume is int64, status int8."""
    for kind in (np.int8, np.int32, np.int64):
        target = np.full(5, 77, kind)
        put(target, 1, kind(-3))
        assert target.tolist() == [77, -3, -3, 77, 77]


def rounded_by_hand(value: float, name: str) -> float:
    if name == "float64" or not np.isfinite(value) or value == 0:
        return value
    return nearest(Fraction(float(value)), name) or np.copysign(0.0, value)


@pytest.mark.parametrize("name", NAMES)
def test_rounding_to_the_type(name):
    """Ties, the border to infinity, subnormals and what is below them, against exact rationals."""
    rng = np.random.default_rng(3)
    ties = (1 + rng.integers(0, 2**23, 64) * 2.0**-23 + 2.0**-24) * (1 + rng.integers(-1, 2, 64) * 2.0**-52)
    top = 2.0**128 - 2.0**103  # halfway from the largest float32 to 2^128
    tiny = (rng.integers(0, 9, 64) + 0.5) * 2.0**-149 * (1 + rng.integers(-1, 2, 64) * 2.0**-52)
    ends = [top, np.nextafter(top, 0), -top, 1e300, 5e-324, -5e-324, 2.0**-150, -(2.0**-150), np.nextafter(2.0**-150, 1), *SPECIAL]
    values = np.concatenate([ties, -ties, ties * 2.0**-126, tiny, -tiny, rng.standard_normal(64), np.resize(ends, LANES)])
    want = np.array([rounded_by_hand(value, name) for value in values]).astype(name)  # the cast is exact
    assert name == "float64" or (want != values).sum() > 200
    for first in range(0, len(values), LANES):
        out = np.full(2 * LANES + 1, 77, name)
        stored_rounded(values[first : first + LANES], out)
        part = want[first : first + LANES]
        assert same_bits(out, np.concatenate([part, part, [77]]).astype(name))
    for value, expected in zip(values, want, strict=True):
        out = np.full(4, 77, name)
        put_rounded(out, 1, value)
        assert same_bits(out, np.array([77, expected, expected, 77], name))


@jit
def of_type(array):
    return scalars.is_double(array), scalars.is_double(address(array))


def test_is_double():
    assert of_type(np.zeros(1)) == (True, True)
    assert of_type(np.zeros(1, np.float32)) == (False, False)


@jit
def raised_at(flag):
    return scalars.raised(address(flag))


def test_raised_at_an_address():
    flag = guarded(np.zeros(1, np.int32))
    assert not raised_at(flag)
    flag[0] = -5
    assert raised_at(flag)


@numba.njit
def is_raised(flag):
    return scalars.raised(flag)


@numba.njit
def power(exponent):
    return scalars.normal_power(exponent)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_normal_powers_of_two(kind):
    assert [power(kind(e)) for e in range(-1022, 1024)] == [math.ldexp(1.0, e) for e in range(-1022, 1024)]


def test_raised():
    flag = np.zeros(1, np.int32)
    assert not is_raised(flag)
    flag[0] = 1
    assert is_raised(flag)
    flag[0] = -1
    assert is_raised(flag)


@numba.njit(nogil=True)
def wait_until_raised(flag, most):
    turns = 0
    while not scalars.raised(flag) and turns < most:
        turns += 1
    return turns


def test_raised_is_read_afresh():
    """A loop that writes nothing must still see what another thread writes."""
    import threading

    flag, turns = np.zeros(1, np.int32), []
    wait_until_raised(np.ones(1, np.int32), 1)
    most = 20_000_000_000
    thread = threading.Thread(target=lambda: turns.append(wait_until_raised(flag, most)))
    thread.start()
    flag[0] = 1
    thread.join()
    assert turns[0] < most
