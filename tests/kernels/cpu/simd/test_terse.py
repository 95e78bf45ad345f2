"""LLVM's code of kernels and parts without what it would drop: the same loops, calls and errors."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastgd.kernels.cpu.simd import terse
from fastgd.kernels.cpu.simd.compiling import kernel, part

RANGES = [(5,), (0,), (-3,), (2, 7), (7, 2), (3, 3), (0, 10, 3), (0, 9, 3), (10, 0, -3), (9, 0, -3), (0, 10, -1), (10, 0, 2), (-7, 8, 5)]


@part
def _of_one(stop, found):
    count = 0
    for i in range(stop):
        found[count] = i
        count += 1
    return count


@part
def _of_two(start, stop, found):
    count = 0
    for i in range(start, stop):
        if i == start + 4:
            break
        found[count] = i
        count += 1
    return count


@part
def _of_three(start, stop, step, found):
    count = 0
    for i in range(start, stop, step):
        found[count] = i
        count += 1
    return count


@part
def _outer(start, stop, step, found):
    return _of_three(start, stop, step, found)


@pytest.fixture
def kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))


def test_loops_have_the_numbers_of_python(kept_apart):
    @kernel
    def run(form, start, stop, step, found):
        if form == 1:
            return _of_one(start, found)
        if form == 2:
            return _of_two(start, stop, found)
        return _of_three(start, stop, step, found)

    for given in RANGES:
        found = np.zeros(20, np.int64)
        count = run(len(given), *(*given, 1, 1)[:3], found)
        expected = list(range(*given))
        assert found[:count].tolist() == (expected[:4] if len(given) == 2 else expected), given


def test_an_error_in_a_part_is_that_of_the_kernel(kept_apart):
    """Through two calls, and the next call of the kernel is as any."""

    @kernel
    def run(start, stop, step, found):
        count = _outer(start, stop, step, found)
        found[0] += 1
        return count

    found = np.zeros(20, np.int64)
    with pytest.raises(ValueError, match=r"range\(\) arg 3 must not be zero"):
        run(0, 5, 0, found)
    assert not found.any()
    assert run(0, 5, 1, found) == 5
    assert found[0] == 1


def test_a_function_of_numbas_own_calls_parts_that_call_parts():
    @numba.njit
    def run(start, stop, step, found):
        return _outer(start, stop, step, found)

    found = np.zeros(20, np.int64)
    assert run(1, 9, 2, found) == 4
    assert found[:4].tolist() == [1, 3, 5, 7]


def test_variables_that_are_set_in_one_branch_or_in_turn(kept_apart):
    @part
    def turned(numbers, times):
        a, b, last = 1.0, numbers[0], -1
        for k in range(times):
            a, b = b, a + b
            if k % 3 == 1:
                last = k
        return a, b, last

    @kernel
    def run(numbers, times):
        return turned(numbers, times)

    for times in range(7):
        a, b, last = 1.0, 2.0, -1
        for k in range(times):
            a, b, last = b, a + b, k if k % 3 == 1 else last
        assert run(np.array([2.0]), times) == (a, b, last)


def test_numbas_own_target_is_as_it_was(kept_apart):
    @kernel
    def run(found):
        return _of_one(3, found)

    assert run(np.zeros(3, np.int64)) == 3
    assert type(numba.core.registry.cpu_target.target_context) is not terse._Context
