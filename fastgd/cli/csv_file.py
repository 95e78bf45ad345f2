"""Columns of numbers of a .csv file, read strictly: what could be read in two ways is refused.

1. There is one reader, Python's csv module for lines with quotes, so a file means the same wherever
   fastgd is installed. A quote that is opened closes on its line, and none stands within a field.
   100 MB (1.35 million lines of 4 numbers) take 6 s of one core, six times as long as pandas.
2. The text is UTF-8. One of , ; and tab separates, the same in the whole file; every line has as
   many fields as the first, which has the names of the columns, each once. Empty lines are left
   out.
3. A number is written in digits 0 to 9, with a point and an exponent of e or E: no thousands
   separators, no NaN, no underscores, no hexadecimal digits. Blanks around it do not matter. Only
   the columns that are asked for must have numbers.
4. Every error names the file, the line, the column where there is one, and what to do.
"""

from __future__ import annotations

import array
import csv
import math
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TextIO

import numpy as np

from ..input.csv_header import MISSING, NUMBER, names_of, separator_of
from ..input.messages import counted

__all__ = ["CommandError", "read_columns", "regular_file"]

_LONGEST = 2**24  # characters of a line; a file without line ends is refused before it fills the memory
_QUOTED = r'(?:^|(?<={0}))"(?:[^"]|"")*"(?={0}|$)'  # a field in quotes, between separators
_OF_NUMBERS = b"0123456789eE+-. \t"  # of these characters float() takes what NUMBER matches, and nothing else


class CommandError(ValueError):
    """The command line, or a file that it names, cannot be used."""


def regular_file(path: Path) -> Path:
    """Return the path if it leads to a file: reading a pipe or a device may never end."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder; a file is needed")
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is a pipe or a device; write what comes from it to a file first")
    if not path.exists():
        raise CommandError(f"cannot read {path}: there is no such file")
    return path


def read_columns(
    path: Path, target: str | None, features: Sequence[str] | None, left_out: list[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, d) and y (n,), float64: the columns with these names.

    features: None stands for all but the target. left_out: the numbers of the lines in which a
    number is missing are put there, and the lines left out; None: such a line is an error.
    """
    try:
        with regular_file(path).open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = _rows(path, file)
            names = _header(path, rows)
            if target is None:
                raise CommandError(f"--y is needed: the column with the targets, one of {', '.join(names)}")
            chosen = [*([name for name in names if name != target] if features is None else features), target]
            numbers = _numbers(path, rows, names, _positions(path, names, chosen), left_out)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise CommandError(str(error)) from None
    table = np.frombuffer(numbers).reshape(-1, len(chosen))
    if not len(table) and left_out:
        raise CommandError(f"{path} has no line without a missing number")
    if not len(table):
        raise CommandError(f"{path} needs a header and at least one row of numbers")
    return table[:, :-1], table[:, -1]


def _rows(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every line that is not empty."""
    separator = ""
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST), ""), start=1):
        if len(line) == _LONGEST:
            raise CommandError(f"{path}, line {number} has more than {_LONGEST:,} characters: is it a .csv file with line ends?")
        if "\0" in line or not (line.isascii() or _is_utf8(line)):
            raise CommandError(f"{path}, line {number} is not text in UTF-8: save it as UTF-8, or unpack it first if it is compressed")
        text = line.rstrip("\r\n")
        if not text:
            continue
        separator = separator or separator_of(f"{path}, line {number}", text)
        if '"' not in text:
            yield number, text.split(separator)  # as csv does, in a third of its time
            continue
        try:
            fields = next(csv.reader((text,), delimiter=separator, strict=True))
        except csv.Error as error:
            raise CommandError(f"{path}, line {number}: {error}; a quote is to be closed on its line, before a separator") from None
        if '"' in re.sub(_QUOTED.format(separator), "", text):
            raise CommandError(f"{path}, line {number}: a quote stands within a field; a field begins and ends with one, or has none")
        yield number, fields


def _is_utf8(line: str) -> bool:
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:  # of a byte that could not be decoded
        return False
    return True


def _header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Return the names of the columns."""
    number, fields = next(rows, (1, []))
    if not fields:
        raise CommandError(f"{path} needs a header and at least one row of numbers; it is empty")
    where = f"{path}, line {number}"
    for k, name in enumerate(fields, start=1):
        if '"' in name:
            raise CommandError(f"{where}: column {k} has the name {name!a}; a name is printable and has no quote in it")
    return names_of(where, fields)


def _positions(path: Path, names: list[str], chosen: list[str]) -> list[int]:
    """Return where the chosen columns stand."""
    for k, name in enumerate(chosen):
        if name not in names:
            raise CommandError(f"{path} has no column {name!r}; it has {', '.join(names)}")
        if name in chosen[:k]:
            raise CommandError(f"the column {name!r} is asked for twice, among --x and --y")
    if len(chosen) < 2:
        raise CommandError(f"{path} has no column of features beside {chosen[0]!r}; are its columns separated by , ; or tabs?")
    return [names.index(name) for name in chosen]


def _numbers(
    path: Path, rows: Iterator[tuple[int, list[str]]], names: list[str], positions: list[int], left_out: list[int] | None
) -> array.array[float]:
    """Return the numbers of the chosen columns, row after row."""
    numbers: array.array[float] = array.array("d")
    chosen = itemgetter(*positions)
    for number, fields in rows:
        if len(fields) != len(names):
            decimal = "; is the comma a decimal one? Write points" if len(fields) > len(names) else ""
            raise CommandError(f"{path}, line {number} has {counted(len(fields), 'field')} for {counted(len(names), 'name')}{decimal}")
        cells = chosen(fields)
        try:
            if "".join(cells).encode().translate(None, _OF_NUMBERS):
                raise ValueError
            found = tuple(map(float, cells))
        except ValueError:
            found = ()
        if not found or math.inf in found or -math.inf in found:
            wrong = [k for k, cell in enumerate(cells) if NUMBER.fullmatch(cell) is None or math.isinf(float(cell))]
            if left_out is not None and all(cells[k].strip().lower() in MISSING for k in wrong):
                left_out.append(number)
                continue
            k = wrong[0]
            raise CommandError(f"{path}, line {number}, column {names[positions[k]]!r}: {_why_no_number(cells[k])}")
        numbers.extend(found)
    return numbers


def _why_no_number(cell: str) -> str:
    """Return what is wrong with a field, and how to mend it."""
    plain = cell.strip()
    shown = ascii(cell) if len(cell) <= 60 else f"a text of {len(cell):,} characters"
    if plain.lower() in MISSING:
        return f"{shown if plain else 'nothing'} is not a number: leave out rows where one is missing (fastgd verify: --nan-policy omit)"
    if "," in plain and NUMBER.fullmatch(plain.replace(",", "")):
        return f"{shown} is not a number: write a decimal point, and no separator of thousands"
    return f"{shown} is too large for float64" if NUMBER.fullmatch(cell) else f"{shown} is not a number"
