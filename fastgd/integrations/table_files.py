"""Files of a table: which ones a path, a pattern or a folder names, and where their columns stand.

1. Files are read in the order in which they are named, those of a pattern or a folder in that of
   their paths: it is the order of the rows of a group, and so of its sums.
2. What a file is its first bytes say, not its name.
3. Every file must have every column that is asked for, in any order.
"""

from __future__ import annotations

import csv
import glob
import gzip
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..input.csv_header import names_of, separator_of
from ..input.messages import shown

_LONGEST = 2**24  # bytes of the line of names
_ENDINGS = (".parquet", ".pq", ".csv", ".csv.gz", ".tsv", ".tsv.gz")  # what is read of a folder
_ELSE = {
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"PK": "a .zip or .xlsx file",
}


@dataclass(frozen=True)
class CsvFile:
    """A .csv file, and what its first line says."""

    path: Path
    compressed: bool  # by gzip
    separator: str
    names: tuple[str, ...]


def files_of(source: Any) -> list[Path]:
    """The files that a path, a pattern, a folder or a list of them names."""
    given = list(source) if isinstance(source, list | tuple) else [source]
    found: list[Path] = []
    for one in given:
        if not isinstance(one, str | os.PathLike):
            raise TypeError(f"a table must be the path of a file or folder, a list of paths, or a DuckDB relation, not {shown(one)}")
        found += _files_of_one(os.fspath(one))
    if not found:
        raise ValueError("no file is named: give the path of a table")
    if twice := next((path for k, path in enumerate(found) if path in found[:k]), None) if len(found) < 1000 else None:
        raise ValueError(f"{twice} is named twice: its rows would count twice")
    return found


def _files_of_one(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        files = sorted(
            one for one in path.rglob("*") if one.name.lower().endswith(_ENDINGS) and one.is_file() and not _is_hidden(one, path)
        )
        if not files:
            raise ValueError(f"the folder {name} has no {', '.join(_ENDINGS)} file")
        return files
    if path.exists() or not glob.has_magic(name):
        return [_regular(path)]
    files = [_regular(Path(one)) for one in sorted(glob.glob(name, recursive=True)) if not Path(one).is_dir()]
    if not files:
        raise FileNotFoundError(f"no file matches {name}")
    return files


def _is_hidden(file: Path, folder: Path) -> bool:
    """Whether a writer of data sets left the file or its folder aside: _temporary, .part."""
    return any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _regular(path: Path) -> Path:
    if not path.exists():
        names = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f"cannot read {path}: there is no such file{_meant(path.name, names)}")
    if not path.is_file():
        raise ValueError(f"{path} is a pipe or a device; write what comes from it to a file first")
    return path


def is_parquet(files: Sequence[Path]) -> bool:
    """Whether these are Parquet files; raise where they are of two kinds, or none is known."""
    kinds = {_kind_of(path): path for path in files}
    if len(kinds) > 1:
        parquet, text = kinds["parquet"], kinds["csv"]
        raise ValueError(f"{parquet} is a Parquet file and {text} is text: give files of one kind")
    return "parquet" in kinds


def _kind_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            begin = file.read(8)
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror or error}") from None
    if not begin:
        raise ValueError(f"{path} is empty; a line of names and at least one row of numbers are needed")
    for mark, what in _ELSE.items():
        if begin.startswith(mark):
            raise ValueError(f"{path} is {what}: unpack it, or write it as .csv or Parquet")
    return "parquet" if begin.startswith(b"PAR1") else "csv"


def read_header(path: Path) -> CsvFile:
    """The names of the columns of a .csv file, and what separates them."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    where = f"{path}, line 1"
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            line = file.readline(_LONGEST)
    except (OSError, EOFError) as error:
        raise OSError(f"cannot read {path}: {error}") from None
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{where} is not text in UTF-8: save it as UTF-8") from None
    if len(line) == _LONGEST or "\0" in text:
        raise ValueError(f"{where} is no line of names: is it a .csv file with line ends?")
    if not text:
        raise ValueError(f"{where} is empty; the names of the columns are needed there")
    separator = separator_of(where, text)
    try:
        fields = next(csv.reader((text,), delimiter=separator, strict=True))
    except csv.Error as error:
        raise ValueError(f"{where}: {error}; a quote is to be closed on its line, before a separator") from None
    return CsvFile(path, compressed, separator, tuple(names_of(where, fields)))


def require_columns(wanted: Iterable[str], there: Sequence[str], where: Any) -> None:
    """Raise where a column is not there, and say which one may be meant."""
    for name in wanted:
        if name not in there:
            listed = ", ".join(map(ascii, there[:12])) + (", ..." if len(there) > 12 else "")
            raise ValueError(f"{where} has no column {name!a}{_meant(name, there) or f'; there are: {listed}'}")


def _meant(name: str, there: Sequence[str]) -> str:
    """'; is 'dep_delay' meant?', or an empty text."""
    by_lower = {one.lower(): one for one in reversed(there)}
    near = get_close_matches(name.lower(), list(by_lower), 1)
    return f"; is {by_lower[near[0]]!a} meant?" if near else ""
