"""Where results of a table go: a file that is written as they come, or a table in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..input.messages import shown
from ..results.replacing import replacing

ENDINGS = (".csv", ".parquet")
_ROWS = 2**16  # of results that are written at a time: of a group of rows of a Parquet file

Write = Callable[[Any], None]  # takes a pyarrow.Table


def read_out(out: Any, inputs: list[Path]) -> Path | None:
    """The path of the file of results, checked before any work. inputs: files that are read."""
    if out is None:
        return None
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"out must be the path of a file, not {shown(out)}")
    path = Path(out)
    if path.suffix not in ENDINGS:
        raise ValueError(f"out is {path}: the name must end in {' or '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out is {path}: there is no folder {path.parent}")
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise ValueError(f"out is {path}, which is not an ordinary file: it cannot be replaced")
    if path.exists() and any(path.samefile(one) for one in inputs):
        raise ValueError(f"out is {path}, which is also read: give another name")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"out is {path}: files cannot be written in {path.parent}")
    return path


@contextlib.contextmanager
def writing(path: Path | None, keep: Write) -> Iterator[Write]:
    """A context with the function that takes results; the file is there once it ends well.

    keep: takes results where no file is asked for.
    """
    if path is None:
        yield keep
        return
    with replacing(path) as file:
        sink = _Sink(file, path.suffix)
        try:
            yield sink.take
            sink.flush()
        except BaseException:
            with contextlib.suppress(Exception):  # what is left of it is removed
                sink.close()
            raise
        sink.close()


class _Sink:
    """Writes tables of one kind to a file, many rows at a time."""

    def __init__(self, file: BinaryIO, ending: str) -> None:
        self._file = file
        self._ending = ending
        self._waiting: list[Any] = []
        self._n_rows = 0
        self._writer: Any = None

    def take(self, table: Any) -> None:
        """Take the results of some groups."""
        self._waiting.append(_with_blanks(table) if self._ending == ".csv" else table)
        self._n_rows += table.num_rows
        if self._n_rows >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was taken."""
        import pyarrow

        if not self._waiting:
            return
        table = pyarrow.concat_tables(self._waiting).combine_chunks()
        if self._writer is None:
            self._writer = _writer_of(self._ending, self._file, table.schema)
        self._writer.write_table(table)
        self._waiting, self._n_rows = [], 0

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()


def _writer_of(ending: str, file: BinaryIO, schema: Any) -> Any:
    if ending == ".csv":
        from pyarrow import csv

        return csv.CSVWriter(file, schema)
    from pyarrow import parquet

    return parquet.ParquetWriter(file, schema, compression="zstd")


def _with_blanks(table: Any) -> Any:
    """The table with nulls in place of NaN: blanks of a .csv file, which every reader knows."""
    import pyarrow
    import pyarrow.compute as compute

    for k, field in enumerate(table.schema):
        if pyarrow.types.is_floating(field.type):
            column = table.column(k)
            table = table.set_column(k, field, compute.if_else(compute.is_nan(column), pyarrow.scalar(None, field.type), column))
    return table
