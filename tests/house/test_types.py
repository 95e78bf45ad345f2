"""Types for users: a strict type checker passes a right program and finds each mistake of a wrong
one; the choices that it knows are those that are there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from fastgd.input import annotations
from fastgd.kernels.chunk import ALGORITHMS, MOMENTS, STREAM
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.planning.backends import BACKENDS
from tests.support.paths import ROOT

PROJECTS = ROOT / "tests/support/typed_projects"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with fastgd as a wheel installs it."""
    folder = tmp_path_factory.mktemp("installed")
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fastgd", folder / "fastgd", ignore=no_caches)
    shutil.copytree(ROOT / "kernels", folder / "fastgd/kernels", ignore=no_caches)
    return folder


def check(program: str, installed: Path) -> list[str]:
    """What mypy says in its strict mode: 'line: code', one for each mistake."""
    shutil.copy(PROJECTS / program, installed)
    command = [sys.executable, "-P", "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", program]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False, env={"PATH": "", "MYPYPATH": "."})
    assert done.stderr == ""
    assert done.returncode in (0, 1), done.stdout
    found = re.findall(rf"^{program}:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert len(found) == sum(": error: " in line for line in done.stdout.splitlines()), done.stdout
    return [f"{line}: {code}" for line, code in found]


def check_by_pyright(program: str, installed: Path) -> list[int]:
    """The lines in which pyright finds a mistake."""
    shutil.copy(PROJECTS / program, installed)
    command = [sys.executable, "-P", "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson", program]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return sorted({each["range"]["start"]["line"] + 1 for each in report["generalDiagnostics"] if each["severity"] == "error"})


def mistakes() -> list[str]:
    """'line: code' of each mistake of wrong.py, as its comments say."""
    lines = (PROJECTS / "wrong.py").read_text("utf-8").splitlines()
    return [f"{number}: {line.rpartition('  # ')[2]}" for number, line in enumerate(lines, 1) if "  # " in line]


def test_mypy_passes_a_right_program_and_finds_each_mistake(installed):
    assert check("right.py", installed) == []
    assert len(mistakes()) > 30
    assert check("wrong.py", installed) == mistakes()


@pytest.mark.full
def test_pyright_passes_a_right_program_and_finds_each_mistake(installed):
    assert check_by_pyright("right.py", installed) == []
    assert check_by_pyright("wrong.py", installed) == [int(line.partition(":")[0]) for line in mistakes()]


def test_a_right_program_runs(tmp_path):
    code = f"import sys, pathlib; sys.path.insert(0, {str(PROJECTS)!r}); import right; right.main(pathlib.Path('result.npz'))"
    command = [sys.executable, "-P", "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "COMPLETED" in done.stdout


def test_no_choice_is_too_many():
    """tests/support/parts_of_a_rule.py and parts_of_a_backend.py find those that are missing."""
    assert set(get_args(annotations.BackendName)) <= {"auto", *BACKENDS}
    assert set(get_args(annotations.OptimizerName)) <= set(UPDATE_RULES)
    assert get_args(annotations.Algorithm) == ("auto", ALGORITHMS[MOMENTS], ALGORITHMS[STREAM])
