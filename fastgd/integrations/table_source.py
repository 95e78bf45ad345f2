"""TableSource: a table that DuckDB reads, checks and sorts by its keys, out of core.

1. DuckDB sorts; its limit of memory and its folder for what does not fit are set here. Rows with
   equal keys keep their order in the table: a running number of the rows is the last key.
2. A table is read twice. First what cannot be fitted is looked for and counted: a text among
   numbers, a gap, a negative weight. So an error comes before any fit.
3. Fields of a .csv file are read as text, whatever the first thousand lines look like. A column of
   keys becomes one of whole numbers where each is written as such: 007 is not 7. In columns of
   numbers a field is a number, empty, or a word for "missing".
4. Within DuckDB columns have names of our own, k0, k1, … and n0, n1, …, so that no name of the
   caller's needs to be one that SQL can tell from others.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..input.csv_header import MISSING
from ..input.messages import amount, counted
from ..planning.plan import available_threads
from .frame_columns import OF_CATEGORIES
from .table_files import CsvFile, files_of, is_parquet, read_header, require_columns

_VIEW = "fastgd_table"
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_NUMBERS = ("FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN", *_WHOLE)
_LABELS = ("VARCHAR", "DATE", "TIME", "BLOB", "BOOLEAN", "DECIMAL", *_WHOLE[:4], *_WHOLE[5:9])  # as they are; others as text
_PER_THREAD = 6.0  # MiB of memory, squared, that a thread needs for each MiB that is sorted
_NESTED = ("STRUCT", "MAP", "UNION", "LIST", "VARIANT")
LARGEST = {
    np.dtype(np.float64): 1.7976931348623157e308,
    np.dtype(np.float32): 3.4028235677973362e38,
}  # the largest that rounds to a finite one


def duckdb_here() -> Any:
    """duckdb, or an error that says how to install it, and what else tables need."""
    try:
        import duckdb
        import narwhals  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(f"tables need {error.name}: pip install 'fastgd[tables]'") from None
    return duckdb


@dataclass(frozen=True)
class Scan:
    """What the first reading found."""

    n_rows: int
    gaps: dict[str, int]  # column of numbers: rows where it has no finite number
    n_with_gaps: int  # rows
    negative_weights: int
    whole: frozenset[str]  # columns of keys that are text, each a whole number as it is written
    content: int  # a sum of hashes of all rows; 0 where it was not asked for


@dataclass(kw_only=True)
class TableSource:
    """A table whose rows can be asked for, sorted by its keys."""

    ask: Callable[[str], Any]  # a query that reads from _VIEW: a relation
    interrupt: Callable[[], None]  # ends a query that runs in another thread
    done: Callable[[], float]  # how far the query has come [%]; negative where it is not known
    kinds: dict[str, str]  # the type of each column
    is_text: bool  # all columns are text, of .csv files
    said: str  # what is read, in words
    keys: list[str]
    numbers: list[str]
    weights: str | None
    nodata: Mapping[str, Sequence[Any]]  # column of numbers: values that mean "missing"
    files: list[Path]
    version: str  # of DuckDB
    folder: str  # where DuckDB spills
    threads: int | None  # None: as many as this process may use
    settings: Callable[[str], Any] | None  # sets an option of DuckDB; None: the connection is the caller's

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the numbers as they are read: float32 where all columns are."""
        kinds = {self.kinds[name] for name in self.numbers}
        return np.dtype(np.float32 if kinds == {"FLOAT"} else np.float64)

    @property
    def bytes_per_row(self) -> int:
        """Bytes of a row while it is sorted, roughly: numbers, keys and its own number."""
        return self.dtype.itemsize * len(self.numbers) + 16 * len(self.keys) + 8

    def sort_within(self, memory: int, n_rows: int) -> None:
        """Let DuckDB sort with no more threads than have room, each with a block of every run.

        The runs are as long as memory allows. So the memory that is needed goes with the root of
        the rows times the threads: 150 MB sufficed for 2 threads and 1.5 GB of rows, 94 for one.
        """
        rows = max(1.0, n_rows * self.bytes_per_row / 2**20)  # MiB
        room = int((memory / 2**20) ** 2 / (_PER_THREAD * rows))
        if self.settings is not None and room < (self.threads or available_threads()):
            self.settings(f"SET threads = {max(1, room)}")

    def scan(self, dtype: np.dtype, content: bool) -> Scan:
        """Read the table once, and count what is wrong.

        dtype: in which numbers must be finite. content: whether rows are hashed.
        """
        values = [self._number(k) for k in range(len(self.numbers))]
        wrong = [f"NOT coalesce(abs(n{k}) <= {LARGEST[dtype]!r}, false)" for k in range(len(values))]
        counts_where = "true" if self.weights is None else f"NOT coalesce(n{self.numbers.index(self.weights)} = 0, false)"
        asked = [f"count(*) FILTER (WHERE {counts_where} AND {one})" for one in wrong]
        asked.append(f"count(*) FILTER (WHERE {counts_where} AND ({' OR '.join(wrong)}))")
        asked.append("sum(content)" if content else "0")
        asked.append("0" if self.weights is None else f"count(*) FILTER (WHERE n{self.numbers.index(self.weights)} < 0)")
        texts = [k for k, name in enumerate(self.keys) if self.is_text and self.kinds[name] == "VARCHAR"]
        asked += [f"count(k{k}) > 0 AND bool_and(coalesce(TRY_CAST(k{k} AS BIGINT)::VARCHAR = k{k}, k{k} IS NULL))" for k in texts]
        stored = [*(f"k{k}" for k in range(len(self.keys))), *(f"n{k}" for k in range(len(values)))]
        columns = [*(f"{value} AS n{k}" for k, value in enumerate(values)), *(f"k{k}" for k in texts)]
        columns += [f"hash({', '.join(stored)}) AS content"] * content
        n_rows, *rest = self.rows_of(f"SELECT count(*), {', '.join(asked)} FROM (SELECT {', '.join(columns)} FROM {_VIEW})")[0]
        gaps, (with_gaps, total, negative, *whole) = rest[: len(values)], rest[len(values) :]
        named = frozenset(self.keys[k] for k, is_whole in zip(texts, whole, strict=True) if is_whole)
        return Scan(n_rows, dict(zip(self.numbers, gaps, strict=True)), with_gaps, negative, named, int(total or 0))

    def sorted_rows(self, whole: frozenset[str]) -> str:
        """The query of all rows: columns of keys, then of numbers, sorted by the keys."""
        keys = [f"{self._key(k, whole)} AS k{k}" for k in range(len(self.keys))]
        numbers = [f"{self._number(k)} AS n{k}" for k in range(len(self.numbers))]
        if not keys:
            return f"SELECT {', '.join(numbers)} FROM {_VIEW}"
        columns = [*(f"k{k}" for k in range(len(keys))), *(f"n{k}" for k in range(len(numbers)))]
        order = [*(f"k{k} NULLS LAST" for k in range(len(keys))), "place"]
        inner = f"SELECT {', '.join([*keys, *numbers])}, row_number() OVER () AS place FROM {_VIEW}"
        return f"SELECT {', '.join(columns)} FROM ({inner}) ORDER BY {', '.join(order)}"

    def sizes(self, whole: frozenset[str], least: int) -> tuple[int, int, int, int]:
        """(groups, rows of the smallest, rows of the largest, groups of at most `least` rows)."""
        keys = ", ".join(self._key(k, whole) for k in range(len(self.keys)))
        by = f"SELECT count(*) AS n FROM {_VIEW}" + (f" GROUP BY {keys}" if keys else "")
        found: tuple[int, int, int, int] = self.rows_of(
            f"SELECT count(*), min(n), max(n), count(*) FILTER (WHERE n <= {least}) FROM ({by})"
        )[0]
        return found

    def rows_of(self, query: str) -> list[tuple[Any, ...]]:
        """All rows that a query finds."""
        with in_our_words(self.folder):
            rows: list[tuple[Any, ...]] = self.ask(query).fetchall()
        return rows

    def _number(self, k: int) -> str:
        """SQL of a column of numbers: FLOAT or DOUBLE, null where one is missing."""
        name, value = self.numbers[k], f"n{k}"
        kind = self.kinds[name].partition("(")[0]
        if self.is_text and kind == "VARCHAR":
            words = ", ".join(map(_text, sorted(MISSING - {""})))
            said = _text(f"column {name!a} of numbers has ")
            mend = ", which is not a number: write it as -1234.5, with no comma, date or word, and leave it empty where it is missing"
            refused = f"error({said} || left(n{k}, 60) || {_text(mend)})"
            truth = f"CASE lower(trim(n{k})) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"  # as pandas writes bools
            blank = f"n{k} IS NULL OR lower(trim(n{k})) IN ('', {words})"
            # DuckDB itself takes 1_000 for 1000
            value = f"coalesce(TRY_CAST(replace(n{k}, '_', '?') AS DOUBLE), {truth}, CASE WHEN {blank} THEN NULL ELSE {refused} END)"
            kind = "DOUBLE"
        missing = [sql for one in self.nodata.get(name, ()) if (sql := _as_stored(one, kind))]
        if missing:
            compared = f"{value}::DOUBLE" if kind == "DECIMAL" else value
            value = f"CASE WHEN {compared} IN ({', '.join(missing)}) THEN NULL ELSE {value} END"
        return value if kind in ("FLOAT", "DOUBLE") else f"CAST({value} AS DOUBLE)"

    def _key(self, k: int, whole: frozenset[str]) -> str:
        """SQL of a column of keys: NaN is null, and −0.0 is 0.0."""
        name = self.keys[k]
        kind = self.kinds[name].partition("(")[0]
        if name in whole:
            return f"CAST(k{k} AS BIGINT)"
        if kind in ("FLOAT", "DOUBLE"):
            return f"CASE WHEN isnan(k{k}) THEN NULL WHEN k{k} = 0 THEN 0::{kind} ELSE k{k} END"
        return f"k{k}" if kind in _LABELS or kind.startswith("TIMESTAMP") else f"CAST(k{k} AS VARCHAR)"


