"""What reads and writes memory: each operation on arrays and on addresses, against NumPy; and
nothing beside what it says is touched."""

from __future__ import annotations

import os

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.simd import addresses, lanes, scalars, transpose
from fastgd.kernels.cpu.simd.addresses import address
from fastgd.kernels.cpu.simd.lanes import LANES, PART
from tests.support.against_arbiter import same_bits
from tests.support.guarded_memory import PAGE, fenced, guarded
from tests.support.lanes_by_hand import jit, numbers

NAMES = ["float32", "float64"]


@pytest.mark.parametrize("at_end", [False, True])
def test_the_pages_beside_are_forbidden(at_end):
    """The system says so without a crash where it is asked to copy from there."""
    whole = fenced(1)
    edge = 2 * PAGE if at_end else PAGE
    inside = edge - 1 if at_end else edge
    reading, writing = os.pipe()
    try:
        assert os.write(writing, whole[inside : inside + 1]) == 1
        with pytest.raises(OSError, match="Bad address"):
            os.write(writing, whole[edge : edge + 1] if at_end else whole[edge - 1 : edge])
    finally:
        os.close(reading)
        os.close(writing)


@jit
def loaded(source, out):
    lanes.store(out, 0, lanes.load(source, 0))
    lanes.store(address(out), LANES, lanes.load(address(source), np.int32(0)))


@jit
def loaded_part(source, out):
    lanes.store(out, 0, lanes.load_part(source, 0))
    lanes.store(address(out), PART, lanes.load_part(address(source), np.int32(0)))


@jit
def loaded_eight(source, out):
    lanes.store(out, 0, lanes.load_eight(source, 0))
    lanes.store(address(out), 8, lanes.load_eight(address(source), np.int32(0)))


@jit
def loaded_first(source, index, count, out):
    lanes.store(out, 0, lanes.load_first(source, index, count))
    lanes.store(address(out), PART, lanes.load_first(address(source), np.int32(index), np.int32(count)))


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_loads_read_what_they_say(name, at_end):
    for seed in range(30):
        for load, count, of in ((loaded, LANES, name), (loaded_part, PART, "float64"), (loaded_eight, 8, "float64")):
            if load is loaded_eight and name == "float32":
                continue
            source, out = guarded(numbers(count, name, seed), at_end), np.full(2 * count + 1, 77, of)
            load(source, out)
            assert same_bits(out, np.concatenate([source, source, [77]]).astype(of))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [-1, *range(PART + 2), 40])
def test_load_first_reads_no_more_than_it_says(name, count):
    """The numbers end where the page ends; what is not there is +0."""
    there = min(max(count, 0), PART)
    for seed in range(10):
        source = guarded(numbers(there + 3, name, seed))
        out = np.full(2 * PART + 1, 77.0)
        loaded_first(source, 3, count, out)
        want = np.concatenate([source[3:].astype(float), np.zeros(PART - there)])
        assert same_bits(out, np.concatenate([want, want, [77]]))
    beside = numbers(PART + 9, name, 99)  # what lies behind is there, and is not taken
    loaded_first(beside, 5, count, out)
    assert same_bits(out[:PART], np.where(np.arange(PART) < there, beside[5 : 5 + PART], 0).astype(float))


@jit
def stored(which, source, out):
    value = lanes.load(source, 0)
    half = lanes.first_half(value)
    quarter = lanes.second_half(half)
    if which == 0:
        lanes.store(out, 0, value)
    elif which == 1:
        lanes.store(out, 0, half)
    elif which == 2:
        lanes.store(out, 0, quarter)
    else:
        lanes.store(address(out), 0, lanes.first_half(lanes.first_half(quarter)))


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_stores_write_what_they_say(name, at_end):
    source = numbers(LANES, name, 1)
    for which, places in enumerate((slice(0, 32), slice(0, 16), slice(8, 16), slice(8, 10))):
        want = source[places]
        out = guarded(np.zeros_like(want), at_end)
        stored(which, source, out)
        assert same_bits(out, want)
        wide = np.full(len(want) + 2, 77, name)
        stored(which, source, wide[1:])
        assert same_bits(wide, np.concatenate([[77], want, [77]]).astype(name))


@jit
def transposed(source, start, row_step, count, target, to, column_step):
    transpose.transpose(source, start, row_step, count, target, to, column_step)


@jit
def got(array, index, out):
    out[0], out[1] = scalars.get(array, index), scalars.get(address(array), np.int32(index))


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
def counted(array, skipped, index):
    return addresses.count_at(array, skipped + index), addresses.count_at(addresses.further(address(array), skipped), index)


@pytest.mark.parametrize("kind", ["int8", "int32", "int64", "uint8"])
def test_integers_as_int64(kind):
    limits = np.iinfo(kind)
    array = guarded(np.array([limits.min, 0, 1, 77, limits.max], kind))
    for skipped in (0, 2, 4):
        for index in range(5 - skipped):
            assert counted(array, skipped, index) == (int(array[skipped + index]),) * 2


@jit
def walked(array, steps, out):
    """Read one number after each step."""
    place = address(array)
    for k in range(len(steps)):
        place = addresses.further(place, steps[k])
        out[k] = scalars.get(place, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("of_steps", [np.int32, np.int64])
def test_further_counts_numbers_also_backwards(name, of_steps):
    array = guarded(np.arange(50).astype(name), at_end=False)
    steps = np.array([0, 7, 42, -9, -40, 3, -3], of_steps)
    out = np.empty(len(steps))
    walked(array, steps, out)
    assert out.tolist() == np.cumsum(steps).tolist()


@jit
def sum_of_a_held_array(count, others):
    """An array that only its address and `hold` know of, while others are made and filled."""
    array = np.empty(count)
    place = address(array)
    for k in range(count):
        scalars.put(place, k, 1.0)
    for _ in range(others):
        other = np.empty(count)
        for k in range(count):
            other[k] = 1000.0
    total = 0.0
    for k in range(count):
        total += scalars.get(place, k)
    addresses.keep_alive((array, others))
    return total


def test_an_array_that_is_held_is_alive():
    for count in (1, 8, 100, 5000):
        assert sum_of_a_held_array(count, 20) == count


@jit
def raised_at(flag):
    return scalars.raised(address(flag))


def test_wrong_types_are_refused():
    """No operation turns one type of number into another unasked."""
    single, double, whole = np.zeros(64, np.float32), np.zeros(64), np.zeros(64, np.int64)
    for call, arguments in (
        (loaded, (whole, double)),
        (loaded, (single, double)),
        (loaded_eight, (single, double)),
        (put, (single, 0, 1.0)),
        (put, (double, 0, 1)),
        (put_rounded, (whole, 0, 1.0)),
        (moved, (single, 0, double, 0)),
        (got, (whole, 0, double)),
        (counted, (double, 0, 0)),
        (raised_at, (whole,)),
        (transposed, (whole, 0, 8, 8, double, 0, 8)),
    ):
        with pytest.raises(numba.TypingError):
            call(*arguments)
