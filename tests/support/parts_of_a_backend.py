"""Where each part of a backend stands; `missing` names the files to open for what is not there."""

from __future__ import annotations

import importlib
import importlib.util
import re

import fastgd
from fastgd.kernels.chunk import ALGORITHMS
from fastgd.planning import backends
from fastgd.planning.backends import Backend
from tests.support.paths import ROOT

TABLE, FITTING, GUIDE, CONFTEST = "fastgd/planning/backends.py", "fastgd/fitting.py", "docs/guide.md", "tests/conftest.py"
NEED_A_GPU = {"cuda", "torch-cuda"}  # the tests run `cuda-host` instead


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def missing(row: Backend) -> list[str]:
    """'file: what it lacks' for each part that is missing; [] where nothing is."""
    found, name = [], row.name
    runner = f"fastgd.running.{row.runner}"
    if importlib.util.find_spec(runner) is None or not hasattr(importlib.import_module(runner), "run"):
        found.append(f"{runner.replace('.', '/')}.py: a function run(job, control, go), the runner of {name!r}")
    unknown = [algorithm for algorithm in row.algorithms if algorithm not in ALGORITHMS]
    if unknown:
        found.append(f"kernels/chunk.py: in ALGORITHMS {unknown[0]!r}, with a code")
    if len(row.algorithms) == 1 and row.algorithms[0] not in backends._REASONS:
        found.append(f"{TABLE}: in _REASONS {row.algorithms[0]!r}, what it does in a few words")
    listed = re.search(r"^ {4}backend : \{(.+)\}", fastgd.fit.__doc__ or "", re.MULTILINE)
    if listed is None or f'"{name}"' not in listed[1]:
        found.append(f'{FITTING}: in the docstring of `backend` "{name}"')
    if f'\n| `"{name}"` |' not in read(GUIDE).partition("## Backends")[2]:
        found.append(f'{GUIDE}: in the table "Backends" a row | `"{name}"` |')
    default = re.search(r'config.option.backends = .* else "([\w,-]+)"\)', read(CONFTEST))
    if name not in NEED_A_GPU and (default is None or name not in default[1].split(",")):
        found.append(f"{CONFTEST}: {name} in the default of --backends")
    return found