@contextlib.contextmanager
def open_table(
    source: Any,
    *,
    keys: list[str],
    numbers: list[str],
    weights: str | None,
    nodata: Mapping[str, Sequence[Any]],
    memory: int,
    threads: int | None,
    folder: Path,
) -> Iterator[TableSource]:
    """A context of the table. memory: bytes that DuckDB may take. folder: for what it spills."""
    duckdb = duckdb_here()
    columns = [*keys, *numbers]
    asked: dict[str, Any] = {
        "keys": keys,
        "numbers": numbers,
        "weights": weights,
        "nodata": nodata,
        "threads": threads,
        "version": duckdb.__version__,
        "folder": str(folder),
    }
    if isinstance(source, duckdb.DuckDBPyRelation):
        require_columns(columns, source.columns, "the relation")
        kinds = dict(zip(source.columns, map(str, source.types), strict=True))
        names = _selected(keys, numbers, {name: _name(name) for name in columns})
        given = f"{_VIEW}_given"
        view = f"WITH {_VIEW} AS (SELECT {names} FROM {given})"
        found = TableSource(
            ask=lambda query: source.query(given, f"{view} {query}"), interrupt=lambda: None, done=lambda: -1.0, kinds=kinds, is_text=False,
            said="a DuckDB relation", files=[], settings=None, **asked,
        )  # fmt: skip
        _check_kinds(found, "the relation")
        yield found
        return
    files = files_of(source)
    settings: dict[str, Any] = {"memory_limit": f"{memory // 1000}KB", "temp_directory": str(folder)}
    if threads is not None:
        settings["threads"] = threads
    # nothing is fetched from the network
    settings |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    is_text = not is_parquet(files)
    with contextlib.closing(duckdb.connect(config=settings)) as connection:
        with in_our_words():
            connection.sql("SET enable_progress_bar = true")
            connection.sql("SET enable_progress_bar_print = false")
            read, kinds = (_read_csv if is_text else _read_parquet)(connection, files, columns)
            tables = [f"SELECT {_selected(keys, numbers, names)} FROM {table}" for table, names in read]
            connection.sql(f"CREATE TEMP VIEW {_VIEW} AS {' UNION ALL '.join(tables)}")
        found = TableSource(
            ask=connection.sql, interrupt=connection.interrupt, done=connection.query_progress, kinds=kinds, is_text=is_text,
            said=f"{counted(len(files), '.csv file' if is_text else 'Parquet file')}, {amount(sum(path.stat().st_size for path in files))}",
            files=files, settings=connection.sql, **asked,
        )  # fmt: skip
        _check_kinds(found, files[0] if len(files) == 1 else "the table")
        yield found


