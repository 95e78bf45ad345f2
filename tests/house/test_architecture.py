"""The rules of the house: who may import whom, what things are called, how long a file gets, what a public docstring says.

1. Imports are read from the source, so late imports and imports for types count. Every rule that reads source is a function over
   {module: source} or {path: source}; the planted houses below break each rule once, so that a rule that finds nothing fails here.
2. Nothing is timed: the names of what makes `import fastgd` slow are checked.
"""

from __future__ import annotations

import ast
import enum
import fnmatch
import inspect
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# From top to bottom: a module imports from its own row and from those below, never upwards, and never round in a circle.
HOUSE = {
    "doors": ("frames", "xarray", "dask", "estimator", "cli*", "environment", "integrations*"),
    "around fit": ("sweeping", "closed_form", "verification", "verification.verifying", "verification.oracle", "testing*"),
    "reports": ("verification.report*",), "causes": ("verification.causes*",),
    "candidates": ("verification.candidates*",), "bounds": ("verification.bound*",),
    "fitting": ("fitting",),
    "parts": ("arguments", "arrays", "shapes", "problem", "optimizers", "hyperparameters", "schedules", "plan", "memory", "compressing",
              "outputs", "gpu_*", "starting", "execute", "repeating", "reuse", "lapack", "pool", "result", "loading", "storage", "reading",
              "plotting"),
    "kernels": ("kernels", "kernels.chunk", "kernels.update_rules", "kernels.cpu*", "kernels.reference*", "kernels.cuda*"),
}  # fmt: skip

# Everybody may read the table of update rules. The other kernels are for those who run fits, and for these, with the reason:
READS_KERNELS = {"closed_form": "solves on the moments that compress makes", "environment": "reports what each backend says of itself"}

# What a folder of kernels may take from outside the standard library; first match. No hand borrows from another.
LIBRARIES = {
    "kernels.cpu*": {"numpy", "numba", "llvmlite"},
    "kernels.reference*": {"numpy", "torch"},
    "kernels.cuda*": {"numpy", "cupy", "cuda"},
    "kernels*": {"numpy"},
}

# Modules that import by a name made at run time, which no scan can follow, with the reason.
DYNAMIC_IMPORTS = {"": "public names are loaded when they are first used"}

PUBLIC_MODULES = {"schedules", "testing"}
NOT_AT_IMPORT = {"numba", "llvmlite", "torch", "rich", "typer", "matplotlib", "pandas", "narwhals", "scipy", "cupy", "jinja2"}
FORBIDDEN_WORDS = {"util", "utils", "core", "common", "helper", "helpers", "manager", "managers"}
MAX_LINES = 400
LONG_FILES = {  # path: why it is one file
    "kernels/cuda/compress.cu": "the paths of one stage for data that lie side by side and for others, which share their sums",
    "tests/specification/arbiter.py": "docs/arithmetic.md in plain Python, written and read beside that one page",
}


# -- reading source ------------------------------------------------------------------------------------------------------------


def python_files(*folders: str) -> dict[str, str]:
    """{path from the root: source} of the Python and CUDA files in these folders."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix in {".py", ".cu", ".cuh"}]
    assert paths, f"no source files in {folders}"
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def module_name(path: str) -> str:
    """The name below fastgd: fastgd/plan.py -> plan, kernels/cpu/__init__.py -> kernels.cpu, fastgd/__init__.py -> ''."""
    return path.removeprefix("fastgd/").removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".")


def our_modules() -> dict[str, str]:
    """{name below fastgd: source} of the whole package; a package's name ends in a dot, for relative imports."""
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


def row_of(module: str) -> int | None:
    """The row of the house that a module lives in."""
    rows = (row for row, patterns in enumerate(HOUSE.values()) if any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns))
    return next(rows, None)


