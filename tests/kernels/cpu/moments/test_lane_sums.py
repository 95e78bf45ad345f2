"""The sums of 32 lanes, eight sums at a time (kernels/cpu/moments/lane_sums.py), against the
butterfly of docs/arithmetic.md, by `==`."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.kernels.cpu.moments import lane_sums
from fastgd.kernels.cpu.simd import lanes, transpose
from fastgd.kernels.cpu.simd.addresses import address
from fastgd.kernels.cpu.simd.lanes import LANES
from tests.specification.arbiter import butterfly, dd_add, dot_of_lane, two_sum
from tests.support.against_arbiter import same_bits
from tests.support.guarded_memory import guarded
from tests.support.lanes_by_hand import columns_that_round, jit, sum_by_hand


@jit
def columns_of_eight(rows, out):
    r0, r1, r2, r3 = lanes.load_eight(rows, 0), lanes.load_eight(rows, 8), lanes.load_eight(rows, 16), lanes.load_eight(rows, 24)
    r4, r5, r6, r7 = lanes.load_eight(rows, 32), lanes.load_eight(rows, 40), lanes.load_eight(rows, 48), lanes.load_eight(rows, 56)
    c0, c1, c2, c3, c4, c5, c6, c7 = transpose.columns_of((r0, r1, r2, r3, r4, r5, r6, r7))
    for at, column in ((0, c0), (8, c1), (16, c2), (24, c3), (32, c4), (40, c5), (48, c6), (56, c7)):
        lanes.store(out, at, column)


@jit
def added(lanes, count, sums):
    lane_sums.add_lanes(address(lanes), count, address(sums))


@jit
def added_doubled(lanes, low_lanes, count, sums, low_sums):
    lane_sums.add_lanes_doubled(address(lanes), address(low_lanes), count, address(sums), address(low_sums))


def test_columns_of():
    rows, out = np.arange(64.0), np.empty(64)
    columns_of_eight(rows, out)
    assert same_bits(out, rows.reshape(8, 8).T.ravel())


def eights(count: int) -> int:
    return (count + 7) // 8 * 8


@pytest.mark.share(3)
@pytest.mark.parametrize("kind", ["ordinary", "ends"])
@pytest.mark.parametrize("count", [*range(1, 10), 16, 17, 45])
def test_sums_of_lanes(kind, count):
    """Eight pairs are read and written at a time, and no more."""
    values = columns_that_round(kind, eights(count), LANES, count)
    sums = guarded(np.full(eights(count), np.nan))
    added(guarded(values.ravel()), count, sums)
    assert same_bits(sums, np.array([butterfly(row.tolist(), lambda a, b: a + b) for row in values]))
    low = columns_that_round(kind, eights(count), LANES, count + 1)
    low_sums = guarded(np.full(eights(count), np.nan))
    added_doubled(guarded(values.ravel()), guarded(low.ravel()), count, sums, low_sums)
    pairs = [
        [two_sum(*pair) for pair in zip(row, row_low, strict=True)] for row, row_low in zip(values.tolist(), low.tolist(), strict=True)
    ]
    want = np.array([butterfly(row, dd_add) for row in pairs])
    assert same_bits(sums, want[:, 0])
    assert same_bits(low_sums, want[:, 1])
    assert kind == "ends" or low_sums.any()


@jit
def short_added(tile, rows, first_column, last_column, sums, low_sums):
    lane_sums.add_short_doubled(address(tile), rows, first_column, last_column, LANES, address(sums), address(low_sums))


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 15, 16, 17, 31, 32])
def test_pairs_of_columns_of_few_samples(rows):
    """A lane has one sample, or none: the bits are those of all 32 lanes."""
    columns = columns_that_round("ordinary", 4, LANES, rows)
    columns[:, rows:] = 0.0
    for first in (0, 2):
        pairs = [(i, j) for j in range(first, 4) for i in range(j + 1)]
        sums, low_sums = (guarded(np.full(eights(len(pairs)), np.nan)) for _ in range(2))
        short_added(guarded(columns.ravel()), rows, first, 4, sums, low_sums)
        of = columns.tolist()
        want = np.array(
            [butterfly([dot_of_lane(of[i], of[j], range(lane, rows, LANES)) for lane in range(LANES)], dd_add) for i, j in pairs]
        )
        assert same_bits(sums[: len(pairs)], want[:, 0])
        assert same_bits(low_sums[: len(pairs)], want[:, 1])
    assert low_sums[: len(pairs)].any()


@jit
def lines_added(x, y, start, stop, intercept, eights, sums):
    rows = 5 if intercept else 3
    for k in range(len(start)):
        n = stop[k] - start[k]
        lane_sums.add_single_feature(address(x), 2 * start[k], address(y), start[k] + 1, n, intercept, address(eights), 8 * k)
    lane_sums.add_eights(address(eights), rows * len(start), address(sums), 0)


@pytest.mark.share(3)
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["ordinary", "ends"])
@pytest.mark.parametrize("intercept", [False, True])
def test_lines(name, kind, intercept):
    """Σx², Σxy, Σy² (with an intercept Σx, Σy) of lines of lengths up to two groups of lanes and a
    bit; nothing beside is read."""
    lengths = [*range(72), 95, 96, 97, 111, 112, 113, 128, 500]
    for first in range(0, len(lengths), 8):
        chosen = np.array(lengths[first : first + 8])
        stop = np.cumsum(chosen)
        start = stop - chosen
        with np.errstate(all="ignore"):
            x, y = columns_that_round(kind, 2, 2 * int(stop[-1]) + 1, first).astype(name)
        x, y = guarded(x[: 2 * start[-1] + chosen[-1]]), guarded(y[: stop[-1] + 1])
        count = 40 if intercept else 24
        rows, sums = guarded(np.full(8 * count, np.nan)), guarded(np.full(count, np.nan))
        lines_added(x, y, start, stop, intercept, rows, sums)
        want = []
        for begin, length in zip(start.tolist(), chosen.tolist(), strict=True):
            a, b = x[2 * begin : 2 * begin + length].astype(float), y[begin + 1 : begin + 1 + length].astype(float)
            one = np.ones(length)
            for left, right in ((a, a), (a, b), (b, b), (a, one), (b, one))[: count // 8]:
                lanes = [sum_by_hand(left[lane::LANES].tolist(), right[lane::LANES].tolist()) for lane in range(LANES)]
                want.append(butterfly(lanes, lambda p, q: p + q))
        assert same_bits(sums, np.array(want).reshape(8, -1).T.ravel()), chosen  # eight lines' first sum, their second …
        assert kind == "ends" or len(set(want)) > 20
