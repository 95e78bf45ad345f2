"""Silent skips are how green runs lie: a skip that tests/conftest.py does not list fails the run,
wherever it comes from."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import TESTS

pytest_plugins = ["pytester"]

WAYS = {
    "in a test": "def test_one():\n    pytest.skip('no reason')",
    "a mark": "@pytest.mark.skip(reason='no reason')\ndef test_one():\n    pass",
    "a condition": "@pytest.mark.skipif(True, reason='no reason')\ndef test_one():\n    pass",
    "in a fixture": "@pytest.fixture\ndef given():\n    pytest.skip('no reason')\n\ndef test_one(given):\n    pass",
    "a name that does not exist": "def test_one():\n    pytest.importorskip('no_reason')",
    "a whole file": "pytest.skip('no reason', allow_module_level=True)",
    "a file for a name that does not exist": "pytest.importorskip('no_reason')\n\ndef test_one():\n    pass",
}


@pytest.fixture
def project(pytester):
    """Our conftest.py, and a test that passes."""
    folder = pytester.mkpydir("tests")
    for name in ("conftest.py", "grids.py"):
        (folder / name).write_text((TESTS / name).read_text("utf-8"), encoding="utf-8")
    (folder / "test_fine.py").write_text("def test_fine():\n    pass\n", encoding="utf-8")
    pytester.makeini("[pytest]\npythonpath = .\n")
    return pytester


def run(project, *options):
    return project.runpytest_subprocess("-q", "-p", "no:cacheprovider", *options)


@pytest.mark.share(2)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_unexpected_skips_are_told_and_fail_the_run(project, workers):
    for number, source in enumerate(WAYS.values()):
        (project.path / "tests" / f"test_{number}.py").write_text(f"import pytest\n\n{source}\n", encoding="utf-8")
    result = run(project, "-n", workers)
    assert result.parseoutcomes() == {"passed": 1, "skipped": len(WAYS)}
    told = sorted(line for line in result.outlines if line.startswith("UNEXPECTED SKIP"))
    assert len(told) == len(WAYS)
    for number, line in enumerate(told):
        assert re.fullmatch(rf"UNEXPECTED SKIP tests/test_{number}\.py.*: Skipped: .*no.reason.*", line)
    assert result.ret == 1


def test_a_file_that_is_skipped_is_enough(project):
    (project.path / "tests" / "test_file.py").write_text("import pytest\n\npytest.importorskip('no_reason')\n", encoding="utf-8")
    assert run(project).ret == 1


def test_what_is_expected_or_is_no_skip_does_not(project):
    conftest = project.path / "tests" / "conftest.py"
    source = conftest.read_text("utf-8")
    right = "EXPECTED_SKIPS: tuple[str, ...] = ()"
    assert right in source
    conftest.write_text(source.replace(right, "EXPECTED_SKIPS = ('no re',)"), encoding="utf-8")
    xfail = "@pytest.mark.xfail(strict=True)\ndef test_one():\n    assert False"
    for name, way in (("skipped", WAYS["in a test"]), ("file", WAYS["a whole file"]), ("xfail", xfail)):
        (project.path / "tests" / f"test_{name}.py").write_text(f"import pytest\n\n{way}\n", encoding="utf-8")
    result = run(project, "-n", "2")
    assert result.parseoutcomes() == {"passed": 1, "skipped": 2, "xfailed": 1}
    result.stdout.no_fnmatch_line("*UNEXPECTED SKIP*")
    assert result.ret == 0


def test_a_backend_that_was_asked_for_and_is_missing_fails(project):
    test = """
from dataclasses import replace

import fastgd
from fastgd.planning.backends import BACKENDS

def test_one(backend, monkeypatch):
    missing = replace(BACKENDS["torch"], why_unavailable=lambda: "it is not here")
    monkeypatch.setitem(BACKENDS, "torch", missing)
    fastgd.fit([1.0, 2], [1.0, 2], lr=0.1, epochs=1, backend=backend)
"""
    (project.path / "tests" / "test_backend.py").write_text(test, encoding="utf-8")
    result = run(project, "--backends=numpy,torch")
    assert result.parseoutcomes() == {"passed": 2, "failed": 1}
    result.stdout.fnmatch_lines(["*BackendUnavailable*'torch' is not available: it is not here"])
    assert result.ret == 1
