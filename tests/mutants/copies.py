"""Copies of the repository in which a defect is planted, and what need not be compiled anew there.

1. The base is a copy with every CPU kernel compiled. A defect outside `kernels/` shares the kernels
   of the base by a link, so nothing is compiled.
2. A defect in `kernels/cpu/` gets a copy of the kernels, and of what was compiled. The key of a
   compiled kernel has a digest of all sources; in the copy it is fixed to the one of the base, and
   the files of every kernel whose module imports the spoiled one, over any number of imports, are
   deleted. Only these are compiled anew, for the types of data that the tests use.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mutants.defect import Defect, plant
from tests.support.paths import ROOT

STAMP_FILE, STAMP = "kernels/cpu/simd/disk_cache.py", "_DIGEST = _digest_of_sources()\n"
COMPILED = "compiled"
WARM = (
    "import fastgd.environment as e, fastgd.kernels.cpu.simd.disk_cache as c; "
    "assert e.warm(lambda line: None); print(c.__file__, c._DIGEST)"
)


def environment(folder: Path) -> dict[str, str]:
    """Python imports `fastgd` from the copy, and compiled kernels lie in it."""
    return os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / COMPILED), "COLUMNS": "300"}  # for pytest's lines


def make_base(folder: Path) -> str:
    """Copy the repository as it stands, compile every CPU kernel; return the digest
    of its sources."""
    folder.mkdir()
    for name in ("fastgd", "kernels", "tests"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "fastgd" / "kernels").symlink_to("../kernels")
    ran = subprocess.run(
        [sys.executable, "-P", "-c", WARM], env=environment(folder), cwd=folder, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise SystemExit(f"the kernels could not be compiled:\n{ran.stdout}{ran.stderr}")
    file, stamp = ran.stdout.split()
    assert Path(file).is_relative_to(folder), f"{file} is not in the copy {folder}"
    return stamp


def imported_files(path: Path) -> set[Path]:
    """The files that a module of the kernels imports from the kernels."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            modules = [base.with_suffix(".py"), base / "__init__.py", *(base / f"{alias.name}.py" for alias in node.names)]
            found |= {module for module in modules if module.is_file()}
    return found


def kernels_of(path: Path) -> list[str]:
    """The names of the kernels in a module: functions that are decorated, or made by a call."""
    found = []
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef) and "kernel" in map(ast.unparse, statement.decorator_list):
            found.append(statement.name)
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.value).startswith("kernel("):
            found += map(ast.unparse, statement.targets)
    return found


def spoiled_kernels(kernels: Path, spoiled: Path) -> list[Path]:
    """The modules with a kernel, a function that is kept on disk, that are or import the spoiled
    file."""
    found = []
    for path in sorted((kernels / "cpu").rglob("*.py")):
        if not kernels_of(path):
            continue
        reached, todo = set(), {path}
        while todo:
            reached |= todo
            todo = {file for module in todo for file in imported_files(module)} - reached
        if spoiled in reached:
            found.append(path)
    return found


def spoiled_copy(defect: Defect, base: Path, stamp: str, folder: Path) -> None:
    """Make `folder` a copy of the base with the defect in it."""
    in_kernels = defect.file.startswith("kernels/")
    shared = {"kernels", COMPILED}
    shutil.copytree(base, folder, symlinks=True, ignore=lambda at, names: shared & set(names) if Path(at) == base else ())
    if not in_kernels:
        for name in shared:
            (folder / name).symlink_to(base / name)
        plant(defect, folder)
        return
    shutil.copytree(base / "kernels", folder / "kernels")
    shutil.copytree(base / COMPILED, folder / COMPILED)
    for path in spoiled_kernels(folder / "kernels", folder / defect.file):
        for name in kernels_of(path):
            for file in (folder / COMPILED).rglob(f"{name}-*"):
                file.unlink()
    plant(defect, folder)
    plant(Defect("the digest of the sources", STAMP_FILE, STAMP, f'_DIGEST = "{stamp}"\n', ()), folder)