def _selected(keys: list[str], numbers: list[str], names: Mapping[str, str]) -> str:
    """The columns of _VIEW. names: SQL of each column by its name."""
    return ", ".join(
        [*(f"{names[name]} AS k{k}" for k, name in enumerate(keys)), *(f"{names[name]} AS n{k}" for k, name in enumerate(numbers))]
    )


def _check_kinds(table: TableSource, where: Any) -> None:
    """Raise where a column of numbers does not hold numbers, or keys cannot be compared."""
    for name in table.numbers:
        kind = table.kinds[name]
        if kind.partition("(")[0] not in _NUMBERS and not (table.is_text and kind == "VARCHAR"):
            advice = f", such as {OF_CATEGORIES}" if kind == "VARCHAR" else ""
            raise TypeError(f"column {name!a} of {where} is {kind}: it must hold numbers{advice}")
    for name in table.keys:
        kind = table.kinds[name]
        if kind.startswith(_NESTED) or kind.endswith("]"):
            raise TypeError(f"column {name!a} of {where} is {kind}: keys are numbers, texts, dates or times")


Read = list[tuple[str, dict[str, str]]]  # (SQL of a table, {column: SQL of its name there}), in the order of the rows


def _read_parquet(connection: Any, files: list[Path], columns: list[str]) -> tuple[Read, dict[str, str]]:
    """(how to read the files, the type of each column)."""
    paths = f"[{', '.join(_text(_literally(path)) for path in files)}]"
    hive = any("=" in part for path in files for part in path.parts[:-1])
    table = f"read_parquet({paths}, union_by_name = true, hive_partitioning = {str(hive).lower()})"
    found = connection.sql(f"SELECT * FROM {table} LIMIT 0")
    kinds = dict(zip(found.columns, map(str, found.types), strict=True))
    if len(files) > 1:
        of_files: dict[str, set[str]] = {}
        for file, name in connection.sql(f"SELECT file_name, name FROM parquet_schema({paths})").fetchall():
            of_files.setdefault(file, set()).add(name)
        of_folders = {part.partition("=")[0] for path in files for part in path.parts[:-1] if "=" in part}
        for file, names in of_files.items():
            require_columns([name for name in columns if name not in of_folders and name in kinds], sorted(names), file)
    require_columns(columns, list(kinds), files[0] if len(files) == 1 else f"{files[0]}, ...,")
    return [(table, {name: _name(name) for name in columns})], kinds


