"""The limits of the machine do the work that they claim."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.speed import limits


@pytest.fixture(scope="module")
def machine() -> limits.Machine:
    return limits.Machine(2)


@pytest.mark.parametrize("count", [1, 31, 128, 129, 1000])
def test_every_number_is_read_and_written(count):
    numbers = np.arange(1, count + 1, dtype=np.float32)
    assert limits.read_numbers(numbers) == count * (count + 1) // 2
    limits.write_numbers(numbers, np.float32(3))
    assert (numbers == 3).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chains_do_as_many_multiply_adds_as_they_claim(dtype):
    """x ← x/2 + 1/2 comes to 1 in every lane, and the lanes are added."""
    for chain, lanes in limits.CHAINS.items():
        assert chain(dtype(0.5), 200) == lanes


def test_ways_to_read_and_write(machine, monkeypatch):
    arrays = (np.ones((5, 3), np.float32), np.ones(7, np.float32))
    seen: list[int] = []
    monkeypatch.setattr(limits, "read_numbers", lambda piece: seen.append(len(piece)))
    for way in machine.ways_to_read(arrays).values():
        way()
    assert sum(seen) == 22
    ways = machine.ways_to_write(arrays)
    assert sorted({name.split()[0] for name in ways}) == ["fresh", "write"]
    for name, way in ways.items():
        first, second = way(), way()
        assert [array.shape for array in first] == [(5, 3), (7,)]
        filled = np.frombuffer(b"\1" * 4, np.float32)[0] if name.endswith("memset") else 1
        assert all((array == filled).all() for array in first)
        assert (first[0] is second[0]) == name.startswith("write")  # fresh pages every time


def test_rows_are_gathered_in_their_order(machine):
    """Every row once: the sums are those of the columns, and another order reads other rows."""
    X = np.arange(40 * limits.PART, dtype=np.float32).reshape(40, limits.PART)
    sums, order = np.zeros(limits.PART), np.random.default_rng(0).permutation(40).astype(np.int32)
    limits.gather_rows(X.reshape(-1), order, sums)
    assert np.array_equal(sums, X.sum(axis=0))
    (way,) = machine.ways_to_gather(X, order[:3]).values()
    way()
    sums.fill(0)
    limits.gather_rows(X.reshape(-1), order[:3], sums)
    assert np.array_equal(sums, X[order[:3]].sum(axis=0))
