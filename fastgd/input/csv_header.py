"""The first line of a .csv file: what separates its fields, and the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["MISSING", "NUMBER", "names_of", "separator_of"]

NUMBER = re.compile(r"[ \t]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*")
MISSING = frozenset({"", "na", "nan", "n/a", "null", "none", "-", "?", "inf", "-inf", "+inf", "infinity", "-infinity"})  # in lower case


def separator_of(where: str, line: str) -> str:
    """The one of , ; and tab that separates the names. where: file and line, for errors."""
    outside = re.sub(r'"[^"]*"', "", line)
    found = [separator for separator in ",;\t" if separator in outside]
    if len(found) > 1:
        raise ValueError(f"{where}: the names are separated by both {found[0]!a} and {found[1]!a}; one of them is needed")
    return found[0] if found else ","


def names_of(where: str, fields: Sequence[str]) -> list[str]:
    """The names of the columns, each once, without blanks around them."""
    names = [name.strip() for name in fields]
    if all(NUMBER.fullmatch(name) or name.lower() in MISSING for name in names):
        raise ValueError(f"{where} has numbers where the names of the columns are needed: put a line of names before it")
    if names[0].startswith("#"):
        raise ValueError(f"{where} begins with #; the names of the columns are needed there: take the # and lines of comment out")
    for k, name in enumerate(names, start=1):
        if not name:
            raise ValueError(f"{where}: column {k} of {len(names)} has no name; name it, or take out the separator at the end of the lines")
        if not name.isprintable():
            raise ValueError(f"{where}: column {k} has the name {name!a}; a name is printable")
        if name in names[: k - 1]:
            raise ValueError(f"{where}: two columns have the name {name!a}; rename one")
    return names
