"""TableJob: a call of fit_table(), whose table may be larger than memory.

1. DuckDB reads and sorts (table_source.py), batches of whole groups go through `FrameFits` one
   after another, and their results are written as they come. While one batch is fitted a thread
   waits for the next.
2. Batches depend on the rows and the options alone, and come in the order of the keys: what is
   written is the same at every run, byte for byte.
3. A group that has more rows than a batch is compressed part by part, each of 4,096 · 2^k kept
   rows, so that its moments have the bits of the whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.labels import Groups
from ..input.messages import amount, counted
from ..input.missing import read_nodata
from ..input.options import read_choice, read_dtype, read_memory_limit, read_progress, read_threads
from ..input.room import SHARE, free_memory
from ..input.statistics import read_stats
from ..planning.backends import MOST_FEATURES
from ..results.file_format import name_of
from ..results.status import STATUS_NAMES
from ..results.summary import count_far
from ..results.table_result import TableResult
from ..running.pool import Control, Progress
from .frame_columns import narwhals_here
from .frame_fits import FrameFits
from .table_batches import Batch, LongGroup, Passed, whole_groups
from .table_checkpoint import Done, Finished, finished
from .table_output import read_out, writing
from .table_source import Scan, TableSource, in_our_words, open_table

CHUNK = 4096  # samples: of it and a power of two is each part of a group that is compressed part by part
LEAST_MEMORY = 128 * 2**20
_BATCH_BYTES = 64 * 2**20  # of the columns of a batch, where the memory is not limited
_READ = 2**16  # rows that DuckDB hands over at a time
_NOT_HERE = {
    "w0": "it has a value for each group, and their number is not known before",
    "seed": "mini-batches of all groups have the seed 0",
}


@dataclass(frozen=True)
class Shares:
    """What each part of a call may take."""

    sorting: int  # bytes, of DuckDB
    fitting: int | None  # bytes, of the fits of a batch
    rows: int  # of a batch, at most: 4,096 · 2^k


@dataclass(kw_only=True)
class TableJob:
    """A call of fit_table(), whose table was read once and checked."""

    fits: FrameFits
    source: TableSource
    scan: Scan
    shares: Shares
    out: Path | None
    temp_folder: Path
    needs_samples: str  # the option for which no group can be compressed part by part, in words; "": none
    progress: Any
    pool: ThreadPoolExecutor
    checkpoint: Any  # its path, or None

    def run(self) -> TableResult:
        """Fit all groups."""
        kept: list[Any] = []
        counts, n_far, n_groups, n_rows = np.zeros(len(STATUS_NAMES), np.int64), 0, 0, 0
        self.fits.rehearse(self.source.dtype)
        with (
            finished(self.checkpoint, self.fits, self.source, self.scan) as stored,
            writing(self.out, kept.append) as write,
            _watching(self.progress, self.scan.n_rows, "fitting rows", "rows") as watch,
        ):
            for done in self._results(stored, watch.again):
                counts += np.bincount(done.statuses.ravel(), minlength=len(counts))
                n_far, n_groups, n_rows = n_far + done.n_far, n_groups + done.n_groups, n_rows + done.n_rows
                write(done.table)
                watch.done(n_rows)
        if n_rows != self.scan.n_rows:
            raise RuntimeError(f"the table has changed while it was read: it had {self.scan.n_rows:,} rows, then {n_rows:,}")
        return TableResult(
            n_rows=n_rows,
            n_left_out=self.scan.n_with_gaps if self.fits.options.get("nan_policy") == "omit" else 0,
            n_groups=n_groups,
            statuses={name: int(count) for name, count in zip(STATUS_NAMES, counts, strict=True) if count},
            n_far=n_far,
            path=self.out,
            table=None if self.out is not None else _joined(kept),
        )

    def _results(self, stored: Finished, watch: Callable[[], None]) -> Iterator[Done]:
        """The results of each batch: those that are stored, and then those of a fit."""
        for batch in whole_groups(self._reading(watch), len(self.fits.keys), self.shares.rows, stored.rows_at):
            if isinstance(batch, Passed):
                done = stored.take()
            else:
                done = self._done(batch)
                stored.keep(batch.first, done)
            yield done

    def _done(self, batch: Batch | LongGroup) -> Done:
        """The results of the groups of a batch."""
        names = self.fits.columns
        if isinstance(batch, LongGroup):
            pieces = _Counted(piece.rename_columns(names) for piece in batch.pieces)
            frame, result = self._fit_long(pieces)
            n_groups, n_rows = 1, pieces.n_rows
        else:
            frame, result = self.fits.fit(_framed(batch.table.rename_columns(names)), batch.groups)
            n_groups, n_rows = batch.groups.count, batch.table.num_rows
        n_far = 0 if self.fits.solve else count_far(result)
        return Done(frame.to_native(), np.asarray(result.status), n_far, n_groups, n_rows)

    def _fit_long(self, pieces: Iterator[Any]) -> tuple[Any, Any]:
        """(a frame with one row, its result) of a group that fits into no batch."""
        first = next(pieces)
        if self.needs_samples:
            keys = ", ".join(f"{name}={value!r}" for name, value in first.select(self.fits.keys).slice(0, 1).to_pylist()[0].items())
            group = f"the group {keys}" if keys else "the table"
            raise MemoryError(
                f"{group} has more than {self.shares.rows:,} rows, and {self.needs_samples} needs all of them at a time: "
                "give a larger memory_limit"
            )
        parts = self._parts(_chain(first, pieces))
        part = next(parts)
        if part.num_rows < self.shares.rows:  # most rows were left out
            rows = part.num_rows or first.slice(0, 1).num_rows
            alone = part if part.num_rows else first.slice(0, 1)
            return self.fits.fit(_framed(alone), Groups(np.zeros(1, np.int64), np.array([rows])))
        return self.fits.fit_parts((self.fits.compress(_framed(one)) for one in _chain(part, parts)), _framed(first.slice(0, 1)))

    def _parts(self, pieces: Iterator[Any]) -> Iterator[Any]:
        """The kept rows of a group, `shares.rows` at a time; the last part may be shorter.

        At least one part; where no row is kept it is empty.
        """
        import pyarrow

        waiting, n_rows, nothing = [], 0, None
        for piece in pieces:
            kept = self._kept(piece)
            nothing = kept.slice(0, 0)
            waiting.append(kept)
            n_rows += kept.num_rows
            while n_rows > self.shares.rows:
                joined = pyarrow.concat_tables(waiting)
                yield joined.slice(0, self.shares.rows).combine_chunks()
                waiting, n_rows = [joined.slice(self.shares.rows)], n_rows - self.shares.rows
        yield pyarrow.concat_tables([nothing, *waiting]).combine_chunks()

    def _kept(self, piece: Any) -> Any:
        """The rows of a piece that are fitted: chunks are cut of these alone."""
        keep = np.ones(piece.num_rows, bool)
        weights = self.fits.weights
        if weights is not None:
            keep &= np.asarray(piece[weights]) != 0
        if self.fits.options.get("nan_policy") == "omit":
            lacking = {name: ~np.isfinite(np.asarray(piece[name])) for name in self.fits.numbers}
            of_targets = np.logical_and.reduce([lacking.pop(name) for name in self.fits.targets])
            keep &= ~np.logical_or.reduce([of_targets, *lacking.values()])
        return piece if keep.all() else piece.filter(keep)

    def _reading(self, watch: Callable[[], None]) -> Callable[[], Any]:
        """The function that returns the next rows, and waits for those after them in a thread."""
        query = self.source.sorted_rows(self.scan.whole)
        if self.fits.keys:
            self.source.sort_within(self.shares.sorting, self.scan.n_rows)
        reader: Any = None

        def read() -> Any:
            nonlocal reader
            with in_our_words(self.source.folder):
                if reader is None:
                    reader = self.source.ask(query).to_arrow_reader(_READ)
                return next(reader, None)

        ahead: Any = None

        def take() -> Any:
            nonlocal ahead
            batch = _result_of(self.pool.submit(read) if ahead is None else ahead, watch)
            ahead = None if batch is None else self.pool.submit(read)
            return batch

        return take


@contextmanager
def planned(
    table: Any,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
    places: Mapping[str, Any],
    *,
    threads: Any,
    memory_limit: Any,
    progress: Any,
) -> Iterator[TableJob]:
    """A context with a checked call.

    given: the names; options: of `fit`; places: out, temp_folder, checkpoint. When it is left,
    nothing reads any more, and the folder for what was spilled is gone.
    """
    for option, why in _NOT_HERE.items():
        if options.get(option) is not None:
            raise ValueError(f"fit_table takes no {option}: {why}")
    options, nodata = dict(options), options.get("nodata")
    options.pop("nodata", None)
    threads, limit, progress = read_threads(threads), read_memory_limit(memory_limit), read_progress(progress)
    if threads is not None and options.get("backend", "auto") in ("auto", "cpu"):
        options["threads"] = threads
    fits = FrameFits.read("fit_table", **given, options={**options, "progress": False})
    _refuse_in_two_places(fits)
    policy = read_choice(options.get("nan_policy", "raise"), "nan_policy", ("raise", "omit", "propagate"))
    needs_samples = _why_all_samples(fits)
    shares = _shares(limit, fits, needs_samples)
    if shares.fitting is not None:
        fits = replace(fits, options={**fits.options, "memory_limit": shares.fitting})
    named = read_nodata(nodata, ("X", "y", "sample_weight"))
    of_columns = {name: named["X"] for name in fits.features} | {name: named["y"] for name in fits.targets}
    of_columns |= {} if fits.weights is None else {fits.weights: named["sample_weight"]}
    out = read_out(places["out"], [])
    parent = None if out is None else out.parent
    where = parent if places["temp_folder"] is None else name_of(places["temp_folder"], "temp_folder")
    with (
        _temporary(where) as folder,
        ThreadPoolExecutor(1) as pool,
        open_table(
            table, keys=fits.keys, numbers=fits.numbers, weights=fits.weights, nodata=of_columns, memory=shares.sorting, threads=threads,
            folder=folder,
        ) as source,
    ):  # fmt: skip
        try:
            read_out(places["out"], source.files)
            dtype = read_dtype(options["dtype"]) if options.get("dtype") is not None else source.dtype
            hashed = places["checkpoint"] is not None
            with _watching(False if callable(progress) else progress, 100, "reading rows") as watch:
                scan = _result_of(pool.submit(source.scan, dtype, hashed), lambda: watch.done(int(max(0.0, source.done()))))
            _check(scan, policy, fits)
            yield TableJob(
                fits=fits, source=source, scan=scan, shares=shares, out=out, temp_folder=folder.parent, needs_samples=needs_samples,
                progress=progress, pool=pool, checkpoint=places["checkpoint"],
            )  # fmt: skip
        finally:
            source.interrupt()
            pool.shutdown(wait=True, cancel_futures=True)


def _refuse_in_two_places(fits: FrameFits) -> None:
    for name in fits.numbers:
        if name in fits.keys:
            raise ValueError(f"column {name!a} is in by, and its numbers are fitted: leave one out")


def _why_all_samples(fits: FrameFits) -> str:
    """The option that needs all samples of a group at a time; "" where none does."""
    options = fits.options
    stats, algorithm = read_stats(options.get("stats", False)), options.get("algorithm", "auto")
    if options.get("batch_size") is not None:
        return "batch_size"
    if algorithm == "stream":
        return "algorithm='stream'"
    if options.get("backend", "auto") not in ("auto", "cpu"):
        return f"backend={options['backend']!r}"
    if stats is not None and stats.needs_samples:
        return f"the covariance {stats.covariance}"
    if len(fits.features) > MOST_FEATURES and algorithm != "moments":
        return f"a fit of over {MOST_FEATURES} features (without algorithm='moments')"
    return ""


def _shares(limit: int | None, fits: FrameFits, needs_samples: str) -> Shares:
    """How the memory is divided."""
    of_row = 8 * (len(fits.numbers) + len(fits.keys))
    if limit is None:
        free = free_memory()
        total = 2**32 if free is None else int(SHARE * free)
    elif limit < LEAST_MEMORY:
        raise MemoryError(f"memory_limit is {amount(limit)}, and fit_table needs at least {amount(LEAST_MEMORY)}")
    else:
        total = limit
    size = total // 8 if needs_samples else _BATCH_BYTES if limit is None else min(_BATCH_BYTES, limit // 32)
    chunks = size // (CHUNK * of_row)
    if not chunks:
        raise MemoryError(
            f"{CHUNK:,} rows of {counted(len(fits.columns), 'column')} take {amount(CHUNK * of_row)}, and {amount(size)} of "
            f"{amount(total)} are for such a piece of the table: give a larger memory_limit"
        )
    return Shares(int(0.3 * total), None if limit is None else limit // 4, CHUNK * 2 ** (chunks.bit_length() - 1))


def _check(scan: Scan, policy: str, fits: FrameFits) -> None:
    """Raise where the table cannot be fitted."""
    if not scan.n_rows:
        raise ValueError("the table has no rows")
    if scan.negative_weights:
        raise ValueError(
            f"column {fits.weights!a} of weights is negative in {counted(scan.negative_weights, 'row')}: weights are at least 0"
        )
    lacking = {name: count for name, count in scan.gaps.items() if count}
    if policy == "raise" and lacking:
        named = ", ".join(f"{name!a} in {counted(count, 'row')}" for name, count in lacking.items())
        raise ValueError(
            f"of {counted(scan.n_rows, 'row')} {scan.n_with_gaps:,} lack a finite number ({named}): nan_policy='omit' leaves them out"
        )


# -- waiting ---------------------------------------------------------------------------------------


def _result_of(future: Any, watch: Callable[[], None]) -> Any:
    """The result of what a thread does, with `watch` called while it does it."""
    while not wait([future], 0.1).done:
        watch()
    return future.result()


class _Watch:
    """Shows how many rows are done."""

    def __init__(self, option: Any, total: int, description: str, unit: str) -> None:
        self._control = Control(1)
        self._control.note = "which are being sorted" if unit else ""
        self.progress = Progress(option, total, description, self._control, unit)
        self.again = self.progress.watch

    def done(self, count: int) -> None:
        """Show that `count` units are done."""
        self._control.counter(0)[0] = count
        self._control.note = ""
        self.again()


@contextmanager
def _watching(option: Any, total: int, description: str, unit: str = "") -> Iterator[_Watch]:
    """A context that shows how much is done."""
    watch = _Watch(option, total, description, unit)
    complete = False
    try:
        yield watch
        complete = True
    finally:
        watch.progress.close(complete)


@contextmanager
def _temporary(parent: Any) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    try:
        made = tempfile.TemporaryDirectory(prefix=".fastgd-", suffix=".tmp", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise type(error)(error.errno, f"no folder for temporary files can be made: {error.strerror}", str(parent)) from None
    with made as folder:
        yield Path(folder)


class _Counted:
    """Pieces, and how many rows were in those that were taken."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces = pieces
        self.n_rows = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        piece = next(self._pieces)
        self.n_rows += piece.num_rows
        return piece


def _chain(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from others


def _framed(table: Any) -> Any:
    return narwhals_here().from_native(table, eager_only=True)


def _joined(tables: list[Any]) -> Any:
    import pyarrow

    return pyarrow.concat_tables(tables)
