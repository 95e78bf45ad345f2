"""Where each part of an option of `fit` stands; `missing` names the files to open for what is not
there."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import fastgd
from fastgd.kernels.chunk import WRITTEN, Chunk
from fastgd.planning import call_cache
from fastgd.planning.options import NAMES, key_of_options
from tests.support.paths import ROOT

FITTING, OPTIONS_PAGE, CALL_CACHE = "fastgd/fitting.py", "docs/options.md", "fastgd/planning/call_cache.py"
JOB = ("fastgd/planning/job.py", "fastgd/planning/options.py")
TESTS = tuple(f"tests/{folder}" for folder in ("fit", "input", "planning", "promises", "results", "running"))
# {where an option is that is a field of Chunk: how it stands there}. Not each kernel: tests compare
# them with the arbiter by ==.
OF_A_CHUNK = {
    "fastgd/running/chunks.py": r"\b{}=",
    "kernels/cpu/__init__.py": r"\bchunk\.{}\b",
    "kernels/cuda": r"\bchunk\.{}\b",
    "kernels/reference": r"\bchunk\.{}\b",
    "tests/specification/arbiter.py": r"\b{}\b",
}


def read(path: str) -> str:
    """The text of a file, of all tests of a folder, or of all modules of a folder of kernels."""
    found = ROOT / path
    files = sorted(found.glob("test_*.py" if path.startswith("tests/") else "*.py"))
    return found.read_text("utf-8") if found.is_file() else "\n".join(file.read_text("utf-8") for file in files)


def options_of_fit(fit: Callable[..., Any] = fastgd.fit) -> dict[str, Any]:
    """{name: default} of everything but X and y."""
    parameters = inspect.signature(fit).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in ("X", "y")}


def key_of(words: Mapping[str, Any]) -> Any:
    """The key that a call of these arguments is remembered by."""
    return call_cache.key_of(words, key_of_options(words))


def read_for_a_job(function: str = "prepare_anew") -> set[str]:
    """The names that a function of JOB, and those that it hands its mapping on to, look up.

    The mapping is the function's first parameter.
    """
    functions = {node.name: node for path in JOB for node in ast.parse(read(path)).body if isinstance(node, ast.FunctionDef)}
    mapping, found = functions[function].args.args[0].arg, set()
    for node in ast.walk(functions[function]):
        match node:
            case ast.Subscript(value=ast.Name(id=looked_up), slice=ast.Constant(value=str(name))) if looked_up == mapping:
                found.add(name)
            case ast.Call(func=ast.Name(id=called), args=[ast.Name(id=given), *_]) if given == mapping and called in functions:
                found |= read_for_a_job(called)
    return found


def missing(name: str, default: Any, *, docstring: str, key: Callable[[Mapping[str, Any]], Any] = key_of) -> list[str]:
    """'file: what it lacks' for each part that is missing; [] where nothing is."""
    found = []
    entry = re.search(rf"^ {{4}}{name} : ((?:.|\n(?! {{4}}\S))*)", docstring, re.MULTILINE)
    if entry is None:
        found.append(f"{FITTING}: in the docstring an entry {name} : …")
    row = re.search(rf"^\| `{name}` \| `(.+?)` \| (.+) \|$", read(OPTIONS_PAGE), re.MULTILINE)
    if row is None or row[1] != (f'"{default}"' if isinstance(default, str) else repr(default)):
        found.append(f'{OPTIONS_PAGE}: in the table "Options of `fit`" a row | `{name}` | `{default!r}` |')
    if name not in read_for_a_job():
        where = f"{JOB[1]}: in read_options" if name in NAMES else f"{JOB[0]}: in prepare_anew"
        found.append(f"{where} its {name}, else what the caller gives is ignored")
    if name in {field.name for field in dataclasses.fields(Chunk)} - set(WRITTEN):
        found += [
            f"{path}: the field {name} of a chunk" for path, text in OF_A_CHUNK.items() if not re.search(text.format(name), read(path))
        ]
    if not re.search(rf"\b{name}=|[\"']{name}[\"']: ", "".join(map(read, TESTS))):
        found.append(f"{TESTS[0]}: a test that gives {name}=…")
    plain = {"X": np.zeros((4, 1)), "y": np.zeros(4), **options_of_fit(), name: default}
    first, second = key(plain), key({**plain, name: "another"})
    if first is None or first == second:
        found.append(f"{CALL_CACHE}: in the key of a call its {name}; else a call is given the decisions of another one")
    return found
