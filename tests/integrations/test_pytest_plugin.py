"""For other people's test suites: assert_agrees, the plugin, and the example project that uses
them."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

EXAMPLE = ROOT / "examples" / "own_descent"


def test_the_entry_point():
    (entry,) = [e for e in importlib.metadata.entry_points(group="pytest11") if e.name == "fastgd"]
    assert entry.value == "fastgd.integrations.pytest_plugin"


def run_tests(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def copied(to: Path, **changes: str) -> Path:
    """The example project with changed source lines, and a configuration of its own."""
    source = (EXAMPLE / "descent.py").read_text("utf-8")
    for right, wrong in changes.values():
        assert right in source
        source = source.replace(right, wrong)
    (to / "descent.py").write_text(source, encoding="utf-8")
    (to / "test_descent.py").write_text((EXAMPLE / "test_descent.py").read_text("utf-8"), encoding="utf-8")
    (to / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    return to


def test_the_example_project_passes_its_tests(tmp_path):
    done = run_tests(copied(tmp_path), "--fastgd-report=reports")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert not (tmp_path / "reports").exists()  # only failures leave a page


def test_a_defect_in_the_example_project_is_named(tmp_path):
    done = run_tests(copied(tmp_path, gradient=("2 / len(y)", "2 / (len(y) - 1)")), "--fastgd-report=reports", "-k", "noisy or recorded")
    assert done.returncode == 1, done.stdout
    assert "gradient_n_minus_1: the gradient is divided by n - 1 = 99 instead of n = 100" in done.stdout
    assert "fix: gradient = 2 / len(y) * X.T @ residual" in done.stdout
    pages = sorted((tmp_path / "reports").iterdir())
    assert len(pages) == 3  # noisy in both dtypes, and the record
    assert all("gradient_n_minus_1" in page.read_text("utf-8") for page in pages)
    assert all(page.name in done.stdout for page in pages)
    assert "asserting.py" not in done.stdout  # the traceback ends in the test


@pytest.mark.full
def test_without_the_option_there_is_no_page(tmp_path):
    done = run_tests(copied(tmp_path, loss=("np.mean(residual**2)", "np.sum(residual**2)")), "-k", "recorded")
    assert done.returncode == 1
    assert "loss_sum" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"descent.py", "test_descent.py", "pytest.ini"}


def test_reports_of_causes_and_groups(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(
        """
def bad(w, X, y, lr):
    return w + lr * (2 * X * (w * X - y)).mean()

def test_wrapped(assert_agrees):
    try:
        assert_agrees(bad, [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], lr=0.01, epochs=5)
    except AssertionError as error:
        raise RuntimeError("wrapped") from error

def test_group(assert_agrees):
    errors = []
    for lr in (0.01, 0.02):
        try:
            assert_agrees(bad, [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], lr=lr, epochs=5)
        except AssertionError as error:
            errors.append(error)
    raise ExceptionGroup("two", errors)

def test_other():
    assert False
""",
        encoding="utf-8",
    )
    done = run_tests(tmp_path, "--fastgd-report=deep/reports")
    assert "3 failed" in done.stdout
    assert len(list((tmp_path / "deep" / "reports").iterdir())) == 3


def test_the_plugin_says_at_once_that_jinja2_is_missing(tmp_path):
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['jinja2'] = None\n", encoding="utf-8")
    done = run_tests(tmp_path, "--fastgd-report=reports", "-p", "conftest")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--fastgd-report needs jinja2: pip install 'fastgd[report]'" in done.stderr
