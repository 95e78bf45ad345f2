"""`make test-quick`: it runs many tests of the folders that it names, and none that needs PyTorch
or CUDA. `make test`: it leaves out what takes long."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT, TESTS

pytest_plugins = ["pytester"]

TARGET = re.compile(r"^test-quick:[^\n]*\n\t[^\n]* --quick (?P<folders>[^\n]*)$", re.MULTILINE)
NEEDS = {
    "a fixture": "def test_one(torch):\n    torch.ones(3)",
    "a parameter": "@pytest.mark.parametrize('reference', ['torch'])\ndef test_one(reference):\n    import torch",
    "the kernels of CUDA": "def test_one(cuda_backend):\n    assert False",
    "the stand-in for CuPy": "def test_one(cupy):\n    assert False",
}


@pytest.mark.full
def test_the_target_runs_many_tests():
    folders = TARGET.search((ROOT / "Makefile").read_text("utf-8"))["folders"].split()
    assert {"tests/input", "tests/data", "tests/planning", "tests/results", "tests/fit"} <= set(folders)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "--collect-only", "--quick", "-n", "0", "-p", "no:cacheprovider", *folders]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
    found = [line for line in ran.stdout.splitlines() if "::" in line]
    assert len(found) > 2000
    for folder in folders:
        assert sum(line.startswith(f"{folder}/") for line in found) >= 10, folder
    assert not [line for line in found if "[torch" in line or "cuda-host" in line]


@pytest.fixture
def project(pytester):
    """Our conftest.py, and a test that passes."""
    folder = pytester.mkpydir("tests")
    for name in ("conftest.py", "grids.py"):
        (folder / name).write_text((TESTS / name).read_text("utf-8"), encoding="utf-8")
    (folder / "test_fine.py").write_text("def test_fine(backend):\n    pass\n", encoding="utf-8")
    pytester.makeini("[pytest]\npythonpath = .\n")
    return pytester


def test_what_needs_torch_or_cuda_is_left_out_and_counted(project):
    for number, source in enumerate(NEEDS.values()):
        (project.path / "tests" / f"test_{number}.py").write_text(f"import pytest\n\n{source}\n", encoding="utf-8")
    result = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--quick")
    assert result.parseoutcomes() == {"passed": 2, "deselected": len(NEEDS)}  # cpu and numpy
    result = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-k", "not test_2 and not test_3")
    assert result.parseoutcomes()["passed"] == 5  # cpu, torch and numpy, and the two that need torch


@pytest.mark.parametrize("source", ["import torch", "import fastgd\nfastgd.fit([1.0, 2], [1.0, 2], lr=0.1, epochs=1, backend='torch')"])
def test_torch_cannot_be_imported(project, source):
    body = "\n    ".join(source.splitlines())
    (project.path / "tests" / "test_imports.py").write_text(f"def test_one():\n    {body}\n", encoding="utf-8")
    result = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--quick")
    assert result.parseoutcomes() == {"passed": 2, "failed": 1}


LONG = """
import pytest

@pytest.mark.full
def test_long():
    pass

@pytest.mark.share(4)
@pytest.mark.parametrize("case", range(8))
def test_cases(case):
    pass
"""


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [((), {"passed": 3, "deselected": 7}), (("--full",), {"passed": 10}), (("tests/test_long.py::test_cases",), {"passed": 8})],
)
def test_what_takes_long_runs_where_it_was_asked_for(project, arguments, outcomes):
    (project.path / "tests" / "test_long.py").write_text(LONG, encoding="utf-8")
    project.makeini("[pytest]\npythonpath = .\nmarkers =\n    full\n    share\n")
    result = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--backends=cpu", *arguments)
    assert result.parseoutcomes() == outcomes
    if not arguments:
        result.stdout.fnmatch_lines(
            ["large grid test_long.py::test_cases: 2 of 8 cases*", "large grid tests that take long: 0 of 1 cases*"]
        )
