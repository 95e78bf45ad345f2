"""Batches hold whole groups, and end where the rows say, not where a piece of the stream ends."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fastgd.integrations.table_batches import Batch, whole_groups


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 100])
def test_batches_hold_whole_groups_however_rows_come(piece, most):
    keys = [0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, None, None, 5, 5, 5]
    table = pa.table({"k": keys, "other": [None if k is None else k // 3 for k in keys], "row": range(len(keys))})
    pieces = [batch for first in range(0, len(keys), piece) for batch in table.slice(first, piece).to_batches()]
    stream = iter([*pieces, None])
    found, cuts = [], []
    for batch in whole_groups(lambda: next(stream), 2, most):
        if isinstance(batch, Batch):
            groups = batch.groups
            assert batch.table.num_rows <= most
            rows = batch.table["row"].to_pylist()
            found += [rows[start : start + size] for start, size in zip(groups.starts.tolist(), groups.sizes.tolist(), strict=True)]
            cuts.append(len(rows))
        else:
            found.append([row for part in batch.pieces for row in part["row"].to_pylist()])
            assert len(found[-1]) > most
            cuts.append(len(found[-1]))
    expected = [[row for row, key in enumerate(keys) if key == label] for label in dict.fromkeys(keys)]
    assert found == expected
    whole = iter([*table.to_batches(), None])
    again = [
        b.table.num_rows if isinstance(b, Batch) else sum(p.num_rows for p in b.pieces) for b in whole_groups(lambda: next(whole), 2, most)
    ]
    assert cuts == again  # where a batch ends does not depend on the pieces
