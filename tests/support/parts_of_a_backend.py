"""Where each part of a backend stands; `missing` names the files to open for what is not there."""

from __future__ import annotations

import importlib
import importlib.util
import re
from types import SimpleNamespace
from typing import get_args

import fastgd
from fastgd.input import annotations
from fastgd.kernels.chunk import ALGORITHMS
from fastgd.kernels.update_rules import HANDS
from fastgd.planning import backends
from fastgd.planning.backends import Backend
from fastgd.running import reference
from tests.house import test_architecture
from tests.support.paths import ROOT

TABLE, FITTING, OPTIONS_PAGE, CONFTEST = "fastgd/planning/backends.py", "fastgd/fitting.py", "docs/options.md", "tests/conftest.py"
ARCHITECTURE = "tests/house/test_architecture.py"
# {backend: what it needs that a machine may lack, such as a GPU or another operating system}
NOT_EVERYWHERE = {"cuda": "a GPU; the tests run cuda-host instead", "torch-cuda": "a GPU"}
VERSIONS = ("fastgd/environment.py", "fastgd/results/result.py", "fastgd/verification/verifying.py")  # they tell those of libraries
BROUGHT_BY = {"llvmlite": "numba", "cuda": "cupy"}  # libraries that have no version of their own there


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def libraries() -> set[str]:
    """What the folders of kernels may import, but for Python's own modules."""
    found = {library for folder, names in test_architecture.LIBRARIES.items() if folder.startswith("kernels") for library in names}
    return {BROUGHT_BY.get(library, library) for library in found if not library.startswith("_")}


def _has_descent(algorithm: str, name: str) -> bool:
    """Whether the runner of the references finds a `descend` for an algorithm."""
    plan = SimpleNamespace(algorithm=ALGORITHMS.index(algorithm), algorithm_name=algorithm, backend=SimpleNamespace(name=name))
    try:
        return callable(reference._descent_of(SimpleNamespace(plan=plan)))
    except NotImplementedError:
        return False


def missing(row: Backend) -> list[str]:
    """'file: what it lacks' for each part that is missing; [] where nothing is."""
    found, name = [], row.name
    runner = f"fastgd.running.{row.runner}"
    if importlib.util.find_spec(runner) is None or not hasattr(importlib.import_module(runner), "run"):
        found.append(f"{runner.replace('.', '/')}.py: a function run(job, control, go), the runner of {name!r}")
    unknown = [algorithm for algorithm in row.algorithms if algorithm not in ALGORITHMS]
    if unknown:
        found.append(f"kernels/chunk.py: in ALGORITHMS {unknown[0]!r}, with a code")
    elif row.runner == "reference":
        for algorithm in row.algorithms:
            if not _has_descent(algorithm, name):
                found.append(f"fastgd/running/reference.py: in _descent_of the function descend of the algorithm {algorithm!r}")
    if row.runner not in HANDS:
        found.append(f"kernels/update_rules.py: in HANDS {row.runner!r}, else no update rule runs with {name!r}")
    for library in sorted(libraries()):
        found += [f"{path}: the version of {library}" for path in VERSIONS if f'"{library}"' not in read(path)]
        if library not in test_architecture.NOT_AT_IMPORT | {"numpy"}:
            found.append(f"{ARCHITECTURE}: in NOT_AT_IMPORT {library!r}")
    if len(row.algorithms) == 1 and row.algorithms[0] not in backends._REASONS:
        found.append(f"{TABLE}: in _REASONS {row.algorithms[0]!r}, what it does in a few words")
    listed = re.search(r"^ {4}backend : \{(.+)\}", fastgd.fit.__doc__ or "", re.MULTILINE)
    if listed is None or f'"{name}"' not in listed[1]:
        found.append(f'{FITTING}: in the docstring of `backend` "{name}"')
    if name not in get_args(annotations.BackendName):
        found.append(f"fastgd/input/annotations.py: {name!r} in BackendName, for type checkers")
    if f'\n| `"{name}"` |' not in read(OPTIONS_PAGE).partition("## Backends")[2]:
        found.append(f'{OPTIONS_PAGE}: in the table "Backends" a row | `"{name}"` |')
    default = re.search(r'config.option.backends = .* else "([\w,-]+)"\)', read(CONFTEST))
    if name not in NOT_EVERYWHERE and (default is None or name not in default[1].split(",")):
        here = "tests/support/parts_of_a_backend.py"
        found.append(f"{CONFTEST}: {name} in the default of --backends; or what it needs, such as a GPU, in NOT_EVERYWHERE of {here}")
    return found
