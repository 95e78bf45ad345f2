"""Finished batches of a table, in a checkpoint: the same call goes on behind them.

1. A batch is stored as the table of its results, in Arrow's format, under the numbers of its rows
   in the order of the keys. So the call can go on with batches of another size.
2. Which table it is tell the names and lengths of its files, and a sum of hashes of all rows, which
   DuckDB makes while it reads the table the first time.
3. A block of the checkpoint is one batch. What has been finished is stored once a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..data.problem import DATA
from ..input.fingerprints import fingerprint
from ..results.checkpoint import FORMAT, FREE, Block, Call, Part, open_checkpoint, say
from ..results.result import versions_here
from .frame_fits import FrameFits
from .table_source import Scan, TableSource

_EVERY = 1.0  # seconds between two stores
_ARRAYS = {"table", "statuses", "n_far", "n_groups"}


class Done(NamedTuple):
    """What became of a batch."""

    table: Any  # of results
    statuses: np.ndarray
    n_far: int  # fits that ended more than 1 % above the least loss
    n_groups: int
    n_rows: int


class Finished:
    """The batches that a checkpoint has, and those that it is to have."""

    def __init__(self, part: Part | None) -> None:
        self._part = part
        self._stored: Iterator[Block] = iter(()) if part is None else part.read(_is_batch)
        self._next = next(self._stored, None)
        self._waiting: list[tuple[int, Done]] = []
        self._last = time.monotonic()

    def rows_at(self, first: int) -> int:
        """How many rows the stored batch has that begins at a row; 0 where none does."""
        while self._next is not None and self._next.first < first:
            self._next = next(self._stored, None)
        return 0 if self._next is None or self._next.first != first else self._next.stop - first

    def take(self) -> Done:
        """The results of the batch that `rows_at` found."""
        import pyarrow

        assert self._next is not None
        arrays = self._next.arrays
        table = pyarrow.ipc.open_stream(pyarrow.py_buffer(arrays["table"].tobytes())).read_all()
        return Done(table, arrays["statuses"], int(arrays["n_far"]), int(arrays["n_groups"]), self._next.stop - self._next.first)

    def keep(self, first: int, done: Done) -> None:
        """Take the results of the batch that begins at a row to be stored."""
        if self._part is not None:
            self._waiting.append((first, done))
            if time.monotonic() - self._last >= _EVERY:
                self.store()

    def store(self) -> None:
        """Store what was taken; where it cannot be, say so once, and go on without."""
        waiting, self._waiting = self._waiting, []
        for first, done in waiting:
            assert self._part is not None
            arrays = {name: np.asarray(getattr(done, name)) for name in _ARRAYS - {"table"}} | {"table": _bytes_of(done.table)}
            try:
                self._part.write(first, first + done.n_rows, arrays, None)
            except OSError as error:
                say(f"fastgd: results cannot be stored in the checkpoint any more, and the call goes on without: {error}")
                self._part = None
                return
        self._last = time.monotonic()


@contextmanager
def finished(path: Any, fits: FrameFits, source: TableSource, scan: Scan) -> Iterator[Finished]:
    """A context of the batches of a call. path: of the checkpoint; None: there is none."""
    if path is None:
        yield Finished(None)
        return
    with open_checkpoint(path, _call_of(fits, source, scan)) as checkpoint:
        batches = Finished(checkpoint.part("table"))
        try:
            yield batches
        finally:
            batches.store()


def _call_of(fits: FrameFits, source: TableSource, scan: Scan) -> Call:
    """What a call is told by: the table, the columns, and all options of its fits."""
    columns = {"y": fits.targets, "several y": fits.several, "x": fits.features, "by": fits.keys, "weights": fits.weights}
    options = {name: value for name, value in fits.arguments.items() if name not in (*DATA, *FREE)}
    files = [(path.name, path.stat().st_size) for path in source.files]
    values = {
        "table": [files, scan.n_rows, scan.content, sorted(scan.whole)],
        "nodata": {name: list(source.nodata[name]) for name in fits.numbers},
        "solve": fits.solve,
        "long": fits.long,
        **columns,
        **options,
    }
    given = {name: fingerprint(value, name) for name, value in values.items()}
    digests, words = ({name: getattr(one, which) for name, one in given.items()} for which in ("digest", "words"))
    words["table"] = f"{source.said}, {scan.n_rows:,} rows"
    return Call(FORMAT, "fit_table", versions_here() | {"duckdb": source.version}, digests, words)


def _is_batch(block: Block) -> bool:
    return block.arrays.keys() == _ARRAYS and 0 <= block.first < block.stop


def _bytes_of(table: Any) -> np.ndarray:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), np.uint8)
