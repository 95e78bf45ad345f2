"""Eight rows become columns, and nothing beside them is touched."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels.cpu.simd import transpose
from fastgd.kernels.cpu.simd.addresses import address
from tests.support.against_arbiter import same_bits
from tests.support.guarded_memory import guarded
from tests.support.lanes_by_hand import jit, numbers

NAMES = ["float32", "float64"]


@jit
def transposed(source, start, row_step, count, target, to, column_step):
    transpose.transpose(source, start, row_step, count, target, to, column_step)


@pytest.mark.parametrize("target_name", NAMES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", range(1, 9))
def test_eight_rows_become_columns(name, target_name, count):
    if (name, target_name) == ("float64", "float32"):
        target_name = "float64"
    rng = np.random.default_rng(count)
    row_step, column_step = int(rng.integers(8, 20)), int(rng.integers(8, 30))
    source = rng.standard_normal(7 * row_step + 11).astype(name)
    target = np.full(8 * column_step + 5, -1.0, target_name)
    transposed(source, 3, row_step, count, target, 2, column_step)
    want = np.full_like(target, -1)
    for i in range(8):
        for j in range(count):
            want[2 + j * column_step + i] = source[3 + i * row_step + j]
    assert same_bits(target, want)


@jit
def transposed_at(source, start, row_step, count, target, to, column_step):
    transpose.transpose(address(source), start, row_step, count, address(target), to, column_step)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", range(1, 9))
def test_transpose_touches_what_it_says(name, count):
    """Eight numbers of each row are read, eight of each column written; of addresses too. Rows may
    lie in any order."""
    for call in (transposed, transposed_at):
        for row_step, start in ((8, 0), (11, 0), (-9, 63), (0, 0)):
            source = guarded(numbers(start + 7 * max(row_step, 0) + 8, name, count))
            target = guarded(np.full(8 * count, 77, name))
            call(source, start, row_step, count, target, 0, 8)
            want = [[source[start + i * row_step + j] for i in range(8)] for j in range(count)]
            assert same_bits(target, np.array(want, name).ravel())
