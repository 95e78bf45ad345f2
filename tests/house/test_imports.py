"""What `import fastgd` loads, and by which names: nothing slow, and public names are no modules.

Nothing is timed: the names of what makes `import fastgd` slow are checked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastgd
from tests.house.test_architecture import NOT_AT_IMPORT, our_modules
from tests.support.paths import ROOT

PUBLIC_MODULES = {"designs", "optuna", "schedules", "testing", "torch"}


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONSAFEPATH", "PYTHONPATH"}}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_import_is_light(tmp_path: Path) -> None:
    """And so is the plugin, which pytest imports at every start, in every project beside fastgd."""
    code = "import sys, fastgd, fastgd.integrations.pytest_plugin; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert NOT_AT_IMPORT & set(done.stdout.split()) == set()


def test_a_clone_can_be_used_from_within() -> None:
    """Python that is started in a clone finds this folder first, whatever is installed. An editable
    installation finds the kernels by itself, and other folders of the clone are no part of it."""
    assert [Path(place) for place in fastgd.__path__] == [ROOT / "fastgd"]
    code = "import sys; sys.meta_path[:] = [one for one in sys.meta_path if getattr(one, '__name__', '') != '_EditableFinder']; "
    done = run_python("-c", code + "import fastgd; print(fastgd.kernels.__file__, fastgd.info.__module__)", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(ROOT / "kernels" / "__init__.py"), "fastgd.environment"]


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


@pytest.mark.parametrize("order", [pytest.param("names first", marks=pytest.mark.full), "modules first"])
def test_no_public_name_is_a_module(order: str, tmp_path: Path) -> None:
    modules = sorted({name.split(".")[0] for name in our_modules()} - {"", "__main__"})
    done = run_python("-c", SEEN, order, *(f"fastgd.{module}" for module in modules), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kinds = json.loads(done.stdout)
    assert {name: kind for name, kind in kinds.items() if kind != ("module" if name in PUBLIC_MODULES else "object")} == {}
    assert set(modules) & kinds.keys() <= PUBLIC_MODULES
