"""The rules of the house: who may import whom, what things are called, how long a file gets, what a
public docstring says.

1. Imports are read from the source, so late imports and imports for types count. Every rule that
   reads source is a function over {module: source} or {path: source}; the planted houses below
   break each rule once, so that a rule that finds nothing fails here.
2. What an import does when it runs is in tests/house/test_imports.py.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# The rooms of the house from top to bottom: {room: (its modules, the rooms that it may import from,
# besides itself)}. A room imports from rooms below it, never upwards; what is not named here may
# not be imported.
RULES = "kernels.update_rules"
CHUNK = {"kernels.chunk", RULES}
ORDER = "kernels.batch_order"
KERNELS = {ORDER, *CHUNK, "kernels.cpu", "kernels.cuda", "kernels.reference"}
FORKS = "kernels.forks"
FIT = {"input", "optimizers", "schedules", "data", "results", "planning", "running", RULES}
VERIFY = {"fitting", "solving", RULES, *FIT - {"running"}}
DOORS = {
    "", "compressing", "dask", "designs", "grouping", "optuna", "reweighting", "rolling", "sweeping", "environment", "testing",
    "verification", "report", "bound", "fitting", "solving", "sklearn", "stabilizing", "torch", "xarray", *FIT,
}  # fmt: skip
HOUSE: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "cli": (("cli*",), {"integrations", "candidates", "speed", *DOORS, *KERNELS}),
    "speed": (("speed*",), {"", "environment", ORDER, "simd"}),
    "integrations": (("integrations*",), DOORS),
    "grouping": (("grouping",), {"compressing", "fitting", "solving", *FIT}),
    "testing": (("testing*",), {ORDER, FORKS, "verification", "report", "bound", "fitting", "optimizers", "schedules", "input", "data"}),
    "verification": (("verification", "verification.[!bcr]*"), {"report", "causes", "candidates", "bound", *VERIFY}),
    "report": (("verification.report*",), {"causes", "bound", "results", "input"}),
    "causes": (("verification.causes*",), {FORKS, "bound", "input", "optimizers", "schedules", "data", RULES}),
    "candidates": (("verification.candidates*",), {"bound", "fitting", "planning", "results", "schedules", "input"}),
    "bound": (("verification.bound*",), {FORKS, *VERIFY}),
    "sklearn": (("sklearn*",), {FORKS, "compressing", "fitting", "sweeping", "results", "input"}),
    "xarray": (("xarray*",), {"dask", "fitting", "solving", "results", "input"}),
    "dask": (("dask*",), {"compressing", "fitting", "solving", "sweeping", "results", "optimizers", "input"}),
    "optuna": (("optuna",), {"sweeping", "planning", "results", "optimizers", "input"}),
    "torch": (("torch",), {"fitting", "results", "input"}),
    "environment": (("environment",), {"input", "results", "planning", "kernels.cpu", "kernels.cuda"}),
    "sweeping": (("sweeping",), {"fitting", *FIT - {"running"}}),
    "designs": (("designs",), {"input"}),
    "fitting": (("fitting",), FIT),
    "stabilizing": (("stabilizing",), {"compressing", *FIT}),
    "rolling": (("rolling",), {"compressing", "solving", "results", "data", "input"}),
    "reweighting": (("reweighting",), {"solving", "running", "results", "data", "input"}),
    "compressing": (("compressing",), FIT),
    "solving": (("solving",), FIT),
    "running": (
        ("running*",),
        {"planning", "results", "data", "input", "optimizers", "schedules", "kernels.apart", "kernels.telling", FORKS, *KERNELS},
    ),
    "planning": (("planning*",), {"results", "data", "input", "optimizers", "schedules", *KERNELS}),
    "results": (("results*",), {"data", "input", "kernels.chunk", RULES, FORKS, "kernels.cuda"}),
    "data": (("data*",), {"input"}),
    "schedules": (("schedules*",), {"input", RULES}),
    "optimizers": (("optimizers",), {"input", RULES}),
    "input": (("input*",), {RULES, "kernels.cuda"}),
    "kernels.cpu": (
        ("kernels.cpu", "kernels.cpu.compile_ahead"),
        {ORDER, "cpu.solving", "cpu.records", "closed_form", "packs", "minibatch", "descent", "moments", "simd", *CHUNK},
    ),
    "cpu.solving": (("kernels.cpu.solving",), {"closed_form", "packs", "descent", "moments", "simd", *CHUNK}),
    "closed_form": (("kernels.cpu.closed_form*",), {"packs", "moments", "simd"}),
    "cpu.records": (("kernels.cpu.records",), {"moments", "simd"}),
    "packs": (("kernels.cpu.packs*",), {"descent", "moments", "simd", *CHUNK}),
    "minibatch": (("kernels.cpu.minibatch*",), {"descent", "moments", "simd", *CHUNK}),
    "descent": (("kernels.cpu.descent*",), {"moments", "simd", *CHUNK}),
    "moments": (("kernels.cpu.moments*",), {"simd", "kernels.chunk"}),
    "simd": (("kernels.cpu.simd*",), {"kernels.apart", "kernels.telling"}),
    "kernels.cuda": (("kernels.cuda*",), {ORDER, *CHUNK}),
    "kernels.reference": (("kernels.reference*",), {ORDER, FORKS, "kernels.apart", *CHUNK}),
    FORKS: ((FORKS,), set()),
    ORDER: ((ORDER,), set()),
    "kernels.apart": (("kernels.apart",), {"kernels.telling"}),
    "kernels.telling": (("kernels.telling",), set()),
    "kernels.chunk": (("kernels.chunk",), {RULES}),
    RULES: ((RULES,), set()),
    "kernels": (("kernels",), set()),
}  # fmt: skip

# Where only one module of a room may import another room: {(room, other): modules}, with the
# reason.
ONLY_IN = {
    ("input", "kernels.cuda"): {"input.sharing"},  # asks whether there is a GPU, where an array says that it is on one
    ("results", "kernels.cuda"): {"results.device_buffers"},  # results that are made on a GPU
    ("planning", "kernels.cpu"): {"planning.memory"},  # the kernels say how many bytes they need
    ("planning", "kernels.cuda"): {"planning.backends"},  # each row asks its own kernels whether they can run
    ("planning", "kernels.reference"): {"planning.backends", "planning.memory"},
}

# What a folder of kernels may take from outside the standard library; first match. No hand borrows
# from another.
LIBRARIES = {
    "kernels.cpu*": {"numpy", "numba", "llvmlite"},
    "kernels.reference*": {"numpy", "torch"},
    "kernels.cuda*": {"numpy", "cupy", "cuda"},
    "kernels.forks": {"_interpreters", "_xxsubinterpreters"},  # of Python itself
    "kernels*": {"numpy"},
}

# Modules that import by a name made at run time, which no scan can follow, with the reason.
DYNAMIC_IMPORTS = {"": "public names are loaded when they are first used", "running.run": "a row of BACKENDS names its runner"}

NOT_AT_IMPORT = {
    "numpy", "numba", "llvmlite", "torch", "rich", "typer", "matplotlib", "pandas", "polars", "pyarrow", "duckdb", "narwhals", "optuna",
    "xarray", "dask", "sklearn", "scipy", "cupy", "jinja2",
}  # fmt: skip
FORBIDDEN_WORDS = {"util", "utils", "core", "common", "helper", "helpers", "manager", "managers"}
MAX_LINES = 400
LONG_FILES = {  # path: why it is one file
    "fastgd/cli/commands.py": "one function for each command, with the options and the help that users read",
    "fastgd/optimizers.py": "one class for each update rule, with the docstring that users read",
    "fastgd/results/result.py": "the class of a result and its parts: three quarters are docstrings that users read",
    "fastgd/results/sweep_result.py": "the class of the result of a sweep: three quarters are docstrings that users read",
    "kernels/cuda/compress.cu": "the paths of one stage for contiguous data and for others, which share their sums",
    "tests/specification/arbiter.py": "docs/arithmetic.md in plain Python, written and read beside that one page",
}


# -- reading source --------------------------------------------------------------------------------


def python_files(*folders: str) -> dict[str, str]:
    """{path from the root: source} of the Python and CUDA files in these folders."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix in {".py", ".cu", ".cuh"}]
    assert paths, f"no source files in {folders}"
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def module_name(path: str) -> str:
    """The name below fastgd: fastgd/planning/plan.py -> planning.plan, kernels/cpu/__init__.py ->
    kernels.cpu, fastgd/__init__.py -> ''."""
    return path.removeprefix("fastgd/").removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".")


