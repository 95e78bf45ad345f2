"""The README keeps its word: no placeholder, and its quick example runs as it stands."""

import re
import tomllib
import warnings

import fastgd
from fastgd.verification.causes.table import CAUSES
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_nothing_is_left_to_fill_in():
    assert set(re.findall(r"\b[A-Z]{2,}_[A-Z_]+\b", README)) <= {"NUMBA_CACHE_DIR"}  # which is Numba's own name


def test_the_quick_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(example, "README.md", "exec"), {})
    assert "1,000 fits: 1,000 COMPLETED" in capsys.readouterr().out
    assert fastgd.load("run.npz").epochs == 60


def test_testing_and_verification_need_no_import_of_their_own():
    assert fastgd.testing.nist("norris").name == "norris"
    assert fastgd.verification.__name__ == "fastgd.verification"


def test_the_version_is_typed_twice_and_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == fastgd.__version__


def test_the_tutorials_two_cells_print_what_is_written(capsys):
    """As a user runs them, one after the other."""
    cells = re.findall(r"```py\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert len(cells) == 2
    names: dict = {}
    for cell, printed in cells:
        exec(compile(cell, "README.md", "exec"), names)
        assert capsys.readouterr().out == printed
    assert "gradient_sum" in cells[0][1]
    assert "agrees" in cells[1][1]


def test_the_documentation_has_every_cause():
    page = (ROOT / "docs" / "verify.md").read_text("utf-8")
    table = page.partition("## The causes")[2].partition("## How often")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(CAUSES)