def _read_csv(connection: Any, files: list[Path], columns: list[str]) -> tuple[Read, dict[str, str]]:
    """(how to read the files, the type of each column). Neighbours with equal headers are one."""
    kinds = dict.fromkeys(columns, "VARCHAR")
    runs: list[list[CsvFile]] = []
    for file in map(read_header, files):
        folders = _folders(file.path)
        require_columns(columns, [*file.names, *folders], file.path)
        same = runs and _alike(runs[-1][-1]) == _alike(file)
        if same and not folders:
            runs[-1].append(file)
        else:
            runs.append([file])
    read = []
    for run in runs:
        first, folders = run[0], _folders(run[0].path)
        of_file = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(len(first.names)))
        paths = ", ".join(_text(_literally(file.path)) for file in run)
        compression = "gzip" if first.compressed else "none"
        options = f"delim = {_text(first.separator)}, quote = '\"', escape = '\"', nullstr = '', compression = '{compression}'"
        table = f"read_csv([{paths}], auto_detect = false, header = true, {options}, columns = {{{of_file}}})"
        read.append((table, {name: f"c{first.names.index(name)}" if name in first.names else folders[name] for name in columns}))
    return read, kinds


def _alike(file: CsvFile) -> tuple[Any, ...]:
    return file.compressed, file.separator, file.names


def _folders(path: Path) -> dict[str, str]:
    """{column: SQL of its value} of the folders name=value above a file, as Hive has them."""
    pairs = [part.split("=", 1) for part in path.parts[:-1] if "=" in part]
    return {name: "NULL" if value == "__HIVE_DEFAULT_PARTITION__" else _text(value) for name, value in pairs}


def _literally(path: Path) -> str:
    """The path as a pattern of DuckDB's that matches it alone."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _as_stored(number: Any, kind: str) -> str:
    """SQL of a value of `nodata` in the type of a column; '' where that cannot hold it."""
    if kind in ("FLOAT", "DOUBLE", "DECIMAL"):
        return f"TRY_CAST('{float(number)!r}' AS {'FLOAT' if kind == 'FLOAT' else 'DOUBLE'})"
    return f"TRY_CAST('{int(number)}' AS {kind})" if float(number).is_integer() else ""


# -- errors ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_our_words(folder: str = "the folder of DuckDB's") -> Iterator[None]:
    """A context in which an error of DuckDB becomes one of Python's, in words for our caller.

    folder: where DuckDB spills.
    """
    try:
        yield
    except Exception as error:
        duckdb = duckdb_here()
        text = str(error)
        if "No space left" in text or "max_temp_directory_size" in text:
            words = "the disk is full where rows are sorted that do not fit into memory; give temp_folder, a folder with room"
            raise OSError(errno.ENOSPC, words, folder) from error
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in text:
            raise MemoryError("sorting the rows needs more memory: give a larger memory_limit, or fewer threads") from error
        if isinstance(error, duckdb.InterruptException) or not isinstance(error, duckdb.Error):
            raise
        found = re.search(r"CSV Error on Line: (\d+)\n(?:Original Line: .*\n)?(.*)(?s:.*)^\s*file = (.*)$", text, re.MULTILINE)
        if found:
            raise ValueError(f"{found[3]}, line {found[1]}: {found[2]}") from None
        raise ValueError(text.partition(" Error: ")[2].partition("\n")[0] or text) from None
