"""Batches of whole groups, cut out of a stream of sorted rows.

1. A batch holds as many whole groups as have at most `most` rows together. Where it ends depends on
   the rows and on `most` alone, never on how the stream came in pieces.
2. A group of more than `most` rows is handed on piece by piece (`LongGroup`).
3. Rows of a batch whose results are known are passed over, however many they are (`Passed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.labels import Groups


@dataclass(frozen=True)
class Batch:
    """Whole groups: their rows, and where each begins."""

    first: int  # the number of its first row
    table: Any  # a pyarrow.Table
    groups: Groups


@dataclass(frozen=True)
class LongGroup:
    """A group of more rows than a batch has; all its pieces must be taken before the next batch."""

    first: int
    pieces: Iterator[Any]  # pyarrow.Tables, at least one row in each


@dataclass(frozen=True)
class Passed:
    """Rows of a batch whose results are known; they were passed over."""

    first: int


def whole_groups(
    read: Callable[[], Any], n_keys: int, most: int, known: Callable[[int], int] = lambda first: 0
) -> Iterator[Batch | LongGroup | Passed]:
    """Batches of the rows that `read` returns, a pyarrow.RecordBatch at a time, None at the end.

    n_keys: the first columns; rows that are equal in them are neighbours. known: of the batch that
    begins at a row, the number of rows where its results are known, else 0.
    """
    stream = _Stream(read)
    while stream.fill(1):
        first = stream.first
        if n_known := known(first):
            while n_known and stream.fill(1):
                n_known -= stream.drop(n_known)
            yield Passed(first)
            continue
        stream.fill(most + 1)
        table = stream.table()
        starts = _starts(table, n_keys)
        if table.num_rows > most:
            cut = int(starts[np.searchsorted(starts, most, side="right") - 1])
            if cut == 0:  # its first group alone has more rows
                yield LongGroup(first, _pieces(stream, n_keys))
                continue
        else:
            cut = table.num_rows
        stream.drop(cut)
        starts = starts[starts < cut]
        yield Batch(first, table.slice(0, cut).combine_chunks(), Groups(starts, np.diff(starts, append=cut)))


def _pieces(stream: _Stream, n_keys: int) -> Iterator[Any]:
    """The rows of the group that the stream stands at, and no others."""
    last = None
    while stream.fill(1):
        table = stream.table()
        joined = table if last is None else _joined([last, table])
        starts = _starts(joined, n_keys) - (0 if last is None else 1)
        inner = starts[starts > (0 if last is None else -1)]
        cut = int(inner[0]) if len(inner) else table.num_rows
        if cut:
            yield table.slice(0, cut)
        stream.drop(cut)
        if len(inner):
            return
        last = table.slice(table.num_rows - 1)


class _Stream:
    """Rows that were read, and not yet dropped."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read
        self.first = 0  # the number of the first of them
        self._waiting: list[Any] = []
        self._n_rows = 0
        self._ended = False

    def fill(self, n_rows: int) -> bool:
        """Read until a batch is full or the table ends; returns whether there is a row."""
        import pyarrow

        while self._n_rows < n_rows and not self._ended:
            batch = self._read()
            if batch is None:
                self._ended = True
            elif batch.num_rows:
                self._waiting.append(pyarrow.Table.from_batches([batch]))
                self._n_rows += batch.num_rows
        return self._n_rows > 0

    def table(self) -> Any:
        """All rows that wait."""
        self._waiting = [_joined(self._waiting)]
        return self._waiting[0]

    def drop(self, n_rows: int) -> int:
        """Drop the first rows, as far as they were read; returns how many."""
        n_rows = min(n_rows, self._n_rows)
        self._waiting = [self.table().slice(n_rows)]
        self._n_rows -= n_rows
        self.first += n_rows
        return n_rows


def _joined(tables: list[Any]) -> Any:
    import pyarrow

    return tables[0] if len(tables) == 1 else pyarrow.concat_tables(tables)


def _starts(table: Any, n_keys: int) -> np.ndarray:
    """(m,) int64: the rows whose keys differ from those of the row before, and row 0."""
    import pyarrow.compute as compute

    begins = np.zeros(table.num_rows, bool)
    begins[:1] = True
    for k in range(n_keys):
        column = table.column(k).combine_chunks()
        now, before = column.slice(1), column.slice(0, max(0, len(column) - 1))
        differ = compute.fill_null(compute.not_equal(now, before), False)  # null where one of the two is
        either = compute.not_equal(compute.is_null(now), compute.is_null(before))
        begins[1:] |= compute.or_(differ, either).to_numpy(zero_copy_only=False)
    return np.flatnonzero(begins)
