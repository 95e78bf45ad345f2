"""Items that are groups of rows: the rows that plain slicing gives, in every layout."""

from __future__ import annotations

import numpy as np
import pytest

from fastgd.data.labels import groups_of_labels, groups_of_offsets, read_labels
from fastgd.data.problem import Problem
from fastgd.data.ragged import GroupProblem
from fastgd.input.arrays import arrive_on_host

N = 23
X = np.arange(3.0 * N).reshape(N, 3)
LAYOUTS = {
    "rows": X,
    "columns": np.asfortranarray(X),
    "every second": np.repeat(X, 2, axis=0)[::2],
    "backwards": X[::-1].copy()[::-1],
    "float32": X.astype(np.float32),
    "integers": X.astype(np.int16),
    "one feature": X[:, 0],
    "several": np.stack([X, -X]),
    "one for all": np.broadcast_to(X, (2, N, 3)),
}


def problem_of(X, labels, **options):
    y = np.arange(float(N)) * 10
    read = {"intercept": False, "dtype": None} | options
    table = Problem.read(arrive_on_host(X=X, y=y, sample_weight=None), **read)
    groups = groups_of_offsets([0, 5, 10, 15, 20, N], N) if labels is None else groups_of_labels([read_labels(labels, "groups", N)[0]])
    return GroupProblem.of_table(table, groups), groups


@pytest.mark.parametrize("labels", [None, np.arange(N) // 5, np.arange(N) % 5], ids=["offsets", "sorted", "apart"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_groups_are_slices(layout, labels):
    whole, groups = problem_of(LAYOUTS[layout], labels)
    rows = np.arange(N) if groups.rows is None else groups.rows
    full = np.asarray(LAYOUTS[layout], np.float64)
    table = full.reshape(*full.shape[: full.ndim - 1 - (full.ndim > 1)], N, -1) if full.ndim == 1 else full
    for size in set(groups.sizes.tolist()):
        which = np.flatnonzero(groups.sizes == size)
        items = whole.of_groups(which).X
        expected = np.stack([table[..., rows[groups.starts[g] : groups.starts[g] + size], :] for g in which], axis=table.ndim - 2)
        if layout == "one for all":
            expected = expected[:1]
        expected = expected.reshape(-1, size, table.shape[-1])
        assert items.count == len(expected)
        for part in (items.take(0, items.count), items.take(0, items.count, contiguous=True), items.flat()):
            assert np.array_equal(part, expected)
        some = np.arange(items.count)[::2]
        assert np.array_equal(items.pick(some, slice(1, 3)), expected[some, 1:3])
        assert items.view(0, 1) is None


UNLIKE = {"offsets": None, "sorted": np.arange(N) // 5, "apart": np.arange(N) % 5, "runs": np.arange(N) // 7 % 2}


@pytest.mark.parametrize("labels", UNLIKE)
@pytest.mark.parametrize("layout", [name for name, given in LAYOUTS.items() if given.ndim < 3])
def test_rows_of_groups_of_unlike_sizes(layout, labels):
    """Of any range of the groups, from its first row to its last one; copied only where needed."""
    given = LAYOUTS[layout]
    whole, groups = problem_of(given, UNLIKE[labels])
    full, order = np.asarray(given, np.float64).reshape(N, -1), np.arange(N) if groups.rows is None else groups.rows
    which = np.arange(groups.count)[:: 2 if groups.rows is None else 1]
    part = whole.of_groups(which)
    assert part.is_ragged
    assert part.usual_samples == groups.sizes[which].mean()
    assert part.n_samples == groups.sizes[which].max()
    for first, stop in ((0, len(which)), (1, len(which)), (len(which) - 1, len(which))):
        (x, y), begins, sizes = part.rows_of_range(first, stop)
        assert x.shape[1:] == (1, full.shape[1])
        assert y.shape[1:] == (1,)
        assert x.dtype == part.dtype
        assert not x.flags.writeable
        assert x.strides[1] == x.strides[0]
        for g, begin, size in zip(which[first:stop], begins, sizes, strict=True):
            rows = order[groups.starts[g] : groups.starts[g] + groups.sizes[g]]
            assert np.array_equal(x[begin : begin + size, 0], full[rows])
            assert np.array_equal(y[begin : begin + size, 0], rows * 10.0)
        assert np.shares_memory(x, given) == (groups.rows is None and given.dtype == np.float64)


def test_what_is_missing_is_nan():
    masked = np.ma.array(X, mask=X == 30)
    whole, groups = problem_of(masked, np.arange(N) % 5, nodata=-1, nan_policy="omit")
    assert len(set(groups.sizes.tolist())) == 2
    items = whole.of_groups(np.flatnonzero(groups.sizes == 5)).X
    rows = items.take(0, items.count)
    assert np.argwhere(np.isnan(rows)).tolist() == [[0, 2, 0]]  # 30 is in row 10, the third one of group 0
    (rows, _), begins, _ = whole.rows_of_range(0, groups.count)
    assert np.argwhere(np.isnan(rows)).tolist() == [[begins[0] + 2, 0, 0]]


def test_no_rows():
    whole, _ = problem_of(X, None)
    table = whole.table
    empty = GroupProblem.of_table(table, groups_of_offsets([0, 0, N], N)).of_groups(np.array([0]))
    assert empty.X.take(0, 1).shape == (1, 0, 3)
