"""Of float32 data nothing is compiled that only float64 data need, and the other way round."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numba.core import types

from fastgd.kernels.cpu.simd.addresses import address, keep_alive
from fastgd.kernels.cpu.simd.compiling import inlined, kernel, part
from fastgd.kernels.cpu.simd.scalars import get, is_double


class Source(NamedTuple):
    numbers: Any
    count: Any


class Two(NamedTuple):
    """Of one type both: to Numba another kind of tuple."""

    numbers: Any
    more: Any


def _parts():
    """(a kernel, a part of float32 data, one of float64 data, one that is told which they are)."""

    @part
    def of_single(numbers):
        return get(numbers, 0) * 3

    @part
    def of_double(numbers):
        return get(numbers, 0) * 2

    @inlined
    def of_either(count, doubled, numbers):
        if not doubled:
            return of_single(numbers) + count
        return of_double(numbers) + count

    @part
    def of_source(source, wanted):
        count, doubled = source.count, is_double(source.numbers)
        if doubled and wanted:
            return of_double(source.numbers)
        return of_either(count, doubled, source.numbers) + (0.25 if doubled else 0.5)

    @part
    def of_two(two):
        if is_double(two.more):
            return of_double(two.numbers)
        return of_single(two.numbers)

    @kernel
    def whole(data, wanted):
        doubled = is_double(data[1])
        result = of_source(Source(address(data[1]), 10), wanted) + of_two(Two(address(data[1]), address(data[1])))
        if doubled:
            result += 100
        keep_alive(data)
        return result

    return whole, of_single, of_double, of_either


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))


def test_only_what_a_type_needs_is_compiled():
    whole, of_single, of_double, of_either = _parts()
    single, double = ((np.zeros(1), np.ones(1, dtype)) for dtype in (np.float32, np.float64))
    assert [whole(single, wanted) for wanted in (False, True)] == [16.5, 16.5]
    assert (len(of_single.signatures), len(of_double.signatures)) == (1, 0)
    assert [whole(double, wanted) for wanted in (False, True)] == [114.25, 104.0]
    assert (len(of_single.signatures), len(of_double.signatures)) == (1, 1)
    known = [signature[1] for signature in of_either.signatures]
    assert known == [types.literal(False), types.literal(True)]


def test_what_is_known_at_run_time_is_asked_there():
    """A `doubled` that is a number of an array, and constants of other names: one version."""

    @part
    def either(doubled, other, numbers):
        return get(numbers, 0) * (2 if doubled else 3) + (10 if other else 20)

    @kernel
    def whole(numbers, switches):
        return either(switches[0], True, address(numbers)) + either(switches[1], False, address(numbers))

    numbers = np.ones(1)
    assert whole(numbers, np.array([True, False])) == 2 + 10 + 3 + 20
    [signature] = either.signatures
    assert signature[:2] == (types.boolean, types.boolean)
