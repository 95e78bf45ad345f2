"""Masks, halves, parts and conversions of 32 lanes: each operation against NumPy."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.simd import lanes, masks, scalars
from fastgd.kernels.cpu.simd.lanes import LANES, PART
from tests.support.against_arbiter import same_bits

NAMES = ["float32", "float64"]
NASTY = [0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e-320, -1e-320, 2.0, 3.5, -7.25]


def nasty(seed, name):
    return np.random.default_rng(seed).choice(NASTY, LANES).astype(name)


@numba.njit
def compared(which, a, b):
    x, y = lanes.load(a, 0), lanes.load(b, 0)
    if which == 0:
        return masks.as_bits(masks.at_most(x, y))
    if which == 1:
        return masks.as_bits(masks.below(x, y))
    if which == 2:
        return masks.as_bits(masks.both(masks.at_most(x, y), masks.at_most(y, x)))
    return masks.as_bits(masks.at_most(lanes.absolute(x), y))


@numba.njit
def compared_of_eight(a, b, value, out):
    x, y = lanes.load_eight(a, 5), lanes.load_eight(b, 3)
    lanes.store(out, 2, lanes.add(x, lanes.alike(x, value)))
    return masks.as_bits(masks.at_most(x, y)), masks.as_bits(masks.below(x, lanes.alike(x, value)))


@numba.njit
def chosen(bits, a, b, out):
    lanes.store(out, 0, masks.choose(masks.from_bits(bits), lanes.load(a, 0), lanes.load(b, 0)))


def bits_of(answers):
    return sum(1 << lane for lane, answer in enumerate(answers.tolist()) if answer)


def test_eight_lanes():
    for seed in range(60):
        a, b, out = nasty(seed, "float64"), nasty(seed + 1000, "float64"), np.full(20, 77.0)
        found = compared_of_eight(a, b, 0.75, out)
        assert found == (bits_of(a[5:13] <= b[3:11]), bits_of(a[5:13] < 0.75))
        assert same_bits(out[2:10], a[5:13] + 0.75)
        assert (np.delete(out, slice(2, 10)) == 77).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", range(4))
def test_comparisons(name, which):
    for seed in range(60):
        a, b = nasty(seed, name), nasty(seed + 1000, name)
        want = [a <= b, a < b, a == b, np.abs(a) <= b][which]
        assert compared(which, a, b) == bits_of(want)


@pytest.mark.parametrize("name", NAMES)
def test_choose(name):
    for seed in range(60):
        a, b, out = nasty(seed, name), nasty(seed + 1000, name), np.empty(LANES, name)
        answers = np.random.default_rng(seed).random(LANES) < 0.5
        chosen(bits_of(answers), a, b, out)
        assert same_bits(out, np.where(answers, a, b))
    chosen(-1, a, b, out)
    assert same_bits(out, a)


@numba.njit
def parts_of(source, at, out):
    lanes.store(out, 0, lanes.load_part(source, at))


@numba.njit
def rounded(source, out):
    lanes.store_rounded(out, 0, lanes.load(source, 0))


@numba.njit
def numbers(source, at, out):
    scalars.put(out, 0, scalars.get(source, at))


@numba.njit
def moved(source, at, out):
    scalars.move(source, at, out, 1)


@numba.njit
def halved(source, out):
    part = lanes.load_part(source, 0)
    first, second = lanes.first_half(part), lanes.second_half(part)
    lanes.store(out, 0, lanes.add(first, second))
    pair = lanes.first_half(lanes.second_half(lanes.first_half(part)))
    out[8], out[9] = lanes.first_half(pair), lanes.second_half(pair)


@pytest.mark.parametrize("name", NAMES)
def test_loads_and_stores_between_types(name):
    source, out = np.random.default_rng(0).standard_normal(40).astype(name), np.empty(PART)
    parts_of(source, 7, out)
    assert same_bits(out, source[7 : 7 + PART].astype(float))
    numbers(source, 5, out)
    assert out[0] == source[5]
    target = np.zeros(2, name)
    moved(source, 9, target)
    assert target[1] == source[9]
    wide = np.concatenate([np.random.default_rng(1).standard_normal(24) * 1e-40, NASTY[:8]])
    narrow = np.empty(LANES, name)
    rounded(wide, narrow)
    assert same_bits(narrow, wide.astype(name))


def test_halves():
    source, out = np.random.default_rng(2).standard_normal(PART), np.empty(10)
    halved(source, out)
    assert same_bits(out[:8], source[:8] + source[8:])
    assert same_bits(out[8:], source[4:6])