def arrows(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """{module: modules of ours that it imports}, names below fastgd; '' is the root, fastgd itself."""
    known = {name.rstrip(".") for name in modules}

    def ours(name: str) -> str:
        parts = name.split(".")[1:]
        while parts and ".".join(parts) not in known:  # fastgd.plan.Plan is something in fastgd.plan
            parts.pop()
        return ".".join(parts)

    return {
        module.rstrip("."): {ours(name) for name in imported(module, source) if name.split(".")[0] == "fastgd"} - {module.rstrip(".")}
        for module, source in modules.items()
    }


# -- the rules -----------------------------------------------------------------------------------------------------------------


def wrong_imports(modules: Mapping[str, str]) -> list[str]:
    """What breaks the rules about imports, one line each."""
    found = []
    bottom = list(HOUSE).index("kernels")
    for module, targets in arrows(modules).items():
        row = row_of(module)
        if row is None and module:
            found.append(f"{module}: in no row of HOUSE: add it to the table")
        for target in targets if row is not None else ():
            below = row_of(target)
            if not target:
                if row > 0:
                    found.append(f"{module} imports fastgd itself: only doors come in from outside")
            elif below is not None and below < row:
                found.append(f"{module} imports {target}: upwards")
            elif row < bottom and target.startswith("kernels") and target != "kernels.update_rules":
                if module not in READS_KERNELS and list(HOUSE)[row] not in {"fitting", "parts"}:
                    found.append(f"{module} imports {target}: reach kernels through fit, or give a reason in READS_KERNELS")
            elif row == bottom and target.split(".")[1:2] not in ([], ["chunk"], ["update_rules"], module.split(".")[1:2]):
                found.append(f"{module} imports {target}: cpu, cuda and reference share chunk and update_rules, nothing else")
    return found


def wrong_libraries(modules: Mapping[str, str]) -> list[str]:
    """Kernels that import what is not theirs, imports of plain `kernels`, and imports that no scan can follow."""
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
    """Modules that import each other, in a circle of any length. The root is left out: it loads everything, late."""
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
    "cli": "from . import fit\nimport fastgd, typer, fastgd.kernels.update_rules",
    "verification.": "",
    "verification.bound": "from ..fitting import fit\nfrom ..kernels.update_rules import UPDATE_RULES",
    "fitting": "from .plan import Plan",
    "plan": "from . import problem\nfrom fastgd.kernels import cpu",
    "problem": "import numpy",
    **{"kernels.": "", "kernels.chunk": "import numpy", "kernels.update_rules": "", "kernels.reference.": ""},
    "kernels.cpu.": "from ..chunk import Chunk\nfrom . import descend",
    "kernels.cpu.descend": "from numba import njit",
    "kernels.reference.torch_autograd": "import torch",
}


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("plan", "from .fitting import fit", "plan imports fitting: upwards"),
        ("plan", "def late():\n    import fastgd.cli", "plan imports cli: upwards"),
        ("problem", "from . import plan", "plan imports ['problem']: in or before a circle"),
        ("fitting", "from fastgd import Status", "fitting imports fastgd itself"),
        ("cli", "from fastgd.kernels.cpu import descend", "cli imports kernels.cpu.descend: reach kernels through fit"),
        ("verification.bound", "from . import VERSION", "verification.bound imports verification: upwards"),
        ("verification.bound", "import fastgd.kernels.chunk", "verification.bound imports kernels.chunk: reach kernels through fit"),
        ("kernels.cpu.descend", "from ..reference import torch_autograd", "kernels.cpu.descend imports kernels.reference.torch_autograd"),
        ("kernels.cpu.", "import importlib\nimportlib.import_module('fastgd.kernels.reference')", "kernels.cpu imports kernels.reference"),
        ("kernels.chunk", "from ..plan import Plan", "kernels.chunk imports plan: upwards"),
        ("kernels.chunk", "from fastgd import fit", "kernels.chunk imports fastgd itself"),
        ("kernels.cpu.descend", "import torch", "kernels.cpu.descend imports torch: not among"),
        ("kernels.chunk", "import numba", "kernels.chunk imports numba: not among"),
        ("plan", "import kernels.cpu", "plan imports plain kernels"),
        ("plan", "import importlib\nimportlib.import_module(name)", "plan imports a name made at run time"),
        ("surprise", "", "surprise: in no row of HOUSE: add it to the table"),
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


# -- what is imported when -----------------------------------------------------------------------------------------------------


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONSAFEPATH", "PYTHONPATH"}}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_import_is_light(tmp_path: Path) -> None:
    code = "import sys, fastgd; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert NOT_AT_IMPORT & set(done.stdout.split()) == set()


def test_kernels_refuse_to_be_imported_by_another_name() -> None:
    done = run_python("-c", "import kernels", cwd=ROOT)
    assert done.returncode == 1
    assert "ImportError: this package is called fastgd.kernels" in done.stderr


SEEN = """
import importlib, json, sys, types
import fastgd
order, modules = sys.argv[1], sys.argv[2:]
if order == "modules first":
    for module in modules:
        importlib.import_module(module)
first = {name: getattr(fastgd, name) for name in fastgd.__all__}
for module in modules:
    importlib.import_module(module)
print(json.dumps({
    name: "rebound" if getattr(fastgd, name) is not value else "module" if isinstance(value, types.ModuleType) else "object"
    for name, value in first.items()
}))
"""


