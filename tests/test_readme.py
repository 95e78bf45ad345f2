"""The README keeps its word: no placeholder, and its quick example runs as it stands."""

import re
import tomllib
import warnings
from pathlib import Path

import fastgd

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"\b[A-Z]{2,}_[A-Z_]+\b", README)


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
    project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == fastgd.__version__
