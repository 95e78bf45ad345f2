"""The README has no placeholder and stays short; the page of causes has them all."""

import re
import tomllib

import fastgd
from fastgd.kernels.update_rules import UPDATE_RULES
from fastgd.verification.causes.table import CAUSES
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_nothing_is_left_to_fill_in():
    assert set(re.findall(r"\b[A-Z]{2,}_[A-Z_]+\b", README)) <= {"NUMBA_CACHE_DIR"}  # Numba's


def test_it_stays_short():
    assert len(README.splitlines()) <= 138


def test_a_block_needs_nothing_that_no_pip_line_above_it_installs():
    """As somebody finds it who pastes the blocks into an empty environment, one after another."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    there, seen = {"fastgd"}, 0
    for part in re.split(r"(?=^```py)", README, flags=re.MULTILINE):
        block = part.partition("\n```\n")[0] if part.startswith("```py") else ""
        for line in (line for line in part.splitlines() if "pip install" in line):
            extras = ",".join(re.findall(r"\.\[([\w,]+)\]", line)).split(",")
            brought = [need for extra in extras for need in project["optional-dependencies"].get(extra, ())] + project["dependencies"]
            there |= {re.match(r"\w+", need)[0] for need in brought} | set(line.partition("pip install")[2].strip("`):").split())
        needed = set(re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE)) | ({"pandas"} if ".to_pandas()" in block else set())
        assert needed <= there
        seen += len(needed)
    assert seen > 3


def test_it_tells_how_to_get_torch_without_cuda():
    assert "install the CPU build first" in " ".join(README.split())


def test_testing_and_verification_need_no_import_of_their_own():
    assert fastgd.testing.nist("norris").name == "norris"
    assert fastgd.verification.__name__ == "fastgd.verification"


def test_the_version_is_typed_twice_and_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == fastgd.__version__


OF_A_RULE = UPDATE_RULES.keys() - {"adam", "adamw"}  # these two have sentences of their own


def test_the_documentation_has_every_cause():
    page = (ROOT / "docs" / "verify.md").read_text("utf-8")
    table = page.partition("## The causes")[2].partition("## How often")[0]
    assert re.findall(r"^\| (?:<a id=\"\w+\"></a>)?`(\w+)` \|", table, re.MULTILINE) == [code for code in CAUSES if code not in OF_A_RULE]
