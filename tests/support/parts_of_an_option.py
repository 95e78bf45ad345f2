"""Where each part of an option of `fit` stands; `missing` names the files to open for what is not
there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import fastgd
from fastgd.planning.call_cache import key_of
from tests.support.paths import ROOT

FITTING, GUIDE, CALL_CACHE = "fastgd/fitting.py", "docs/guide.md", "fastgd/planning/call_cache.py"
TESTS = tuple(f"tests/{folder}" for folder in ("fit", "input", "planning", "promises", "results", "running"))


def read(path: str) -> str:
    """The text of a file, or of all tests of a folder."""
    found = ROOT / path
    return found.read_text("utf-8") if found.is_file() else "\n".join(file.read_text("utf-8") for file in sorted(found.glob("test_*.py")))


def options_of_fit(fit: Callable[..., Any] = fastgd.fit) -> dict[str, Any]:
    """{name: default} of everything but X and y."""
    parameters = inspect.signature(fit).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in ("X", "y")}


def missing(name: str, default: Any, *, docstring: str, key: Callable[[Mapping[str, Any]], Any] = key_of) -> list[str]:
    """'file: what it lacks' for each part that is missing; [] where nothing is."""
    found = []
    entry = re.search(rf"^ {{4}}{name} : ((?:.|\n(?! {{4}}\S))*)", docstring, re.MULTILINE)
    if entry is None:
        found.append(f"{FITTING}: in the docstring an entry {name} : …")
    row = re.search(rf"^\| `{name}` \| `(.+?)` \| (.+) \|$", read(GUIDE), re.MULTILINE)
    if row is None or row[1] != (f'"{default}"' if isinstance(default, str) else repr(default)):
        found.append(f'{GUIDE}: in the table "Options of `fit`" a row | `{name}` | `{default!r}` |')
    later = entry is not None and "Not available yet" in entry[1]
    if row is not None and later != ("not available yet" in row[2]):
        found.append(f"{GUIDE}: whether `{name}` is available, as {FITTING} says it")
    if not re.search(rf"\b{name}=|[\"']{name}[\"']: ", "".join(map(read, TESTS))):
        found.append(f"{TESTS[0]}: a test that gives {name}=…")
    plain = {"X": np.zeros((4, 1)), "y": np.zeros(4), **options_of_fit(), name: default}
    first, second = key(plain), key({**plain, name: "another"})
    if first is None or first == second:
        found.append(f"{CALL_CACHE}: in the key of a call its {name}; else a call is given the decisions of another one")
    return found