@pytest.mark.parametrize("order", ["names first", "modules first"])
def test_no_public_name_is_a_module(order: str, tmp_path: Path) -> None:
    modules = sorted({name.split(".")[0] for name in our_modules()} - {"", "__main__"})
    done = run_python("-c", SEEN, order, *(f"fastgd.{module}" for module in modules), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kinds = json.loads(done.stdout)
    assert {name: kind for name, kind in kinds.items() if kind != ("module" if name in PUBLIC_MODULES else "object")} == {}
    assert set(modules) & kinds.keys() <= PUBLIC_MODULES


# -- public docstrings: numpydoc, and the parameters are those of the signature --------------------------------------------------


def section(docstring: str, title: str) -> list[str] | None:
    """The names that a section of a numpydoc docstring describes; None if there is no such section."""
    lines = [*docstring.splitlines(), ""]
    headings = [i for i in range(len(lines) - 1) if lines[i] and re.fullmatch(r"-{3,}", lines[i + 1])]
    begin = next((i for i in headings if lines[i] == title), None)
    if begin is None:
        return None
    end = next((i for i in headings if i > begin), len(lines))
    entries = [line for line in lines[begin + 2 : end] if line and not line[0].isspace()]
    return [name.strip(" *") for entry in entries for name in re.split(r"\s*:(?:\s|$)", entry, maxsplit=1)[0].split(",")]


def wrong_docstring(name: str, thing: object) -> list[str]:
    """What is wrong with the docstring of a public function, class or module, one line each."""
    docstring = inspect.getdoc(thing) if not isinstance(thing, type) or thing.__doc__ else None
    if not docstring:
        return [f"{name}: no docstring"]
    if isinstance(thing, types.ModuleType):
        inside = [(key, value) for key, value in vars(thing).items() if not key.startswith("_")]
        own = [(key, value) for key, value in inside if callable(value) and getattr(value, "__module__", None) == thing.__name__]
        return [line for key, value in own for line in wrong_docstring(f"{name}.{key}", value)]
    if isinstance(thing, enum.EnumType):
        text = docstring + "".join(re.findall(r"^ *(\w+) = .*#: ", inspect.getsource(thing), re.MULTILINE))
        return [f"{name}.{member.name}: neither in the docstring nor with a #: comment" for member in thing if member.name not in text]
    if not callable(thing):
        return [f"{name}: neither a function nor a class nor a module: how is it documented?"]
    if isinstance(thing, type) and issubclass(thing, Exception) and not inspect.isfunction(thing.__init__):
        return []  # takes what every exception takes
    takes = [name for name in inspect.signature(thing).parameters if not name.startswith("_")]
    says = section(docstring, "Parameters")
    if says is None and isinstance(thing, type) and (attributes := section(docstring, "Attributes")) is not None:
        said = [name for name in attributes if name in takes or not hasattr(thing, name)]  # properties are described there too
        says = takes if sorted(said) == sorted(takes) else said  # in any order
    return [] if (says or []) == takes else [f"{name}: takes {takes}, its docstring says {says or []}"]


def test_public_docstrings() -> None:
    import fastgd

    public = [name for name in fastgd.__all__ if name != "__version__"]
    assert public
    none([line for name in public for line in wrong_docstring(f"fastgd.{name}", getattr(fastgd, name))])


def test_wrong_docstrings_are_found() -> None:
    def documented(a, b=1, *args):
        """Add.

        Parameters
        ----------
        a, b : float, shape (n,)
            The numbers: both.
        *args

        Returns
        -------
        total : float
        """

    def swapped(a, b):
        """Add.

        Parameters
        ----------
        b : float
        a : float
        """

    class Level(enum.IntEnum):
        """Either LOW or not."""

        LOW = 0
        MIDDLE = 1  #: described here
        HIGH = 2

    assert wrong_docstring("documented", documented) == []
    assert wrong_docstring("swapped", swapped) == ["swapped: takes ['a', 'b'], its docstring says ['b', 'a']"]
    assert wrong_docstring("lambda", lambda x: x) == ["lambda: no docstring"]
    assert wrong_docstring("Level", Level) == ["Level.HIGH: neither in the docstring nor with a #: comment"]
    assert wrong_docstring("three", 3) == ["three: neither a function nor a class nor a module: how is it documented?"]