def our_modules() -> dict[str, str]:
    """{name below fastgd: source} of the whole package; a package's name ends in a dot, for
    relative imports."""
    return {
        module_name(path) + ("." if path.endswith("/__init__.py") else ""): source
        for path, source in python_files("fastgd", "kernels").items()
        if path.endswith(".py")
    }


def imported(module: str, source: str) -> Iterator[str]:
    """Full names of what a module imports, late or not; '?' for a name made at run time."""
    package = f"fastgd.{module}".split(".")[:-1]  # of a package (its name ends in a dot) itself, else where it lies
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*(package[: len(package) - node.level + 1] if node.level else []), *(node.module or "").split(".")]
            yield from (".".join([*filter(None, base), alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            name = node.args[0] if node.args else None
            yield name.value if isinstance(name, ast.Constant) and not name.value.startswith(".") else "?"


def room_of(module: str) -> str | None:
    """The room of the house that a module is in."""
    if not module:
        return ""
    return next((room for room, (patterns, _) in HOUSE.items() if any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns)), None)


def arrows(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """{module: modules of ours that it imports}, names below fastgd; '' is the root, fastgd
    itself."""
    known = {name.rstrip(".") for name in modules}

    def ours(name: str) -> str:
        parts = name.split(".")[1:]
        while parts and ".".join(parts) not in known:  # fastgd.planning.plan.Plan is something in a module
            parts.pop()
        return ".".join(parts)

    return {
        module.rstrip("."): {ours(name) for name in imported(module, source) if name.split(".")[0] == "fastgd"} - {module.rstrip(".")}
        for module, source in modules.items()
    }


# -- the rules -------------------------------------------------------------------------------------


def wrong_imports(modules: Mapping[str, str]) -> list[str]:
    """What breaks the rules about imports, one line each."""
    found = []
    for module, targets in arrows(modules).items():
        room = room_of(module)
        if room is None:
            found.append(f"{module}: in no room of HOUSE: add it to the table in {Path(__file__).name}")
        for target in sorted(targets) if room else ():
            other = room_of(target)
            if other == room or other is None:
                continue
            allowed = HOUSE[room][1]
            if other not in allowed:
                found.append(f"{module} imports {target or 'fastgd itself'}: {room} may import {', '.join(sorted(allowed)) or 'nothing'}")
            elif module not in ONLY_IN.get((room, other), {module}):
                found.append(f"{module} imports {target}: only {', '.join(sorted(ONLY_IN[room, other]))} may")
    return found


def wrong_libraries(modules: Mapping[str, str]) -> list[str]:
    """Kernels that import what is not theirs, imports of plain `kernels`, and imports that no scan
    can follow."""
    found = []
    for module, source in modules.items():
        name = module.rstrip(".")
        allowed = next((libraries for pattern, libraries in LIBRARIES.items() if fnmatch.fnmatchcase(name, pattern)), None)
        for target in imported(module, source):
            library = target.split(".")[0]
            if target == "?":
                if name not in DYNAMIC_IMPORTS:
                    found.append(f"{name} imports a name made at run time: write it out, or give a reason in DYNAMIC_IMPORTS")
            elif library == "kernels":
                found.append(f"{name} imports plain kernels: it is called fastgd.kernels")
            elif allowed is not None and library not in allowed | {"fastgd"} | sys.stdlib_module_names:
                found.append(f"{name} imports {library}: not among {sorted(allowed)}")
    return found


def circles(modules: Mapping[str, str]) -> list[str]:
    """Modules that import each other, in a circle of any length. The root is left out: it loads
    everything, late."""
    left = {module: targets - {""} for module, targets in arrows(modules).items() if module}
    while free := {module for module, targets in left.items() if not targets & left.keys()}:
        left = {module: targets for module, targets in left.items() if module not in free}
    return [f"{module} imports {sorted(targets & left.keys())}: in or before a circle" for module, targets in sorted(left.items())]


def bad_names(paths: Mapping[str, str]) -> list[str]:
    """Files and folders called after nothing."""
    return [path for path in paths if FORBIDDEN_WORDS & set(re.split(r"[/_.]", path.lower()))]


def wrong_lengths(files: Mapping[str, str], reasons: Mapping[str, str]) -> list[str]:
    """Long files without a reason, and reasons without a long file."""
    long = {path for path, source in files.items() if len(source.splitlines()) > MAX_LINES}
    return [f"{path}: over {MAX_LINES} lines: split it, or give a reason in LONG_FILES" for path in sorted(long - reasons.keys())] + [
        f"{path}: in LONG_FILES, but it is not there or not long" for path in sorted(reasons.keys() - long)
    ]


def none(found: list[str]) -> None:
    assert not found, "\n".join(["", *found])


def test_imports_go_one_way() -> None:
    none(wrong_imports(our_modules()))


def test_the_table_leads_down() -> None:
    """A room may only import from rooms that stand below it in the table; the root, "", loads
    everything late."""
    place = {room: number for number, room in enumerate(HOUSE)}
    arrows_of_rooms = [(room, other) for room, (_, below) in HOUSE.items() for other in below - {""}]
    none([f"{room} may import {other}: upwards" for room, other in arrows_of_rooms if place[other] <= place[room]])


def test_no_circles() -> None:
    none(circles(our_modules()))


def test_kernels_take_only_what_is_theirs() -> None:
    none(wrong_libraries(our_modules()))


def test_tests_and_benchmarks_import_kernels_by_their_name() -> None:
    files = [(path, source) for path, source in python_files("tests", "benchmarks").items() if path.endswith(".py")]
    none([f"{path} imports {name}" for path, source in files for name in imported(path, source) if name.split(".")[0] == "kernels"])


def test_names_say_it() -> None:
    none(bad_names(python_files("fastgd", "kernels", "tests", "benchmarks")))


def test_long_files_have_a_reason() -> None:
    none(wrong_lengths(python_files("fastgd", "kernels", "tests", "benchmarks"), LONG_FILES))


GOOD_HOUSE = {
    ".": "def __getattr__(name):\n    import importlib\n    return importlib.import_module(name)",
    "cli.commands": "from .. import fit\nimport fastgd, typer, fastgd.kernels.update_rules",
    "verification.": "",
    "verification.bound": "from ..fitting import fit\nfrom ..kernels.update_rules import UPDATE_RULES",
    "fitting": "from .planning.plan import Plan\nfrom .running import cpu",
    "planning.plan": "from ..data import problem\nfrom fastgd.planning import backends",
    "planning.backends": "def why():\n    from ..kernels import cuda",
    "data.problem": "import numpy",
    "running.cpu": "from ..kernels import cpu",
    "results.buffers": "",
    **{"kernels.": "", "kernels.chunk": "import numpy", "kernels.update_rules": "", "kernels.reference.": "", "kernels.cuda.": ""},
    "kernels.cpu.": "from ..chunk import Chunk\nfrom .packs import run_pack",
    "kernels.cpu.packs.run_pack": "from numba import njit\nfrom ..simd.lanes import load",
    "kernels.cpu.simd.lanes": "import numba",
    "kernels.reference.torch_autograd": "import torch",
}


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("planning.plan", "from ..fitting import fit", "planning.plan imports fitting: planning may import"),
        ("planning.plan", "def late():\n    import fastgd.cli.commands", "planning.plan imports cli.commands: planning may import"),
        ("planning.plan", "from ..running import cpu", "planning.plan imports running.cpu: planning may import"),
        ("planning.plan", "from ..kernels import cuda", "planning.plan imports kernels.cuda: only planning.backends may"),
        ("planning.backends", "from . import plan", "planning.backends imports ['planning.plan']: in or before a circle"),
        ("data.problem", "from ..results import buffers", "data.problem imports results.buffers: data may import"),
        ("results.buffers", "from ..kernels import cpu", "results.buffers imports kernels.cpu: results may"),
        ("fitting", "from fastgd import Status", "fitting imports fastgd itself"),
        (
            "verification.bound",
            "from fastgd.kernels.cpu import descend",
            "verification.bound imports kernels.cpu",
        ),
        ("verification.bound", "import fastgd.kernels.cuda", "verification.bound imports kernels.cuda: bound may import"),
        (
            "kernels.cpu.packs.run_pack",
            "from ...reference import torch_autograd",
            "kernels.cpu.packs.run_pack imports kernels.reference.torch_autograd",
        ),
        ("kernels.cpu.", "import importlib\nimportlib.import_module('fastgd.kernels.reference')", "kernels.cpu imports kernels.reference"),
        ("kernels.chunk", "from ..planning.plan import Plan", "kernels.chunk imports planning.plan: kernels.chunk may import"),
        ("kernels.chunk", "from fastgd import fit", "kernels.chunk imports fastgd itself"),
        ("kernels.cpu.simd.lanes", "from ..packs import run_pack", "kernels.cpu.simd.lanes imports kernels.cpu.packs.run_pack: simd may"),
        ("kernels.cpu.simd.lanes", "import torch", "kernels.cpu.simd.lanes imports torch: not among"),
        ("kernels.chunk", "import numba", "kernels.chunk imports numba: not among"),
        ("planning.plan", "import kernels.cpu", "planning.plan imports plain kernels"),
        ("planning.plan", "import importlib\nimportlib.import_module(name)", "planning.plan imports a name made at run time"),
        ("surprise", "", "surprise: in no room of HOUSE: add it to the table"),
    ],
)
def test_a_broken_house_is_found(module: str, source: str, found: str) -> None:
    def broken(modules: Mapping[str, str]) -> list[str]:
        return wrong_imports(modules) + wrong_libraries(modules) + circles(modules)

    assert broken(GOOD_HOUSE) == []
    assert found in "\n".join(broken(GOOD_HOUSE | {module: source}))


def test_bad_names_and_lengths_are_found() -> None:
    bad = ["fastgd/_utils.py", "kernels/core/x.cu", "fastgd/pool_manager.py"]
    assert bad_names(dict.fromkeys([*bad, "fastgd/score.py", "kernels/cpu/__init__.py"], "")) == bad
    files = {"short.py": "x\n" * MAX_LINES, "long.py": "x\n" * (MAX_LINES + 1)}
    assert wrong_lengths(files, {"long.py": "a table"}) == []
    assert len(wrong_lengths(files, {"short.py": "none"})) == 2
