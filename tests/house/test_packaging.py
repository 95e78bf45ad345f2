"""What is shipped: the wheel holds the tracked files, at the right place, and nothing else; every
version that we test with is pinned.

1. Built from a copy of the working tree, so that neither an old build/ nor an old egg-info can lend
   a file to the wheel; offline, with the setuptools of this environment.
2. A file that git does not know yet is copied too: forgetting `git add` fails here, not for the
   user.
"""

from __future__ import annotations

import ast
import configparser
import email
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

FOLDERS = {"fastgd/": "fastgd/", "kernels/": "fastgd/kernels/"}  # in the repository: in the wheel
PINNED_EXTRAS = {"torch", "demo", "plot", "report", "frames", "tables", "optuna", "xarray", "dask", "sklearn", "stats", "test", "dev"}
OF_CUDA_BUILDS = ("nvidia-", "cuda-", "triton")  # what only torch's CUDA build brings

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2])"


def git_files(*options: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(set(done.stdout.split("\0")) - {""})


def build(kind: str, tree: Path, to: Path) -> Path:
    """Build the sdist or the wheel of a tree; say what went wrong if it does."""
    to.mkdir()
    done = subprocess.run([sys.executable, "-P", "-c", BUILD, kind, str(to)], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = to.iterdir()
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def without_metadata(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if ".dist-info/" not in name}


def metadata(files: dict[str, bytes], name: str) -> str:
    (path,) = (path for path in files if path.endswith(f".dist-info/{name}"))
    return files[path].decode()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packaging")
    for path in git_files("--cached", "--others", "--exclude-standard"):
        if (ROOT / path).is_file():
            (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / "tree" / path)
    return build("sdist", folder / "tree", folder / "sdist")


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> dict[str, bytes]:
    """The contents of the wheel that is built from the tree."""
    return contents(build("wheel", sdist.parent.parent / "tree", sdist.parent.parent / "wheel"))


def test_wheel_is_the_tracked_files(wheel: dict[str, bytes]) -> None:
    expected = {
        there + path.removeprefix(here): (ROOT / path).read_bytes()
        for path in git_files()
        for here, there in FOLDERS.items()
        if path.startswith(here)
    }
    shipped = without_metadata(wheel)
    assert {"fastgd/py.typed", "fastgd/kernels/cpu/__init__.py"} <= expected.keys()
    assert sorted(expected.keys() - shipped.keys()) == [], "tracked, but not in the wheel: see [tool.setuptools] in pyproject.toml"
    assert sorted(shipped.keys() - expected.keys()) == [], "in the wheel, but not tracked: git add, or take it out"
    assert [name for name in expected if shipped[name] != expected[name]] == [], "another file lies at this place in the wheel"


def test_sdist_makes_the_same_wheel(sdist: Path, wheel: dict[str, bytes], tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # from Python 3.11.4 on
    (tree,) = tmp_path.iterdir()
    assert {"LICENSE", "README.md", "pyproject.toml"} <= {path.name for path in tree.iterdir()}
    assert without_metadata(contents(build("wheel", tree, tmp_path / "wheel"))) == without_metadata(wheel)


def test_metadata(wheel: dict[str, bytes]) -> None:
    said = email.message_from_string(metadata(wheel, "METADATA"))
    assert said["License-Expression"] == "BSD-3-Clause"
    assert said.get_all("License-File") == ["LICENSE"]
    assert said["Requires-Python"] == ">=3.11"
    assert set(said.get_all("Provides-Extra")) == PINNED_EXTRAS | {"cuda12", "cuda13", "docs", "peers"}
    assert "# fastgd" in said.get_payload(), "README.md is not the long description"


def test_commands_exist(wheel: dict[str, bytes]) -> None:
    points = configparser.ConfigParser()
    points.read_string(metadata(wheel, "entry_points.txt"))
    commands = dict(points["console_scripts"])
    assert commands.keys() == {"fastgd"}
    for command in commands.values():
        module, function = command.split(":")
        tree = ast.parse(wheel[module.replace(".", "/") + ".py"])
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def pins() -> dict[str, str]:
    """{name: version} of constraints.txt, which holds nothing but comments and exact pins."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for requirement in requirements:
        (pin,) = requirement.specifier
        assert (pin.operator, requirement.url, requirement.marker, requirement.extras) == ("==", None, None, set()), str(requirement)
        assert "*" not in pin.version, str(requirement)
    found = {canonicalize_name(requirement.name): next(iter(requirement.specifier)).version for requirement in requirements}
    assert len(found) == len(requirements), "pinned twice"
    return found


def required() -> list[tuple[str, Requirement]]:
    """Everything that `pip install .[torch,demo,plot,frames,optuna,test,dev]` brings here: (who
    asks, what for), all the way down."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    todo = [("fastgd", line) for line in [*project["dependencies"], *(line for extra in sorted(PINNED_EXTRAS) for line in extras[extra])]]
    found, seen = [], {"fastgd"}
    while todo:
        asker, line = todo.pop()
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if (asker != "fastgd" and name.startswith(OF_CUDA_BUILDS)) or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        found.append((asker, requirement))
        if name not in seen:
            seen.add(name)
            todo += [(name, line) for line in importlib.metadata.requires(name) or []]
    return found


def test_constraints_pin_everything_that_is_installed() -> None:
    pinned = pins()
    needed = [(asker, requirement) for asker, requirement in required() if requirement.name != "fastgd"]
    names = {canonicalize_name(requirement.name) for _, requirement in needed}
    assert (sorted(names - pinned.keys()), sorted(pinned.keys() - names)) == ([], []), "(not pinned, pinned for nothing)"
    wrong = [f"{asker} needs {what}" for asker, what in needed if not what.specifier.contains(pinned[canonicalize_name(what.name)])]
    assert wrong == []
    assert pinned["torch"] == "2.13.0"


USED = """
import numpy as np
import fastgd
from fastgd.kernels.cpu.moments import curvature
assert fastgd.__file__.startswith({site!r}), fastgd.__file__
result = np.empty(1)
curvature.largest_eigenvalues(np.full((1, 1, 1), 3.0), np.zeros((1, 1), np.int64), 1, result, np.zeros(1, np.int32))
assert result[0] == 3
"""


def test_an_uninstallation_leaves_nothing_that_imports(sdist: Path, wheel: dict[str, bytes], tmp_path: Path) -> None:
    """Compiled kernels do not lie in the package; what pip installed it removes."""
    (built,) = (sdist.parent.parent / "wheel").glob("*.whl")
    run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")])
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    pip = [sys.executable, "-P", "-m", "pip", "--python", str(python)]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(built)])
    home = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    home |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    run([str(python), "-P", "-c", USED.format(site=str(site))], env=home, cwd=tmp_path)
    assert list((tmp_path / "cache" / "fastgd" / "kernels").rglob("*.kernel"))
    run([*pip, "uninstall", "--quiet", "--yes", "fastgd"])
    assert [path for path in site.rglob("*") if "fastgd" in path.name] == []


def run(command: list[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
